#!/usr/bin/env bash
# Runs the client against servers that others wrote: Python's `websockets` and Node's `ws`, over ws and wss.
# Installs them under target/interop; a server that cannot be had is skipped with a line. More: tests/interop.rs and
# tests/market_feed.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

WEBSOCKETS=17.4
WS=8.23.0
ROOT=$PWD/target/interop
mkdir -p "$ROOT"

skip() { echo "interop: skipped: $*"; }

installed_websockets() { "$ROOT/venv/bin/python" -c 'import websockets; print(websockets.__version__)' 2>/dev/null; }
installed_ws() { node -p 'require(process.argv[1]).version' "$ROOT/node_modules/ws/package.json" 2>/dev/null; }

if ! command -v python3 >/dev/null; then
    skip "websockets: python3 is missing"
elif [[ $(installed_websockets) == "$WEBSOCKETS" ]] || {
    python3 -m venv --clear "$ROOT/venv" && "$ROOT/venv/bin/pip" install --quiet "websockets==$WEBSOCKETS"
} >"$ROOT/pip.log" 2>&1; then
    export INTEROP_PYTHON=$ROOT/venv/bin/python
else
    skip "websockets: it cannot be installed, see target/interop/pip.log"
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "ws: node or npm is missing"
elif [[ $(installed_ws) == "$WS" ]] ||
    npm install --prefix "$ROOT" --no-save --no-audit --no-fund "ws@$WS" >"$ROOT/npm.log" 2>&1; then
    INTEROP_NODE=$(command -v node)
    export INTEROP_NODE NODE_PATH=$ROOT/node_modules
else
    skip "ws: it cannot be installed, see target/interop/npm.log"
fi

if [[ -z ${INTEROP_PYTHON-}${INTEROP_NODE-} ]]; then
    exit 0
fi
if compgen -G "examples/callback_vs_stream*" >/dev/null; then
    cargo build --quiet --release --example callback_vs_stream
    export INTEROP_MAIN_JOB=callback_vs_stream
else
    skip "the main job by --url: examples/callback_vs_stream is missing"
fi
cargo test --quiet --release --test interop
tests/market_feed.sh
