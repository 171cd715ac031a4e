"""The README does what it says."""

import re
from pathlib import Path

import pytest
import sklearn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Less data and training than the reader sees, the same calls.
SHORTER = {
    "(as_frame=True).data ": "(as_frame=True).data[-2500:] ",
    "max_epochs=10": "max_epochs=1",
}


def test_the_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.S))
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    names = {}
    with sklearn.config_context():
        exec(compile(code, "README.md", "exec"), names)
    test = names["test"]
    assert names["model"].predict(names["X"][test]).shape == names["y"][test].shape
    assert names["search"].best_params_["deepdiveforecaster__n_conditional"] in (8, 16)
    assert (tmp_path / "load.joblib").exists()


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/results.md", "docs/works_with.md"]
)
def test_relative_links_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert all((path.parent / link).exists() for link in links), links
