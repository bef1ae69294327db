#!/usr/bin/env bash
# Tries the interleavings of what senders and receivers share with the task of their connection, with loom: all that up to
# three preemptions lead to.
#
# usage: tests/loom.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

need_openssl

# With RUSTFLAGS every dependency would be built again. This wraps the compiler of the workspace's own packages, which cargo also
# asks for the cfg that loom is a dependency by.
export RUSTC_WORKSPACE_WRAPPER=$PWD/tests/loom/rustc.sh
LOOM_MAX_PREEMPTIONS=3 cargo test --quiet --package wsflow "${FEATURES[@]}" --lib loom
