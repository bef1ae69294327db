//! Settings: what each option does, and what the extremes do.

mod config;
mod extremes;
