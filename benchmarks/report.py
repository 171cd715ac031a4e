"""Gather what the benchmarks measured on one page, docs/benchmarks.md.

    python benchmarks/report.py [--check]

Reads the files that forecast.py, time_to_accuracy.py, paper.py, labels.py and others wrote with
--json into benchmarks/results. With --check it writes nothing, and fails where the page differs
from what the files give.
"""

import argparse
import json
import re
import shlex
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[1]
# Of a file; the rest are results. "runs" is what they summarise.
ORIGIN = ("command", "date", "revision", "versions", "dataset", "seeds", "note", "runs")
LESS_IS_BETTER = {
    *("rrse", "mse", "mae", "mase", "reconstruction", "forecast", "filled", "seconds"),
    *("pinball", "lines"),
}
# The best of these is neither the least nor the greatest.
UNRANKED = {"coverage", "width", "ratio", "time", "memory", "share", "read"}
# Written with two digits after the point instead of four.
TIMES = {"seconds", "second", "milliseconds", "megabytes", "ratio"}
EFFORT = "validation and effort"

INTRODUCTION = """\
# Benchmarks

`python benchmarks/report.py` writes this page from the files in `benchmarks/results`, which the
commands below have written (FOLDER holds the data, FILE is the file named after the command).
Unless stated otherwise, scores are on the test windows: the mean over seeds ± the standard
deviation. Single runs, and runs that all agree, have no standard deviation. All choices are made on
validation windows. The best mean of a column is bold, however small its lead. Seconds are measured
on one thread, and are rough.
"""

# By the script that wrote a file; these and the data sets are in the order of the page.
SCRIPTS = {
    "forecast": """\
## Forecasts beside other methods

RRSE, the root relative squared error, is 0 for a perfect forecast and 1 for the mean of the true
values. Three versions weight the channels differently. RRSE in the units of the source is dominated
by the largest channels. RRSE of values standardised by the training rows is dominated by the
channels that change most after them. RRSE of channels is the mean of one RRSE per channel. CORR is
the mean correlation over channels. MSE and MAE are of standardised values. Seconds include tuning,
fitting and forecasting, but not the search for the settings of NHITS. "Seasonal naive" repeats the
last day or the last week, whichever has the lower error on the validation windows.
""",
    "time_to_accuracy": """\
## Time to accuracy

Seconds to target are those from the start of a fit until its mean squared error on the validation
windows is at most 1 % above that of ridge regression. Seconds to best peer are those until it
reaches the lowest validation error of the other methods, seconds to converge those until early
stopping ends the fit. Ratios are relative to DeepDIVE with the same seed. MSE is of standardised
values. `benchmarks/time_to_accuracy.py` describes the timing and the tuning of the other methods.
""",
    "paper": """\
## The paper's table

Reconstruction and forecast are RRSE (0 is perfect, 1 is the mean of the true values) of values
standardised per channel. The mutual information gap (MIG) of a factor is 1 if a single latent
dimension determines the factor and no other dimension is informative. Accuracy is the share of
labels that are predicted correctly from the windows.
""",
    "disentanglement": """\
## The test of disentanglement

Accuracy above chance with which labels of test windows are read from the marginal dimensions, and
from the conditional ones: as encoded, and relative to the prior that the labels imply, as
`transform` returns them. Neighbours and boosting learn from the training windows, "in folds"
neighbours from other test windows, of other people or a week away. MIG, DCI and SAP are of the
marginal dimensions and those read. `benchmarks/disentanglement.py` has the details.
""",
    "labels": """\
## Accuracy of the labels

Accuracy is the share of labels that are predicted correctly from the windows alone.
""",
    "classification": """\
## Labels of sensor windows beside other classifiers

Accuracy is the share of windows whose label is predicted correctly, balanced accuracy its mean over
classes. The adjusted Rand index compares clusters that were found without labels with the labels: 1
is perfect, 0 is chance. `benchmarks/classification.py` describes the other methods.
""",
    "uncertainty": """\
## Intervals beside quantile regression

Intervals of 80, 90 and 95 % should cover 80, 90 and 95 % of the futures. Of intervals with this
coverage, narrow ones are better. Pinball losses are means over the median and the ends of the
intervals. Widths and losses are in units of the standard deviation of each channel in the training
rows. "Constant" intervals have the same width for all windows. Gradient boosting fits one model per
quantile, and gets the calendar of the step as input.
""",
    "anomaly": """\
## Anomalies

The scores are areas under the ROC curve (1 is perfect, 0.5 is chance). They compare
`score_samples` of DeepDIVE, scikit-learn's isolation forest, and the reconstruction error of
principal components. For series, anomalies are added to test windows. For recordings of exercises,
the anomalies are the windows of one exercise, which no method was trained on.
`benchmarks/anomaly.py` has the details.
""",
    "gaps": """\
## Gaps

A tenth of the values is lost, singly or in stretches of 6 to 48 hours. Forecasts are RRSE of all
true futures, "filled" is the root mean squared error at the lost places, "half" is of windows of
which half of the values is lost. "Trained on complete" has gaps in the test windows alone.
`benchmarks/gaps.py` has the details.
""",
    "tables": """\
## Tables

Tables with holes, of several series, of counts, and the same task in other libraries.
`benchmarks/tables.py` has the details. Lines are those of the code without imports.
""",
    "training_loop": """\
## Training beside other loops

The table compares the whole of `fit` with bare loops over the same module and losses. The loops
get standardised tensors and evaluate nothing; `benchmarks/training_loop.py` has the details. The
peak share is the arithmetic of matrix products per second, relative to one large matrix product.
Seconds are for all of `fit`, and for as many epochs of the other loops. "best, kept" is the best
loop with cached linear forecasts, which do not change in training. `fit` caches them where they
take at most 64 MB; the other loops compute them in every step.
""",
    "inference": """## Outputs and the import

Outputs are compared with calls of the bare module on standardised tensors, the import with imports
of the libraries alone. The two took turns, and a ratio is the median over pairs. `predict` and
`transform` also check and standardise their input, and return arrays in the units of the data.
""",
    "scaling": """## Time and memory by size

One size varies at a time. The others stay at 8,000 windows of 96 steps and 8 channels, 24 steps
ahead, with one factor. A fit takes one epoch in every phase on one thread. Memory excludes the
series and the memory that an earlier fit of 50 windows took.

![Seconds and megabytes of a fit against windows, time steps, channels, horizon and
factors](scaling.png)
""",
    "ablation": """## What each choice in the model brings

Each row changes one choice and keeps the defaults of all others; `benchmarks/ablation.py` has the
details. The scores are the same as in the paper's table. Seconds are for the fit.
""",
}
DATASETS = {
    "small": "### Small: 100 windows of 24 steps and one channel, 12 steps ahead\n",
    "medium": "### Medium: 30,000 windows of 168 steps and 10 channels, 24 steps ahead\n",
    "large": "### Large: 20,000 windows of 168 steps and 321 channels, 24 steps ahead\n",
    "synthetic": "### Waves with noise\n",
    "electricity": "### Electricity, load of two clients\n",
    "electricity-full": "### Electricity, load of all clients\n",
    "etth1": "### ETTh1, loads and oil temperature of a transformer\n",
    "gefcom2012": """\
### GEFCom2012, load of utility zones

The figures of the test windows were looked at while the model was developed, so they are
indications rather than a blind test.
""",
    "gefcom2012-weather": """\
### GEFCom2012, told the weather

Covariates of the horizon are the calendar of every step and, for each of 11 stations, the
temperature at the step, its mean over the day before, and the temperature a day earlier. All
methods get them; gradient boosting also gets those one and three steps before.
""",
    "gefcom2012-noisy-weather": """\
### GEFCom2012, told weather forecasts

The same with errors of the temperature, for training and test alike: a random walk from the origin
of the forecast, with a standard deviation of 4 °F after 24 hours.
""",
    "electricity-calendar": "### Electricity, load of two clients, told the calendar\n",
    "gait_ipol": """\
### Gait, a sensor on the right foot

The group is confounded with the make of the sensor: a predicted group is partly a predicted sensor.
""",
    "holes": """\
### A year of hours, of which some are missing

"As they come" takes the rows that are there for neighbours. "Left out" leaves out the windows that
touch a hole, "filled" fills holes of up to three hours before. With 240 hours missing here and
there, only one of three seeds leaves enough windows without a hole.
""",
    "files": """\
### Five messy files, each to a forecast of one period

MAE is of the forecast beside the course without noise, in units of each series; the noise in the
file has a standard deviation of 0.1. The share is that of steps whose 5 % quantile is below zero.
"As they come" takes the rows that have a value in the order of the file, whatever their times are,
and forecasts what follows the last of them, in one of the two meters. `SeriesForecaster` takes at
most six lines from the file to the forecast; `benchmarks/messy_files.py` has the files and the
lines.
""",
    "noise": "### Coverage of 80 % intervals, four series of different noise\n",
    "counts": "### Counts of which 85 % are zero, 80 % intervals\n",
    "clients": "### Sixteen clients, a model each or one model, 80 % intervals\n",
    "zones": """\
### Six zones, a model each or one model, 80 % intervals

Of a year for training, and the 325 days after it; means over zones.
""",
    "meters": "### Two meters, from a CSV to the next day and a backtest\n",
    "watch": "### Smartwatch, exercises of the shoulder\n",
    "gunpoint": "### GunPoint\n",
    "basic_motions": "### BasicMotions\n",
    "italy_power_demand": "### ItalyPowerDemand\n",
}


def write_page(files):
    """Lay out the files, ``{name: content}``: a section per script, in it one per data set."""
    sections = {}
    for name, content in files.items():
        key = Path(shlex.split(content["command"])[1]).stem, content["dataset"]
        if key[0] not in SCRIPTS or key[1] not in DATASETS:
            raise SystemExit(f"{name}: add {key} to SCRIPTS and DATASETS of report.py.")
        sections.setdefault(key, {})[name] = content
    parts = [INTRODUCTION]
    for script, explanation in SCRIPTS.items():
        datasets = [dataset for dataset in DATASETS if (script, dataset) in sections]
        parts += [explanation] if datasets else []
        for dataset in datasets:
            lay_out = join if script == "forecast" else list_files
            parts += [DATASETS[dataset], *lay_out(sections[script, dataset])]
    return "\n".join(parts)


def join(files):
    """Put the models of all files side by side, horizon after horizon, DeepDIVE last."""
    yield "".join(origin(name, content) for name, content in files.items())
    horizons = {}
    for name, content in files.items():
        for title, models in results(content).items():
            rows = horizons.setdefault(title, {})
            if twice := rows.keys() & models:
                raise SystemExit(f"{name} repeats {sorted(twice)}, {title}, of another file.")
            rows |= {model: forecast_scores(result) for model, result in models.items()}
    for title, rows in horizons.items():
        yield f"#### {title.replace('->', '→')} hours\n"
        yield from tables(dict(sorted(rows.items(), key=lambda row: row[0].startswith("DeepDIVE"))))


def forecast_scores(result):
    """Name the scores of a model ``(table, column)``: a table per measure, if there are steps.

    The column of all steps comes first, as it says most.
    """
    test, seconds = result["test"], [run["seconds"] for run in result["runs"]]
    cells = {
        (measure, "all steps" if step == "all" else f"step {step}"): scores[measure]
        for measure in ("rrse", "rrse standardised", "rrse of channels", "corr")
        for step, scores in sorted(test.items(), key=lambda score: score[0] != "all")
    }
    if list(test) == ["all"]:
        cells = {("", measure): cell for measure, cell in test["all"].items()}
    return {
        **cells,
        (EFFORT, "mse"): result["validation"]["all"]["mse"],
        (EFFORT, "runs"): str(len(seconds)),
        (EFFORT, "seconds"): f"{fmean(seconds):.0f}",
    }


def list_files(files):
    """Show file after file."""
    for name, content in files.items():
        yield origin(name, content)
        yield from tables({row: plain_scores(scores) for row, scores in results(content).items()})


def plain_scores(scores):
    """Name ``[validation ]score[ of factor]`` by table and column: a table for all factors."""
    cells = {}
    for score, cell in scores.items():
        table, _, column = score.removeprefix("validation ").rpartition(" of ")
        if score.startswith("validation "):
            table = f"validation {table}" if table else EFFORT
        cells[table, column] = cell
    if seconds := cells.pop(("", "seconds"), None):
        cells[EFFORT, "seconds"] = f"{seconds[0]:.0f}"
    return cells


def origin(name, content):
    """Tell where results come from, but not the paths on the machine they were measured on."""
    script, *options = shlex.split(content["command"])[1:]
    command = shlex.join(["python", f"benchmarks/{Path(script).name}", *options])
    for option, stand_in in {"--data": "FOLDER", "--json": "FILE"}.items():
        command = re.sub(rf"{option}[ =]('[^']*'|\S+)", f"{option} {stand_in}", command)
    seeds = ", ".join(map(str, content["seeds"]))
    versions = ", ".join(f"{library} {v}" for library, v in content["versions"].items() if v)
    when = ", ".join(filter(None, [content["date"][:10], content.get("revision")]))
    note = f" {content['note']}" if "note" in content else ""
    return f"- `{command}`\n  ({name}; {when}; seeds {seeds}; {versions}){note}\n"


def results(content):
    return {key: value for key, value in content.items() if key not in ORIGIN}


def tables(rows):
    """Write ``{row: {(table, column): [mean, deviation] or text}}``; a row may lack columns."""
    keys = dict.fromkeys(key for cells in rows.values() for key in cells)
    best = {key: best_mean(key, [row[key] for row in rows.values() if key in row]) for key in keys}
    for title in dict.fromkeys(title for title, _ in keys):
        columns = [key for key in keys if key[0] == title]
        lines = [map(capitalise, [title, *(name for _, name in columns)])]
        lines.append(["---", *["---:"] * len(columns)])
        for row, cells in rows.items():
            if cells.keys() & set(columns):
                lines.append(
                    [row, *(write(key, cells.get(key, "–"), best[key]) for key in columns)]
                )
        yield "".join(f"| {' | '.join(line)} |\n" for line in lines)


def capitalise(name):
    return re.sub(r"\b(rrse|corr|mse|mase|mae|mig|dci|sap)\b", lambda match: match[0].upper(), name)


def best_mean(key, cells):
    """Best mean as it is written, or None where there is nothing to compare."""
    means = [cell[0] for cell in cells if not isinstance(cell, str)]
    choose = min if LESS_IS_BETTER & words(key) else max
    return number(key, choose(means)) if len(means) > 1 and not UNRANKED & words(key) else None


def words(key):
    return set(re.findall(r"\w+", " ".join(key)))


def number(key, value):
    if "lines" in words(key):
        return f"{value:.0f}"
    return f"{value:.2f}" if TIMES & words(key) else f"{value:.4f}"


def write(key, cell, best):
    if isinstance(cell, str):
        return cell
    mean, deviation = (number(key, value) for value in cell)
    text = f"**{mean}**" if mean == best else mean
    return f"{text} ± {deviation}" if cell[1] else text


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--check", action="store_true", help="compare only; fail on a difference")
    options = parser.parse_args(arguments)
    paths = sorted(options.results.glob("*.json"))
    if not paths:
        raise SystemExit(f"{options.results} holds no results.")
    page = write_page({path.name: json.loads(path.read_text(encoding="utf-8")) for path in paths})
    if not options.check:
        options.page.write_text(page, encoding="utf-8")
    elif not options.page.exists() or options.page.read_text(encoding="utf-8") != page:
        raise SystemExit(
            f"{options.page} differs from what {options.results} gives: "
            "run 'python benchmarks/report.py' and commit the page."
        )


if __name__ == "__main__":
    main()
