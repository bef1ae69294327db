#!/usr/bin/env bash
# Runs the client against servers that others wrote: Python's `websockets` and Node's `ws`, over ws and wss.
# Installs them below the target directory. More: tests/interop.rs, tests/gateway.rs and tests/market_feed.sh.
#
# usage: tests/interop.sh [--install]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

WEBSOCKETS=17.4
WS=8.23.0
ROOT=$TARGET/interop
mkdir -p "$ROOT"

installed_websockets() { "$ROOT/venv/bin/python" -c 'import websockets; print(websockets.__version__)' 2>/dev/null; }
installed_ws() { node -p 'require(process.argv[1]).version' "$ROOT/node_modules/ws/package.json" 2>/dev/null; }

need python3 python3
need node nodejs
need npm npm
[[ $(installed_websockets) == "$WEBSOCKETS" ]] || {
    python3 -m venv --clear "$ROOT/venv" && "$ROOT/venv/bin/pip" install --quiet "websockets==$WEBSOCKETS"
} >"$ROOT/pip.log" 2>&1 || missing "websockets $WEBSOCKETS, and it cannot be installed, see $ROOT/pip.log"
[[ $(installed_ws) == "$WS" ]] ||
    npm install --prefix "$ROOT" --no-save --no-audit --no-fund "ws@$WS" >"$ROOT/npm.log" 2>&1 ||
    missing "ws $WS, and it cannot be installed, see $ROOT/npm.log"
need_openssl
if [[ ${1-} == --install ]]; then exit; fi

INTEROP_PYTHON=$ROOT/venv/bin/python INTEROP_NODE=$(command -v node) NODE_PATH=$ROOT/node_modules
export INTEROP_PYTHON INTEROP_NODE NODE_PATH INTEROP_MAIN_JOB=callback_vs_stream
cargo build --quiet "${FEATURES[@]}" --example callback_vs_stream --example market_feed --test interop --test gateway
cargo test --quiet "${FEATURES[@]}" --test interop --test gateway
tests/market_feed.sh
