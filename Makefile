# One command each. Everything sets itself up on a fresh machine: the virtual environment here, system packages where
# root allows (else it says what is missing).
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
.DEFAULT_GOAL := up
# Compiled once, not in every process
unexport PYTHONDONTWRITEBYTECODE
.PHONY: up down test test-all unit check fix docs picture bench

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: set PYTHON=...") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }

INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

$(BIN)/.user: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) -e '.[docs,kubectl]'
	@$(BIN)/python -m compileall -q -j 0 src
	@touch $@

# Most of what other people's clients consist of is never read: what is, compiles then
$(BIN)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) pip
	@$(INSTALL) --no-compile -e '.[docs,kubectl,dev]'
	@$(BIN)/python -m compileall -q -j 0 src
	@touch $(BIN)/.user $@

# A cluster, and a context for kubectl
up: $(BIN)/.user
	@$(BIN)/sampan doctor --install >/dev/null || true
	@$(BIN)/sampan up

# Stop it; its state is kept
down: $(BIN)/.user
	@$(BIN)/sampan down

# What takes longest begins first; most of it waits for containers
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
ROOMS := tests/cluster/test_tutorial.py tests/cluster/test_containerd.py tests/cluster $(filter-out tests/unit/ tests/cluster/ tests/__pycache__/,$(wildcard tests/*/))

# The tests, other people's clients included
test: $(BIN)/.dev
	@sh tests/packages.sh
	@$(BIN)/python -m pytest -n 2 --dist worksteal tests/unit
	@$(BIN)/python -m pytest $(SPREAD) -m "not again" $(ROOMS)

# And those that repeat others with every version of kubectl and Helm, or take minutes
test-all: test
	@$(BIN)/python -m pytest $(SPREAD) -m again $(ROOMS)

# The ring to run after every change: a minute at most
unit: $(BIN)/.dev
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests/unit

# Types, style, layers
check: $(BIN)/.dev
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/ruff format --check -q src tests benchmarks
	@$(BIN)/mypy -n 2
	@$(BIN)/lint-imports --no-logo

fix: $(BIN)/.dev
	@$(BIN)/ruff check --fix -q src tests benchmarks
	@$(BIN)/ruff format -q src tests benchmarks

# The pages of the documentation that are made from the sources
docs: $(BIN)/.dev
	@$(BIN)/python -m tests.deviations_page > docs/deviations.md
	@$(BIN)/python -m tests.validation_page > docs/validation.md

# The README's picture: its commands, typed into a real terminal
picture: $(BIN)/.dev
	@$(BIN)/python -m tests.picture

# Figures beside their budgets
bench: $(BIN)/.dev
	@$(BIN)/python -m benchmarks
