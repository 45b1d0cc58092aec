# Everything runs in a virtual environment made here; a stamp file makes the second call instant.
# The torch build is pip's choice: see "Installing" in the README for the CPU one on Linux.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STRICT := src/prunecert/types.py src/prunecert/inversions.py src/prunecert/bounds \
	src/prunecert/coding src/prunecert/certificate

.PHONY: demo test test-slow test-ui check mutants verify-certificates clean

demo: $(STAMP)
	$(BIN)/prunecert demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow and not ui"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

test-ui: $(STAMP)
	$(BIN)/python -m pytest -m ui

verify-certificates: $(STAMP)
	$(BIN)/python certificates/verify.py

mutants: $(STAMP)
	$(BIN)/python tests/mutants.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(STRICT)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[hf,ray,study,dev]'
	touch $@

clean:
	rm -rf $(VENV) build runs
