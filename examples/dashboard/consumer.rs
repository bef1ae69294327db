//! A consumer in a process of its own: it is told its speed on standard input, and writes a reading in each line.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    task,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{child, failure::Failure, memory, meter::Meter, pace::Pace, receive, side::Side, tick::Prompt};

/// A consumer at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Microseconds since it was started.
    pub time: u64,
    /// Bytes that it has handled.
    pub handled: u64,
    /// Bytes that came into the client and have not been handled.
    pub waiting: u64,
    /// The most memory that its process had, where the system tells.
    pub peak_memory: Option<u64>,
}

/// Consumes until more than `limit` bytes wait. Its process is to end then, and frees them all.
pub async fn consume(side: Side, url: &str, speed: u64, limit: u64) -> Result<(), Failure> {
    let speed = Arc::new(AtomicU64::new(speed));
    let (pace, meter) = (Pace::new(speed.clone()), Meter::default());
    child::listen_to_parent(move |line| {
        if let Ok(bytes_per_second) = line.parse() {
            speed.store(bytes_per_second, Relaxed);
        }
    });
    let work = {
        let (url, meter) = (url.to_owned(), meter.clone());
        task::spawn(async move {
            match side {
                Side::Callback => receive::by_callback(&url, Prompt::nothing(), pace, meter).await,
                Side::Stream => receive::by_stream(&url, Prompt::nothing(), pace, meter).await,
            }
        })
    };
    tokio::select! {
        () = watch(&meter, limit) => Ok(()),
        worked = work => worked?.and(Err("the server of ticks closed the connection".into())),
    }
}

/// Writes a reading now and then, until more than `limit` bytes wait.
async fn watch(meter: &Meter, limit: u64) {
    let start = Instant::now();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = Duration::ZERO;
    loop {
        looks.tick().await;
        let time = start.elapsed();
        let waiting = meter.sample(time).waiting;
        if time >= next || waiting > limit {
            let peak_memory = memory::peak();
            let reading = Reading { time: time.as_micros() as u64, handled: meter.gone(), waiting, peak_memory };
            // A reading that cannot be written has no reader any more, and this process has not long to live.
            let _ = serde_json::to_string(&reading).map(|line| writeln!(io::stdout(), "{line}"));
            next = time + BETWEEN;
        }
        if waiting > limit {
            return;
        }
    }
}

/// How often the limit is looked at: a queue that grows by 1 GB/s passes it by 5 MB.
const LOOK: Duration = Duration::from_millis(5);

/// The time between two readings.
const BETWEEN: Duration = Duration::from_millis(50);
