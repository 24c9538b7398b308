# Programs of others that the tests meet: an npm relay, and customers on nostr-tools and on NDK. Nothing is compiled.
# NDK stays at 2.14.38: from 2.15 on it brings a code sandbox and a syntax highlighter that it never loads, 90 MB in
# all; its classes for NIP-90 are the same in 3.0.3.
.venv/ready-peers: tests/peers/package.json tests/peers/package-lock.json
	@if ! { node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' && npm --version; } >/dev/null 2>&1; then \
	  if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	    apt-get install -y --no-install-recommends nodejs npm || { apt-get update && apt-get install -y --no-install-recommends nodejs npm; }; \
	  else \
	    echo "the tests against others' programs need node 18 or later with npm (Debian, Ubuntu: sudo apt install nodejs npm); then run this again" >&2; exit 2; \
	  fi; \
	fi
	npm ci --prefix tests/peers --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@mkdir -p .venv
	@touch $@

.PHONY: lock-peers
lock-peers:
	npm install --prefix tests/peers --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund
	@node tests/peers/without_hosts.mjs
	@! grep -nE '://|"resolved"' tests/peers/package-lock.json
