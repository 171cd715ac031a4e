"""What the classes of a factor add to the linear forecast, fitted in closed form.

Each class has a map of its own, from the leading principal components of the regression's inputs
to the residuals of the forecast so far. A window is forecast by the mean of the maps under its RBF
responses p(k | b): locally weighted ridge regression, one factor after the other.
"""

import torch

from ._ridge import PENALTIES
from ._torch_utils import N_BLOCKS, WindowData, consecutive_folds, rows_per_batch
from .nn._layers import LinearForecast, gate, regression_inputs, regression_outputs

# A factor's maps must gain more than this many standard errors of their mean gain: chance does that
# about once in a hundred times (Student's t of eight blocks).
_SURE_GAIN = 3.0


@torch.no_grad()
def fit_class_maps(module, train: WindowData, valid: WindowData) -> None:
    """Add the maps of every factor that surely lower the error on the validation windows.

    Residuals are those of forecasts which have not seen the window, and the forecasts that are
    held out for this purpose get maps that have not seen it either. Of few windows nothing is sure.
    """
    decoder = module.forecast_decoder
    folds = consecutive_folds(train)
    if not folds or len(valid) < N_BLOCKS:
        return
    for i in range(len(module.priors)):
        parts = [
            _moments(module, source, i, fold)
            for source, fold in zip(decoder.held_out, folds, strict=True)
        ]
        xx, xy = (sum(sums) for sums in zip(*parts, strict=True))
        candidates = {penalty: _solve(xx, xy, penalty).float() for penalty in PENALTIES}
        penalty = _best_penalty(module, i, valid, candidates)
        decoder.start.add_class_maps(None if penalty is None else candidates[penalty])
        for source, (own_xx, own_xy) in zip(decoder.held_out, parts, strict=True):
            rest = xx - own_xx, xy - own_xy
            source.add_class_maps(None if penalty is None else _solve(*rest, penalty).float())


def _parts(module, forecast: LinearForecast, i: int, data: WindowData):
    """Yield the response to factor i, the compressed inputs and the residuals of every batch."""
    for x, y, _ in data.batches(rows_per_batch(data)):
        responses = module.infer_marginal(x).responses
        inputs = regression_inputs(x, forecast.anchors, forecast.joint)
        residuals = regression_outputs(y - forecast(x, responses), forecast.joint)
        yield responses[i], forecast.compress(inputs), residuals


def _moments(module, forecast: LinearForecast, i: int, data: WindowData):
    """Sum products of inputs with inputs and with residuals, weighed by the responses.

    They are `(n_regressions, n_classes, n_inputs, n_inputs or n_outputs)`.
    """
    sums: list = [0.0, 0.0]
    pooled = len(forecast.weight) == 1
    for response, inputs, residuals in _parts(module, forecast, i, data):
        inputs = inputs.double()
        gated = gate(inputs, response.double()).mT
        products = gated @ inputs, gated @ residuals.double()
        if pooled:
            products = [product.sum(0, keepdim=True) for product in products]
        sums = [total + product for total, product in zip(sums, products, strict=True)]
    shape = (response.shape[1], inputs.shape[2])
    return [total.unflatten(1, shape) for total in sums]


def _solve(xx: torch.Tensor, xy: torch.Tensor, penalty: float) -> torch.Tensor:
    """Solve for every class; the penalty is relative to the mean square of the inputs of all.

    So a class with few windows is drawn closer to zero than one with many.
    """
    diagonal = xx.diagonal(dim1=-2, dim2=-1)[..., :-1]  # the constant aside
    absolute = penalty * diagonal.mean((1, 2)).clamp(min=1e-9)
    penalised = xx + absolute[:, None, None, None] * torch.eye(xx.shape[-1]).to(xx)
    return torch.cholesky_solve(xy, torch.linalg.cholesky(penalised))


def _best_penalty(module, i: int, valid: WindowData, candidates: dict) -> float | None:
    """Choose the penalty with the greatest gain on the validation windows; None without any."""
    forecast = module.forecast_decoder.start
    gains = []
    for response, inputs, residuals in _parts(module, forecast, i, valid):
        gated = gate(inputs, response)
        errors = [
            (residuals - gated @ maps.flatten(1, 2)).square().sum((0, 2))
            for maps in candidates.values()
        ]
        gains.append(residuals.square().sum((0, 2)).unsqueeze(1) - torch.stack(errors, dim=1))
    gain = torch.cat(gains)  # (n_windows, n_penalties)
    best = int(gain.sum(0).argmax())
    blocks = gain[:, best].tensor_split(N_BLOCKS)
    means = torch.stack([block.mean() for block in blocks])
    surely = means.mean() > _SURE_GAIN * means.std() / len(means) ** 0.5
    return list(candidates)[best] if surely else None
