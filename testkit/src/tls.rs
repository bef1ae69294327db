//! TLS around a scripted server: an authority, its certificates, and servers that have them.

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

use crate::peer::{PATIENCE, Peer};

/// A certificate authority that nobody else trusts.
#[derive(Debug)]
pub struct Authority {
    root: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// With a key of its own.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
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

    /// As [`server`](Self::server), and it wants a certificate of the same authority from its client.
    pub fn server_for_members(&self, names: &[&str]) -> TlsServer {
        TlsServer::new(self.issue(names), Some(self.roots()))
    }

    /// This authority as the only one that is trusted.
    pub fn roots(&self) -> RootCertStore {
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
    /// The certificate alone: its issuer is trusted.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    /// Its key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The certificate and its key, each as a file has it.
    pub fn pem(&self) -> [String; 2] {
        [self.certificate.pem(), self.key.serialize_pem()]
    }
}

/// The server's side of TLS.
#[derive(Debug)]
pub struct TlsServer(Arc<ServerConfig>);

/// What a client asked for before anything was encrypted.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello {
    /// By SNI.
    pub server_name: Option<String>,
    /// The protocols it would speak.
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

/// The provider of everything here. It is named everywhere: none is installed for the process.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
