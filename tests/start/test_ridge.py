"""The linear forecast against scikit-learn, in float64 where truth is compared."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from skdeepdive._data.batches import WindowData, consecutive_folds, count_rows
from skdeepdive._data.draws import make_generator
from skdeepdive._data.scaling import Scaling
from skdeepdive._data.series_sums import series_of
from skdeepdive._start import ridge
from skdeepdive._start.ridge import fit_linear_forecast
from skdeepdive._start.sums import PENALTIES, Moments, add_squares, descend
from skdeepdive.windows import sliding_windows

CPU = torch.device("cpu")
N_TIMESTEPS, N_CHANNELS, HORIZON = 6, 3, 2


def identity(n_channels):
    return Scaling(np.zeros(n_channels), np.ones(n_channels))


def make_data(X, y=None, labels=None, dtype=np.float64):
    y = np.zeros((len(X), 1, 1)) if y is None else y
    labels = np.empty((len(X), 0), dtype=np.int64) if labels is None else labels
    x_scaling, y_scaling = identity(X.shape[2]), identity(y.shape[2])
    return WindowData(X, y, labels, x_scaling, y_scaling, CPU, dtype)


def make_series_data(n_steps=400, seed=0, noise=0.3, dtype=np.float64):
    """Windows of coupled autoregressions, and as futures those of channels 2 and 0."""
    rng = np.random.default_rng(seed)
    series = np.zeros((n_steps, N_CHANNELS))
    series[:2] = rng.normal(size=(2, N_CHANNELS))
    mixing = np.array([[0.5, 0.4, 0.0], [0.0, 0.6, 0.3], [-0.3, 0.0, 0.7]])
    for t in range(2, n_steps):
        series[t] = series[t - 1] @ mixing + noise * rng.normal(size=N_CHANNELS)
    X, y, _ = sliding_windows(series, N_TIMESTEPS, HORIZON)
    return make_data(X, y[..., ::-2], dtype=dtype)  # a view, as the windows are


SOURCE_CHANNELS = torch.tensor([2, 0])


def sklearn_ridge(inputs, outputs, penalty):
    """Ridge with the penalty relative to the mean variance of the inputs."""
    alpha = penalty * len(inputs) * inputs.var(axis=0).mean()
    return Ridge(alpha, solver="cholesky").fit(inputs, outputs)


def ridge_forecasts(train, penalty, design, source_channels):
    """Forecast function of one candidate, by scikit-learn."""
    X, y = train.X, train.y
    if source_channels is None:
        model = sklearn_ridge(X.reshape(len(X), -1), y.reshape(len(y), -1), penalty)
        return lambda X: model.predict(X.reshape(len(X), -1)).reshape(-1, *y.shape[1:])
    last = lambda X: X[:, -1:, source_channels.numpy()]  # noqa: E731
    target = y - last(X)
    if design == "joint":

        def history(X):
            return np.concatenate([X[:, :-1] - X[:, -1:], X[:, -1:]], axis=1).reshape(len(X), -1)

        model = sklearn_ridge(history(X), target.reshape(len(y), -1), penalty)
        return lambda X: model.predict(history(X)).reshape(-1, *y.shape[1:]) + last(X)

    own = lambda X: X[:, :, source_channels.numpy()] - last(X)  # noqa: E731
    if design == "shared":
        stack = lambda values: np.concatenate(np.moveaxis(values, 2, 0))  # noqa: E731
        models = [sklearn_ridge(stack(own(X)), stack(target), penalty)] * y.shape[2]
    else:
        models = [sklearn_ridge(own(X)[..., j], target[..., j], penalty) for j in range(y.shape[2])]
    return lambda X: (
        np.stack([m.predict(own(X)[..., j]) for j, m in enumerate(models)], axis=2) + last(X)
    )


def candidates(train, source_channels):
    designs = ["joint"] if source_channels is None else ["joint", "own", "shared"]
    return {
        (design, penalty): ridge_forecasts(train, penalty, design, source_channels)
        for design in designs
        for penalty in PENALTIES
    }


def make_walks(n_channels=5, n_steps=500, seed=0):
    rng = np.random.default_rng(seed)
    walks = rng.normal(size=(n_steps, n_channels)).cumsum(axis=0)
    return (walks - walks.mean(axis=0)) / walks.std(axis=0)


# Ridge regression


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize(
    ("kind", "source_channels"),
    [
        ("joint", SOURCE_CHANNELS),
        ("joint", None),
        ("own", SOURCE_CHANNELS),
        ("shared", SOURCE_CHANNELS),
    ],
)
def test_ridge_equals_that_of_scikit_learn(kind, source_channels, penalty):
    data = make_series_data()
    design = ridge._Design(kind == "joint", source_channels)
    moments = design.moments(data)
    if kind == "shared":
        moments = moments.pooled()
    forecast = design.forecast(*moments.ridge(penalty), None, (HORIZON, 2))
    found = forecast(torch.from_numpy(np.ascontiguousarray(data.X)).float()).numpy()
    expected = ridge_forecasts(data, penalty, kind, source_channels)(data.X)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("n_timesteps", [1, 5])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize(
    ("joint", "source_channels"),
    [(True, SOURCE_CHANNELS), (True, None), (False, SOURCE_CHANNELS)],
    ids=str,
)
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_moments_of_a_series_are_those_of_its_windows(
    n_timesteps, horizon, joint, source_channels, offset
):
    series = make_walks(N_CHANNELS) + offset
    X, y, _ = sliding_windows(series, n_timesteps, horizon)
    data = make_data(X, y[..., ::-2])
    design = ridge._Design(joint, source_channels)
    found, expected = design.moments(data), Moments.of(design._batches(data))
    assert found.n == expected.n == len(X)
    for name in ("x", "y", "xx", "xy", "yy"):
        sums, true = getattr(found, name), getattr(expected, name)
        # What is added to the diagonal against rounding errors grows with the number of inputs.
        tolerance = 1e-13 * len(X) * (1 + offset) ** 2 * (1 + found.xx.shape[-1])
        np.testing.assert_allclose(sums, true, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("joint", [True, False])
def test_moments_of_a_long_series_are_summed_part_by_part(joint, monkeypatch):
    data, design = make_series_data(), ridge._Design(joint, SOURCE_CHANNELS)
    expected = design.moments(data)
    monkeypatch.setattr(ridge, "_SERIES_ENTRIES", 200)
    found = design.moments(data)
    assert found.n == expected.n
    for name in ("x", "y", "xx", "xy", "yy"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


def test_windows_that_are_no_consecutive_views_are_no_series():
    X, y, _ = sliding_windows(make_walks(2), 5, 3)
    for windows in (X.copy(), X[::-1], X[::2], X[:5]):
        assert series_of(windows) is None
    np.testing.assert_array_equal(series_of(X), make_walks(2)[:-3])
    np.testing.assert_array_equal(series_of(y[:, :1]), y[:, 0])


def make_moments(x, y):
    moments = Moments.zero(len(x), x.shape[2], y.shape[2], x)
    moments.add(x, y)
    return moments


def make_regressions(n_regressions, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(5, 2, size=(n_regressions, 50, 4)))
    return x, torch.from_numpy(rng.normal(3, 1, size=(n_regressions, 50, 2)))


@pytest.mark.parametrize("n_regressions", [1, 3])
def test_ridge_from_moments_is_exact_in_double_precision(n_regressions):
    x, y = make_regressions(n_regressions)
    weight, intercept = make_moments(x, y).ridge(0.1)
    for i in range(n_regressions):
        model = sklearn_ridge(x[i].numpy(), y[i].numpy(), 0.1)
        np.testing.assert_allclose(weight[i].mT, model.coef_, rtol=1e-9)
        np.testing.assert_allclose(intercept[i], model.intercept_, rtol=1e-9)


def test_solving_leaves_the_moments_as_they_were():
    moments = make_moments(*make_regressions(2))
    before = [m.clone() for m in (moments.x, moments.y, moments.xx, moments.xy, moments.yy)]
    moments.ridge(0.1)
    after = [moments.x, moments.y, moments.xx, moments.xy, moments.yy]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("n_regressions", [1, 3])
def test_squared_error_from_moments_is_that_of_the_windows(n_regressions):
    weight, intercept = make_moments(*make_regressions(n_regressions)).ridge(0.1)
    x, y = make_regressions(n_regressions, seed=1)
    error = (y - x @ weight - intercept[:, None]).square().sum().item()
    assert make_moments(x, y).squared_error(weight, intercept) == pytest.approx(error, rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.1, 3.0, 30.0])
def test_random_sums_of_many_outputs_choose_the_penalty_that_all_of_them_do(noise, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 300))  # outputs have much in common

    def moments(n):
        x = rng.normal(size=(1, n, 30))
        y = x @ weight + noise * (rng.normal(size=(n, 4)) @ rng.normal(size=(4, 300)))
        return make_moments(torch.from_numpy(x), torch.from_numpy(y))

    fitted, scored = moments(60), moments(200)
    few = fitted.sketched(), scored.sketched()
    assert few[0].xy.shape == (1, 30, 64)
    assert few[0].sketched() is few[0]
    errors, shown = ({p: s.squared_error(*f.ridge(p)) for p in PENALTIES}
                     for f, s in [(fitted, scored), few])  # fmt: skip
    chosen, error = ridge.best_penalty(lambda p: few[1].squared_error(*few[0].ridge(p)))
    assert error == few[1].squared_error(*few[0].ridge(chosen)) <= min(shown.values())
    assert scored.squared_error(*fitted.ridge(chosen)) <= 1.01 * min(errors.values())
    spread = max(errors.values()) - min(errors.values())
    for p in PENALTIES[1:]:
        difference = errors[p] - errors[PENALTIES[0]]
        assert shown[p] - shown[PENALTIES[0]] == pytest.approx(difference, abs=0.4 * spread)


@pytest.mark.parametrize("first", [1e-6, 4e-4, 1.0])
@pytest.mark.parametrize("least", [0, 2, 3, 6])
def test_the_search_for_a_penalty_ends_where_the_error_has_its_minimum(least, first):
    tried = []

    def error(penalty):
        tried.append(penalty)
        return abs(PENALTIES.index(penalty) - least)

    assert descend(error, PENALTIES, first) == PENALTIES[least]
    begin = {1e-6: 0, 4e-4: 3, 1.0: 6}[first]
    assert len(set(tried)) <= abs(least - begin) + 3


def test_the_search_for_a_penalty_stays_where_all_errors_are_the_same():
    assert descend(lambda penalty: 1.0, PENALTIES, 1e-3) == 1e-3


@pytest.mark.parametrize("source_channels", [SOURCE_CHANNELS, None])
@pytest.mark.parametrize(("n_train", "noise"), [(30, 0.3), (60, 3.0), (300, 0.3)])
def test_no_candidate_beats_the_chosen_forecast_on_validation(n_train, noise, source_channels):
    data = make_series_data(noise=noise, dtype=np.float32)
    train, valid = data.part(slice(0, n_train)), data.part(slice(320, None))
    chosen = fit_linear_forecast(train, valid, [source_channels])[0]
    error = np.square(chosen(valid.batch(slice(None)).x).numpy() - valid.y).sum()
    errors = {
        key: np.square(forecast(valid.X) - valid.y).sum()
        for key, forecast in candidates(train, source_channels).items()
    }
    assert error <= min(errors.values()) * (1 + 1e-4)
    assert max(errors.values()) > 1.01 * error


def test_noiseless_linear_futures_are_forecast_exactly():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4, 2))
    weight = rng.normal(size=(8, 3))
    data = make_data(X, (X.reshape(200, -1) @ weight)[..., None] + 7)
    train, valid = data.part(slice(0, 150)), data.part(slice(150, None))
    forecast = fit_linear_forecast(train, valid, [None])[0]
    found = forecast(torch.from_numpy(valid.X).float())
    np.testing.assert_allclose(found, valid.y, atol=1e-4)


def test_a_map_shared_by_all_targets_is_used_where_it_forecasts_best():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(220, 8, 20))
    y = (0.7 * X[:, -1:] + 0.3 * X[:, :1]) + 0.5 * rng.normal(size=(220, 1, 20))
    data = make_data(X, y)
    forecast = fit_linear_forecast(data.part(slice(0, 20)), data.part(slice(20, None)),
                                   [torch.arange(20)])[0]  # fmt: skip
    assert forecast.weight.shape == (1, 8, 1)
    assert forecast.weight[0, 0, 0].item() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("candidates", [[SOURCE_CHANNELS], [SOURCE_CHANNELS, None]])
def test_windows_beyond_the_joint_limit_are_forecast_without_the_joint_map(candidates, monkeypatch):
    monkeypatch.setattr(ridge, "MAX_JOINT_ENTRIES", N_TIMESTEPS * N_CHANNELS - 1)
    data = make_series_data()
    assert not fit_linear_forecast(data, data, candidates)[0].joint


@pytest.mark.parametrize("limit", [1, 4096])
def test_the_validation_windows_choose_between_candidate_channels(limit, monkeypatch):
    monkeypatch.setattr(ridge, "MAX_JOINT_ENTRIES", limit)
    X, y, _ = sliding_windows(make_walks(n_channels=20), 8, 3)
    data = make_data(X, y[..., ::-1])
    train, valid = data.part(slice(0, 30)), data.part(slice(300, None))
    order = torch.arange(20)
    for candidates in ([order, order.flip(0)], [order.flip(0), order]):
        forecast = fit_linear_forecast(train, valid, candidates)[0]
        np.testing.assert_array_equal(forecast.source_channels, order.flip(0))


@pytest.mark.parametrize("source_channels", [SOURCE_CHANNELS, None])
def test_constant_channels_do_not_harm_the_regression(source_channels):
    data = make_series_data()
    X = np.array(data.X)
    X[..., 2] = 0.0
    data = make_data(X, data.y, dtype=np.float32)
    forecast = fit_linear_forecast(data, data, [source_channels])[0]
    assert all(buffer.isfinite().all() for buffer in forecast.buffers())


@pytest.mark.parametrize("limit", [1, 4096])
def test_out_of_fold_forecasts_are_fitted_without_their_fold(limit, monkeypatch):
    monkeypatch.setattr(ridge, "MAX_JOINT_ENTRIES", limit)
    monkeypatch.setattr(ridge, "PENALTIES", (0.1,))
    monkeypatch.setattr(ridge, "_HALF_STEPS", ())
    data = make_series_data()
    _, fold_maps = fit_linear_forecast(data, data, [SOURCE_CHANNELS])
    folds = consecutive_folds(data)
    assert len(fold_maps) == len(folds) == 6
    assert sum(map(len, folds)) == len(data)
    bounds = np.linspace(0, len(data), 7).astype(int)
    for forecast, start, stop in zip(fold_maps, bounds[:-1], bounds[1:], strict=True):
        rest = np.r_[0:start, stop : len(data)]
        expected, _ = fit_linear_forecast(
            make_data(data.X[rest], data.y[rest]), data, [SOURCE_CHANNELS]
        )
        if forecast.weight.shape != expected.weight.shape:  # chosen alike but for close ties
            continue
        torch.testing.assert_close(forecast.weight, expected.weight, rtol=1e-4, atol=1e-5)


def test_few_windows_have_no_out_of_fold_forecasts():
    data = make_series_data().part(slice(0, 11))
    assert fit_linear_forecast(data, data, [SOURCE_CHANNELS])[1] == []


# Batches


def everything(data):
    """All that is summed over batches, for one data set."""
    single = make_data(data.X.astype(np.float32), data.y, data.labels, np.float32)
    forecast, fold_maps = fit_linear_forecast(single, single, [SOURCE_CHANNELS])
    moments = ridge._Design(True, None).moments(data)
    return [forecast.weight, forecast.intercept, fold_maps[0].weight, moments.xx, moments.xy]


@pytest.mark.parametrize("n_rows", [1, 7, 64])
def test_the_size_of_the_batches_does_not_matter(n_rows, monkeypatch):
    data = make_series_data(150)
    whole = everything(data)
    monkeypatch.setattr(ridge, "rows_per_batch", lambda data: n_rows)
    for found, expected in zip(everything(data), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_entries", "expected"), [(1, 1), (18, 1), (36, 2), (60, 3)])
def test_a_batch_holds_a_bounded_number_of_values(n_entries, expected):
    assert count_rows(n_entries, make_series_data().X[0].size, n_classes=0) == expected


@pytest.mark.parametrize(("n_classes", "expected"), [(1, 1000), (2**14, 512), (2**24, 1)])
def test_a_batch_holds_a_bounded_number_of_responses(n_classes, expected):
    assert count_rows(18_000, 18, n_classes) == expected


# Batches


def assert_same_batch(found, expected):
    for name in ("x", "y", "labels"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(("most", "is_copied"), [(2000, True), (500, False)])
def test_views_of_a_short_series_are_standardised_once(most, is_copied, monkeypatch):
    monkeypatch.setattr("skdeepdive._data.batches._MOST_COPIED", most)
    series = 5 + 3 * make_walks(N_CHANNELS)
    X, y, _ = sliding_windows(series, N_TIMESTEPS, HORIZON)
    labels = np.zeros((len(X), 0), dtype=np.int64)
    scalings = Scaling(series.mean(0), series.std(0)), Scaling(np.zeros(3), np.full(3, 2.0))
    data = WindowData(X, y, labels, *scalings, CPU)
    found = data.standardised()
    assert (found.X is not X) == (found.y is not y) == is_copied
    assert found.X.strides[0] == found.X.strides[1]
    for rows in (slice(2, 9), np.array([7, 3, 3])):
        assert_same_batch(found.batch(rows), data.batch(rows))


def test_windows_that_are_no_views_stay_as_they_are():
    data = make_data(np.arange(120.0).reshape(10, 4, 3))
    assert data.standardised().X is data.X


@pytest.mark.parametrize("rows", [slice(3, 40), slice(None, None, 3), np.arange(50)[::-1] % 17])
def test_rows_gathered_few_at_a_time_are_those_gathered_at_once(rows, monkeypatch):
    data = make_series_data(dtype=np.float32)
    expected = data.batch(rows)
    monkeypatch.setattr("skdeepdive._data.batches._GATHERED_ENTRIES", 5 * N_TIMESTEPS * N_CHANNELS)
    assert_same_batch(data.batch(rows), expected)


@pytest.mark.parametrize("n_columns", [1, 3, 7, 8, 20])
def test_squares_are_summed_by_halves(n_columns, monkeypatch):
    monkeypatch.setattr("skdeepdive._start.sums._FEWEST_COLUMNS", 3)
    generator = make_generator(0, CPU)
    values = torch.randn(2, 30, n_columns, generator=generator, dtype=torch.float64)
    total = torch.zeros(2, n_columns, n_columns, dtype=torch.float64)
    for part in (values[:, :10], values[:, 10:]):
        add_squares(total, part)
    torch.testing.assert_close(total, values.mT @ values)
    assert torch.equal(total, total.mT)


def test_a_component_is_of_the_course_of_windows_or_of_levels():
    data = make_series_data()
    train, valid = data.part(slice(0, 300)), data.part(slice(300, None))
    forecast, _ = fit_linear_forecast(train, valid, [SOURCE_CHANNELS])
    assert forecast.joint
    components = forecast.components
    of_levels = (components[-N_CHANNELS:] != 0).any(0)
    assert of_levels.any()
    assert not components[:-N_CHANNELS, of_levels].any()
    assert components[:-N_CHANNELS, ~of_levels].any(0).all()
    torch.testing.assert_close(components.T @ components, torch.eye(components.shape[1]))
