#!/usr/bin/env bash
# Tries the interleavings of what the halves of a connection share with their task, with loom: all that up to three
# preemptions lead to. It takes a minute, nearly all of it to build.
#
# usage: tests/loom.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# Not among what is built without the flag, all of which would be built again.
RUSTFLAGS='--cfg wsflow_loom' CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=3 cargo test --quiet --lib loom
