//! A connection as a stream of bytes: what is read, what is written, and what a shutdown is.

mod reading;
mod shutdown;
mod writing;

use std::io;

use testkit::script_io::{Script, ScriptIo, script_io};
use wsflow::{ByteStream, Config, Error, WebSocketStream};

/// A stream whose task is polled by hand.
fn open(config: Config) -> (ByteStream<ScriptIo>, Script) {
    let (io, script) = script_io();
    (WebSocketStream::from_upgraded(io, config.without_timers()).into_byte_stream(), script)
}

/// The error of this crate that an error of IO is about.
#[track_caller]
fn cause(error: &io::Error) -> &Error {
    error.get_ref().expect("a cause").downcast_ref().expect("an error of this crate")
}

/// Bytes that no shift of them equals.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 * i / 1000 + i) as u8).collect()
}
