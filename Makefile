# Every target says what it does: `make` or `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
# Processes that run tests; each opens the devices for itself.
WORKERS ?= 2
# More for `make bench`, such as --python torch=PATH --python jax=PATH.
BENCH  ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format types soak upgrade-check bench sizes wheel clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(STAMP)/demo ## Train on real digits: with a compiled AdamW, then a whole step compiled
	@$(BIN)/python examples/demo.py

test: $(STAMP)/test $(STAMP)/devices lint ## Install what the tests need, lint, and run them
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(STAMP)/test types ## Run ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)/test ## Format the sources and sort their imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(STAMP)/fuzz $(STAMP)/devices ## Run the long figures too (hours)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "slow or not slow"

upgrade-check: ## Rerun the known compiler traps on the newest IREE wheels
	@PYTHON=$(PYTHON) .ci/upgrade-check

bench: $(STAMP)/test ## Measure the built-in cases, and update docs/benchmarks.md
	$(BIN)/stepforge bench --case all $(BENCH) --output docs/benchmarks.json \
		--plot docs/benchmarks.svg --markdown docs/benchmarks.md

sizes: ## Print the length of every module, and fail past the cap
	@$(PYTHON) .ci/sizes

wheel: $(STAMP)/test ## Build the wheel into dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## Remove everything that make made
	rm -rf $(VENV) .venv-* build dist out .pytest_cache .ruff_cache .hypothesis

# pyright does not follow an editable install, so it is given the packages as they are imported.
types:
	@mkdir -p build/types/stepforge
	@for package in frontend passes runtime tools; do \
		ln -sfn ../../../$$package build/types/stepforge/$$package; done

$(STAMP)/demo: pyproject.toml
	@PYTHON=$(PYTHON) .ci/make-venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[compiler]"
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/test: $(STAMP)/demo
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[compiler,test,dev]"
	@touch $@

$(STAMP)/fuzz: $(STAMP)/test
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[compiler,test,dev,fuzz]"
	@touch $@

# Without a stamp it is tried again the next time; the tests that need what is missing skip.
$(STAMP)/devices: $(STAMP)/test .ci/install-devices
	@if .ci/install-devices $(VENV); then touch $@; else \
		echo "Some tests will skip; the next make test tries again." >&2; fi
