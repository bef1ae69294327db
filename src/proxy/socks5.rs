//! A tunnel by SOCKS5 (RFC 1928), with user name and password (RFC 1929).

use std::{io, net::IpAddr};

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::Url;

use crate::{
    error::{Error, InvalidUrl, ProxyCause},
    proxy::endpoint::Failure,
    transport::target::Target,
};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
/// Of user name and password (RFC 1929): not that of SOCKS.
const AUTHENTICATION_VERSION: u8 = 1;

/// A user name and a password, each with its length before it, as they are sent.
#[derive(Clone)]
pub(crate) struct Credentials(Vec<u8>);

impl Credentials {
    /// Those in the userinfo of `url`.
    pub(super) fn of(url: &Url) -> Result<Option<Self>, InvalidUrl> {
        if url.username().is_empty() && url.password().is_none() {
            return Ok(None);
        }
        let mut fields = Vec::new();
        for field in [url.username(), url.password().unwrap_or_default()] {
            let field: Vec<u8> = percent_decode_str(field).collect();
            fields.push(u8::try_from(field.len()).map_err(|_| InvalidUrl::ProxyCredentials)?);
            fields.extend(field);
        }
        Ok(Some(Self(fields)))
    }
}

/// Asks the proxy that `io` is connected to for a tunnel to `server`. It reads no byte beyond the reply.
pub(super) async fn open<IO>(io: &mut IO, credentials: Option<&Credentials>, server: &Target) -> Result<(), Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(server).map_err(Error::from)?;
    authenticate(io, credentials).await?;
    send(io, &request).await?;
    let [version, reply, _reserved, kind] = receive(io).await?;
    if version != VERSION {
        return Err(Failure::Proxy(ProxyCause::Protocol));
    }
    if reply != 0 {
        return Err(Failure::Proxy(ProxyCause::Reply(reply)));
    }
    // The address that the proxy sends from, and its port: of no use here.
    let len = match kind {
        1 => 4,
        3 => usize::from(io.read_u8().await?),
        4 => 16,
        _ => return Err(Failure::Proxy(ProxyCause::Protocol)),
    };
    io.read_exact(&mut [0; 255 + 2][..len + 2]).await?;
    Ok(())
}

async fn authenticate<IO>(io: &mut IO, credentials: Option<&Credentials>) -> Result<(), Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    match credentials {
        None => send(io, &[VERSION, 1, NO_AUTHENTICATION]).await?,
        Some(_) => send(io, &[VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD]).await?,
    }
    match (receive(io).await?, credentials) {
        ([VERSION, NO_AUTHENTICATION], _) => Ok(()),
        ([VERSION, USERNAME_PASSWORD], Some(Credentials(fields))) => {
            send(io, &[&[AUTHENTICATION_VERSION], &fields[..]].concat()).await?;
            match receive(io).await? {
                [AUTHENTICATION_VERSION, 0] => Ok(()),
                [AUTHENTICATION_VERSION, _] => Err(Failure::Proxy(ProxyCause::Credentials)),
                _ => Err(Failure::Proxy(ProxyCause::Protocol)),
            }
        }
        ([VERSION, _], _) => Err(Failure::Proxy(ProxyCause::NoMethod)),
        _ => Err(Failure::Proxy(ProxyCause::Protocol)),
    }
}

/// CONNECT to the server (section 4): by address if its URL has one, else by name, which the proxy resolves.
fn request(server: &Target) -> Result<Vec<u8>, InvalidUrl> {
    let host = server.server().host();
    let mut request = vec![VERSION, 1, 0];
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            let len = u8::try_from(host.len()).map_err(|_| InvalidUrl::Host(host.into()))?;
            request.extend([3, len]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(server.server().port_u16().unwrap_or_default().to_be_bytes());
    Ok(request)
}

async fn send<IO: AsyncWrite + Unpin>(io: &mut IO, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

async fn receive<const N: usize>(io: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}
