# Each target does its own set-up; e2e/setup installs what is missing (Debian, Ubuntu) or names it.
export PATH := $(PATH):$(HOME)/.cargo/bin
# One build for all programs: one by one, cargo would choose other features for shared dependencies each time.
RUN := cargo build --workspace --bins && SECURITYWATCH_BUILT=1 $${CARGO_TARGET_DIR:-target}/debug
.PHONY: demo demo-cluster cluster test e2e e2e-node bench golden guest fmt lint check

demo: ; @e2e/setup guests && $(RUN)/demo
# The operator on a real control plane: a story, a cluster for kubectl and helm (NODES=2: guests that run pods), and the tests
demo-cluster: ; @e2e/setup node && $(RUN)/demo-cluster
cluster: ; @e2e/setup node && cargo build --workspace --bins && programs=$${CARGO_TARGET_DIR:-target}/debug/securitywatch && \
  exec $$(e2e/cluster/build cluster)/cluster up --nodes $(or $(NODES),1) --image docker.io/library/securitywatch-operator:0.1.0=$$programs-operator \
  --image docker.io/library/securitywatch-probe:0.1.0=$$programs-probe $(ARGS)
e2e: ; @e2e/setup cluster && $(RUN)/e2e-cluster $(ARGS)
# Operator, probe and pods on a real node: both walk-throughs, enforcement, exchange under load, faults. ARGS=--long: more
e2e-node: ; @e2e/setup node && $(RUN)/e2e-node $(ARGS)
test: ; @e2e/setup node && e2e/all-tests
# What an event costs, measured; an optimised build, with the machine to itself. ARGS='throughput latency', 'operator': parts of it
bench: ; @e2e/setup cluster && cargo build --release --bins --package securitywatch-probe --package securitywatch-operator --package securitywatch-e2e --package securitywatch-operator-e2e && SECURITYWATCH_BUILT=1 e2e/all-figures $(ARGS)
# CASES=path: a folder of recorded cases (default ../shared/golden/cases)
golden: ; @e2e/setup guests && $(RUN)/golden $(CASES)
# ARGS='--kernel 6.12 -- uname -a': a command in a guest
guest: ; @e2e/setup guests && $(RUN)/guest $(ARGS)
fmt: ; cargo fmt --all
lint: ; @e2e/setup build && cargo clippy --workspace --all-targets -- --deny warnings
check: lint ; cargo fmt --all --check
