//! A resolver of the caller's: from a host name to addresses.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc};

type Resolve = dyn Fn(&str, u16) -> Resolving + Send + Sync;
type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

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
                Ok(addresses)
            })
        }))
    }

    /// Never no address.
    pub(super) fn resolve(&self, host: &str, port: u16) -> Resolving {
        (self.0)(host, port)
    }
}
