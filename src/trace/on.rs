//! The span of a connection, and its events, by the crate `tracing`: the feature of that name is on.

use std::{future::Future, time::Duration};

use http::StatusCode;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, debug_span, trace};
use url::Url;

use super::{Agreed, Side, cause};
use crate::{
    close::{CloseCode, Closed},
    error::{Error, Phase, cut},
    stats::Stats,
};

/// The target of the span and of all events: what a filter names. It does not follow the names of the modules.
const TARGET: &str = "wsflow";

const SPAN: &str = "websocket";

/// The span of one connection, from the attempt to connect on.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    span: Span,
}

/// No span: nothing is shown in it.
impl Default for Trace {
    fn default() -> Self {
        Self { span: Span::none() }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Trace {
    /// A connection that is to be opened to `url`. Of it userinfo and query are left out.
    pub(crate) fn to(url: &Url) -> Self {
        let span = debug_span!(
            target: TARGET,
            SPAN,
            network.protocol.name = "websocket",
            server.address = url.host_str(),
            server.port = url.port_or_known_default(),
            url.scheme = url.scheme(),
            url.path = url.path(),
        );
        Self { span }
    }

    /// A connection over a transport that was upgraded elsewhere.
    pub(crate) fn upgraded() -> Self {
        Self { span: debug_span!(target: TARGET, SPAN, network.protocol.name = "websocket") }
    }

    /// Does the whole attempt to connect within the span, and tells how it ended.
    pub(crate) async fn attempt<T>(&self, attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let begun = Instant::now();
        let result = attempt.instrument(self.span.clone()).await;
        let elapsed_ms = ms(begun.elapsed());
        match &result {
            Ok(_) => debug!(target: TARGET, parent: &self.span, elapsed_ms, "open"),
            Err(error) => debug!(
                target: TARGET,
                parent: &self.span,
                {
                    elapsed_ms,
                    "error.type" = cause::kind(error),
                    http.response.status_code = error.status().map(|status| status.as_u16()),
                    error = cause::text(error),
                },
                "connecting failed"
            ),
        }
        result
    }

    /// Does a step of connecting, and tells how long it took if it was done. A failure is told once, by the attempt.
    pub(crate) async fn phase<T>(
        &self,
        phase: Phase,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let done = step.await?;
        let elapsed_ms = ms(begun.elapsed());
        let what = match phase {
            Phase::Connect => "connected",
            Phase::ProxyTls => "TLS handshake with the proxy done",
            Phase::Proxy => "tunnel opened",
            Phase::Tls => "TLS handshake done",
            Phase::Handshake => "response received",
            // These are no steps of connecting.
            Phase::Attempt | Phase::Write | Phase::Keepalive | Phase::Message | Phase::Close => return Ok(done),
        };
        debug!(target: TARGET, parent: &self.span, elapsed_ms, "{what}");
        Ok(done)
    }

    /// The server has switched protocols. The name of a subprotocol is not shown: some clients put a token there.
    pub(crate) fn agreed(&self, agreed: Agreed) {
        debug!(
            target: TARGET,
            parent: &self.span,
            {
                http.response.status_code = StatusCode::SWITCHING_PROTOCOLS.as_u16(),
                subprotocol = agreed.has_subprotocol,
                compression = agreed.has_compression,
            },
            "handshake done"
        );
    }

    /// A response of this status was followed to `url`.
    pub(crate) fn redirected(&self, status: StatusCode, url: &Url) {
        debug!(
            target: TARGET,
            parent: &self.span,
            {
                http.response.status_code = status.as_u16(),
                server.address = url.host_str(),
                server.port = url.port_or_known_default(),
                url.scheme = url.scheme(),
                url.path = cut(url.path()),
            },
            "redirect followed"
        );
    }

    pub(crate) fn keepalive_sent(&self) {
        trace!(target: TARGET, parent: &self.span, "keepalive ping queued");
    }

    /// The peer has not answered keepalive's ping for so long.
    pub(crate) fn keepalive_lost(&self, timeout: Duration) {
        debug!(target: TARGET, parent: &self.span, timeout_ms = ms(timeout), "keepalive timed out");
    }

    /// A pong has answered a ping.
    pub(crate) fn pong(&self, rtt: Duration) {
        trace!(target: TARGET, parent: &self.span, rtt_ms = ms(rtt), "pong received");
    }

    /// The closing handshake has begun by a Close frame of this side. `None`: it has no code.
    pub(crate) fn closing(&self, by: Side, code: Option<CloseCode>) {
        let by = match by {
            Side::Local => "local",
            Side::Remote => "remote",
        };
        debug!(
            target: TARGET,
            parent: &self.span,
            {
                by,
                websocket.close_code = code.map(u16::from),
            },
            "closing"
        );
    }

    /// The peer's Close frame has come after ours was queued.
    pub(crate) fn close_answered(&self, code: Option<CloseCode>) {
        debug!(
            target: TARGET,
            parent: &self.span,
            {
                websocket.close_code = code.map(u16::from),
            },
            "close answered"
        );
    }

    /// This side fails the connection.
    pub(crate) fn failing(&self, error: &Error) {
        debug!(
            target: TARGET,
            parent: &self.span,
            {
                "error.type" = cause::kind(error),
                error = cause::text(error),
                websocket.close_code = error.close_code().map(u16::from),
            },
            "failing"
        );
    }
}

/// The time in which a connection is open: its end is told once, also if it is dropped before.
#[derive(Debug, Default)]
pub(crate) struct Lifespan(Option<Open>);

#[derive(Debug)]
struct Open {
    trace: Trace,
    since: Instant,
}

impl Lifespan {
    /// The handshake is over.
    pub(crate) fn begin(trace: Trace) -> Self {
        Self(Some(Open { trace, since: Instant::now() }))
    }

    /// The connection has ended. `how`: how that was, what made it unclean, and what was counted.
    pub(crate) fn end(&mut self, how: impl FnOnce() -> (Option<Closed>, Option<Error>, Stats)) {
        let Some(Open { trace, since }) = self.0.take() else { return };
        let (closed, error, stats) = how();
        let closed = closed.unwrap_or_else(Closed::abnormal);
        debug!(
            target: TARGET,
            parent: &trace.span,
            {
                websocket.close_code = u16::from(closed.code),
                was_clean = closed.was_clean,
                "error.type" = error.as_ref().map(cause::kind),
                error = error.as_ref().map(cause::text),
                open_ms = ms(since.elapsed()),
                messages_received = stats.messages_received,
                messages_sent = stats.messages_sent,
                payload_bytes_received = stats.payload_bytes_received,
                payload_bytes_sent = stats.payload_bytes_sent,
                wire_bytes_received = stats.wire_bytes_received,
                wire_bytes_sent = stats.wire_bytes_sent,
                read_held_back_ms = ms(stats.read_held_back),
                write_held_back_ms = ms(stats.write_held_back),
            },
            "closed"
        );
    }

    /// The transport is given back, and lives on.
    pub(crate) fn hand_out(&mut self) {
        self.0 = None;
    }
}

impl Drop for Lifespan {
    fn drop(&mut self) {
        if let Some(Open { trace, since }) = self.0.take() {
            debug!(target: TARGET, parent: &trace.span, open_ms = ms(since.elapsed()), "dropped");
        }
    }
}
