"""Callbacks of scikit-learn 1.9: told of every epoch, propagated by others, able to stop a fit."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

callback = pytest.importorskip("sklearn.callback", reason="comes with scikit-learn 1.9")

ESTIMATORS = [DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster]


class Recorder:
    """Note every task that ends, and what the estimator would make of the windows then."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.tasks, self.reconstructions, self.calls = [], [], []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.tasks.append(context.task_name)
        self.reconstructions.append(fitted_estimator.reconstruct(X))
        return context.task_name == self.stop_after

    def teardown(self, estimator, context):
        self.calls.append("teardown")


class AutoRecorder(Recorder):
    """One that meta-estimators pass on."""

    max_propagation_depth = None

    def on_fit_task_end(self, estimator, context):
        self.tasks.append(context.task_name)


def make_windows():
    noise = np.random.default_rng(0).standard_normal(180)
    X, y, origin = sliding_windows(np.sin(np.arange(180) * np.pi / 6) + 0.1 * noise, 12, 4)
    return X, y, origin % 12 // 3


def make_model(estimator=DeepDIVEForecaster, **parameters):
    return estimator(**{"n_hidden": 8, "max_epochs": 2, "random_state": 0, **parameters})


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_epoch_is_a_task(estimator):
    X, y, _ = make_windows()
    recorder = Recorder()
    model = make_model(estimator).set_callbacks(recorder).fit(X, y)
    names = zip(model.history_["phase"], model.history_["epoch"], strict=True)
    assert recorder.tasks == [*(f"{phase} epoch {epoch}" for phase, epoch in names), "fit"]
    assert recorder.calls == ["setup", "teardown"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_estimator_of_a_task_is_the_one_the_fit_would_leave(estimator):
    X, y, _ = make_windows()
    recorder = Recorder()
    model = make_model(estimator, early_stopping=False).set_callbacks(recorder).fit(X, y)
    assert not np.array_equal(recorder.reconstructions[0], recorder.reconstructions[-1])
    for reconstruction in recorder.reconstructions[-2:]:
        np.testing.assert_array_equal(reconstruction, model.reconstruct(X))


def test_callbacks_do_not_change_the_training():
    X, y, phase = make_windows()
    watched = make_model().set_callbacks(Recorder()).fit(X, y, phase)
    np.testing.assert_array_equal(watched.predict(X), make_model().fit(X, y, phase).predict(X))


@pytest.mark.parametrize("last", ["marginal epoch 1", "interleaved epoch 2", "forecast epoch 1"])
def test_a_callback_can_stop_the_fit(last):
    X, y, phase = make_windows()
    recorder = Recorder(stop_after=last)
    model = make_model(max_epochs=3).set_callbacks(recorder).fit(X, y, phase)
    assert recorder.tasks[-2:] == [last, "fit"]
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("failing_task", ["marginal epoch 1", "forecast epoch 2", "fit"])
def test_an_error_in_a_callback_leaves_the_estimator_as_it_was(failing_task):
    X, y, phase = make_windows()
    model = make_model().fit(X, y, phase)
    forecast = model.predict(X)

    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == failing_task:
                raise RuntimeError("no more")

    failing = Failing()
    model.set_callbacks(failing)
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(X[:, 1:], y, phase)
    assert failing.calls == ["setup", "teardown"]
    np.testing.assert_array_equal(model.predict(X), forecast)


def test_a_grid_search_in_a_pipeline_passes_callbacks_on():
    X, y, _ = make_windows()
    recorder = AutoRecorder()
    pipeline = make_pipeline(StandardScaler(), make_model(max_epochs=1))
    search = GridSearchCV(
        pipeline, {"deepdiveforecaster__n_conditional": [2, 4]}, cv=TimeSeriesSplit(2, gap=3)
    )
    search.set_callbacks(recorder).fit(X, y)
    assert recorder.tasks.count("interleaved epoch 1") == 5  # two by two, and the best


def test_scores_are_monitored_by_epoch():
    X, y, _ = make_windows()
    monitor = callback.ScoringMonitor(scoring="r2")
    model = make_model().set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data_as_pandas
    assert len(log) == len(model.history_["epoch"]) + 1
    assert log["r2"].iloc[-1] == pytest.approx(model.score(X, y))


def test_the_progress_bar_of_scikit_learn_runs(capsys):
    pytest.importorskip("rich")
    X, y, _ = make_windows()
    make_model(max_epochs=1).set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "DeepDIVEForecaster - fit" in capsys.readouterr().out


def test_callbacks_are_cloned_and_leave_the_fitted_state():
    X, y, _ = make_windows()
    model = make_model().set_callbacks(Recorder()).fit(X, y)
    assert not [name for name in vars(model) if "callback" in name and name != "_skl_callbacks"]
    assert clone(model)._skl_callbacks == model._skl_callbacks
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
