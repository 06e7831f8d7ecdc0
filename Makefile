# make demo: the main job on input that ships with the project. make check: under a minute, before each commit.
# make test: everything that can be tested here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo check style types imports web quick test fuzz faults matrix lint clean

demo: $(VENV)/.installed
	$(BIN)/copyscope demo --out demo-out

# Under a minute on two cores: what to run before each commit. No ComfyUI, no browser, no network once all is installed.
check: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory -j2 style types imports web
	$(MAKE) --no-print-directory quick

style: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The nodes are checked as what they are in ComfyUI, a part of a pack: from a folder that holds this one under a name.
types: $(VENV)/.installed-dev
	$(BIN)/mypy
	@mkdir -p .mypy_cache/as-a-pack
	@ln -sfn ../.. .mypy_cache/as-a-pack/pack
	cd .mypy_cache/as-a-pack && "$(abspath $(BIN))/mypy" --config-file pack/pyproject.toml --cache-dir .. -p pack.nodes

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# JavaScript: types and lint.
web:
	@if ! command -v npm >/dev/null; then \
	  echo "NO NPM: install Node.js 20 or later; JavaScript was NOT checked"; \
	elif ! { cmp -s package-lock.json node_modules/.lock || npm ci --no-audit --no-fund --loglevel=error; }; then \
	  echo "NO NPM PACKAGES: npm ci failed; JavaScript was NOT checked"; \
	else \
	  cp package-lock.json node_modules/.lock; sh types/check.sh; \
	fi

QUICK := not slow and not host and not browser
WORKERS ?= auto

quick: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "$(QUICK)" --numprocesses $(WORKERS)

# All tests. A ComfyUI or a browser serves one test at a time; of the rest, a file's tests share what they set up.
test: $(VENV)/.installed-dev style types imports web
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive copyscope_core nodes __init__.py
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not host and not browser" --numprocesses $(WORKERS) --dist loadfile --durations=10
	$(BIN)/pytest -m "host or browser" --durations=10

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
	$(MAKE) types

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) node_modules build dist *.egg-info demo-out test-artifacts
