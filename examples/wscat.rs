//! A conversation with any WebSocket server, line by line.
//!
//! ```text
//! cargo run --example wscat -- wss://example.com/feed --header 'Authorization: Bearer …'
//! cargo run --example wscat -- ws://localhost:8080 --execute '{"get":"time"}'
//! cargo run --example wscat --features proxy -- wss://example.com/feed --proxy socks5://localhost:1080
//! ```
//!
//! It shows the two halves of a connection: `say` has the one that sends, `print` the one that receives. Nothing in between
//! grows. A message is taken once standard output has taken those before it, so with `| less` it is the server who waits;
//! and a line of standard input is read once there is room for it.
//!
//! It exits with 0 after a clean end, else with 1 and the error.

use std::{fmt::Write as _, io, path::PathBuf, pin::pin, thread, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::{io::AsyncWriteExt as _, sync::mpsc};
use wsflow::{ClientBuilder, CloseFrame, Config, Deflate, Message, Receiver, Sender, WebSocketStream};

/// Sends the lines of standard input as text messages, and prints what comes.
///
/// Text is printed as it is, binary as its length and hex. What concerns the connection goes to standard error.
/// The end of standard input closes the connection; what the server still sends before its own close is printed.
///
/// Lines that start with / are commands:
///   /ping                   measures a round trip; the next line waits for it
///   /binary HEX             sends a binary message
///   /close [CODE [REASON]]  closes the connection
///   //TEXT                  sends /TEXT
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    /// The server, such as wss://example.com/feed
    url: String,
    /// A header of the request; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// A subprotocol to ask for; may be given several times
    #[arg(long, value_name = "NAME")]
    protocol: Vec<String>,
    /// Ask for compression
    #[arg(long)]
    compress: bool,
    /// Ping a server that says nothing for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    ping_interval: Duration,
    /// Trust the certificates of this PEM file, and no others
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The name for the header Host and for TLS, if it is not that of the URL
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Go through this proxy: http://… or socks5://…; needs the feature `proxy`
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// How many seconds TCP may take to connect
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    connect_timeout: Option<Duration>,
    /// Send this instead of standard input, and close after the answer
    #[arg(long, value_name = "TEXT")]
    execute: Option<String>,
    /// Close after so many messages, and not at the end of standard input [default with --execute: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let limit = args.count.or(args.execute.is_some().then_some(1));

    let ws = builder(&args)?.connect().await?;
    eprintln!("open; protocol: {:?}, extensions: {:?}", ws.protocol(), ws.extensions());
    let (sender, mut receiver) = ws.into_split();
    let heard = {
        let mut print = pin!(print(&mut receiver, limit));
        tokio::select! {
            biased;
            heard = &mut print => heard?,
            said = say(&sender, &args, limit) => {
                said?;
                print.await?
            }
        }
    };
    // Nobody wants what still comes. Where the connection has ended this only says how.
    drop(receiver);
    let closed = sender.close_with(normal()).await?;
    match limit {
        Some(limit) if heard < limit => bail!("{closed}, after {heard} of {limit} messages"),
        _ if !closed.was_clean => bail!("{closed}"),
        _ => eprintln!("{closed}; {} pings answered", sender.stats().pings_received),
    }
    Ok(())
}

fn builder(args: &Args) -> anyhow::Result<ClientBuilder> {
    let config = Config::default().keepalive_interval(args.ping_interval).deflate(args.compress.then(Deflate::default));
    let mut builder = WebSocketStream::builder(&args.url).config(config).protocols(&args.protocol);
    for (name, value) in &args.header {
        builder = builder.header(name, value);
    }
    if let Some(host) = &args.host {
        builder = builder.host(host);
    }
    if let Some(timeout) = args.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(file) = &args.ca {
        builder = trusting(builder, file).with_context(|| format!("--ca {}", file.display()))?;
    }
    match &args.proxy {
        Some(url) => through(builder, url),
        None => Ok(builder),
    }
}

#[cfg(all(feature = "rustls-tls", feature = "ring"))]
fn trusting(builder: ClientBuilder, file: &std::path::Path) -> anyhow::Result<ClientBuilder> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    use wsflow::{Connector, rustls};

    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        bail!("no certificate is in it");
    }
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(builder.tls(Connector::Rustls(tls.into())))
}

#[cfg(not(all(feature = "rustls-tls", feature = "ring")))]
fn trusting(_: ClientBuilder, _: &std::path::Path) -> anyhow::Result<ClientBuilder> {
    bail!("this build has no rustls: cargo run --example wscat --features rustls-tls,ring")
}

#[cfg(feature = "proxy")]
fn through(builder: ClientBuilder, url: &str) -> anyhow::Result<ClientBuilder> {
    use wsflow::Proxy;

    let proxy = if url.starts_with("http:") { Proxy::http(url)? } else { Proxy::socks5(url)? };
    Ok(builder.proxy(proxy))
}

#[cfg(not(feature = "proxy"))]
fn through(_: ClientBuilder, _: &str) -> anyhow::Result<ClientBuilder> {
    bail!("--proxy: this build has no proxies: cargo run --example wscat --features proxy")
}

/// Sends what is typed, up to its end, to a `/close`, or until the connection takes nothing more: then it is `print` that
/// learns how it ended.
async fn say(sender: &Sender, args: &Args, limit: Option<u64>) -> anyhow::Result<()> {
    if let Some(text) = &args.execute {
        let _ = sender.send(text.as_str()).await;
        return Ok(());
    }
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        match Command::parse(&line.context("standard input")?) {
            Ok(Command::Send(message)) => {
                if sender.send(message).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Command::Ping) => match sender.ping().await {
                Ok(time) => eprintln!("pong after {time:.1?}"),
                Err(error) => eprintln!("no pong: {error}"),
            },
            Ok(Command::Close(frame)) => match sender.close_with(frame).await {
                Ok(_) => return Ok(()),
                Err(invalid) => eprintln!("{invalid}"),
            },
            Err(invalid) => eprintln!("{invalid}"),
        }
    }
    if limit.is_none() {
        sender.close_with(normal()).await?;
    }
    Ok(())
}

fn normal() -> CloseFrame {
    CloseFrame::new(1000, "")
}

/// The lines of standard input, one ahead. A thread reads them, since a read from a terminal cannot be cancelled: tokio's
/// stdin would keep the program from ending.
fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What a line of standard input asks for.
enum Command {
    Send(Message),
    Ping,
    Close(CloseFrame),
}

impl Command {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let Some(command) = line.strip_prefix('/') else { return Ok(Self::Send(line.into())) };
        if command.starts_with('/') {
            return Ok(Self::Send(command.into()));
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("ping", "") => Ok(Self::Ping),
            ("binary", hex) => Ok(Self::Send(bytes(hex).context("/binary: expected hex, such as 00ff")?.into())),
            ("close", "") => Ok(Self::Close(normal())),
            ("close", frame) => {
                let (code, reason) = frame.split_once(' ').unwrap_or((frame, ""));
                let code: u16 = code.parse().context("/close: expected a code, such as 1000")?;
                Ok(Self::Close(CloseFrame::new(code, reason)))
            }
            _ => bail!(
                "not a command: {line}; expected /ping, /binary HEX, /close [CODE [REASON]], or // for a text with /"
            ),
        }
    }
}

/// The bytes that hex digits stand for.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Prints what comes, up to the end or the limit, and returns how many messages came. What has come by now is written at
/// once; the next is taken when standard output took all of that.
async fn print(receiver: &mut Receiver, limit: Option<u64>) -> anyhow::Result<u64> {
    const AT_ONCE: u64 = 64;
    let (mut out, mut block, mut messages, mut count) = (tokio::io::stdout(), String::new(), Vec::new(), 0);
    while limit.is_none_or(|limit| count < limit) {
        let wanted = limit.map_or(AT_ONCE, |limit| AT_ONCE.min(limit - count));
        let n = receiver.recv_many(&mut messages, wanted as usize).await?;
        if n == 0 {
            break;
        }
        for message in messages.drain(..) {
            match message {
                Message::Text(text) => block.push_str(text.as_str()),
                Message::Binary(data) => {
                    write!(block, "<{} bytes> ", data.len())?;
                    data.iter().try_for_each(|byte| write!(block, "{byte:02x}"))?;
                }
            }
            block.push('\n');
        }
        out.write_all(block.as_bytes()).await.context("standard output")?;
        out.flush().await.context("standard output")?;
        block.clear();
        count += n as u64;
    }
    Ok(count)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    Ok((name.trim().into(), value.trim().into()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| "expected a number of seconds above 0, such as 2.5".into())
}
