"""What is in the wheel, and whether the tested versions fit the declared ones."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import skdeepdive

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("skdeepdive", "tests", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Copy of the sources, so that building leaves nothing behind in the checkout."""
    target = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*")
    for name in (*SOURCES, "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """Open wheel built from the copied sources with the setuptools at hand."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    result = subprocess.run(
        [*command, "--wheel-dir", str(target), str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def read_metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return wheel.read(name).decode()


# The extras that the environment of each file of constraints has; None: all others.
CONSTRAINTS = {"constraints.txt": None, "constraints-neighbours.txt": ["test", "neighbours"]}


def read_requirements(extras=None):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    blocks = config["options.extras_require"]
    names = set(blocks) - {"neighbours"} if extras is None else extras
    blocks = [config["options"]["install_requires"], *(blocks[name] for name in names)]
    requirements = [Requirement(line) for block in blocks for line in block.split("\n") if line]
    return [requirement for requirement in requirements if requirement.name != "skdeepdive"]


def read_constraints(name):
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_wheel_holds_every_file_of_the_package_and_nothing_else(source, wheel):
    files = [path for path in (source / "skdeepdive").rglob("*") if path.is_file()]
    expected = {path.relative_to(source).as_posix() for path in files}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


@pytest.mark.parametrize(
    "pattern",
    [r"skdeepdive/py\.typed", r"skdeepdive/datasets/data/.+", r"skdeepdive/datasets/descr/.+"],
)
def test_wheel_holds_files_other_than_code(wheel, pattern):
    assert [name for name in wheel.namelist() if re.fullmatch(pattern, name)]


def test_wheel_holds_the_licences_of_code_and_data(wheel):
    data = (ROOT / "skdeepdive" / "datasets" / "data").glob("LICENSE-*.txt")
    expected = {path.relative_to(ROOT).as_posix() for path in [ROOT / "LICENSE", *data]}
    found = {name.partition(".dist-info/licenses/")[2] for name in wheel.namelist()}
    assert found - {""} == expected
    assert "\nLicense-Expression: BSD-3-Clause\n" in read_metadata(wheel)


def test_wheel_has_the_version_of_the_package(wheel):
    assert f"\nVersion: {skdeepdive.__version__}\n" in read_metadata(wheel)


@pytest.mark.parametrize("extras", CONSTRAINTS.values(), ids=str)
def test_requirements_have_lower_bounds_only(extras):
    for requirement in read_requirements(extras):
        operators = [specifier.operator for specifier in requirement.specifier]
        assert operators == [">="], f"{requirement} must have one lower bound and no other."


@pytest.mark.parametrize(("constraints", "extras"), CONSTRAINTS.items())
def test_every_requirement_is_pinned_to_a_version_it_allows(constraints, extras):
    pins = {canonicalize_name(pin.name): pin for pin in read_constraints(constraints)}
    for requirement in read_requirements(extras):
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{pin} does not fit {requirement}."


@pytest.mark.parametrize("constraints", CONSTRAINTS)
def test_constraints_name_public_versions_only(constraints):
    for pin in read_constraints(constraints):
        assert pin.url is None
        assert "+" not in str(pin.specifier)
