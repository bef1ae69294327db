//! The builder of connections, and the attempt to connect.

#[cfg(unix)]
use std::path::Path;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue,
    header::{HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL, USER_AGENT},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::Connector;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "proxy")]
use crate::proxy::{Proxy, endpoint::Endpoint};
use crate::{
    config::Config,
    error::{Error, InvalidHeader, InvalidSubprotocol, InvalidUrl, Phase, Server},
    handshake,
    handshake::{
        Answer,
        redirect::{RedirectHeaders, Way},
        request::{self, Request},
        subprotocol::{Grammar, Subprotocols},
    },
    stream::WebSocketStream,
    sync::Mutex,
    trace::{Agreed, Trace},
    transport::{Socket, Transport, dial::Dialer, resolver::Resolver, target::Target, tls},
    upgrade::Upgrade,
};

/// How long each phase of connecting may take unless said otherwise: longer than a slow server needs, shorter than TCP's
/// own patience of some two minutes.
const PHASE_TIMEOUT: Duration = Duration::from_secs(30);

/// Who asks, unless said otherwise: firewalls refuse requests without a `User-Agent`.
const DEFAULT_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("wsflow/", env!("CARGO_PKG_VERSION")));

impl WebSocketStream {
    /// Connects to a `ws` or `wss` URL with the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// As of [`ClientBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt and drops its socket.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Begins a connection with options. `http` and `https` count as `ws` and `wss`.
    ///
    /// Userinfo in the URL is sent as Basic credentials (RFC 7617), unless
    /// [`header`](ClientBuilder::header) sets `Authorization`.
    pub fn builder(url: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(Target::parse(url.as_ref()))
    }
}

/// The options of a connection. A clone of it can be used again.
///
/// Nothing fails and nothing is sent before one of `connect`, `connect_over` and `connect_tls_over` is awaited. These
/// check what was given, before any IO, in this order: URL, scheme, fragment, host, subprotocols, headers.
///
/// ```no_run
/// # async fn example() -> Result<(), wsflow::Error> {
/// use std::time::Duration;
/// use wsflow::WebSocketStream;
///
/// let ws = WebSocketStream::builder("wss://example.com/feed")
///     .protocols(["v2.feed", "v1.feed"])
///     .header("Authorization", "Bearer …")
///     .connect_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until `connect` is awaited"]
pub struct ClientBuilder {
    /// Boxed: what holds a builder, or awaits one of its futures, is small.
    options: Box<Options>,
}

#[derive(Clone)]
struct Options {
    target: Result<Target, InvalidUrl>,
    protocols: Result<Subprotocols, InvalidSubprotocol>,
    grammar: Grammar,
    subprotocol_required: bool,
    headers: Result<HeaderMap, InvalidHeader>,
    user_agent: Result<Option<HeaderValue>, InvalidHeader>,
    config: Config,
    connector: Option<Connector>,
    connect_timeout: Option<Duration>,
    tls_timeout: Option<Duration>,
    handshake_timeout: Option<Duration>,
    dialer: Dialer,
    timeout: Option<Duration>,
    redirects: u8,
    redirect_headers: RedirectHeaders,
    signal: Option<CancellationToken>,
    #[cfg(feature = "proxy")]
    proxy: Proxy,
}

impl ClientBuilder {
    pub(crate) fn new(target: Result<Target, InvalidUrl>) -> Self {
        let options = Options {
            target,
            protocols: Ok(Subprotocols::default()),
            grammar: Grammar::Listed,
            subprotocol_required: true,
            headers: Ok(HeaderMap::new()),
            user_agent: Ok(Some(DEFAULT_USER_AGENT)),
            config: Config::default(),
            connector: None,
            connect_timeout: Some(PHASE_TIMEOUT),
            tls_timeout: Some(PHASE_TIMEOUT),
            handshake_timeout: Some(PHASE_TIMEOUT),
            dialer: Dialer::default(),
            timeout: None,
            redirects: 0,
            redirect_headers: RedirectHeaders::Drop,
            signal: None,
            #[cfg(feature = "proxy")]
            proxy: Proxy::none(),
        };
        Self { options: Box::new(options) }
    }

    /// Takes URL and headers from a request.
    ///
    /// The URI must be absolute. Of the headers that the handshake owns, `Sec-WebSocket-Protocol` is taken as
    /// [`protocols`](Self::protocols), and `Host` is sent in place of the URI's host; unlike with [`host`](Self::host) a TLS
    /// server must still prove the URI's. Two of them, or one that is no host, are [`InvalidUrl::Host`]. The handshake
    /// makes the others itself, such as `Sec-WebSocket-Key`, and ignores those given. Headers for one hop are dropped: those that
    /// [`header`](Self::header) refuses, and those that `Connection` names.
    /// Method and version are not looked at.
    pub fn from_request(request: http::Request<()>) -> Self {
        let target = Target::parse(&request.uri().to_string());
        // More than one make a list, which is no host.
        let hosts: Vec<_> =
            request.headers().get_all(HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes())).collect();
        let mut builder = Self::new(match hosts.is_empty() {
            true => target,
            false => target.and_then(|target| target.with_host_header(&hosts.join(", "))),
        });
        builder.options.protocols = Subprotocols::from_header(request.headers().get_all(SEC_WEBSOCKET_PROTOCOL));
        builder.options.headers = request::end_to_end(request.headers());
        builder
    }

    /// The subprotocols to offer, in the order of preference; they replace those set before. Default: none.
    ///
    /// The server must choose one of them, else connecting fails; see
    /// [`subprotocol_required`](Self::subprotocol_required). Names are what can stand in the list: visible ASCII without comma
    /// and quotation mark. RFC 6455, section 4.1, wants tokens, and servers go beyond: `SPDY/3.1+portforward.k8s.io`. No two may
    /// differ in case only.
    pub fn protocols(mut self, protocols: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.protocols = Subprotocols::new(protocols, self.options.grammar);
        self
    }

    /// Which names of subprotocols are valid, of those that are set after this.
    pub(crate) fn grammar(mut self, grammar: Grammar) -> Self {
        self.options.grammar = grammar;
        self
    }

    /// Whether a server that names none of the [`protocols`](Self::protocols) is refused with
    /// [`InvalidResponse::NoSubprotocol`](crate::InvalidResponse::NoSubprotocol). Default `true`, as in browsers; `false`: it is
    /// accepted, as RFC 6455, section 4.1, has it, and [`protocol`](WebSocketStream::protocol) is `""`. One that was not asked for
    /// is always refused.
    pub fn subprotocol_required(mut self, required: bool) -> Self {
        self.options.subprotocol_required = required;
        self
    }

    /// Adds a header to the request; one of the same name set before is sent too.
    ///
    /// Refused with [`InvalidHeader::Owned`] are those that the handshake sets itself: `Host` (see
    /// [`host`](Self::host)), `Connection`, `Upgrade` and `Sec-WebSocket-` followed by `Key`, `Version`, `Protocol`,
    /// `Extensions` or `Accept`; those of a body, which the request has not: `Content-Length`, `Transfer-Encoding`, `TE`,
    /// `Trailer`, `Expect`; those of the next hop: `Keep-Alive`, `Proxy-Connection`, and `Proxy-Authorization`, which stands in
    /// the URL of a proxy. More than some 24 000 names are [`InvalidHeader::TooMany`]. The first header that is refused is the
    /// one reported.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        if let Ok(headers) = &mut self.options.headers {
            let added = request::header(name.as_ref(), value.as_ref()).and_then(|header| request::add(headers, header));
            if let Err(error) = added {
                self.options.headers = Err(error);
            }
        }
        self
    }

    /// Adds each of these to the request, as [`header`](Self::header) does.
    pub fn headers(self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        headers.into_iter().fold(self, |builder, (name, value)| builder.header(name, value))
    }

    /// What is sent as `User-Agent`, to servers and to HTTP proxies. Default `wsflow/` and the version; `None`: none is sent.
    ///
    /// A `User-Agent` among the headers ([`header`](Self::header), [`headers`](Self::headers),
    /// [`from_request`](Self::from_request)) replaces it. A value that no header may have is [`InvalidHeader::Value`].
    pub fn user_agent<'a>(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
        let value = user_agent.into().map(|value| request::header(USER_AGENT.as_str(), value.as_bytes())).transpose();
        self.options.user_agent = value.map(|header| header.map(|(_, value)| value));
        self
    }

    /// Adds the header `Origin`, which browsers send (RFC 6455, section 10.2). Default: none is sent.
    pub fn origin(self, origin: impl AsRef<str>) -> Self {
        self.header(ORIGIN, origin.as_ref())
    }

    /// The bounds and deadlines of the connection once it is open. Default: [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.options.config = config;
        self
    }

    /// The TLS settings to use for `wss`: own roots, a client certificate. Default: rustls with the platform's
    /// verifier, and the cryptography of the process's default provider, else of the feature `aws-lc-rs`, else of `ring`; or
    /// the operating system's library if the feature `rustls-tls` is off.
    ///
    /// A rustls configuration without ALPN protocols gets `http/1.1`. [`Connector::Plain`] is refused for `wss`; for
    /// `ws` the connector is not used. For any scheme, it is also used for TLS with an `https` proxy.
    pub fn tls(mut self, connector: Connector) -> Self {
        self.options.connector = Some(connector);
        self
    }

    /// Another host than the URL's for the header `Host`, and for the name sent to (SNI) and proven by a TLS server. It
    /// may have a port, which `Host` shows. TCP still goes to the URL's host. [`redirects`](Self::redirects) says how long
    /// it lasts.
    pub fn host(mut self, host: impl AsRef<str>) -> Self {
        let host = host.as_ref();
        self.options.target = self.options.target.and_then(|target| target.with_host(host));
        self
    }

    /// How long name resolution and TCP may take, to the server or to its proxy. Default 30 s; `None`: no limit but the
    /// system's.
    ///
    /// The system's name resolution cannot be stopped: it goes on behind an attempt that was given up, on a thread that no
    /// runtime waits for. Equal lookups that are under way share one. At most 512 are under way in a process, and others wait
    /// within this time.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.connect_timeout = timeout.into();
        self
    }

    /// How long the TLS handshake may take. Default 30 s; `None`: no limit. One with an `https` proxy may take this time
    /// for itself.
    pub fn tls_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.tls_timeout = timeout.into();
        self
    }

    /// How long may pass from sending the request to the end of the response's head. Default 30 s; `None`: no limit.
    ///
    /// The body of a refusal is waited for at most 1 s more, and within this limit. The tunnel through a proxy, from the
    /// first byte sent to the proxy (its TLS aside) to the end of its answer, may take this time for itself.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.handshake_timeout = timeout.into();
        self
    }

    /// How long the whole attempt may take, redirects included, beside the limits of its phases. Default `None`: only these.
    ///
    /// It is [`Error::Timeout`] with [`Phase::Attempt`], and the phase that ran.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.timeout = timeout.into();
        self
    }

    /// How many bytes the system queues of what was not sent, beyond what is on its way (`TCP_NOTSENT_LOWAT`). Default
    /// 128 KiB; `None`: as the system likes, which may be megabytes.
    ///
    /// So a slow peer is felt at the sink's mark and not megabytes later, a pong or a Close frame waits behind little, and
    /// progress is seen as it happens, which the deadlines of [`Config`] go by. Less costs throughput where the round trip
    /// is long. It has no effect where the system has no such option, as on Windows. Only [`connect`](Self::connect) uses it.
    pub fn tcp_notsent_lowat(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.options.dialer.tcp.notsent_lowat = bytes.into();
        self
    }

    /// How long what was sent may go unacknowledged by the peer's system (`TCP_USER_TIMEOUT`). Default 60 s; `None`: as long
    /// as the system likes, which is some 15 minutes on Linux.
    ///
    /// Then the connection ends with [`Error::Io`], of the kind [`TimedOut`](io::ErrorKind::TimedOut). It finds a peer whose
    /// machine, or whose network, is gone, also for who only sends. Linux counts the time for which the peer has room for
    /// nothing, too: who raises [`Config::write_timeout`], since a peer may read nothing for minutes, raises this one as well.
    /// It has no effect where the system has no such option. Only [`connect`](Self::connect) uses it.
    pub fn tcp_user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.dialer.tcp.user_timeout = timeout.into();
        self
    }

    /// How much the system receives ahead of the connection, in bytes (`SO_RCVBUF`, of which Linux uses about half for
    /// data). Default `None`: the system adapts it, up to megabytes.
    ///
    /// It is for fresh data, and for many connections: behind a consumer that was fast and becomes slow there are megabytes
    /// of old messages, and with 64 KiB some 30. In return no more than that comes in each round trip: at 50 ms
    /// 64 KiB are 1.3 MB/s at most. Only [`connect`](Self::connect) uses it.
    pub fn tcp_recv_buffer_size(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.options.dialer.tcp.recv_buffer_size = bytes.into();
        self
    }

    /// Called with each TCP socket when it is connected, before anything is sent: to set socket options, also those that
    /// were set by the methods here. Where a host has several addresses it gets the socket of the one that won. Only
    /// [`connect`](Self::connect) calls it.
    pub fn tcp(mut self, options: impl Fn(&TcpStream) + Send + Sync + 'static) -> Self {
        self.options.dialer.tcp.set = Some(Arc::new(options));
        self
    }

    /// The address of this machine that TCP comes from, with a port of the system's choice. Default: the system chooses.
    ///
    /// Only addresses of its family are connected to. If the host has none, or this address is not of this machine, it is
    /// [`Error::Connect`], of the kind [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable). Only
    /// [`connect`](Self::connect) uses it.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.options.dialer.local_address = Some(address);
        self
    }

    /// Asked for the addresses of a host and a port, instead of the system's name resolution.
    ///
    /// Its addresses are tried as those of the system are: see [`connect`](Self::connect). An address with port 0 gets the
    /// port that was asked for. No address is an error. A host that is an address already is not asked for: to judge where a
    /// connection leads is for [`allow_address`](Self::allow_address). It runs within
    /// [`connect_timeout`](Self::connect_timeout), and its error is [`Error::Connect`]. Only [`connect`](Self::connect)
    /// uses it.
    ///
    /// ```no_run
    /// # use wsflow::WebSocketStream;
    /// let builder = WebSocketStream::builder("ws://feed.internal/").resolver(|host, _port| {
    ///     let host = host.to_owned();
    ///     async move {
    ///         match host.as_str() {
    ///             "feed.internal" => Ok([([10, 0, 0, 7], 8080).into(), ([10, 0, 0, 8], 8080).into()]),
    ///             _ => Err(std::io::ErrorKind::NotFound.into()),
    ///         }
    ///     }
    /// });
    /// ```
    pub fn resolver<F, Fut, A>(mut self, resolve: F) -> Self
    where
        F: Fn(&str, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<A>> + Send + 'static,
        A: IntoIterator<Item = SocketAddr>,
    {
        self.options.dialer.resolver = Some(Resolver::new(resolve));
        self
    }

    /// Asked before each TCP connect whether this address may be connected to: of the URL, of a redirect, or of a proxy,
    /// also where the host is an address. Default: each may.
    ///
    /// `false` is a failed attempt, and the next address of the host is tried; if there is none it is [`Error::Connect`], of
    /// the kind [`PermissionDenied`](io::ErrorKind::PermissionDenied). It is for URLs, redirects and names of others, which
    /// may lead into your own network. It gets what is connected to, so a name that changes its address meanwhile gains
    /// nothing. IPv6 that carries an address of IPv4 is given as IPv4. Through a proxy it is asked for the proxy alone: the
    /// server's name is resolved there. Only [`connect`](Self::connect) asks.
    ///
    /// ```no_run
    /// # use wsflow::WebSocketStream;
    /// use std::net::IpAddr;
    ///
    /// let builder = WebSocketStream::builder("wss://hook.example/").redirects(3).allow_address(|address| match address.ip() {
    ///     // On most systems the unspecified address leads to this machine.
    ///     IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()),
    ///     IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()),
    /// });
    /// ```
    pub fn allow_address(mut self, allow: impl Fn(&SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.options.dialer.allow_address = Some(Arc::new(allow));
        self
    }

    /// Connects to the Unix socket at `path` instead of TCP. The URL still gives the request its host and path, and a
    /// `wss` URL adds TLS for its host. Each hop of [`redirects`](Self::redirects) goes there, too.
    ///
    /// [`tcp`](Self::tcp), [`local_address`](Self::local_address), [`resolver`](Self::resolver),
    /// [`allow_address`](Self::allow_address) and [`Config::nodelay`] have no effect then. Only [`connect`](Self::connect) uses it. With the feature `proxy`:
    /// `Proxy::http` and `Proxy::socks5` are reached over this socket, and asked for a tunnel to the URL's host;
    /// `Proxy::from_env` has no effect, since its proxies are for TCP.
    #[cfg(unix)]
    pub fn unix(mut self, path: impl AsRef<Path>) -> Self {
        self.options.dialer.unix = Some(path.as_ref().into());
        self
    }

    /// How many redirects to follow: statuses 301, 302, 303, 307 and 308 (RFC 9110, section 15.4). Default 0: each is
    /// [`Error::Refused`].
    ///
    /// `Location` may be relative; its fragment is dropped, and `http` and `https` count as `ws` and `wss`. The stream's
    /// [`url`](WebSocketStream::url) is the last one. Each hop has the timeouts, and the other options, of the first; only
    /// [`host`](Self::host) ends with the first `Location` that has an authority, as in `//example.com/`, however it is
    /// written. One that is a path or a query alone stays on the server, under the name that it was asked by.
    ///
    /// The caller's headers, subprotocols and the URL's userinfo stay with their origin: the scheme, and the host and port that
    /// the header `Host` shows. Once the way leads to another, no hop gets them any more; so with `host`, the URL's own host is
    /// another. Only `User-Agent` and `Origin` go to each, and so does a client certificate of [`tls`](Self::tls);
    /// [`redirect_headers`](Self::redirect_headers) says more. Where subprotocols were asked for and may not go, the redirect is
    /// not followed, unless [`subprotocol_required`](Self::subprotocol_required) is `false`. Userinfo in `Location` is dropped.
    ///
    /// [`Error::Redirect`] lists the way where it is not followed to its end: for one redirect more than `limit`, for a
    /// loop, from `wss` to `ws`, and without one `Location` that can be connected to. Only [`connect`](Self::connect)
    /// follows redirects.
    ///
    /// A server may send this client anywhere: to `127.0.0.1`, or to a machine that only this one can reach. Where it is not
    /// trusted, [`allow_address`](Self::allow_address) judges each address, and a [`resolver`](Self::resolver) does not.
    pub fn redirects(mut self, limit: u8) -> Self {
        self.options.redirects = limit;
        self
    }

    /// What another origin gets that a redirect leads to, besides `User-Agent` and `Origin`. Default
    /// [`RedirectHeaders::Drop`]: nothing of the caller's. Credentials never go there.
    pub fn redirect_headers(mut self, headers: RedirectHeaders) -> Self {
        self.options.redirect_headers = headers;
        self
    }

    /// A token that aborts the attempt with [`Error::Aborted`] and drops its socket.
    ///
    /// If it is cancelled beforehand no socket is opened. Once the connection is open it does nothing.
    pub fn signal(mut self, token: CancellationToken) -> Self {
        self.options.signal = Some(token);
        self
    }

    /// The proxy to open a tunnel through. Default: [`Proxy::none`].
    ///
    /// [`connect_timeout`](Self::connect_timeout) is for TCP to the proxy; [`resolver`](Self::resolver) is asked for its
    /// host, [`local_address`](Self::local_address) is where it sees TCP come from, and [`tcp`](Self::tcp) gets that socket.
    /// [`tls_timeout`](Self::tls_timeout) is for TLS with an `https` proxy, and then again for the server's;
    /// [`handshake_timeout`](Self::handshake_timeout) is for the tunnel, and then again for the WebSocket. Only
    /// [`connect`](Self::connect) uses it.
    #[cfg(feature = "proxy")]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.options.proxy = proxy;
        self
    }

    /// Opens TCP, TLS for `wss`, and the WebSocket.
    ///
    /// Every address of the host, or of its proxy's host, is tried (Happy Eyeballs, RFC 8305, sections 4, 5 and 8). IPv6 and
    /// IPv4 alternate, and the family of the first address leads. The next attempt begins 250 ms after the last one, or at
    /// once when one fails; at most 8 are open. The first that connects wins, and what fails from then on is final. Without
    /// timers ([`Config::without_timers`]) the next one begins only when one fails.
    ///
    /// # Errors
    ///
    /// Misuse ([`Error::InvalidUrl`], [`InvalidSubprotocol`](Error::InvalidSubprotocol),
    /// [`InvalidHeader`](Error::InvalidHeader)) and missing TLS come before any IO. Then what fails: [`Error::Connect`]
    /// for name resolution and TCP, [`Error::Proxy`], [`Error::Io`] for the transport after that, [`Error::Tls`],
    /// [`Error::Refused`] for any other status than 101, [`Error::Redirect`] for a redirect that is not followed,
    /// [`Error::Handshake`] for a response that breaks RFC 6455, section 4.1, [`Error::Timeout`] with the phase,
    /// [`Error::Aborted`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt and drops its socket.
    pub async fn connect(self) -> Result<WebSocketStream, Error> {
        Box::pin(self.attempt()).await
    }

    /// What `connect` awaits in a box, as the others await theirs: a task has room for what it awaits as long as it lives,
    /// and this is large. Each large step is pinned where it is made, since passing it on would take its size again.
    async fn attempt(self) -> Result<WebSocketStream, Error> {
        let mut request = self.request()?;
        let progress = Progress::of(&request);
        let attempt = pin!(async {
            let mut way = Way::new(self.options.redirects, self.options.redirect_headers);
            loop {
                #[cfg(feature = "proxy")]
                if let Some(proxy) = self.proxy_for(&request.target) {
                    request.target = request.target.through(&proxy.server());
                }
                let mut transport = self.dial(&request, &progress).await?;
                let answer = ask(&mut transport, &request, self.options.handshake_timeout, &progress).await?;
                if !way.goes_on(answer.head()) {
                    return upgrade(transport, answer, &request, self.options.config.clone(), &progress).await;
                }
                way.follow(&mut request, answer.head())?;
                progress.trace.redirected(answer.head().status(), request.target.url());
            }
        });
        progress.attempt(self.options.timeout, self.options.signal.clone(), attempt).await
    }

    /// Opens the WebSocket over `io`, which is connected to the server already: through a proxy, a tunnel or a test's
    /// pipe. It never adds TLS, also not for `wss`; the URL gives the request its host and path.
    ///
    /// [`tls`](Self::tls), [`connect_timeout`](Self::connect_timeout), [`tls_timeout`](Self::tls_timeout),
    /// [`redirects`](Self::redirects) and the ways to dial have no effect.
    ///
    /// # Errors
    ///
    /// As of [`connect`](Self::connect), but for what dialling and TLS can fail with.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt and drops `io`.
    pub async fn connect_over<S>(self, io: S) -> Result<WebSocketStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Box::pin(self.attempt_over(io)).await
    }

    async fn attempt_over<S>(self, io: S) -> Result<WebSocketStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request()?;
        let Options { config, handshake_timeout, timeout, signal, .. } = *self.options;
        let config = config.over_caller_io();
        let progress = Progress::of(&request);
        let attempt = pin!(open(io, &request, handshake_timeout, config, &progress));
        progress.attempt(timeout, signal, attempt).await
    }

    /// Opens TLS for the URL's host over `io`, also for `ws`, and the WebSocket over that.
    ///
    /// [`connect_timeout`](Self::connect_timeout), [`redirects`](Self::redirects) and the ways to dial
    /// ([`tcp`](Self::tcp), [`local_address`](Self::local_address), [`resolver`](Self::resolver),
    /// [`allow_address`](Self::allow_address), `unix`) have no effect.
    ///
    /// # Errors
    ///
    /// As of [`connect`](Self::connect), but for what dialling can fail with.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt and drops `io`.
    pub async fn connect_tls_over<S>(self, io: S) -> Result<WebSocketStream<Transport<S>>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Box::pin(self.attempt_tls_over(io)).await
    }

    async fn attempt_tls_over<S>(self, io: S) -> Result<WebSocketStream<Transport<S>>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request()?;
        let Options { config, connector, tls_timeout, handshake_timeout, timeout, signal, .. } = *self.options;
        let config = config.over_caller_io();
        let progress = Progress::of(&request);
        let attempt = pin!(async {
            let wrapping = pin!(tls::wrap(tls::connector(connector)?, request.target.server_name(), io));
            let transport = within(Phase::Tls, tls_timeout, request.target.server(), &progress, wrapping).await?;
            open(transport, &request, handshake_timeout, config, &progress).await
        });
        progress.attempt(timeout, signal, attempt).await
    }

    /// The request, to be sent by an HTTP client, and what checks the response: for an upgrade that is made elsewhere, such as
    /// through a client that has proxies, cookies or certificates of its own.
    ///
    /// It is a GET of HTTP/1.1 with all headers, `Host` among them, and an absolute `http` or `https` URI without userinfo,
    /// which is in `Authorization`. Each request has a key of its own: it is sent once. Timeouts, the proxy, TLS, redirects and
    /// [`signal`](Self::signal) have no effect.
    ///
    /// `examples/hyper_client.rs` does it by hyper. By reqwest, whose `Upgraded` is what the stream goes over:
    ///
    /// ```ignore
    /// let (request, upgrade) = WebSocketStream::builder(url).into_request()?;
    /// let response = client.execute(request.map(|()| "").try_into()?).await?;
    /// let agreed = upgrade.check(response.status(), response.headers())?;
    /// let ws = agreed.over(response.upgrade().await?);
    /// ```
    ///
    /// # Errors
    ///
    /// Misuse: [`Error::InvalidUrl`], [`InvalidSubprotocol`](Error::InvalidSubprotocol),
    /// [`InvalidHeader`](Error::InvalidHeader). [`Error::Io`] if the system has no random numbers.
    pub fn into_request(self) -> Result<(http::Request<()>, Upgrade), Error> {
        let (request, key) = (self.request()?, request::key()?);
        let http = request.to_http(&key)?;
        Ok((http, Upgrade::new(request, key, self.options.config)))
    }

    /// Opens what the request is to be sent over: the socket, and TLS for `wss`.
    async fn dial(&self, request: &Request, progress: &Progress) -> Result<Transport, Error> {
        let connector = match request.target.is_secure() {
            true => Some(tls::connector(self.options.connector.clone())?),
            false => None,
        };
        let server = request.target.server();
        #[cfg(feature = "proxy")]
        let socket = match self.proxy_for(&request.target) {
            Some(proxy) => self.open_tunnel(proxy, request, progress).await?,
            None => self.open_socket(server, progress).await?,
        };
        #[cfg(not(feature = "proxy"))]
        let socket = self.open_socket(server, progress).await?;
        match connector {
            Some(connector) => {
                let wrapping = pin!(tls::wrap(connector, request.target.server_name(), socket));
                within(Phase::Tls, self.options.tls_timeout, server, progress, wrapping).await
            }
            None => Ok(Transport::Plain(socket)),
        }
    }

    /// The proxy through which `server` is reached, if there is one.
    #[cfg(feature = "proxy")]
    fn proxy_for(&self, server: &Target) -> Option<&Endpoint> {
        self.options.proxy.endpoint(server, self.options.dialer.is_unix())
    }

    /// A socket to `server`, which may be a proxy.
    async fn open_socket(&self, server: &Arc<Server>, progress: &Progress) -> Result<Socket, Error> {
        let dialling = pin!(self.options.dialer.dial(server, &self.options.config));
        within(Phase::Connect, self.options.connect_timeout, server, progress, dialling).await
    }

    /// A tunnel to the server of `request`: as a socket to it.
    #[cfg(feature = "proxy")]
    async fn open_tunnel(&self, proxy: &Endpoint, request: &Request, progress: &Progress) -> Result<Socket, Error> {
        let target = proxy.target();
        let connector = match target.is_secure() {
            true => Some(tls::connector(self.options.connector.clone())?),
            false => None,
        };
        let server = &request.target;
        let at = proxy.server().as_proxy_for(server.server());
        let mut socket = self.open_socket(&at, progress).await?;
        if let Some(connector) = connector {
            let wrapping = pin!(tls::wrap(connector, target.server_name(), socket));
            let wrapping = within(Phase::ProxyTls, self.options.tls_timeout, &at, progress, wrapping);
            socket = Socket::TlsProxy(Box::new(wrapping.await.map_err(|error| proxy.error(error, server))?));
        }
        let limit = self.options.handshake_timeout;
        progress
            .phase(
                Phase::Proxy,
                server.server(),
                pin!(proxy.open_tunnel(&mut socket, server, request.user_agent(), limit)),
            )
            .await?;
        Ok(socket)
    }

    /// What is wrong with the subprotocols, for a caller that is told before it connects.
    pub(crate) fn check_protocols(&self) -> Result<(), InvalidSubprotocol> {
        self.options.protocols.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// What is asked for, or the first thing that is wrong with it.
    fn request(&self) -> Result<Request, Error> {
        Ok(Request {
            target: self.options.target.clone()?,
            protocols: self.options.protocols.clone()?,
            subprotocol_required: self.options.subprotocol_required,
            headers: self.options.headers.clone()?,
            user_agent: self.options.user_agent.clone()?,
            deflate: self.options.config.deflate.clone(),
        })
    }
}

/// Without the values of headers and the names of subprotocols, which may be secrets.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("target", &self.options.target)
            .field("protocols", &self.options.protocols)
            .field("headers", &self.options.headers.as_ref().map(|headers| headers.keys().collect::<Vec<_>>()))
            .field("config", &self.options.config)
            .finish_non_exhaustive()
    }
}

/// How far an attempt has come: for traces, and for the error of its own deadline.
struct Progress {
    trace: Trace,
    /// Where it leads, and the phase that runs.
    now: Mutex<(Arc<Server>, Option<Phase>)>,
}

impl Progress {
    fn of(request: &Request) -> Self {
        let trace = Trace::to(request.target.url());
        Self { trace, now: Mutex::new((request.target.server().clone(), None)) }
    }

    /// Does one phase, with this server or proxy.
    async fn phase<T>(
        &self,
        phase: Phase,
        server: &Arc<Server>,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        *self.now.lock() = (server.clone(), Some(phase));
        self.trace.phase(phase, step).await
    }

    /// Does the whole attempt, within `limit`, unless it is cancelled.
    async fn attempt<T>(
        &self,
        limit: Option<Duration>,
        signal: Option<CancellationToken>,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let bounded = pin!(async {
            let Some(after) = limit else { return attempt.await };
            let late = |_| {
                let (server, during) = self.now.lock().clone();
                Err(Error::Timeout { phase: Phase::Attempt, after, server: Some(server), during })
            };
            timeout(after, attempt).await.unwrap_or_else(late)
        });
        let named = pin!(async {
            let ended = unless_cancelled(signal, bounded).await;
            ended.map_err(|error| error.at(&self.now.lock().0))
        });
        self.trace.attempt(named).await
    }
}

async fn open<S>(
    mut io: S,
    request: &Request,
    limit: Option<Duration>,
    config: Config,
    progress: &Progress,
) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = ask(&mut io, request, limit, progress).await?;
    upgrade(io, answer, request, config, progress).await
}

async fn ask<S>(io: &mut S, request: &Request, limit: Option<Duration>, progress: &Progress) -> Result<Answer, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asking = pin!(handshake::ask(io, request, limit));
    progress.phase(Phase::Handshake, request.target.server(), asking).await
}

async fn upgrade<S>(
    mut io: S,
    answer: Answer,
    request: &Request,
    config: Config,
    progress: &Progress,
) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let negotiated = answer.check(&mut io, request).await?;
    progress.trace.agreed(Agreed {
        has_subprotocol: !negotiated.protocol.is_empty(),
        has_compression: negotiated.deflate.is_some(),
    });
    Ok(WebSocketStream::new(io, negotiated, config, progress.trace.clone()))
}

async fn within<T>(
    phase: Phase,
    limit: Option<Duration>,
    server: &Arc<Server>,
    progress: &Progress,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let bounded = pin!(async {
        match limit {
            Some(after) => timeout(after, step)
                .await
                .unwrap_or_else(|_| Err(Error::Timeout { phase, after, server: Some(server.clone()), during: None })),
            None => step.await,
        }
    });
    progress.phase(phase, server, bounded).await
}

async fn unless_cancelled<T>(
    signal: Option<CancellationToken>,
    attempt: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match signal {
        Some(token) => token.run_until_cancelled(attempt).await.unwrap_or(Err(Error::Aborted)),
        None => attempt.await,
    }
}
