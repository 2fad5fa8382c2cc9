# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` do all the set-up on a fresh Debian machine, as root.
VENV ?= .venv
BIN := $(VENV)/bin
LAB := $(BIN)/python -m tests.lab
# All but the lab in two processes where there are cores for them, a file at a time (WORKERS= for
# one process). No other test runs beside those on the lab.
WORKERS ?= $(if $(filter 1,$(shell nproc)),,2)
UNIT := $(BIN)/python -m pytest -m 'not lab' $(if $(WORKERS),-n $(WORKERS) --dist loadfile)
# Only what needs the lab is read: collecting all the others takes a quarter of a minute. LABS=2: two
# labs side by side, each with a network of its own; whichever is free takes the next file.
LABS ?= 1
SIDE_BY_SIDE := --dist loadfile --tx popen \
	--tx 'popen//python=tools/beside $(abspath $(BIN))/python'
LAB_TESTS := $(BIN)/python -m pytest -m lab --durations=40 tests/lab/suite
ifeq ($(LABS),2)
# A second lab that a run left when it was broken off is in a network that nobody gets into again.
LAB_TESTS := tools/beside $(LAB) down && $(LAB_TESTS) $(SIDE_BY_SIDE)
endif
N ?= 10
RUNS ?= 3
.DEFAULT_GOAL := help

.PHONY: help deps demo lab down test lint unit lab-test bench bench-failover bench-evacuate bench-agent bench-webhook bench-osc docs nightly soak soak-sim clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

deps:  ## Install Debian packages and the virtual environment (idempotent)
	@tools/bootstrap $(VENV)

demo: deps  ## Real cloud up, kill a host, cut another: every VM back, nothing twice; ends by itself
	$(LAB) demo

lab: deps  ## The same show, and the cloud stays up: break it with `python -m tests.lab`
	$(LAB) demo --keep

down:  ## Take the lab down; nothing is left behind
	$(LAB) down
	tools/beside $(LAB) down

test: deps lint docs  ## Style, types, documents, all tests but a few that have their like among them
	$(UNIT)
	$(LAB_TESTS)

lint: deps  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: deps  ## Tests that need no lab
	$(UNIT)

lab-test: deps  ## Tests on the real cloud only
	$(LAB_TESTS)

bench: bench-failover bench-agent  ## All benchmarks

bench-failover: deps  ## Power loss to every VM running again, N times: min, median, max a stage
	$(LAB) bench-failover --runs $(N)

bench-evacuate: deps  ## N VMs of one dead host: the engine against a bare script (8 minutes)
	$(LAB) bench-evacuate --vms $(N)

bench-agent: deps  ## What one agent costs among 10, 100 and 1000 simulated hosts (4 minutes)
	$(BIN)/python -m tests.bench.agent

bench-webhook: deps  ## 1000 valid and forged webhooks a second for 30 s, on SQLite and MariaDB
	$(BIN)/python -m tests.bench.webhook

bench-osc: deps  ## What the plugin adds to `openstack --help`: ten pairs of runs
	$(BIN)/python -m tests.bench.openstack_help

docs: deps  ## Build the documentation into doc/build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html doc/source doc/build/html

nightly: export VMHA_NIGHTLY = 1
nightly: test soak soak-sim  ## Everything: what `make test` leaves, too, and both soaks (hours)

soak: deps  ## Every fault on the real cloud, RUNS times (3) in random order; about 30 min a round
	$(LAB) soak --runs $(RUNS)

soak-sim: deps  ## 2000 random fault sequences, and the engine killed everywhere, on a virtual clock
	$(BIN)/python -m tests.scenarios explore --seeds 2000
	$(BIN)/python -m tests.scenarios crash --all --brief

clean: down  ## Take the lab down and remove what builds left
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
