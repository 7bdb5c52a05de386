# Each target is one command; `make help` lists them. The scripts are in infra/dev/.
#
# demo, test, lint and bench share one build of the dependencies: one profile, one target folder, and always the whole
# workspace, so that features unify alike (infra/dev/env says how).

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-kernel chaos soak lint bench bench-peers bench-agent completeness benign-hour model

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/amoskys
export CARGO_TARGET_DIR ?= $(CACHE)/target

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building, testing and training need (a second run needs no network)
	@infra/dev/setup all

build: ## build the binary, amoskys
	@infra/dev/setup build && infra/dev/build

demo: ## show the main job: a real event on this host becomes a scored alert (ARGS="--seconds 30")
	@infra/dev/setup demo && infra/dev/build && infra/dev/run demo $(ARGS)

test: ## run all tests, with a real Kafka and NATS server (ARGS="--test config" for some)
	@infra/dev/setup test && infra/dev/test $(ARGS)

test-kernel: ## the tests of the kernel's programs, on Debian's kernel in an emulated machine (ARGS="kernel")
	@infra/dev/setup test && bash -c ". infra/dev/env && infra/dev/kernel/run $(ARGS)"

chaos: ## kill, stop, cut off, fill up and damage for long (ARGS="--kills 1000 --seed 7 --only kafka")
	@infra/dev/setup test && infra/dev/chaos $(ARGS)

soak: ## random views over random streams, for long (ARGS="--minutes 60 --seed 7")
	@infra/dev/setup test && infra/dev/soak $(ARGS)

lint: ## rustfmt, clippy with -D warnings, the project's own lints
	@infra/dev/setup build && infra/dev/lint

bench: ## run the benchmarks of docs/benchmarks.md
	@infra/dev/setup test && infra/dev/bench $(ARGS)

bench-peers: ## Amoskys beside Apache Flink on the same topics, and DuckDB on files (ARGS="--events 24 --format json")
	@infra/dev/setup test && infra/bench-peers/run $(ARGS)

bench-agent: ## what seeing system calls costs, beside auditd and bpftrace, as root (ARGS="--seconds 5 --format json")
	@infra/dev/setup build && infra/bench-agent/run $(ARGS)

completeness: ## that nothing is lost unseen, from the kernel to the broker, for long, as root (ARGS="--minutes 60")
	@infra/dev/setup build && infra/completeness/run $(ARGS)

benign-hour: ## record a host at benign work for the noise budget, as root (ARGS="--minutes 3 --output FOLDER")
	@infra/dev/setup model && infra/dev/build && infra/benign-hour/record $(ARGS)

model: ## record telemetry of this host, train, evaluate and export the model anew
	@infra/dev/setup model && infra/dev/build && training/model $(ARGS)
