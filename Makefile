# `make` or `make help` says what there is.
PY := .build/venv/bin/python
SUITES := $(PY) tools/run_suites.py
DEMO_ARGS ?=
BENCH_ARGS ?=
CHAOS_ARGS ?=
SIM_ARGS ?=
FUZZ_ARGS ?=

.DEFAULT_GOAL := help
FRESH_ARGS ?=
.PHONY: help bootstrap demo test wheel fresh fresh-debian-13 unit dev asan tsan python chart sim model fuzz conformance \
        integration hazards differential monitoring chaos lint format clean bench bench-dispatch bench-tasks bench-locks \
        bench-config

help: ## this text
	@echo 'ZkExecutor: an Apache Airflow executor on ZooKeeper.'
	@echo 'On Debian 12 and 13 every target installs what it lacks (as root) and builds what has changed.'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Examples:'
	@echo '  make demo                            Airflow, ZooKeeper and a worker; stays up, Ctrl-C ends it'
	@echo '  make demo DEMO_ARGS=--once           the same, ends by itself; exit code 0 if all succeeded'
	@echo '  make demo DEMO_ARGS=--help           what else the demo can do'
	@echo '  make bench-dispatch BENCH_ARGS=--help   what is measured, and how to measure parts of it'
	@echo '  make bench-tasks BENCH_ARGS=--help   the same for real tasks'
	@echo '  make sim SIM_ARGS="--seeds 100000"   more seeds; --help says how to replay one'
	@echo '  make fuzz FUZZ_ARGS="--seconds 3600" an hour for each fuzzer; --help says how to replay an input'
	@echo '  make chaos CHAOS_ARGS=--help         seed, length and number of dispatches'
	@echo
	@echo 'Everything that is made is in .build/; logs and JUnit files of tests in .build/results/.'

bootstrap: ## install and build what the tests need
	@tools/bootstrap.sh --test

demo: ## see it work: example DAGs on an embedded ZooKeeper
	@tools/bootstrap.sh --demo
	@exec $(PY) tools/demo.py $(DEMO_ARGS)

test: bootstrap ## all suites; a table and the totals at the end
	@$(SUITES)

wheel: ## dist/*.whl, which carries its C++ libraries
	@tools/bootstrap.sh --wheel
	@rm -f dist/zk_executor-*.whl
	@PATH=$(CURDIR)/.build/build-venv/bin:$$PATH auditwheel --verbose repair --wheel-dir dist .build/wheel/*.whl \
		> .build/auditwheel.log 2>&1 || { tail -n 20 .build/auditwheel.log; exit 1; }
	@ls -l dist/zk_executor-*.whl

fresh: ## from nothing, as a new user: demo, README's installation, the wheel, in a bare Debian 12
	@tools/fresh.sh $(FRESH_ARGS)

fresh-debian-13: ## the same in a bare Debian 13
	@tools/fresh.sh --suite trixie $(FRESH_ARGS)

unit: bootstrap ## the quick ones: C++ (plain build) and Python unit tests
	@$(SUITES) dev python

dev: bootstrap ## C++ tests, plain debug build
	@$(SUITES) dev

asan: bootstrap ## C++ tests with address and undefined-behaviour sanitizers
	@$(SUITES) asan

tsan: bootstrap ## C++ tests with the thread sanitizer
	@$(SUITES) tsan

python: bootstrap ## Python unit tests
	@$(SUITES) python

chart: bootstrap ## the Helm chart: every value, every refusal, the API server's schemas
	@$(SUITES) chart

model: bootstrap ## every order of events of a model of the protocol
	@$(SUITES) model

sim: bootstrap ## many simulated worlds, each from a seed
	@cmake --preset release >/dev/null && CCACHE_DIR=$(CURDIR)/.build/ccache \
		cmake --build --preset release --target zkexec_sim
	@exec .build/release/tests/zkexec_sim $(SIM_ARGS)

fuzz: bootstrap ## any bytes as what tasks and the API server say
	@cmake --preset fuzz >/dev/null && CCACHE_DIR=$(CURDIR)/.build/ccache cmake --build --preset fuzz
	@exec $(PY) tests/fuzz/run_fuzzers.py $(FUZZ_ARGS)

conformance: bootstrap ## tasks under our supervisor and under Airflow's: same requests, same logs
	@$(SUITES) conformance

monitoring: bootstrap ## Debian's Prometheus on real workers: data for every panel, faults for alerts
	@$(PY) -m pytest -p no:cacheprovider -v --tb=short tests/integration/test_monitoring.py

integration: bootstrap ## with ZooKeeper, PostgreSQL and Airflow
	@$(SUITES) integration

hazards: bootstrap ## DAG files that could tell that a task was forked
	@$(SUITES) hazards

differential: bootstrap ## all example DAGs three times: same states and logs as under LocalExecutor
	@$(SUITES) differential

bench: bench-dispatch bench-tasks bench-locks bench-config ## all benchmarks

bench-dispatch: ## no-op dispatches, latency, scale and recovery; the last line is JSON
	@tools/bootstrap.sh --bench >&2
	@$(PY) bench/bench_dispatch.py $(BENCH_ARGS)

bench-tasks: ## real tasks beside CeleryExecutor: CPU, starts, throughput, memory; the last line is JSON
	@tools/bootstrap.sh --bench >&2
	@.build/bench-airflow/bin/python bench/bench_tasks.py $(BENCH_ARGS)

bench-locks: ## what a lock costs; the last line is JSON
	@tools/bootstrap.sh --test >&2
	@$(PY) bench/bench_locks.py $(BENCH_ARGS)

bench-config: ## how fast a changed configuration reaches its watchers; the last line is JSON
	@tools/bootstrap.sh --test >&2
	@$(PY) bench/bench_config.py $(BENCH_ARGS)

chaos: bootstrap ## 20,000 dispatches while servers, workers and schedulers are killed and cut off
	@exec $(PY) tests/chaos/run_chaos.py $(CHAOS_ARGS)

lint: bootstrap ## style of C++, Python and shell
	@$(SUITES) lint

format: bootstrap ## reformat C++ and Python
	@$(PY) tools/lint.py --fix

clean: ## remove .build/
	rm -rf .build
