//! Several tasks send over one connection, another receives, and nothing is lost at the end.
//!
//! `cargo run --example split` runs against an echo server of its own; `-- --url ws://…` against another one. The consumer
//! sleeps now and then: the senders wait meanwhile, and pings are answered.

#[path = "support/echo.rs"]
mod echo;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use clap::Parser;
use futures::StreamExt as _;
use rand::RngExt as _;
use tokio::{task::JoinSet, time::sleep};
use wsflow::{CloseFrame, Error, Receiver, Sender, WebSocketStream};

/// How long the consumer is awake between two naps.
const AWAKE: Duration = Duration::from_millis(300);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sends from several tasks, and receives what an echo server sends back.
#[derive(Parser)]
struct Args {
    /// The echo server; without one, it is a task of this program
    #[arg(long)]
    url: Option<String>,
    /// How long the producers send
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many producers there are
    #[arg(long, default_value_t = 4)]
    producers: u32,
    /// How long the consumer sleeps at most, each time
    #[arg(long, default_value_t = 1.0)]
    pause: f64,
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let args = Args::parse();
    let url = match &args.url {
        Some(url) => url.clone(),
        None => echo::server().await?,
    };
    let (sender, receiver) = WebSocketStream::connect(url).await?.into_split();

    let consumer = tokio::spawn(consume(receiver, args.pause));
    let mut producers = JoinSet::new();
    for producer in 0..args.producers {
        producers.spawn(produce(sender.clone(), producer, Duration::from_secs_f64(args.seconds)));
    }
    let mut sent = 0;
    while let Some(count) = producers.join_next().await {
        sent += count??;
    }

    // Its echo comes behind all others: once the consumer has seen it nothing is under way any more.
    sender.send("end").await?;
    let received = consumer.await??;
    let closed = sender.close_with(CloseFrame::new(1000, "done")).await?;

    println!("sent {sent}, received {received}, closed with {} (clean: {})", closed.code, closed.was_clean);
    if received == sent && closed.was_clean { Ok(()) } else { Err("something was lost".into()) }
}

/// Sends numbered messages. `send` waits while there is no room.
async fn produce(sender: Sender, producer: u32, time: Duration) -> Result<u64, Error> {
    let end = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < end {
        sender.send(format!("{producer} {count}")).await?;
        count += 1;
    }
    Ok(count)
}

/// Checks that the messages of each producer come in order and without a gap, up to the last.
async fn consume(mut receiver: Receiver, pause: f64) -> Result<u64, AnyError> {
    let (mut next, mut received, mut awake) = (HashMap::<u32, u64>::new(), 0, Instant::now());
    while let Some(message) = receiver.next().await.transpose()? {
        let text = message.as_text().ok_or("the echo of a text is a text")?;
        if text == "end" {
            return Ok(received);
        }
        let (producer, count) = text.split_once(' ').ok_or("not one of ours")?;
        let next = next.entry(producer.parse()?).or_default();
        if count.parse::<u64>()? != *next {
            return Err(format!("producer {producer}: {count} came instead of {next}").into());
        }
        *next += 1;
        received += 1;
        if awake.elapsed() > AWAKE {
            let nap = Duration::from_secs_f64(rand::rng().random_range(0.0..=pause));
            println!("{received} received; the consumer sleeps for {nap:.1?}");
            sleep(nap).await;
            awake = Instant::now();
        }
    }
    Err("the connection ended too early".into())
}
