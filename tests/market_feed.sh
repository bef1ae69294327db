#!/usr/bin/env bash
# Runs examples/market_feed.rs against a server on Python's `websockets` that is killed ten times: each time the client comes
# back and subscribes again, and at SIGINT it closes cleanly and ends. tests/interop.sh, which installs the server, calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

KILLS=10
# How long a line may take, in seconds.
PATIENCE=20
CLOSE_WITHIN_US=2000000

[[ -n ${INTEROP_PYTHON-} ]] || missing "INTEROP_PYTHON is not set: tests/interop.sh runs this"

fail() { echo "market_feed: FAILED: $*" && exit 1; }
now_us() { echo "${EPOCHREALTIME//[!0-9]/}"; }

# Reads lines of $1 (the descriptor $2) up to one that matches $3, which is left in $line.
expect() {
    local seen=()
    while IFS= read -r -t "$PATIENCE" -u "$2" line; do
        if [[ $line =~ $3 ]]; then return; fi
        seen+=("$line")
    done
    fail "the $1 did not print '$3', but: ${seen[*]-}"
}

server_pid='' client_pid=''
trap 'kill -KILL $server_pid $client_pid 2>/dev/null || true' EXIT

start_server() {
    exec {server}< <(exec "$INTEROP_PYTHON" tests/interop/feed.py "$1")
    server_pid=$!
    expect server "$server" '^[0-9]+$'
}

kill_server() {
    kill -KILL "$server_pid"
    wait "$server_pid" 2>/dev/null || true
    exec {server}<&-
}

cargo build --quiet "${FEATURES[@]}" --example market_feed
start_server 0
port=$line
client_program=$TARGET/debug/examples/market_feed
exec {client}< <(exec "$client_program" --url "ws://127.0.0.1:$port/" --channel btc --channel eth --token hunter2 \
    --initial 50 --max 200 2>&1)
client_pid=$!

for ((life = 0; ; life++)); do
    expect client "$client" '^open$'
    for channel in btc eth; do
        expect server "$server" "^subscribed $channel hunter2\$"
        expect client "$client" "^subscribed: $channel\$"
    done
    expect server "$server" '^poured$'
    if ((life == KILLS)); then break; fi
    kill_server
    expect client "$client" '^end: '
    expect client "$client" '^retry: after '
    start_server "$port"
done

started=$(now_us)
kill -INT "$client_pid"
status=0
wait "$client_pid" || status=$?
took=$(($(now_us) - started))
((status == 0)) || fail "the client ended with status $status"
((took <= CLOSE_WITHIN_US)) || fail "the client took $took µs to close"
expect server "$server" '^closed 100[01]$'
expect client "$client" '^closed: 1000 \(clean: true\)$'
expect client "$client" "^Totals \{ connections: $((KILLS + 1)), ticks: [1-9]"
echo "market_feed: the server was killed $KILLS times; the client closed within $((took / 1000)) ms: $line"
