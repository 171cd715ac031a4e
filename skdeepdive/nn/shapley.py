"""Shapley values."""

import math
from collections.abc import Callable
from itertools import combinations

import torch


def shapley_values(value: Callable[[frozenset[int]], torch.Tensor], n_players: int):
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

    def share(player):
        return sum(
            math.factorial(len(members)) * math.factorial(n_players - len(members) - 1) / orders
            * (values[members | {player}] - before)
            for members, before in values.items()
            if player not in members
        )  # fmt: skip

    return [share(player) for player in players]
