"""Five files as users have them, each from the file to a dated forecast in at most six lines."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest

from skdeepdive import DeepDIVEForecaster

pytest.importorskip("pandas")

PATH = Path(__file__).parents[2] / "benchmarks" / "messy_files.py"
spec = importlib.util.spec_from_file_location("messy_files", PATH)
messy_files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(messy_files)


@pytest.mark.parametrize("file", messy_files.FILES.values(), ids=messy_files.FILES)
def test_a_messy_file_becomes_a_dated_forecast_in_six_lines(file, tmp_path):
    path = tmp_path / "file.csv"
    file.write(path)
    lines = inspect.getsource(file.fit).splitlines()[1:]
    assert len(lines) + 1 <= 6  # and one for predict
    model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    found = file.fit(path, model).predict()
    assert len(found) == sum(map(len, file.true.values()))
    for key, true in file.true.items():
        one = found if key is None else found.loc[key]
        assert str(one.index[0]) == file.first
        assert np.abs(one.to_numpy()[:, 0] - true).max() < 2 * file.units.get(key, 1)
