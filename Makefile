# Every command of this project. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
CDK := node_modules/.bin/cdk
OUTPUTS := .build/outputs.json
PORT ?= 4580
STACK ?= push-sender
CASES ?= 5000
# Processes that run tests, each a file at a time: one more than cores, because half of it is waiting.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo sandbox test format lint types unit fuzz snapshot bundle bench clean \
    soak soak-steady soak-breaks \
    bootstrap synth diff deploy smoke redrive destroy

# The Node.js and npm that requirements.txt brings, whatever the machine has.
bootstrap synth diff deploy destroy $(CDK): export PATH := $(CURDIR)/$(BIN):$(PATH)
# It trusts whom the machine trusts, as pip and curl do: a company's own authority, too.
bootstrap synth diff deploy destroy $(CDK): export NODE_USE_SYSTEM_CA := 1

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## push AWS's own example through all four services, on this machine
	@$(BIN)/python -m sandbox demo

sandbox: $(INSTALLED) ## keep the local AWS and its inbox running (PORT=4580)
	@$(BIN)/python -m sandbox up --port $(PORT) $(ARGS)

synth: $(CDK) ## what would be deployed, into cdk.out; needs no account
	@$(CDK) synth --quiet $(ARGS)
	@echo "The template is in cdk.out."

bootstrap: $(CDK) ## once an account and region: what the CDK needs there
	@$(CDK) bootstrap $(ARGS)

diff: $(CDK) ## what a deployment would change
	@$(CDK) diff $(ARGS)

deploy: $(CDK) ## deploy to AWS; ARGS="-c stage=staging" for a setting
	@mkdir -p $(dir $(OUTPUTS))
	@$(CDK) deploy --outputs-file $(OUTPUTS) $(ARGS)
	@$(BIN)/python -m operations next-steps $(OUTPUTS)

smoke: $(INSTALLED) ## what the deployed stack (STACK=push-sender) and AWS really answer
	@$(BIN)/python -m operations smoke --stack $(STACK) $(ARGS)

redrive: $(INSTALLED) ## send the dead letters of the deployed stack (STACK=push-sender) again
	@$(BIN)/python -m operations redrive --stack $(STACK)

destroy: $(CDK) ## remove the stack; what is data stays, see docs/deploy.md
	@$(CDK) destroy $(ARGS)

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
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(INSTALLED) ## 5,000 hostile requests (CASES=) to the HTTP API in the sandbox
	@FUZZ_CASES=$(CASES) $(BIN)/pytest -q tests/test_http_fuzz.py

soak: $(INSTALLED) ## prove that nothing is lost and nothing doubled (ARGS="--seed 7")
	@$(BIN)/python -m soak $(ARGS)

soak-steady: $(INSTALLED) ## ten minutes of load: nothing grows, a burst drains
	@$(BIN)/python -m soak.steady $(ARGS)

soak-breaks: $(INSTALLED) ## break the function on purpose: the proof must notice
	@$(BIN)/python -m soak.breaks $(ARGS)

snapshot: $(INSTALLED) ## write the template's snapshot and docs/openapi.json anew, for review
	@UPDATE_SNAPSHOT=1 $(BIN)/pytest -q tests/test_stack_checks.py tests/test_openapi.py -k snapshot

bundle: $(INSTALLED) ## build what is deployed to Lambda (arm64, Python 3.13)
	@$(BIN)/python -m infra.bundle --target lambda

bench: $(INSTALLED) ## measure beside boto3 and other libraries (ARGS="--quick")
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove what the commands made
	@[ ! -d .build/bench ] || chmod -R u+w .build/bench  # which the benchmark keeps read-only
	rm -rf $(VENV) node_modules cdk.out .build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.txt lambda_src/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; '$(PYTHON)' is older or missing. Name another: make PYTHON=python3.13" >&2; exit 1; }
	@echo "Installing into $(VENV): a minute or two, the first time." >&2
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(CDK): package.json package-lock.json $(INSTALLED)
	@echo "Installing the CDK's command line and more into node_modules." >&2
	@$(BIN)/npm ci --no-fund --no-audit --loglevel=error
	@touch $@
