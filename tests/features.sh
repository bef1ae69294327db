#!/usr/bin/env bash
# Builds the library with each feature alone and in pairs, without warnings, and runs the tests that differ where
# there is no feature.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

need_openssl
need_component clippy clippy
need_cargo_tool cargo-hack 0.6.46
if [[ ${1-} == --install ]]; then exit; fi

# Clippy, so that warnings fail without building every dependency anew. Of the library alone no dependency of the tests
# is built, which could switch features on.
cargo hack clippy --quiet --package wsflow --lib --feature-powerset --depth 2 -- -D warnings

# What is different without TLS.
cargo test --quiet --package wsflow --no-default-features --test behaviour connecting:: telling::errors
