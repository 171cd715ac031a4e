"""Attribute forecasts to parts of the model, and forecast at changed latent variables."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import torch

from .module import DeepDIVE, Latents


def intervene(
    module: DeepDIVE,
    x: torch.Tensor,
    change: Callable[[Latents], Latents],
    covariates: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows and forecasts as they would be at other latent variables.

    A window changes by the difference of what is decoded from both, so it keeps what its embedding
    leaves out. The forecast is that of the changed window and latent variables.
    """
    window = module.features(x)
    x, before = window.x, module.infer(window)
    after = change(before)
    changed = x + module.decode_latents(after, len(x)) - module.decode_latents(before, len(x))
    window = module.features.describe(changed)
    linear, correction = module.forecast_given(after, window, covariates)
    return changed, linear + correction


def attribute_forecast(
    module: DeepDIVE,
    x: torch.Tensor,
    labels: torch.Tensor | None = None,
    covariates: torch.Tensor | None = None,
) -> torch.Tensor:
    """Split forecasts into parts that add up to them, `(n, n_parts, horizon, n_targets)`.

    Level, linear map and correction of a window of which neither a nor b nor covariates are known;
    then the Shapley values of every factor, of a and of the covariates, by what is known of the
    others. Where a factor is not known its responses are the frequencies of its classes. What is
    known of a is where it lies in its prior; where that is not, it is at its mean a priori.
    Covariates that are not known add nothing.
    """
    window = module.features(x)
    latents = module.infer(window, labels=labels)
    known, inferred, told = latents.responses, latents.inferred, latents.told
    e = module.standardise(latents.a, known)
    unknown = [p.log_weights.exp().expand(len(x), -1) for p in module.priors]
    player_a = len(known)
    player_c = player_a + (e is not None)
    n_players = player_c + (covariates is not None)

    def forecast(players: frozenset[int]) -> tuple[torch.Tensor, torch.Tensor]:
        responses = [own if i in players else unknown[i] for i, own in enumerate(known)]
        given = replace(
            latents,
            responses=responses,
            inferred=[own if i in players else unknown[i] for i, own in enumerate(inferred)],
            told=[own if i in players else torch.zeros_like(own) for i, own in enumerate(told)],
        )
        if e is not None:
            placed = e if player_a in players else torch.zeros_like(e)
            given = replace(given, a=module.place(placed, responses))
        return module.forecast_given(given, window, covariates if player_c in players else None)

    linear, correction = forecast(frozenset())
    channels = module.linear_forecast.source_channels
    last = None if channels is None else window.x[:, -1:, channels]
    level = torch.zeros_like(linear) if last is None else last.expand_as(linear)
    shares = shapley_values(lambda players: torch.add(*forecast(players)), n_players)
    return torch.stack([level, linear - level, correction, *shares], dim=1)


def attention_weights(module: DeepDIVE, x: torch.Tensor) -> torch.Tensor:
    """Weights of the fusion, given factors, at the posterior means.

    They are `(n, n_queries, n_factors + 1)`; the last is the weight of no factor.
    """
    latents = module.infer(module.features(x))
    weights: torch.Tensor = module.fusion(latents.a, latents.responses, len(x))[1]
    return weights


def shapley_values(
    value: Callable[[frozenset[int]], torch.Tensor], n_players: int
) -> list[torch.Tensor]:
    """Return what every player contributes, from the values of all coalitions.

    It is the mean gain by which a player joins, over all orders in which the players may come.
    """
    players = range(n_players)
    values = {
        frozenset(members): value(frozenset(members))
        for size in range(n_players + 1)
        for members in combinations(players, size)
    }
    orders = math.factorial(n_players)

    def share(player: int) -> torch.Tensor:
        gains = [
            math.factorial(len(members)) * math.factorial(n_players - len(members) - 1) / orders
            * (values[members | {player}] - before)
            for members, before in values.items()
            if player not in members
        ]  # fmt: skip
        return torch.stack(gains).sum(0)

    return [share(player) for player in players]
