//! The house: what the repository must say of itself.

mod auto_traits;
mod behaviours;
