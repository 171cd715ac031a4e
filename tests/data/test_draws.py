"""Random numbers: who shares a batch draws its own part of what one alone would draw."""

import pytest
import torch

from skdeepdive._data.draws import Draws, make_generator

N = 10
SHARES = [slice(0, 4), slice(4, 7), slice(7, 10)]

every_kind = pytest.mark.parametrize("kind", ["normal", "coins"])


def make_draws(**options):
    return Draws(make_generator(0, torch.device("cpu")), **options)


def draw_twice(draws, kind, n_rows):
    """Two draws in succession, of different shapes: the second one shows how far the first went."""
    shapes = (n_rows, 3), (n_rows, 2, 5)
    return [getattr(draws, kind)(torch.empty(shape)) for shape in shapes]


@every_kind
def test_the_rows_of_all_shares_are_those_of_the_whole(kind):
    whole = draw_twice(make_draws(), kind, N)
    shares = [
        draw_twice(make_draws(n_rows=N, rows=rows), kind, rows.stop - rows.start) for rows in SHARES
    ]
    for expected, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat(parts), expected)


@every_kind
def test_a_single_row_does_not_depend_on_how_many_rows_share_it(kind):
    for one, many in zip(*(draw_twice(make_draws(n_rows=1), kind, n) for n in (1, N)), strict=True):
        assert len(many) == 1
        assert torch.equal(one, many)


def test_coins_are_zero_or_one_each_half_of_the_time():
    coins = make_draws().coins(torch.empty(100, 100))
    assert coins.unique().tolist() == [0, 1]
    assert coins.mean().item() == pytest.approx(0.5, abs=0.02)


def test_normal_numbers_have_mean_zero_and_deviation_one():
    values = make_draws().normal(torch.empty(100, 100, dtype=torch.float64))
    assert values.dtype == torch.float64
    assert values.mean().item() == pytest.approx(0, abs=0.04)
    assert values.std().item() == pytest.approx(1, abs=0.03)
