# Everything a newcomer needs is python3 (3.11 or newer, with venv) and make; the rest is installed here.
SHELL := /bin/sh
VENV := .venv
UV := $(VENV)/bin/uv
PYTHON := $(VENV)/bin/python
ARGS ?=
TRIALS ?= 5
SEED ?= 1
INPUTS ?= 20000
NAME ?=
# Each has servers of its own; tests of one file share theirs.
WORKERS ?= 2
WITH_SERVERS := --numprocesses $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-unit test-integration test-e2e test-attacks test-slow test-containers simulate faults fuzz bench check lint types contracts docs reset

help: ## Show this list.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Install everything, locked; the other targets do it by themselves.

$(VENV)/.ready: uv.lock pyproject.toml deploy/bootstrap.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; python3 is `python3 --version`."; exit 1; }
	@test -x $(VENV)/bin/pip || python3 -m venv $(VENV) || \
		{ echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r deploy/bootstrap.txt
	@$(UV) sync --quiet --locked --all-extras
	@$(PYTHON) -m deploy.local fetch
	@touch $@

demo: $(VENV)/.ready ## Run a whole estate on this machine and import ten years of GOV.UK (ARGS=--exit ends by itself).
	@$(VENV)/bin/estate demo $(ARGS)

up: $(VENV)/.ready ## Run a whole estate on this machine, resuming what .estate holds.
	@$(VENV)/bin/estate up $(ARGS)

# One tier after the other: what is quick to tell comes first.
test: test-unit test-integration test-e2e test-attacks ## Run the tests (test-slow has more), against a real PostgreSQL and a real Kafka.

test-unit: $(VENV)/.ready ## Run the tests that need no server.
	@$(PYTHON) -m pytest tests/unit tests/architecture --numprocesses auto $(ARGS)

test-integration: $(VENV)/.ready ## Run the tests that need one or two servers.
	@$(PYTHON) -m pytest tests/integration -m "not slow" $(WITH_SERVERS) $(ARGS)

test-e2e: $(VENV)/.ready ## Run the tests of a whole running estate, some of which break it.
	@$(PYTHON) -m pytest tests/e2e tests/faults -m "not slow" $(WITH_SERVERS) $(ARGS)

test-attacks: $(VENV)/.ready ## Attack a running estate.
	@$(PYTHON) -m pytest tests/attacks -m "not slow" $(WITH_SERVERS) $(ARGS)

test-slow: $(VENV)/.ready ## Run the tests of three-node clusters and other long runs.
	@$(PYTHON) -m pytest tests -m slow $(ARGS)

test-containers: $(VENV)/.ready ## Run the integration tests on containers, where a Docker API answers.
	@$(PYTHON) -m tests.containers.run $(ARGS)

simulate: $(VENV)/.ready ## Run relay, intake, writer and projector on SEEDS=1000 seeds without servers.
	@$(PYTHON) -m tests.simulation --seeds $(or $(SEEDS),1000) $(ARGS)

faults: $(VENV)/.ready ## Break a running estate and hold it to its promises (TRIALS=5 SEED=1).
	@$(PYTHON) -m tests.faults.run --trials $(TRIALS) --seed $(SEED) $(ARGS)

fuzz: $(VENV)/.ready ## Send hostile input through every door (INPUTS=20000 SEED=1).
	@$(PYTHON) -m tests.attacks.fuzz --inputs $(INPUTS) --seed $(SEED) $(ARGS)

bench: $(VENV)/.ready ## Measure, each against a raw limit or a peer in the same run (NAME=append for one).
	@$(PYTHON) -m benchmarks $(NAME) $(ARGS)

check: lint types contracts ## Lint, types and import contracts.

lint: $(VENV)/.ready ## Check style and format.
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(VENV)/.ready ## Check types.
	@$(VENV)/bin/mypy

contracts: $(VENV)/.ready ## Check who may import whom.
	@$(VENV)/bin/lint-imports --config tests/architecture/import_contracts.ini

docs: $(VENV)/.ready ## Bring the generated parts of docs/ up to date.
	@$(PYTHON) docs/generate.py

reset: ## Forget the local run (.estate).
	rm -rf .estate
