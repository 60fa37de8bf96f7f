# Each target does its own set-up; e2e/setup installs what is missing (Debian, Ubuntu) or names it.
export PATH := $(PATH):$(HOME)/.cargo/bin
E2E := cargo run --quiet --package securitywatch-e2e --bin
.PHONY: demo test golden guest fmt lint check

demo: ; @e2e/setup guests && $(E2E) demo
test: ; @e2e/setup guests && e2e/all-tests
# CASES=path: a folder of recorded cases (default ../shared/golden/cases)
golden: ; @e2e/setup guests && $(E2E) golden -- $(CASES)
# ARGS='--kernel 6.12 -- uname -a': a command in a guest
guest: ; @e2e/setup guests && $(E2E) guest -- $(ARGS)
fmt: ; cargo fmt --all
lint: ; @e2e/setup build && cargo clippy --workspace --all-targets -- --deny warnings
check: lint ; cargo fmt --all --check
