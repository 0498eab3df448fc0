# Two commands first: make demo, make test. Each does all of its set-up from a plain Python >= 3.11 with pip.
# The first of these that runs: a shim of pyenv is a command even where its version is not selected.
PYTHONS := python3.11 python3.12 python3.13 python3.14
ifndef PYTHON
PYTHON := $(firstword $(foreach python,$(PYTHONS),$(shell $(python) -c '' 2>/dev/null && echo $(python))))
endif
VENV ?= .venv
BIN := $(VENV)/bin
# The newest scanpy, anndata, pandas and NumPy need Python 3.12.
NEWEST := $(if $(PYTHON),$(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 12))' 2>/dev/null))
CONSTRAINTS ?= $(if $(filter True,$(NEWEST)),constraints-newest.txt,constraints.txt)
BROWSER ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

# Threads that spin while they wait crawl on a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test docs lint types unit wheel install clean test-browser test-long test-matrix linkcheck picture

demo: install
	$(BIN)/scrae demo -o demo --overwrite

test: lint types unit wheel

# The site, in build/docs/index.html: the tutorials and examples are run, and a warning is an error.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -b html -W --keep-going docs build/docs
	$(BIN)/python tests/check_site.py build/docs

# External links; needs the network.
linkcheck: $(VENV)/.docs
	$(BIN)/python -m sphinx -b linkcheck -D nb_execution_mode=off docs build/linkcheck

# The picture of the landing page and the README, from the report of the demo.
picture: demo
	$(BROWSER) --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir=$$(mktemp -d) \
	  --screenshot=$(CURDIR)/docs/images/report.png --window-size=1120,1260 file://$(CURDIR)/demo/report.html

$(VENV)/.docs: $(VENV)/.installed docs/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --constraint docs/constraints.txt --editable '.[docs]'
	touch $@

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(if $(PYTHON),,$(error None of $(PYTHONS) is installed. Install one, or name another Python: make PYTHON=/path/to/python))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/codespell src tests benchmarks docs README.md CONTRIBUTING.md CHANGELOG.md

# Checks every commit of this clone: .pre-commit-config.yaml.
.PHONY: hooks
hooks: install
	$(BIN)/pre-commit install

types: install
	$(BIN)/mypy

unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The report in a real Chromium: hostile names, keys, print.
test-browser: install
	SCRAE_BROWSER=$(BROWSER) $(BIN)/python -m pytest tests/browser

# An hour on a free core: processes killed, files damaged, random cases, threads. What it prints is what docs/reliability.md records.
test-long: install
	$(BIN)/python tests/long/kill_training.py build/long/kills --kills 60
	$(BIN)/python tests/long/kill_writing.py build/long/writes --kills 200
	$(BIN)/python tests/long/fuzz_readers.py build/long/fuzz --cases 10000
	$(BIN)/python tests/long/fuzz_anndata.py build/long/anndata --cases 5000
	SCRAE_FUZZ=400 $(BIN)/python -m pytest tests/test_fuzz.py
	$(BIN)/python tests/long/determinism.py

# python -O, the oldest supported versions, and newer Pythons where they are at hand.
test-matrix: install
	$(BIN)/python -O -m pytest -W "ignore:assertions not in test modules:pytest.PytestConfigWarning"
	$(MAKE) unit VENV=.venv-oldest CONSTRAINTS=tests/long/oldest.txt
	for python in python3.12 python3.13 python3.14; do \
	  if $$python -c '' 2>/dev/null; then $(MAKE) unit PYTHON=$$python VENV=.venv-$$python CONSTRAINTS=tests/long/newer.txt || exit 1; \
	  else echo "$$python is not at hand"; fi; \
	done

wheel: install
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/check_wheel.py dist

clean:
	rm -rf $(VENV) dist demo .pytest_cache .mypy_cache .ruff_cache
