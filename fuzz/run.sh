#!/usr/bin/env bash
# Builds the fuzz targets and runs them, as many at a time as there are cores: fuzz/run.sh [seconds for each] [targets…]
#
# It is libFuzzer (the crate libfuzzer-sys) with LLVM's coverage and AddressSanitizer, without cargo-fuzz: the coverage pass
# works with a stable compiler, and RUSTC_BOOTSTRAP=1 is for the sanitizer's flag alone. SANITIZER=none leaves the sanitizer out:
# that is built sooner. It needs a C++ compiler.
#
# What a run finds stands in fuzz/artifacts/<target>; to try it again: fuzz/run.sh 0 <target> <file>.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")/.."
. tests/tools.sh
need_cxx
cd fuzz

seconds=${1:-20}
shift || true
all=(protocol workload deflate handshake differential)
replay=()
if [[ $seconds == 0 ]]; then
    replay=("$(cd "$from" && realpath "$2")")
    set -- "$1"
fi
targets=("${@:-${all[@]}}")

host=$(rustc -vV | sed -n 's/^host: //p')
flags=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0
)
if [[ ${SANITIZER-address} == address ]]; then flags+=(-Zsanitizer=address); fi
# With a target named, build scripts and macros are built without the flags.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}"
bins=()
for target in "${targets[@]}"; do bins+=(--bin "$target"); done
cargo build --quiet --release --target "$host" "${bins[@]}"
built=${CARGO_TARGET_DIR:-target}/$host/release

# A leak is found by no reference that is left, and the runtimes of a thread that ends the process are some.
export ASAN_OPTIONS=detect_odr_violation=0:detect_leaks=0
for target in "${targets[@]}"; do
    if ((${#replay[@]})); then
        "$built/$target" "${replay[@]}"
        continue
    fi
    mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
done
((${#replay[@]})) && exit

# One target, whose lines come at its end, not between those of another.
run() {
    local output status=0
    output=$("$built/$1" "corpus/$1" "seeds/$1" -artifact_prefix="artifacts/$1/" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 -verbosity=0 \
        -print_funcs=0 2>&1) || status=$?
    printf -- '--- %s, %d s\n%s\n' "$1" "$seconds" "$output"
    return "$status"
}
export -f run
export built seconds
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'run "$1"' run
