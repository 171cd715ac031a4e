"""From a table with dated rows to a dated forecast."""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils.validation import check_is_fitted

from ._data.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_quantiles,
    is_number,
    shortened,
)
from ._data.seeds import make_random_state
from ._tables.backtest import Backtest, run_backtest
from ._tables.cutting import Design, take_latest
from ._tables.dates import future_index
from ._tables.frames import (
    as_list,
    check_bounds,
    check_columns,
    check_key,
    check_names,
    check_within,
    column_levels,
    dated_frame,
    read_future,
)
from ._tables.labels import labels_of
from ._tables.layout import Layout, naming_table
from ._tables.model import SeriesModel, make_model
from ._tables.reading import DatedSeries, Table, read_table
from ._tables.training import make_training_set

__all__ = ["Backtest", "SeriesForecaster"]

_GAPS = ("drop", "keep")

Self = TypeVar("Self", bound="SeriesForecaster")


class SeriesForecaster(MetaEstimatorMixin, BaseEstimator):
    """Forecast the rows of a table with time stamps, of one series or of many.

    The table is cut into windows, `forecaster` learns from them, and its forecasts are frames with
    time stamps, in the units of the table. Rows must be in the order of time, and at the steps of
    one frequency. Windows that touch a missing row or value are left out, or, with
    ``gaps="keep"``, their gaps filled.

    Parameters
    ----------
    forecaster : DeepDIVEForecaster, VAEForecaster or BetaTCVAEForecaster
        What learns from windows; a copy of it is fitted.
    n_timesteps : int
        Length of the windows, in rows.
    horizon : int
        Number of rows to forecast.
    targets : str or sequence of str, default=None
        Columns to forecast. None: all but those of `future_covariates`. All columns are inputs.
    future_covariates : str or sequence of str, default=None
        Columns that are known in advance. `predict` needs them for the rows to come. They need a
        forecaster whose `fit` and `predict` take `future_covariates`.
    calendar : sequence of str, default=None
        Factors of every window, from the local time of its last row, among those of
        :func:`~skdeepdive.calendar_factors`. Forecasts are made with them too, if the `predict` of
        the forecaster takes `factors`.
    step_calendar : sequence of str, default=None
        What every step to come is described by, from its local time, among the names of
        :func:`~skdeepdive.calendar_features`. It needs a forecaster as `future_covariates` do.
    id, time : column name, default=None
        Columns of a long table that hold what tells its series apart, and the time of rows. None:
        the index has them. Its levels are the id and the time, or the time alone.
    freq : str or offset of pandas, default=None
        Frequency of the rows, such as "h", "B" or "MS". None: that of the longest stretch without a
        hole.
    stride : int, default=1
        Rows from one window to the next.
    bounds : pair of float or None, or dict of pairs by target, default=None
        Least and greatest possible values, such as ``(0, None)``. Forecasts, quantiles and samples
        beyond a bound are set to it; others stay as they are.
    scale_ids : bool, default=True
        Whether each series of several is standardised by its own training rows. A series that was
        not among those of `fit` is standardised by the rows given to `predict`.
    id_as_factor : bool, default=False
        Whether the id is a factor of every window, in forecasts too, as `calendar`.
    gaps : {"drop", "keep"}, default="drop"
        What becomes of windows with a missing row or value. "drop": they are left out, and a table
        that ends in one is not forecast. "keep": what is missing is filled by what the rest of the
        window lets expect, and intervals widen accordingly; only windows and futures without any
        value are left out. What is known in advance must be complete.

    Attributes
    ----------
    forecaster_ : estimator
        The fitted copy of `forecaster`. For several series, a `stride`, or where windows are left
        out, its `validation_fraction` and `validation_gap` are such that the last windows of every
        series are its validation windows.
    windows_ : DataFrame
        For every id, or in one row: numbers of `steps` from the first row to the last, of those
        `missing` (without a row, or with a missing value), of `windows`, of those `left_out` since
        they touch a missing step, and of `training` and `validation` windows.
    columns_ : list of str
        The columns that are inputs.
    targets_ : list of str
        The columns that are forecast.
    freq_ : offset of pandas
        The frequency of the rows.

    See Also
    --------
    skdeepdive.sliding_windows : The same windows, as arrays.
    skdeepdive.inspection.SeriesForecastDisplay : Draw a forecast.

    Notes
    -----
    Local hours are labels, but absolute time is spacing: with a time zone, the hours of a day on
    which clocks change are 23 or 25 rows.

    Intervals of a single series are those of `forecaster`, where it has `predict_quantiles`. Those
    of several series are conformal for each series: the errors on its own validation windows,
    relative to the deviation that the forecaster expects. Series with fewer than 100 validation
    windows, and those not among those of `fit`, take the errors of all series.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdeepdive import DeepDIVEForecaster, SeriesForecaster
    >>> hours = pd.date_range("2014-03-01", periods=1000, freq="h", tz="Europe/Lisbon")
    >>> load = pd.DataFrame({"load": 5 + np.sin(np.arange(1000) * np.pi / 12)}, index=hours)
    >>> forecaster = SeriesForecaster(
    ...     DeepDIVEForecaster(n_hidden=16, max_epochs=1, random_state=0),
    ...     n_timesteps=48,
    ...     horizon=24,
    ... ).fit(load.drop(load.index[300:303]))
    >>> forecaster.windows_[["steps", "missing", "windows", "left_out"]].to_numpy().tolist()
    [[1000, 3, 929, 74]]
    >>> forecaster.predict().round(2).head(2)
                               load
    time
    2014-04-11 17:00:00+01:00  4.13
    2014-04-11 18:00:00+01:00  4.03
    """

    def __init__(
        self,
        forecaster: Any,
        *,
        n_timesteps: int,
        horizon: int,
        targets: Any = None,
        future_covariates: Any = None,
        calendar: Sequence[str] | None = None,
        step_calendar: Sequence[str] | None = None,
        id: Any = None,
        time: Any = None,
        freq: Any = None,
        stride: int = 1,
        bounds: tuple[float | None, float | None] | Mapping[Any, Any] | None = None,
        scale_ids: bool = True,
        id_as_factor: bool = False,
        gaps: str = "drop",
    ):
        self.forecaster = forecaster
        self.n_timesteps = n_timesteps
        self.horizon = horizon
        self.targets = targets
        self.future_covariates = future_covariates
        self.calendar = calendar
        self.step_calendar = step_calendar
        self.id = id
        self.time = time
        self.freq = freq
        self.stride = stride
        self.bounds = bounds
        self.scale_ids = scale_ids
        self.id_as_factor = id_as_factor
        self.gaps = gaps

    def fit(self: Self, table: Any, y: None = None) -> Self:
        """Learn from the rows of a table.

        Parameters
        ----------
        table : DataFrame or Series of pandas, or DataFrame of polars
            Rows with a DatetimeIndex or PeriodIndex, with a MultiIndex of ids and times, or with
            columns named by `id` and `time`. Columns that are channels hold numbers; NaN where
            values are missing.
        y : None
            Ignored, for scikit-learn's searches.

        Returns
        -------
        self : SeriesForecaster

        Raises
        ------
        ValueError
            If rows are out of order, doubled or not at the steps of the frequency, if there are
            too few of them, or if a parameter has an invalid value.
        TypeError
            If `table` is not dated, has columns that are not numeric, or a parameter is of another
            type; if `forecaster` does not take what a parameter asks for.

        Warns
        -----
        UserWarning
            If series are too short to learn from, which it names; if holes cost more than a quarter
            of the windows.
        """
        self._check_parameters()
        return self._fit(read_table(table, Layout(self.id, self.time), self.freq))

    def predict(self, table: Any = None, future: Any = None) -> Any:
        """Forecast the rows after the last ones of every series.

        Parameters
        ----------
        table : DataFrame or Series, default=None
            Rows of the columns given to `fit`, of which the last `n_timesteps` of every series are
            looked at. None: the last ones given to `fit`.
        future : DataFrame, default=None
            Columns `future_covariates` of the rows to come, dated as `table` is; other columns and
            earlier rows may be there.

        Returns
        -------
        forecast : DataFrame
            One row for each time to come, with a level of the index for the id where there is one;
            a column for each target.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the last rows are too few or have a hole, or `future` lacks a value.

        Warns
        -----
        UserWarning
            If some of several series cannot be forecast, since their last rows are too few or have
            a hole; it names them.
        """
        series, known = self._inputs(table, future)
        return self._to_frame(self._model.forecast(series, known), series, self.targets_)

    def predict_quantiles(
        self, quantiles: ArrayLike = (0.1, 0.5, 0.9), table: Any = None, future: Any = None
    ) -> Any:
        """Forecast quantiles of the rows after the last ones of every series.

        Parameters
        ----------
        quantiles : float or array-like of shape (n_quantiles,), default=(0.1, 0.5, 0.9)
            Between 0 and 1, exclusive.
        table, future : DataFrame, default=None
            As in :meth:`predict`, which raises and warns alike.

        Returns
        -------
        quantiles : DataFrame
            Rows as in :meth:`predict`; a column for each target and quantile, in two levels.
        """
        series, known = self._inputs(table, future)
        levels = np.atleast_1d(check_quantiles("quantiles", quantiles))
        columns = column_levels(self.targets_, levels.tolist(), "quantile")
        return self._to_frame(self._model.quantiles(series, known, levels), series, columns)

    def sample(
        self,
        n_samples: int = 100,
        table: Any = None,
        future: Any = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Draw futures of every series: whole ones, with the dependence between steps.

        Parameters
        ----------
        n_samples : int, default=100
            Number of futures to draw.
        table, future : DataFrame, default=None
            As in :meth:`predict`, which raises and warns alike.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws. None: they differ from call to call.

        Returns
        -------
        samples : DataFrame
            Rows as in :meth:`predict`; a column for each target and draw, in two levels.
        """
        n_samples = check_integer("n_samples", n_samples)
        series, known = self._inputs(table, future)
        columns = column_levels(self.targets_, range(n_samples), "draw")
        generator = make_random_state(random_state)
        draws = self._model.draw(series, known, n_samples, generator)
        return self._to_frame(draws, series, columns)

    def last_rows(self, table: Any = None) -> Any:
        """Return the rows that forecasts are made from.

        Parameters
        ----------
        table : DataFrame or Series, default=None
            As in :meth:`predict`, which raises and warns alike.

        Returns
        -------
        rows : DataFrame
            The last `n_timesteps` steps of every series, dated as forecasts are; a column for each
            input.
        """
        series = self._take_last(table)
        values, indexes = (np.stack([one.values for one in series]), [one.index for one in series])
        return dated_frame(values, series, indexes, self.columns_, self._id_name)

    def score(self, table: Any, y: None = None) -> float:
        """Coefficient of determination R² of the forecasts of all windows within a table.

        Parameters
        ----------
        table : DataFrame or Series
            Rows as given to `fit`, at least ``n_timesteps + horizon + 1``. Windows that touch a
            hole are left out.
        y : None
            Ignored, for scikit-learn's searches.

        Returns
        -------
        score : float
            Mean of R² over the steps and targets that vary. Several series are standardised before,
            as in `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there are fewer than two windows.

        Notes
        -----
        Searches and cross-validation use it where `scoring` is None. Scorers of scikit-learn
        compare with a `y`, which tables do not have: with their names, all scores are NaN. A
        callable ``scorer(forecaster, table)`` works.
        """
        check_is_fitted(self)
        return self._model.score(self._read(table).series)

    def backtest(
        self,
        table: Any,
        start: Any,
        *,
        every: int = 1,
        refit: bool | int = False,
        quantiles: ArrayLike | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> Backtest:
        """Forecast a table as it would have been forecast, from one origin after another.

        Copies of this estimator are fitted to the rows before an origin and forecast from it; what
        was fitted before has no part in it, and no value after an origin affects its forecast.

        Parameters
        ----------
        table : DataFrame or Series
            Rows as given to `fit`.
        start : str or Timestamp
            First row to forecast; a date without a time zone is local.
        every : int, default=1
            Rows from one origin to the next.
        refit : bool or int, default=False
            False: fit once, to the rows before `start`. True: fit anew at every origin. An integer:
            at every so many origins.
        quantiles : array-like of shape (n_quantiles,), default=None
            Quantiles to forecast as well.
        n_jobs : int, default=None
            Number of fits at a time, as in joblib. None: one.
        verbose : int, default=0
            Progress messages of joblib, one for each fit at most.

        Returns
        -------
        backtest : Backtest
            Its `forecasts` are a frame, and its `scores` a table.

        Raises
        ------
        ValueError
            If no future lies within the table from `start` on, or too few rows before it.
        """
        self._check_parameters()
        found = read_table(table, Layout(self.id, self.time), self.freq)
        levels = None
        if quantiles is not None:
            levels = np.atleast_1d(check_quantiles("quantiles", quantiles))
        every = check_integer("every", every)
        if not isinstance(refit, bool):
            refit = check_integer("refit", refit, otherwise=" or a flag")
        return run_backtest(self, found, start, every, refit, levels, n_jobs, verbose)

    def save(self, path: str | os.PathLike) -> None:
        """Save the fitted forecaster to a file that can be opened without trusting it.

        Parameters
        ----------
        path : str or path-like
            Where to save; a file that is there is replaced.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If something cannot be put into the file: a `forecaster` of another class than those of
            this package; parameters, ids or names of columns that are no strings or numbers.
        OSError
            If the file cannot be written.
        ImportError
            If safetensors is not installed.

        See Also
        --------
        load : Open the file.

        Notes
        -----
        Kept are the parameters, what `fit` learned, and the last rows given to it.
        """
        from ._tables import file

        check_is_fitted(self)
        file.write(path, self)

    @classmethod
    def load(cls: type[Self], path: str | os.PathLike) -> Self:
        """Open a forecaster that `save` wrote; nothing in the file is run.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        forecaster : SeriesForecaster
            Its forecasts are those of the saved one.

        Raises
        ------
        ValueError
            If the file is damaged, or holds something else.
        OSError
            If there is no file, or it cannot be read.
        ImportError
            If safetensors is not installed.
        """
        from ._tables import file

        return file.read(path, cls)

    def _check_parameters(self) -> None:
        check_integer("n_timesteps", self.n_timesteps)
        check_integer("horizon", self.horizon)
        check_integer("stride", self.stride)
        check_flag("scale_ids", self.scale_ids)
        check_flag("id_as_factor", self.id_as_factor)
        check_choice("gaps", self.gaps, _GAPS)
        check_key("id", self.id)
        check_key("time", self.time)
        if not hasattr(self.forecaster, "validation_fraction"):
            raise TypeError(
                "'forecaster' must be a forecaster with validation windows, such as "
                f"DeepDIVEForecaster(), got {shortened(self.forecaster)}."
            )
        if self.calendar is not None or self.id_as_factor:
            parameter = "calendar" if self.calendar is not None else "id_as_factor"
            self._demand("factors", parameter, self.forecaster.fit)
        for parameter in ("future_covariates", "step_calendar"):
            if getattr(self, parameter) is not None:
                for method in (self.forecaster.fit, self.forecaster.predict):
                    self._demand("future_covariates", parameter, method)

    def _demand(self, argument: str, parameter: str, method: Callable) -> None:
        """Raise unless a method of the forecaster takes an argument."""
        if argument not in inspect.signature(method).parameters:
            raise TypeError(
                f"'{parameter}' needs a forecaster whose {method.__name__} takes '{argument}', "
                f"which that of {type(self.forecaster).__name__} does not. Leave it None, or take "
                "another forecaster."
            )

    def _fit(self: Self, table: Table) -> Self:
        """Learn from the series of a table; a fit that fails changes nothing."""
        design = self._make_design(table.columns)
        if self.id_as_factor and table.id_name is None:
            raise ValueError("'id_as_factor' needs a table with ids, got a single series.")
        targets = {table.columns[i]: i for i in design.targets}
        bounds = check_bounds(self.bounds, list(targets))
        check_within(table.series, targets, bounds)
        forecaster = clone(self.forecaster)
        fraction, gap = forecaster.validation_fraction, forecaster.validation_gap
        training, report = make_training_set(table, design, fraction, gap, self.scale_ids)
        windows = training.windows()
        ids = np.array([one.id for one in training.series])
        options = windows.options() | labels_of(design, windows.stamps, ids[windows.number])
        forecaster.set_params(**training.split_parameters())

        def keep() -> None:
            self._keep(make_model(forecaster, training, bounds), report, table)

        try:
            with naming_table():
                forecaster.fit(windows.X, windows.y, **options)
        except KeyboardInterrupt:
            if getattr(forecaster, "__sklearn_is_fitted__", bool)():  # by its best weights so far
                keep()
            raise
        keep()
        return self

    def _keep(self, model: SeriesModel, report: Any, table: Table) -> None:
        """Keep what was learnt, and the last rows of the table."""
        self._model, self.forecaster_, self.windows_ = model, model.forecaster, report
        self.columns_ = table.columns
        self.targets_ = [table.columns[i] for i in model.design.targets]
        self.freq_, self._id_name = table.series[0].index.freq, table.id_name
        latest = [one.rows(slice(-self.n_timesteps, None)) for one in table.series]
        # Copied, or the whole table would stay in memory.
        self._latest = [DatedSeries(one.id, one.index, one.values.copy()) for one in latest]

    def _make_design(self, columns: list) -> Design:
        """Return lengths of windows, and the positions of their channels."""
        known = as_list(self.future_covariates)
        if known:
            known = check_columns("future_covariates", known, columns)
        others = [name for name in columns if name not in known]
        targets = check_columns("targets", others if self.targets is None else self.targets, others)
        at = [[columns.index(name) for name in names] for names in (targets, known)]
        return Design(
            self.n_timesteps,
            self.horizon,
            self.stride,
            targets=at[0],
            known=at[1],
            step_calendar=check_names("step_calendar", self.step_calendar),
            calendar=check_names("calendar", self.calendar),
            id_as_factor=self.id_as_factor,
            keeps_gaps=self.gaps == "keep",
        )

    def _read(self, table: Any) -> Table:
        if is_number(table, numbers.Integral):
            raise TypeError(
                f"'table' must hold the rows to forecast from, or be None, got {table}. How many "
                "rows are forecast is the 'horizon' that the forecaster is made with: make it with "
                "another one, and fit it."
            )
        layout = Layout(self.id, self.time)
        found = read_table(table, layout, self.freq_, self.columns_, self._latest[0].index)
        if (found.id_name is None) != (self._id_name is None):
            raise ValueError(
                "'table' must have ids where that of fit had them, and only then. Date its rows as "
                "in fit."
            )
        return found

    def _take_last(self, table: Any) -> list[DatedSeries]:
        """Return the last rows of the series that can be forecast."""
        check_is_fitted(self)
        found = self._latest if table is None else self._read(table).series
        return take_latest(found, self._model.design)

    def _inputs(self, table: Any, future: Any) -> tuple[list[DatedSeries], np.ndarray | None]:
        """Return the last rows of the series that can be forecast, and covariates to come."""
        series, known = self._take_last(table), None
        if self._model.design.known:
            indexes = [future_index(one.index, self.horizon) for one in series]
            layout = Layout(self.id, self.time, "future")
            columns = [self.columns_[i] for i in self._model.design.known]
            known = read_future(future, layout, self.freq_, columns, series, indexes)
        elif future is not None:
            raise ValueError(
                "'future' must be None for a forecaster without 'future_covariates'. Name the "
                "columns that are known in advance when it is made."
            )
        return series, known

    def _to_frame(self, values: np.ndarray, series: list[DatedSeries], columns: Any) -> Any:
        indexes = [future_index(one.index, self.horizon) for one in series]
        return dated_frame(values, series, indexes, columns, self._id_name)
