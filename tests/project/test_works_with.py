"""The page "Works with" does what it says, section by section."""

import re
import sys
import tempfile
from pathlib import Path

import pytest

from skdeepdive import DeepDIVEForecaster

PAGE = (Path(__file__).parents[2] / "docs" / "works_with.md").read_text(encoding="utf-8")

# Less data and training than the reader sees, the same calls.
SHORTER = {"2014-09-01": "2014-10-13", "max_epochs=5": "max_epochs=1, n_hidden=16"}

# What libraries say about themselves, however they are used.
WARNINGS = {
    "mlforecast": "ignore:DataFrame is highly fragmented",
    "optuna": "ignore:`optuna.terminator` module has been deprecated:FutureWarning",
    "optuna_integration": "ignore:OptunaSearchCV is experimental",
    "sktime": "ignore:The default of config ``remember_data`` will change:FutureWarning",
}


def blocks(text):
    return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))


def imported_modules(code):
    names = re.findall(r"^(?:from|import) (\w+)", code, flags=re.M)
    return sorted(set(names) - set(sys.stdlib_module_names) - {"skdeepdive"})


def sections():
    """The code at the beginning of the page, and that of every section that has some."""
    start, *parts = re.split(r"^#{2,3} (.+)$", PAGE, flags=re.M)
    code = zip(parts[::2], map(blocks, parts[1::2]), strict=True)
    return blocks(start), {title: block for title, block in code if block}


START, SECTIONS = sections()


def section_parameters():
    for title, code in SECTIONS.items():
        modules = imported_modules(code)
        marks = [pytest.mark.filterwarnings(WARNINGS[name]) for name in modules if name in WARNINGS]
        yield pytest.param(code, id=title, marks=marks)


@pytest.fixture
def no_traces(tmp_path, monkeypatch):
    """Folders that go away, for files and for what ray would write into others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield


def run(code):
    """The names that the beginning of the page and the code of a section define."""
    code = START + code
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    names = {}
    exec(compile(code, "works_with.md", "exec"), names)
    return names


@pytest.mark.parametrize("code", list(section_parameters()))
def test_the_code_of_a_section_runs_after_the_beginning(code, no_traces, tmp_path, monkeypatch):
    modules = {name: pytest.importorskip(name) for name in ["pandas", *imported_modules(code)]}
    if "dask" in modules:
        settings = modules["dask"].config.config
        monkeypatch.setitem(settings, "temporary-directory", str(tmp_path))
    run(code)


def test_columns_come_back_in_their_order_from_two_scalers():
    pytest.importorskip("pandas")
    names = run(SECTIONS["ColumnTransformer"])
    assert names["model"].feature_names_in_.tolist() == names["columns"]


def test_folds_by_origin_divide_the_hours_between_two_dates():
    pytest.importorskip("pandas")
    names = run(SECTIONS["Irregular windows"])
    assert [len(test) for _, test in names["folds"]] == [200, 200]


def test_every_section_with_code_uses_the_estimator():
    assert len(SECTIONS) > 20
    for code in SECTIONS.values():
        assert DeepDIVEForecaster.__name__ in code
