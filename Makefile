# `make demo` and `make test` need Python 3.11 or newer and package indexes; for the pages also Node,
# which comes from PyPI where the machine has none.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Stands before pytest; `.ci/run` tries failed tests twice.
TRY    ?=

# Images of containers often set it. Each of the thousands of processes that tests start would then compile
# every module anew, and each worker every test: a third of all they cost.
unexport PYTHONDONTWRITEBYTECODE

WEB    := realm_telemetry/service/web

# Directories whose tests need no browser, and processes only where they are marked `processes`.
# tests/docs/test_contributing.py holds that they exist.
UNIT   := $(addprefix tests/,client delivery exporters folds kinds log observability otel \
                             producer spool values wire)
# Directories whose tests use OpenTelemetry's packages.
OTEL   := $(addprefix tests/,exporters integrations otel)

# The tests that docs/security.md names.
ATTACKS = $(shell grep -oE 'tests/[a-z_/]+\.py::[a-z_0-9]+' docs/security.md)

UNITS_ONLY := -m 'not long and not slow and not alone and not processes' --no-processes

.PHONY: help demo endings pages pages-dev fields screenshots test test-unit coverage test-newest test-frameworks test-long test-endings test-faults trace-store check bench proto clean
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

endings: $(VENV)/.demo pages ## Six trainings that end in six ways, and the reason of each; half a minute
	$(BIN)/realm demo --endings

pages: | $(BIN)/python    ## Build War Room and Battle Log, if their sources have changed
	@$(BIN)/python $(WEB)/build.py

pages-dev: | $(BIN)/python ## Serve the pages' sources, with a page of their components, for contributors
	@$(BIN)/python $(WEB)/build.py --dev

fields: | $(BIN)/python   ## Write the pages' lists of filter fields and of words again
	@$(BIN)/python $(WEB)/fields.py
	@$(BIN)/python $(WEB)/glossary.py

# First what runs by itself: it keeps what it compiles of all tests for the workers after it. Six of them, since
# tests wait for half of their time.
test: $(VENV)/.dev pages  ## All tests but the long ones, under ten minutes on 2 cores
	$(TRY) $(BIN)/python -m pytest -m 'alone and not long'
	$(TRY) $(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder -m 'not long and not alone and not screenshots'

test-unit: $(VENV)/.dev   ## What needs no processes and no browser, about a minute on 2 idle cores
	$(TRY) $(BIN)/python -m pytest -n 3 --dist worksteal $(UNITS_ONLY) $(UNIT)

coverage: $(VENV)/.dev    ## Which lines of the package `make test-unit` runs
	$(BIN)/python -m coverage run -m pytest $(UNITS_ONLY) $(UNIT)
	$(BIN)/python -m coverage report

# An environment of its own, where pip warns that our upper bound is not kept.
test-newest: | $(BIN)/python ## The tests of OpenTelemetry over its newest release
	$(BIN)/python -m venv $(VENV)/newest
	$(VENV)/newest/bin/python -m pip install --quiet --editable '.[dev]'
	$(VENV)/newest/bin/python -m pip list --format=freeze | sed -n 's/^\(opentelemetry-[a-z-]*\)==.*/\1/p' \
	  | xargs $(VENV)/newest/bin/python -m pip install --quiet --upgrade
	$(VENV)/newest/bin/python -m pip list | grep '^opentelemetry'
	$(VENV)/newest/bin/python -m pytest -m 'not long' $(OTEL)

# Frameworks of training in an environment of their own: two gigabytes, and many versions of what we use.
# torch comes first and exactly: a range that admits a newer one takes gigabytes more.
$(VENV)/frameworks/.installed: pyproject.toml tests/frameworks/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/frameworks
	$(VENV)/frameworks/bin/python -m pip install --quiet 'torch==2.13.0'
	$(VENV)/frameworks/bin/python -m pip install --quiet --requirement tests/frameworks/requirements.txt --editable '.[service]'
	@touch $@

test-frameworks: $(VENV)/frameworks/.installed ## Tiny trainings with the real frameworks
	$(TRY) $(VENV)/frameworks/bin/python -m pytest -n 2 --dist loadfile -m long tests/frameworks

test-long: $(VENV)/.dev pages trace-store test-frameworks ## Hundred-round crash tests and million-row tests
	$(TRY) $(BIN)/python -m pytest -n 2 --dist worksteal -m 'long and not endings and not alone' --timeout 1200
	$(TRY) $(BIN)/python -m pytest -m 'long and not endings and alone' --timeout 1200
	$(TRY) $(BIN)/python -m pytest -n 2 --dist worksteal -m 'hypothesis and not long' --hypothesis-profile all --timeout 1200

screenshots: $(VENV)/.dev pages ## Pictures of every page in every state, into .screenshots/gallery/, and those of docs/; some minutes
	$(BIN)/python -m pytest -m screenshots --timeout 1200 tests/pages/test_gallery.py
	cp .screenshots/docs/*.webp docs/images/

test-endings: $(VENV)/.dev ## A thousand endings of trainings, and six thousand simulated days; ten minutes
	$(BIN)/python -m pytest -m endings --timeout 1200

test-faults: $(VENV)/.dev pages ## Kills, broken disks and networks, odd logs, attacks, and a minute of each fuzz target
	$(BIN)/python -m pytest --timeout 600 tests/faults tests/fuzz $(ATTACKS)

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
	$(BIN)/python $(WEB)/glossary.py --check

bench: $(VENV)/.dev       ## Measure every figure of docs/performance.md
	$(BIN)/python -m benchmarks

proto: | $(BIN)/python    ## Generate the wire format's modules again
	$(BIN)/python proto/generate.py

clean:                    ## Remove the environment and all caches
	rm -rf $(VENV) .venv-* $(WEB)/node_modules realm_telemetry/service/static .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
