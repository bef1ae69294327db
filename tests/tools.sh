# Sourced by scripts in the root of the repository: what may be missing on a machine, and where builds go.

mkdir -p "${CARGO_TARGET_DIR:-target}"
TARGET=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)

skip() { echo "skipped: $*"; }

# native-tls binds to OpenSSL on Linux.
has_openssl() { [[ $(uname) != Linux ]] || pkg-config --exists openssl 2>/dev/null; }

# Installs a tool of crates.io below the target directory, unless it is there in this version: cargo_tool <name> <version>
cargo_tool() {
    export PATH=$TARGET/tools/bin:$PATH
    [[ -x $TARGET/tools/bin/$1 ]] || echo "installing $1, which takes minutes"
    cargo install --quiet --locked --root "$TARGET/tools" --target-dir "$TARGET/tools/build" "$1@$2" 2>"$TARGET/tools.log"
}
