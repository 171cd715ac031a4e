"""How far folds of overlapping windows flatter a forecast: RRSE by folds and of later windows.

    python benchmarks/folds.py [--blocks 3] [--hours 8760]

Two clients' load, 168 hours in and 24 out. In every block of hours a model is scored by folds,
then fitted to the whole block and scored on the 2,000 hours after it, which no fold has seen. The
scores are means over blocks, in the units of the source.
"""

import argparse

import numpy as np
from benchmark_data import DAY, WEEK
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import KFold, TimeSeriesSplit, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.metrics import rrse_score

LATER = 2000  # hours
FOLDS = {
    "KFold(5, shuffle=True)": KFold(5, shuffle=True, random_state=0),
    "KFold(5)": KFold(5),
    "TimeSeriesSplit(5)": TimeSeriesSplit(5),
    "TimeSeriesSplit(5, gap=23)": TimeSeriesSplit(5, gap=DAY - 1),
}
MODELS = {
    "nearest neighbours": make_pipeline(StandardScaler(), KNeighborsRegressor(5)),
    "ridge": make_pipeline(StandardScaler(), Ridge(10.0)),
    "DeepDIVE": DeepDIVEForecaster(max_epochs=10, random_state=0),
}

SCORER = make_scorer(rrse_score, greater_is_better=False)


def cut(series, model):
    """Windows and futures, flat where the model is not ours."""
    X, y, _ = sliding_windows(series, WEEK, DAY)
    if isinstance(model, DeepDIVEForecaster):
        return X, y
    return X.reshape(len(X), -1), y.reshape(len(y), -1)


def measure(model, series, later):
    """RRSE by every kind of folds, then of the later hours."""
    X, y = cut(series, model)
    options = {"scoring": SCORER, "error_score": "raise"}
    scores = [cross_val_score(model, X, y, cv=cv, **options) for cv in FOLDS.values()]
    # The later windows look back over the cut, as a forecast at that time would.
    truth = SCORER(model.fit(X, y), *cut(np.concatenate([series[-WEEK:], later]), model))
    return [*(-score.mean() for score in scores), -truth]


def main(n_blocks, n_hours):
    load = load_electricity().data
    starts = np.linspace(0, len(load) - n_hours - LATER, n_blocks).astype(int)
    print("| RRSE | " + " | ".join([*FOLDS, "later windows"]) + " |")
    print("| --- |" + " ---: |" * (len(FOLDS) + 1))
    for name, model in MODELS.items():
        table = [
            measure(model, load[start:][:n_hours], load[start + n_hours :][:LATER])
            for start in starts
        ]
        means = (f"{error:.4f}" for error in np.mean(table, axis=0))
        print(f"| {name} | " + " | ".join(means) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--hours", type=int, default=8760)
    arguments = parser.parse_args()
    main(arguments.blocks, arguments.hours)
