//! A market data server: it pours the ticks of what was subscribed to, and restarts now and then.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// How long a connection lasts.
const LIFE: Duration = Duration::from_secs(5);
/// How long after a tick the next one comes.
const PACE: Duration = Duration::from_millis(1);

/// Starts it on a free port of this machine, and gives its URL.
pub(crate) async fn server() -> std::io::Result<String> {
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("ws://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A client that goes away ends it.
            tokio::spawn(serve(tcp));
        }
    });
    Ok(url)
}

async fn serve(tcp: TcpStream) -> Result<(), Error> {
    let mut ws = tokio_tungstenite::accept_async(tcp).await?;
    let (mut channels, end) = (Vec::<String>::new(), Instant::now() + LIFE);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for sequence in 0_usize.. {
        tokio::select! {
            message = ws.next() => match message.transpose()? {
                Some(Message::Text(text)) => channels.extend(text.split('"').nth(7).map(str::to_owned)),
                Some(_) => {}
                None => return Ok(()),
            },
            _ = pace.tick() => {
                let Some(channel) = channels.get(sequence % channels.len().max(1)) else { continue };
                let price = 100.0 + (sequence * 37 % 997) as f64 / 100.0;
                ws.send(format!(r#"{{"channel":"{channel}","sequence":{sequence},"price":{price:.2}}}"#).into()).await?;
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    ws.close(Some(CloseFrame { code: CloseCode::Restart, reason: "restart".into() })).await?;
    // Until the client has answered.
    while ws.next().await.transpose()?.is_some() {}
    Ok(())
}
