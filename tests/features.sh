#!/usr/bin/env bash
# Builds the library with each feature alone and in pairs, without warnings, and runs the tests that differ where
# there is no feature.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

need_openssl
need_component clippy clippy
need_cargo_tool cargo-hack 0.6.46
if [[ ${1-} == --install ]]; then exit; fi

# Clippy, so that warnings fail without building every dependency anew. Of the library alone no dependency of the tests
# is built, which could switch features on.
cargo hack clippy --quiet --package wsflow --lib --feature-powerset --depth 2 -- -D warnings

# What is different without TLS.
cargo test --quiet --package wsflow --no-default-features --test behaviour connecting:: telling::errors

# Without a provider of ours, the process's default counts.
cargo test --quiet --package wsflow --no-default-features --features rustls-tls --test crypto_provider

# What a program gets by each set of features: from wss, and from rustls itself elsewhere in it.
program() {
    local wss=$1 elsewhere=$2 features=$3 said
    said=$(cargo run --quiet --locked --manifest-path tests/tls_providers/Cargo.toml --target-dir "$TARGET/tls_providers" \
        --features "$features")
    case $said in
    "wss: "*"$wss"*$'\n'"elsewhere: $elsewhere") ;;
    *) echo "with the features '$features': $said" >&2 && return 1 ;;
    esac
}
program begins works "ring"
program begins works "aws-lc-rs"
program begins works "aws-lc-rs elsewhere-aws-lc-rs"
program begins works "elsewhere-aws-lc-rs installs"
# rustls cannot choose between two, unless one is installed. We can.
program begins panics "ring aws-lc-rs"
program begins panics "ring elsewhere-aws-lc-rs"
program begins works "ring elsewhere-aws-lc-rs installs"
program "the feature \`ring\` or \`aws-lc-rs\` of wsflow" panics ""
