//! soketto: a sender and a receiver over the traits of futures.

use bytes::{Bytes, BytesMut};
use futures::io::{BufReader, BufWriter};
use soketto::{Data, Mode, Receiver, Sender, connection::Builder};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer},
    tally::Tally,
};

type Transport<S> = BufReader<BufWriter<Compat<S>>>;

pub struct Soketto<S> {
    sender: Sender<Transport<S>>,
    receiver: Receiver<Transport<S>>,
    message: Vec<u8>,
}

impl<S: Io> Peer for Soketto<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "soketto",
        how: "over `BufReader` and `BufWriter`, as in its examples, with buffers of 128 KiB; each message is received into \
              one `Vec`. `send_binary` into that writer stands for `feed`. It leaves the check of UTF-8 to its user: \
              `std::str::from_utf8`, as in its docs.",
        fragment: None,
        lacks: &[],
    };

    fn over(io: S) -> Result<Self> {
        let transport = BufReader::with_capacity(128 << 10, BufWriter::with_capacity(128 << 10, io.compat()));
        let mut builder = Builder::new(transport, Mode::Client);
        builder.set_buffer(BytesMut::with_capacity(128 << 10));
        let (sender, receiver) = builder.finish();
        Ok(Self { sender, receiver, message: Vec::new() })
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            self.message.clear();
            match self.receiver.receive_data(&mut self.message).await? {
                Data::Text(_) => tally.count(Kind::Text, std::str::from_utf8(&self.message)?.as_bytes()),
                Data::Binary(_) => tally.count(Kind::Binary, &self.message),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.sender.send_binary(payload).await?;
        }
        Ok(())
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            let payload = payload.to_vec();
            self.sender.send_binary_mut(payload).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.sender.flush().await?)
    }
}
