//! Backpressure: what a slow side does to the other one, and how the work of a poll is bounded.

mod both_ways;
mod buffers;
mod fairness;
mod held_back;
mod turns;
