//! raw: the machine's limit. It reads and writes prepared bytes and knows no frames.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    drive::{Drive, Task},
    error::Result,
    frame,
    job::ANSWER,
    peer::{self, About, Io},
    workload::{Action, Flush, Need},
};

/// How much is read or written at a time.
const BLOCK: usize = 128 << 10;

pub struct Raw<S> {
    io: S,
    buffer: Vec<u8>,
    /// Bytes that came with those that were waited for.
    ahead: u64,
}

impl<S: Io> Drive for Raw<S> {
    type Io = S;

    const IS_CLIENT: bool = false;

    const ABOUT: About = About {
        name: "raw",
        how: "the machine's limit: reads and writes prepared bytes in blocks of 128 KiB, or of a batch, and knows no frames.",
        fragment: None,
        lacks: &[(Need::TakePayload, "raw has nothing to mask")],
    };

    async fn run(io: S, task: Task) -> Result<()> {
        let mut raw = Self { io, buffer: vec![0; BLOCK], ahead: 0 };
        let frame = frame::masked(task.workload.content.kind(), &task.payload());
        let message = frame::received_size(task.workload.size) as u64;
        match task.workload.action {
            Action::Receive { .. } => raw.read(message * task.count).await?,
            Action::Send { flush, .. } => {
                let batch = match flush {
                    Flush::Once => (BLOCK / frame.len()).max(1) as u64,
                    Flush::Each(messages) => messages,
                };
                raw.write(&frame, task.count, batch).await?;
                raw.read(frame::received_size(ANSWER.len()) as u64).await?;
            }
            Action::Echo { window } => raw.echo(&frame, message, task.count, window).await?,
        }
        if raw.ahead == 0 { Ok(()) } else { Err("more bytes than were to come".into()) }
    }
}

impl<S: Io> Raw<S> {
    async fn read(&mut self, bytes: u64) -> Result<()> {
        while self.ahead < bytes {
            match self.io.read(&mut self.buffer).await? as u64 {
                0 => return Err(peer::ended().into()),
                n => self.ahead += n,
            }
        }
        self.ahead -= bytes;
        Ok(())
    }

    async fn write(&mut self, frame: &[u8], mut count: u64, batch: u64) -> Result<()> {
        let block = frame.repeat(batch as usize);
        while count > 0 {
            let frames = count.min(batch);
            self.io.write_all(&block[..frame.len() * frames as usize]).await?;
            count -= frames;
        }
        Ok(())
    }

    /// The window at once, and then half a window for each half that came, as the peers do.
    async fn echo(&mut self, frame: &[u8], message: u64, count: u64, window: u64) -> Result<()> {
        let half = (window / 2).max(1).min(count);
        let (mut sent, mut received) = (window.min(count), 0);
        self.write(frame, sent, window).await?;
        while received < count {
            let come = half.min(count - received);
            self.read(message * come).await?;
            received += come;
            let more = come.min(count - sent);
            self.write(frame, more, half).await?;
            sent += more;
        }
        Ok(())
    }
}
