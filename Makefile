# make demo, make test: nothing has to be set up beforehand but Python 3.11 or newer.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETTLED := $(VENV)/.settled
SANDBOX_HOME := .dagster/sandbox

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(SETTLED) ## the virtual environment in .venv, from requirements.lock

$(SETTLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is not: install it, or name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV), from requirements.lock ..."
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@# --no-deps: the lock is whole, and older pips do not see that gql==... pins gql[requests].
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: setup ## three days archived in the sandbox, and a question answered; ends by itself
	@$(BIN)/python -m kros_pipeline.sandbox.demo

dev: setup ## the sandbox with the Dagster UI on http://127.0.0.1:3000, until Ctrl-C; nothing is kept
	@rm -rf $(SANDBOX_HOME) && mkdir -p $(SANDBOX_HOME) && cp dagster.yaml $(SANDBOX_HOME)/
	@cd $(SANDBOX_HOME) && DAGSTER_HOME="$$PWD" \
	  KROS_START_DATE=$$(date -u -d '7 days ago' +%F 2>/dev/null || date -u -v-7d +%F) \
	  KROS_FLAG_RULES=../../kros_pipeline/flag_rules.example.yaml \
	  KROS_ERASURE_KEY=of-the-sandbox-alone-and-no-secret-at-all \
	  ../../$(BIN)/python -m kros_pipeline.sandbox --last-days 7 --calls-per-day 80 --audio-seconds 5,240 -- \
	  ../../$(BIN)/dagster dev -w ../../workspace.yaml

up: setup ## the Dagster UI and its daemon for the account in .env; the state is kept in .dagster/home
	@test -f .env || { echo "There is no .env: copy .env.example, and fill in the two settings that are required."; exit 1; }
	@mkdir -p .dagster/home && ln -sf ../../dagster.yaml .dagster/home/dagster.yaml
	@DAGSTER_HOME="$$PWD/.dagster/home" $(BIN)/dagster dev -w workspace.yaml

test: setup ## the tests
	@$(BIN)/python -m pytest

soak: setup ## 200 kills at random moments, and the archive compared each time; SEED=7 repeats a trial
	@$(BIN)/python -m kros_pipeline_tests.support.crash_trial --kills 200 --cli-kills 8 $(if $(SEED),--seed $(SEED))

fault-matrix: setup ## docs/fault-matrix.md anew, from a run of every row
	@$(BIN)/python -m kros_pipeline_tests.support.fault_matrix --write

bench: setup ## speed, memory and requests beside the alternatives, in a quarter of an hour; writes benchmarks/results.md
	@$(BIN)/python -m benchmarks

bench-quick: setup ## the same, small and in one round, in two minutes; writes nothing
	@$(BIN)/python -m benchmarks --quick

lint: setup ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

audit: setup ## known vulnerabilities in what requirements.lock pins; asks PyPI's advisories
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock || \
	  { echo "Not passed: a known vulnerability, or an advisory that could not be asked for; the lines above say which."; exit 1; }

lock: ## requirements.lock anew, from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements.lock

.PHONY: help setup demo dev up test soak fault-matrix bench bench-quick lint audit lock
