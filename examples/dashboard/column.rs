//! A column of the page: one consumer, whose process is started again whenever it ended at the limit.

use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::watch;

use crate::{child::Child, consumer::Reading, failure::Failure, side::Side};

/// What the page shows of a consumer now.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Column {
    /// Bytes that came into the client and have not been handled.
    pub waiting: u64,
    /// Bytes handled in a second.
    pub rate: f64,
    /// The most memory that the process had since it was started, where the system tells.
    pub peak_memory: Option<u64>,
    /// How often it was stopped at the limit and started again.
    pub restarts: u64,
}

/// Starts the consumer, tells it each new speed, and shows its readings.
pub async fn keep(
    side: Side,
    url: &str,
    limit: u64,
    mut speed: watch::Receiver<u64>,
    column: watch::Sender<Column>,
) -> Result<Infallible, Failure> {
    loop {
        let now = *speed.borrow_and_update();
        let words = ["consume".into(), side.to_string(), url.into(), now.to_string(), format!("--limit={limit}")];
        let mut child = Child::start(words)?;
        let mut base = Reading::default();
        loop {
            tokio::select! {
                line = child.line() => {
                    let Some(line) = line? else { break };
                    let reading = serde_json::from_str(&line)?;
                    column.send_modify(|column| show(column, &mut base, reading));
                }
                Ok(()) = speed.changed() => {
                    let now = speed.borrow_and_update().to_string();
                    // One that has just ended at the limit hears nothing, and the next one starts with it.
                    let _ = child.say(&now).await;
                }
            }
        }
        child.end().await?;
        if column.borrow().waiting <= limit {
            return Err(format!("the consumer behind the {side} ended").into());
        }
        column.send_modify(|column| column.restarts += 1);
    }
}

/// Shows a reading. The rate is that of a quarter of a second: a timer that fires late shows less in it.
fn show(column: &mut Column, base: &mut Reading, reading: Reading) {
    const SPAN: u64 = 250_000;
    let Reading { time, handled, waiting, peak_memory } = reading;
    if time >= base.time + SPAN {
        column.rate = (handled - base.handled) as f64 * 1e6 / (time - base.time) as f64;
        *base = reading;
    }
    (column.waiting, column.peak_memory) = (waiting, peak_memory);
}
