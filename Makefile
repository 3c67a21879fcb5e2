# One door: every target works on a machine that has python3 (>= 3.11, with venv), make and git, in an empty environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
# Never another interpreter than the one asked for; the certificates this machine trusts; this environment and no other.
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := 1
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
.DEFAULT_GOAL := help

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { echo "syncd needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv); $(PYTHON) is not that: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x .uv/bin/uv || { $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.11,<1'; }
	@.uv/bin/uv sync --quiet --frozen --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $(STAMP)

.PHONY: help demo test long service-test deb sim mutants fuzz docs check coverage fmt bench latency clean env
help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?(.*)/  \1\t\2/' | expand -t 12

env: $(STAMP)  ## build the locked environment in .venv (PYTHON=… chooses the interpreter)

demo: $(STAMP)  ## four emulators, one mirror, converged (STAY=1 keeps everything up)
	@$(BIN)/syncd demo $(if $(STAY),--stay)

test: $(STAMP)  ## the test suite, on SQLite and Postgres (ARGS='-k word' for a part)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m 'not long and not service' $(ARGS)

long: $(STAMP)  ## what goes further where a shorter test of the suite already stands (marked `long`)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m long $(ARGS)

service-test: $(STAMP)  ## the package, installed and run by this machine's own systemd in a private machine (needs root)
	@$(BIN)/python -m pytest -m service tests/service $(ARGS)

deb: $(STAMP)  ## the Debian package, in dist/
	@$(BIN)/python deploy/debian/build.py

sim: $(STAMP)  ## the whole system in simulated histories, and what was found (SEEDS=… ROUNDS=… JOBS=… SEED=…)
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --rounds $(or $(ROUNDS),150) --jobs $(or $(JOBS),2) --seed $(or $(SEED),0)

mutants: $(STAMP)  ## bugs planted in a copy of the package, each of which a named test must catch (ARGS='-k word')
	@$(BIN)/python -m tests.mutants $(ARGS)

fuzz: $(STAMP)  ## schemathesis against the receiver, by its description (CASES=… SEED=…)
	@$(BIN)/python -m tests.receiver.fuzz --cases $(or $(CASES),10000) --seed $(or $(SEED),0)

docs: $(STAMP)  ## the table of what the providers' documents name, and the example configuration, made anew
	@$(BIN)/python -m tests.endpoints
	@$(BIN)/python -m tests.example

check: $(STAMP)  ## format, lint, types, import directions, the systemd unit
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@command -v systemd-analyze >/dev/null || { echo 'systemd unit: not checked, there is no systemd-analyze here'; exit 0; }; \
	unit=$$(mktemp -d) && trap 'rm -r "$$unit"' EXIT && \
	sed 's|^ExecStart=/opt/syncd/bin/syncd|ExecStart=/bin/true|' deploy/systemd/syncd.service >"$$unit/syncd.service" && \
	systemd-analyze verify --recursive-errors=no "$$unit/syncd.service" && \
	systemd-analyze security --offline=true --threshold=12 "$$unit/syncd.service" >/dev/null && \
	echo 'systemd unit: verified, exposure at most 1.2'

coverage: $(STAMP)  ## every branch of the pure core is met by its own tests, or this fails
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup tests/domain tests/reconcile --cov=syncd/domain --cov=syncd/reconcile \
	  --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

fmt: $(STAMP)  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## 100,000 contacts three ways, beside a hand-written limit (ARGS=--postgres)
	@$(BIN)/python bench/run.py $(ARGS)

latency: $(STAMP)  ## how fast a no travels, with all providers up and with one down (ARGS='--events 100')
	@$(BIN)/python bench/latency.py $(ARGS)

clean:  ## remove the environments, the caches, and what demo and bench left
	rm -rf $(VENV) .uv demo dist bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
