//! A file goes up as one message and comes down as one, and neither end ever holds more than a piece of it.
//!
//! `cargo run --release --example big_file` sends 1 GiB that it makes up to a server of its own, which sends everything back;
//! `-- --file movie.mkv --url wss://…` sends a file to an echo server of yours. What comes back is compared byte by byte.

#[path = "support/echo_frames.rs"]
mod echo_frames;

use std::{io, path::PathBuf};

use clap::Parser;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
};
use wsflow::{CloseFrame, Kind, Receiver, Sender, WebSocketStream};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sends a file as one message to an echo server, and compares what comes back.
#[derive(Parser, Clone)]
struct Args {
    /// The echo server; without one, it is a task of this program
    #[arg(long)]
    url: Option<String>,
    /// The file; without one, it is made up
    #[arg(long)]
    file: Option<PathBuf>,
    /// How large the file is that is made up, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
}

/// How much is read or written at a time.
const PIECE: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let args = Args::parse();
    let url = match &args.url {
        Some(url) => url.clone(),
        None => echo_frames::server().await?,
    };
    let (sender, receiver) = WebSocketStream::connect(url).await?.into_split();

    let bars = MultiProgress::new();
    // Both at once: an echo server that is not read from does not go on to read.
    let up = tokio::spawn(upload(sender.clone(), args.clone(), bar(&bars, "up", &args).await?));
    let down = tokio::spawn(download(receiver, args.clone(), bar(&bars, "down", &args).await?));
    let (sent, received) = (up.await??, down.await??);

    let closed = sender.close_with(CloseFrame::new(1000, "done")).await?;
    println!("{sent} bytes up, {received} bytes down, as one message each; closed with {}", closed.code);
    Ok(())
}

/// The file as one message: a frame after the other, each of `fragment_size`.
async fn upload(mut sender: Sender, args: Args, bar: ProgressBar) -> Result<u64, AnyError> {
    let (mut file, mut buffer) = (open(&args).await?, vec![0; PIECE]);
    let mut message = sender.writer(Kind::Binary).await?;
    loop {
        let n = file.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        message.write_all(&buffer[..n]).await?;
        bar.inc(n as u64);
    }
    // Without this the connection fails: half a file must not look like a whole one.
    message.finish().await?;
    bar.finish();
    Ok(bar.position())
}

/// What comes back, compared with the file.
async fn download(mut receiver: Receiver, args: Args, bar: ProgressBar) -> Result<u64, AnyError> {
    let mut file = open(&args).await?;
    let mut message = receiver.next_reader().await.transpose()?.ok_or("the connection ended")?;
    let mut expected = Vec::new();
    while let Some(chunk) = message.chunk().await.transpose()? {
        expected.resize(chunk.len(), 0);
        file.read_exact(&mut expected).await?;
        if chunk != expected {
            return Err(format!("what came back differs from byte {} on", bar.position()).into());
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    Ok(bar.position())
}

/// The file, or what is made up for one.
async fn open(args: &Args) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
    Ok(match &args.file {
        Some(path) => Box::new(File::open(path).await?),
        None => Box::new(tokio::io::repeat(b'#').take(args.mib << 20)),
    })
}

async fn bar(bars: &MultiProgress, name: &'static str, args: &Args) -> Result<ProgressBar, AnyError> {
    let len = match &args.file {
        Some(path) => tokio::fs::metadata(path).await?.len(),
        None => args.mib << 20,
    };
    let style = ProgressStyle::with_template("{prefix:>5} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")?;
    Ok(bars.add(ProgressBar::new(len).with_style(style).with_prefix(name)))
}
