#!/usr/bin/env bash
# Checks the dependencies of the package by cargo-deny: known vulnerabilities, licences, duplicates, sources. deny.toml says what is
# allowed. It takes minutes to build.
#
# usage: tests/deny.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

need_cargo_tool cargo-deny 0.20.2
cargo deny check bans licenses sources
cargo deny fetch db >"$TARGET/deny.log" 2>&1 || missing "the database of advisories, see $TARGET/deny.log"
cargo deny check --disable-fetch advisories
