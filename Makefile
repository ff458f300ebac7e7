# make demo | test | test-slow | bench: each sets up .venv first and needs nothing but Python 3.11.

PYTHON311 ?= python3.11
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: install demo test lint test-pipelines test-models test-slow bench clean

install: $(INSTALLED)

$(INSTALLED): setup.py constraints.txt
	$(PYTHON311) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev,corpus,tpu-compile]'
	touch $@

demo: $(INSTALLED)
	$(PYTHON) -m mmstack demo --work_dir=runs/demo

test: $(INSTALLED) lint
	$(MAKE) --no-print-directory -j2 test-pipelines test-models

lint: $(INSTALLED)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# Two processes, one per core and about equally long: TensorFlow is imported once in each. A line a
# test file, with the process's name and how far it is.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
WITH_PIPELINES := $(addprefix tests/trainers/,data evaluation optimization planning study tasks)
test-pipelines: $(INSTALLED)
	$(PYTHON) -u -m pytest tests/beam_pipelines tests/repository tests/export $(WITH_PIPELINES) \
		| sed -u 's/^/pipelines  /'

test-models: $(INSTALLED)
	$(PYTHON) -u -m pytest tests/mm_models tests/proof tests/trainers $(WITH_PIPELINES:%=--ignore=%) \
		| sed -u 's/^/models     /'

test-slow: $(INSTALLED)
	$(PYTHON) -m pytest -m slow tests

bench: $(INSTALLED)
	$(PYTHON) -m benchmarks --output runs/benchmarks.json

clean:
	rm -rf $(VENV) runs build *.egg-info
