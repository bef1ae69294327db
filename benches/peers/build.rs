//! Tells the benches what they were built with: the profile's name and the compiler's version.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=BUILD_PROFILE={}", profile());
    println!("cargo:rustc-env=BUILD_COMPILER={}", compiler());
}

/// Cargo tells a profile that inherits another by the name of its directory alone: `target/<profile>/build/<crate>/out`.
fn profile() -> String {
    let out = env::var("OUT_DIR").unwrap_or_default();
    let directory = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    directory.map_or_else(|| "unknown".into(), |name| name.to_string_lossy().into_owned())
}

fn compiler() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    version.map_or_else(|| "unknown rustc".into(), |version| version.trim().to_owned())
}
