"""Out-of-fold forecasts: every window by the map of its own fold, in whatever order they come."""

from dataclasses import dataclass

import pytest
import torch

from skdeepdive._data.draws import make_generator
from skdeepdive.nn.linear_forecast import LinearForecast
from skdeepdive.nn.out_of_fold import OutOfFold

CPU = torch.device("cpu")
N, N_TIMESTEPS, N_CHANNELS, HORIZON, N_CLASSES = 11, 6, 2, 3, 4
FOLDS = torch.tensor([0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 1])

with_and_without_maps = pytest.mark.parametrize("has_class_maps", [True, False])


@dataclass(frozen=True)
class Windows:
    x: torch.Tensor
    responses: list[torch.Tensor]

    def rows(self, rows):
        return self.x[rows], [response[rows] for response in self.responses]


def make_windows():
    generator = make_generator(1, CPU)
    x = torch.randn(N, N_TIMESTEPS, N_CHANNELS, generator=generator)
    return Windows(x, [torch.randn(N, N_CLASSES, generator=generator).softmax(1)])


def make_map(seed, has_class_maps):
    generator = make_generator(seed, CPU)
    shapes = (2, N_TIMESTEPS, HORIZON), (2, HORIZON), (N_TIMESTEPS, 3), (2, N_CLASSES, 4, HORIZON)
    weight, intercept, components, maps = (torch.randn(s, generator=generator) for s in shapes)
    return LinearForecast(
        weight,
        intercept,
        (HORIZON, 2),
        joint=False,
        source_channels=torch.tensor([1, 0]),
        components=components,
        class_maps=[maps] if has_class_maps else [],
    )


def make_out_of_fold(has_class_maps=True, *, cached=False):
    found = OutOfFold([make_map(fold, has_class_maps) for fold in range(3)], FOLDS)
    if not cached:
        return found
    return OutOfFold(found.maps, FOLDS, found.without_classes(make_windows().x))


@with_and_without_maps
def test_every_window_is_forecast_by_the_map_of_its_fold(has_class_maps):
    forecasts, windows = make_out_of_fold(has_class_maps), make_windows()
    found = forecasts(windows.x, windows.responses)
    for row in range(N):
        x, responses = windows.rows([row])
        expected = forecasts.maps[FOLDS[row]](x, responses)
        torch.testing.assert_close(found[row : row + 1], expected)


@with_and_without_maps
@pytest.mark.parametrize("at_once", [2, 1000])
def test_forecasts_can_be_completed_once_for_all_responses(has_class_maps, at_once, monkeypatch):
    monkeypatch.setattr("skdeepdive.nn.out_of_fold._AT_ONCE", at_once)
    forecasts, windows = make_out_of_fold(has_class_maps, cached=True), make_windows()
    expected = forecasts(windows.x, windows.responses)
    completed = forecasts.completed_by(windows.responses[0].numpy(), [N_CLASSES])
    others = [response.flip(1) for response in windows.responses]
    found = completed(windows.x, others if has_class_maps else windows.responses)
    torch.testing.assert_close(found, expected)
    rows = torch.tensor([3, 0])
    torch.testing.assert_close(completed.rows(rows)(windows.x[rows], others), expected[rows])


def test_forecasts_that_are_not_kept_are_not_completed():
    forecasts, windows = make_out_of_fold(cached=False), make_windows()
    assert forecasts.completed_by(windows.responses[0].numpy(), [N_CLASSES]) is forecasts


@with_and_without_maps
def test_kept_forecasts_are_those_computed_at_every_call(has_class_maps):
    windows = make_windows()
    found, expected = (
        make_out_of_fold(has_class_maps, cached=cached)(windows.x, windows.responses)
        for cached in (True, False)
    )
    torch.testing.assert_close(found, expected)


def test_kept_forecasts_do_not_look_at_the_windows():
    forecasts, windows = make_out_of_fold(cached=True), make_windows()
    found = forecasts(torch.full_like(windows.x, torch.nan), windows.responses)
    assert torch.equal(found, forecasts(windows.x, windows.responses))


@pytest.mark.parametrize("rows", [[7, 0, 3], [5], [2, 6], [4, 4, 0], list(range(N))[::-1]])
@pytest.mark.parametrize("cached", [True, False])
@with_and_without_maps
def test_rows_are_the_forecasts_of_those_windows_in_their_order(has_class_maps, cached, rows):
    forecasts, windows = make_out_of_fold(has_class_maps, cached=cached), make_windows()
    found = forecasts.rows(torch.tensor(rows))(*windows.rows(rows))
    torch.testing.assert_close(found, forecasts(windows.x, windows.responses)[rows])


@pytest.mark.parametrize("cached", [True, False])
def test_moving_to_a_device_moves_every_tensor(cached):
    moved = make_out_of_fold(cached=cached).to(torch.device("meta"))
    tensors = [moved.folds, *(moved.before_classes or ())]
    tensors += [buffer for linear in moved.maps for buffer in linear.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.before_classes is not None) == cached
