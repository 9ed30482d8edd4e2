# The two commands of the README: make quickstart, make test. They need Python 3.11 to 3.13 and nothing else.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c "$(SUPPORTED)" 2>/dev/null && echo $(p))))
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-slow lint docs bench clean

# Search, adversarial training, attack and export on real digits; results in runs/quickstart.
quickstart: $(VENV)/installed
	$(BIN)/racl-quickstart --workdir=runs/quickstart

# Everything that is tested in seconds.
test: $(VENV)/testable
	$(BIN)/python -m pytest -n 2 --dist loadfile -q -m "not slow"

# Whole programs, benchmarks, trainings: what takes minutes.
test-slow: $(VENV)/testable
	$(BIN)/python -m pytest -n 2 --dist loadfile -q -m slow

lint: $(VENV)/testable
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Whether anything became slower than the ratios in benchmarks/kept.json, in ten minutes or so on a machine at rest.
bench: $(VENV)/testable
	$(BIN)/python -m benchmarks.watch

# The pages of docs/ with the API reference; a broken link or a missing name is an error.
docs: $(VENV)/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/installed: setup.py
	@test -n "$(PYTHON)" || { echo "racl_tf needs Python 3.11, 3.12 or 3.13; found none. Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip
	$(BIN)/pip install -qq --editable .
	@touch $@

$(VENV)/testable: $(VENV)/installed
	$(BIN)/pip install -qq --editable '.[test]'
	@touch $@

$(VENV)/documented: $(VENV)/installed
	$(BIN)/pip install -qq --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
