//! TLS: which library with which settings, and its handshake.

#[cfg(all(feature = "native-tls", not(feature = "rustls-tls")))]
use std::sync::OnceLock;
#[cfg(feature = "rustls-tls")]
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "rustls-tls")]
use rustls::crypto::CryptoProvider;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::Connector;

use crate::{error::Error, transport::Transport};

/// What this client speaks, for ALPN (RFC 7301): a server that also speaks HTTP/2 must not choose it.
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
const ALPN: &str = "http/1.1";

/// The connector to use for a connection that must have TLS: never [`Connector::Plain`]. Without a given one it is
/// rustls, or the operating system's library where that feature alone is on.
pub(crate) fn connector(given: Option<Connector>) -> Result<Connector, Error> {
    match given {
        Some(Connector::Plain) => {
            Err(Error::tls("Connector::Plain was given for a URL, or a proxy's URL, whose scheme asks for TLS"))
        }
        #[cfg(feature = "rustls-tls")]
        Some(Connector::Rustls(config)) if config.alpn_protocols.is_empty() => {
            let mut config = rustls::ClientConfig::clone(&config);
            config.alpn_protocols = vec![ALPN.into()];
            Ok(Connector::Rustls(Arc::new(config)))
        }
        Some(given) => Ok(given),
        None => default_connector(),
    }
}

/// Rustls with the platform's verifier. It is made once for a provider: loading the roots takes some milliseconds and a MiB.
#[cfg(feature = "rustls-tls")]
fn default_connector() -> Result<Connector, Error> {
    use rustls_platform_verifier::BuilderVerifierExt;

    static CONFIG: Mutex<Option<Arc<rustls::ClientConfig>>> = Mutex::new(None);
    // Once there is one it stays.
    let of_process = CryptoProvider::get_default();
    let made = CONFIG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let fits = |made: &Arc<rustls::ClientConfig>| {
        of_process.is_none_or(|provider| Arc::ptr_eq(provider, made.crypto_provider()))
    };
    if let Some(config) = made.filter(fits) {
        return Ok(Connector::Rustls(config));
    }
    let provider = match of_process {
        Some(provider) => provider.clone(),
        None => Arc::new(own_provider()?),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(Error::tls)?
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.into()];
    let config = Arc::new(config);
    *CONFIG.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
    Ok(Connector::Rustls(config))
}

/// What is used where the process has no default. None is installed: that is for the application.
#[cfg(feature = "rustls-tls")]
fn own_provider() -> Result<CryptoProvider, Error> {
    #[cfg(feature = "aws-lc-rs")]
    return Ok(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(rustls::crypto::ring::default_provider());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(Error::tls(
        "no cryptography for rustls: it needs the feature `ring` or `aws-lc-rs` of wsflow, or a default CryptoProvider that \
         the application installs",
    ))
}

/// The operating system's library with its own roots, made once.
#[cfg(all(feature = "native-tls", not(feature = "rustls-tls")))]
fn default_connector() -> Result<Connector, Error> {
    static CONNECTOR: OnceLock<native_tls::TlsConnector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(Connector::NativeTls(connector.clone()));
    }
    let connector = native_tls::TlsConnector::builder().request_alpns(&[ALPN]).build().map_err(Error::tls)?;
    Ok(Connector::NativeTls(CONNECTOR.get_or_init(|| connector).clone()))
}

#[cfg(not(any(feature = "rustls-tls", feature = "native-tls")))]
fn default_connector() -> Result<Connector, Error> {
    Err(Error::tls("no TLS in this build: it needs the feature `rustls-tls` or `native-tls` of wsflow"))
}

/// Does the TLS handshake over `io`, with a server whose certificate must be for `server_name`: a DNS name or an
/// address. `connector` is one that [`connector`] gave.
pub(crate) async fn wrap<S>(connector: Connector, server_name: &str, io: S) -> Result<Transport<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match connector {
        #[cfg(feature = "rustls-tls")]
        Connector::Rustls(config) => {
            let name = rustls::pki_types::ServerName::try_from(server_name.to_owned()).map_err(Error::tls)?;
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, io).await.map_err(handshake_error)?;
            Ok(Transport::Rustls(Box::new(stream)))
        }
        #[cfg(feature = "native-tls")]
        Connector::NativeTls(connector) => {
            let connector = tokio_native_tls::TlsConnector::from(connector);
            let stream = connector.connect(server_name, io).await.map_err(Error::tls)?;
            Ok(Transport::NativeTls(Box::new(stream)))
        }
        _ => {
            let _unused = (server_name, io);
            Err(Error::tls("a connector of an unknown kind"))
        }
    }
}

/// Every end of the TLS handshake is a failure of TLS, also a lost connection.
#[cfg(feature = "rustls-tls")]
fn handshake_error(error: std::io::Error) -> Error {
    match Error::io(error) {
        Error::Io(error) => Error::Tls(error.erase()),
        other => other,
    }
}
