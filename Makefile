# Timmy DVM. `make` alone prints what there is.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# Each candidate is run, not only found: a version-manager shim can exist and fail,
# and Debian without python3-venv has no ensurepip.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
  $$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
PIP = .venv/bin/python -m pip --disable-pip-version-check --no-input --quiet install --no-deps --no-compile
# tlv8 (through pynostr) is the one package without wheels: it is built apart, by the locked setuptools.
WHEELS = awk '/^[a-z]/ {sdist = /^tlv8==/} !sdist'
SDISTS = awk '/^[a-z]/ {sdist = /^tlv8==/} sdist'

.PHONY: help
help:
	@echo 'make setup      make .venv from requirements.lock (every other target does this first)'
	@echo 'make demo       one whole job in one process: ask, price, pay, result, change; no keys, no network'
	@echo 'make run        the bot, with embedded defaults'
	@echo 'make test       everything the project checks about itself; what .ci/run calls'
	@echo 'make test-fast  the tests that need no outside program'
	@echo 'make test-long  the searches that take minutes: a thousand lives of a Timmy, 5,000 made-up requests'
	@echo 'make check      format, lint, types, import contracts'
	@echo 'make bench      the figures, as ratios taken in one run'
	@echo 'make lock       resolve the dependencies again (UP=--upgrade for new versions)'
	@echo 'PYTHON=python3.12 chooses the interpreter (3.11 to 3.13)'

.PHONY: setup
setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Timmy needs Python 3.11, 3.12 or 3.13 with venv (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	@$(WHEELS) requirements.lock > .venv/wheels.lock
	@$(SDISTS) requirements.lock > .venv/sdists.lock
	$(PIP) --require-hashes --only-binary :all: -r .venv/wheels.lock
	$(PIP) --require-hashes --use-pep517 --no-build-isolation -r .venv/sdists.lock
	$(PIP) --no-build-isolation -e .
	@touch $@

.venv/ready-dev: .venv/ready tests/requirements.lock
	@$(WHEELS) tests/requirements.lock > .venv/dev.lock
	$(PIP) --require-hashes --only-binary :all: -r .venv/dev.lock
	@touch $@

.PHONY: run demo
run: .venv/ready
	.venv/bin/timmy run
demo: .venv/ready
	@.venv/bin/timmy demo

# Outside programs the tests talk to: a real LNbits, customers and a relay from npm, and a browser.
include tests/lnbits.mk
include tests/peers.mk
include tests/browser.mk
# `venv --clear` would take the stamp away again.
.venv/ready-peers .venv/ready-browser: | .venv/ready

.PHONY: check test test-fast test-long bench
check: .venv/ready-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
test: check .venv-lnbits/ready .venv/ready-peers .venv/ready-browser
	rm -f .coverage .coverage.*
	.venv/bin/coverage run -m pytest -n 3 --dist loadgroup $(PYTEST)
	.venv/bin/coverage combine -q
	.venv/bin/coverage report
	.venv/bin/coverage report --include 'timmy_dvm/core/*,ledger/*,lightning/bolt11.py,relay_client/event.py' --fail-under 100
test-fast: .venv/ready-dev
	.venv/bin/python -m pytest -m 'not peer and not crash' $(PYTEST)
test-long: .venv/ready-dev
	TIMMY_LONG=1 .venv/bin/python -m pytest -n 2 tests/money $(PYTEST)
	.venv/bin/python -m tests.timmy_dvm.http.fuzzed 5000
bench: .venv/ready-dev
	.venv/bin/python -m tests.bench

.PHONY: lock
LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: .venv/ready-dev lock-lnbits lock-peers
	$(LOCK) $(UP) --group build pyproject.toml -o requirements.lock
	$(LOCK) $(UP) --group build --group dev -c requirements.lock pyproject.toml -o tests/requirements.lock
	@! grep -nE '://|^ *-[-a-z]+[ =][^s]' requirements.lock tests/requirements.lock
