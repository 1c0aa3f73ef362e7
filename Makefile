# Two commands do everything on a fresh machine: `make conformance` and `make test`.
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# of the faults that are drawn each night
SEED ?= 1

.PHONY: help conformance test lint types unit unit-runs unit-parts starts mutants selftest nightly bench wheel setup setup-dev clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

conformance: setup  ## bring up the lab, run every check, print the matrix, write reports/latest/ (ARGS="--nodes 5")
	$(BIN)/kubereach run $(ARGS)

test: setup-dev lint types unit  ## kubereach's own tests, lint and types included

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .

types: setup-dev
	$(BIN)/mypy

# what these tests do most is wait: those that make whole runs go on beside the others
unit: setup-dev
ifeq ($(ARGS),)
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit-runs unit-parts
else
	$(BIN)/python -m pytest tests -q $(ARGS)
endif

unit-runs:
	$(BIN)/python -m pytest tests/conformance tests/cli tests/targets -q

unit-parts:
	$(BIN)/python -m pytest tests -q --ignore=tests/conformance --ignore=tests/cli --ignore=tests/targets

starts: setup-dev  ## start and stop a hundred labs in a row, which must leave nothing behind
	KUBEREACH_LAB_STARTS=100 $(BIN)/python -m pytest tests/lab/test_life.py -q -k in_a_row

mutants: setup-dev  ## make small mistakes in what decides verdicts: the tests must notice 95 % of them (docs/verdicts-mutants.md)
	$(BIN)/python tests/mutation $(ARGS)

selftest: setup  ## the whole suite on a lab with each of its faults: exactly what docs/faults.md says must fail
	$(BIN)/kubereach selftest $(ARGS)

nightly: setup-dev  ## what takes long: the selftest at full lengths and with faults drawn from SEED, whole runs on labs of all sizes and broken by hand, mutants, fuzzing
	$(BIN)/kubereach selftest --thorough $(ARGS)
	$(BIN)/kubereach selftest --times 50
	KUBEREACH_FUZZ=5000 $(BIN)/python -m pytest tests/probe/test_peer_fuzz.py -q
	KUBEREACH_WHOLE_RUNS=1 $(BIN)/python -m pytest tests/conformance tests/lab/test_dataplane.py -q
	$(BIN)/python tests/mutation
	KUBEREACH_SIMULATED=10000 $(BIN)/python -m pytest tests/diagnosis/test_score.py -q
	KUBEREACH_FAULTY_RUNS=500 $(BIN)/python -m pytest tests/conformance/test_faulty_ways_in.py -q -s
	$(BIN)/kubereach selftest --random 100 --seed $(SEED)

bench: setup-dev  ## measure, as ratios of one run, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks --write

wheel: setup-dev  ## build the wheel into dist/
	$(BIN)/python -m build --wheel

setup: $(VENV)/.run
setup-dev: $(VENV)/.dev

$(VENV)/.run: pyproject.toml scripts/setup
	scripts/setup $(VENV) '.[lab]'
	@touch $@

$(VENV)/.dev: pyproject.toml scripts/setup
	scripts/setup $(VENV) '.[dev]'
	@touch $@ $(VENV)/.run

clean:  ## remove what was made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
