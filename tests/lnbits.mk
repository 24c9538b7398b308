# A real LNbits for the tests, in an environment of its own: it wants Python 3.10 to 3.12 and pins of its own.
# Without such a Python nothing is made, and the tests that need LNbits skip, saying so.
LNBITS_PYTHON ?= $(shell for p in python3.12 python3.11 python3.10 python3 python; do \
  $$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
LNBITS_PIP = .venv-lnbits/bin/python -m pip --disable-pip-version-check --no-input --quiet install --no-deps --no-compile
# The packages without wheels are built apart, by the locked setuptools.
LNBITS_SDISTS = /^(embit|http-ece|pyqrcode|tlv8)==/

define BUILD_LNBITS
$(LNBITS_PYTHON) -m venv --clear .venv-lnbits
@awk '/^[a-z]/ {sdist = $(LNBITS_SDISTS)} !sdist' tests/lnbits.lock > .venv-lnbits/wheels.lock
@awk '/^[a-z]/ {sdist = $(LNBITS_SDISTS)} sdist' tests/lnbits.lock > .venv-lnbits/sdists.lock
$(LNBITS_PIP) --require-hashes --only-binary :all: -r .venv-lnbits/wheels.lock
$(LNBITS_PIP) --require-hashes --use-pep517 --no-build-isolation -r .venv-lnbits/sdists.lock
.venv-lnbits/bin/python -c 'import bolt11, lnbits.settings'
@touch $@
endef

.venv-lnbits/ready: tests/lnbits.lock
	$(if $(LNBITS_PYTHON),$(BUILD_LNBITS),@echo "no Python 3.10 to 3.12 with venv here: the tests against a real LNbits will skip" >&2)

.PHONY: lock-lnbits
lock-lnbits: .venv/ready-dev
	.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate $(UP) \
	  tests/lnbits.in -o tests/lnbits.lock
	@! grep -nE '://|^ *-[-a-z]+[ =][^s]' tests/lnbits.lock
