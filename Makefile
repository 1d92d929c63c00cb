# The verbs of this project. `make help` lists them; .ci/run calls the same ones.

PYTHON ?= python3
DEMO_OUTPUT ?= demo-output
# Named here so that the executable is where the recipes look for it, whatever a user's cargo configuration says.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PYTHON

CARGO_TEST = cargo test --locked --no-fail-fast
LINT_TOOLS = $(CARGO_TARGET_DIR)/lint-tools/bin
WORKFLOW_TOOLS = $(CARGO_TARGET_DIR)/workflow-tools/bin

.PHONY: help setup build dist image demo test test-light engines test-workflows fmt lint lint-tools docs bench clean

help: ## This list
	@echo "make demo and make test set up everything they need. Both are safe to repeat."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: ## Get libtorch 2.11.0 into vendor/libtorch and the Rust crates into ~/.cargo
	@sh scripts/setup.sh

build: setup ## Release build: target/release/virnucpro
	@sh scripts/announce.sh release
	cargo build --locked --release

dist: build ## Release archive that runs from any folder, with its checksum: target/dist/
	$(PYTHON) scripts/dist

# IMAGE_ARGS="--build-arg GPU=no" for a small image without what a GPU takes; see docs/packages.md.
image: dist ## Image for Apptainer or Singularity, for CPUs and GPUs: target/dist/virnucpro_VERSION.sif
	sh scripts/image/build.sh $(IMAGE_ARGS)

demo: build ## Set-up, release build, and the whole pipeline on examples/demo.fa
	@echo
	@echo "virnucpro run examples/demo.fa: 13 artificial sequences, the embedded model"
	@echo
	$(CARGO_TARGET_DIR)/release/virnucpro run examples/demo.fa --no-resume --overwrite -o $(DEMO_OUTPUT)
	@echo
	@echo "This was a demonstration on artificial sequences. README.md goes on from here: A tour in five minutes."

test: setup ## Set-up and all tests
	@sh scripts/announce.sh debug
	$(CARGO_TEST)
	$(PYTHON) -m unittest discover --start-directory tests/training

test-light: ## Build and test without libtorch (for work on everything but the encoders)
	cargo build --locked --no-default-features
	cargo test-light --no-fail-fast

engines: ## Install what make test-workflows tests with, as far as this machine allows
	@for script in scripts/engines/*.sh; do sh "$$script"; done

test-workflows: build $(WORKFLOW_TOOLS)/.installed ## Test the workflows with the engines that this machine has
	PATH="$(WORKFLOW_TOOLS):$$PATH" $(WORKFLOW_TOOLS)/pytest tests/workflows -rs

fmt: ## Format the sources
	cargo fmt

lint: setup lint-tools ## Check the format, run Clippy, shellcheck and ruff, warnings denied; cargo-deny where it is installed
	cargo fmt --check
	cargo lint
	$(LINT_TOOLS)/shellcheck scripts/*.sh scripts/*/*.sh conda/recipe/*.sh benches/compare/*.sh training/*.sh .ci/run
	$(LINT_TOOLS)/ruff check .
	$(LINT_TOOLS)/ruff format --check .
	$(PYTHON) scripts/msrv.py
	@if command -v cargo-deny >/dev/null; then cargo deny check; \
	else echo "cargo-deny is not installed: licences and advisories are not checked (cargo install cargo-deny)"; fi

# A virtual environment in the target folder, made anew when the versions change.
lint-tools: $(LINT_TOOLS)/.installed

$(LINT_TOOLS)/.installed: scripts/lint-requirements.txt
	$(PYTHON) -m venv --clear $(dir $@)..
	$(LINT_TOOLS)/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(WORKFLOW_TOOLS)/.installed: tests/workflows/requirements.txt
	$(PYTHON) -m venv --clear $(dir $@)..
	$(WORKFLOW_TOOLS)/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

docs: setup ## Documentation of the library, warnings denied: target/doc/virnucpro
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps

bench: setup ## Micro-benchmarks
	cargo bench --locked

clean: ## Remove target/ and the demo's output; vendor/libtorch stays
	cargo clean
	rm -rf $(DEMO_OUTPUT)
