# make demo: the main job on input that ships with the project. make test: everything that can be tested here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test fuzz faults matrix lint clean

demo: $(VENV)/.installed
	$(BIN)/copyscope demo --out demo-out

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive copyscope_core nodes __init__.py
	$(BIN)/pytest

# Some 30,000 damaged workflows, tables, images, models, run folders and answers of servers: docs/security.md.
fuzz: $(VENV)/.installed-dev
	COPYSCOPE_FUZZ_EXAMPLES=1200 $(BIN)/pytest tests/fuzz --hypothesis-show-statistics

# At least 100 kills and the other faults of docs/faults.md, on a real ComfyUI.
faults: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults.campaign --out test-artifacts/faults

# The host tests on any number of ComfyUI folders: make matrix HOSTS="path path"
matrix: $(VENV)/.installed-dev
	$(BIN)/python -m tests.host.matrix $(HOSTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo-out test-artifacts
