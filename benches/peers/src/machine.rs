//! Where and with what the figures were taken.

use std::{env, fs, thread};

/// Read when this was built: what was compiled, not what was asked for.
const LOCK: &str = include_str!("../Cargo.lock");

/// Machine, system, compiler and profile in one line. A process that is pinned sees one core.
pub fn describe() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let processor = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| env::consts::ARCH.into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = format!("{} {}", env::consts::OS, kernel.trim());
    let (compiler, profile) = (env!("BUILD_COMPILER"), env!("BUILD_PROFILE"));
    format!("{cores} cores of {processor}, {}, {compiler}, profile `{profile}`", system.trim())
}

/// The version of a package in the lock file.
pub fn version(package: &str) -> Option<&'static str> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

/// Today, in UTC.
pub fn date() -> String {
    time::OffsetDateTime::now_utc().date().to_string()
}

/// What makes this run again.
pub fn command() -> String {
    let profile = match env!("BUILD_PROFILE") {
        "release" => "--release".into(),
        profile => format!("--profile {profile}"),
    };
    let quoted = |argument: String| if argument.contains(' ') { format!("{argument:?}") } else { argument };
    let arguments: Vec<String> = env::args().skip(1).map(quoted).collect();
    let program = env::current_exe().unwrap_or_default();
    let bin = program.file_stem().unwrap_or_default().display();
    let command = format!("cargo run {profile} --manifest-path benches/peers/Cargo.toml --bin {bin}");
    if arguments.is_empty() { command } else { format!("{command} -- {}", arguments.join(" ")) }
}

fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
