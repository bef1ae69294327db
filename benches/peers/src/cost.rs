//! What a run costs: time passed, and time that this process spent on the CPU.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// Both clocks at the begin of a run.
pub struct Meter {
    began: Instant,
    cpu: Duration,
}

/// What a run took by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub cpu: Duration,
    pub elapsed: Duration,
}

impl Meter {
    pub fn start() -> Self {
        Self { cpu: cpu(), began: Instant::now() }
    }

    pub fn stop(&self) -> Cost {
        Cost { elapsed: self.began.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

/// User and system time of this process so far. A child process that still runs does not count.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage of the own process cannot fail");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64))
        .sum()
}
