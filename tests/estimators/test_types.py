"""Containers and number types of other libraries: the same forecasts as of a float32 array."""

import numpy as np
import pandas as pd
import pytest
import torch

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive.datasets import load_electricity

N_TIMESTEPS, HORIZON = 24, 6


def load_windows():
    """Windows of real load that every type below can hold exactly."""
    load = load_electricity(as_frame=True).data.iloc[:400, [0]].round()
    X, y, origin = sliding_windows(load.to_numpy(np.float32), N_TIMESTEPS, HORIZON)
    hour = calendar_factors(load.index[origin], ["hour"])
    return X[..., 0].copy(), y[..., 0].copy(), hour


def make_model():
    return DeepDIVEForecaster(n_hidden=16, n_conditional=4, max_epochs=2, random_state=0)


def to_polars(values):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(values, schema=[f"step_{k}" for k in range(values.shape[1])])


def to_arrow(values):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(values, columns=[f"step_{k}" for k in range(values.shape[1])])
    return frame.convert_dtypes(dtype_backend="pyarrow")


def to_xarray(values):
    xarray = pytest.importorskip("xarray")
    return xarray.DataArray(values, dims=["window", "step"])


def to_memory_map(values, folder):
    mapped = np.memmap(folder / f"{values.shape[1]}", values.dtype, "w+", shape=values.shape)
    mapped[:] = values
    return mapped


CONTAINERS = {
    "float16": lambda values: values.astype(np.float16),
    "float64": lambda values: values.astype(np.float64),
    "int16": lambda values: values.astype(np.int16),
    "uint64": lambda values: values.astype(np.uint64),
    "nullable pandas": lambda values: pd.DataFrame(values).convert_dtypes(),
    "pandas of pyarrow": to_arrow,
    "polars": to_polars,
    "xarray": to_xarray,
    "tensor": torch.tensor,
    "half-precision tensor": lambda values: torch.tensor(values).half(),
    "Fortran order": np.asfortranarray,
}


@pytest.fixture(scope="module")
def expected():
    X, y, hour = load_windows()
    model = make_model().fit(X, y, hour)
    return model.predict(X), model.transform(X)


@pytest.mark.parametrize("name", [*CONTAINERS, "memory map"])
def test_the_forecasts_are_those_of_a_float32_array(name, expected, tmp_path):
    X, y, hour = load_windows()

    def convert(values):
        return to_memory_map(values, tmp_path) if name == "memory map" else CONTAINERS[name](values)

    assert (np.asarray(convert(X), dtype=np.float32) == X).all()  # nothing is lost on the way
    given, future = convert(X), convert(y)
    model = make_model().fit(given, future, hour)
    forecast, embedding = expected
    np.testing.assert_allclose(model.predict(given), forecast, rtol=1e-4)
    np.testing.assert_allclose(model.transform(given), embedding, atol=1e-3)
    assert (np.asarray(given, dtype=np.float32) == X).all()
    single = str(np.asarray(given).dtype) == "float32"
    assert model.predict(given).dtype == (np.float32 if single else np.float64)
