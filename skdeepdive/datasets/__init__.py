"""Small real data sets that come with the package."""

from skdeepdive.datasets._electricity import load_electricity
from skdeepdive.datasets._watch_imu import load_watch_imu

__all__ = ["load_electricity", "load_watch_imu"]
