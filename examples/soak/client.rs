//! One client: connections one after another, each with random traffic, until the time is up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use wsflow::{CloseFrame, Config, Error, MessageRef, NextOrRoom, WebSocketStream};

use crate::{numbered, tally::Tally};

/// A connection that has not ended by then hangs: it has a few seconds of traffic.
const HANGS: Duration = Duration::from_secs(120);

pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) until: Instant,
    pub(crate) tally: Arc<Tally>,
}

/// How one connection went that did nothing wrong.
enum Outcome {
    /// With all echoes and a Close frame of ours.
    Closed,
    Dropped,
    /// By the server, with a Close frame or without.
    ByServer(Option<Error>),
}

/// Why a round of traffic did not end well.
enum Broken {
    /// The connection ended, as it may.
    Ended,
    Wrong(String),
}

impl Client {
    pub(crate) async fn run(self) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        while Instant::now() < self.until && self.tally.first_wrong().is_none() {
            let connection = StdRng::from_rng(&mut rng);
            let outcome = timeout(HANGS, self.connection(connection)).await;
            let counter = match outcome.unwrap_or_else(|_| Err(format!("no end within {HANGS:?}"))) {
                Ok(Outcome::Closed) => &self.tally.closed_by_us,
                Ok(Outcome::Dropped) => &self.tally.dropped,
                Ok(Outcome::ByServer(None)) => &self.tally.closed_by_server,
                Ok(Outcome::ByServer(Some(error))) if error.is_transient() && !error.is_timeout() => &self.tally.cut,
                Ok(Outcome::ByServer(Some(error))) => return self.tally.wrong(format!("the client's error {error}")),
                Err(wrong) => return self.tally.wrong(format!("the client got {wrong}")),
            };
            Tally::add(counter, 1);
        }
    }

    async fn connection(&self, mut rng: StdRng) -> Result<Outcome, String> {
        let mark = 1 << rng.random_range(10..=20);
        let config = Config::default().write_high_water_mark(mark).read_high_water_mark(mark);
        let config = config.fragment_size(1 << rng.random_range(10..=18));
        let builder = WebSocketStream::builder(format!("ws://{}/", self.address)).config(config);
        let ws = builder.connect().await.map_err(|error| format!("no connection: {error}"))?;
        Tally::add(&self.tally.connections, 1);
        let until = self.until.min(Instant::now() + Duration::from_millis(rng.random_range(100..10_000)));
        if rng.random_ratio(1, 3) { self.halves(ws, rng, until).await } else { self.in_place(ws, rng, until).await }
    }

    /// One task sends and receives in turn, by value or by reference.
    async fn in_place(&self, mut ws: WebSocketStream, mut rng: StdRng, until: Instant) -> Result<Outcome, String> {
        let (mut sent, mut received) = (0, 0);
        while Instant::now() < until {
            let burst = rng.random_range(1..=50);
            match self.round(&mut ws, &mut rng, sent + burst, &mut received).await {
                Ok(()) => sent += burst,
                Err(Broken::Ended) => return self.rest(ws, received).await,
                Err(Broken::Wrong(wrong)) => return Err(wrong),
            }
            pause(&mut rng).await;
        }
        if rng.random_ratio(1, 10) {
            return Ok(Outcome::Dropped);
        }
        let closed = ws.close_with(CloseFrame::new(1000, "")).await.map_err(|error| error.to_string())?;
        if closed.was_clean { Ok(Outcome::Closed) } else { self.rest(ws, received).await }
    }

    /// Sends the messages up to `all`, and receives all echoes.
    async fn round(
        &self,
        ws: &mut WebSocketStream,
        rng: &mut StdRng,
        all: u64,
        received: &mut u64,
    ) -> Result<(), Broken> {
        let by_reference = rng.random_bool(0.5);
        let mut sent = *received;
        while sent < all {
            if ws.has_room() {
                let message = numbered::message(sent, rng);
                let fed = if by_reference { ws.feed_ref(&message).await } else { ws.feed(message).await };
                fed.map_err(|_| Broken::Ended)?;
                sent += 1;
            } else {
                match ws.next_or_room().await {
                    Some(Ok(NextOrRoom::Message(message))) => self.echo(MessageRef::from(&message), received)?,
                    Some(Ok(NextOrRoom::Room)) => {}
                    Some(Err(_)) | None => return Err(Broken::Ended),
                }
            }
        }
        while *received < all {
            if by_reference {
                let Some(Ok(message)) = ws.next_ref().await else { return Err(Broken::Ended) };
                self.echo(message, received)?;
            } else {
                let Some(Ok(message)) = ws.next().await else { return Err(Broken::Ended) };
                self.echo(MessageRef::from(&message), received)?;
            }
        }
        Ok(())
    }

    /// What still comes of a connection that has ended.
    async fn rest(&self, mut ws: WebSocketStream, mut received: u64) -> Result<Outcome, String> {
        while let Some(item) = ws.next().await {
            if let Ok(message) = item {
                self.checked(MessageRef::from(&message), &mut received)?;
            }
        }
        Ok(Outcome::ByServer(ws.error().cloned()))
    }

    /// One task sends while another receives, and stalls now and then.
    async fn halves(&self, ws: WebSocketStream, mut rng: StdRng, until: Instant) -> Result<Outcome, String> {
        let (sender, mut receiver) = ws.into_split();
        let mut producer = StdRng::from_rng(&mut rng);
        // How many messages there are in all. If the connection ends before, nobody is told.
        let (total, mut all) = oneshot::channel();
        let mut total = Some(total);
        let sending = async {
            let total = &mut total;
            let mut sent = 0;
            while Instant::now() < until {
                for _ in 0..producer.random_range(1..=50) {
                    // Why is the receiver's to tell.
                    if sender.send(numbered::message(sent, &mut producer)).await.is_err() {
                        return;
                    }
                    sent += 1;
                }
                pause(&mut producer).await;
            }
            let _ = total.take().map(|total| total.send(sent));
        };
        let receiving = async {
            let (mut received, mut wanted) = (0, None);
            while wanted != Some(received) {
                tokio::select! {
                    Ok(total) = &mut all, if wanted.is_none() => wanted = Some(total),
                    item = receiver.next() => match item {
                        Some(Ok(message)) => self.checked(MessageRef::from(&message), &mut received)?,
                        Some(Err(error)) => return Ok(Some(Outcome::ByServer(Some(error)))),
                        None => return Ok(Some(Outcome::ByServer(None))),
                    },
                }
                if rng.random_ratio(1, 500) {
                    pause(&mut rng).await;
                }
            }
            Ok::<_, String>(None)
        };
        let ((), ended) = tokio::join!(sending, receiving);
        if let Some(outcome) = ended? {
            return Ok(outcome);
        }
        if rng.random_ratio(1, 10) {
            return Ok(Outcome::Dropped);
        }
        let closed = sender.close_with(CloseFrame::new(1000, "")).await.map_err(|error| error.to_string())?;
        match receiver.next().await {
            None if closed.was_clean => Ok(Outcome::Closed),
            None => Err(format!("{closed:?} without an error")),
            Some(Ok(message)) => Err(format!("{} bytes behind the last echo", message.len())),
            Some(Err(error)) => Ok(Outcome::ByServer(Some(error))),
        }
    }

    fn echo(&self, message: MessageRef<'_>, received: &mut u64) -> Result<(), Broken> {
        self.checked(message, received).map_err(Broken::Wrong)
    }

    fn checked(&self, message: MessageRef<'_>, received: &mut u64) -> Result<(), String> {
        numbered::check(message, *received)?;
        *received += 1;
        Tally::add(&self.tally.echoes, 1);
        Tally::add(&self.tally.bytes, message.len() as u64);
        Ok(())
    }
}

/// Mostly short; now and then a stall in which nothing is read.
async fn pause(rng: &mut StdRng) {
    let most = if rng.random_ratio(1, 20) { 1000 } else { 100 };
    sleep(Duration::from_millis(rng.random_range(0..most))).await;
}
