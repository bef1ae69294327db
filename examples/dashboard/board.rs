//! What the page shows, and what it may ask for: JSON, both ways.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use crate::column::Column;

/// What all pages show.
#[derive(Debug)]
pub struct Board {
    start: Instant,
    limit: u64,
    /// The consumers' speed, in bytes a second.
    pub speed: watch::Sender<u64>,
    callback: watch::Receiver<Column>,
    stream: watch::Receiver<Column>,
}

/// A line to the page.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Seconds since the start.
    time: f64,
    speed: u64,
    limit: u64,
    callback: Column,
    stream: Column,
}

/// A line from the page: the slider was moved.
#[derive(Debug, Deserialize)]
struct Order {
    speed: u64,
}

/// The speed at the start, in bytes a second.
pub const START: u64 = 1 << 20;

/// The speeds that the slider goes over.
const SPEEDS: RangeInclusive<u64> = 1 << 16..=1 << 30;

impl Board {
    pub fn new(limit: u64, callback: watch::Receiver<Column>, stream: watch::Receiver<Column>) -> Self {
        Self { start: Instant::now(), limit, speed: watch::Sender::new(START), callback, stream }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            time: self.start.elapsed().as_secs_f64(),
            speed: *self.speed.borrow(),
            limit: self.limit,
            callback: *self.callback.borrow(),
            stream: *self.stream.borrow(),
        }
    }

    /// Does what a line from the page asks for, or says what is wrong with it.
    pub fn obey(&self, line: &str) -> Result<(), String> {
        let order: Option<Order> = serde_json::from_str(line).ok();
        let Some(Order { speed }) = order.filter(|order| SPEEDS.contains(&order.speed)) else {
            return Err(format!(r#"expected {{"speed":N}}, N from {} to {}"#, SPEEDS.start(), SPEEDS.end()));
        };
        self.speed.send_replace(speed);
        Ok(())
    }
}
