//! What fuzz targets need and nobody else can reach. It is no part of the API: only `--cfg fuzzing` has it.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{error::Error, proxy::Proxy, transport::target::Target};

/// Asks a proxy that `io` is connected to for a tunnel to the server of `url`.
pub async fn open_tunnel<IO>(io: &mut IO, proxy: &Proxy, url: &str) -> Result<(), Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let server = Target::parse(url)?;
    match proxy.endpoint(&server, false) {
        Some(endpoint) => endpoint.open_tunnel(io, &server, None, None).await,
        None => Ok(()),
    }
}
