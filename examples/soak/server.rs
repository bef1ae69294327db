//! A server that checks and sends back what it gets, stalls now and then, and closes or cuts some connections.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};
use tokio_tungstenite::{
    accept_async,
    tungstenite::protocol::{CloseFrame, frame::coding::CloseCode},
};
use wsflow::{Message, MessageRef};

use crate::{numbered, tally::Tally};

/// Its port, and the task that accepts connections.
pub(crate) async fn start(listen: IpAddr, seed: u64, tally: Arc<Tally>) -> io::Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind((listen, 0)).await?;
    let port = listener.local_addr()?.port();
    let mut rng = StdRng::seed_from_u64(seed);
    let task = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tally, rng) = (Arc::clone(&tally), StdRng::from_rng(&mut rng));
            tokio::spawn(async move {
                if let Err(wrong) = serve(tcp, rng).await {
                    tally.wrong(format!("the server got {wrong}"));
                }
            });
        }
    });
    Ok((port, task))
}

/// How a connection ends, if the client does not end it.
enum Ending {
    Never,
    Close(u64),
    Cut(u64),
}

async fn serve(tcp: TcpStream, mut rng: StdRng) -> Result<(), String> {
    let Ok(mut ws) = accept_async(tcp).await else { return Ok(()) };
    let ending = match rng.random_range(0..10) {
        0..2 => Ending::Close(rng.random_range(1..2000)),
        2 => Ending::Cut(rng.random_range(1..2000)),
        _ => Ending::Never,
    };
    let mut got = 0;
    // Whoever goes away ends it.
    while let Some(Ok(message)) = ws.next().await {
        let Ok(ours) = Message::try_from(message.clone()) else { continue };
        numbered::check(MessageRef::from(&ours), got)?;
        got += 1;
        if rng.random_ratio(1, 1000) {
            sleep(Duration::from_millis(rng.random_range(0..500))).await;
        }
        if ws.send(message).await.is_err() {
            break;
        }
        match ending {
            Ending::Close(at) if at == got => {
                let restart = CloseFrame { code: CloseCode::Restart, reason: "enough".into() };
                if ws.close(Some(restart)).await.is_err() {
                    break;
                }
                // What the client sent before it saw the Close is not answered.
                while let Some(Ok(_)) = ws.next().await {}
            }
            Ending::Cut(at) if at == got => break,
            _ => {}
        }
    }
    Ok(())
}
