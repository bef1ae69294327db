#!/usr/bin/env bash
# Says how much of src the tests run, by cargo-llvm-cov: lines and regions of each file. It takes minutes.
#
# usage: tests/coverage.sh [--html]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

need_cargo_tool cargo-llvm-cov 0.9.1
rustup component add llvm-tools >"$TARGET/rustup.log" 2>&1 ||
    missing "rustup's component llvm-tools, and it cannot be had, see $TARGET/rustup.log"
need_openssl
# Some tests run examples.
export CARGO_TARGET_DIR=$TARGET/coverage
environment=$(cargo llvm-cov show-env --sh)
eval "$environment"
cargo llvm-cov clean --workspace
cargo build --quiet "${FEATURES[@]}" --examples
cargo test --quiet "${FEATURES[@]}" --lib --tests
cargo llvm-cov report --ignore-filename-regex '(examples|tests|testkit|benches)/' "$@"
