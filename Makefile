# Needs Python 3.11 to 3.13, Terraform 1.11 or newer and make; everything else goes into .venv and .build.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SHELLFLAGS := -ec

# A Python that is given counts, then the one that .venv was made with, then the first supported one:
# make PYTHON=/path/to/python3.12 ...
PYTHON ?= $(shell made=$$(.venv/bin/python -c 'import sys; print(sys._base_executable)' 2>/dev/null || :); \
	for p in "$$made" python3.12 python3.11 python3.13 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& { echo "$$p"; break; }; done)
VENV := .venv/bin/python
SEEDS ?= 200

# What the machine's settings say about other Pythons and other AWS accounts must not reach in here. Modules are
# compiled when they are first imported, which is to be kept.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV MAKEFLAGS
unexport AWS_PROFILE AWS_DEFAULT_PROFILE
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.build/hypothesis

##@ The local AWS (LocalStack and a Bedrock simulator; no Docker, no account)

demo: package ## ship a small data set through the whole queue and watch it
	@$(VENV) -m tests.local_aws.demo

up: package ## start it, apply the module and write .build/local.env
	@$(VENV) -m tests.local_aws up $(if $(NAME),--name $(NAME)) $(if $(SIMULATOR),--simulator $(SIMULATOR))

down: setup ## end it
	@$(VENV) -m tests.local_aws down

status: setup ## say what runs
	@$(VENV) -m tests.local_aws status

##@ Tests

test: setup ## all of them, with one summary; what .ci/run calls
	@$(VENV) -m tools.checks

test-unit: setup ## one module at a time: the fast loop, in seconds
	@$(VENV) -m tools.checks unit

test-simulator: setup ## the Bedrock simulator's own tests
	@$(VENV) -m tools.checks simulator

test-clients: setup ## the AWS CLI, Airflow and LiteLLM on the simulator's server
	@$(VENV) -m tools.checks clients

test-flows: setup ## the functions together, in one process under a virtual clock
	@$(VENV) -m tools.checks flows

test-client: setup ## the command line and the Python client, on the queue in one process
	@$(VENV) -m tools.checks client

test-terraform: setup ## the module without AWS: format, validation, terraform test
	@$(VENV) -m tools.checks format validate terraform

test-faults: setup ## calls that fail, lose their answer or kill the function
	@$(VENV) -m tools.checks faults

test-integration: setup ## the module and the functions on the local AWS
	@$(VENV) -m tools.checks integration

test-policy: setup ## terraform-compliance over a plan with known values
	@$(VENV) -m tools.checks policy

test-checkov: setup ## checkov over the configuration and that plan
	@$(VENV) -m tools.checks checkov

test-iam: setup ## least privilege, proven on MiniStack with IAM enforced
	@$(VENV) -m tools.checks iam

lint: setup ## ruff and terraform fmt
	@$(VENV) -m tools.checks lint format

types: setup ## mypy
	@$(VENV) -m tools.checks types

format: setup ## put Python and Terraform into their standard form
	@$(VENV) -m ruff check --quiet --fix-only .
	@$(VENV) -m ruff format --quiet .
	@terraform fmt -recursive .

bench: setup ## measurements: tables, and .build/bench.json
	@$(VENV) -m pytest -m bench -s --ignore=tests/integration tests

bench-localstack: setup ## measurements on the local AWS
	@$(VENV) -m pytest -m bench -s tests/integration

soak: setup ## random lives of the queue, SEEDS=… how many (200), or SEED=… one again
	@SEEDS=$(SEEDS) SEED=$(SEED) $(VENV) -m pytest -q -m faults -s tests/faults/test_soak.py -k life

mutants: setup ## break the functions on purpose, one thing at a time, and see that a test notices
	@$(VENV) -m pytest -q -m mutants -s tests/mutants

##@ Made from the sources

package: setup ## dist/lambdas.zip, byte for byte reproducible
	@$(VENV) tools/package.py

docs: setup ## docs/reference.md: the tables of requirements, inputs, routes and outputs
	@$(VENV) tools/docs.py

bench-docs: setup ## docs/performance.md and its plots, from .build/bench.json
	@$(VENV) tools/venv.py .build/bench/venv requirements/bench.txt
	@$(VENV) -m tools.performance
	@.build/bench/venv/bin/python -m tools.plots

dashboard: setup ## docs/images/dashboard.svg: the dashboard with made-up data
	@$(VENV) tools/venv.py .build/bench/venv requirements/bench.txt
	@.build/bench/venv/bin/python -m tools.dashboard_picture

##@ Housekeeping

setup: ## the virtual environment .venv
	@test -n "$(strip $(PYTHON))" || { echo "make: no Python 3.11, 3.12 or 3.13 with venv was found:" \
		"install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(strip $(PYTHON))" tools/venv.py .venv requirements/dev.txt --project simulator --editable

clean: ## end the local AWS and remove .venv and .build
	@if [ -x $(VENV) ] && [ -e .build/up/running.json ]; then $(VENV) -m tests.local_aws down; fi
	rm -rf .venv .build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .terraform.lock.hcl -exec rm -f {} +

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

.PHONY: bench bench-docs bench-localstack clean dashboard demo docs down format help lint mutants package setup soak status test test-checkov test-client test-clients test-faults test-flows \
	test-iam test-integration test-policy test-simulator test-terraform test-unit types up
