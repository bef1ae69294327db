#!/usr/bin/env bash
# Builds the library with the oldest versions that Cargo.toml allows of each dependency, by the oldest Rust that it allows;
# and by that Rust with the versions of Cargo.lock. None of the oldest may have a known vulnerability, where the database of these
# can be had.
#
# usage: tests/minimal_versions.sh [--install]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
need_openssl
need_cargo_deny
cargo "+$RUST" --version >/dev/null 2>&1 ||
    rustup toolchain install "$RUST" --profile minimal --no-self-update >"$TARGET/rustup.log" 2>&1 ||
    missing "Rust $RUST, and rustup cannot install it, see $TARGET/rustup.log"
if [[ ${1-} == --install ]]; then exit; fi
TARGET=$TARGET/minimal

# A copy without the dependencies of tests, without what needs them, and without the workspace's other packages.
copy=$TARGET/wsflow
rm -rf "$copy"
mkdir -p "$copy"
cp -r src README.md deny.toml "$copy"
awk '/^\[/ { keep = !/dev-dependencies|^\[\[(test|example)\]\]/ } keep && !/^(default-)?members/' Cargo.toml >"$copy/Cargo.toml"
cd "$copy"

check() { cargo "+$RUST" check --quiet "${FEATURES[@]}" --target-dir "$TARGET"; }
# The oldest of what is named here. What those need in turn is the newest: many do not build with the oldest of that.
RUSTC_BOOTSTRAP=1 cargo generate-lockfile --quiet -Z direct-minimal-versions
check
if fetch_advisories; then
    cargo deny check --disable-fetch advisories
else
    echo "the oldest versions were not looked up in the database of advisories, see $TARGET/deny.log" >&2
fi
cp "$OLDPWD/Cargo.lock" .
check
