# Each target does its own set-up; e2e/setup installs what is missing (Debian, Ubuntu) or names it.
export PATH := $(PATH):$(HOME)/.cargo/bin
# One build for all programs: one by one, cargo would choose other features for shared dependencies each time.
RUN := cargo build --workspace --bins && SECURITYWATCH_BUILT=1 $${CARGO_TARGET_DIR:-target}/debug
.PHONY: demo test bench golden guest fmt lint check

demo: ; @e2e/setup guests && $(RUN)/demo
test: ; @e2e/setup guests && e2e/all-tests
# What an event costs, measured; an optimised build, with the machine to itself. ARGS='throughput latency': parts of it
bench: ; @e2e/setup guests && cargo build --release --package securitywatch-probe --package securitywatch-e2e --bin securitywatch-probe --bin bench && SECURITYWATCH_BUILT=1 $${CARGO_TARGET_DIR:-target}/release/bench $(ARGS)
# CASES=path: a folder of recorded cases (default ../shared/golden/cases)
golden: ; @e2e/setup guests && $(RUN)/golden $(CASES)
# ARGS='--kernel 6.12 -- uname -a': a command in a guest
guest: ; @e2e/setup guests && $(RUN)/guest $(ARGS)
fmt: ; cargo fmt --all
lint: ; @e2e/setup build && cargo clippy --workspace --all-targets -- --deny warnings
check: lint ; cargo fmt --all --check
