#!/usr/bin/env bash
# Changes src/wire and src/protocol in one place at a time, by cargo-mutants, and lists the changes that no test finds. It takes
# hours for all files. `.cargo/mutants.toml` says which changes are left out; docs/trust.md has the last figures.
#
# usage: tests/mutants.sh [options of cargo mutants]      such as --file src/wire/mask.rs, or --shard 0/8
#
# Without --file it takes all of src/wire and src/protocol.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

CARGO_MUTANTS=27.1.0
# The tests that go through src/wire and src/protocol.
TESTS=(backpressure:: closing:: compression:: pings:: polling:: receiving:: sending:: settings:: halves::senders)

need_cargo_tool cargo-mutants "$CARGO_MUTANTS"

# In a copy, since the sources are changed in place.
copy=$TARGET/mutants/wsflow
rm -rf "$copy"
mkdir -p "$copy"
cp -r .cargo Cargo.toml Cargo.lock README.md src tests testkit benches examples docs "$copy"

[[ " $* " == *" --file "* ]] || set -- --file 'src/wire/**/*.rs' --file 'src/protocol/**/*.rs' "$@"

# cargo mutants [options] [-- arguments of the tests]. Its status says whether changes were missed (2) or took too long (3): no
# failure here. Optimised a little, the tests take a tenth of the time. A case that fails need not be made smaller.
run() {
    local status=0
    CARGO_PROFILE_DEV_DEBUG=none CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_INCREMENTAL=1 PROPTEST_MAX_SHRINK_ITERS=0 \
        cargo mutants --dir "$copy" --in-place --output "$TARGET/mutants" \
        --timeout 60 --colors never --no-shuffle "$@" || status=$?
    ((status == 0 || status == 2 || status == 3)) || exit "$status"
}
# The unit tests first, which are built soon; then the others, on what those have missed.
rm -rf "$TARGET/mutants/mutants.out"
run -C --lib "$@"
run --iterate -C --test=behaviour "$@" -- -- "${TESTS[@]}" --skip a_million
cat "$TARGET/mutants/mutants.out/missed.txt"
