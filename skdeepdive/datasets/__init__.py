"""Real data sets: bundled with the package, downloaded once, or read from the user's files."""

from skdeepdive.datasets._electricity import electricity_csv, load_electricity
from skdeepdive.datasets._fetch_electricity import fetch_electricity
from skdeepdive.datasets._fetch_ett import fetch_ett
from skdeepdive.datasets._fetch_gait_ipol import fetch_gait_ipol
from skdeepdive.datasets._gaitmotion import load_gaitmotion
from skdeepdive.datasets._watch_imu import load_watch_imu

__all__ = [
    "electricity_csv",
    "fetch_electricity",
    "fetch_ett",
    "fetch_gait_ipol",
    "load_electricity",
    "load_gaitmotion",
    "load_watch_imu",
]
