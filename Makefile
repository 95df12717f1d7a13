# Every command of this project. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CDK := node_modules/.bin/cdk
OUTPUTS := .build/outputs.json
PORT ?= 4580
STACK ?= push-sender
CASES ?= 5000
# What the documentation site has: the documents, and the folders that they link to.
PAGES := *.md LICENSE docs examples lambda_src infra soak bench
# Processes that run tests, each a file at a time: more than two cores need, because much of it is waiting.
WORKERS ?= 4

# Each command installs the part of pyproject.toml's packages that it needs, once.
PARTS := inbox demo sandbox deploy style installer lock all
has = $(VENV)/has-$(1)

# Says what to add where the CDK would ask and there is no terminal.
asks = [ -t 0 ] || case '$(ARGS)' in *$(2)*) ;; *) \
    echo 'There is no terminal to confirm at: if it asks, run make $(1) ARGS="$(strip $(ARGS) $(3))"' >&2 ;; esac

.DEFAULT_GOAL := help
.PHONY: help demo sandbox inbox test format lint types unit fuzz snapshot docs bundle bench lock clean \
    soak soak-steady soak-breaks \
    bootstrap synth diff deploy smoke redrive destroy

# What a shell sets for other programs: for other Pythons, Node.js programs and CDK apps.
unexport $(filter PYTHON% POWERTOOLS_% NODE_ENV NODE_OPTIONS NODE_PATH, \
    $(.VARIABLES)) $(filter-out CDK_VALIDATION,$(filter CDK_%,$(.VARIABLES)))
# Files and output are UTF-8, whatever the terminal is.
export PYTHONUTF8 := 1

# The Node.js and npm that requirements.txt brings, whatever the machine has.
bootstrap synth diff deploy destroy lock $(CDK): export PATH := $(CURDIR)/$(BIN):$(PATH)
# It trusts whom the machine trusts, as pip and curl do: a company's own authority, too.
bootstrap synth diff deploy destroy lock $(CDK): export NODE_USE_SYSTEM_CA := 1

help: ## list the commands
	@sed -n 's/^__version__ = "\(.*\)"/Push Sender \1\n/p' lambda_src/push_sender/__init__.py
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(call has,demo) ## send AWS's own example through all four services, on this machine
	@$(BIN)/python -m sandbox demo

sandbox: $(call has,sandbox) ## run the local AWS and its inbox (PORT=4580, VERBOSE=1)
	@$(BIN)/python -m sandbox up --port "$(PORT)" $(ARGS)

inbox: $(call has,inbox) ## show any program's pushes: SendMessages and the inbox alone
	@$(BIN)/python -m sandbox up --pinpoint-only --port "$(PORT)" $(ARGS)

synth: $(CDK) ## write the template into cdk.out; needs no account
	@$(CDK) synth --quiet $(ARGS)
	@echo "The template is in cdk.out."

bootstrap: $(CDK) ## prepare an account and region for the CDK, once
	@$(CDK) bootstrap $(ARGS)

diff: $(CDK) ## show what a deployment would change
	@$(CDK) diff $(ARGS)

deploy: $(CDK) ## deploy to AWS; ARGS="-c stage=staging" for a setting
	@mkdir -p $(dir $(OUTPUTS))
	@$(call asks,deploy,--require-approval,--require-approval never)
	@$(CDK) deploy --outputs-file $(OUTPUTS) $(ARGS)
	@$(BIN)/python -m operations next-steps $(OUTPUTS)

smoke: $(call has,deploy) ## check the deployed stack (STACK=push-sender)
	@$(BIN)/python -m operations smoke --stack $(STACK) $(ARGS)

redrive: $(call has,deploy) ## send the dead-letter messages of the deployed stack (STACK=push-sender) again
	@$(BIN)/python -m operations redrive --stack $(STACK) $(ARGS)

destroy: $(CDK) ## remove the stack; data stays, see docs/runbook.md
	@$(call asks,destroy,--force,--force)
	@$(CDK) destroy $(ARGS)

test: lint ## lint, types and all tests: what CI runs
	@$(MAKE) --no-print-directory --jobs 2 types unit

format: $(call has,style) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(call has,style) ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(call has,all) ## check the types, strictly
	$(BIN)/mypy

unit: $(call has,all) ## all tests; ARGS="-k name" for some
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(call has,all) ## 5,000 hostile requests (CASES=) to the HTTP API in the sandbox
	@FUZZ_CASES=$(CASES) $(BIN)/pytest -q tests/deployed/test_http_fuzz.py

soak: $(call has,demo) ## test that nothing is lost and nothing doubled (ARGS="--seed 7")
	@$(BIN)/python -m soak $(ARGS)

soak-steady: $(call has,demo) ## ten minutes of load: nothing grows, a burst drains
	@$(BIN)/python -m soak.steady $(ARGS)

soak-breaks: $(call has,demo) ## break the function on purpose: the soak must notice
	@$(BIN)/python -m soak.breaks $(ARGS)

snapshot: $(call has,all) ## write the template's snapshot and the generated documents again, for review
	@UPDATE_SNAPSHOT=1 $(BIN)/pytest -q tests/infra/test_stack_checks.py tests/function/test_openapi.py \
	    tests/test_documents.py -k snapshot

docs: $(call has,docs) ## build the documentation site into .build/site
	@rm -rf .build/pages .build/site && mkdir -p .build/pages
	@cp zensical.toml .build/
	@tar -cf - --exclude __pycache__ $(PAGES) | tar -xf - -C .build/pages
	@$(BIN)/zensical build --strict --clean -f .build/zensical.toml
	@cp -R .devcontainer .build/site/  # which is hidden, so it was left out
	@echo "The site is in .build/site: open index.html, or run python3 -m http.server -d .build/site"

bundle: $(call has,installer) ## build what is deployed to Lambda (arm64, Python 3.13)
	@$(BIN)/python -m infra.bundle --target lambda

bench: $(call has,all) ## measure beside boto3 and other libraries (ARGS="--quick")
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove what the commands made
	@[ ! -d .build/bench ] || chmod -R u+w .build/bench  # which the benchmark keeps read-only
	rm -rf $(VENV) node_modules cdk.out .build .mypy_cache .pytest_cache .ruff_cache .hypothesis

lock: $(call has,lock) ## renew the locks: the newest versions (ARGS="--upgrade-package NAME")
	@$(BIN)/python -m infra.locks $(or $(ARGS),--upgrade)

$(VENV)/has-%: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; '$(PYTHON)' is older or missing. Name another: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m infra.install $*
	@touch $(if $(filter all,$*),$(foreach part,$(PARTS),$(call has,$(part))),$@)  # all has each

# Everything, for an editor: `make .venv/installed`.
$(VENV)/installed: $(call has,all)
	@touch $@

$(CDK): package.json package-lock.json $(call has,deploy)
	@$(PYTHON) -m infra.install commands
	@touch $@
