# make demo: the main job on input that ships with the project. make check: under a minute, before each commit.
# make test: everything that can be tested here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo trained train-zoo check style types imports web quick test fuzz faults matrix gpu lint clean

DOWNLOAD := Installing CopyScope and what it needs into $(VENV). If pip has none of it yet, it downloads about 3.1 GB on \
  Linux (PyTorch with its CUDA libraries) or 0.1 GB on macOS; a PyTorch that is in $(VENV) already is kept. The demo \
  itself downloads nothing.

demo: $(VENV)/.installed
	$(BIN)/copyscope demo --out demo-out

# Ground truth for style: works, files for ComfyUI, gates, games on the ComfyUI at hand, tables of docs/trust.md. Hours.
# make trained TRAIN=1 trains the zoo first and plays all games anew; as a whole it was not timed.
ZOO_CACHE = $(or $(COPYSCOPE_ZOO_CACHE),$(HOME)/.cache/copyscope-zoo)
ZOO_MODELS := tools/style_zoo/models

trained: $(VENV)/.installed-dev
	$(BIN)/python -m tools.style_zoo.data
	$(if $(TRAIN),$(MAKE) --no-print-directory train-zoo)
	OMP_NUM_THREADS=1 $(BIN)/python -m studies.trained
	OMP_NUM_THREADS=1 $(BIN)/python -m studies.trained --seed 1
	$(BIN)/python -m studies.trained.pictures

train-zoo: $(VENV)/.installed-dev
	$(BIN)/python -m tools.style_zoo.train base --steps 6000
	$(BIN)/python -m tools.style_zoo.train models all
	cp $(ZOO_CACHE)/models/*.safetensors $(ZOO_MODELS)
	cd $(ZOO_MODELS) && sha256sum *.safetensors > SHA256SUMS
	$(BIN)/python -m tools.style_zoo.gates
	rm -rf $(ZOO_CACHE)/games studies/trained/games.jsonl studies/trained/games-1.jsonl

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
	$(BIN)/mypy --config-file tests/mypy.ini tests studies
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
	PYTHONPATH=tests $(BIN)/python -m tests.faults.campaign --out test-artifacts/faults

# Chosen host tests in every cache mode of the ComfyUIs in ~/comfy, or of others: make matrix HOSTS="path path"
matrix: $(VENV)/.installed-dev
	$(BIN)/python -m tests.host.matrix $(HOSTS)

# All that is measured on a GPU, within 10 minutes: gpu-out/gpu.md. Without a GPU: make gpu DEVICE=cpu SMALL=1
DEVICE ?= cuda

gpu: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.gpu --device $(DEVICE) $(if $(SMALL),--small) --out gpu-out

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(MAKE) types

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)" || echo "$(DOWNLOAD)"
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[torch]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) node_modules build dist *.egg-info demo-out gpu-out test-artifacts
