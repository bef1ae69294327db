#!/usr/bin/env bash
# Says how much of src the tests run, by cargo-llvm-cov: lines and regions of each file. It takes minutes.
#
# usage: tests/coverage.sh [--html]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

if ! cargo_tool cargo-llvm-cov 0.9.1; then
    skip "coverage: cargo-llvm-cov cannot be installed, see tools.log in the target directory"
    exit 0
fi
rustup component add llvm-tools >/dev/null 2>&1 || {
    skip "coverage: the component llvm-tools cannot be had"
    exit 0
}
features=(--all-features)
has_openssl || features=(--features proxy,tracing)
# Some tests run examples.
export CARGO_TARGET_DIR=$TARGET/coverage
environment=$(cargo llvm-cov show-env --sh)
eval "$environment"
cargo llvm-cov clean --workspace
cargo build --quiet "${features[@]}" --examples
cargo test --quiet "${features[@]}" --lib --tests
cargo llvm-cov report --ignore-filename-regex '(examples|tests|benches)/' "$@"
