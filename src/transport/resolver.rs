//! A resolver of the caller's: from a host name to addresses.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

type Addresses = io::Result<std::vec::IntoIter<SocketAddr>>;
type Resolve = dyn Fn(&str, u16) -> Resolving + Send + Sync;
type Resolving = Pin<Box<dyn Future<Output = Addresses> + Send>>;

/// The caller's function. It is shared by the clones of a builder.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Resolve>);

impl Resolver {
    /// An address with port 0 gets the port that was asked for.
    pub(crate) fn new<F, Fut, A>(resolve: F) -> Self
    where
        F: Fn(&str, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<A>> + Send + 'static,
        A: IntoIterator<Item = SocketAddr>,
    {
        Self(Arc::new(move |host, port| {
            let resolving = resolve(host, port);
            Box::pin(async move {
                let mut addresses: Vec<_> = resolving.await?.into_iter().collect();
                if addresses.is_empty() {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "the resolver gave no address"));
                }
                addresses.iter_mut().filter(|address| address.port() == 0).for_each(|address| address.set_port(port));
                Ok(addresses.into_iter())
            })
        }))
    }

    /// As the connector wants it: it asks for a name without a port.
    pub(super) fn for_port(self, port: u16) -> ResolverForPort {
        ResolverForPort { resolver: self, port }
    }
}

/// A resolver for one attempt.
#[derive(Clone)]
pub(super) struct ResolverForPort {
    resolver: Resolver,
    port: u16,
}

impl Service<Name> for ResolverForPort {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Resolving {
        (self.resolver.0)(name.as_str(), self.port)
    }
}
