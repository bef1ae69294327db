#!/usr/bin/env bash
# Looks at the page of examples/dashboard in headless Chromium: it loads, its curves move, its slider changes them.
# Takes less than a minute, besides the build.
#
# usage: tests/dashboard.sh [--install|PICTURE]
#
#   --install   Chromium, and runs nothing
#   PICTURE     where the picture of the page goes; docs/dashboard.png is one
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

ROOT=$TARGET/dashboard
PICTURE=${1:-$ROOT/dashboard.png}
LIMIT=$((256 << 20))
mkdir -p "$ROOT"

need python3 python3
need chromium chromium
need_openssl
if [[ ${1-} == --install ]]; then exit; fi

cargo build --quiet "${FEATURES[@]}" --example dashboard

profile=$(mktemp -d)
# It must be there, and empty, before `tail` opens it: the example's own shell may be later.
: >"$ROOT/example.log"
"$TARGET/debug/examples/dashboard" --listen 127.0.0.1:0 --limit "$LIMIT" --seconds 120 >"$ROOT/example.log" &
example_id=$!
trap 'kill "$example_id" 2>/dev/null || true; rm -rf "$profile"' EXIT
read -r url < <(tail --pid="$example_id" -n +1 -f "$ROOT/example.log" | sed -u 's/^the page is at //')

timeout 100 python3 tests/dashboard/check.py "$(command -v chromium)" "$profile" "$url" "$LIMIT" "$PICTURE"
