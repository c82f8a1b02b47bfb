# Needs make and Python 3.11 or newer; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

.PHONY: demo dev test lint bench faults crash matrix browser screenshots clean

# A user's own rows in the place of the sample: make demo INPUT=path.parquet TEXT=column ID=column DAY=column [NIGHTS=3]
demo dev: export BATCH_ASSETS_INPUT = $(INPUT)
demo dev: export BATCH_ASSETS_TEXT = $(TEXT)
demo dev: export BATCH_ASSETS_ID = $(ID)
demo dev: export BATCH_ASSETS_DAY = $(DAY)
# Another provider, its key in the environment or else the emulator: make demo PROVIDER=anthropic|gemini|vertex|mistral
demo dev: export BATCH_ASSETS_PROVIDER = $(PROVIDER)
demo: export NIGHTS := $(NIGHTS)
dev: export PORT := $(PORT)

demo: $(VENV)/installed
	@$(BIN)/python -m examples.demo

dev: $(VENV)/installed
	@$(BIN)/python -m examples.dev

test: $(VENV)/installed-dev
	@$(BIN)/pytest -n auto $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	@$(BIN)/python -m benchmarks.run $(BENCH_ARGS)
	@$(BIN)/python -m benchmarks.ticks $(BENCH_TICKS)

# One night for every fault and provider; fails if a row, or a billed request, is not as it must be.
faults: $(VENV)/installed-dev
	@$(BIN)/python tests/faults/matrix.py

# A process killed at every kind of step, with every provider; `make test` has every single step, with one.
crash: $(VENV)/installed-dev
	@$(BIN)/pytest -n auto -m thorough tests/crash $(PYTEST_ARGS)

# Backfills with the oldest Dagster that is promised, with the last before the hold and with the newest; the oldest SDKs.
matrix: $(VENV)/installed-dev
	@$(BIN)/python tests/matrix.py $(MATRIX)

# A backfill launched and looked at in Dagster's UI. Needs Debian's package chromium.
browser: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -m thorough tests/browser

# The same, keeping the pictures of the docs.
screenshots: $(VENV)/installed-dev
	@SCREENSHOTS=docs/images $(BIN)/python -m pytest -m thorough tests/browser

clean:
	rm -rf $(VENV) .demo .dev .matrix .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: Python 3.11 or newer is needed; $(PYTHON) is not. Name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (once)"
	@$(PIP) install --editable '.[all]' dagster-webserver
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/installed
	@echo "Installing what checks and tests need into $(VENV) (once)"
	@$(PIP) install --editable '.[dev]'
	@touch $@
