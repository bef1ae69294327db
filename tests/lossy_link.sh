#!/usr/bin/env bash
# Runs examples/soak.rs over a link with loss and delay: every message is checked, and what is left at the end. The link is
# tests/lossy_link.py; docs/trust.md has the last figures.
#
# usage: tests/lossy_link.sh [minutes [percent lost [milliseconds of delay]]]     of each way
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

minutes=${1:-1} loss=${2:-1} delay=${3:-20}

alone=(unshare --map-root-user --net)
if ! "${alone[@]}" python3 tests/lossy_link.py true >"$TARGET/lossy_link.log" 2>&1; then
    missing "python3, or the right to make a TUN device, see $TARGET/lossy_link.log"
fi
cargo build --quiet --release --example soak
"${alone[@]}" python3 tests/lossy_link.py --loss "$loss" --delay "$delay" \
    "$TARGET/release/examples/soak" --minutes "$minutes" --connections 20 --listen 10.99.0.1 --through 10.99.0.2
