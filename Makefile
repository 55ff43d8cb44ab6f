# Set up, run and check the project. `make` without a target lists the targets.

ifeq ($(filter oneshell,$(.FEATURES)),)
$(error found make $(MAKE_VERSION); expected GNU Make 4. On macOS: brew install make, then gmake in its place)
endif

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup run tensorboard browser test test-full check bench fuzz lock sbom audit clean-env

# Arguments for the command of `run`, `tensorboard`, `test`, `test-full` and `bench`.
ARGS ?=
# Python to create .venv with; default: the newest that fits.
PYTHON ?=
# Folder of the results that `tensorboard` shows.
OUTPUTS ?= outputs
# Export them, since the shell can quote its own variables.
export OUTPUTS PYTHON
# With these variables, Python could import other modules than those of the project.
unexport PYTHONHOME PYTHONINSPECT PYTHONPATH PYTHONSAFEPATH
# Flags for `make lock`: `make lock LOCK_FLAGS=--upgrade` selects the newest allowed versions.
LOCK_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
COMPILE := pip compile --quiet --no-header --generate-hashes --python-version 3.11

define fail
{ echo "make: $(1)" >&2; exit 1; }
endef

# Find any Python that can run pipeline.installation, which then chooses the Python for .venv.
define find_python
python=
for candidate in "$$PYTHON" python3 python3.13 python3.12 python3.11 $(BIN)/python; do
	if [[ $$("$$candidate" -c 'import sys; print(sys.version_info >= (3, 8))' 2>/dev/null) == True ]]; then python=$$candidate; break; fi
done
[[ $$python ]] || $(call fail,found no Python; expected Python 3.11 to 3.13 with its venv module. Debian and Ubuntu: sudo apt install python3 python3-venv. Fedora: sudo dnf install python3.13)
endef

define install
$(find_python)
"$$python" -m pipeline.installation --python="$$PYTHON"
endef

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Create the environment in .venv (half a minute, 3.3 GB)
	@$(install) --announce

run: ## Run the pipeline: make run ARGS="--data sample"
	@$(install)
	$(BIN)/python pipeline_runner.py run $(ARGS)

tensorboard: ## Show the training logs of all runs below OUTPUTS in TensorBoard
	@$(install)
	[[ -d $$OUTPUTS ]] || $(call fail,found no folder $$OUTPUTS; expected the results of a run. Run the pipeline first or name the folder: make tensorboard OUTPUTS=/path/to/outputs)
	$(BIN)/python -m tensorboard.main --logdir "$$OUTPUTS" $(ARGS)

# Install the package of Debian as root. Without Chromium, the tests of the pages in it are skipped.
browser: ## Install Chromium for the tests of the pages
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit; fi
	if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		echo "Installing Chromium."
		log=$$(mktemp)
		{ apt-get update && apt-get install --yes --no-install-recommends chromium; } >"$$log" 2>&1 ||
			{ tail "$$log"; echo "make: Chromium could not be installed."; }
		rm "$$log"
	else
		echo "make: found no Chromium; the tests of the pages are skipped. Debian: sudo apt install chromium"
	fi

# Each worker runs whole test files, since the tests of a file share fixtures. At most four workers,
# since each has its own TensorFlow in memory. `make test ARGS=--durations=30` lists the slow tests.
test: ## Run the tests except the slow ones (7 to 12 minutes)
	@$(install) --tests
	$(BIN)/python -m pytest -m "not slow" -rs -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --share $(ARGS)

# Only two workers, since many of these tests start several processes.
test-full: browser ## Run the slow tests (about an hour)
	@$(install) --tests
	$(BIN)/python -m pytest -m slow -rs -n auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: ## Check style, types and import rules
	@$(install) --tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: ## Run the short form of eight benchmarks (several minutes)
	@$(install)
	for name in training_speed time_to_accuracy accuracy ablation pipeline_cost scale ingest serving; do
		echo "$$name:"
		$(BIN)/python -m benchmarks.$$name --short $(ARGS)
	done

# READER names one reader; SEED makes other cases.
fuzz: ## Fuzz all readers of untrusted files: make fuzz MINUTES=30
	@$(install) --tests
	$(BIN)/python -m tests.fuzzing --minutes "$(or $(MINUTES),5)" --seed "$(or $(SEED),1)" $(if $(READER),--reader "$(READER)")

# The older lock file starts from the versions of the newer one, so that it differs only if needed.
# All files are copied at the end, so that a failure changes none.
lock: ## Update the lock files in requirements/ from the .in files
	@$(find_python)
	work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	"$$python" -m venv "$$work/tools"
	"$$work/tools/bin/pip" install --quiet --no-deps --require-hashes --only-binary :all: -r requirements/installer.txt
	cp -R requirements "$$work"
	cd "$$work/requirements"
	compile=("$$work/tools/bin/uv" $(COMPILE))
	mapfile -t left_out < <(sed -nE 's/^([a-z].*)/--no-emit-package=\1/p' left-out.txt)
	project=("$${compile[@]}" "$${left_out[@]}" --override overrides.txt project.in)
	echo "Locking project.in."
	"$${project[@]}" $(LOCK_FLAGS) --universal --output-file glibc-2.39.txt
	cp glibc-2.39.txt glibc-2.28.txt
	"$${project[@]}" --override overrides-glibc-2.28.txt --python-platform x86_64-manylinux_2_28 --output-file glibc-2.28.txt
	for name in test installer audit; do
		echo "Locking $$name.in."
		"$${compile[@]}" $(LOCK_FLAGS) --universal $$name.in --output-file $$name.txt
	done
	mapfile -t left_out < <(sed -nE 's/^([a-z].*)/--no-emit-package=\1/p' left-out-pytorch.txt)
	echo "Locking pytorch.in."
	"$${compile[@]}" "$${left_out[@]}" $(LOCK_FLAGS) --universal pytorch.in --output-file pytorch.txt
	cp glibc-2.39.txt glibc-2.28.txt test.txt installer.txt audit.txt pytorch.txt "$$OLDPWD/requirements"

sbom: ## Write the software bill of materials to build/sbom.json
	@$(install)
	$(BIN)/python -m pipeline.installation.bill_of_materials build/sbom.json

# pip-audit has an environment of its own, which is removed, since it shares no version with .venv.
# Its exit code is the same for a finding, for a service that it cannot reach, and for any other
# failure. Only what it says tells whether there was just no network.
audit: ## Look up known vulnerabilities of the locked packages on the network
	@$(install)
	work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	unreachable='[Cc]onnect|[Tt]imed.?out|[Rr]esol|[Nn]etwork|[Pp]roxy|HTTP|No matching distribution|not found on PyPI'
	unaudited() {
		grep -qE "$$unreachable" "$$work/said" || $(call fail,the audit of $$1 failed: $$(tail -n 1 "$$work/said"); expected the result of pip-audit. Where requirements/audit.txt or a package was changed on its way: git status; then: make lock)
		echo "make: NO VULNERABILITY OF $$1 WAS LOOKED UP: $$(tail -n 1 "$$work/said")." >&2
		echo "make: expected a network that reaches the advisories. Another service: make audit ARGS='--vulnerability-service osv'" >&2
	}
	$(BIN)/python -m venv "$$work/tools"
	if ! "$$work/tools/bin/pip" install --quiet --no-deps --require-hashes --only-binary :all: -r requirements/audit.txt 2>"$$work/said"; then
		unaudited "ANY PACKAGE"
		exit
	fi
	status=0
	for lock in glibc-2.39.txt glibc-2.28.txt; do
		echo "Auditing $$lock."
		if "$$work/tools/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off --requirement "requirements/$$lock" $(ARGS) 2>"$$work/said"; then
			echo "No known vulnerability."
		elif grep -q '^Found ' "$$work/said"; then
			tail -n 1 "$$work/said" >&2
			status=1
		else
			unaudited "$$lock"
		fi
	done
	exit $$status

clean-env: ## Remove .venv
	@$(find_python)
	"$$python" -m pipeline.installation --remove
