# Everything is installed into .venv by hack/bootstrap.py, which needs only Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# They wait more than they work, so several at a time, each with parts of its own.
OPERATOR_WORKERS ?= 3
OPERATOR_TESTS = $(PYTEST) test/integration/workflowexecution --numprocesses $(OPERATOR_WORKERS) --dist loadfile $(OPERATOR_ARGS)

.DEFAULT_GOAL := help
.PHONY: help run cluster programs test test-unit test-integration-workflowexecution test-compose test-chaos lint types docs bench bench-client bench-kernel bench-operator clean check

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-36s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml uv.lock hack/bootstrap.py
	@$(PYTHON) hack/bootstrap.py

run: .venv/.installed ## Start everything and run the samples, until Ctrl-C; ARGS=--no-cluster: DataStorage alone
	@exec $(BIN)/kubernaut up $(ARGS)

cluster: .venv/.installed ## Start a Kubernetes API server with simulated nodes, until Ctrl-C
	@exec $(BIN)/kubernaut local cluster up

programs: .venv/.installed ## Get the control plane's programs; they are built if need be, once
	@$(BIN)/kubernaut local cluster prepare --tekton

test: .venv/.installed ## Run every test
	$(PYTEST) --ignore=test/integration/workflowexecution
	$(OPERATOR_TESTS)

test-unit: .venv/.installed ## Run the tests that do no I/O
	$(PYTEST) test/unit

test-integration-workflowexecution: .venv/.installed ## Run the tests of the operator, on the running stack if there is one
	$(OPERATOR_TESTS)

test-compose: .venv/.installed ## Start the stack with podman-compose, try every command on it, and stop it
	$(BIN)/python hack/compose test

test-chaos: .venv/.installed ## Run the kill-and-restart tests in their long form
	KUBERNAUT_CHAOS=long $(PYTEST) test/chaos test/integration/audit/test_state_machine.py \
		test/integration/kubernetes/test_leadership.py

lint: .venv/.installed ## Check style, import contracts and the rules for tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python hack/check_tests.py

types: .venv/.installed ## Check types
	$(BIN)/mypy
	$(BIN)/mypy test

docs: .venv/.installed ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky -q docs docs/_build/html

bench: .venv/.installed ## Run the benchmarks of DataStorage and print the table
	$(BIN)/python benchmarks/run.py

bench-client: .venv/.installed ## Run the benchmarks of the audit client
	$(BIN)/python benchmarks/client.py

bench-kernel: .venv/.installed ## Run the benchmarks of the reconciler kernel, beside kopf
	$(BIN)/uv run --isolated --frozen --all-extras --group bench --python $(BIN)/python benchmarks/kernel.py

bench-operator: .venv/.installed ## Run the benchmarks of the operator
	$(BIN)/python benchmarks/operator_run.py

check: lint types docs test ## Everything that must hold before a change lands

clean: ## Remove what was installed and built here (not your data in .kubernaut)
	rm -rf .venv docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
