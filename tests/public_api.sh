#!/usr/bin/env bash
# Compares the public API, of all features, with the listing in docs/public-api.txt.
#
# usage: tests/public_api.sh            fails where they differ
#        tests/public_api.sh --update   writes the listing
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

LISTING=docs/public-api.txt
# The version of rustdoc's JSON that tests/public_api reads. A Rust with another one needs another version of the crate
# `public-api`, and the listing may then differ in how it is written.
FORMAT=57

need_openssl
# rustdoc gives JSON on a stable Rust only so. A directory of its own, since build scripts look at this variable.
RUSTC_BOOTSTRAP=1 cargo rustdoc --quiet --package wsflow --lib --all-features --target-dir "$TARGET/docs.rs" -- \
    -Z unstable-options --output-format json
JSON=$TARGET/docs.rs/doc/wsflow.json
format=$(grep -o '"format_version":[0-9]*' "$JSON" | tail -1 | cut -d: -f2)
if [[ $format != "$FORMAT" ]]; then
    missing "$(rustdoc --version) writes format $format of its JSON, expected $FORMAT"
fi
listing=$(cargo run --quiet --locked --manifest-path tests/public_api/Cargo.toml \
    --target-dir "$TARGET/tools/build" -- "$JSON")

if [[ ${1-} == --update ]]; then
    echo "$listing" >"$LISTING"
elif ! diff --unified=0 "$LISTING" <(echo "$listing"); then
    echo "The public API is not what $LISTING says. If it should change: tests/public_api.sh --update" >&2
    exit 1
fi
