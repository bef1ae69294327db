//! A request out, and the head of the response in, which may come before all of the request is out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use http::Response;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{error::Error, handshake::head};

/// What came back.
pub(crate) struct Exchanged {
    /// The head of the response.
    pub(crate) head: Response<()>,
    /// What was read beyond it.
    pub(crate) read_buf: BytesMut,
    /// Whether the transport had taken all of the request by then. If not, the connection is lost, and only a refusal counts.
    pub(crate) is_sent: bool,
}

/// How long the head is waited for after writing failed. The other side has refused and gone, and what it said is on its way or
/// here; where nothing is, the failure is told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sends `request` over `io` and reads the head of the response meanwhile: one that refuses before it has read all says why, and
/// breaks the connection. `deadline` is that of the caller, who also sees to it; `None`: no limit.
pub(crate) async fn exchange<IO>(io: &mut IO, request: &[u8], deadline: Option<Instant>) -> Result<Exchanged, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut sending = Sending { io, deadline, request: Left::Bytes(request) };
    let (head, read_buf) = head::read(&mut sending).await?;
    Ok(Exchanged { head, read_buf, is_sent: matches!(sending.request, Left::Flush | Left::Nothing) })
}

/// An IO that goes on sending a request whenever it is read.
struct Sending<'a, IO> {
    io: &'a mut IO,
    deadline: Option<Instant>,
    request: Left<'a>,
}

/// What is left of the request.
enum Left<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The transport has all, and may hold it back.
    Flush,
    Nothing,
    /// It cannot be sent. Reading ends with this error when nothing is left to read, or nothing comes until then.
    Failed(Option<io::Error>, Option<Pin<Box<Sleep>>>),
}

impl<IO: AsyncWrite + Unpin> Sending<'_, IO> {
    /// Writes as much as the transport takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(result) = self.poll_step(cx) {
            match (result, &self.request) {
                (Ok(()), Left::Nothing | Left::Failed(..)) => return,
                (Ok(()), _) => {}
                (Err(error), _) => {
                    let last = self.deadline.map(|deadline| deadline.min(Instant::now() + LAST_WORDS));
                    self.request = Left::Failed(Some(error), last.map(|last| Box::pin(sleep_until(last))));
                }
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.request {
            Left::Bytes([]) => self.request = Left::Flush,
            Left::Bytes(bytes) => match ready!(Pin::new(&mut *self.io).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *bytes = bytes.get(written..).unwrap_or_default(),
            },
            Left::Flush => {
                ready!(Pin::new(&mut *self.io).poll_flush(cx))?;
                self.request = Left::Nothing;
            }
            Left::Nothing | Left::Failed(..) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sending<'_, IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.poll_send(cx);
        let had = buf.filled().len();
        let read = Pin::new(&mut *this.io).poll_read(cx, buf);
        let Left::Failed(error, last_words) = &mut this.request else { return read };
        let is_over = match &read {
            Poll::Ready(result) => result.is_err() || buf.filled().len() == had,
            Poll::Pending => last_words.as_mut().is_some_and(|last| last.as_mut().poll(cx).is_ready()),
        };
        match error.take_if(|_| is_over) {
            Some(error) => Poll::Ready(Err(error)),
            None => read,
        }
    }
}
