# One door: every target works on a machine that has python3 (>= 3.11, with venv), make and git.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := 1
export UV_PROJECT_ENVIRONMENT := $(VENV)
STAMP := $(VENV)/.locked
.DEFAULT_GOAL := help

$(STAMP): pyproject.toml uv.lock
	@test -x .uv/bin/uv || { $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.11,<1'; }
	@.uv/bin/uv sync --quiet --frozen --python $(PYTHON)
	@touch $(STAMP)

.PHONY: help demo test check fmt bench clean env
help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?(.*)/  \1\t\2/' | expand -t 12

env: $(STAMP)  ## build the locked environment in .venv

demo: $(STAMP)  ## four emulators, one mirror, converged (STAY=1 keeps everything up)
	@$(BIN)/syncd demo $(if $(STAY),--stay)

test: $(STAMP)  ## the whole test suite, on SQLite and Postgres
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(STAMP)  ## format, lint, types, import directions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(STAMP)  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## 100,000 contacts twice, beside a hand-written limit
	@$(BIN)/python bench/run.py

clean:  ## remove the environments and what demo and bench left
	rm -rf .venv .uv demo bench/out
