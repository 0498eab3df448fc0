# Two commands first: make demo, make test. Each does all of its set-up from a plain Python >= 3.11 with pip.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

# Threads that spin while they wait crawl on a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint types unit wheel install clean

demo: install
	$(BIN)/scrae demo -o demo

test: lint types unit wheel

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/python -m pytest

wheel: install
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python tests/check_wheel.py dist

clean:
	rm -rf $(VENV) dist demo .pytest_cache .mypy_cache .ruff_cache
