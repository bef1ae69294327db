//! `TcpOptions`: what a TCP socket is told before and after it is connected.

use std::{sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::net::TcpStream;

/// The caller's own options: a function that gets each socket once it is connected.
pub(crate) type SetOptions = Arc<dyn Fn(&TcpStream) + Send + Sync>;

/// The options of the sockets that this crate opens.
#[derive(Clone)]
pub(crate) struct TcpOptions {
    /// How many bytes the system queues that were not sent.
    pub(crate) notsent_lowat: Option<u32>,
    /// How long what was sent may go unacknowledged.
    pub(crate) user_timeout: Option<Duration>,
    /// `SO_RCVBUF`, set before the socket is connected, since the window's scale is agreed on then.
    pub(crate) recv_buffer_size: Option<u32>,
    pub(crate) set: Option<SetOptions>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            notsent_lowat: Some(128 * 1024),
            user_timeout: Some(Duration::from_secs(60)),
            recv_buffer_size: None,
            set: None,
        }
    }
}

impl TcpOptions {
    /// Applies those of a connected socket. A system that lacks one of them goes on without it.
    pub(crate) fn apply(&self, stream: &TcpStream) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let socket = SockRef::from(stream);
            if let Some(bytes) = self.notsent_lowat {
                let _ = socket.set_tcp_notsent_lowat(bytes);
            }
            if let Some(timeout) = self.user_timeout {
                let _ = socket.set_tcp_user_timeout(Some(timeout));
            }
        }
        if let Some(set) = &self.set {
            set(stream);
        }
    }
}
