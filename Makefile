# Every command of this project. `make` without a target lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CDK := node_modules/.bin/cdk
OUTPUTS := .build/outputs.json
PORT ?= 4580
STACK ?= push-sender
CASES ?= 5000
# The contents of the documentation site: the documents, and the folders that they link to.
PAGES := *.md LICENSE docs examples lambda_src infra soak bench
# Processes that run tests, one file at a time each. More than two cores need, because tests also wait.
WORKERS ?= 5

# Each command first installs the group of packages (pyproject.toml) that it needs.
PARTS := inbox demo sandbox deploy release style installer lock all
has = $(VENV)/has-$(1)

# Names the option to add if the CDK would ask a question and there is no terminal.
asks = [ -t 0 ] || case '$(ARGS)' in *$(2)*) ;; *) \
    echo 'There is no terminal to confirm at: if it asks, run make $(1) ARGS="$(strip $(ARGS) $(3))"' >&2 ;; esac

# An option from a variable of the command line, as it was typed. The environment has a USER, too.
option = $(if $(filter command,$(origin $(1))),--$(2)='$(subst ','\'',$(value $(1)))')
# An option without a value, from a variable such as YES=1.
flag = $(if $(filter command,$(origin $(1))),$(if $(filter-out 0 false no,$(value $(1))),--$(2)))
# Names of files, which the shell reads: FILE="exports/*.gz" is all of them.
files = $(if $(filter command,$(origin FILE)),$(value FILE))

.DEFAULT_GOAL := help
.PHONY: help demo sandbox inbox test format lint types unit coverage fuzz snapshot picture docs bundle bench lock clean \
    soak soak-steady soak-breaks \
    bootstrap synth diff deploy key-policy smoke redrive why job import-devices destroy release

# Variables that the shell sets for other programs: other Pythons, Node.js programs and CDK apps.
unexport $(filter PYTHON% POWERTOOLS_% NODE_ENV NODE_OPTIONS NODE_PATH, \
    $(.VARIABLES)) $(filter-out CDK_VALIDATION,$(filter CDK_%,$(.VARIABLES)))
# Files and output are UTF-8 on every terminal.
export PYTHONUTF8 := 1

# Use the Node.js and npm of requirements.txt, not those of the machine.
bootstrap synth diff deploy destroy lock $(CDK): export PATH := $(CURDIR)/$(BIN):$(PATH)
# Node.js then trusts the machine's authorities, also a company's own, as pip and curl do.
bootstrap synth diff deploy destroy lock $(CDK): export NODE_USE_SYSTEM_CA := 1

help: ## list the commands
	@sed -n 's/^__version__ = "\(.*\)"/Push Sender \1\n/p' lambda_src/push_sender/__init__.py
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(call has,demo) ## send AWS's own example through all four services, on this machine
	@$(BIN)/python -m sandbox demo

sandbox: $(call has,sandbox) ## run the local AWS and its inbox (PORT=4580, VERBOSE=1)
	@$(BIN)/python -m sandbox up --port "$(PORT)" $(ARGS)

inbox: $(call has,inbox) ## show any program's pushes: only SendMessages and the inbox
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

key-policy: $(call has,deploy) ## print the statements that the policy of kms_key_arn needs (STACK=; KEY= before the first deployment)
	@$(BIN)/python -m operations key-policy --stack $(STACK) $(call option,KEY,key) \
	    $(call option,ACCOUNT,account) $(call option,NAME,name) $(call option,POLICY,policy) $(ARGS)

smoke: $(call has,deploy) ## test the deployed stack (STACK=push-sender) with invented tokens
	@$(BIN)/python -m operations smoke --stack $(STACK) $(ARGS)

redrive: $(call has,deploy) ## move the stack's dead-letter messages back to its queue (STACK=push-sender)
	@$(BIN)/python -m operations redrive --stack $(STACK) $(ARGS)

why: $(call has,deploy) ## show why a user got no push (USER=u-123, DEVICE= or TOKEN=; SINCE=2d, FORMAT=json, PROJECT=, STACK=)
	@$(BIN)/python -m operations why --stack $(STACK) $(call option,USER,user) $(call option,DEVICE,device) \
	    $(call option,TOKEN,token) $(call option,SINCE,since) $(call option,FORMAT,format) \
	    $(call option,PROJECT,application-id) $(ARGS)

job: $(call has,deploy) ## send a push to each row of files (FILE=people.csv REQUEST=push.json; NAME=, AT=, TIME_ZONE=, LOCAL_TIME=1, TOKENS_PER_SECOND=, DRY_RUN=1, YES=1)
	@$(BIN)/python -m operations job run $(files) --stack $(STACK) $(call option,REQUEST,request) \
	    $(call option,NAME,name) $(call option,TOKENS_PER_SECOND,tokens-per-second) \
	    $(call option,TOLERATED_FAILURE_PERCENTAGE,tolerated-failure-percentage) \
	    $(call option,AT,at) $(call option,TIME_ZONE,time-zone) $(call flag,LOCAL_TIME,local-time) \
	    $(call option,PROJECT,application-id) $(call flag,DRY_RUN,dry-run) \
	    $(call flag,IGNORE_OPT_OUT,ignore-opt-out) $(call flag,YES,yes) $(ARGS)

import-devices: $(call has,deploy) ## register the devices of files, such as Pinpoint's exports (FILE="exports/*.gz"; NAME=, YES=1)
	@$(BIN)/python -m operations import-devices $(files) --stack $(STACK) $(call option,NAME,name) \
	    $(call option,ROWS_PER_SECOND,rows-per-second) \
	    $(call option,TOLERATED_FAILURE_PERCENTAGE,tolerated-failure-percentage) \
	    $(call option,PROJECT,application-id) $(call flag,DRY_RUN,dry-run) \
	    $(call flag,IGNORE_OPT_OUT,ignore-opt-out) $(call flag,YES,yes) $(ARGS)

destroy: $(CDK) ## remove the stack; data remains, see docs/runbook.md
	@$(call asks,destroy,--force,--force)
	@$(CDK) destroy $(ARGS)

test: lint ## lint, types and all tests: what CI runs
	@$(MAKE) --no-print-directory --jobs 2 types unit

format: $(call has,style) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(call has,style) ## check format, style, and what must not be in a repository
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/bandit -q -ll -r app.py bench infra lambda_src operations sandbox soak
	$(BIN)/zizmor -q --offline .github

types: $(call has,all) ## check the types, strictly
	$(BIN)/mypy

unit: $(call has,all) ## all tests; ARGS="-k name" for some
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: $(call has,all) ## measure which lines of the function its tests run: .build/coverage/index.html
	@rm -rf .build/coverage && mkdir -p .build/coverage
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/function \
	    --cov --cov-report term --cov-report html $(ARGS)

fuzz: $(call has,all) ## 5,000 hostile cases (CASES=) each of messages, devices, jobs and files
	@FUZZ_CASES=$(CASES) $(BIN)/pytest -q -n 2 --dist loadfile tests/deployed/test_http_fuzz.py \
	    tests/function/test_job_fuzz.py

soak: $(call has,demo) ## send under many failures: nothing lost, nothing sent twice (ARGS="--seed 7")
	@$(BIN)/python -m soak $(ARGS)

soak-steady: $(call has,demo) ## send at a steady rate for ten minutes: memory stays flat, the queue drains
	@$(BIN)/python -m soak.steady $(ARGS)

soak-breaks: $(call has,demo) ## test the soak: it must detect each break of the function
	@$(BIN)/python -m soak.breaks $(ARGS)

snapshot: $(call has,all) ## write the template's snapshot and the generated documents again, for review
	@UPDATE_SNAPSHOT=1 $(BIN)/pytest -q tests/infra/test_stack_checks.py tests/function/test_openapi.py \
	    tests/test_documents.py -k snapshot

picture: $(call has,all) ## take the picture of the formats, docs/formats.png, again; needs Chromium
	@$(BIN)/python -m tests.browser.screenshot docs/formats.png

docs: $(call has,docs) ## build the documentation site into .build/site
	@rm -rf .build/pages .build/site && mkdir -p .build/pages
	@cp zensical.toml .build/
	@tar -cf - --exclude __pycache__ $(PAGES) | tar -xf - -C .build/pages
	@$(BIN)/zensical build --strict --clean -f .build/zensical.toml
	@cp -R .devcontainer .build/site/  # the site's builder leaves hidden folders out
	@echo "The site is in .build/site: open index.html, or run python3 -m http.server -d .build/site"

release: $(call has,release) ## build a release into dist: archives, templates, SBOM, provenance, checksums
	@$(BIN)/python -m infra.release $(ARGS)

bundle: $(call has,installer) ## build the archive for Lambda (arm64, Python 3.13)
	@$(BIN)/python -m infra.bundle --target lambda

bench: $(call has,all) ## compare with boto3 and other libraries (ARGS="--quick")
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove everything that the commands made
	@[ ! -d .build/bench ] || chmod -R u+w .build/bench  # the benchmark makes it read-only
	rm -rf $(VENV) node_modules cdk.out dist .build .mypy_cache .pytest_cache .ruff_cache .hypothesis

lock: $(call has,lock) ## update the locks to the newest versions (ARGS="--upgrade-package NAME")
	@$(BIN)/python -m infra.install.locks $(or $(ARGS),--upgrade)

$(VENV)/has-%: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; '$(PYTHON)' is older or missing. Name another: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m infra.install $*
	@touch $(if $(filter all,$*),$(foreach part,$(PARTS),$(call has,$(part))),$@)  # all includes the others

# All packages, for an editor: `make .venv/installed`.
$(VENV)/installed: $(call has,all)
	@touch $@

$(CDK): package.json package-lock.json $(call has,deploy)
	@$(PYTHON) -m infra.install commands
	@touch $@
