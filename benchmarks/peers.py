"""Forecasters of other libraries, each tuned on the validation windows only.

Every function takes the windows of one hourly series and a seed, never fits to a test window,
and returns forecasts of the validation and of the test windows.
"""

import copy
import logging
import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neural_network import MLPRegressor

WIDEST = 8192  # inputs of a model in which every channel sees all others
BATCH = 1024  # windows


@dataclass
class Forecasts:
    """Standardised forecasts of shape (n_windows, horizon, n_channels), and what was chosen."""

    validation: np.ndarray
    test: np.ndarray
    chosen: dict = field(default_factory=dict)


def squared_error(data, validation):
    return float(np.square(data.y[data.parts[1]] - validation).mean())


def best_on_validation(data, candidates):
    return min(candidates, key=lambda forecasts: squared_error(data, forecasts.validation))


def seasonal_naive(data, seed=None):
    """Repeat the same hour of yesterday or of last week."""
    horizon = data.y.shape[1]

    def repeat(period):
        lags = np.arange(horizon) % period - period
        validation, test = (data.X[part][:, lags] for part in data.parts[1:])
        return Forecasts(validation, test, {"period": period})

    return best_on_validation(data, [repeat(24), repeat(168)])


def variants(data):
    """Name the ways to see channels: one map for any of them, and, if few, one for all jointly."""
    return ["shared", "full"] if np.prod(data.X.shape[1:]) <= WIDEST else ["shared"]


def rows(X, of, variant):
    """Flatten `of` less the last value of `X`: a row is a channel of a window, or a window."""
    by_channel = (of - X[:, -1:]).transpose(0, 2, 1)
    n_rows = len(X) * X.shape[2] if variant == "shared" else len(X)
    return by_channel.reshape(n_rows, -1)


def forecast(X, predict, variant):
    """Predict rows, batch by batch, and add the last values back."""
    batches = (X[start : start + BATCH] for start in range(0, len(X), BATCH))
    return np.concatenate(
        [
            predict(rows(x, x, variant)).reshape(len(x), x.shape[2], -1).transpose(0, 2, 1)
            + x[:, -1:]
            for x in batches
        ]
    ).astype(np.float32)


def forecast_parts(data, predict, variant, chosen):
    validation, test = (forecast(data.X[part], predict, variant) for part in data.parts[1:])
    return Forecasts(validation, test, {"variant": variant, **chosen})


def ridge(data, seed=None):
    """Ridge regression of the differences from the last value; penalties from 1 to 1e6."""
    return best_on_validation(data, [_ridge(data, variant) for variant in variants(data)])


def _ridge(data, variant):
    gram, cross, mean_past, mean_future = _moments(data, variant)

    def candidate(penalty):
        weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), cross)
        bias = (mean_future - mean_past @ weights).astype(np.float32)
        weights = weights.astype(np.float32)
        return forecast_parts(
            data, lambda past: past @ weights + bias, variant, {"penalty": float(penalty)}
        )

    return best_on_validation(data, map(candidate, 10.0 ** np.arange(7)))


def _moments(data, variant):
    """Sum the centred normal equations over the training windows in float64."""
    sums = [0, 0, 0, 0, 0]
    for start in range(0, data.parts[0].stop, BATCH):
        batch = slice(start, min(start + BATCH, data.parts[0].stop))
        X, y = data.X[batch], data.y[batch]
        past, future = (rows(X, of, variant).astype(np.float64) for of in (X, y))
        terms = past.T @ past, past.T @ future, past.sum(axis=0), future.sum(axis=0), len(past)
        sums = [total + term for total, term in zip(sums, terms, strict=True)]
    gram, cross, past, future, count = sums
    gram -= np.outer(past, past) / count
    cross -= np.outer(past, future) / count
    return gram, cross, past / count, future / count


def stopped_early(data, epoch, predict, variant, chosen, max_epochs, patience):
    """Repeat `epoch` until validation stops to gain; keep the forecasts of the best one."""
    best, lowest = None, np.inf
    for n_epochs in range(1, max_epochs + 1):
        epoch()
        error = squared_error(data, forecast(data.X[data.parts[1]], predict, variant))
        if error < lowest:
            lowest = error
            best = forecast_parts(data, predict, variant, {**chosen, "epochs": n_epochs})
        elif n_epochs - best.chosen["epochs"] >= patience:
            break
    return best


def nlinear(data, seed):
    """NLinear: one linear map from the differences, by Adam whose learning rate halves every epoch.

    It starts at 1e-3 or 1e-2.
    """
    return best_on_validation(data, [_nlinear(data, seed, rate) for rate in (1e-3, 1e-2)])


def _nlinear(data, seed, learning_rate):
    generator = torch.Generator().manual_seed(seed)
    train, bound = data.parts[0], data.X.shape[1] ** -0.5
    weights = torch.empty(data.X.shape[1], data.y.shape[1])
    bias = torch.empty(data.y.shape[1])
    for tensor in (weights, bias):
        tensor.uniform_(-bound, bound, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([weights, bias], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def epoch():
        for batch in torch.randperm(train.stop, generator=generator).split(64):
            X, y = data.X[batch.numpy()], data.y[batch.numpy()]
            past, future = (torch.from_numpy(rows(X, of, "shared")) for of in (X, y))
            optimizer.zero_grad()
            (past @ weights + bias - future).square().mean().backward()
            optimizer.step()
        schedule.step()

    def predict(past):
        return past @ weights.detach().numpy() + bias.detach().numpy()

    chosen = {"learning_rate": learning_rate}
    return stopped_early(data, epoch, predict, "shared", chosen, max_epochs=20, patience=3)


def mlp(data, seed):
    """scikit-learn's perceptron with 256 hidden units, on the differences from the last value."""
    return best_on_validation(data, [_mlp(data, seed, variant) for variant in variants(data)])


def _mlp(data, seed, variant):
    model = MLPRegressor(hidden_layer_sizes=(256,), random_state=seed)
    train = data.parts[0]
    past, future = (rows(data.X[train], of, variant) for of in (data.X[train], data.y[train]))

    def epoch():
        model.partial_fit(past, future)

    return stopped_early(data, epoch, model.predict, variant, {}, max_epochs=40, patience=5)


def boosting(data, seed, build=None):
    """One gradient boosting for all channels and steps, of differences from the last value.

    Fitted to 300,000 drawn values to be forecast; stopped, and its 31 or 127 leaves chosen, on
    60,000 drawn from the validation part.
    Features: the last day, the target's hour on all days of the window, level and spread of the
    window, step, channel, and the hour, weekday and month of the target; where covariates are told,
    also these at the step and one and three steps before, within the horizon.
    """
    random = np.random.default_rng(seed)
    fit, stop = (
        _draw(data, part, size, random)
        for part, size in zip(data.parts[:2], (300_000, 60_000), strict=True)
    )
    build = build or _hist_gradient_boosting
    fitted = [build(data, seed, n_leaves, fit, stop) for n_leaves in (31, 127)]
    model, _, chosen = min(fitted, key=lambda candidate: candidate[1])
    validation, test = (_boosted(data, part, model) for part in data.parts[1:])
    return Forecasts(validation, test, chosen)


def _hist_gradient_boosting(data, seed, n_leaves, fit, stop):
    """Return a stopped model, its validation loss, and what was chosen."""
    model = HistGradientBoostingRegressor(
        max_iter=1000, max_leaf_nodes=n_leaves, early_stopping=True, n_iter_no_change=20,
        categorical_features=[0] if data.X.shape[2] <= 255 else None, random_state=seed,
    )  # fmt: skip
    model.fit(*fit, X_val=stop[0], y_val=stop[1])
    chosen = {"leaves": n_leaves, "iterations": model.n_iter_}
    return model, -model.validation_score_.max(), chosen


def lightgbm(data, seed):
    """LightGBM with the features, the drawn values and the choices of `boosting`."""
    return boosting(data, seed, _lightgbm)


def _lightgbm(data, seed, n_leaves, fit, stop):
    from lightgbm import LGBMRegressor, early_stopping

    model = LGBMRegressor(
        n_estimators=1000, num_leaves=n_leaves, random_state=seed, n_jobs=1, verbose=-1
    )
    stopping = early_stopping(20, verbose=False)
    model.fit(*fit, eval_X=stop[0], eval_y=stop[1], categorical_feature=[0], callbacks=[stopping])
    chosen = {"leaves": n_leaves, "iterations": model.best_iteration_}
    return model, model.best_score_["valid_0"]["l2"], chosen


def _draw(data, part, size, random):
    shape = part.stop - part.start, data.y.shape[2], data.y.shape[1]
    window, channel, step = (random.integers(n, size=size) for n in shape)
    window += part.start
    future = data.y[window, step, channel] - data.X[window, -1, channel]
    return _features(data, window, channel, step), future


def _boosted(data, part, model):
    n_channels, horizon = data.X.shape[2], data.y.shape[1]
    forecasts = []
    for start in range(part.start, part.stop, 64):
        windows = np.arange(start, min(start + 64, part.stop))
        grid = np.meshgrid(windows, np.arange(horizon), np.arange(n_channels), indexing="ij")
        window, step, channel = (axis.ravel() for axis in grid)
        differences = model.predict(_features(data, window, channel, step))
        forecasts.append(differences.reshape(grid[0].shape) + data.X[windows][:, -1:])
    return np.concatenate(forecasts).astype(np.float32)


def _features(data, window, channel, step):
    last = data.X[window, -1, channel]
    days = -24 * np.arange(1, data.X.shape[1] // 24 + 1)
    lags = np.hstack([np.tile(np.arange(-24, -1), (len(step), 1)), days + step[:, None] % 24])
    past = data.X[window[:, None], lags, channel[:, None]] - last[:, None]
    week = past[:, -len(days) :]
    target = data.calendar[data.origin[window] + 1 + step]
    level = np.column_stack([week.mean(axis=1), week.std(axis=1), last])
    told = []
    if data.covariates is not None:
        told = [data.covariates[window, np.maximum(0, step - lag)] for lag in (0, 1, 3)]
    return np.column_stack([channel, step, past, level, target, *told]).astype(np.float32)


# Of neuralforecast's networks, by name; those of single data sets take precedence.
SETTINGS = {
    "NHITS": {
        "learning_rate": 1e-3,
        "max_steps": 2000,
        "dropout_prob_theta": 0.2,
        "scaler_type": "identity",
        "val_check_steps": 200,
        "early_stop_patience_steps": 4,
    },
    "TiDE": {
        "learning_rate": 1e-3,
        "max_steps": 2000,
        "hidden_size": 128,
        "decoder_output_dim": 16,
        "temporal_decoder_dim": 64,
        "scaler_type": "identity",
        "val_check_steps": 200,
        "early_stop_patience_steps": 4,
    },
    "DLinear": {
        "learning_rate": 1e-3,
        "max_steps": 4000,
        "scaler_type": "identity",
        "val_check_steps": 50,
        "early_stop_patience_steps": 5,
    },
}
OVERRIDES = {
    ("DLinear", "electricity"): {"learning_rate": 3e-4},
    ("DLinear", "gefcom2012"): {"val_check_steps": 200, "early_stop_patience_steps": 3},
    ("NHITS", "gefcom2012"): {"learning_rate": 3e-3, "mlp_units": 3 * [[128, 128]]},
    ("NHITS", "gefcom2012-weather"): {"learning_rate": 3e-3, "mlp_units": 3 * [[128, 128]]},
    ("NHITS", "electricity"): {
        "learning_rate": 3e-3,
        "max_steps": 1000,
        "mlp_units": 3 * [[64, 64]],
        "val_check_steps": 25,
        "early_stop_patience_steps": 20,
    },
    ("NHITS", "etth1"): {
        "learning_rate": 3e-4,
        "max_steps": 1000,
        "mlp_units": 3 * [[128, 128]],
        "val_check_steps": 50,
        "early_stop_patience_steps": 5,
    },
}


def network_settings(name, data):
    """Return what a network is told; all of it was chosen on the validation windows."""
    return {**SETTINGS[name], **OVERRIDES.get((name, data.name), {})}


def tide(data, seed):
    """Forecast by one TiDE for all channels; see `fit_network`."""
    settings = network_settings("TiDE", data)
    return network_forecasts(fit_network("TiDE", data, seed, settings), data, settings)


def nhits(data, seed, **settings):
    """Forecast by one NHITS for all channels; see `fit_network`.

    With the scaler "robust" every window is centred and scaled on its own; which of the two
    forecasts better differs between validation and test parts, so forecast.py shows both.
    """
    settings = {**network_settings("NHITS", data), **settings}
    return network_forecasts(fit_network("NHITS", data, seed, settings), data, settings)


def fit_network(name, data, seed, settings, report=lambda error: None):
    """Fit one network of neuralforecast to all channels; `report` hears of every check.

    It is fitted to the rows before the test part, of which the validation part only stops it, and
    the weights of its best check are kept. A check tells the mean squared error of the validation
    windows. A training batch is 512 windows of any channels and times.
    """
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MSE

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    model = _quick(name)(
        alias=name,
        futr_exog_list=_told_names(data),
        h=data.y.shape[1],
        input_size=data.X.shape[1],
        loss=MSE(),
        random_seed=seed,
        batch_size=len(data.channels),
        valid_batch_size=6,
        windows_batch_size=512,
        inference_windows_batch_size=4096,
        training_data_availability_threshold=1.0,
        callbacks=[_best_weights(report)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )
    network = NeuralForecast([model], freq="h")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        n_validation = data.cuts[1] - data.cuts[0]
        network.fit(_long_table(data, data.cuts[1]), val_size=n_validation)
    return network


def network_forecasts(network, data, settings):
    n_rows = np.diff([*data.cuts, len(data.series)])
    validation, test = (
        _rolling_forecasts(network, data, part, stop, int(n))
        for part, stop, n in zip(data.parts[1:], [data.cuts[1], None], n_rows, strict=True)
    )
    steps, _ = min(network.models[0].valid_trajectories, key=lambda check: check[1])
    return Forecasts(validation, test, {**settings, "steps": steps})


def _rolling_forecasts(network, data, part, stop, n_rows):
    """Forecast the last `n_rows` rows before `stop` from every origin, in steps of one hour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = network.cross_validation(
            _long_table(data, stop), n_windows=None, test_size=n_rows, use_fitted=True
        )
    table = table.set_index("unique_id")
    shape = data.y[part].shape[:2]
    columns = [table.loc[channel] for channel in data.channels]
    true, cutoff, forecast = (
        np.stack([column[name].to_numpy().reshape(shape) for column in columns], axis=2)
        for name in ("y", "cutoff", network.models[0].alias)
    )
    np.testing.assert_array_equal(true, data.y[part])
    origins = data.index[data.origin[part]].to_numpy()
    np.testing.assert_array_equal(cutoff, np.broadcast_to(origins[:, None, None], cutoff.shape))
    return forecast


def _long_table(data, stop):
    rows = data.series[:stop]
    table = pd.DataFrame(
        {
            "unique_id": np.repeat(data.channels, len(rows)),
            "ds": np.tile(data.index[:stop], len(data.channels)),
            "y": rows.T.ravel(),
        }
    )
    if data.told is None:
        return table
    training = data.told[: data.cuts[0]]
    spread = training.std(axis=0)
    told = (data.told[:stop] - training.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return table.join(
        pd.DataFrame(np.tile(told, (len(data.channels), 1)), columns=_told_names(data))
    )


def _told_names(data):
    n_told = 0 if data.told is None else data.told.shape[1]
    return [f"told_{i}" for i in range(n_told)] or None


def _quick(name):
    """Make a network draw its training windows before it copies them.

    neuralforecast 3.3 copies all windows of all channels at every step, which takes longer than
    the step itself.
    """
    from neuralforecast import models

    class Quick(getattr(models, name)):
        def _create_windows(self, batch, step):
            if step != "train":
                return super()._create_windows(batch, step)
            rows = batch["temporal"][:, :, : -self.val_size - self.test_size]
            windows = rows.unfold(-1, self.input_size + self.h, 1).permute(0, 2, 3, 1)
            drawn = (torch.randint(n, (self.windows_batch_size,)) for n in windows.shape[:2])
            sample = windows[tuple(drawn)].unsqueeze(-1)
            return sample, None, None, torch.arange(len(sample)), None, batch["temporal_cols"]

    return Quick


def _best_weights(report):
    """Make a callback that reports validation errors and ends the fit with the best weights."""
    from pytorch_lightning.callbacks import Callback

    class BestWeights(Callback):
        error, weights = np.inf, None

        def on_validation_end(self, trainer, network):
            error = float(trainer.callback_metrics["ptl/val_loss"])
            report(error)
            if error < self.error:
                self.error, self.weights = error, copy.deepcopy(network.state_dict())

        def on_train_end(self, trainer, network):
            if self.weights is not None:
                network.load_state_dict(self.weights)

    return BestWeights()
