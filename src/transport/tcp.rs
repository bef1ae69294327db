//! Opening TCP: name resolution, and the addresses of a host one after another.

use std::{
    error::Error as _,
    io,
    task::{Poll, ready},
};

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower_service::Service as _;

use crate::{
    error::{Error, SharedError},
    transport::target::Target,
};

/// Resolves the host of `target` and opens TCP to it. Where the host has addresses of IPv6 and IPv4
/// the second family is tried beside the first after 300 ms (RFC 8305).
pub(crate) async fn connect(target: &Target, nodelay: bool) -> Result<TcpStream, Error> {
    let mut connector = HttpConnector::new();
    // The scheme is ws or wss.
    connector.enforce_http(false);
    connector.set_nodelay(nodelay);
    let connecting = async {
        std::future::poll_fn(|cx| {
            ready!(connector.poll_ready(cx))?;
            Poll::Ready(Ok(()))
        })
        .await?;
        connector.call(target.address().clone()).await
    };
    match connecting.await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => {
            let kind = std::iter::successors(error.source(), |&cause| cause.source())
                .find_map(|cause| cause.downcast_ref::<io::Error>())
                .map_or(io::ErrorKind::Other, io::Error::kind);
            let cause = SharedError::new(io::Error::new(kind, error));
            Err(Error::Connect { server: target.server().clone(), cause })
        }
    }
}
