"""What a type checker tells the users of the package: mypy, run over two scripts of theirs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).resolve().parents[2]

RIGHT = """
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import ForecastDisplay, MutualInformationDisplay
from skdeepdive.metrics import corr_score, mutual_information_gap, rrse_score


class Mine(VAEForecaster):
    pass


def run(load: NDArray[np.float32], hours: NDArray[np.datetime64], path: Path) -> list[float]:
    X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24, targets=["load"])
    assert_type(X, NDArray[Any])
    parts = split_windows(origin, horizon=24, fractions=(0.8, 0.2))
    assert_type(parts, tuple[slice, ...])
    factors = calendar_factors(hours[origin], ["hour", "weekday"])

    model = DeepDIVEForecaster(n_channels=None, latent="both", batch_size=32, random_state=0)
    assert_type(model.fit(X[parts[0]], y[parts[0]], factors), DeepDIVEForecaster)
    assert_type(model.fit(X.tolist(), y.tolist()), DeepDIVEForecaster)
    assert_type(model.partial_fit(X, y, factors, {"hour": range(24)}), DeepDIVEForecaster)
    forecast, embedding = model.predict(X), model.transform(X)
    assert_type(forecast, NDArray[Any])
    assert_type(embedding, NDArray[Any])
    assert_type(model.inverse_transform(embedding), NDArray[Any])
    assert_type(model.reconstruct(X), NDArray[Any])
    assert_type(model.predict_cluster(X), NDArray[Any])
    assert_type(model.predict_cluster_proba(X), NDArray[Any] | list[NDArray[Any]])
    assert_type(model.get_feature_names_out(), NDArray[Any])
    assert_type(model.history_, dict[str, NDArray[Any]])
    assert_type(model.module_.has_marginal, bool)

    assert_type(ForecastDisplay.from_estimator(model, X, y), ForecastDisplay)
    assert_type(MutualInformationDisplay(embedding).plot(), MutualInformationDisplay)

    model.save(path)
    assert_type(DeepDIVEForecaster.load(str(path)), DeepDIVEForecaster)
    assert_type(BetaTCVAEForecaster(beta=4.0).fit(X, y), BetaTCVAEForecaster)
    assert_type(Mine().fit(X, y), Mine)
    assert_type(Mine.load(path), Mine)

    gap = mutual_information_gap(factors, embedding, n_bins=10)
    assert_type(gap, float | NDArray[Any])
    return [model.score(X, y), rrse_score(y, forecast), corr_score(y, forecast)]


run(load_electricity().data, np.array(["2012-01-01T00"], dtype="M8[h]"), Path("model"))
"""

IMPORTS = """
from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive.baselines import VAEForecaster
from skdeepdive.metrics import rrse_score

X, y, origin = sliding_windows([1.0, 2.0, 3.0], 1, 1)
model = DeepDIVEForecaster()
"""

WRONG = {
    'DeepDIVEForecaster(n_hidden="a")': "arg-type",
    "DeepDIVEForecaster(n_latent=3)": "call-arg",
    "DeepDIVEForecaster(None, 'both')": "call-arg",
    "DeepDIVEForecaster(batch_size=None)": "arg-type",
    "VAEForecaster().fit(X, y, None)": "call-arg",
    "model.fit(X)": "call-arg",
    "model.partial_fit(X, y, labels=y)": "call-arg",
    "model.predict_cluster()": "call-arg",
    "model.predict(X, y)": "call-overload",
    "model.save(3)": "arg-type",
    "VAEForecaster.load(3)": "arg-type",
    "label: str = model.predict_cluster(X)": "assignment",
    "sliding_windows([1.0, 2.0], n_timesteps=1.5, horizon=1)": "arg-type",
    "calendar_factors(origin, [1])": "list-item",
    "rrse_score(y)": "call-arg",
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Return the code of every error by file and line, and all that mypy says."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text(IMPORTS + "\n".join(WRONG))
    # Where the package is installed: mypy then asks for its py.typed, and skips errors inside it.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = ["--strict", "--config-file=", "--cache-dir", str(folder / "cache")]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "right.py", "wrong.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    found = re.findall(r"^(.+):(\d+): error: .*\[([\w-]+)\]$", result.stdout, re.MULTILINE)
    return [(file, int(line), code) for file, line, code in found], result.stdout


def test_right_use_of_the_public_interface_has_the_types_it_says(reported):
    errors, output = reported
    assert {file for file, _, _ in errors} == {"wrong.py"}, output


@pytest.mark.parametrize("statement", WRONG)
def test_wrong_use_is_reported(reported, statement):
    errors, output = reported
    line = len(IMPORTS.splitlines()) + 1 + [*WRONG].index(statement)
    assert [code for _, n, code in errors if n == line] == [WRONG[statement]], output
