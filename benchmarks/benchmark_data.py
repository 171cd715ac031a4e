"""Data sets of the benchmarks, cut into windows, with factors and parts that share no label.

Values are standardised per channel by the training rows. The folder holds the files under the
names of their sources: ``gefcom2012_load.csv.gz``, ``ETTh1.csv.gz`` and
``gait_imu_ipol2019_rightfoot.npz``. The other sets come with the package or are fetched by it.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.tseries.holiday import USFederalHolidayCalendar

from skdeepdive import calendar_features
from skdeepdive.datasets import load_electricity, load_watch_imu
from skdeepdive.windows import calendar_factors, sliding_windows, split_windows

CALENDAR = ["hour", "weekday", "month"]
DAY, WEEK = 24, 168  # hours
ETTH1_ROWS = 14_400  # 20 months of 30 days: 12 to train, 4 to validate, 4 to test


@dataclass(frozen=True, eq=False)
class Windows:
    """Standardised windows of shape (n_windows, n_timesteps, n_channels) and their futures.

    `parts` are the slices of the training, validation and test windows. `mean` and `scale` take
    values back to the units of the source: ``y * scale + mean``. `factors` has a row per window.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    factors: pd.DataFrame
    parts: tuple[slice, slice, slice]
    channels: list[str]
    mean: np.ndarray
    scale: np.ndarray
    subjects: np.ndarray | None = None  # of every window, if they were split by subject
    covariates: np.ndarray | None = None  # (n_windows, horizon, n_covariates), if any are told

    def known_in_advance(self, part):
        """Return the covariates of some windows by the name of their argument, if any are told."""
        return {} if self.covariates is None else {"future_covariates": self.covariates[part]}

    def in_units(self, values):
        """Undo the standardisation."""
        return values * self.scale + self.mean


@dataclass(frozen=True, eq=False)
class SeriesWindows(Windows):
    """All windows of one hourly series, in the order of their origins.

    `series` of shape (n_rows, n_channels) is standardised; window ``i`` ends in row
    ``origin[i]``. The validation and the test part forecast the rows from `cuts` on.
    """

    series: np.ndarray = None
    index: pd.DatetimeIndex = None
    origin: np.ndarray = None
    cuts: tuple[int, int] = None
    told: np.ndarray | None = None  # (n_rows, n_covariates), where they do not depend on the origin

    @cached_property
    def calendar(self):
        """Hour, weekday and month of every row of `series`."""
        return calendar_factors(self.index, CALENDAR).to_numpy()


def gefcom2012(folder, n_timesteps=WEEK, horizon=DAY):
    """Load of 18 utility zones in kW, 4.5 years; zones 2 and 7 are zone 3 in other units."""
    table = pd.read_csv(Path(folder) / "gefcom2012_load.csv.gz", index_col=0, parse_dates=True)
    zones = [f"zone_{zone:02d}" for zone in range(1, 21) if zone not in (2, 7)]
    return series_windows("gefcom2012", table[zones], n_timesteps, horizon)


def gefcom2012_weather(folder, n_timesteps=WEEK, horizon=DAY, noise=0.0):
    """The same, told the calendar of every step and the temperatures of 11 stations.

    Of each station there are the temperature at the step, its mean over the day before, and the one
    a day earlier. With `noise` they are forecasts, for training and test alike: the error of the
    temperature is a random walk from the origin, whose deviation is `noise` °F after 24 steps.
    """
    table = pd.read_csv(Path(folder) / "gefcom2012_load.csv.gz", index_col=0, parse_dates=True)
    stations = table.filter(like="tempF_").to_numpy()
    holidays = USFederalHolidayCalendar().holidays(table.index[0], table.index[-1])
    told = np.hstack(
        [
            stations,
            pd.DataFrame(stations).rolling(DAY, min_periods=1).mean().to_numpy(),
            np.vstack([stations[:DAY], stations[:-DAY]]),
            calendar_features(table.index, holidays=holidays).to_numpy(),
        ]
    ).astype(np.float32)
    name = "gefcom2012-noisy-weather" if noise else "gefcom2012-weather"
    windows = told_in_advance(name, gefcom2012(folder, n_timesteps, horizon), told)
    if noise:
        random, covariates = np.random.default_rng(0), windows.covariates.copy()
        n_stations = stations.shape[1]
        shape = (*covariates.shape[:2], n_stations)
        error = (noise / DAY**0.5 * random.standard_normal(shape)).cumsum(axis=1)
        covariates[..., :n_stations] += error
        covariates[..., n_stations : 2 * n_stations] += error.cumsum(axis=1) / DAY
        windows = replace(windows, covariates=covariates, told=None)
    return windows


def electricity_calendar(folder=None, n_timesteps=WEEK, horizon=DAY):
    """Load of two clients, told the calendar of every step."""
    windows = electricity(folder, n_timesteps, horizon)
    told = calendar_features(windows.index).to_numpy()
    return told_in_advance("electricity-calendar", windows, told)


def told_in_advance(name, windows, told):
    """Add numbers `(n_rows, n_covariates)` that are known for every step of the horizons."""
    horizon = windows.y.shape[1]
    _, covariates, origin = sliding_windows(told, windows.X.shape[1], horizon)
    np.testing.assert_array_equal(origin, windows.origin)
    return replace(windows, name=name, covariates=covariates, told=told)


def etth1(folder, n_timesteps=2 * WEEK, horizon=4 * DAY):
    """Six loads and the oil temperature of a transformer, with the split of its literature."""
    table = pd.read_csv(Path(folder) / "ETTh1.csv.gz", index_col=0, parse_dates=True)
    return series_windows("etth1", table.iloc[:ETTH1_ROWS], n_timesteps, horizon)


def electricity(folder=None, n_timesteps=WEEK, horizon=DAY):
    """Load of two clients over three years; bundled, so `folder` is not read."""
    return series_windows("electricity", _frame(load_electricity()), n_timesteps, horizon)


def electricity_full(folder=None, n_timesteps=WEEK, horizon=DAY):
    """Load of 321 clients over three years, fetched; `folder` is not read."""
    from skdeepdive.datasets import fetch_electricity

    return series_windows("electricity-full", _frame(fetch_electricity()), n_timesteps, horizon)


def gait_ipol(folder, n_timesteps=1000, horizon=800, stride=200, seed=0):
    """Right-foot inertial sensor of 230 walkers at 100 Hz, split 8:1:1 by subject.

    The split is stratified by group and sensor make, which go together: nearly all neurological
    patients, and few others, wore another make. So the group is partly the sensor.
    """
    with np.load(Path(folder) / "gait_imu_ipol2019_rightfoot.npz") as file:
        data = dict(file)
    start, stop = data["walk_start"], data["walk_end"]
    trials = np.flatnonzero(stop - start >= n_timesteps + horizon)
    walks = [_gait_trial(data, k)[start[k] : stop[k]] for k in trials]
    tertile = np.digitize(data["walking_speed_kmh"], [1.5, 2.1])
    factors = pd.DataFrame(
        {
            "group": np.asarray(data["group_names"], dtype=str)[data["group"]],
            "speed": np.array(["slow", "medium", "fast"])[tertile],
        }
    )
    strata = data["group"] * 2 + data["sensor"]
    subjects = data["subject"][trials]
    part = _split_subjects(subjects, strata[trials], (0.8, 0.1, 0.1), seed)
    return _recording_windows(
        "gait_ipol", walks, factors.iloc[trials], subjects, part, data["channels"].tolist(),
        (n_timesteps, horizon, stride),
    )  # fmt: skip


def watch(folder=None, n_timesteps=150, horizon=50, stride=25, seed=0):
    """Smartwatch on 10 people during 7 exercises at 50 Hz, split 6:2:2 by subject; bundled."""
    data = load_watch_imu()
    factors = pd.DataFrame(
        {
            "exercise": np.array(data.target_names)[data.target],
            "side": np.array(data.side_names)[data.side],
        }
    )
    part = _split_subjects(data.subject, np.zeros_like(data.subject), (0.6, 0.2, 0.2), seed)
    return _recording_windows(
        "watch", data.data, factors, data.subject, part, data.channels,
        (n_timesteps, horizon, stride),
    )  # fmt: skip


LOADERS = {
    "gefcom2012": gefcom2012,
    "gefcom2012-weather": gefcom2012_weather,
    "gefcom2012-noisy-weather": partial(gefcom2012_weather, noise=4.0),
    "electricity-calendar": electricity_calendar,
    "etth1": etth1,
    "electricity": electricity,
    "electricity-full": electricity_full,
    "gait_ipol": gait_ipol,
    "watch": watch,
}


def series_windows(name, table, n_timesteps, horizon):
    """Cut an hourly table into windows; its rows are split 3:1:1 in chronological order."""
    cuts = len(table) * 3 // 5, len(table) * 4 // 5
    mean, scale = _location_and_scale(table.to_numpy()[: cuts[0]])
    series = ((table.to_numpy() - mean) / scale).astype(np.float32)
    X, y, origin = sliding_windows(series, n_timesteps, horizon)
    return SeriesWindows(
        name=name,
        X=X,
        y=y,
        factors=calendar_factors(table.index[origin], CALENDAR),
        parts=split_windows(origin, horizon, index=table.index),
        channels=list(table.columns),
        mean=mean,
        scale=scale,
        series=series,
        index=table.index,
        origin=origin,
        cuts=cuts,
    )


def _frame(data):
    index = pd.DatetimeIndex(data.timestamps)
    return pd.DataFrame(data.data, index=index, columns=data.feature_names)


def _location_and_scale(rows):
    spread = rows.std(axis=0, dtype=np.float64)
    return rows.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, 1.0)


def _gait_trial(data, trial):
    rows = slice(*data["offsets"][trial : trial + 2])
    steps = (data["hi"][:, rows].astype(np.int16) << 8) | data["lo"][:, rows]
    return steps.T * data["scale"]


def _split_subjects(subjects, strata, shares, seed):
    """Assign every recording to part 0, 1 or 2, all of a subject to the same.

    Every stratum has at least one subject in the validation and one in the test part.
    """
    random = np.random.default_rng(seed)
    part = np.zeros(len(subjects), dtype=int)
    for stratum in np.unique(strata):
        members = random.permutation(np.unique(subjects[strata == stratum]))
        n_validation, n_test = (max(1, round(share * len(members))) for share in shares[1:])
        part[np.isin(subjects, members[:n_test])] = 2
        part[np.isin(subjects, members[n_test : n_test + n_validation])] = 1
    return part


def _recording_windows(name, recordings, factors, subjects, part, channels, shape):
    """Cut every recording on its own, ordered by part: training, validation, test."""
    n_timesteps, horizon, stride = shape
    training = np.concatenate([recordings[k] for k in np.flatnonzero(part == 0)])
    mean, scale = _location_and_scale(training)
    order = np.argsort(part, kind="stable")
    pieces = [
        sliding_windows(
            ((recordings[k] - mean) / scale).astype(np.float32),
            n_timesteps,
            horizon,
            stride=stride,
        )
        for k in order
    ]
    counts = np.array([len(origin) for _, _, origin in pieces])
    source = np.repeat(order, counts)
    stops = np.cumsum(np.bincount(part[source], minlength=3))
    return Windows(
        name=name,
        X=np.concatenate([X for X, _, _ in pieces]),
        y=np.concatenate([y for _, y, _ in pieces]),
        factors=factors.iloc[source].reset_index(drop=True),
        parts=tuple(slice(int(a), int(b)) for a, b in zip([0, *stops[:-1]], stops, strict=True)),
        channels=list(channels),
        mean=mean,
        scale=scale,
        subjects=subjects[source],
    )
