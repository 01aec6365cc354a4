# The two commands of a fresh machine are `make run` and `make test`. Both bring up the servers that they need.

SHELL := /bin/bash
SCRIPT := deploy/local/stack
# Whose servers all of these start and use: a name of deploy/local/stacks, or nothing.
STACK ?=
export ANALYTICS_STACK := $(or $(STACK),$(ANALYTICS_STACK))
# `make bench`, `make bench-micro`, `make bench-reads`, `make soak` and `make growth` pass these on.
ARGS ?=
# How much larger the faults of `make soak` are than those of `make test`.
ANALYTICS_TEST_SCALE ?= 10
# Which of them: a part of the tests' names.
FAULTS ?= fault_
# What `make load` does.
PROFILE ?= smoke

.PHONY: help run image image-run test lint bench bench-micro bench-reads soak load growth scan scan-image stack stack-down tools test-tools released

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: tools stack ## run the service on the trace, show the totals, serve until Ctrl-C
	@deploy/local/run

image: ## build the container image: with Docker, or as root on Debian with buildah
	@deploy/image/build

image-run: tools image stack ## `make run` out of the image: as user 65532, on a read-only root file system
	@deploy/image/run

test: tools test-tools lint released stack ## formatting, clippy, unit, integration and fault tests against the real servers; on others with STACK=NAME
	cargo test --locked

lint: tools ## formatting and clippy, warnings as errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

bench: tools stack ## ingest, latency and exports beside the limits of the servers, in rounds; ARGS="--help" says what it takes
	cargo bench --locked --bench ingest -- $(ARGS)

bench-reads: tools stack ## dashboards' queries alone, at 200 a second and beside a busy core, with pgbench beside them
	cargo bench --locked --bench reads -- $(ARGS)

bench-micro: tools ## decoding a chunk and an event, the dedupe filter, histograms, rows: each step of an event on one core, no server
	cargo bench --locked --bench micro -- $(ARGS)

# One test at a time and optimised: what is measured is what runs.
soak: tools test-tools released stack ## the fault tests at ten times the size of `make test`, or ANALYTICS_TEST_SCALE; with their figures
	ANALYTICS_TEST_SCALE=$(ANALYTICS_TEST_SCALE) cargo test --locked --release --test it $(FAULTS) -- --test-threads 1 --nocapture $(ARGS)

load: tools stack ## a load profile, with its thresholds and report: PROFILE=smoke, steady, burst, soak or read; see load-tests/README.md
	load-tests/run $(PROFILE)

growth: tools stack ## storage, ingest, rebuilding and queries with 10, 30 and 100 million raw events, or ARGS="1 2"; hours, 40 GB
	load-tests/growth $(ARGS)

scan: test-tools ## secrets, configuration, workflows, dependencies: what CI looks for; each tool that is missing is named
	@.ci/scan

scan-image: test-tools ## secrets and vulnerabilities in the image of `make image`, and its SBOM
	@.ci/scan-image

stack: ## start RabbitMQ, PostgreSQL with TimescaleDB and Redis on ports of the project's own; STACK=NAME: see deploy/local/README.md
	@$(SCRIPT) up

stack-down: ## stop what `make stack` started; its data is kept
	@$(SCRIPT) down

tools:
	@deploy/local/tools

test-tools:
	@deploy/local/test-tools

released: tools ## build the last release, for the test that upgrades from it
	@deploy/local/released
