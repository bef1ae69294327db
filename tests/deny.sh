#!/usr/bin/env bash
# Checks the dependencies of the package by cargo-deny: known vulnerabilities, licences, duplicates, sources. deny.toml says what is
# allowed. It takes minutes to build. It fails where the database of vulnerabilities cannot be had.
#
# usage: tests/deny.sh [--install]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

need_cargo_deny
if [[ ${1-} == --install ]]; then exit; fi
cargo deny check bans licenses sources
fetch_advisories || missing "the database of advisories, see $TARGET/deny.log"
cargo deny check --disable-fetch advisories
