//! A connection that meets a flood.

use bytes::Bytes;
use testkit::flood::Flood;
use tokio::io::{AsyncRead, AsyncWrite};
use wsflow::{Config, UpgradedParts, WebSocketStream};

/// A connection that meets `flood`, without a limit that would end it and without a deadline, which would need a runtime.
pub fn open<S: AsyncRead + AsyncWrite + Unpin>(flood: Flood, io: S) -> WebSocketStream<S> {
    let read_buf = match flood {
        // A binary frame that is not the last of its message.
        Flood::Fragments => Bytes::from_static(&[0x02, 0]),
        Flood::Pings | Flood::Pongs | Flood::Messages => Bytes::new(),
    };
    let config = Config::default().max_fragments(None).close_timeout(None);
    WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).read_buf(read_buf).config(config)).unwrap()
}
