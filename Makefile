# Every command of this project. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PORT ?= 4580

.DEFAULT_GOAL := help
.PHONY: help demo sandbox test format lint types unit bundle bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## push AWS's own example through all four services, on this machine
	@$(BIN)/python -m sandbox demo

sandbox: $(INSTALLED) ## keep the local AWS running (PORT=4580), for aws and boto3 to call
	@$(BIN)/python -m sandbox up --port $(PORT)

test: lint types unit ## lint, types and all tests: what CI runs

format: $(INSTALLED) ## put the code into its one layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED) ## check layout and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED) ## check the types, strictly
	$(BIN)/mypy

unit: $(INSTALLED) ## all tests; ARGS="-k name" for some
	$(BIN)/pytest $(ARGS)

bundle: $(INSTALLED) ## build what is deployed to Lambda (arm64, Python 3.13)
	@$(BIN)/python -m infra.bundle --target lambda

bench: $(INSTALLED) ## measure against bare boto3, side by side
	@$(BIN)/python -m bench

clean: ## remove what the commands made
	rm -rf $(VENV) .build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.txt lambda_src/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; '$(PYTHON)' is older or missing. Name another: make PYTHON=python3.13" >&2; exit 1; }
	@echo "Installing into $(VENV): a minute or two, the first time." >&2
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
