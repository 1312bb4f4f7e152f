# Everything a user or CI calls. Each target makes what it needs first; .venv is made once and kept in step with constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DROP ?= drop
# Some containers say so for all of Python: the tests start hundreds of processes, and each would compile anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test run bench bench-gpu chaos soak uploads crowds fuzz lint types floors docs wheel clean

demo: $(STAMP)  ## Make a pair with a known offset, let the real daemon find it, print the report and the truth.
	@$(BIN)/python -m tests.demo

test: $(STAMP)  ## The whole test suite, two files at a time (aim: 15 minutes; 25 on two slow cores).
	$(BIN)/python -m pytest -n 2 --dist loadfile

run: $(STAMP)  ## The daemon on a folder of your own: make run DROP=folder
	@$(BIN)/python -m tests.demo --run "$(DROP)"

bench: $(STAMP)  ## The benchmarks, with their tables.
	$(BIN)/python -m tests.benchmarks

bench-gpu: $(STAMP)  ## What the models make of the card (without one: of the CPU).
	$(BIN)/python -m tests.benchmarks.bench_gpu

chaos: $(STAMP)  ## Two hundred jobs, daemon and workers killed two hundred times; then each fault by itself.
	$(BIN)/python -m tests.chaos

soak: $(STAMP)  ## Two thousand jobs, and what daemon and worker grow by.
	$(BIN)/python -m tests.chaos.soak

uploads: $(STAMP)  ## Ten thousand uploads in every way people know: none told of too early, twice or never.
	$(BIN)/python -m tests.chaos.uploads --daemon 1000

crowds: $(STAMP)  ## A burst of 40,000 files, and a folder of 500,000: memory, rescans, how soon a new pair is told.
	$(BIN)/python -m tests.chaos.crowds

fuzz: $(STAMP)  ## Thousands of hostile files, fed to a real worker.
	$(BIN)/python -m tests.fuzz

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit/test_floors.py

docs: $(STAMP)  ## Reference pages, manual pages and the starting configuration, made anew from the code.
	$(BIN)/python -m tests.docs --write

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

# torch goes first: whatever depends on it must find it there, or pip would choose a build of its own.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[ai,test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
