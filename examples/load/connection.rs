//! One connection, from its opening to its end.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use wsflow::{CloseFrame, Closed, Config, NextOrRoom, WebSocketStream};

use crate::{
    args::Args,
    failure::Failure,
    tally::Tally,
    window::{STAMP, Window},
};

/// How long answers, and then the server's Close frame, may take after the measured time.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Sends messages when they are due, and counts the answers.
pub async fn run(url: &str, args: &Args, window: Window, tally: &Mutex<Tally>) -> Result<(), Failure> {
    let tally = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    let config = Config::default().max_message_size(args.size).close_timeout(PATIENCE);
    let mut ws = WebSocketStream::builder(url).config(config).connect().await?;

    let (begun, pace, mut payload) = (Instant::now(), args.pace(), vec![0; args.size]);
    let (mut sent, mut answered) = (0, 0);
    loop {
        let now = Instant::now();
        let due = pace.due(begun, now, sent, answered).filter(|&due| due < window.until);
        if due.is_none() && now >= window.until && sent == answered {
            break;
        }
        // What waits for room is late already. It is sent when there is some, and has the stamp of when it was due.
        let wake = match due {
            Some(due) if due > now => due,
            Some(due) if ws.has_room() => {
                payload[..STAMP].copy_from_slice(&window.stamp(due));
                ws.feed_ref(&payload).await?; // does not wait: there is room
                sent += 1;
                continue;
            }
            _ if sent == answered => window.until,
            _ => window.until + PATIENCE,
        };
        match timeout_at(wake, ws.next_or_room()).await {
            Ok(Some(Ok(NextOrRoom::Message(message)))) => {
                let due = window.due(message.as_bytes()).ok_or(Failure::NoEcho)?;
                answered += 1;
                if due >= window.from {
                    tally().answered(due.elapsed(), message.len());
                }
            }
            Ok(Some(Ok(NextOrRoom::Room))) => {}
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(None) => {
                return Err(Failure::Closed(ws.closed().cloned().unwrap_or_else(|| Closed::new(1006, "", false))));
            }
            Err(_) if wake > window.until => break,
            Err(_) => {}
        }
    }
    tally().unanswered(pace.due_before(begun, window.until, sent) - answered);
    ws.close_with(CloseFrame::new(1000, "")).await?;
    Ok(())
}
