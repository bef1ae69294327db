//! What a user can set: bounds and deadlines.

use std::time::Duration;

/// The bounds and deadlines of a connection. Each has a default that suits most; each field says when to change it.
///
/// A method sets the field of the same name:
///
/// ```
/// use wsflow::Config;
///
/// let config = Config::default().write_high_water_mark(256 * 1024).max_message_size(None);
/// assert_eq!((config.write_high_water_mark, config.max_message_size), (256 * 1024, None));
/// ```
///
/// A value that counts as another one, such as a mark of 0, is replaced by that one when the connection is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "each method returns the changed options"]
#[non_exhaustive]
pub struct Config {
    /// How much the read buffer holds at most, in bytes. Default 128 KiB; less than 1 KiB counts as 1 KiB.
    ///
    /// This is how far the connection reads ahead of its reader. The buffer starts small, grows by use and shrinks
    /// once reads have become small or nothing has come for a second or two. A frame that does not fit gets a buffer of
    /// its own, which counts towards [`max_message_size`](Self::max_message_size), and behind it the read buffer starts
    /// at no more than 16 KiB. Smaller saves memory on many connections; larger pays only where the system hands over
    /// more than 128 KiB at a time.
    pub read_buffer_max: usize,
    /// From which queued cost on the sink waits, in bytes. Default 128 KiB; 0 counts as 1.
    ///
    /// A message costs its payload and 32 bytes until all of it has been written. The mark is overshot by at most one
    /// message. Of a [`MessageWriter`](crate::MessageWriter) each frame costs as much as a message. Larger lets a bursty
    /// producer run ahead; smaller keeps what is sent fresh.
    ///
    /// After [`into_split`](crate::WebSocketStream::into_split) it is the room of all senders together.
    pub write_high_water_mark: usize,
    /// How much the halves hold of what has come and was not asked for, in bytes. Default 128 KiB; 0 counts as 1. It has no
    /// effect on a connection that is not split.
    ///
    /// A message costs its payload and 32 bytes until the [`Receiver`](crate::Receiver) has handed it out. If it used up more
    /// of the read buffer, which it keeps alive, it costs that: pings came before it, or the rest of the buffer was too small
    /// for it. From the mark on the socket is not read; the mark is overshot by at most one message. Larger lets a receiver
    /// that is busy for a while keep up with pings; smaller keeps what is received fresh.
    pub read_high_water_mark: usize,
    /// The largest message that is accepted from the peer, in bytes of payload. Default 64 MiB; `None`: no limit.
    ///
    /// A larger one ends the connection with Close 1009 at the header that declares it, or as it inflates: before it is held
    /// in memory. Over halves it does so once the [`Receiver`](crate::Receiver) comes to it. It bounds messages that are put
    /// together, and not one that is read by a [`MessageReader`](crate::MessageReader), of which no more is held than the
    /// read buffer.
    pub max_message_size: Option<usize>,
    /// The largest frame that is accepted from the peer, in bytes of payload. Default `None`: only
    /// [`max_message_size`](Self::max_message_size) counts.
    ///
    /// A larger one ends the connection with Close 1009. Set it where a peer is known to send in small frames.
    pub max_frame_size: Option<usize>,
    /// In how many frames a message from the peer may come. Default 65 536; `None`: no limit; 0 counts as 1.
    ///
    /// One more ends the connection with Close 1008, over halves once the [`Receiver`](crate::Receiver) comes to it. It bounds
    /// the work that a peer can cause with empty fragments. It does not bound a message that is read by a
    /// [`MessageReader`](crate::MessageReader): a long message in small frames is what a reader is for.
    pub max_fragments: Option<usize>,
    /// Messages larger than this go out in several frames, each of at most this many bytes of payload. Default
    /// 256 KiB; `None`: never; 0 counts as 1.
    ///
    /// Pings, pongs and the answer to the peer's Close can go out between two frames, not within one, and do so even
    /// where later frames are encoded already. `None` suits a peer that cannot put fragments together; a message that
    /// goes out compressed is then compressed, and held, as a whole.
    ///
    /// A [`MessageWriter`](crate::MessageWriter) holds one such frame, and cannot do without: for it `None` counts as
    /// 256 KiB.
    pub fragment_size: Option<usize>,
    /// Received payloads up to this many bytes get an allocation of their own. Default 0: never.
    ///
    /// A received message is a slice of the read buffer and keeps all of that buffer alive. This is free for messages
    /// that are dropped soon, and expensive for messages that are kept: a cache of the last price of each of 10 000
    /// symbols could keep 10 000 read buffers. Set it to the size of the messages that are kept; a copy of 64 bytes
    /// costs some 30 ns, two to three times what receiving without it costs.
    pub copy_payloads_up_to: usize,
    /// How long closing may take. Default 10 s; `None`: no limit.
    ///
    /// It limits the time without write progress until our Close frame, or our answer to the peer's, is out (so that a slow
    /// peer is not cut), and then again the time until the peer's Close frame has come. A peer that takes a byte now and then
    /// makes progress: `tokio::time::timeout` around the call gives a total. After `start_close`, time in which messages that
    /// were read wait to be taken does not count. Over halves that time begins again with each message that
    /// the [`Receiver`](crate::Receiver) takes while it has no room for more: the peer's answer may lie behind. That holds for
    /// the 16 MiB that may have been on their way.
    pub close_timeout: Option<Duration>,
    /// How long the end of the transport may take once closing is otherwise done. Default 2 s.
    ///
    /// It limits the wait for the peer to end TCP after both Close frames, and for the Close frame to leave that tells of a
    /// failure.
    pub tcp_end_timeout: Duration,
    /// How long the transport may refuse to take anything while something waits to be written. Default 60 s; `None`: no
    /// limit.
    ///
    /// Progress of any size starts it again, so that a slow peer is not cut, only a dead one. What the system calls progress
    /// may come in steps: see [`tcp_notsent_lowat`](crate::ClientBuilder::tcp_notsent_lowat), which makes them small. Over TLS
    /// it is also the time for what the TLS library has taken, some 64 KiB, to reach the network.
    ///
    /// The default is for sockets that `connect` opens. Over a transport of the caller's it is `None`, since how that one
    /// makes progress is not known here; what is set counts there, too. The event API has none unless it is given a
    /// configuration.
    pub write_timeout: Option<Duration>,
    /// Whether `write_timeout` is the default, for a transport that is not the caller's.
    write_timeout_source: Source,
    /// After how long without a byte from the peer it is asked by a ping whether it is there. Default 30 s; `None`: never,
    /// there is no keepalive.
    ///
    /// The time begins when a read finds the transport empty, and runs only while somebody polls for reading. A peer that
    /// sends more often is never asked. The pings also keep NATs and proxies from forgetting the connection, which many do
    /// after 60 s: make it shorter where one does so earlier. `None` suits a peer that cannot answer pings.
    pub keepalive_interval: Option<Duration>,
    /// How long the peer may stay silent once it was asked by a ping. Default 30 s.
    ///
    /// Then the connection ends at once, with [`Phase::Keepalive`](crate::Phase::Keepalive) and without a Close frame, as
    /// nobody is there to read it. Any byte is an answer. The time begins when the transport has taken the ping; before that,
    /// with each byte that it takes, so that neither a long message of ours nor a slow network makes a peer a dead one.
    ///
    /// A peer that reads slowly comes to the ping late. Where the transport was full since, the time begins again each time that
    /// it takes bytes, since the peer has read; but not once 16 MiB were taken behind the ping, which no system and no peer
    /// holds.
    pub keepalive_timeout: Duration,
    /// How long no byte of a message may come from the peer. Default `None`: for ever.
    ///
    /// It is for feeds that are known to say something: a server can be there, answer pings and have nothing more to send,
    /// as when it lost a subscription. The time begins when a read finds the transport empty, and runs only while somebody
    /// polls for reading; each byte of a message starts it again, also of one that is not whole, and no ping, pong or
    /// Close. Then the connection ends with [`Phase::Message`](crate::Phase::Message) and Close 1011.
    pub message_timeout: Option<Duration>,
    /// Which compression is offered to the server (permessage-deflate, RFC 7692). Default `None`: none.
    ///
    /// It pays where bandwidth is expensive and messages are text. It costs CPU time and memory: see [`Deflate`]. The
    /// server may decline it: [`extensions`](crate::WebSocketStream::extensions) shows what was agreed on.
    pub deflate: Option<Deflate>,
    /// Whether `TCP_NODELAY` is set. Default `true`.
    ///
    /// Without it the system may hold a small message back for some 40 ms. It is read by `connect` alone.
    pub nodelay: bool,
    /// Whether there are timers. Default `true`.
    ///
    /// Without timers, all options that need a clock have no effect: no deadline of an open connection passes, there is
    /// no keepalive, and the buffers of an idle connection are not freed.
    pub has_timers: bool,
}

/// What is longer counts as this: 30 years. A deadline further away need not be a point in time that can be told.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// For sockets that this crate opens: as long as keepalive takes to find a dead peer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Default,
    Caller,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Default for Config {
    fn default() -> Self {
        Self {
            read_buffer_max: 128 * KIB,
            write_high_water_mark: 128 * KIB,
            read_high_water_mark: 128 * KIB,
            max_message_size: Some(64 * MIB),
            max_frame_size: None,
            max_fragments: Some(65_536),
            fragment_size: Some(256 * KIB),
            copy_payloads_up_to: 0,
            close_timeout: Some(Duration::from_secs(10)),
            tcp_end_timeout: Duration::from_secs(2),
            write_timeout: Some(WRITE_TIMEOUT),
            write_timeout_source: Source::Default,
            keepalive_interval: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(30),
            message_timeout: None,
            deflate: None,
            nodelay: true,
            has_timers: true,
        }
    }
}

impl Config {
    /// For a transport of the caller's, with the defaults for one.
    pub(crate) fn over_caller_io(self) -> Self {
        let is_default = self.write_timeout_source == Source::Default && self.write_timeout == Some(WRITE_TIMEOUT);
        Self { write_timeout: self.write_timeout.filter(|_| !is_default), ..self }
    }

    /// With each value that counts as another one replaced by that one.
    pub(crate) fn in_bounds(self) -> Self {
        let at_most_forever = |timeout: Duration| timeout.min(FOREVER);
        Self {
            read_buffer_max: self.read_buffer_max.max(KIB),
            write_high_water_mark: self.write_high_water_mark.max(1),
            read_high_water_mark: self.read_high_water_mark.max(1),
            max_fragments: self.max_fragments.map(|frames| frames.max(1)),
            fragment_size: self.fragment_size.map(|bytes| bytes.max(1)),
            close_timeout: self.close_timeout.map(at_most_forever),
            tcp_end_timeout: at_most_forever(self.tcp_end_timeout),
            write_timeout: self.write_timeout.map(at_most_forever),
            keepalive_interval: self.keepalive_interval.map(at_most_forever),
            keepalive_timeout: at_most_forever(self.keepalive_timeout),
            message_timeout: self.message_timeout.map(at_most_forever),
            deflate: self.deflate.map(Deflate::in_bounds),
            ..self
        }
    }

    /// Sets [`read_buffer_max`](Self#structfield.read_buffer_max).
    pub fn read_buffer_max(mut self, bytes: usize) -> Self {
        self.read_buffer_max = bytes;
        self
    }

    /// Sets [`write_high_water_mark`](Self#structfield.write_high_water_mark).
    pub fn write_high_water_mark(mut self, bytes: usize) -> Self {
        self.write_high_water_mark = bytes;
        self
    }

    /// Sets [`read_high_water_mark`](Self#structfield.read_high_water_mark).
    pub fn read_high_water_mark(mut self, bytes: usize) -> Self {
        self.read_high_water_mark = bytes;
        self
    }

    /// Sets [`max_message_size`](Self#structfield.max_message_size).
    pub fn max_message_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_message_size = bytes.into();
        self
    }

    /// Sets [`max_frame_size`](Self#structfield.max_frame_size).
    pub fn max_frame_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_frame_size = bytes.into();
        self
    }

    /// Sets [`max_fragments`](Self#structfield.max_fragments).
    pub fn max_fragments(mut self, frames: impl Into<Option<usize>>) -> Self {
        self.max_fragments = frames.into();
        self
    }

    /// Sets [`fragment_size`](Self#structfield.fragment_size).
    pub fn fragment_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.fragment_size = bytes.into();
        self
    }

    /// Sets [`copy_payloads_up_to`](Self#structfield.copy_payloads_up_to).
    pub fn copy_payloads_up_to(mut self, bytes: usize) -> Self {
        self.copy_payloads_up_to = bytes;
        self
    }

    /// Sets [`close_timeout`](Self#structfield.close_timeout).
    pub fn close_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.close_timeout = timeout.into();
        self
    }

    /// Sets [`tcp_end_timeout`](Self#structfield.tcp_end_timeout).
    pub fn tcp_end_timeout(mut self, timeout: Duration) -> Self {
        self.tcp_end_timeout = timeout;
        self
    }

    /// Sets [`write_timeout`](Self#structfield.write_timeout).
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self.write_timeout_source = Source::Caller;
        self
    }

    /// Sets [`keepalive_interval`](Self#structfield.keepalive_interval).
    pub fn keepalive_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.keepalive_interval = interval.into();
        self
    }

    /// Sets [`keepalive_timeout`](Self#structfield.keepalive_timeout).
    pub fn keepalive_timeout(mut self, timeout: Duration) -> Self {
        self.keepalive_timeout = timeout;
        self
    }

    /// Sets [`message_timeout`](Self#structfield.message_timeout).
    pub fn message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = timeout.into();
        self
    }

    /// Sets [`deflate`](Self#structfield.deflate).
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Switches off all that needs a clock: [`has_timers`](Self#structfield.has_timers).
    ///
    /// It is for a tokio runtime that was built without
    /// [`enable_time`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.enable_time), and for other
    /// runtimes. There, without this, the first poll that has to wait panics.
    pub fn without_timers(mut self) -> Self {
        self.has_timers = false;
        self
    }

    /// Sets [`nodelay`](Self#structfield.nodelay).
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }
}

/// How messages are compressed, and what the server is asked for (permessage-deflate, RFC 7692).
///
/// The default offer is a bare `permessage-deflate; client_max_window_bits`, as browsers send it, since some servers
/// choke on more.
///
/// ```
/// use wsflow::{Config, Deflate};
///
/// let config = Config::default().deflate(Deflate::default().level(1).threshold(256));
/// ```
///
/// # Memory
///
/// Contexts are made for the first message that needs one, and kept: an idle connection has none. The compressor holds,
/// in KiB, for each pair of window bits and [`mem_level`](Self::mem_level):
///
/// | window bits | 1 | 5 | 8 | 9 |
/// |---|---|---|---|---|
/// | 9 | 134 | 147 | 245 | 357 |
/// | 10 | 136 | 149 | 247 | 359 |
/// | 11 | 140 | 153 | 251 | 363 |
/// | 12 | 148 | 161 | 259 | 371 |
/// | 13 | 164 | 177 | 275 | 387 |
/// | 14 | 196 | 209 | 307 | 419 |
/// | 15 | 260 | 273 | 371 | 483 |
///
/// 128 KiB of each are a hash table that zlib-rs always has; the rest is 4 bytes for each byte of the window, and
/// 7 × 2<sup>mem_level + 6</sup> bytes. For messages of less than 2<sup>mem_level + 6</sup> bytes more memory gains
/// nothing. Once its window is full the inflater holds 78 KiB, whatever the server's window bits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "each method returns the changed options"]
#[non_exhaustive]
pub struct Deflate {
    /// How hard messages are compressed, from 0 (not at all) to 9. Default 6; more counts as 9.
    ///
    /// 1 takes an eighth to a tenth of the time, and gives away a quarter of the ratio on small messages of JSON, two
    /// fifths on large ones.
    pub level: u8,
    /// How much memory the compressor takes beside its window, from 1 to 9. Default 8; what is beyond counts as the
    /// nearest. Less costs speed and ratio.
    pub mem_level: u8,
    /// Messages of fewer bytes of payload go uncompressed. Default 0: all are compressed.
    ///
    /// Raise it where short messages have nothing in common with those before, so that nothing is gained.
    pub threshold: usize,
    /// Whether the server is asked to compress each message by itself. Default `false`.
    ///
    /// It spares the server memory, at the price of the ratio.
    pub server_no_context_takeover: bool,
    /// Whether each message is compressed by itself here. Default `false`.
    ///
    /// The server then needs no memory between messages, at the price of the ratio.
    pub client_no_context_takeover: bool,
    /// How large the server's window may be: from 8 (256 bytes) to 15 (32 KiB). Default `None`: as it likes. What is
    /// beyond counts as the nearest.
    pub server_max_window_bits: Option<u8>,
    /// How large the window here is at most: from 8 (256 bytes) to 15 (32 KiB). Default `None`: 15, or less if the
    /// server says so. What is beyond counts as the nearest.
    ///
    /// Fewer bits cost ratio and spare memory on both sides. With 8 nothing is compressed, since zlib has no such
    /// window.
    pub client_max_window_bits: Option<u8>,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            level: 6,
            mem_level: 8,
            threshold: 0,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: None,
        }
    }
}

impl Deflate {
    fn in_bounds(self) -> Self {
        Self {
            level: self.level.min(9),
            mem_level: self.mem_level.clamp(1, 9),
            server_max_window_bits: self.server_window_bits().map(WindowBits::get),
            client_max_window_bits: self.client_window_bits().map(WindowBits::get),
            ..self
        }
    }

    pub(crate) fn server_window_bits(&self) -> Option<WindowBits> {
        self.server_max_window_bits.map(WindowBits::new)
    }

    pub(crate) fn client_window_bits(&self) -> Option<WindowBits> {
        self.client_max_window_bits.map(WindowBits::new)
    }

    /// Sets [`level`](Self#structfield.level).
    pub fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Sets [`mem_level`](Self#structfield.mem_level).
    pub fn mem_level(mut self, mem_level: u8) -> Self {
        self.mem_level = mem_level;
        self
    }

    /// Sets [`threshold`](Self#structfield.threshold).
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Sets [`server_no_context_takeover`](Self#structfield.server_no_context_takeover).
    pub fn server_no_context_takeover(mut self, no_takeover: bool) -> Self {
        self.server_no_context_takeover = no_takeover;
        self
    }

    /// Sets [`client_no_context_takeover`](Self#structfield.client_no_context_takeover).
    pub fn client_no_context_takeover(mut self, no_takeover: bool) -> Self {
        self.client_no_context_takeover = no_takeover;
        self
    }

    /// Sets [`server_max_window_bits`](Self#structfield.server_max_window_bits).
    pub fn server_max_window_bits(mut self, bits: impl Into<Option<u8>>) -> Self {
        self.server_max_window_bits = bits.into();
        self
    }

    /// Sets [`client_max_window_bits`](Self#structfield.client_max_window_bits).
    pub fn client_max_window_bits(mut self, bits: impl Into<Option<u8>>) -> Self {
        self.client_max_window_bits = bits.into();
        self
    }
}

/// The size of a compression window as a power of two, from 8 to 15 (RFC 7692, section 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WindowBits(u8);

impl WindowBits {
    pub(crate) const MIN: Self = Self(8);
    pub(crate) const MAX: Self = Self(15);

    /// The nearest there is.
    pub(crate) fn new(bits: u8) -> Self {
        Self(bits.clamp(Self::MIN.0, Self::MAX.0))
    }

    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}
