"""Displays: what is drawn, how it is labelled, and what is refused."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import confusion_matrix, mutual_info_score

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import VAEForecaster
from skdeepdive.inspection import (
    AttentionDisplay,
    DisentanglementDisplay,
    EmbeddingDisplay,
    FactorConfusionDisplay,
    ForecastDisplay,
    MutualInformationDisplay,
    TrainingHistoryDisplay,
    TraversalDisplay,
    channel_importance,
)
from skdeepdive.metrics import accuracy_above_chance, mutual_information_gap

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

N_TIMESTEPS, HORIZON, N_CHANNELS = 24, 6, 2


@pytest.fixture(autouse=True)
def no_figure_left_open():
    """Start from no figure, and close those of the test."""
    assert not plt.get_fignums()
    yield
    plt.close("all")


def make_model(**parameters):
    small = {"n_hidden": 8, "n_conditional": 3, "max_epochs": 2, "batch_size": 64}
    return DeepDIVEForecaster(**{**small, "random_state": 0, **parameters})


def make_windows():
    """Two channels with the period of a day and noise; the sixth and the half of the period."""
    time = np.arange(400)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(400, N_CHANNELS))
    series = np.sin(2 * np.pi * time / 24)[:, None] * [1, 3] + noise
    X, y, origin = sliding_windows(series, N_TIMESTEPS, HORIZON)
    return X, y, np.column_stack([origin % 24 // 4, origin % 24 // 12])


@cache
def fitted(n_marginal=16):
    X, y, factors = make_windows()
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(factors, columns=["sixth", "half"])
    return make_model(n_marginal=n_marginal).fit(X, y, table)


@cache
def baseline():
    X, y, _ = make_windows()
    return VAEForecaster(n_hidden=8, max_epochs=2, random_state=0).fit(X, y)


DISPLAYS = {
    "attention": lambda model: AttentionDisplay.from_estimator(model, make_windows()[0]),
    "forecast": lambda model, **options: ForecastDisplay.from_estimator(
        model, *make_windows()[:2], **options
    ),
    "confusion": lambda model: FactorConfusionDisplay.from_estimator(
        model, make_windows()[0], make_windows()[2]
    ),
    "information": lambda model: MutualInformationDisplay.from_estimator(
        model, make_windows()[0], make_windows()[2]
    ),
    "disentanglement": lambda model: DisentanglementDisplay.from_estimator(
        model, make_windows()[0], make_windows()[2]
    ),
    "embedding": lambda model: EmbeddingDisplay.from_estimator(model, make_windows()[0]),
    "history": TrainingHistoryDisplay.from_estimator,
    "traversal": lambda model: TraversalDisplay.from_estimator(model, make_windows()[0]),
}


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_one_figure_is_made_and_every_axis_is_labelled(draw):
    display = draw(fitted())
    assert plt.get_fignums() == [display.figure_.number]
    for ax in np.ravel(display.axes_) if hasattr(display, "axes_") else [display.ax_]:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    display.figure_.canvas.draw()  # what matplotlib finds wrong only then


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_an_estimator_that_is_not_fitted_is_refused(draw):
    with pytest.raises(NotFittedError):
        draw(make_model())
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_without_matplotlib_the_extra_is_named(draw, monkeypatch):
    model = fitted()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'Display needs matplotlib.*pip install "skdeepdive\[pl'):
        draw(model)


def test_displays_are_imported_without_matplotlib():
    code = "import sys, skdeepdive.inspection; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Forecasts


def test_forecast_takes_names_of_targets_and_time_stamps():
    pd = pytest.importorskip("pandas")
    X, y, _ = make_windows()
    times = pd.date_range("2014-10-25 12:00", periods=30, freq="h", tz="Europe/Lisbon")
    display = ForecastDisplay.from_estimator(
        fitted(), X, y, target="wind", target_names=["load", "wind"], times=times
    )
    assert display.ax_.get_title() == "wind"
    assert display.ax_.get_xlabel() == "time (Europe/Lisbon)"
    np.testing.assert_array_equal(
        display.forecast_line_.get_ydata(), fitted().predict(X[:1])[0, :, 1]
    )
    assert list(display.forecast_line_.get_xdata()) == list(times[24:].to_pydatetime())
    assert list(display.past_line_.get_xdata()) == list(times[:24].to_pydatetime())
    display.figure_.canvas.draw()
    title, legend = display.ax_.title, display.ax_.get_legend()
    assert title.get_window_extent().y0 >= legend.get_window_extent().y1


def test_the_legend_of_narrow_axes_is_within_them():
    _, (ax, _) = plt.subplots(1, 2, figsize=(8, 3))
    ForecastDisplay.from_estimator(fitted(), *make_windows()[:2], ax=ax)
    ax.figure.canvas.draw()
    inside, outside = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert outside.x0 < inside.x0 < inside.x1 < outside.x1
    assert inside.y1 < outside.y1


def test_forecast_takes_time_stamps_of_numpy():
    X, y, _ = make_windows()
    times = np.arange("2014-10-25T12", "2014-10-26T18", dtype="datetime64[h]")
    display = ForecastDisplay.from_estimator(fitted(), X, y, times=times)
    assert display.ax_.get_xlabel() == "time"
    display.figure_.canvas.draw()


def test_forecast_is_drawn_from_the_origin_in_steps():
    X, y, _ = make_windows()
    _, ax = plt.subplots()
    display = ForecastDisplay.from_estimator(
        fitted(), X, y, sample=-3, target=1, levels=(0.5, 0.95), unit="kW", ax=ax
    )
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    past, future, forecast = display.past_line_, display.future_line_, display.forecast_line_
    np.testing.assert_array_equal(past.get_xdata(), np.arange(1 - N_TIMESTEPS, 1))
    np.testing.assert_array_equal(past.get_ydata(), X[-3, :, 1])
    np.testing.assert_array_equal(future.get_xdata(), np.arange(1, HORIZON + 1))
    np.testing.assert_array_equal(future.get_ydata(), y[-3, :, 1])
    np.testing.assert_array_equal(forecast.get_ydata(), fitted().predict(X[-3:-2])[0, :, 1])
    assert ax.get_xlabel() == "steps from the forecast's origin"
    assert ax.get_ylabel() == "kW"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "past", "true future", "forecast", "95 % interval", "50 % interval",
    ]  # fmt: skip


def test_bands_are_the_quantiles_about_the_middle():
    X, y, _ = make_windows()
    display = ForecastDisplay.from_estimator(fitted(), X, y, levels=0.8)
    low, high = fitted().predict_quantiles(X[:1], [0.1, 0.9])[0, :, 0].T
    np.testing.assert_allclose(display.intervals, np.stack([low, high], axis=-1)[None])
    (band,) = display.bands_
    box = band.get_datalim(display.ax_.transData)
    assert (box.y0, box.y1) == pytest.approx((low.min(), high.max()))
    assert (box.x0, box.x1) == (1, HORIZON)


def test_forecast_alone_is_drawn_where_nothing_else_is_known():
    display = ForecastDisplay(forecast=np.arange(4.0)).plot()
    assert display.past_line_ is None
    assert display.future_line_ is None
    assert display.bands_ == []
    assert display.ax_.get_ylabel() == "value"


@pytest.mark.parametrize("kind", ["list", "frame", "flat"])
def test_forecast_of_other_kinds_of_windows(kind):
    pd = pytest.importorskip("pandas")
    X, y, _ = make_windows()
    flat = pd.DataFrame(X.reshape(len(X), -1)).rename(columns="v{}".format)
    given = {"list": X.tolist(), "frame": flat, "flat": flat.to_numpy()}[kind]
    model = fitted()
    if kind != "list":
        model = make_model(n_channels=2, n_clusters=2).fit(given, y)
    display = ForecastDisplay.from_estimator(model, given, y.tolist(), sample=3, target=1)
    np.testing.assert_array_equal(display.past, X[3, :, 1])
    np.testing.assert_array_equal(display.future, y[3, :, 1])


@pytest.mark.parametrize("model", [baseline, fitted], ids=["no quantiles", "no levels"])
def test_forecast_without_intervals(model):
    X, y, _ = make_windows()
    levels = (0.8,) if model is baseline else ()
    display = ForecastDisplay.from_estimator(model(), X, y, levels=levels)
    assert display.intervals is None
    assert display.bands_ == []


def test_past_of_another_channel_and_of_none():
    X, y, _ = make_windows()
    model = make_model(n_clusters=2).fit(X, y[:, :, 0])
    assert ForecastDisplay.from_estimator(model, X).past is None
    display = ForecastDisplay.from_estimator(model, X, y[:, :, 0], channel=1)
    np.testing.assert_array_equal(display.past, X[0, :, 1])
    np.testing.assert_array_equal(display.future, y[0, :, 0])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"sample": 10**6}, ValueError, "'sample' must be one of 371, counted from 0, got 1000000"),
        ({"sample": 0.5}, TypeError, "'sample' must be an integer, got 0.5"),
        ({"target": 2}, ValueError, "'target' must be one of 2, counted from 0, got 2"),
        ({"channel": -3}, ValueError, "'channel' must be one of 2"),
        ({"levels": 80}, ValueError, "'levels' must be a number between 0 and 1"),
        ({"y": make_windows()[1][:, :3]}, ValueError, "'y' must have 6 steps and 2 targets"),
        ({"y": make_windows()[1][1:]}, ValueError, "'y' must have one entry for each"),
        ({"target": "load"}, ValueError, "'target' must be one of 0, 1, got 'load'"),
        ({"target_names": ["load"]}, ValueError, "'target_names' must be 2 names"),
        ({"times": np.arange(5)}, ValueError, "n_timesteps [+] horizon = 30 steps, got 5"),
    ],
)
def test_forecast_refuses(options, error, match):
    X, y, _ = make_windows()
    with pytest.raises(error, match=match):
        ForecastDisplay.from_estimator(fitted(), X, **{"y": y, **options})
    assert not plt.get_fignums()


def test_a_single_step_is_seen():
    X, y, _ = sliding_windows(np.random.default_rng(0).normal(size=200), 24, 1)
    model = make_model(n_clusters=2).fit(X, y)
    display = ForecastDisplay.from_estimator(model, X, y)
    assert display.past_line_.get_marker() == ""
    assert display.forecast_line_.get_marker() == display.future_line_.get_marker() == "o"
    assert all(band.get_linewidth() > 1 for band in display.bands_)  # its area is empty
    ax = TraversalDisplay.from_estimator(model, X, dimensions=0).axes_[0, 1]
    assert {line.get_marker() for line in ax.lines} == {"o"}
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]


# Training


def test_history_has_training_and_validation_of_every_term():
    model = fitted()
    display = TrainingHistoryDisplay.from_estimator(model)
    assert list(display.lines_) == [
        "loss", "kl_b", "cross_entropy", "log_py", "log_px", "kl_a", "squared_error",
    ]  # fmt: skip
    for term, lines in display.lines_.items():
        names = [line.get_label() for line in lines]
        assert names == (["validation"] if term == "loss" else ["training", "validation"])
    line = display.lines_["squared_error"][1]
    drawn = line.get_ydata()[~np.isnan(line.get_ydata())]
    of_phase = model.history_["phase"] == "forecast"
    np.testing.assert_array_equal(drawn, model.history_["validation_squared_error"][of_phase])
    np.testing.assert_array_equal(
        line.get_xdata()[~np.isnan(line.get_ydata())], np.flatnonzero(of_phase) + 1
    )


def test_history_breaks_lines_where_a_phase_ends_and_names_phases():
    history = {"phase": ["marginal"] * 2 + ["interleaved"] * 3, "kl": np.arange(5.0)}
    display = TrainingHistoryDisplay(history).plot()
    (line,) = display.lines_["kl"]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, np.nan, 3, 4, 5])
    (legend,) = display.figure_.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["training", "marginal phase", "interleaved phase"]
    assert display.axes_[0].get_xlim() == (0.5, 5.5)


def test_history_of_a_baseline():
    display = TrainingHistoryDisplay.from_estimator(baseline())
    assert list(display.lines_) == ["loss", "log_py", "log_px", "kl"]


def test_history_draws_the_loss_of_the_interleaved_phase_alone():
    line = TrainingHistoryDisplay.from_estimator(fitted(), terms=["loss"]).lines_["loss"][0]
    values, loss = line.get_ydata(), fitted().history_["validation_loss"]
    of_phase = fitted().history_["phase"] == "interleaved"
    np.testing.assert_array_equal(values[~np.isnan(values)], loss[of_phase])


@pytest.mark.parametrize("terms", [None, ["loss"]])
def test_titles_and_legend_of_a_history_lie_apart_within_the_figure(terms):
    display = TrainingHistoryDisplay.from_estimator(fitted(), terms=terms)
    display.figure_.canvas.draw()
    boxes = [ax.title.get_window_extent() for ax in display.axes_]
    boxes.append(display.figure_.legends[0].get_window_extent())
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= display.figure_.bbox.width
        assert box.count_overlaps(boxes[:number]) == 0


def test_history_is_drawn_into_given_axes():
    figure, axes = plt.subplots(2)
    display = TrainingHistoryDisplay.from_estimator(fitted(), terms=["kl_a", "kl_b"], ax=axes)
    assert list(display.axes_) == list(axes)
    assert display.figure_ is figure
    assert axes[0].get_legend()
    _, ax = plt.subplots()
    assert TrainingHistoryDisplay.from_estimator(fitted(), terms="kl_a", ax=ax).axes_[0] is ax


@pytest.mark.parametrize("terms", [["kl"], []])
def test_history_refuses_unknown_terms(terms):
    with pytest.raises(ValueError, match=r"'terms' must be some of \['kl_b', .* got \["):
        TrainingHistoryDisplay.from_estimator(fitted(), terms=terms)


def test_history_refuses_another_number_of_axes():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="one axes for each of the 2 terms .* got 1"):
        TrainingHistoryDisplay.from_estimator(fitted(), terms=["kl_a", "kl_b"], ax=ax)


# Labels


def test_confusion_counts_true_against_predicted_labels():
    X, _, factors = make_windows()
    display = FactorConfusionDisplay.from_estimator(fitted(), X, factors, factor="half")
    expected = confusion_matrix(factors[:, 1], fitted().predict_cluster(X)[:, 1].astype(int))
    np.testing.assert_array_equal(display.confusion_matrix, expected)
    shares = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(display.im_.get_array(), shares)
    assert display.im_.get_clim() == (0, 1)
    assert display.ax_.get_xlabel() == "predicted half"
    assert display.ax_.get_ylabel() == "true half"
    right = np.trace(expected) / len(X)
    assert display.ax_.get_title() == f"half: {right:.0%} of {len(X)} windows right"


@pytest.mark.parametrize("form", ["table", "frame", "list", "column", "number"])
def test_labels_are_those_of_all_factors_or_of_one(form):
    pd = pytest.importorskip("pandas")
    X, _, factors = make_windows()
    given, factor = {
        "table": (factors, "half"),
        "frame": (pd.DataFrame(factors[:, ::-1], columns=["half", "sixth"]), "half"),
        "list": (factors.tolist(), "half"),
        "column": (factors[:, 1], "half"),
        "number": (factors, -1),
    }[form]
    display = FactorConfusionDisplay.from_estimator(fitted(), X, given, factor=factor)
    np.testing.assert_array_equal(display.confusion_matrix.sum(axis=1), np.bincount(factors[:, 1]))


@pytest.mark.parametrize("mark", [-1, None, np.nan])
def test_confusion_leaves_unlabelled_windows_out(mark):
    true = np.array(["a", "b", "b", mark, "c"], dtype=object)
    display = FactorConfusionDisplay.from_predictions(true, ["a", "b", "c", "a", "c"])
    np.testing.assert_array_equal(display.confusion_matrix, [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == ["a", "b", "c"]


def test_confusion_of_many_classes_has_small_ticks_and_no_numbers():
    hours = np.arange(24)
    display = FactorConfusionDisplay.from_predictions(hours, hours[::-1], factor_name="hour")
    assert display.text_ == []
    ticks = display.ax_.get_xticklabels()
    assert [tick.get_text() for tick in ticks] == [str(hour) for hour in hours]
    assert ticks[0].get_fontsize() < 8


def test_confusion_shows_classes_without_windows_as_blank_rows():
    display = FactorConfusionDisplay.from_predictions([0, 0], [0, 1], classes=[0, 1, 2])
    shares = np.ma.filled(display.im_.get_array(), np.nan)
    np.testing.assert_array_equal(shares, [[0.5, 0.5, 0], [np.nan] * 3, [np.nan] * 3])


def test_confusion_writes_every_share_that_does_not_round_to_zero():
    predicted = np.repeat(["a", "b", "c"], [990, 6, 4])
    display = FactorConfusionDisplay.from_predictions(["a"] * 1000, predicted)
    written = {text.get_position(): text.get_text() for text in display.text_}
    assert written == {(0, 0): "0.99", (1, 0): "0.01"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"factor": "hour"}, r"'factor' must be one of \['sixth', 'half'\], got 'hour'"),
        ({"factor": 2}, "'factor' must be one of 2, counted from 0, got 2"),
        ({"factors": make_windows()[2][:, :1]}, r"must have one column for each of .* \(371, 1\)"),
        ({"factors": make_windows()[2][1:]}, "inconsistent numbers of samples"),
        ({"factors": make_windows()[2] + 7}, "has the label .*, which is not among its"),
    ],
)
def test_confusion_refuses(options, match):
    X, _, factors = make_windows()
    with pytest.raises(ValueError, match=match):
        FactorConfusionDisplay.from_estimator(fitted(), X, **{"factors": factors, **options})
    assert not plt.get_fignums()


def test_confusion_refuses_labels_that_are_all_unknown():
    with pytest.raises(ValueError, match="'y_true' must have labelled samples, got none"):
        FactorConfusionDisplay.from_predictions([-1, -1], [0, 1])


def test_a_frame_without_the_factor_is_refused():
    pd = pytest.importorskip("pandas")
    X, _, factors = make_windows()
    with pytest.raises(ValueError, match=r"must have the column 'half', got \['a', 'b'\]"):
        FactorConfusionDisplay.from_estimator(
            fitted(), X, pd.DataFrame(factors, columns=["a", "b"]), factor="half"
        )


def test_an_estimator_without_factors_is_refused():
    X, _, factors = make_windows()
    with pytest.raises(ValueError, match="'estimator' has no factors"):
        FactorConfusionDisplay.from_estimator(baseline(), X, factors)


# Information


def test_information_names_dimensions_and_factors_and_tells_the_gap():
    X, _, factors = make_windows()
    display = MutualInformationDisplay.from_estimator(fitted(), X, factors, n_bins=10)
    Z = fitted().transform(X)
    gaps = mutual_information_gap(factors, Z, n_bins=10, multioutput="raw_values")
    assert display.ax_.get_title() == f"mutual information gap {gaps.mean():.2f}"
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == [
        f"sixth\n(gap {gaps[0]:.2f})", f"half\n(gap {gaps[1]:.2f})",
    ]  # fmt: skip
    rows = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert rows == fitted().get_feature_names_out().tolist()
    assert display.im_.get_array().shape == (Z.shape[1], 2)
    assert display.im_.get_clim() == (0, 1)


def test_information_is_that_of_scikit_learn_but_for_the_bias():
    labels, other = np.arange(6000) % 4, np.random.default_rng(0).integers(4, size=6000)
    Z = np.column_stack([labels, np.where(other == 0, labels, other), other])
    display = MutualInformationDisplay.from_predictions(labels, Z)
    expected = [mutual_info_score(labels, z) / np.log(4) for z in Z.T]
    np.testing.assert_allclose(display.mutual_information[:, 0], expected, atol=2e-3)
    rows = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert rows == ["latent_0", "latent_1", "latent_2"]


def test_information_of_other_labels_keeps_their_names():
    pd = pytest.importorskip("pandas")
    X, _, factors = make_windows()
    other = pd.DataFrame({"third": factors[:, 0] // 2})
    display = MutualInformationDisplay.from_estimator(baseline(), X, other)
    assert display.factor_names == ["third"]
    display = MutualInformationDisplay.from_estimator(fitted(), X, other["third"])
    assert display.factor_names == ["third"]
    display = MutualInformationDisplay.from_estimator(fitted(), X, factors[:, 0])
    assert display.factor_names == ["factor0"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_bins": 1}, "'n_bins' must be an integer of at least 2"),
        ({"factors": np.zeros(371, dtype=int)}, "must have at least two classes"),
        ({"factors": [0, 1]}, "inconsistent numbers of samples"),
    ],
)
def test_information_refuses(options, match):
    X, _, factors = make_windows()
    with pytest.raises(ValueError, match=match):
        MutualInformationDisplay.from_estimator(fitted(), X, **{"factors": factors, **options})
    assert not plt.get_fignums()


# Reading labels


def test_bars_are_what_is_read_from_either_part():
    pd = pytest.importorskip("pandas")
    X, _, factors = make_windows()
    table, options = pd.DataFrame(factors, columns=["sixth", "half"]), {"gap": 3, "cv": 4}
    display = DisentanglementDisplay.from_estimator(fitted(), X, table, **options)
    Z = fitted().transform(X)
    for part, bars in zip((Z[:, :-3], Z[:, -3:]), display.bars_, strict=True):
        expected = accuracy_above_chance(factors, part, **options, multioutput="raw_values")
        np.testing.assert_array_equal([bar.get_width() for bar in bars], expected)
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == ["sixth", "half"]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["marginal", "conditional"]


@pytest.mark.parametrize("latent", ["marginal", "conditional"])
def test_both_parts_are_needed_to_compare_them(latent):
    X, y, factors = make_windows()
    model = make_model(latent=latent).fit(X, y, factors if latent == "marginal" else None)
    with pytest.raises(ValueError, match="'estimator' must have marginal and conditional"):
        DisentanglementDisplay.from_estimator(model, X, factors)


# Long names

LONG = ["external rotation", "internal rotation", "forward elevation"]
LONG_NAMES = {
    "confusion": lambda: FactorConfusionDisplay.from_predictions(LONG, LONG),
    "information": lambda: MutualInformationDisplay(np.eye(3), factor_names=LONG).plot(),
    "attention": lambda: AttentionDisplay(np.ones((2, 4)), factor_names=LONG).plot(),
    "reading": lambda: DisentanglementDisplay(-np.ones((3, 2)), factor_names=LONG).plot(),
    "embedding": lambda: EmbeddingDisplay(
        np.eye(3, 2), np.arange(3), LONG, label_name="exercise", centres=np.eye(3, 2)
    ).plot(),
}


@pytest.mark.parametrize("draw", LONG_NAMES.values(), ids=LONG_NAMES)
def test_long_names_lie_apart_within_the_figure(draw):
    display = draw()
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend()
    boxes = [text.get_window_extent() for text in legend.get_texts()] if legend else []
    if display.ax_.images:  # elsewhere ticks are numbers, some of them out of sight
        boxes += [tick.get_window_extent() for tick in display.ax_.get_xticklabels()]
        boxes += [tick.get_window_extent() for tick in display.ax_.get_yticklabels()]
    width, height = display.figure_.bbox.size
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        assert box.count_overlaps(boxes[:number]) == 0


# Embeddings


def legend_of(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_two_marginal_dimensions_are_drawn_as_they_are_with_contours():
    X, _, factors = make_windows()
    model = fitted(n_marginal=2)
    display = EmbeddingDisplay.from_estimator(model, X, factors, factor="sixth")
    np.testing.assert_array_equal(display.points_.get_offsets(), model.transform(X)[:, :2])
    np.testing.assert_array_equal(display.codes, factors[:, 0])
    assert display.ax_.get_xlabel() == "sixth_0"
    assert display.ax_.get_ylabel() == "sixth_1"
    assert len(display.centres_.get_offsets()) == 6
    assert len(display.centres_.get_facecolors()) == 0  # windows within the rings are seen
    assert display.contours_
    assert legend_of(display) == [*"012345", "centre", "p(k | b) = 0.5"]
    assert display.ax_.get_legend().get_title().get_text() == "sixth"


def test_the_plane_is_a_square_around_all_windows_and_centres():
    X, _, factors = make_windows()
    display = EmbeddingDisplay.from_estimator(fitted(n_marginal=2), X, factors)
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert right - left == pytest.approx(top - bottom)
    drawn = np.vstack([display.points, display.centres])
    assert ((drawn > [left, bottom]) & (drawn < [right, top])).all()
    np.testing.assert_allclose(display.grid[0][[0, -1]], [left, right])  # contours end at the edge


def test_windows_that_are_all_at_the_centre_are_drawn():
    display = EmbeddingDisplay(np.ones((3, 2)), np.zeros(3, int), ["a"], centres=np.ones((1, 2)))
    assert display.plot().ax_.get_xlim() == (0, 2)


def test_contours_are_those_of_predict_cluster_proba():
    X, _, factors = make_windows()
    model = fitted(n_marginal=2)
    display = EmbeddingDisplay.from_estimator(model, X, factors)
    x, y = display.grid
    column = np.abs(display.points[:, :1] - x).argmin(axis=1)
    row = np.abs(display.points[:, 1:] - y).argmin(axis=1)
    np.testing.assert_allclose(display.posterior.sum(axis=0), 1, rtol=1e-6)
    proba = model.predict_cluster_proba(X)[0]
    assert np.abs(display.posterior[:, row, column].T - proba).mean() < 0.02
    assert (display.posterior[:, row, column].argmax(axis=0) == proba.argmax(axis=1)).mean() > 0.97


def test_of_more_marginal_dimensions_the_first_two_are_drawn_where_the_labels_are_in_order():
    X, _, factors = make_windows()
    display = EmbeddingDisplay.from_estimator(fitted(), X, factors, factor="sixth")
    centres = fitted().factor_priors_[0].centres
    assert centres.shape[1] > 2
    np.testing.assert_array_equal(display.centres, centres[:, :2])
    np.testing.assert_array_equal(display.points, fitted().transform(X)[:, :2])
    assert display.contours_ == []
    assert display.ax_.get_xlabel() == "sixth_0"
    assert display.ax_.get_ylabel() == "sixth_1"
    angles = np.unwrap(np.angle(display.centres @ [1, 1j]))
    assert (np.abs(np.diff(angles)) < 2).all()
    assert len(set(np.sign(np.diff(angles)))) == 1


def test_a_single_marginal_dimension_is_drawn_against_the_number_of_the_window():
    X, _, factors = make_windows()
    display = EmbeddingDisplay.from_estimator(fitted(), X, factors, factor="half")
    names = fitted().get_feature_names_out().tolist()
    np.testing.assert_array_equal(
        display.points[:, 0], fitted().transform(X)[:, names.index("half_0")]
    )
    np.testing.assert_array_equal(display.points[:, 1], np.arange(len(X)))
    assert display.ax_.get_ylabel() == "number of the window"
    assert len(display.centres_.get_segments()) == 2
    assert legend_of(display) == ["0", "1", "centre"]


def test_conditional_dimensions_are_coloured_by_any_labels():
    X, _, factors = make_windows()
    labels = np.where(factors[:, 0] > 2, "late", "early")
    display = EmbeddingDisplay.from_estimator(fitted(), X, labels, part="conditional")
    a = fitted().transform(X)[:, -3:]
    np.testing.assert_allclose(display.points, PCA(2).fit_transform(a), atol=1e-6)
    assert display.centres_ is None
    assert legend_of(display) == ["early", "late"]
    assert display.ax_.get_xlabel().startswith("conditional, principal axis 1 (")


@pytest.mark.parametrize("n_conditional", [1, 2])
def test_few_conditional_dimensions(n_conditional):
    X, y, factors = make_windows()
    model = make_model(n_conditional=n_conditional).fit(X, y, factors)
    display = EmbeddingDisplay.from_estimator(model, X, factors, part="conditional", factor=1)
    assert display.points.shape == (len(X), 2)
    assert display.label_name == "factor1"


def test_unlabelled_windows_are_grey_and_the_predicted_labels_stand_in():
    X, _, factors = make_windows()
    labels = np.where(np.arange(len(X)) < 5, -1, factors[:, 1])
    display = EmbeddingDisplay.from_estimator(fitted(), X, labels, factor="half")
    assert len(display.unlabelled_.get_offsets()) == 5
    assert len(display.points_.get_offsets()) == len(X) - 5
    assert legend_of(display)[-2:] == ["unlabelled", "centre"]
    display = EmbeddingDisplay.from_estimator(fitted(), X, factor="half")
    assert display.unlabelled_ is None
    np.testing.assert_array_equal(display.codes, fitted().predict_cluster(X)[:, 1])


@pytest.mark.parametrize("cmap", [None, "twilight", "object"])
def test_many_classes_are_named_at_a_bar(cmap):
    cmap = mpl.colormaps["twilight"] if cmap == "object" else cmap
    points = np.random.default_rng(0).normal(size=(48, 2))
    display = EmbeddingDisplay(points, np.arange(48) % 24, np.arange(24), label_name="hour")
    display.plot(cmap=cmap)
    _, bar = display.figure_.axes
    assert bar.get_ylabel() == "hour"
    assert [tick.get_text() for tick in bar.get_yticklabels()] == [str(k) for k in range(0, 24, 2)]
    assert len(np.unique(display.points_.get_facecolors(), axis=0)) == 24
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"part": "all"}, "'part' must be one of 'marginal', 'conditional', got 'all'"),
        ({"factor": "hour"}, "'factor' must be one of"),
        ({"factors": make_windows()[2][:, 0] + 7}, "which is not among its classes"),
        ({"factors": make_windows()[2][1:]}, "must have one entry for each"),
    ],
)
def test_embedding_refuses(options, match):
    X, _, factors = make_windows()
    with pytest.raises(ValueError, match=match):
        EmbeddingDisplay.from_estimator(fitted(), X, **{"factors": factors, **options})
    assert not plt.get_fignums()


def test_embedding_refuses_an_estimator_without_parts():
    X, _, factors = make_windows()
    with pytest.raises(ValueError, match="tell factors from other dimensions, got VAEForecaster"):
        EmbeddingDisplay.from_estimator(baseline(), X, factors[:, 0], part="conditional")


def test_embedding_of_discovered_clusters():
    X, y, _ = make_windows()
    model = make_model(n_clusters=3).fit(X, y)
    display = EmbeddingDisplay.from_estimator(model, X)
    assert legend_of(display)[:3] == ["0", "1", "2"]
    assert display.label_name == "cluster"


def test_embedding_refuses_a_part_that_is_not_there():
    X, y, factors = make_windows()
    model = make_model(latent="marginal").fit(X, y, factors)
    with pytest.raises(ValueError, match="the estimator has no conditional dimensions"):
        EmbeddingDisplay.from_estimator(model, X, factors, part="conditional")
    model = make_model(latent="conditional").fit(X, y)
    with pytest.raises(ValueError, match="'estimator' has no factors"):
        EmbeddingDisplay.from_estimator(model, X, factors)
    display = EmbeddingDisplay.from_estimator(model, X, factors[:, 0], part="conditional")
    assert display.label_name == "label"
    with pytest.raises(ValueError, match="at least two windows for principal axes, got one"):
        EmbeddingDisplay.from_estimator(fitted(), X[:1], part="conditional")


# Traversals


def test_traversal_draws_what_traverse_returns():
    X, _, _ = make_windows()
    values = [-1, 0, 3]
    display = TraversalDisplay.from_estimator(
        fitted(), X, dimensions=["conditional_1", 0], values=values, sample=-2, target=1, unit="kW"
    )
    assert display.dimension_names == ["conditional_1", "sixth_0"]
    assert display.axes_.shape == (2, 2)
    lines = iter(display.lines_)
    for row, dimension in zip(display.axes_, ["conditional_1", "sixth_0"], strict=True):
        expected = fitted().traverse(X[-2:-1], dimension, values)
        for ax, courses, start in (
            (row[0], expected.window[0, :, 1], 1 - N_TIMESTEPS),
            (row[1], expected.forecast[0, :, 1], 1),
        ):
            for course in courses.T:
                line = next(lines)
                assert line.axes is ax
                np.testing.assert_array_equal(line.get_ydata(), course)
                np.testing.assert_array_equal(line.get_xdata(), start + np.arange(len(course)))
    assert next(lines, None) is None
    assert display.colorbar_.mappable.get_clim() == (-1, 3)
    assert len({line.get_color() for line in display.lines_}) == 3


def test_traversal_draws_window_and_forecast_as_they_are_in_dashes():
    X, _, _ = make_windows()
    display = TraversalDisplay.from_estimator(fitted(), X, dimensions=0, sample=3, unit="kW")
    window, forecast = (ax.lines[-1] for ax in display.axes_[0])
    np.testing.assert_array_equal(window.get_ydata(), X[3, :, 0])
    np.testing.assert_array_equal(forecast.get_ydata(), fitted().predict(X[3:4])[0, :, 0])
    assert window.get_linestyle() == forecast.get_linestyle() == "--"
    assert [ax.get_title() for ax in display.axes_[0]] == [
        "window at values of sixth_0", "its forecast",
    ]  # fmt: skip
    label = display.figure_.axes[-1].get_ylabel()
    assert label == "value of the dimension\n(dashed: as it is)"
    assert {ax.get_ylabel() for ax in display.axes_.flat} == {"kW"}
    assert {ax.get_xlabel() for ax in display.axes_.flat} == {"steps from the forecast's origin"}


@pytest.mark.parametrize("options", [{"target": "wind"}, {"channel": "sun"}])
def test_traversal_takes_names_and_time_stamps(options):
    pd = pytest.importorskip("pandas")
    times = pd.date_range("2014-10-25 12:00", periods=30, freq="h", tz="Europe/Lisbon")
    names = {"target_names": ["load", "wind"]}
    if "channel" in options:
        names["channel_names"] = ["rain", "sun"]
    display = TraversalDisplay.from_estimator(
        fitted(), make_windows()[0], dimensions=0, times=times, **options, **names
    )
    target, channel = options.get("target", "load"), options.get("channel", "wind")
    window, forecast = display.axes_[0]
    assert window.get_title() == f"{channel} at values of sixth_0"
    assert forecast.get_title() == f"forecast of {target}"
    np.testing.assert_array_equal(display.window, make_windows()[0][0, :, 1])
    assert list(window.lines[0].get_xdata()) == list(times[:24].to_pydatetime())
    assert list(forecast.lines[0].get_xdata()) == list(times[24:].to_pydatetime())
    assert forecast.get_xlabel() == "time (Europe/Lisbon)"
    display.figure_.canvas.draw()


def test_traversal_chooses_the_most_variable_conditional_dimensions():
    X, y, factors = make_windows()
    spread = fitted().transform(X)[:, -3:].std(axis=0)
    expected = [f"conditional_{i}" for i in np.argsort(-spread)]
    assert TraversalDisplay.from_estimator(fitted(), X).dimension_names == expected
    model = make_model(latent="marginal").fit(X, y, factors[:, 0])
    names = TraversalDisplay.from_estimator(model, X).dimension_names
    assert len(names) == 3
    assert all(name.startswith("factor0_") for name in names)
    model = make_model(latent="conditional").fit(X, y)
    assert len(TraversalDisplay.from_estimator(model, X).dimension_names) == 3


@pytest.mark.parametrize("kind", ["list", "frame"])
def test_traversal_of_other_kinds_of_windows(kind):
    pd = pytest.importorskip("pandas")
    X, y, _ = make_windows()
    flat = pd.DataFrame(X.reshape(len(X), -1)).rename(columns="v{}".format)
    given, n_channels = {"list": (X.tolist(), None), "frame": (flat, 2)}[kind]
    model = make_model(n_channels=n_channels, n_clusters=2).fit(given, y[:, :, 0])
    display = TraversalDisplay.from_estimator(
        model, given, dimensions="conditional_0", values=[0.5], sample=3, channel=1
    )
    expected = model.traverse(flat[3:4] if kind == "frame" else X[3:4], "conditional_0", [0.5])
    np.testing.assert_array_equal(display.windows[0, 0], expected.window.reshape(-1, 2)[:, 1])
    np.testing.assert_array_equal(display.forecasts[0, 0], expected.forecast.ravel())
    np.testing.assert_array_equal(display.window, X[3, :, 1])
    assert TraversalDisplay.from_estimator(model, given).window[0] == X[0, 0, 0]


def test_traversal_is_drawn_from_arrays_into_given_axes():
    figure, axes = plt.subplots(2, 2)
    display = TraversalDisplay(np.zeros((2, 3, 5)), np.ones((2, 3, 4)), [0, 1, 2], ["u", "v"])
    assert display.plot(axes, cmap=mpl.colormaps["cividis"]).figure_ is figure
    assert list(display.axes_.flat) == list(axes.flat)
    assert len(axes[0, 0].lines) == 3
    assert axes[1, 0].get_title() == "window at values of v"
    assert axes[1, 1].get_title() == "its forecast"
    assert axes[1, 1].get_ylabel() == "value"


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"dimensions": "hour_0"}, ValueError, "'dimensions' must be one of sixth_0, .* 'hour_0'"),
        ({"dimensions": [99]}, ValueError, "'dimensions' must be below 9, got 99"),
        ({"dimensions": [0.5]}, TypeError, "'dimensions' must be an integer"),
        ({"dimensions": []}, ValueError, "'dimensions' must name at least one dimension, got none"),
        ({"values": 1.0}, ValueError, "'values' must be finite numbers in one dimension"),
        ({"sample": 371}, ValueError, "'sample' must be one of 371, counted from 0, got 371"),
        ({"target": 2}, ValueError, "'target' must be one of 2, counted from 0, got 2"),
        ({"channel": 2}, ValueError, "'channel' must be one of 2, counted from 0, got 2"),
        ({"channel_names": "ab"}, ValueError, "'channel_names' must be 2 names, one a channel"),
        ({"times": np.arange(5)}, ValueError, "n_timesteps [+] horizon = 30 steps, got 5"),
    ],
)
def test_traversal_refuses(options, error, match):
    with pytest.raises(error, match=match):
        TraversalDisplay.from_estimator(fitted(), make_windows()[0], **options)
    assert not plt.get_fignums()


def test_traversal_refuses_another_number_of_axes_and_estimators_without_it():
    X, _, _ = make_windows()
    _, ax = plt.subplots()
    with pytest.raises(
        ValueError, match=r"two axes for each of the dimensions \['sixth_0'\], got 1"
    ):
        TraversalDisplay.from_estimator(fitted(), X, dimensions=0, ax=ax)
    with pytest.raises(ValueError, match="'estimator' must have traverse, got VAEForecaster"):
        TraversalDisplay.from_estimator(baseline(), X)


# Attention


def tick_labels(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_attention_shows_the_mean_weights_of_all_windows():
    X, _, _ = make_windows()
    display = AttentionDisplay.from_estimator(fitted(), X)
    expected = fitted().attention(X).mean(axis=0)
    np.testing.assert_allclose(display.weights, expected)
    np.testing.assert_allclose(display.im_.get_array(), expected)
    assert display.im_.get_clim() == pytest.approx((0, 2 / 3))
    assert [text.get_text() for text in display.text_] == [f"{w:.2f}" for w in expected.flat]
    assert tick_labels(display.ax_.xaxis) == ["sixth", "half", "none"]
    assert tick_labels(display.ax_.yaxis) == ["conditional_0", "conditional_1", "conditional_2"]
    assert display.ax_.get_xlabel() == "factor"
    assert display.ax_.get_ylabel() == "conditional dimension"
    assert display.ax_.get_title() == "attention weights (even: 0.33)"


def test_attention_of_learned_constants_and_of_a_single_factor():
    X, y, factors = make_windows()
    model = make_model(latent="marginal").fit(X, y, factors[:, 0])
    display = AttentionDisplay.from_estimator(model, X)
    assert display.im_.get_clim() == (0, 1)
    assert tick_labels(display.ax_.yaxis) == [f"query_{i}" for i in range(8)]
    assert tick_labels(display.ax_.xaxis) == ["factor0", "none"]
    assert display.ax_.get_ylabel() == "query"


def test_attention_of_a_window_is_drawn_from_its_weights_into_given_axes():
    figure, ax = plt.subplots()
    weights = fitted().attention(make_windows()[0])[0]
    display = AttentionDisplay(weights, query_names=["u", "v", "w"]).plot(ax, cmap="viridis")
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert tick_labels(ax.yaxis) == ["u", "v", "w"]
    assert display.im_.get_cmap().name == "viridis"
    np.testing.assert_allclose(display.im_.get_array(), weights)


def test_attention_refuses_estimators_without_it():
    X, y, _ = make_windows()
    model = make_model(latent="conditional").fit(X, y)
    for estimator in (baseline(), model):
        with pytest.raises(
            ValueError, match="'estimator' must have attention, .* got .*Forecaster"
        ):
            AttentionDisplay.from_estimator(estimator, X)
    assert not plt.get_fignums()


# Importance of channels


def test_a_channel_that_forecasts_hang_on_is_important():
    time = np.arange(500)
    noise = np.random.default_rng(0).normal(size=500)
    X, y, _ = sliding_windows(np.column_stack([noise, np.sin(time / 4)]), 24, 6, targets=[1])
    model = make_model().fit(X, y)
    found = channel_importance(model, X, y, n_repeats=3, random_state=0)
    assert found.importances.shape == (2, 3)
    assert found.importances_mean[1] > 1 > abs(found.importances_mean[0]) * 100
    again = channel_importance(model, X, y, n_repeats=3, random_state=0)
    np.testing.assert_array_equal(found.importances, again.importances)


def test_importance_is_what_a_score_falls_by():
    X, y, _ = make_windows()

    def first_value(estimator, X, y):
        return X[:, :, 1].std(axis=0).sum() + X[0, 0, 0]

    found = channel_importance(fitted(), X, y, scoring=first_value, n_repeats=4, random_state=0)
    np.testing.assert_allclose(found.importances[1], 0, atol=1e-9)  # a permutation changes no std
    order = np.random.RandomState(0)
    expected = [X[0, 0, 0] - X[order.permutation(len(X))[0], 0, 0] for _ in range(4)]
    np.testing.assert_allclose(found.importances[0], expected)


def test_importance_leaves_the_windows_as_they_are():
    X, y, _ = make_windows()
    before = X.copy()
    channel_importance(fitted(), X, y, n_repeats=1, random_state=0)
    np.testing.assert_array_equal(X, before)


def test_importance_names_what_it_refuses():
    X, y, _ = make_windows()
    with pytest.raises(ValueError, match="'scoring' must be 'neg_rrse' or the name"):
        channel_importance(fitted(), X, y, scoring="accurate")
    with pytest.raises(NotFittedError):
        channel_importance(make_model(), X, y)


# Covariates of the horizon


@pytest.mark.parametrize("display", [ForecastDisplay, TraversalDisplay])
def test_displays_hand_covariates_on(display):
    X, y, _ = make_windows()
    known = np.random.default_rng(0).normal(size=(len(X), HORIZON))
    model = make_model(max_epochs=1, n_clusters=2).fit(X, y, future_covariates=known)
    drawn = display.from_estimator(model, X, sample=-2, target=1, future_covariates=known)
    expected = model.predict(X[-2:-1], future_covariates=known[-2:-1])[0, :, 1]
    np.testing.assert_allclose(drawn.forecast, expected)
    with pytest.raises(ValueError, match="'future_covariates' must have one entry for each"):
        display.from_estimator(model, X, future_covariates=known[1:])
