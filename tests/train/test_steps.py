"""What every training step hands to the loss, and how far it goes."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import WindowData
from skdeepdive._data.labels import Factors
from skdeepdive._data.scaling import Scaling
from skdeepdive._start.start import Sizes, closed_form_start, fit_features
from skdeepdive._train.loop import Settings, train
from skdeepdive._train.phases import Phase, evaluate_loss, interleaved_loss

N, N_TIMESTEPS, HORIZON = 60, 5, 2
CPU = torch.device("cpu")


def make_data(n, seed):
    """Windows of noise, the class of each by its first value, and futures of noise."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, N_TIMESTEPS, 1)), rng.normal(size=(n, HORIZON, 1))
    unit = Scaling(np.zeros(1), np.ones(1))
    return WindowData(X, y, (X[:, :1, 0] > 0).astype(np.int64), unit, unit, CPU)


def make_start():
    data, valid = make_data(N, 0), make_data(30, 1)
    factors = Factors(["sign"], [np.arange(2)], None)
    sizes = Sizes(2, 2, n_hidden=4, n_clusters=0)
    return (
        closed_form_start(
            data,
            valid,
            fit_features(data, 0),
            [None],
            factors,
            sizes,
            0,
            interleave=True,
        ),
        data,
        valid,
    )


def train_phase(start, data, valid, *, max_epochs=2, batch_size=16, learning_rate=1e-2, **options):
    """Train in one phase; return what every call of the loss got, training and evaluation alike."""
    calls = []

    def loss(module, batch, draws, **options):
        calls.append(SimpleNamespace(batch=batch, options=options))
        return interleaved_loss(module, batch, draws, **options)

    phase = Phase("interleaved", loss, **{"rates": {}, "patience": None, **options},
                  max_epochs=max_epochs, evaluate=partial(evaluate_loss, loss=loss))  # fmt: skip
    settings = Settings(batch_size, learning_rate, 0, lambda history, finished: False)
    finish = lambda module, history: None  # noqa: E731
    train(start.module, data, valid, [phase], settings, finish, start.out_of_fold)
    return calls


def rows_of(batch, data):
    """Find the windows of a batch among all."""
    windows = data.batch(slice(None)).x
    return [int((windows == x).all((1, 2)).nonzero().item()) for x in batch.x]


def test_every_epoch_goes_through_all_windows_once_in_another_order():
    start, data, valid = make_start()
    calls = [c for c in train_phase(start, data, valid, max_epochs=3) if c.options]
    rows = np.concatenate([rows_of(call.batch, data) for call in calls]).reshape(3, N)
    for order in rows:
        np.testing.assert_array_equal(np.sort(order), np.arange(N))
    assert len({tuple(order) for order in rows.tolist()}) == 3
    assert {len(call.batch) for call in calls} == {15}  # four of at most 16, as even as they can be


def test_every_batch_comes_with_the_out_of_fold_forecasts_of_its_windows():
    start, data, valid = make_start()
    every = torch.randn(N, 2, generator=torch.Generator().manual_seed(0)).softmax(1)
    expected = start.out_of_fold(data.batch(slice(None)).x, [every])
    own = start.module.linear_forecast(data.batch(slice(None)).x, [every])
    assert (own != expected).any((1, 2)).all()
    calls = [call for call in train_phase(start, data, valid) if call.options]
    for call in calls:
        rows = rows_of(call.batch, data)
        found = call.options["out_of_fold"](call.batch.x, [every[rows]])
        torch.testing.assert_close(found, expected[rows])


def test_training_drops_features_and_evaluation_is_told_of_nothing():
    start, data, valid = make_start()
    calls = train_phase(start, data, valid)
    known = {len(data) // 4: True, len(valid): False}  # batches of training and of validation
    assert {len(call.batch) for call in calls} == set(known)
    for call in calls:
        assert call.options.get("dropout", False) == known[len(call.batch)]
        assert set(call.options) == (
            {"kl_weight", "out_of_fold", "dropout"} if call.options else set()
        )


@pytest.mark.parametrize("group", ["conditional", "marginal", "forecast"])
def test_a_step_goes_as_far_as_the_rate_of_its_group(group):
    """The first step of Adam has the length of the learning rate, wherever there is a gradient."""
    start, data, valid = make_start()
    rates = {group: 0.3, "discriminant": 0.05}
    groups = start.module.parameter_groups()
    before = {name: [p.detach().clone() for p in own] for name, own in groups.items()}
    train_phase(start, data, valid, max_epochs=1, batch_size=N, learning_rate=1e-3, rates=rates)
    for name, parameters in groups.items():
        moved = [(p - b).abs().max() for p, b in zip(parameters, before[name], strict=True)]
        assert max(moved).item() == pytest.approx(1e-3 * rates.get(name, 0.0), rel=0.05)


def test_the_weight_of_the_kl_is_that_of_the_epochs_done_after_the_step():
    start, data, valid = make_start()
    calls = train_phase(start, data, valid, kl_weight=lambda epochs: epochs)
    found = [call.options["kl_weight"] for call in calls if call.options]
    np.testing.assert_allclose(found, np.arange(1, 9) / 4)
