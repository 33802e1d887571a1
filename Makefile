# Second-opinion gateway. `make help` lists what can be done; every target sets up what it needs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The interpreter that makes .venv: 3.11 or newer.
PYTHON ?= python3
# KEEP=1 leaves the demo running until Ctrl-C.
KEEP ?=
# How long the soak sends. Not from the environment: bash has a variable of that name.
SECONDS := 180
# Extra arguments: for pytest, such as ARGS="-k stow", or the rows of the bench.
ARGS ?=

BIN := .venv/bin
STAMPS := .venv/stamps
CHECKER := tests/checker/node_modules/.package-lock.json
# Errors only: what the machine's own pip settings warn of is not ours.
PIP := $(BIN)/pip install -qq --disable-pip-version-check

.PHONY: help setup demo serve lint format test bench soak lock clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

setup: $(STAMPS)/debian $(STAMPS)/python ## Install the Debian packages and .venv, if their lists changed

$(STAMPS)/debian: docker/debian-packages.txt docker/install-debian-packages
	docker/install-debian-packages
	@mkdir -p $(@D) && touch $@

# Debian first: without python3-venv there is no way to make .venv. An existing .venv is updated in place.
$(STAMPS)/python: requirements-dev.lock pyproject.toml | $(STAMPS)/debian
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes --no-deps -r requirements-dev.lock
	$(PIP) --no-build-isolation --no-deps -e .
	@mkdir -p $(@D) && touch $@

# For tests only: Medplum's validator. npm installs what the lock says by hash and runs nothing of it (.npmrc).
$(CHECKER): tests/checker/package-lock.json tests/checker/package.json tests/checker/.npmrc | $(STAMPS)/debian
	npm ci --prefix tests/checker --loglevel=error >/dev/null
	@touch $@

# setpriv: should make be killed, the demo stops too.
demo: setup ## Play a whole case over the wire; KEEP=1 leaves it running
	KEEP=$(KEEP) setpriv --pdeathsig TERM $(BIN)/gateway demo

serve: setup ## Run the gateway for development, on loopback only
	$(BIN)/gateway serve --dev

lint: setup ## Check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## Put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint $(CHECKER) ## Run lint and the whole suite; ARGS="-k stow" narrows it
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

bench: setup ## Measure and print the figures; ARGS="c-store-1" takes one row
	$(BIN)/python -m tests.bench $(ARGS)

soak: setup ## Send by every door while parts are killed, and damaged files; SECONDS=180 is how long
	SECONDS_TO_SEND=$(SECONDS) $(BIN)/python -m tests.soak
	GATEWAY_TEST_EXAMPLES=20 $(BIN)/pytest --timeout 3600 $(addprefix tests/protocol/test_,mutated_files.py fhir_mutated_files.py described_requests.py)

# The development lock comes first and the run-time lock is held to it: what runs is what was tested.
# Without the header and the index, a lock names no machine and no registry.
LOCK := $(BIN)/uv pip compile --quiet --system-certs --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links pyproject.toml --group build

lock: setup ## Lock the newest versions that pyproject.toml allows
	$(PIP) uv
	$(LOCK) --group dev --output-file requirements-dev.lock
	$(LOCK) --constraints requirements-dev.lock --output-file requirements.lock

clean: ## Remove .venv, caches and what the demo wrote
	rm -rf .venv tests/checker/node_modules build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
