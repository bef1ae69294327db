//! Opening TCP: name resolution, and the addresses of a host one after another.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    task::{Poll, ready},
};

use http::uri::{Authority, Uri};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    error::{Error, SharedError},
    transport::{resolver::Resolver, tcp_options::TcpOptions},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Resolves the host of `server` and opens TCP to it, from `local` if it is given, with these options. Where the host has addresses of IPv6
/// and IPv4 the second family is tried beside the first after 300 ms (RFC 8305).
pub(crate) async fn connect(
    server: &Arc<Authority>,
    nodelay: bool,
    options: &TcpOptions,
    local: Option<IpAddr>,
    resolver: Option<Resolver>,
) -> Result<TcpStream, Error> {
    let connecting = async {
        match resolver.zip(server.port_u16()) {
            // An address is not resolved.
            Some((resolver, port)) if !is_address(server.host()) => {
                let connector = HttpConnector::new_with_resolver(resolver.for_port(port));
                // Without a port the connector keeps those of the resolver.
                open(connector, server.host(), nodelay, options, local).await
            }
            _ => open(HttpConnector::new(), server.as_str(), nodelay, options, local).await,
        }
    };
    let stream = connecting.await.map_err(|error| {
        let kind = std::iter::successors(Some(&*error as &dyn std::error::Error), |&cause| cause.source())
            .find_map(|cause| cause.downcast_ref::<io::Error>())
            .map_or(io::ErrorKind::Other, io::Error::kind);
        Error::Connect { server: server.clone(), cause: SharedError::new(io::Error::new(kind, error)) }
    })?;
    options.apply(&stream);
    Ok(stream)
}

fn is_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

async fn open<R>(
    mut connector: HttpConnector<R>,
    authority: &str,
    nodelay: bool,
    options: &TcpOptions,
    local: Option<IpAddr>,
) -> Result<TcpStream, BoxError>
where
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>>,
    R: Service<Name>,
{
    let uri = Uri::builder().scheme("ws").authority(authority).path_and_query("/").build()?;
    // The scheme is not http.
    connector.enforce_http(false);
    connector.set_nodelay(nodelay);
    connector.set_recv_buffer_size(options.recv_buffer_size.and_then(|bytes| bytes.try_into().ok()));
    connector.set_local_address(local);
    std::future::poll_fn(|cx| {
        ready!(connector.poll_ready(cx)).map_err(Into::into)?;
        Poll::Ready(Ok::<_, BoxError>(()))
    })
    .await?;
    Ok(connector.call(uri).await.map_err(Into::into)?.into_inner())
}
