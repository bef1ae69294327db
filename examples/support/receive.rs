//! Receiving with a slow consumer, behind each of the two APIs.

use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use wsflow::{WebSocketStream, compat::WebSocket};

use crate::{failure::Failure, meter::Meter, pace::Pace, tick::Prompt};

/// Behind the event API: nobody waits for a handler, and it cannot wait for the consumer. It can only queue.
pub async fn by_callback(url: &str, mut prompt: Prompt, mut consumer: Pace, meter: Meter) -> Result<(), Failure> {
    let (queue, mut queued) = mpsc::unbounded_channel();
    let mut first = prompt.first();
    let arrivals = meter.clone();

    let ws = WebSocket::builder(url)?
        .on_open(move |ws, _| {
            for tick in first.drain(..) {
                let _ = ws.send(tick);
            }
        })
        .on_message(move |ws, event| {
            arrivals.came(event.data.len());
            let _ = queue.send(event.data.clone());
            if let Some(tick) = prompt.next() {
                let _ = ws.send(tick);
            }
        })
        .on_close(|ws, _| ws.clear_on_message()) // and so the queue ends: its sender was the handler's
        .connect();

    while let Some(message) = queued.recv().await {
        consumer.work(message.len()).await;
        meter.went(message.len());
    }
    ws.error().map_or(Ok(()), |error| Err(error.into()))
}

/// Behind the stream: the next message is asked for when there is time for it. Until then the socket is not read, its
/// window fills, and it is the server who waits.
pub async fn by_stream(url: &str, mut prompt: Prompt, mut consumer: Pace, meter: Meter) -> Result<(), Failure> {
    let mut ws = WebSocketStream::connect(url).await?;
    for tick in prompt.first() {
        ws.feed(tick.into()).await?;
    }

    while let Some(message) = ws.next().await.transpose()? {
        meter.came(message.len());
        meter.has_read(ws.stats().wire_bytes_received);
        if let Some(tick) = prompt.next() {
            ws.feed(tick.into()).await?;
        }
        consumer.work(message.len()).await;
        meter.went(message.len());
    }
    Ok(())
}
