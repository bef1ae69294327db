# Sourced by the gates, .ci/run and .ci/full: how steps are run, and those that both have.
#
# A step is a function `step_<name>`. What it needs of the machine is installed by `install_<name>`, where there is one, before the
# first step: that is no part of its time. A step that cannot run fails, unless ALLOW_SKIP, a list, names it. The others run all the same,
# so that one run says all that is wrong.
#
# usage: .ci/run [STEP…]      and .ci/full alike; without a name, all steps
#        ALLOW_SKIP=dashboard,autobahn .ci/run

set -euo pipefail
cd "$(dirname "$0")/.."
# Nothing is built twice here, and a backtrace needs lines only: less to write and to link.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only

. tests/tools.sh

# A line each: seconds, tab, step, tab, what became of it.
results=()
failed=()
status=0

# gate <step>...: all steps of this gate, of which the arguments of the script name some.
gate() {
    local step asked=("${arguments[@]-}") known=" $* "
    if [[ -z ${asked[*]} ]]; then asked=("$@"); fi
    for step in "${asked[@]}" $(allowed); do
        [[ $known == *" $step "* ]] || { echo "no step $step: there are $*" >&2 && exit 2; }
    done

    local runnable=()
    printf '\n=== installs and downloads\n'
    local begin=$SECONDS
    for step in "${asked[@]}"; do
        status=0
        if declare -F "install_$step" >/dev/null; then attempt "$step" install; fi
        if ((status == 0)); then runnable+=("$step"); fi
    done
    attempt dependencies fetch
    printf -- '--- installs and downloads: %d s, which count for no step\n' "$((SECONDS - begin))"

    local start=$SECONDS
    for step in ${runnable[@]+"${runnable[@]}"}; do
        printf '\n=== %s\n' "$step"
        attempt "$step" step
    done
    summary "$((SECONDS - start))"
    ((${#failed[@]} == 0))
}

# The names in ALLOW_SKIP.
allowed() { tr ',' ' ' <<<"${ALLOW_SKIP-}"; }

# attempt <step> <install|fetch|step>: runs that function of it in a shell of its own, which ends at the first command that fails,
# and leaves its status in `status`. Not behind an `if`, `&&` or `||`: there no command ends a shell.
attempt() {
    local name=$1 begin=$SECONDS verdict
    local function=${2}_$1
    set +e
    (
        set -e
        "$function"
    )
    status=$?
    set -e
    case $status in
    0) verdict=passed ;;
    "$CANNOT_RUN")
        verdict="FAILED: it cannot run; ALLOW_SKIP=$name would let it pass"
        [[ " $(allowed) " != *" $name "* ]] || verdict=skipped
        ;;
    *) verdict=FAILED ;;
    esac
    if [[ $2 == step || $status != 0 ]]; then
        results+=("$((SECONDS - begin))"$'\t'"$name"$'\t'"$verdict")
        printf -- '--- %s: %s, %d s\n' "$name" "$verdict" "$((SECONDS - begin))"
    fi
    if [[ $verdict == FAILED* ]]; then failed+=("$name"); fi
}

# summary <seconds of all steps>: the steps, the longest first.
summary() {
    printf '\n=== %d s without installs and downloads; the longest first\n' "$1"
    printf '%s\n' ${results[@]+"${results[@]}"} | sort -rn | while IFS=$'\t' read -r seconds name verdict; do
        printf '%6d s  %-13s %s\n' "$seconds" "$name" "$verdict"
    done
    if ((${#failed[@]})); then printf '\nfailed: %s\n' "${failed[*]}"; else printf '\npassed\n'; fi
}

# Crates of the workspaces that the gates build.
LOCKED=(Cargo.toml fuzz/Cargo.toml tests/public_api/Cargo.toml benches/peers/Cargo.toml)
fetch_dependencies() {
    for manifest in "${LOCKED[@]}"; do cargo fetch --quiet --locked --manifest-path "$manifest"; done
}

install_format() { need_component fmt rustfmt; }
step_format() {
    cargo fmt --all --check
    for manifest in "${LOCKED[@]:1}"; do cargo fmt --manifest-path "$manifest" --check; done
}

lint() { cargo clippy --quiet --all-targets "$@" -- -D warnings; }

install_clippy() { need_openssl && need_component clippy clippy; }

install_tests() { need_openssl; }
step_tests() { cargo test "${FEATURES[@]}"; }

install_loom() { need_openssl; }
step_loom() { tests/loom.sh; }

install_dashboard() { tests/dashboard.sh --install; }
step_dashboard() { tests/dashboard.sh; }

install_interop() { tests/interop.sh --install; }
step_interop() { tests/interop.sh; }

install_proxies() { tests/proxies.sh --install; }
step_proxies() { tests/proxies.sh; }

install_autobahn() { tests/autobahn.sh --install; }

install_fuzz() { need_cxx; }

arguments=("$@")
