# `make demo` and `make test` need Python 3.11 or newer and package indexes; for the pages also Node,
# which comes from PyPI where the machine has none.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

WEB    := realm_telemetry/service/web

.PHONY: help demo pages fields test test-long trace-store check bench proto clean
.DEFAULT_GOAL := help

help:            ## Say what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11. Name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo pages ## Train a network and watch its events arrive in both views
	$(BIN)/realm demo

pages: | $(BIN)/python    ## Build War Room and Battle Log, if their sources have changed
	@$(BIN)/python $(WEB)/build.py

fields: | $(BIN)/python   ## Write the pages' list of filter fields again
	@$(BIN)/python $(WEB)/fields.py

test: $(VENV)/.dev pages  ## All tests but the long ones, under 10 minutes on 2 cores
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not long and not alone'
	$(BIN)/python -m pytest -m 'alone and not long'

test-long: $(VENV)/.dev pages trace-store ## Hundred-round crash tests and million-row tests
	$(BIN)/python -m pytest -m long --timeout 1200

# A trace store that nobody here wrote, which a test reads the demo back from. It has an environment of
# its own: 850 MB, and other versions of what we use.
trace-store: $(VENV)/trace-store/bin/mlflow ## Install mlflow for the long tests of traces

$(VENV)/trace-store/bin/mlflow: | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/trace-store
	$(VENV)/trace-store/bin/python -m pip install --quiet 'mlflow>=3.17,<4'

check: $(VENV)/.dev       ## Format, lint, types, import contracts, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python proto/generate.py --check
	$(BIN)/python $(WEB)/fields.py --check

bench: $(VENV)/.dev       ## Measure every figure of docs/performance.md
	$(BIN)/python -m benchmarks

proto: | $(BIN)/python    ## Generate the wire format's modules again
	$(BIN)/python proto/generate.py

clean:                    ## Remove the environment and all caches
	rm -rf $(VENV) $(WEB)/node_modules realm_telemetry/service/static .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
