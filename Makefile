# What a person does twice. `make demo` and `make test` install what is missing.
SHELL := /bin/bash
TOOLS := target/tools
export CARGO_TERM_PROGRESS_WHEN ?= never
# The tests on real things wait more than they work.
export RUST_TEST_THREADS ?= 3

.PHONY: help setup build release dist dist-twice dist-check demo test lint lint-fuzz fmt unit package-test ami-check fresh-host cloud-init engine-test test-crash test-engines docs deny golden bench fuzz bundle clean tutorial pictures docs-look

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## Install Debian packages and test servers that are missing
	@packaging/dev/setup --tests

build: ## Build for development
	@cargo build

release: ## Build as it is shipped
	@cargo build --release

dist: ## Static programs for x86_64 and aarch64, with deb, rpm and tar.gz, in target/dist; ARCH=aarch64: only that
	@packaging/dist $(ARCH)

dist-twice: ## Build the packages in two folders and compare every byte (as long as `make dist`, twice)
	@packaging/dev/dist-twice $(ARCH)

dist-check: ## Run what `make dist` built, another processor's program under qemu: check, plan, and the demo's deployments
	@packaging/dev/dist-check $(ARCH)

MODE ?= container

demo: ## Deploy a real bundle into a real engine and show the result; MODE=compose or MODE=swarm; PROGRAM=FILE is built already
	@packaging/dev/setup --demo $(MODE)
	@program=$$(packaging/dev/demo-program "$(PROGRAM)") && if [ "$(MODE)" = swarm ]; then \
		packaging/dev/demo-swarm "$$program"; else packaging/dev/demo "$$program" $(MODE); fi

# Tests that another engine makes no other: what they look at is around it. `make test-engines` runs them all the same.
ONCE := recipes:: iam:: doctor:: docs_commands:: history:: policy:: hangs:: tutorial:: journal:: screen:: commands:: faults:: at_every_step values:: endpoint:: ecr:: leaks:: notify::

test: ## Format, clippy, every test, docs, licences
	@packaging/dev/test $(ONCE)

lint: ## Format, clippy, and the recipes for CI
	@packaging/dev/lint-recipes
	@cargo fmt --check
	@cargo clippy --quiet --all-targets -- -D warnings

lint-fuzz: ## Clippy on the fuzz targets, which need a C++ compiler
	@cargo clippy --quiet --manifest-path tests/fuzz/Cargo.toml --target-dir target --bins -- -D warnings

fmt: ## Format
	@cargo fmt

unit: ## The tests that need no engine, after make setup
	@cargo test --lib --test plans --test layers --test shim --test cli --test docs --test revisions

package-test: setup ## What the packages do to a host
	@cargo test --test packages

ami-check: ## The AMI recipe and the user data, as far as they can be checked without AWS
	@packaging/dev/ami-check

fresh-host: ## From the package to the first deployment on clean hosts, Debian 12 and Amazon-like, timed; the packages on their roots
	@packaging/dev/setup --hosts
	@packaging/dev/fresh-host first debian
	@packaging/dev/fresh-host first amazon
	@BALEHOOK_ROOT=$(CURDIR)/target/tools/debian-12 cargo test --quiet --test packages -- a_deb without_a
	@BALEHOOK_ROOT=$(CURDIR)/target/tools/amazon-like cargo test --quiet --test packages -- an_rpm

cloud-init: ## The user data makes a host and deploys: by cloud-init on Debian 12, its script on an Amazon-like system
	@packaging/dev/setup --hosts
	@packaging/dev/fresh-host cloud debian
	@packaging/dev/fresh-host cloud amazon

engine-test: setup ## The tests on real things; BALEHOOK_ENGINE=26.1, 28.5 or 28.5-containerd names another engine
	@cargo test --test it

CRASH ?= all
HOSTS ?= 3

test-crash: setup ## The kill matrix as a table: every action of every plan is struck (an hour; CRASH=over/7/ or SIGTERM: only those cells)
	@BALEHOOK_CRASH='$(CRASH)' BALEHOOK_CRASH_HOSTS=$(HOSTS) cargo test --test it kill_matrix -- --nocapture --test-threads 1

test-engines: ## The tests on real things, on all four engines
	@packaging/dev/setup --tests --all
	@set -e; for engine in 20.10 26.1 28.5 28.5-containerd; do \
		echo "make: Docker $$engine"; BALEHOOK_ENGINE=$$engine cargo test --test it; done

docs: ## Build the book (target/book) and the crate's documentation
	@packaging/dev/setup --docs
	@docs/pictures/draw --check
	@MDBOOK_LOG=warn target/tools/venv/bin/mdbook build docs
	@docs/links target/book
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --quiet --no-deps --document-private-items

tutorial: setup ## Run the quick start in order on a clean engine, and compare what it shows with what was printed
	@cargo test --test it quick_start

pictures: ## Record the book's terminals from the real program, and draw all its pictures; read the difference
	@packaging/dev/setup --tests
	@BALEHOOK_GOLDEN=1 cargo test --test docs --test it golden
	@docs/pictures/demo
	@docs/pictures/draw

docs-look: docs ## Look at the book in a browser, and at the page of `history --html`, at three widths, light and dark; screenshots in target/docs-look
	@packaging/dev/setup --look
	@docs/look target/book target/docs-look
	@docs/look tests/golden/deployment.html target/docs-look

deny: ## Licences, bans and sources of all dependencies; advisories where their database can be fetched
	@packaging/dev/deny

golden: ## Write the golden files anew; read the difference before you commit it
	@BALEHOOK_GOLDEN=1 cargo test --lib --test plans --test docs --test revisions golden

bench: ## Start-up, memory, images, Compose, swarm and handing a port over: side by side with other tools
	@packaging/dev/setup --tests --all
	@cargo build --quiet --release
	@benches/run target/release/balehook
	@benches/images target/release/balehook
	@benches/compose target/release/balehook
	@benches/swarm target/release/balehook
	@benches/values target/release/balehook
	@benches/handover target/release/balehook

fuzz: ## Fuzz what reads archives, 60 s each, or SECONDS_EACH=3600
	@packaging/dev/fuzz $(SECONDS_EACH)

bundle: release ## Assemble a bundle to zip: appspec/$$MODE (container, compose or swarm) with the shim and the release binary, in target/bundle
	@rm -rf target/bundle && mkdir -p target/bundle/bin
	@cp -r appspec/$(MODE)/. target/bundle/
	@cp target/release/balehook target/bundle/bin/balehook
	@cp hooks/balehook target/bundle/hooks/balehook
	@echo "target/bundle: add your image as image.tar, or name it in appspec.yml"

clean: ## Remove what was built
	@cargo clean
