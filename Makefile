# Everything a person or the CI does with a checkout. `make` alone lists the targets.
#
# PYTHON=python3.13   the interpreter `make setup` builds .venv with (3.11 to 3.14)
# WORKERS=4           pytest processes of the test targets
# TESTS=tests/store   the part of the tests that the test targets run
# ARGS='-k regex'     more arguments for pytest

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/.headrace-complete
WORKERS ?= 2
TESTS ?= tests
ARGS ?=
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist worksteal
# The parts whose kernels also run as plain Python and with bounds checks.
KERNEL_TESTS ?= $(wildcard tests/kernels tests/pipeline tests/receivers tests/processors tests/exporters tests/store)
FUZZ_RUNS ?= 100000
NODE_TESTS := tests/e2e/clients/codemirror tests/e2e/clients/opentelemetry

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(STAMP) ## Fill .venv from the locked requirements; quick when nothing changed.

$(STAMP): requirements-dev.txt pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh .venv
	touch $@

.PHONY: run
run: setup ## Start the daemon on configs/quickstart.yaml.
	@exec $(BIN)/headrace run --config configs/quickstart.yaml

# Compiling once before the tests is cheaper than in each of their processes at the same time.
.PHONY: warm
warm: setup
	@$(BIN)/headrace warmup

.PHONY: test
test: warm ## Run all tests.
	@$(PYTEST) $(ARGS) $(TESTS)

# Plain Python is a hundred times slower: fewer rounds, and no tests that are about amounts.
.PHONY: test-nojit
test-nojit: setup ## Run the tests of the kernels as plain Python.
	@export NUMBA_DISABLE_JIT=1
	export HEADRACE_FUZZ_RUNS=$${HEADRACE_FUZZ_RUNS:-20} HEADRACE_HISTORIES=$${HEADRACE_HISTORIES:-8}
	$(PYTEST) -m "not peer and not slow and not large" $(ARGS) $(KERNEL_TESTS)

.PHONY: test-bounds
test-bounds: setup ## Run the tests of the kernels with array bounds checked.
	@export NUMBA_BOUNDSCHECK=1
	$(BIN)/headrace warmup
	$(PYTEST) -m "not peer and not slow" $(ARGS) $(KERNEL_TESTS)

.PHONY: test-fuzz
test-fuzz: warm ## Run every decoder on FUZZ_RUNS mutated inputs.
	@HEADRACE_FUZZ_RUNS=$(FUZZ_RUNS) $(PYTEST) -m fuzz --timeout 3600 $(ARGS) $(TESTS)

.PHONY: conformance
conformance: warm ## Count published test suites passed, into build/conformance.json.
	@$(PYTEST) -m conformance --conformance-json build/conformance.json $(ARGS) $(TESTS)

CASES ?= 200000
SEED ?= 1

.PHONY: fuzz-promql
fuzz-promql: warm ## Compare PromQL with a real Prometheus on CASES random queries of SEED.
	@$(BIN)/python scripts/fuzz_promql.py --cases $(CASES) --seed $(SEED) --output build/fuzz_promql.json $(ARGS)

.PHONY: check
check: setup ## Run the linter, the formatter, the type checker and the import rules.
	@failed=0  # one finding does not hide the next
	$(BIN)/ruff check . || failed=1
	$(BIN)/ruff format --check . || failed=1
	$(BIN)/mypy || failed=1
	$(BIN)/pytest -q tests/repo || failed=1
	exit $$failed

.PHONY: bench
bench: setup ## Run every benchmark, into build/bench.json.
	@$(BIN)/python scripts/run_benches.py --output build/bench.json $(ARGS)

.PHONY: peers
peers: ## Unpack Prometheus, VictoriaMetrics and node-exporter for the tests marked peer.
	@bash scripts/peers.sh

.PHONY: npm
npm: ## Install the JavaScript packages that some of the tests marked peer run; needs node and npm.
	@for folder in $(NODE_TESTS); do npm ci --no-progress --prefix "$$folder"; done

.PHONY: docs
docs: setup ## Build the documentation into build/docs and check its links.
	@$(BIN)/python scripts/build_docs.py --output build/docs

.PHONY: parity
parity: setup ## Write docs/parity.md: what there is of other collectors, asked of the code.
	@$(BIN)/python scripts/parity.py

.PHONY: foreign-files
foreign-files: setup ## List files of the Collector and of Prometheus: which load, and why others are refused.
	@$(BIN)/python scripts/parity_files.py

.PHONY: wheel
wheel: setup ## Build the source distribution and, from it, the wheel, into dist.
	@rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist

.PHONY: lock
lock: ## Write the requirements with hashes again; UPGRADE=1 takes newer releases.
	@bash scripts/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove what the targets have written, save .venv.
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

.PHONY: distclean
distclean: clean ## Remove .venv as well.
	@rm -rf .venv $(addsuffix /node_modules,$(NODE_TESTS))
