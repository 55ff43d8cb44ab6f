# How the project is set up, run and checked. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup run tensorboard browser test test-full check bench lock clean-env

# What is handed on to the command behind `run`, `tensorboard`, `test`, `test-full` and `bench`.
ARGS ?=
# The Python 3.11 that .venv is made from; the first one found where it is not given.
PYTHON ?=
# The folder of all results, as `--output-dir` names it.
OUTPUTS ?= outputs
# As a variable of the shell, which it can quote.
export OUTPUTS
# Flags for `make lock`: `make lock LOCK_FLAGS=--upgrade` takes the newest versions allowed.
LOCK_FLAGS ?=
UV := uv==0.13.9

VENV := .venv
BIN := $(VENV)/bin
# A stamp is written once its installation has ended, so an interrupted one is never trusted.
INSTALLED := $(VENV)/requirements.installed
TEST_INSTALLED := $(VENV)/requirements-test.installed
# Stands while pip works: what it left half-way may look complete to its successor.
UNFINISHED := $(VENV)/requirements.unfinished
TEST_UNFINISHED := $(VENV)/requirements-test.unfinished

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--no-deps --require-hashes
PIP_COMPILE := pip compile --quiet --no-header --generate-hashes --override overrides.txt \
	--python-version 3.11 --python-platform linux

IS_PYTHON_3_11 := import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 11))
HEADER := import sysconfig; print(sysconfig.get_path("include") + "/Python.h")

define fail
{ echo "make: $(1)" >&2; exit 1; }
endef

define find_python
python=
for candidate in $(if $(PYTHON),"$(PYTHON)",python3.11 python3); do
	if "$$candidate" -c '$(IS_PYTHON_3_11)' 2>/dev/null; then python=$$candidate; break; fi
done
[[ $$python ]] || $(call fail,no Python 3.11 with its venv module found. Install it or name it: make setup PYTHON=/path/to/python3.11)
endef

define check_compiler
command -v gcc >/dev/null || $(call fail,gcc not found. A package of the lock is built from source: install gcc)
[[ -e $$("$$python" -c '$(HEADER)') ]] || $(call fail,the headers of Python 3.11 are missing. A package of the lock is built from source: install python3.11-dev)
endef

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make the environment in .venv (two minutes, 3.5 GB)
	@echo "The environment in $(VENV) is ready."

$(INSTALLED): requirements.txt
	@if [[ -e $(UNFINISHED) ]]; then
		echo "The last installation was cut short: starting afresh."
		rm -rf $(VENV)
	fi
	if ! $(BIN)/python -c '$(IS_PYTHON_3_11)' 2>/dev/null; then
		$(find_python)
		$(check_compiler)
		rm -rf $(VENV)
		mkdir $(VENV)
		touch $(UNFINISHED)
		"$$python" -m venv $(VENV)
	fi
	echo "Installing requirements.txt into $(VENV): about two minutes and 3.5 GB the first time."
	touch $(UNFINISHED)
	awk '/^[^ #]/ {wanted = /^(setuptools|wheel)==/} wanted' $< > $(VENV)/build-tools.txt
	$(PIP_INSTALL) -r $(VENV)/build-tools.txt
	$(PIP_INSTALL) --no-build-isolation -r $<
	rm $(UNFINISHED)
	touch $@

$(TEST_INSTALLED): requirements-test.txt $(INSTALLED)
	@echo "Installing requirements-test.txt into $(VENV)."
	again=
	if [[ -e $(TEST_UNFINISHED) ]]; then again=--force-reinstall; fi
	touch $(TEST_UNFINISHED)
	$(PIP_INSTALL) $$again -r $<
	rm $(TEST_UNFINISHED)
	touch $@

run: $(INSTALLED) ## Run the pipeline: make run ARGS="--data sample"
	@$(BIN)/python pipeline_runner.py run $(ARGS)

tensorboard: $(INSTALLED) ## Show the training logs of all runs below OUTPUTS in TensorBoard
	@[[ -d $$OUTPUTS ]] || $(call fail,there is no folder $$OUTPUTS. Make a run first or name its folder: make tensorboard OUTPUTS=/path/to/outputs)
	$(BIN)/python -m tensorboard.main --logdir "$$OUTPUTS" $(ARGS)

# Debian's own, where packages can be installed; the tests say loudly where there is none.
browser: ## Install Chromium, which the tests of the pages drive
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit; fi
	if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		echo "Installing Chromium."
		log=$$(mktemp)
		{ apt-get update && apt-get install --yes --no-install-recommends chromium; } >"$$log" 2>&1 ||
			{ tail "$$log"; echo "make: Chromium could not be installed."; }
		rm "$$log"
	else
		echo "make: no Chromium found. Install it to run the tests of the pages."
	fi

# On all cores, a file at a time, so that its tests share what they set up. Each worker has a
# TensorFlow of its own in memory: no more than four.
test: $(TEST_INSTALLED) browser ## Run the tests that prove the project (a few minutes)
	@$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-full: $(TEST_INSTALLED) browser ## Run the slow tests, which install things
	@$(BIN)/python -m pytest -m slow $(ARGS)

check: $(TEST_INSTALLED) ## Check style, types and who imports whom
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(INSTALLED) ## Run the short form of each benchmark (several minutes)
	@for name in training_speed time_to_accuracy accuracy ablation pipeline_cost scale; do
		echo "$$name:"
		$(BIN)/python -m benchmarks.$$name --short $(ARGS)
	done

# uv serves the lock alone, so it lives no longer than this target.
lock: ## Write requirements.txt and requirements-test.txt anew from the .in files
	@$(find_python)
	tools=$$(mktemp -d)
	trap 'rm -rf "$$tools"' EXIT
	"$$python" -m venv "$$tools"
	"$$tools/bin/pip" install --quiet --disable-pip-version-check "$(UV)"
	for name in requirements requirements-test; do
		echo "Locking $$name.in."
		"$$tools/bin/uv" $(PIP_COMPILE) $(LOCK_FLAGS) $$name.in --output-file $$name.txt
	done

clean-env: ## Remove .venv
	@rm -rf $(VENV)
