"""Real data sets: small ones that come with the package, others that are downloaded once."""

from skdeepdive.datasets._electricity import load_electricity
from skdeepdive.datasets._fetch_electricity import fetch_electricity
from skdeepdive.datasets._fetch_ett import fetch_ett
from skdeepdive.datasets._fetch_gait_ipol import fetch_gait_ipol
from skdeepdive.datasets._fetch_gaitmotion import fetch_gaitmotion
from skdeepdive.datasets._watch_imu import load_watch_imu

__all__ = [
    "fetch_electricity",
    "fetch_ett",
    "fetch_gait_ipol",
    "fetch_gaitmotion",
    "load_electricity",
    "load_watch_imu",
]
