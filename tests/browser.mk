# A browser for the tests of the pages: Debian's Chromium, driven by the Playwright of tests/requirements.lock.
# It is the distribution's current one on purpose, signed by its archive: an old version soon can't be had any more, and
# what visitors have is not an old one either. CHROMIUM=/path names another.
BROWSER = "$$CHROMIUM" chromium-headless-shell chromium chromium-browser google-chrome
INSTALL_BROWSER = apt-get install -y --no-install-recommends chromium-headless-shell fonts-dejavu-core

.venv/ready-browser: tests/browser.mk
	@for program in $(BROWSER); do if command -v "$$program" >/dev/null; then exit 0; fi; done; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  $(INSTALL_BROWSER) || { apt-get update && $(INSTALL_BROWSER); }; \
	else \
	  echo "the tests of the pages need Chromium (Debian: sudo apt install chromium-headless-shell; or CHROMIUM=/path/of/yours); then run this again" >&2; exit 2; \
	fi
	@mkdir -p .venv
	@touch $@
