# Two targets do all the set-up on a fresh machine with Python and make: `make demo` and `make test`.
# `make` alone lists every target and setting.

PYTHON ?= python3
VENV ?= .venv
# Where Linux has no NVIDIA GPU, torch comes from here if the address answers, because PyPI's torch for Linux brings
# gigabytes of CUDA libraries along. Set to nothing to use your own package index only.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# A new folder for every demo, so that a second run neither meets nor disturbs the first.
ifndef DEMO_OUT
DEMO_OUT := runs/demo-$(shell date +%Y%m%d-%H%M%S)
endif
TEST_WORKERS ?= 2
PYTEST_ARGS ?=

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --no-input --disable-pip-version-check --only-binary=:all: -c constraints.txt
# A stamp stands for a finished installation: removed first and touched last, so that an installation which fails or is
# interrupted leaves none. When one of INSTALL_INPUTS changes, the stamp is older than it and the next run installs again.
STAMP_ELM := $(VENV)/.installed-elm
STAMP_TEST := $(VENV)/.installed-test
INSTALL_INPUTS := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format benchmarks clean

help: ## List the targets and settings (this is what `make` alone does)
	@echo "Targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "Settings, given as NAME=value after the target:"
	@echo "  PYTHON=$(PYTHON)  the Python (3.11 or newer) that $(VENV) is created from"
	@echo "  VENV=$(VENV)  where everything is installed"
	@echo "  DEMO_OUT=$(DEMO_OUT)  where the demo writes"
	@echo "  TEST_WORKERS=$(TEST_WORKERS)  how many processes run the tests"
	@echo "  PYTEST_ARGS=$(PYTEST_ARGS)  more arguments for pytest, such as '-k terrain'"
	@echo "  TORCH_CPU_INDEX=$(TORCH_CPU_INDEX)  where torch's CPU build comes from on Linux without a GPU"

demo: $(STAMP_ELM) ## Install what is needed, then run the whole pipeline, small
	@echo "==> Running the whole pipeline at demo size; it writes to $(DEMO_OUT)"
	$(VENV)/bin/elm-rl pipeline --preset demo --out "$(DEMO_OUT)"
	@echo "==> The demo is done: open $(DEMO_OUT)/index.html in a browser; read $(DEMO_OUT)/report.md and $(DEMO_OUT)/summary.json"

test: lint ## Install what the tests need, then check style, types and import directions, and run the tests
	@echo "==> Running the tests in $(TEST_WORKERS) processes"
	$(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)
	@echo "==> Everything passed"

lint: $(STAMP_TEST) ## Check style, formatting, types and import directions
	@echo "==> Checking style (ruff)"
	$(PY) -m ruff check .
	@echo "==> Checking formatting (ruff; 'make format' repairs it)"
	$(PY) -m ruff format --check .
	@echo "==> Checking types (mypy)"
	$(PY) -m mypy
	@echo "==> Checking that imports point one way: benchmarks, elm_rl, sodarace_gym, and the floors within (import-linter)"
	$(VENV)/bin/lint-imports

format: $(STAMP_TEST) ## Repair formatting, import order and what else ruff can repair
	@echo "==> Repairing what ruff can repair"
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

benchmarks: $(STAMP_ELM) ## Run five short benchmarks; each prints its table
	@echo "==> Measuring evaluations per second"
	$(PY) -m benchmarks.throughput
	@echo "==> Comparing generators of walkers on the paper's terrains, at equal evaluations"
	$(PY) -m benchmarks.suite --out runs/suite --groups paper --budgets 1 8 64
	@echo "==> Asking whether the terrains ask for different walkers"
	$(PY) -m benchmarks.terrains
	@echo "==> Asking whether difficulty orders the terrains"
	$(PY) -m benchmarks.difficulty
	@echo "==> Building the paper's walkers"
	$(PY) -m benchmarks.paper_walkers

clean: ## Remove caches and build products (keeps runs and the virtual environment)
	@echo "==> Removing caches and build products; runs/ and $(VENV)/ stay"
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find sodarace_gym elm_rl benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Asking for pip and not only for python also catches an environment whose creation was interrupted; creating it again
# over the old one completes it.
define ENSURE_VENV
@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
    echo "==> Creating the virtual environment $(VENV) with $(PYTHON)"; \
    $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
        echo "PYTHON=$(PYTHON) is missing or older than 3.11: name a newer one, as in 'make $(MAKECMDGOALS) PYTHON=python3.12'." >&2; \
        exit 1; }; \
    $(PYTHON) -m venv "$(VENV)" || { \
        echo "Creating $(VENV) failed (Debian and Ubuntu need the package python3-venv)." >&2; \
        exit 1; }; \
fi
endef

# torch goes first and alone: a build that is already there, or a CPU build, then satisfies all that depends on it.
define INSTALL_TORCH
@echo "==> Installing torch, the largest download"
@index=""; \
if [ "$$(uname -s)" = Linux ] && [ -n "$(TORCH_CPU_INDEX)" ] && ! command -v nvidia-smi >/dev/null 2>&1 \
    && ! $(PY) -c 'import torch' >/dev/null 2>&1 \
    && $(PY) -c 'import urllib.request as r; r.urlopen("$(TORCH_CPU_INDEX)/torch/", timeout=5)' >/dev/null 2>&1; then \
    echo "==> No NVIDIA GPU found: taking torch's CPU build from $(TORCH_CPU_INDEX)"; \
    index="--extra-index-url $(TORCH_CPU_INDEX)"; \
fi; \
$(PIP_INSTALL) $$index torch
endef

$(STAMP_ELM): $(INSTALL_INPUTS)
	@rm -f $(STAMP_ELM) $(STAMP_TEST)
	$(ENSURE_VENV)
	$(INSTALL_TORCH)
	@echo "==> Installing sodarace_gym and elm_rl with what they need, in the versions of constraints.txt"
	$(PIP_INSTALL) -e '.[elm]'
	@touch $@

$(STAMP_TEST): $(STAMP_ELM)
	@rm -f $(STAMP_TEST)
	@echo "==> Installing what the tests need"
	$(PIP_INSTALL) -e '.[elm,test]'
	@touch $@
