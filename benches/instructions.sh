#!/usr/bin/env bash
# Counts the processor's instructions for a message of 64 bytes, received and sent over a transport in memory, under
# valgrind's callgrind, and fails where wsflow needs over 5 % more of them than benches/instructions.txt says.
# Such counts do not depend on how busy the machine is. They do on what that file names: elsewhere it cannot run, and says
# what differs.
#
# usage: benches/instructions.sh [--install|--update]
#
#   --install  valgrind, and runs nothing
#   --update   writes the counts of today into benches/instructions.txt, with what they hold for
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

FILE=benches/instructions.txt
CLIENTS=(wsflow wsflow-by-reference tokio-tungstenite)
WORKLOADS=(receive receive-text send batch each)
MESSAGES=20000
TOLERATED=5
# These decide what code valgrind lets libraries choose while the program runs (for UTF-8, for memcpy): it shows them
# the machine's AVX2 with all of these, or an older processor of its own, and never anything newer.
PROCESSOR_FEATURES='cx16|sse4_2|avx|avx2|abm|bmi1|bmi2|f16c|rdrand|rdseed'
# Settings of the user's own would be one more thing that the counts hold for.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS "${!CARGO_PROFILE_RELEASE_@}"

processor_features() {
    grep -m 1 '^flags' /proc/cpuinfo | grep -owE "$PROCESSOR_FEATURES" | sort | paste -sd ' '
}

release_profile() {
    sed -n '/^\[profile\.release\]/,/^\[/{/^[^[#]/p}' Cargo.toml | paste -sd ',' | sha256sum | cut -c -16
}

# What the counts hold for, one a line.
circumstances() {
    echo "rustc: $(rustc --version | cut -d ' ' -f 2-)"
    echo "Cargo.lock: sha256 $(sha256sum <Cargo.lock | cut -c -16)"
    echo "release profile: sha256 $(release_profile)"
    echo "architecture: $(uname -m)"
    echo "processor features: $(processor_features || echo unknown)"
    echo "valgrind: $(valgrind --version | cut -d - -f 2-)"
    echo "libc: $(getconf GNU_LIBC_VERSION 2>/dev/null || echo 'not glibc')"
}

# How they differ from those in the file.
differences() {
    local name value recorded
    while IFS=: read -r name value; do
        recorded=$(sed -n "s/^$name://p" "$FILE")
        [[ $recorded == "$value" ]] || echo "$name is$value, the file is for${recorded:- none}"
    done < <(circumstances)
}

# The program as cargo has just built it.
build() {
    cargo build --quiet --release --bench instructions --message-format json |
        sed -n 's/.*"name":"instructions".*"executable":"\([^"]*\)".*/\1/p'
}

# All instructions of one run.
collected() {
    local output
    output=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1) || {
        echo "$output" >&2
        return 1
    }
    awk '/Collected/ { print $NF }' <<<"$output"
}

# Those of one message: a run of twice as many has the same start and end, which so fall out.
per_message() {
    local once twice
    once=$(collected "$@" "$MESSAGES") && twice=$(collected "$@" "$((2 * MESSAGES))") || return 1
    echo "$(((twice - once + MESSAGES / 2) / MESSAGES))"
}

# The table of all counts, as the file has it.
count_all() {
    local workload client count
    printf '%-14s' workload
    printf '%20s' "${CLIENTS[@]}"
    for workload in "${WORKLOADS[@]}"; do
        printf '\n%-14s' "$workload"
        for client in "${CLIENTS[@]}"; do
            count=$(per_message "$client" "$workload") || return 1
            printf '%20d' "$count"
        done
    done
    echo
}

update() {
    cat <<'HEAD'
# Instructions for one message of 64 bytes over a transport in memory, and what these counts hold for.
# receive, receive-text: binary and text; send: one flush after all; batch: after each 64; each: after each.
#
# Written by `benches/instructions.sh --update`. Where one of the circumstances changes on purpose, as Cargo.lock does
# with each new dependency, run that at the change before it and at the change, so that what it costs is seen, and
# commit the file together with the change.

HEAD
    circumstances
    printf '\n%s\n' "$counts"
}

# Holds each count of wsflow, owned and by reference, against that of the file, and fails where one has grown.
check() {
    local workload count recorded verdict=0
    while read -r workload column count; do
        recorded=$(awk -v workload="$workload" -v column="$column" '$1 == workload { print $column }' "$FILE")
        workload+=", ${CLIENTS[column - 2]},"
        if [[ -z $recorded ]]; then
            echo "failed: $FILE has no count for $workload: bring the file up to date with --update"
            verdict=1
        elif ((count * 100 > recorded * (100 + TOLERATED))); then
            echo "failed: $workload needs $count instructions for a message, and needed $recorded"
            verdict=1
        elif ((count * 100 < recorded * (100 - TOLERATED))); then
            echo "$workload needs $count instructions for a message, and needed $recorded: bring the file up to date with --update"
        fi
    done < <(awk 'NR > 1 { for (column = 2; column < NF; column++) print $1, column, $column }' <<<"$counts")
    return "$verdict"
}

case ${1-} in
'' | --install | --update) ;;
*)
    sed -n '/^# usage/,/^#   --update/s/^# //p' "$0" >&2
    exit 2
    ;;
esac

need valgrind valgrind
if [[ ${1-} == --install ]]; then exit; fi
if [[ ${1-} != --update ]]; then
    differing=$(differences)
    [[ -z $differing ]] || missing "the circumstances of $FILE: ${differing//$'\n'/; }"
fi

program=$(build)
counts=$(count_all)
echo "$counts"
if [[ ${1-} == --update ]]; then
    written=$(update)
    echo "$written" >"$FILE"
else
    check
fi
