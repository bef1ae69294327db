//! Sending to a slow reader, behind each of the two APIs.

use futures::{SinkExt, StreamExt, future};
use tokio::task;
use wsflow::{ReadyState, WebSocketStream, compat::WebSocket};

use crate::{failure::Failure, meter::Meter, tick::Ticks};

/// Behind the event API: `send` takes everything at once and `bufferedAmount` grows. Nothing ever says "wait".
pub async fn by_callback(url: &str, ticks: Ticks, meter: Meter) -> Result<(), Failure> {
    let ws = WebSocket::builder(url)?
        .on_open(move |ws, _| {
            task::spawn(produce(ws.clone(), ticks.clone(), meter.clone()));
        })
        .connect();

    ws.closed().await;
    ws.error().map_or(Ok(()), |error| Err(error.into()))
}

async fn produce(ws: WebSocket, ticks: Ticks, meter: Meter) {
    for (sent, tick) in (1..).zip(ticks) {
        let len = tick.len();
        if ws.ready_state() != ReadyState::Open || ws.send(tick).is_err() {
            return;
        }
        meter.came(len);
        meter.waits(ws.buffered_amount());
        if sent % TURN == 0 {
            task::yield_now().await; // others want to run too: this is no waiting for the connection
        }
    }
}

/// How many ticks come at a time.
const TURN: u64 = 64;

/// Behind the stream: `send().await` is over when the socket took the message. It is the producer who waits.
pub async fn by_stream(url: &str, ticks: Ticks, meter: Meter) -> Result<(), Failure> {
    let (mut ws, answers) = WebSocketStream::connect(url).await?.split();
    task::spawn(answers.for_each(|_| future::ready(()))); // a server that echoes reads on only if somebody reads it

    for tick in ticks {
        let len = tick.len();
        meter.came(len);
        ws.send(tick.into()).await?;
        meter.went(len);
    }
    Ok(())
}
