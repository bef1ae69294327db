# Sourced by scripts in the root of the repository: what may be missing on a machine and how it is installed, and where builds go.

mkdir -p "${CARGO_TARGET_DIR:-target}"
TARGET=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)

# Tests and examples are built with these features, wherever they are run by a script: so they are built once. The other set of
# cryptography, `aws-lc-rs`, takes minutes to build: tests/features.sh has it.
FEATURES=(--features native-tls,proxy,tracing)

# The status of a script that lacks something of the machine. A gate passes over it where ALLOW_SKIP names its step.
CANNOT_RUN=77

# Says what is missing, and ends the script: missing <what>
missing() {
    echo "cannot run: $*" >&2
    exit "$CANNOT_RUN"
}

# Installs Debian packages, and writes what they say into a log: debian_packages <package>...
debian_packages() {
    local as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo -n)
    command -v apt-get && {
        "${as_root[@]}" apt-get install -qq -y --no-install-recommends "$@" ||
            { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -qq -y --no-install-recommends "$@"; }
    }
} >"$TARGET/apt.log" 2>&1

# need <program> <Debian package>: the program is there, or is installed, or the script ends.
need() {
    command -v "$1" >/dev/null || { debian_packages "$2" && command -v "$1" >/dev/null; } ||
        missing "$1, and the Debian package $2 cannot be had, see $TARGET/apt.log"
}

# native-tls binds to OpenSSL on Linux.
need_openssl() {
    has_openssl || { debian_packages libssl-dev pkg-config && has_openssl; } ||
        missing "OpenSSL's headers, and the Debian packages libssl-dev and pkg-config cannot be had, see $TARGET/apt.log"
}

has_openssl() { [[ $(uname) != Linux ]] || pkg-config --exists openssl 2>/dev/null; }

# libFuzzer is C++.
need_cxx() {
    has_cxx || { debian_packages g++ && has_cxx; } ||
        missing "a C++ compiler, and the Debian package g++ cannot be had, see $TARGET/apt.log"
}

has_cxx() { command -v c++ >/dev/null && c++ -x c++ -fsyntax-only - <<<'#include <atomic>' 2>/dev/null; }

# need_component <command of cargo> <component of rustup>
need_component() {
    cargo "$1" --version >/dev/null 2>&1 || { rustup component add "$2" && cargo "$1" --version; } >"$TARGET/rustup.log" 2>&1 ||
        missing "cargo $1, and rustup's component $2 cannot be had, see $TARGET/rustup.log"
}

need_cargo_deny() { need_cargo_tool cargo-deny 0.20.2; }

# Brings the database of known vulnerabilities, for cargo-deny. It fails where it cannot be had.
fetch_advisories() { cargo deny fetch db >"$TARGET/deny.log" 2>&1; }

# Installs a tool of crates.io below the target directory, unless it is there in this version: need_cargo_tool <name> <version>
need_cargo_tool() {
    export PATH=$TARGET/tools/bin:$PATH
    [[ -x $TARGET/tools/bin/$1 ]] || echo "installing $1, which takes minutes"
    cargo install --quiet --locked --root "$TARGET/tools" --target-dir "$TARGET/tools/build" "$1@$2" 2>"$TARGET/tools.log" ||
        missing "$1 $2, and it cannot be installed, see $TARGET/tools.log"
}
