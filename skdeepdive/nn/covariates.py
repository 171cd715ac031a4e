"""Covariates known for the horizon: what they add to the forecast, step by step."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.functional import relu

from .configuration import CovariateEffectConfiguration
from .layers import BLOCK_ENTRIES, Linear

# Steps before a step of the horizon whose covariates bear on it, beside its own: weather acts with
# a delay.
_N_BEFORE = 3


def about_step(covariates: torch.Tensor, step: int) -> torch.Tensor:
    """Covariates `(n, horizon, n_covariates)` at a step and just before it, `(n, n_about)`."""
    return about_steps(covariates, [step]).squeeze(1)


def about_steps(covariates: torch.Tensor, steps: Sequence[int]) -> torch.Tensor:
    """Covariates at some steps and just before each of them, `(n, n_steps, n_about)`.

    Before the first step nothing is known; its own covariates stand in.
    """
    places = [max(0, step - k) for step in steps for k in range(_N_BEFORE + 1)]
    found = covariates.index_select(1, torch.tensor(places, device=covariates.device))
    return found.unflatten(1, (len(steps), _N_BEFORE + 1)).flatten(2)


def about_every_step(covariates: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the covariates about every step, and whether those of a window are new, `(n,)`.

    They are not where they are those of the next window at the step before: where windows begin one
    step apart, nearly all are known from the fifth step on.
    """
    before = None
    for step in range(covariates.shape[1]):
        about = about_step(covariates, step)
        is_new = torch.ones(len(about), dtype=torch.bool, device=about.device)
        if before is not None:
            is_new[:-1] = (about[:-1] != before[1:]).any(1)
        yield about, is_new
        before = about


def count_about(n_covariates: int) -> int:
    """Count the covariates about a step."""
    return (_N_BEFORE + 1) * n_covariates


class CovariateEffect(nn.Module):
    """What the covariates of the horizon add to the linear forecast, fitted in closed form.

    Every step has a ridge regression of its own on the covariates about it, on hinges of them, on
    a summary of the window, and on the level of the target, where it continues a channel. A hinge
    is max(0, w'c - t): it bends along a direction w of a few covariates, which makes responses
    nonlinear (heating and cooling) and lets them depend on each other (weather and the hour).
    Summary and level make up for what the window told of the covariates before they were known.

    Parameters
    ----------
    directions : tensor of shape (n_about, n_hinges)
    thresholds : tensor of shape (n_hinges,)
    summary : tensor of shape (n_scores, n_summary)
        Map from the scores of a :class:`LinearForecast` to the summary.
    weight : tensor of shape (horizon, n_inputs + 1, n_targets)
        The last weight is that of the target's own level.
    intercept : tensor of shape (horizon, n_targets)
    """

    directions: torch.Tensor
    thresholds: torch.Tensor
    summary: torch.Tensor
    weight: torch.Tensor
    intercept: torch.Tensor

    def __init__(self, directions, thresholds, summary, weight, intercept):
        super().__init__()
        self.register_buffer("directions", directions)
        self.register_buffer("thresholds", thresholds)
        self.register_buffer("summary", summary)
        self.register_buffer("weight", weight)
        self.register_buffer("intercept", intercept)

    @classmethod
    def blank(
        cls, future_shape: tuple[int, int], configuration: CovariateEffectConfiguration
    ) -> "CovariateEffect":
        """Make an effect whose tensors hold no values yet."""
        horizon, n_targets = future_shape
        n_about = count_about(configuration.n_covariates)
        n_hinges, n_summary = configuration.n_hinges, configuration.n_summary
        return cls(
            torch.empty(n_about, n_hinges),
            torch.empty(n_hinges),
            torch.empty(configuration.n_scores, n_summary),
            torch.empty(horizon, n_about + n_hinges + n_summary + 1, n_targets),
            torch.empty(horizon, n_targets),
        )

    @property
    def configuration(self) -> CovariateEffectConfiguration:
        """The options that, with the shape of the futures, decide which tensors there are."""
        n_about, n_hinges = self.directions.shape
        n_scores, n_summary = self.summary.shape
        return CovariateEffectConfiguration(
            n_covariates=n_about // count_about(1),
            n_hinges=n_hinges,
            n_scores=n_scores,
            n_summary=n_summary,
        )

    def with_weights(self, weight: torch.Tensor, intercept: torch.Tensor) -> "CovariateEffect":
        """Return the same inputs with other regressions."""
        return CovariateEffect(self.directions, self.thresholds, self.summary, weight, intercept)

    def forward(
        self, covariates: torch.Tensor, scores: torch.Tensor, levels: torch.Tensor
    ) -> torch.Tensor:
        """Return what is added to the forecasts of windows, `(n, horizon, n_targets)`.

        It depends on covariates `(n, horizon, n_covariates)`, scores `(n, n_scores)`, and levels of
        the targets, `(n, n_targets)`.
        """
        n, summary = len(covariates), scores @ self.summary
        sizes = self.directions.shape[1], self.directions.shape[0], self.summary.shape[1], 1
        steps, hinges, shift = [], covariates.new_empty(0), 0
        every = about_every_step(covariates)
        for (about, is_new), weight, intercept in zip(
            every, self.weight, self.intercept, strict=True
        ):
            found = self.hinges(about[is_new])
            if len(found) == n:
                hinges, shift = found, 0
            else:
                # Every window has those of the next one at the step before: nothing is moved, but
                # where a window begins is. What it no longer looks at gives its place to new ones.
                shift += 1
                places = (is_new.nonzero().squeeze(1) + shift) % n
                hinges[places] = found
            of_hinges, of_about, of_summary, of_level = weight.split(sizes)
            own = (hinges @ of_hinges).roll(-shift, dims=0) + about @ of_about
            steps.append(own + summary @ of_summary + levels * of_level + intercept)
        return torch.stack(steps, dim=1)

    def hinges(self, about: torch.Tensor) -> torch.Tensor:
        """Return the hinges of the covariates about a step, `(n, n_hinges)`."""
        return torch.addmm(-self.thresholds, about, self.directions).clamp_(min=0.0)


class StepCorrection(nn.Module):
    """A network that corrects every step of the forecast by the covariates about it.

    It sees the covariates about the step, the forecast of the step so far for all targets, and the
    fused latent variables. One hidden layer serves all steps; an offset tells it which step it is.
    The output starts at zero.

    Parameters
    ----------
    n_covariates : int
    n_fused : int
        Length of the fused features.
    future_shape : tuple of int
        Horizon and number of targets.
    n_hidden : int
    """

    def __init__(self, n_covariates: int, n_fused: int, future_shape: tuple[int, int], n_hidden):
        super().__init__()
        horizon, n_targets = future_shape
        self.from_fused = Linear(n_fused, n_hidden)
        self.from_step = Linear(count_about(n_covariates) + n_targets, n_hidden, bias=False)
        self.step_offset = nn.Parameter(torch.zeros(horizon, n_hidden))
        self.head = Linear(n_hidden, n_targets, start_at_zero=True)

    def forward(
        self, covariates: torch.Tensor, fused: torch.Tensor, relative: torch.Tensor
    ) -> torch.Tensor:
        """Correct forecasts, given relative to the window, `(n, horizon, n_targets)`."""
        size = max(1, BLOCK_ENTRIES // self.step_offset.numel())
        parts = covariates, fused, relative
        blocks = zip(*(part.split(size) for part in parts), strict=True)
        return torch.cat([self._of_block(*block) for block in blocks])

    def _of_block(self, covariates, fused, relative) -> torch.Tensor:
        about = about_steps(covariates, range(covariates.shape[1]))
        hidden = self.from_step(torch.cat([about, relative], dim=2))
        hidden += self.from_fused(fused).unsqueeze(1)
        hidden += self.step_offset
        return self.head(relu(hidden))

    @torch.no_grad()
    def restart(self) -> None:
        """Set the correction back to zero."""
        for parameter in (self.head.weight, self.head.bias, self.step_offset):
            parameter.zero_()
