"""The linear part of q(a | b, x) and p(x | a, b), which networks correct."""

import torch
from torch import nn

from .features import WindowFeatures


class LinearWindow(nn.Module):
    """A linear-Gaussian p(x | a, b), and q(a | b, x) that belongs to it.

    The mean of a window is a common mean, one for every factor, and the conditional dimensions
    along their loadings; that of a factor is the mean of its classes under their RBF responses.
    Everything is fitted in closed form and stays as it is: networks correct it.

    Windows are given by their coordinates, see :meth:`WindowFeatures.coordinates`.

    Parameters
    ----------
    features : WindowFeatures
        What the coordinates are of.
    class_counts : sequence of int
        Number of classes of each factor.
    n_conditional : int
    """

    mean: torch.Tensor
    loadings: torch.Tensor
    projection: torch.Tensor
    log_scale: torch.Tensor

    def __init__(self, features: WindowFeatures, class_counts, n_conditional: int):
        super().__init__()
        self.shape = features.coordinate_shape
        n_coordinates = self.shape[0] * self.shape[1]
        self.register_buffer("mean", torch.zeros(n_coordinates))
        self.n_factors = len(class_counts)
        for i, n_classes in enumerate(class_counts):
            self.register_buffer(f"class_means_{i}", torch.zeros(n_classes, n_coordinates))
        self.register_buffer("loadings", torch.zeros(n_conditional, n_coordinates))
        self.register_buffer("projection", torch.zeros(n_conditional, n_coordinates))
        self.register_buffer("log_scale", torch.zeros(n_conditional))

    @property
    def class_means(self) -> list[torch.Tensor]:
        """What the classes of every factor add to the mean, `(n_classes_i, n_coordinates)`."""
        return [getattr(self, f"class_means_{i}") for i in range(self.n_factors)]

    def encode(
        self,
        coordinates: torch.Tensor,
        responses: list[torch.Tensor],
        observed: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map coordinates `(n, *shape)` to mean and log scale of q(a | b, x).

        They are `(n, n_conditional)` and `(n_conditional,)`, or `(n, n_conditional)` too where only
        some of the values were observed: a window tells as much less as there are fewer.
        """
        means = torch.cat([self.mean.unsqueeze(0), *self.class_means]) @ self.projection.T
        ones = coordinates.new_ones(len(coordinates), 1)
        expected = torch.cat([ones, *responses], dim=1) @ means
        loc = coordinates.flatten(1) @ self.projection.T - expected
        if observed is None:
            return loc, self.log_scale
        told = (-2 * self.log_scale).exp() - 1  # beside the prior, whose precision is 1
        share = observed.flatten(1).to(loc).mean(1, keepdim=True)
        return loc, -0.5 * (share * told).clamp(min=0.0).log1p()

    def decode(self, a: torch.Tensor | None, responses: list[torch.Tensor]) -> torch.Tensor:
        """Mean of p(x | a, b), `(n, *shape)`."""
        weights = torch.cat([*([] if a is None else [a]), *responses], dim=1)
        directions = torch.cat([self.loadings, *self.class_means])
        return torch.addmm(self.mean, weights, directions).unflatten(1, self.shape)
