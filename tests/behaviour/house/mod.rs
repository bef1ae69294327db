//! The house: what the repository must say of itself.

mod auto_traits;
mod behaviours;
#[cfg(target_arch = "x86_64")]
mod sizes;
