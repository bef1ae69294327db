#!/usr/bin/env bash
# Checks the dependencies of the package by cargo-deny: known vulnerabilities, licences, duplicates, sources. deny.toml says what is
# allowed. It takes minutes to build.
#
# usage: tests/deny.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

if ! cargo_tool cargo-deny 0.20.2; then
    skip "cargo-deny cannot be installed, see tools.log in the target directory"
    exit 0
fi
cargo deny check bans licenses sources
if ! cargo deny fetch db >"$TARGET/deny.log" 2>&1; then
    skip "advisories: their database cannot be had, see deny.log in the target directory"
    exit 0
fi
cargo deny check --disable-fetch advisories
