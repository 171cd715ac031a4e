"""The page of benchmarks says what the files of results say."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURES = ("rrse", "rrse standardised", "rrse of channels", "corr", "mse", "mae")

spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
report = importlib.util.module_from_spec(spec)
spec.loader.exec_module(report)


def make_file(command, dataset, rows):
    origin = {"date": "2026-01-02T03:04:05+00:00", "versions": {"numpy": "2.0", "other": None}}
    return {"command": command, **origin, "dataset": dataset, "seeds": [0, 1], **rows}


def make_result(error, deviation=0.0, steps=("all",)):
    measures = {measure: [error, deviation] for measure in MEASURES}
    runs = [{"seconds": 2.0}, {"seconds": 4.0}]
    scores = dict.fromkeys(steps, measures | {"corr": [1 - error, deviation]})
    return {"runs": runs, "validation": scores, "test": scores}


def forecasts(dataset="etth1", title="336 -> 96", **models):
    command = "python /home/me/benchmarks/forecast.py --data '/home/my data' --json=/home/a.json"
    return make_file(f"{command} --dataset {dataset}", dataset, {title: models})


def paper(**rows):
    return make_file("python paper.py --dataset watch", "watch", rows)


def lines_of(*files):
    return report.write_page({f"{k}.json": file for k, file in enumerate(files)}).splitlines()


def test_a_row_has_means_and_deviations_and_the_best_of_a_column_is_bold():
    lines = lines_of(paper(A={"forecast": [0.5, 0.01]}, B={"forecast": [0.25, 0.0]}))
    start = lines.index("|  | forecast |")
    assert lines[start + 1 : start + 4] == [
        "| --- | ---: |",
        "| A | 0.5000 ± 0.0100 |",
        "| B | **0.2500** |",
    ]


def test_more_is_better_unless_the_score_is_an_error():
    low, high = (
        {"forecast, step 3": [0.1, 0.0], "mig": [0.1, 0.0]},
        {"forecast, step 3": [0.2, 0.0], "mig": [0.2, 0.0]},
    )
    lines = lines_of(paper(A=low, B=high))
    assert "| A | **0.1000** | 0.1000 |" in lines
    assert "| B | 0.2000 | **0.2000** |" in lines


def test_all_that_equal_the_best_as_written_are_bold():
    lines = lines_of(paper(A={"mig": [0.30001, 0.0]}, B={"mig": [0.30002, 0.0]}))
    assert {"| A | **0.3000** |", "| B | **0.3000** |"} <= set(lines)


def test_scores_of_factors_have_tables_of_their_own_without_rows_that_lack_them():
    labelled = {"mig": [0.3, 0.0], "accuracy of side": [0.9, 0.0], "accuracy of arm": [0.8, 0.0]}
    lines = lines_of(paper(A=labelled, B={"mig": [0.1, 0.0]}))
    start = lines.index("| accuracy | side | arm |")
    assert lines[start + 2 : start + 4] == ["| A | 0.9000 | 0.8000 |"]


def test_validation_and_seconds_stand_apart_from_the_test_windows():
    scores = {"seconds": [12.3, 4.0], "forecast": [0.5, 0.0], "accuracy of side": [0.8, 0.0]}
    lines = lines_of(
        paper(A=scores | {f"validation {key}": [0.25, 0.0] for key in scores if key != "seconds"})
    )
    tables = {line: lines[k + 2] for k, line in enumerate(lines[:-2]) if "---" in lines[k + 1]}
    assert tables == {
        "|  | forecast |": "| A | 0.5000 |",
        "| accuracy | side |": "| A | 0.8000 |",
        "| validation and effort | forecast | seconds |": "| A | 0.2500 | 12 |",
        "| validation accuracy | side |": "| A | 0.2500 |",
    }


def test_every_measure_has_a_table_where_a_forecast_is_scored_at_several_steps():
    steps = ("3", "24", "all")
    models = {"ridge": make_result(0.5, steps=steps), "DeepDIVE": make_result(0.25, 0.1, steps)}
    lines = lines_of(forecasts("gefcom2012", "168 -> 24", **models))
    for score, best in {"RRSE standardised": "**0.2500**", "CORR": "**0.7500**"}.items():
        start = lines.index(f"| {score} | all steps | step 3 | step 24 |")
        assert lines[start + 3] == "| DeepDIVE |" + f" {best} ± 0.1000 |" * 3
    assert "| ridge | 0.5000 | 2 | 3 |" in lines  # validation MSE, runs, seconds


def test_models_of_several_files_stand_in_one_table_with_deepdive_last():
    lines = lines_of(
        forecasts(DeepDIVE=make_result(0.5)),
        forecasts(ridge=make_result(0.75)),
        forecasts(title="336 -> 192", ridge=make_result(0.9)),
    )
    assert sum(line.startswith("- `python benchmarks/forecast.py") for line in lines) == 3
    assert sum(line.startswith("### ETTh1") for line in lines) == 1
    start = lines.index("#### 336 → 96 hours")
    assert [line.split(" | ")[0] for line in lines[start + 4 : start + 6]] == [
        "| ridge",
        "| DeepDIVE",
    ]
    assert lines.index("#### 336 → 192 hours") > start


def test_times_have_two_digits_ratios_no_winner_and_runs_no_row():
    rows = {
        "ridge": {"mse": [0.5, 0.0]},
        "A": {"seconds to target": "not reached", "ratio to target": "not reached"},
        "B": {"seconds to target": [12.346, 0.5], "ratio to target": [3.0, 0.25]},
        "DeepDIVE": {"seconds to target": [4.116, 0.0], "ratio to target": [1.0, 0.0]},
        "runs": [{"curve": [[1.0, 0.5]]}],
    }
    lines = lines_of(make_file("python time_to_accuracy.py", "electricity", rows))
    start = lines.index("|  | MSE | seconds to target | ratio to target |")
    assert lines[start + 2 :] == [
        "| ridge | 0.5000 | – | – |",
        "| A | – | not reached | not reached |",
        "| B | – | 12.35 ± 0.50 | 3.00 ± 0.25 |",
        "| DeepDIVE | – | **4.12** | 1.00 |",
    ]


def test_two_files_with_the_same_model_are_refused():
    with pytest.raises(SystemExit, match=r"1\.json repeats \['ridge'\], 336 -> 96"):
        lines_of(forecasts(ridge=make_result(0.5)), forecasts(ridge=make_result(0.5)))


def test_a_file_of_an_unknown_script_is_refused():
    with pytest.raises(SystemExit, match=r"0\.json: .* \('other', 'watch'\)"):
        lines_of(make_file("python other.py", "watch", {}))


def test_the_origin_names_command_date_seeds_and_versions_but_no_paths():
    lines = lines_of(forecasts(ridge=make_result(0.5)))
    command = "- `python benchmarks/forecast.py --data FOLDER --json FILE --dataset etth1`"
    start = lines.index(command)
    assert lines[start + 1] == "  (0.json; 2026-01-02; seeds 0, 1; numpy 2.0)"


@pytest.mark.parametrize(
    ("dataset", "words"), [("gait_ipol", "confounded"), ("gefcom2012", "rather than a blind test")]
)
def test_what_a_reader_should_know_of_a_data_set_is_said(dataset, words):
    rows = {"A": {"forecast": [0.5, 0.0]}}
    assert words in "\n".join(lines_of(make_file("python paper.py", dataset, rows)))


def test_check_fails_where_the_page_differs(tmp_path):
    page, results = tmp_path / "page.md", tmp_path / "results"
    options = ["--results", str(results), "--page", str(page)]
    check = [*options, "--check"]
    with pytest.raises(SystemExit, match="holds no results"):
        report.main(check)
    results.mkdir()
    (results / "a.json").write_text(json.dumps(paper(A={"mig": [0.5, 0.0]})), encoding="utf-8")
    with pytest.raises(SystemExit, match="differs"):
        report.main(check)
    report.main(options)
    report.main(check)
    page.write_text(page.read_text(encoding="utf-8").replace("0.5000", "0.6000"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"differs .* run 'python benchmarks/report\.py'"):
        report.main(check)


def means(content):
    """All means of a file, as they may be rounded in prose."""
    if isinstance(content, dict):
        return set().union(*map(means, content.values())) if content else set()
    pair = isinstance(content, list) and len(content) == 2
    if pair and all(isinstance(value, float) for value in content):
        return {f"{content[0]:.3f}", f"{content[0]:.4f}"}
    return set()


def test_the_summary_of_the_results_has_figures_of_the_files_only():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    summary = text.partition("## At a glance")[2].partition("\n## ")[0]
    figures = set(re.findall(r"\b0\.\d{3,}\b", summary))
    files = (ROOT / "benchmarks" / "results").glob("*.json")
    known = set().union(*(means(json.loads(path.read_text(encoding="utf-8"))) for path in files))
    assert len(figures) > 20
    assert figures <= known


def test_the_page_in_the_documentation_is_what_the_results_give():
    report.main(["--check"])
