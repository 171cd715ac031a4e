# The single entry point: `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHORT ?=

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NEIGHBOURS := .venv-neighbours
REQUIREMENTS := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo docs test test-slow test-neighbours lint format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo  ## forecast electricity load with plots; SHORT=1 for the short form
	$(BIN)/python examples/plot_electricity.py $(if $(SHORT),--short)

docs: $(VENV)/.docs  ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build -E -W --keep-going -q docs docs/_build/html

test: lint  ## check style, spelling, imports and types, then run the tests with coverage
	$(BIN)/python -m pytest -n auto --cov -m 'not slow'

test-slow: $(VENV)/.test  ## run all tests, those that take long as well
	$(BIN)/python -m pytest -n auto

test-neighbours: $(NEIGHBOURS)/.installed  ## run the tests with other libraries, in an environment of theirs
	$(NEIGHBOURS)/bin/python -m pytest tests/project/test_neighbours.py tests/project/test_works_with.py \
		tests/data/test_labels.py

lint: $(VENV)/.test  ## check style, spelling, imports and types only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.test  ## format the code and sort its imports
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

clean:  ## remove the environments, builds and caches
	rm -rf $(VENV) $(NEIGHBOURS) build dist *.egg-info .coverage htmlcov
	rm -rf docs/_build docs/auto_examples docs/generated
	rm -rf .pytest_cache .ruff_cache .import_linter_cache .mypy_cache
	find skdeepdive tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

# One stamp per extra: each installs what it needs on top of what is there already.
$(VENV)/.demo $(VENV)/.docs $(VENV)/.test: $(VENV)/.%: $(REQUIREMENTS) | $(VENV)/pyvenv.cfg
	$(PIP_INSTALL) --editable '.[$*]'
	@touch $@

# The neighbours hold some libraries back, so their environment has pins of its own.
$(NEIGHBOURS)/.installed: setup.cfg pyproject.toml constraints-neighbours.txt
	$(PYTHON) -m venv $(NEIGHBOURS)
	$(NEIGHBOURS)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints-neighbours.txt --editable '.[test,neighbours]'
	@touch $@
