//! A core of its own for this process.

/// Pins the process to a core, so that client and server do not move onto one another; says so where it cannot.
pub fn to_core(core: usize) {
    if let Err(error) = set_affinity(core) {
        eprintln!("not pinned to core {core}: {error}");
    }
}

#[cfg(target_os = "linux")]
fn set_affinity(core: usize) -> nix::Result<()> {
    use nix::{
        sched::{CpuSet, sched_setaffinity},
        unistd::Pid,
    };

    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
}

#[cfg(not(target_os = "linux"))]
fn set_affinity(_: usize) -> Result<(), &'static str> {
    Err("only done on Linux")
}
