"""Out-of-fold forecasts, by linear maps that were fitted without the window's own fold."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from .linear_forecast import LinearForecast

# Windows that what classes add is computed for at once.
_AT_ONCE = 1024


class OutOfFold:
    """Linear forecasts of training windows, each by the map fitted without the window's fold.

    The correction learns from the errors of these, which are such as new windows have. An instance
    is called like a :class:`LinearForecast`, with the windows that its rows stand for.

    Parameters
    ----------
    maps : sequence of LinearForecast
        One for each fold.
    folds : tensor of shape (n,)
        The fold of every window.
    before_classes : tuple of two tensors, default=None
        Forecasts and scores of the windows as `LinearForecast.without_classes` returns them, where
        they are kept rather than computed at every call.
    completed : tensor of shape (n, horizon, n_targets), default=None
        Forecasts with what the classes add; then calls return these, whatever the responses.
    """

    def __init__(
        self,
        maps: Sequence[LinearForecast],
        folds: torch.Tensor,
        before_classes: tuple[torch.Tensor, torch.Tensor] | None = None,
        completed: torch.Tensor | None = None,
    ):
        self.maps, self.folds = maps, folds
        self.before_classes, self.completed = before_classes, completed

    def to(self, device: torch.device) -> "OutOfFold":
        """Move all tensors to a device."""
        kept = self.before_classes
        return OutOfFold(
            [linear.to(device) for linear in self.maps],
            self.folds.to(device),
            None if kept is None else (kept[0].to(device), kept[1].to(device)),
            None if self.completed is None else self.completed.to(device),
        )

    def rows(self, rows: torch.Tensor) -> "OutOfFold":
        """Return the forecasts of some of the windows, given by their numbers."""
        rows, kept = rows.to(self.folds.device), self.before_classes
        folds = self.folds.index_select(0, rows)
        if self.completed is not None:
            return OutOfFold(self.maps, folds, None, self.completed.index_select(0, rows))
        if kept is not None:
            kept = kept[0].index_select(0, rows), kept[1].index_select(0, rows)
        return OutOfFold(self.maps, folds, kept)

    def completed_by(self, responses: np.ndarray, class_counts: Sequence[int]) -> "OutOfFold":
        """Return forecasts that have what the classes add by responses, if all else is kept.

        Responses are those of all windows, all factors side by side, `(n, n_classes)`.
        """
        if self.before_classes is None or not self.maps[0].has_class_maps:
            return self
        every, parts = torch.from_numpy(responses).to(self.folds.device), []
        for rows in torch.arange(len(self.folds), device=self.folds.device).split(_AT_ONCE):
            before = self.before_classes[0][rows], self.before_classes[1][rows]
            own = every[rows].split(class_counts, dim=1)
            parts.append(self.rows(rows)._add_classes(before, own))
        return OutOfFold(self.maps, self.folds, self.before_classes, torch.cat(parts))

    def __call__(
        self,
        x: torch.Tensor,
        responses: Sequence[torch.Tensor],
        covariates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Forecast windows `(n, n_timesteps, n_channels)`, `(n, horizon, n_targets)`."""
        if self.completed is not None:
            return self.completed
        before = self.before_classes or self.without_classes(x, covariates)
        return self._add_classes(before, responses)

    def _add_classes(
        self, before: tuple[torch.Tensor, torch.Tensor], responses: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        forecast, scores = before
        if not self.maps[0].has_class_maps:
            return forecast
        completed = torch.empty_like(forecast)
        for linear, rows in self._by_fold():
            own = [response[rows] for response in responses]
            completed[rows] = linear.add_classes(forecast[rows], scores[rows], own)
        return completed

    def without_classes(
        self, x: torch.Tensor, covariates: torch.Tensor | None = None, *, with_scores: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast windows as if their classes added nothing; return the scores as well.

        See :meth:`LinearForecast.without_classes`.
        """
        parts = []
        for linear, rows in self._by_fold():
            own = None if covariates is None else covariates[rows]
            found = linear.without_classes(x[rows], own, with_scores=with_scores)
            parts.append((*found, rows))
        forecast, scores, rows = map(torch.cat, zip(*parts, strict=True))
        order = rows.argsort()
        return forecast[order], scores[order]

    def _by_fold(self) -> Iterator[tuple[LinearForecast, torch.Tensor]]:
        for fold, linear in enumerate(self.maps):
            rows = (self.folds == fold).nonzero().squeeze(1)
            if len(rows):
                yield linear, rows
