"""Fill the gaps of windows: conditional means of a normal distribution."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from .layers import initial_values

# Values that have one normal distribution, at most: those of whole windows, or of a pair of series.
_MOST_ENTRIES = 1024

# Least part of the variance of a channel that the other channels do not explain.
_LEAST_OWN = 1e-3

# Values of matrices that are factorised at once (32 MB in double precision).
_BLOCK_ENTRIES = 2**22


class WindowCompletion(nn.Module):
    """Fill what is missing in windows by its mean given what was observed.

    A window is normal with a mean and a covariance of all its values. Windows with more than 1,024
    values are described channel by channel: the values of a channel, and what the other channels
    let expect at the same time steps. All channels share the distribution of such pairs of series,
    of which at most 512 time steps are looked at together.

    Conditional means are the best inputs of all that is linear: the expectation of a linear
    function of a window, given what was observed of it, is the function of its conditional mean.
    Conditional deviations are multiplied by the `spread` of a channel, since the covariance that is
    best for means is penalised.

    Parameters
    ----------
    n_timesteps, n_channels : int
        Shape of a window.
    """

    mean: torch.Tensor
    factor: torch.Tensor
    loadings: torch.Tensor
    spread: torch.Tensor

    def __init__(self, n_timesteps: int, n_channels: int):
        super().__init__()
        self.joint = n_timesteps * n_channels <= _MOST_ENTRIES
        self.n_series = n_channels if self.joint else 2
        n_parts = 1 if self.joint else -(-2 * n_timesteps // _MOST_ENTRIES)
        self.n_steps = -(-n_timesteps // n_parts)
        n_entries = self.n_steps * self.n_series
        self.register_buffer("mean", torch.zeros(n_entries))
        # The Cholesky factor of the inverse covariance keeps its precision as single floats.
        self.register_buffer("factor", initial_values(torch.eye, n_entries, n_entries))
        self.register_buffer("spread", torch.ones(n_channels))
        self.register_buffer("loadings", torch.zeros(0 if self.joint else n_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fill windows `(n, n_timesteps, n_channels)`, in which NaN is missing."""
        vectors = self.vectors(x)
        return self._put(vectors, vectors.clone(), x, lambda gaps: gaps.mean)

    def deviation(self, x: torch.Tensor) -> torch.Tensor:
        """Return the standard deviation of what is missing, given what was observed; 0 for that."""
        vectors = self.vectors(x)
        found = self._put(vectors, torch.zeros_like(vectors), x, lambda gaps: gaps.deviation)
        return self.spread * found

    def deviate(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Draw how far what is missing is from its mean; 0 for what was observed.

        Every window gets the same standard normal noise, `(n_draws, n_entries)`, so that its draws,
        `(n_draws, *x.shape)`, do not depend on which others come along.
        """
        vectors, noise = self.vectors(x), noise.double()
        found = x.new_zeros(len(noise), *vectors.shape)
        for rows, gaps in self._gaps(vectors):
            observed = torch.zeros_like(vectors[rows])
            for drawn, values in zip(found, gaps.deviate(noise), strict=True):
                drawn[rows] = gaps.put(values, observed).to(x.dtype)
        return torch.stack([self.spread * self._to_windows(drawn, x) for drawn in found])

    def _put(
        self,
        vectors: torch.Tensor,
        into: torch.Tensor,
        like: torch.Tensor,
        compute: Callable[["Gaps"], torch.Tensor],
    ) -> torch.Tensor:
        """Put what is computed of the gaps of vectors into others, and return these as windows."""
        for rows, gaps in self._gaps(vectors):
            into[rows] = gaps.put(compute(gaps), into[rows])
        return self._to_windows(into, like)

    def vectors(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is normal, `(n_vectors, n_steps * n_series)`, in double precision.

        The last steps are missing where windows cannot be cut into parts of equal length.
        """
        series = x.double()
        if not self.joint:
            pairs = torch.stack([series, self._expect_from_others(series)], dim=3)
            series = pairs.transpose(1, 2).flatten(0, 1)
        n_lacking = -series.shape[1] % self.n_steps
        series = nn.functional.pad(series, (0, 0, 0, n_lacking), value=torch.nan)
        return series.reshape(-1, self.n_steps * self.n_series)

    def _to_windows(self, vectors: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        n, n_timesteps, n_channels = like.shape
        if self.joint:
            return vectors.view(like.shape).to(like.dtype)
        own = vectors.view(n, n_channels, -1, self.n_series)[:, :, :n_timesteps, 0]
        return own.mT.to(like.dtype).contiguous()

    def _expect_from_others(self, x: torch.Tensor) -> torch.Tensor:
        """Expect every channel from the others, step by step; NaN where none was observed.

        A channel is its loading times a series that all have in common, plus noise.
        """
        loadings = self.loadings.double()
        weights = loadings / (1 - loadings.square()).clamp(min=_LEAST_OWN)
        observed = ~x.isnan()
        pull, certainty = x.nan_to_num(0.0) * weights, observed * (weights * loadings)
        pull, certainty, n_others = (
            part.sum(2, keepdim=True) - part for part in (pull, certainty, observed.long())
        )
        return torch.where(n_others > 0, loadings * pull / (1 + certainty), torch.nan)

    def _gaps(self, vectors: torch.Tensor) -> Iterator[tuple[torch.Tensor, "Gaps"]]:
        """Yield rows of the vectors that need filling, and their gaps, in blocks."""
        mean, factor = self.mean.double(), self.factor.double()
        precision = factor @ factor.T
        own = vectors.view(len(vectors), self.n_steps, self.n_series)
        own = own if self.joint else own[:, :, :1]
        for rows in in_blocks(vectors, own.isnan().flatten(1).any(1)):
            yield rows, condition(vectors[rows], mean, precision)


@dataclass(frozen=True)
class Gaps:
    """What is missing in some vectors, given what was observed of them.

    Vectors may lack different numbers of values: entries beyond are places that were observed.

    Attributes
    ----------
    places : tensor of shape (n, most_missing)
        Positions in the vectors.
    missing : tensor of shape (n, most_missing)
        Whether they are missing.
    mean : tensor of shape (n, most_missing)
    factor : tensor of shape (n, most_missing, most_missing)
        Cholesky factor of the precision.
    """

    places: torch.Tensor
    missing: torch.Tensor
    mean: torch.Tensor
    factor: torch.Tensor

    def put(self, values: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors with values in the missing places."""
        values = torch.where(self.missing, values, vectors.gather(1, self.places))
        return vectors.scatter(1, self.places, values)

    def deviate(self, noise: torch.Tensor) -> torch.Tensor:
        """Draw deviations from the mean, given noise of draws for all places of a vector."""
        own = noise[:, self.places].permute(1, 2, 0)
        drawn = torch.linalg.solve_triangular(self.factor.mT, own, upper=True)
        return drawn.permute(2, 0, 1)

    @property
    def deviation(self) -> torch.Tensor:
        """Standard deviation."""
        return self.covariance.diagonal(dim1=1, dim2=2).sqrt()

    @property
    def covariance(self) -> torch.Tensor:
        """Covariance, `(n, most_missing, most_missing)`; 0 for what is not missing."""
        both = self.missing.unsqueeze(2) & self.missing.unsqueeze(1)
        return torch.cholesky_inverse(self.factor) * both


def condition(vectors: torch.Tensor, mean: torch.Tensor, precision: torch.Tensor) -> Gaps:
    """Condition the normal distribution of vectors `(n, n_entries)` on what is not NaN of each."""
    missing = vectors.isnan()
    counts = missing.sum(1, keepdim=True)
    most = int(counts.max())
    places = missing.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    is_missing = torch.arange(most, device=vectors.device) < counts
    centred = torch.where(missing, 0.0, vectors - mean)
    pull = -(centred @ precision).gather(1, places) * is_missing
    block = precision[places.unsqueeze(2), places.unsqueeze(1)]
    block *= is_missing.unsqueeze(2) & is_missing.unsqueeze(1)
    block.diagonal(dim1=1, dim2=2).add_(~is_missing)
    factor = torch.linalg.cholesky(block)
    shift = torch.cholesky_solve(pull.unsqueeze(2), factor).squeeze(2)
    return Gaps(places, is_missing, mean[places] + shift, factor)


def in_blocks(vectors: torch.Tensor, chosen: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the rows of the chosen vectors, those with the most missing values first."""
    rows = chosen.nonzero().squeeze(1)
    counts, order = vectors[rows].isnan().sum(1).sort(descending=True, stable=True)
    rows, sizes = rows[order], counts.tolist()
    start = 0
    while start < len(rows):
        end = start + max(1, _BLOCK_ENTRIES // sizes[start] ** 2)
        yield rows[start:end]
        start = end
