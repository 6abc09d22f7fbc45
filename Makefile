ifneq ($(words $(CURDIR)) $(words x$(SWATH_HOME)),1 1)
$(error make knows no paths with spaces: move the checkout, or set SWATH_HOME, to one without)
endif
# Everything that is made lies below var/, the environment included.
VAR := $(abspath $(or $(SWATH_HOME),var))
VENV := $(VAR)/venv
PYTHON ?= python3
export SWATH_HOME := $(VAR)
export PYTHONPYCACHEPREFIX := $(VAR)/pycache
# Some images forbid bytecode; without it each of a run's many processes compiles Airflow and torch anew.
export PYTHONDONTWRITEBYTECODE :=
export HYPOTHESIS_STORAGE_DIRECTORY := $(VAR)/cache/hypothesis
SWATH := $(VENV)/bin/swath

.PHONY: install run drift-demo up down doctor test cluster-test faults lint bench pictures lock secrets

install: $(VENV)/.ready  ## the environment and no more

run: $(VENV)/.ready  ## the whole chain on the sample region, or on CONFIG=examples/NAME.yaml
	@$(SWATH) run $(if $(CONFIG),--config $(CONFIG))

drift-demo: $(VENV)/.ready  ## changed scenes arrive, drift is flagged, labels are pushed, the next champion recovers
	@$(SWATH) drift-demo

up: $(VENV)/.ready  ## Airflow and MLflow stay up
	@$(SWATH) up

down:  ## stop them
	@test ! -x $(SWATH) || $(SWATH) down

doctor: $(VENV)/.ready  ## is this installation fit to run, and what to do if not
	@$(SWATH) doctor

PYTEST := AIRFLOW_HOME=$(VAR)/cache/airflow $(VENV)/bin/python -m pytest -o cache_dir=$(VAR)/cache/pytest

test: $(VENV)/.ready  ## all tests but the cluster's, slow ones included; TESTS="-k word" chooses
ifdef TESTS
	$(PYTEST) $(TESTS)
else
	# a thread a process, or the processes of both workers fight for the cores; and a worker that dies ends the run,
	# since xdist may wait for ever for the tests of one that it has replaced
	OMP_NUM_THREADS=1 $(PYTEST) --numprocesses auto --dist loadfile --max-worker-restart 0 -m "not e2e" --durations 15
	$(PYTEST) -m e2e --durations 10
endif

cluster-test: $(VENV)/.ready  ## docker-compose.yml without Docker, on Linux, as root; OUTAGES=1 kills each service once
	tests/cluster/run $(VENV)/bin/python -o cache_dir=$(VAR)/cache/pytest -s

faults: $(VENV)/.ready  ## kill tasks, services and disks by the hundred and compare; FAULTS="--seed 1 --kills 50" chooses
	@PYTHONPATH=. $(VENV)/bin/python -m tests.faults $(FAULTS)

lint: $(VENV)/.ready  ## style, types and import contracts
	$(VENV)/bin/ruff check --cache-dir $(VAR)/cache/ruff .
	$(VENV)/bin/ruff format --check --cache-dir $(VAR)/cache/ruff .
	$(VENV)/bin/mypy --cache-dir $(VAR)/cache/mypy
	$(VENV)/bin/lint-imports --cache-dir $(VAR)/cache/import-linter

bench: $(VENV)/.ready  ## every figure of speed; peers run where `python -m benchmarks.inference --install` was run
	@for file in benchmarks/*.py; do echo "== $$file"; \
		PYTHONPATH=. $(VENV)/bin/python -m benchmarks.$$(basename $$file .py) || exit 1; done

pictures: $(VENV)/.ready  ## of the README, from the newest run; with CONFIG those of an example
	@PYTHONPATH=. $(VENV)/bin/python docs/$(if $(CONFIG),places.py $(CONFIG),pictures.py)

secrets: .env  ## random secrets for docker-compose.yml in .env, which is left alone if it is there

.env:
	@umask 077; sh docker/secrets > $@ || { rm $@; exit 1; }
	@chmod a+r docker/*  # containers read those that are mounted as users of their own
	@echo "Secrets are made in .env; set SWATH_GIT_REMOTE there."

lock: $(VENV)/.ready  ## pin anew what pyproject.toml asks for
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header \
		--no-emit-index-url --upgrade pyproject.toml -o requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo "Swath needs Python 3.11 or 3.12; name one with PYTHON=python3.11"; exit 1; }
	@echo "The environment is made in $(VENV) (about 7 GB, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check uv
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -r requirements.lock
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@touch $@
