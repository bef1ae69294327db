#!/usr/bin/env bash
# Builds the library with each feature alone and in pairs, without warnings, and runs the tests that differ where
# there is no feature.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

CARGO_HACK=0.6.46

without=()
if ! has_openssl; then
    skip "native-tls in the pairs of features: OpenSSL cannot be had"
    without=(--exclude-features native-tls)
fi
# Clippy, so that warnings fail without building every dependency anew. Of the library alone no dependency of the tests
# is built, which could switch features on.
check=check deny=()
if cargo clippy --version >/dev/null 2>&1; then check=clippy deny=(-- -D warnings); fi
if cargo_tool cargo-hack "$CARGO_HACK"; then
    cargo hack "$check" --quiet --lib --feature-powerset --depth 2 "${without[@]}" "${deny[@]}"
else
    skip "pairs of features: cargo-hack cannot be installed, see tools.log in the target directory"
fi

# What is different without TLS.
cargo test --quiet --no-default-features --test behaviour connecting:: telling::errors
