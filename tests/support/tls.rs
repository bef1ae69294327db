//! TLS around a scripted server: an authority, its certificates, and connectors that trust it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use wsflow::Connector;

use super::{PATIENCE, Peer};

/// A certificate authority that nobody else trusts.
pub struct Authority {
    root: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of its own: a certificate that has its issuer's name is self-signed to OpenSSL.
        params.distinguished_name.push(DnType::CommonName, "An authority of these tests");
        let key = KeyPair::generate().expect("a key");
        Self { root: params.self_signed(&key).expect("a root"), issuer: Issuer::new(params, key) }
    }

    /// Its own certificate, as a file has it.
    pub fn pem(&self) -> String {
        self.root.pem()
    }

    /// A certificate for DNS names and addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(params(names))
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        Identity { certificate: params.signed_by(&key, &self.issuer).expect("a certificate"), key }
    }

    /// A server with a certificate for `names`, which speaks `http/1.1` and would rather speak `h2`.
    pub fn server(&self, names: &[&str]) -> TlsServer {
        TlsServer::new(self.issue(names), None)
    }

    /// As [`server`](Self::server), and its certificate is valid in these years alone.
    pub fn server_in_years(&self, names: &[&str], first: i32, last: i32) -> TlsServer {
        let mut params = params(names);
        (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 12, 31));
        TlsServer::new(self.sign(params), None)
    }

    /// A server by the operating system's library.
    #[cfg(feature = "native-tls")]
    pub fn native_server(&self, names: &[&str]) -> tokio_native_tls::TlsAcceptor {
        let identity = self.issue(names).native();
        native_tls::TlsAcceptor::new(identity).expect("an acceptor").into()
    }

    /// As [`server`](Self::server), and it wants a certificate of the same authority from its client.
    pub fn server_for_members(&self, names: &[&str]) -> TlsServer {
        TlsServer::new(self.issue(names), Some(self.roots()))
    }

    /// Every kind of connector in this build, with this authority as its only root, and maybe a client certificate.
    pub fn connectors(&self, client: Option<&Identity>) -> Vec<Connector> {
        vec![
            #[cfg(feature = "rustls-tls")]
            self.rustls(client),
            #[cfg(feature = "native-tls")]
            self.native_tls(client),
        ]
    }

    #[cfg(feature = "rustls-tls")]
    fn rustls(&self, client: Option<&Identity>) -> Connector {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        let config = match client {
            Some(client) => builder.with_client_auth_cert(client.chain(), client.key()).expect("a client certificate"),
            None => builder.with_no_client_auth(),
        };
        Connector::Rustls(Arc::new(config))
    }

    #[cfg(feature = "native-tls")]
    fn native_tls(&self, client: Option<&Identity>) -> Connector {
        let mut builder = native_tls::TlsConnector::builder();
        builder.add_root_certificate(native_tls::Certificate::from_der(self.root.der()).expect("a root"));
        builder.request_alpns(&["http/1.1"]);
        if let Some(client) = client {
            builder.identity(client.native());
        }
        Connector::NativeTls(builder.build().expect("a connector"))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a root");
        roots
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    #[cfg(feature = "native-tls")]
    fn native(&self) -> native_tls::Identity {
        let (certificate, key) = (self.certificate.pem(), self.key.serialize_pem());
        native_tls::Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()).expect("an identity")
    }
}

/// The server's side of TLS.
pub struct TlsServer(Arc<ServerConfig>);

/// What a client asked for before anything was encrypted.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello {
    pub server_name: Option<String>,
    pub alpn: Vec<String>,
}

impl TlsServer {
    fn new(identity: Identity, members: Option<RootCertStore>) -> Self {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions");
        let builder = match members {
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(identity.chain(), identity.key()).expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// As [`Authority::server`], and its certificate is signed by nobody else.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self::new(Identity { certificate: params(names).self_signed(&key).expect("a certificate"), key }, None)
    }

    /// Does the TLS handshake with a client of which nothing was read. Says what it asked for, and how that ended.
    pub async fn handshake<IO>(&self, peer: Peer<IO>) -> (Hello, std::io::Result<Peer<TlsStream<IO>>>)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let started = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), peer.into_io());
        let started = timeout(PATIENCE, started).await.expect("no TLS comes").expect("a client that speaks TLS");
        let hello = started.client_hello();
        let alpn = hello.alpn().into_iter().flatten().map(|name| String::from_utf8_lossy(name).into_owned());
        let hello = Hello { server_name: hello.server_name().map(str::to_owned), alpn: alpn.collect() };
        let stream = timeout(PATIENCE, started.into_stream(self.0.clone())).await.expect("TLS does not go on");
        (hello, stream.map(Peer::over))
    }
}

/// Named everywhere: none is installed for the process.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
