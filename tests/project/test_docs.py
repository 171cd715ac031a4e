"""The pages of the documentation do what they say."""

import re
from pathlib import Path

import pytest

import skdeepdive
from skdeepdive import baselines, datasets, inspection, metrics, tables, windows

DOCS = Path(__file__).parents[2] / "docs"

# Less data and training than the reader sees, the same calls.
SHORTER = {
    "getting_started.md": {
        "(as_frame=True).data ": "(as_frame=True).data[-2500:] ",
        "(random_state=0)": "(max_epochs=1, n_hidden=16, random_state=0)",
    },
    "user_guide.md": {
        '"2014-09-01"': '"2014-10-13"',
        "max_epochs=5": "max_epochs=1, n_hidden=16",
        "n_hidden=64": "n_hidden=16",
    },
}


@pytest.mark.parametrize("page", SHORTER)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))
    for long, short in SHORTER[page].items():
        assert long in code
        code = code.replace(long, short)
    names = {}
    exec(compile(code, page, "exec"), names)
    test = names["test"]
    assert names["model"].predict(names["X"][test]).shape == names["y"][test].shape


def test_the_reference_lists_every_public_name():
    listed, module = set(), None
    for line in (DOCS / "api.rst").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.fullmatch(r"   (\w+)", line):
            listed.add(f"{module}.{found[1]}")
    modules = [baselines, datasets, inspection, metrics, tables]
    expected = {f"{m.__name__}.{name}" for m in modules for name in m.__all__}
    at_the_top = {"skdeepdive.tables.SeriesForecaster"}
    assert listed == (expected - at_the_top) | {f"skdeepdive.{n}" for n in skdeepdive.__all__}
    assert {"SeriesForecaster", *windows.__all__} <= set(skdeepdive.__all__)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_no_line_of_a_page_is_a_comment_by_accident(page):
    """A line that begins with a percent sign is left out of the built page."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.lstrip().startswith("%")]
