# Every target does its own set-up: a machine needs Python 3.11 or later, make and access to a package index.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Two stamps: a change of pyproject.toml alone installs the project again, not the whole environment.
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
# Set to choose an interpreter: make setup PYTHON=/path/to/python3.12
PYTHON ?=
# Passed on to the program behind a target: make demo ARGS="--help"
ARGS ?=

.PHONY: help setup compiled demo test test-compiled test-browser test-kafka test-tools test-watch check audit lock format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv with everything locked in requirements.lock
	@:

# Each candidate is run, not only looked up: a version manager's shim may exist for a Python that does not.
$(LOCKED): requirements.lock
	@python=; for candidate in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14 python); do \
	    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	    then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "holdfast needs Python 3.11 or later with venv; none found (make setup PYTHON=... names one)" >&2; \
	    exit 1; \
	fi; \
	echo "setup: $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)
	@echo "setup: installing requirements.lock with hashes checked (about a minute)"
	@$(PIP) install --quiet --no-compile --require-hashes -r requirements.lock
	@touch $@

# Warnings are off for setuptools' general advice on editable installs; errors still show.
$(READY): $(LOCKED) pyproject.toml
	@echo "setup: installing holdfast itself"
	@PYTHONWARNINGS=ignore $(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

compiled: build/compiled/.made ## compile the hot path into build/compiled (needs a C compiler; see docs/performance.md)
	@:

# mypyc comes with mypy. Run with it: PYTHONPATH=build/compiled .venv/bin/holdfast worker
build/compiled/.made: setup.py pyproject.toml $(shell git ls-files schemas streams samples agents) | setup
	@command -v $${CC:-cc} >/dev/null || { echo "make compiled needs a C compiler: apt-get install gcc" >&2; exit 1; }
	@echo "compiled: the hot path, with mypyc (half a minute)"
	@rm -rf build
	@HOLDFAST_COMPILE=1 $(PIP) install --quiet --no-deps --no-build-isolation --target build/compiled .
	@touch $@

demo: setup ## run the whole thing on this machine, no Docker needed (ARGS="--help" for options)
	@$(BIN)/holdfast demo $(ARGS)

test: setup ## run the tests and the examples in docstrings (ARGS="-k name")
	@$(BIN)/pytest -q -n 2 --dist worksteal -m "not kafka and not compiled and not tools and not browser and not watch" $(ARGS)

# The tests of the core once more, on the compiled modules; and that both say the same to the last byte.
test-compiled: compiled ## run the tests of the core on the compiled hot path
	@$(BIN)/pytest -q -n 2 --dist worksteal -o pythonpath="build/compiled ." tests/streams tests/compiled $(ARGS)

# What it needs from npm is the accessibility checker. Screenshots stay in tests/console/screenshots.
test-browser: setup ## run the tests of console and report in a browser (needs Chromium and npm)
	@cd tests/console/page && npm ci --silent --no-audit --no-fund
	@$(BIN)/pytest -q -m browser tests/console tests/agents/test_report_in_browser.py $(ARGS)

# One suite, two brokers: the tests that `make test` runs on the embedded broker, and those that only Kafka can pass.
test-kafka: setup ## run the broker tests on Apache Kafka (needs Java 17, Maven and kcat; HOLDFAST_TEST_BROKER=host:port uses yours)
	@$(if $(HOLDFAST_TEST_BROKER),,$(BIN)/python -m deploy.kafka.local) \
	    $(BIN)/pytest -q -n 2 --dist worksteal -m "broker or kafka" -o testpaths=tests $(ARGS)

# What checks us from outside: the official AsyncAPI parser reads the contract.
test-tools: setup ## run the tests that need Node.js: the AsyncAPI parser reads the contract
	@echo "test-tools: installing the AsyncAPI parser from its lock"
	@npm ci --silent --prefix deploy/asyncapi
	@$(BIN)/pytest -q -m tools -o testpaths=tests $(ARGS)

# Debian: apt-get install --no-install-recommends prometheus docker-compose (no engine and no service is needed).
test-watch: setup ## run metrics, rules and dashboards against the real Prometheus (needs prometheus, promtool, docker-compose)
	@$(BIN)/pytest -q -m watch -o testpaths=tests $(ARGS)

check: setup ## lint, formatting, types, import contracts, known vulnerabilities
	@echo "check: ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "check: run 'make format'" >&2; exit 1; }
	@echo "check: mypy --strict"
	@$(BIN)/mypy
	@echo "check: import contracts"
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(MAKE) audit

audit: setup ## look for known vulnerabilities in the lock (AUDIT=strict fails where that cannot be known)
	@$(BIN)/python -m deploy.audit $(if $(filter strict,$(AUDIT)),--strict)

format: setup ## format the code and sort its imports
	@$(BIN)/ruff check --quiet --select I --fix .
	@$(BIN)/ruff format .

# uv resolves for Linux and macOS at once, which pip cannot; it is needed here only. Versions already locked are
# kept: `make lock ARGS=--upgrade` moves them all, `ARGS="--upgrade-package rich"` moves one.
lock: ## write requirements.lock anew from pyproject.toml (needs uv on PATH)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@echo "lock: resolving"
	@uv pip compile pyproject.toml --extra local --extra rocksdb --extra dev --extra bench \
	    --universal --fork-strategy fewest --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --quiet --output-file requirements.lock $(ARGS)

bench: setup ## measure on this machine (ARGS=live: throughput, latency, recovery, scale on Apache Kafka; ARGS=--list)
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove .venv, caches and build output
	@rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
