#!/usr/bin/env bash
# Runs the unit tests of src/wire and src/protocol under Miri, which finds undefined behaviour: of the one file that has unsafe
# code, src/wire/utf8.rs, and of what calls it. It takes minutes, and needs a nightly Rust with the component `miri`.
#
# usage: tests/miri.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

cargo +nightly miri --version >/dev/null 2>&1 ||
    rustup toolchain install nightly --profile minimal --component miri --component rust-src --no-self-update >"$TARGET/miri.log" 2>&1 ||
    missing "a nightly Rust with Miri, and rustup cannot install it, see $TARGET/miri.log"
# Miri takes a thousand times as long: properties try fewer cases, and what moves many bytes, with no unsafe code of this crate,
# is left out.
export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4
cargo +nightly miri test --quiet --package wsflow --target-dir "$TARGET/miri" --lib --no-default-features -- \
    wire:: protocol:: model:: --skip deflate --skip encoded
