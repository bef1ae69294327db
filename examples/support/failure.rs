//! Whatever ends a run early.

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
