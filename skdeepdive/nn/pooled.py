"""Features of a window that do not depend on where it was cut.

Load windows end at a known hour; those of a sensor begin anywhere in a movement. What is pooled
over all time steps stays the same when the window moves.

Source of the kernels: Dempster, Schmidt, Webb, "MiniRocket", KDD 2021, arXiv:2012.08791.
"""

from itertools import combinations

import numpy as np
import torch
from torch import nn

from .layers import BLOCK_ENTRIES

# Windows of fewer steps have no phase.
FEWEST_TIMESTEPS = 8

# Channels are mixed to as many where there are more.
_MOST_CHANNELS = 12

# Proportions of positive responses, in all dilations together.
_N_PROPORTIONS = 2000

# Kernels have nine weights: three of them 2, the others -1.
_LENGTH, _N_RAISED = 9, 3
_RAISED = list(combinations(range(_LENGTH), _N_RAISED))
N_KERNELS = len(_RAISED)

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_N_BANDS, _N_LAGS = 12, 12

# Standardised values beyond it tell no more; before, below the floor, variation counts as noise.
_LARGEST_INPUT, _LARGEST_OUTPUT = 1e3, 10.0
_FLOOR = 1e-2


class PooledFeatures(nn.Module):
    """Statistics of every channel, and principal components of pooled kernel responses.

    Statistics are quantiles, higher moments, roughness, logarithms of band powers,
    autocorrelations, and correlations between channels. Kernels are dilated and look at some of the
    channels each; pooled are the proportions of responses above each of some thresholds, and the
    maximum. All are standardised.

    Parameters
    ----------
    n_timesteps, n_channels : int
        Shape of a window.
    n_components : int
        Number of principal components of the pooled responses.
    """

    mixing: torch.Tensor
    channels: torch.Tensor
    thresholds: torch.Tensor
    loc: torch.Tensor
    scale: torch.Tensor
    vectors: torch.Tensor

    def __init__(self, n_timesteps: int, n_channels: int, n_components: int):
        super().__init__()
        self.n_timesteps, self.n_components = n_timesteps, n_components
        self.n_mixed = min(n_channels, _MOST_CHANNELS)
        self.dilations = [2**j for j in range(1 + int(np.log2(max(1, (n_timesteps - 1) / 8))))]
        self.bands = _spread(1, n_timesteps // 2 + 1, _N_BANDS + 1)
        self.lags = _spread(1, max(1, n_timesteps // 2), _N_LAGS)
        n_thresholds = max(1, _N_PROPORTIONS // (N_KERNELS * len(self.dilations)))
        shape = len(self.dilations), N_KERNELS
        self.n_responses = len(self.dilations) * N_KERNELS * (n_thresholds + 1)
        self.n_statistics = self.n_mixed * self._n_channel_statistics
        self.n_statistics += self.n_mixed * (self.n_mixed - 1) // 2
        self.n_features = self.n_statistics + n_components
        self.register_buffer("mixing", torch.zeros(n_channels, self.n_mixed))
        self.register_buffer("channels", torch.ones(*shape, self.n_mixed))
        self.register_buffer("thresholds", torch.zeros(*shape, n_thresholds))
        self.register_buffer("loc", torch.zeros(self.n_statistics + self.n_responses))
        self.register_buffer("scale", torch.ones(self.n_statistics + self.n_responses))
        self.register_buffer("vectors", torch.zeros(self.n_responses, n_components))

    @property
    def _n_channel_statistics(self) -> int:
        return len(_QUANTILES) + 3 + len(self.bands) - 1 + len(self.lags)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Describe standardised windows `(n, n_timesteps, n_channels)`, `(n, n_features)`."""
        raw = self.raw(x)
        standardised = (raw - self.loc) / self.scale
        standardised = standardised.clamp(-_LARGEST_OUTPUT, _LARGEST_OUTPUT)
        statistics, responses = standardised.split([self.n_statistics, self.n_responses], dim=1)
        return torch.cat([statistics, responses @ self.vectors], dim=1)

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """Statistics and pooled responses as they are, `(n, n_statistics + n_responses)`."""
        size = max(1, BLOCK_ENTRIES // (N_KERNELS * self.n_timesteps))
        return torch.cat([self._raw_block(block) for block in x.split(size)])

    def _raw_block(self, x: torch.Tensor) -> torch.Tensor:
        mixed = self.mix(x)
        proportions = [
            part
            for j in range(len(self.dilations))
            for part in _pool(self.respond(mixed, j), self.thresholds[j])
        ]
        return torch.cat([self._statistics(mixed), *proportions], dim=1)

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the channels of windows where there are many, `(n, n_timesteps, n_mixed)`."""
        return x.clamp(-_LARGEST_INPUT, _LARGEST_INPUT) @ self.mixing

    def respond(self, mixed: torch.Tensor, j: int) -> torch.Tensor:
        """Responses to the kernels of a dilation, `(n, n_kernels, n_timesteps)`."""
        raised = torch.tensor(_RAISED, device=mixed.device)
        kernels = mixed.new_full((N_KERNELS, _LENGTH), -1.0).scatter_(1, raised, 2.0)
        weight = self.channels[j].unsqueeze(2) * kernels.unsqueeze(1)
        dilation = self.dilations[j]
        padding = dilation * (_LENGTH // 2)
        return nn.functional.conv1d(mixed.mT, weight, dilation=dilation, padding=padding)

    def _statistics(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + _FLOOR**2).sqrt()
        shape = centred / scale
        places = [round(q * (self.n_timesteps - 1)) for q in _QUANTILES]
        statistics = [
            x.sort(dim=1).values[:, places],
            (shape**3).mean(1, keepdim=True),
            (shape**4).mean(1, keepdim=True).log1p(),
            (x.diff(dim=1).abs().mean(1, keepdim=True) + _FLOOR).log(),
            self._band_powers(centred),
            *((shape[:, lag:] * shape[:, :-lag]).mean(1, keepdim=True) for lag in self.lags),
        ]
        first, second = torch.triu_indices(self.n_mixed, self.n_mixed, 1, device=x.device)
        correlations = (shape.mT @ shape / self.n_timesteps)[:, first, second]
        return torch.cat([torch.cat(statistics, dim=1).flatten(1), correlations], dim=1)

    def _band_powers(self, centred: torch.Tensor) -> torch.Tensor:
        taper = torch.hann_window(self.n_timesteps, dtype=centred.dtype, device=centred.device)
        spectrum = torch.fft.rfft(centred * taper.unsqueeze(1), dim=1)
        power = spectrum.abs().square() / self.n_timesteps
        edges = zip(self.bands[:-1], self.bands[1:], strict=True)
        bands = [power[:, a:b].sum(1, keepdim=True) for a, b in edges]
        return (torch.cat(bands, dim=1) + _FLOOR**2).log()


def _pool(responses: torch.Tensor, thresholds: torch.Tensor) -> list[torch.Tensor]:
    """Proportions above thresholds `(n_kernels, n_thresholds)`, and maxima.

    A response counts by how far it is above the threshold, fully from 1 on: so the proportions are
    continuous, and rounding errors do not matter.
    """
    proportions = [
        (responses - threshold.unsqueeze(1)).clamp_(0.0, 1.0).mean(2) for threshold in thresholds.T
    ]
    return [*proportions, responses.amax(2)]


def _spread(first: int, last: int, n: int) -> list[int]:
    """Distinct integers from first to last, evenly spread on a logarithmic scale."""
    return np.unique(np.geomspace(first, last, n).round().astype(int)).tolist()
