#!/usr/bin/env bash
# Looks at the page of examples/dashboard in headless Chromium: it loads, its curves move, its slider changes them.
# Skipped with a line where Debian's package `chromium` cannot be had. Takes less than a minute, besides the build.
#
# usage: tests/dashboard.sh [PICTURE]    where the picture of the page goes; docs/dashboard.png is one
set -euo pipefail
cd "$(dirname "$0")/.."

PICTURE=${1:-target/dashboard/dashboard.png}
LIMIT=$((256 << 20))
ROOT=$PWD/target/dashboard
mkdir -p "$ROOT"

skip() {
    echo "dashboard: skipped: $*"
    exit 0
}

install() {
    local as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -qq -y --no-install-recommends "$@"
}

command -v python3 >/dev/null || skip "python3 is missing"
command -v chromium >/dev/null || install chromium >"$ROOT/apt.log" 2>&1 ||
    skip "chromium cannot be installed, see target/dashboard/apt.log"

build=(cargo build --quiet --example dashboard)
"${build[@]}"
example=$("${build[@]}" --message-format=json |
    python3 -c 'import json, sys; print(*filter(None, (json.loads(line).get("executable") for line in sys.stdin)))')

profile=$(mktemp -d)
# It must be there, and empty, before `tail` opens it: the example's own shell may be later.
: >"$ROOT/example.log"
"$example" --listen 127.0.0.1:0 --limit "$LIMIT" --seconds 120 >"$ROOT/example.log" &
example_id=$!
trap 'kill "$example_id" 2>/dev/null || true; rm -rf "$profile"' EXIT
read -r url < <(tail --pid="$example_id" -n +1 -f "$ROOT/example.log" | sed -u 's/^the page is at //')

timeout 100 python3 tests/dashboard/check.py "$(command -v chromium)" "$profile" "$url" "$LIMIT" "$PICTURE"
