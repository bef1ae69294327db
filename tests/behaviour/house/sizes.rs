//! How large the futures are that a caller holds: a task has room for the largest that it ever awaits, for as long as it lives.

use futures::{SinkExt, Stream, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use wsflow::{
    ClientBuilder, CloseFrame, Kind, Message, MessageReader, MessageWriter, Receiver, Reconnect, Sender, SenderSink,
    WebSocketStream, compat::WebSocket,
};

/// What each may take at most, in bytes.
const BOUND: usize = 2 * 1024;

/// The size of the future that `call` would make.
fn size<A, F: Future>(_call: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

/// The size of what awaits the next connection that `make` gives.
fn size_of_next<R: Stream + Unpin + 'static>(_make: impl FnOnce() -> R) -> usize {
    size(|connections: &'static mut R| connections.next())
}

/// By the name of the `async fn`, or of the extension method. `tests/floors/async_fns.rs` finds a public one that is missing.
fn sizes() -> Vec<(&'static str, usize)> {
    vec![
        ("WebSocketStream::connect", size(|url: &'static str| WebSocketStream::connect(url))),
        ("ClientBuilder::connect", size(|builder: ClientBuilder| builder.connect())),
        ("ClientBuilder::connect_over", size(|(builder, io): (ClientBuilder, TcpStream)| builder.connect_over(io))),
        (
            "ClientBuilder::connect_tls_over",
            size(|(builder, io): (ClientBuilder, TcpStream)| builder.connect_tls_over(io)),
        ),
        ("Reconnect: next", size_of_next(|| Reconnect::new(|| WebSocketStream::connect("")))),
        ("WebSocketStream: next", size(|ws: &'static mut WebSocketStream| ws.next())),
        ("WebSocketStream: send", size(|ws: &'static mut WebSocketStream| ws.send(Message::from("")))),
        ("WebSocketStream: feed", size(|ws: &'static mut WebSocketStream| ws.feed(Message::from("")))),
        ("WebSocketStream: flush", size(|ws: &'static mut WebSocketStream| ws.flush())),
        ("WebSocketStream: close", size(|ws: &'static mut WebSocketStream| ws.close())),
        ("WebSocketStream::next_event", size(|ws: &'static mut WebSocketStream| ws.next_event())),
        ("WebSocketStream::next_or_room", size(|ws: &'static mut WebSocketStream| ws.next_or_room())),
        ("WebSocketStream::next_ref", size(|ws: &'static mut WebSocketStream| ws.next_ref())),
        ("WebSocketStream::next_reader", size(|ws: &'static mut WebSocketStream| ws.next_reader())),
        ("WebSocketStream::feed_ref", size(|ws: &'static mut WebSocketStream| ws.feed_ref(""))),
        ("WebSocketStream::send_ref", size(|ws: &'static mut WebSocketStream| ws.send_ref(""))),
        (
            "WebSocketStream::close_with",
            size(|(ws, frame): (&'static mut WebSocketStream, CloseFrame)| ws.close_with(frame)),
        ),
        ("MessageReader::chunk", size(|reader: &'static mut MessageReader<'static>| reader.chunk())),
        (
            "MessageReader: read",
            size(|(reader, buf): (&'static mut MessageReader<'static>, &'static mut [u8])| reader.read(buf)),
        ),
        ("MessageWriter::finish", size(|writer: MessageWriter<'static>| writer.finish())),
        ("MessageWriter: write", size(|writer: &'static mut MessageWriter<'static>| writer.write(b""))),
        ("Sender::send", size(|sender: &'static mut Sender| sender.send(""))),
        ("Sender::flush", size(|sender: &'static mut Sender| sender.flush())),
        ("Sender::drained", size(|sender: &'static mut Sender| sender.drained())),
        ("Sender::ping", size(|sender: &'static mut Sender| sender.ping())),
        ("Sender::close_with", size(|(sender, frame): (&'static mut Sender, CloseFrame)| sender.close_with(frame))),
        ("Sender::closed", size(|sender: &'static mut Sender| sender.closed())),
        ("Sender::writer", size(|sender: &'static mut Sender| sender.writer(Kind::Text))),
        ("SenderSink: send", size(|sink: &'static mut SenderSink| sink.send(Message::from("")))),
        ("SenderSink: flush", size(|sink: &'static mut SenderSink| SinkExt::<Message>::flush(sink))),
        ("Receiver: next", size(|receiver: &'static mut Receiver| receiver.next())),
        ("Receiver::next_event", size(|receiver: &'static mut Receiver| receiver.next_event())),
        (
            "Receiver::recv_many",
            size(|(receiver, messages): (&'static mut Receiver, &'static mut Vec<Message>)| {
                receiver.recv_many(messages, 1)
            }),
        ),
        ("Receiver::next_reader", size(|receiver: &'static mut Receiver| receiver.next_reader())),
        ("WebSocket::drained", size(|socket: &'static WebSocket| socket.drained())),
        ("WebSocket::closed", size(|socket: &'static WebSocket| socket.closed())),
    ]
}

#[test]
fn every_future_is_at_most_2_kib() {
    let sizes = sizes();
    let table: Vec<_> = sizes.iter().map(|(name, size)| format!("{size:6} {name}")).collect();
    assert!(sizes.iter().all(|(_, size)| *size <= BOUND), "more than {BOUND} bytes:\n{}", table.join("\n"));
}
