# Two commands do everything on a fresh machine: `make books` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: books classic test test-all check evidence bench docs clean

$(VENV)/.done: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

books: $(VENV)/.done  ## the main job: real data, train, compress, evaluate, report
	$(BIN)/recprune run examples/books.yaml

classic: $(VENV)/.done  ## trees, factors, sparse EASE and titles on the real books
	$(BIN)/recprune run examples/classic.yaml

test: $(VENV)/.done  ## the default tests, under ten minutes on two cores
	$(BIN)/python -m pytest

test-all: $(VENV)/.done  ## the slow ones too: the real data
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 1800

check: $(VENV)/.done  ## style, types, imports, examples in the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --doctest-modules src/recprune -p no:cacheprovider
	$(BIN)/python -m pytest tests/test_docs.py

evidence: $(VENV)/.done  ## all methods, models and peers; a night on two cores, resumes where it was
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps faiss-cpu==1.15.1 torchao==0.18.0
	$(BIN)/python benchmarks/books.py
	$(BIN)/python benchmarks/importance.py
	$(BIN)/python benchmarks/frontier.py
	$(BIN)/python benchmarks/classical.py
	$(BIN)/python benchmarks/write_docs.py

bench: $(VENV)/.done  ## speed, side by side in one run
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/trust.py

docs: $(VENV)/.done  ## docs/benchmarks.md from benchmarks/results
	$(BIN)/python benchmarks/write_docs.py

clean:
	rm -rf $(VENV) runs
