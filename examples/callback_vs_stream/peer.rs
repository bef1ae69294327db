//! The server that the runs talk to: the embedded one, or a given one of which has to be found out what it does.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use url::Url;
use wsflow::WebSocketStream;

use crate::{args::Args, child::Child, failure::Failure, server, tick::Ticks};

/// The server that the runs talk to.
#[derive(Debug)]
pub struct Peer {
    pub description: String,
    /// What a run that receives connects to.
    pub source: Url,
    /// What a run that sends connects to.
    pub sink: Url,
    pub habit: Habit,
    _embedded: Option<Child>,
}

impl Peer {
    pub async fn find(args: &Args) -> Result<Self, Failure> {
        match &args.url {
            Some(url) => Self::given(url, args).await,
            None => Self::embedded(args).await,
        }
    }

    async fn given(url: &Url, args: &Args) -> Result<Self, Failure> {
        let habit = probe(url.as_str(), Ticks::new(args.message_size)).await;
        let habit = habit.map_err(|error| format!("{url}: {error}"))?;
        let does = match habit {
            Habit::Sends => "sends by itself",
            Habit::Echoes => "echoes: the receive runs send it ticks first",
            Habit::Listens => "only listens",
        };
        let description = format!("server {url}, which {does}");
        Ok(Self { description, source: url.clone(), sink: url.clone(), habit, _embedded: None })
    }

    async fn embedded(args: &Args) -> Result<Self, Failure> {
        let mut words = args.settings();
        words.push("server".into());
        let mut child = Child::start(words)?;
        let address = child.line().await?.ok_or("the embedded server did not start")?;
        let url = Url::parse(&format!("ws://{address}"))?;
        Ok(Self {
            description: format!("embedded server at {url}"),
            source: url.join(server::TICKS)?,
            sink: url.join(server::SINK)?,
            habit: Habit::Sends,
            _embedded: Some(child),
        })
    }
}

/// What a server does when it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It sends by itself.
    Sends,
    /// It sends back what it is sent.
    Echoes,
    /// It is silent.
    Listens,
}

/// Connects to see. One message that comes unasked may be a greeting: it takes two to tell a server that sends.
async fn probe(url: &str, mut ticks: Ticks) -> Result<Habit, Failure> {
    let mut ws = WebSocketStream::connect(url).await?;
    let unasked = async {
        for _ in 0..2 {
            ws.next().await.ok_or(CLOSED)??;
        }
        Ok(Habit::Sends)
    };
    if let Ok(habit) = timeout(PATIENCE, unasked).await {
        return habit;
    }
    let Some(tick) = ticks.next() else { return Ok(Habit::Listens) };
    ws.send(tick.into()).await?;
    match timeout(PATIENCE, ws.next()).await {
        Ok(answer) => answer.ok_or(CLOSED)?.map(|_| Habit::Echoes).map_err(Failure::from),
        Err(_) => Ok(Habit::Listens),
    }
}

const CLOSED: &str = "the server closed the connection at once";

const PATIENCE: Duration = Duration::from_secs(1);
