//! Connectors that trust a test's authority, and a server by the operating system's library.

#[cfg(feature = "rustls-tls")]
use std::sync::Arc;

use testkit::tls::{Authority, Identity};
use wsflow::Connector;

/// What an authority makes for the client.
pub trait ForClient {
    /// Every kind of connector in this build, with this authority as its only root, and maybe a client certificate.
    fn connectors(&self, client: Option<&Identity>) -> Vec<Connector>;
}

impl ForClient for Authority {
    fn connectors(&self, client: Option<&Identity>) -> Vec<Connector> {
        vec![
            #[cfg(feature = "rustls-tls")]
            rustls(self, client),
            #[cfg(feature = "native-tls")]
            native(self, client),
        ]
    }
}

#[cfg(feature = "rustls-tls")]
fn rustls(authority: &Authority, client: Option<&Identity>) -> Connector {
    let builder = rustls::ClientConfig::builder_with_provider(testkit::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(authority.roots());
    let config = match client {
        Some(client) => builder.with_client_auth_cert(client.chain(), client.key()).expect("a client certificate"),
        None => builder.with_no_client_auth(),
    };
    Connector::Rustls(Arc::new(config))
}

#[cfg(feature = "native-tls")]
fn native(authority: &Authority, client: Option<&Identity>) -> Connector {
    let mut builder = native_tls::TlsConnector::builder();
    builder.add_root_certificate(native_tls::Certificate::from_pem(authority.pem().as_bytes()).expect("a root"));
    builder.request_alpns(&["http/1.1"]);
    if let Some(client) = client {
        builder.identity(native_identity(client));
    }
    Connector::NativeTls(builder.build().expect("a connector"))
}

/// A server by the operating system's library.
#[cfg(feature = "native-tls")]
pub fn native_server(authority: &Authority, names: &[&str]) -> tokio_native_tls::TlsAcceptor {
    let identity = native_identity(&authority.issue(names));
    native_tls::TlsAcceptor::new(identity).expect("an acceptor").into()
}

#[cfg(feature = "native-tls")]
fn native_identity(identity: &Identity) -> native_tls::Identity {
    let [certificate, key] = identity.pem();
    native_tls::Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()).expect("an identity")
}
