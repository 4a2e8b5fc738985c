# `make` alone lists the targets. Everything runs from .venv, which `make setup` keeps in step with the lock.
PYTHON ?= python3
PORT ?= 8000
GLOW_HOME ?= $(CURDIR)/.glow
WORKERS ?= 3
export GLOW_HOME

# Relative on purpose: the checkout's own path may hold spaces, which make cannot quote.
BIN := .venv/bin

.DEFAULT_GOAL := help
.NOTPARALLEL: # pytest has the last word
.PHONY: help setup setup-dev demo test check fmt lint types imports manifests lock-check adr-check openapi-check \
	web web-check coverage openapi lock outage waiting interleavings injection ingestion-killed drive-sync benchmarks replay takeover task-takeover \
	workers-killed clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with what the server needs
	@$(PYTHON) checks/environment.py runtime

setup-dev: ## make .venv with what tests and checks need too, and the packages of Node
	@$(PYTHON) checks/environment.py dev
	@$(BIN)/python -m checks.node

demo: setup ## serve the demo firm on http://127.0.0.1:8000 (PORT= changes it)
	@$(BIN)/glow demo --port $(PORT)

test: setup-dev ## run every test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: lint types imports manifests lock-check adr-check openapi-check web-check coverage ## everything that must hold before a change is merged

fmt: setup-dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --exit-zero --quiet .

lint: setup-dev ## format and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup-dev ## types, strict
	$(BIN)/python -m pyright

imports: setup-dev ## the floors of the house
	$(BIN)/lint-imports

manifests: setup-dev ## manifests, policies with their tests, and migrations
	$(BIN)/glow tools validate
	$(BIN)/glow policy test
	$(BIN)/python -m checks.migrations

lock-check: setup-dev ## the locks are hashed, without addresses, in step, and lack nothing
	$(BIN)/python -m checks.lock
	$(BIN)/python -m pip --disable-pip-version-check check

adr-check: setup-dev ## every decision is indexed and has a status
	$(BIN)/python -m checks.decisions

web: setup-dev ## build the widget and the page from web/ into what ships
	$(BIN)/python -m checks.web build

web-check: setup-dev ## what ships of the widget and the page is what web/ says
	$(BIN)/python -m checks.web

openapi-check: setup-dev ## docs/openapi.json is what the server says
	$(BIN)/python -m checks.openapi

coverage: setup-dev ## every test, with at least 80 % of the code covered
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term

openapi: setup-dev ## write docs/openapi.json anew
	$(BIN)/python -m checks.openapi write

lock: setup-dev ## resolve the dependencies anew (asks the package index)
	$(BIN)/python -m checks.lock write $(BIN)/uv

waiting: setup-dev ## runs that wait for a person, cut off at every write, killed and raced over (make test tries a sample)
	GLOW_TEST_EVERY=1 $(BIN)/python -m pytest tests/conversations/test_waiting.py tests/doors/test_waiting_killed.py

interleavings: setup-dev ## COURSES of approve, reject, cancel, expire, edit, lapse and kill -9 between a question and its outcome (make test takes 3)
	GLOW_TEST_INTERLEAVINGS=$(or $(COURSES),200) $(BIN)/python -m pytest tests/doors/test_interleavings.py

injection: setup-dev ## documents written for the agent, before a model that obeys them all, and errands; both rates (make test tries a sample)
	GLOW_TEST_EVERY=1 $(BIN)/python -m pytest -q tests/conversations/test_injection.py

ingestion-killed: setup-dev ## KILLS (40) -9 of the worker during ingestion and during a re-embed (make test takes 3 of each)
	GLOW_TEST_INGESTION_KILLS=$(or $(KILLS),40) $(BIN)/python -m pytest tests/doors/test_ingestion_killed.py

drive-sync: setup-dev ## a Drive of FILES (5000), worked on while it is synced by workers that are killed (make test takes 60)
	GLOW_TEST_DRIVE_FILES=$(or $(FILES),5000) $(BIN)/python -m pytest tests/doors/test_drive_sync.py

outage: setup-dev ## PostgreSQL away for ten seconds under load (make test does the same for a moment)
	GLOW_TEST_OUTAGE_S=10 GLOW_TEST_OUTAGE_CLIENTS=32 $(BIN)/python -m pytest tests/doors/test_outage.py

replay: setup-dev ## 10,000 real calls decided again, as they stand and under two edits (make test takes a sample)
	GLOW_TEST_REPLAY=10000 $(BIN)/python -m pytest -q -s tests/database/test_policy_replay_history.py

takeover: setup-dev ## runs whose process is killed or stopped at every event in turn (make test takes a sample)
	GLOW_TEST_TAKEOVER=$(or $(STRIDE),1) $(BIN)/python -m pytest tests/doors/test_takeover.py

benchmarks: setup-dev ## measure speed beside its floors
	$(BIN)/python -m benchmarks

task-takeover: setup-dev ## stop the worker of a run that acts outside at every point
	GLOW_EVERY_POINT=1 $(BIN)/python -m pytest -n $(WORKERS) tests/database/test_task_takeover.py

workers-killed: setup-dev ## workers killed again and again, KILLS times, while task runs are queued (make test does it a few times)
	GLOW_TEST_WORKER_KILLS=$(or $(KILLS),60) $(BIN)/python -m pytest tests/doors/test_workers_killed.py

clean: ## remove what was built; .glow, the demo's data, stays
	rm -rf .venv tests/node/node_modules web/node_modules dist build .coverage .coverage.* .hypothesis .import_linter_cache .pytest_cache .ruff_cache
