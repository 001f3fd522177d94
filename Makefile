# `make demo`: a talking video from the embedded example. `make test`: ruff, mypy and pytest.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXAMPLE = moditalker/assets/example
PIP_FLAGS ?= --disable-pip-version-check --quiet

.PHONY: demo test clean

demo: $(VENV)/.installed
	$(BIN)/moditalker generate --audio $(EXAMPLE)/sentence.flac --video $(EXAMPLE)/astronaut.mp4 --out demo.mp4
	@echo "The video is at $(CURDIR)/demo.mp4"

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed; name one: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || $(PYTHON) -m virtualenv $(VENV) || \
	  { echo "No venv module here: apt install python3-venv, or pip install virtualenv"; exit 2; }

$(VENV)/.installed: $(BIN)/python setup.cfg constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python setup.cfg constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo.mp4 build *.egg-info
