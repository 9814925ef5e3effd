# `make demo` and `make test` are all that a new machine needs; each makes .venv and installs what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PYTHONSAFEPATH = 1

.PHONY: demo test check bench chaos clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/gaialake demo

test: $(VENV)/installed
	$(BIN)/pytest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python tests/bench/run.py

chaos: $(VENV)/installed
	$(BIN)/python tests/chaos.py --seeds 20

clean:
	rm -rf $(VENV) build *.egg-info
