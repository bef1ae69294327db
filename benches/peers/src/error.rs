//! Whatever goes wrong in a run: told, and nothing else.

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;
