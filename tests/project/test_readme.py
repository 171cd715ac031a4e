"""The README does what it says, and links lead somewhere."""

import re
from pathlib import Path

import pytest
import sklearn

ROOT = Path(__file__).parents[2]

# Less data and training than the reader sees, the same calls.
SHORTER = {
    "(as_frame=True).data ": "(as_frame=True).data[-2500:] ",
    "DeepDIVEForecaster(random_state=0)": "DeepDIVEForecaster(max_epochs=1, random_state=0)",
    "n_channels=2, random_state=0": "n_channels=2, max_epochs=1, random_state=0",
}


def code_of(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))


def test_the_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    code = code_of("README.md")
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    names = {}
    with sklearn.config_context():
        exec(compile(code, "README.md", "exec"), names)
    assert names["days"].predict().shape == (24, 2)
    test = names["test"]
    assert names["model"].predict(names["X"][test]).shape == names["y"][test].shape
    assert names["search"].best_params_["n_timesteps"] in (24, 168)
    assert (tmp_path / "load.joblib").exists()


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))],
)
def test_relative_links_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert all((path.parent / link).exists() for link in links), links
