#!/usr/bin/env bash
# Tries the interleavings of what senders and receivers share with the task of their connection, with loom: all that up to
# three preemptions lead to.
#
# usage: tests/loom.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# The flag is for the library alone: with RUSTFLAGS every dependency would be built again.
program=$(
    cargo rustc --quiet --profile test --lib --message-format json -- --cfg wsflow_loom |
        sed -n 's/.*"name":"wsflow".*"executable":"\([^"]*\)".*/\1/p'
)
LOOM_MAX_PREEMPTIONS=3 "$program" loom
