#!/usr/bin/env bash
# Builds the library with the oldest versions that Cargo.toml allows of each dependency, by the oldest Rust that it allows;
# and by that Rust with the versions of Cargo.lock.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
features=(--all-features)
if ! has_openssl; then
    skip "native-tls with the oldest versions: OpenSSL cannot be had"
    features=()
fi
oldest=(cargo "+$RUST")
if ! cargo "+$RUST" --version >/dev/null 2>&1 &&
    ! rustup toolchain install "$RUST" --profile minimal --no-self-update >/dev/null 2>&1; then
    skip "the oldest Rust: $RUST cannot be had, $(cargo --version) takes its place"
    oldest=(cargo)
fi
TARGET=$TARGET/minimal

# A copy without the dependencies of tests, and without what needs them.
copy=$TARGET/wsflow
rm -rf "$copy"
mkdir -p "$copy"
cp -r src README.md "$copy"
awk '/^\[/ { keep = !/dev-dependencies|^\[\[(test|bench|example)\]\]/ } keep' Cargo.toml >"$copy/Cargo.toml"
cd "$copy"

check() { "${oldest[@]}" check --quiet "${features[@]}" --target-dir "$TARGET"; }
# The oldest of what is named here. What those need in turn is the newest: many do not build with the oldest of that.
RUSTC_BOOTSTRAP=1 cargo generate-lockfile --quiet -Z direct-minimal-versions
check
cp "$OLDPWD/Cargo.lock" .
check
