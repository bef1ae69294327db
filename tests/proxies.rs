//! Tunnels through proxies that others wrote, over ws and wss. `tests/proxies.sh` starts them and runs this.
#![cfg(all(feature = "proxy", feature = "rustls-tls"))]

mod support;

use std::{env, sync::Arc};

use futures::{SinkExt as _, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::CertificateDer};
use testkit::{peer::Peer, server::Script};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use wsflow::{Connector, Error, Proxy, ProxyCause, Retry, WebSocketStream};

use crate::support::error;

/// A proxy that runs.
struct Running {
    name: String,
    scheme: String,
    address: String,
    /// Whether it wants the credentials `user:secret`.
    is_closed: bool,
}

impl Running {
    /// Each that is listed.
    fn all() -> Vec<Self> {
        let list = env::var("PROXIES").expect("tests/proxies.sh sets PROXIES");
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("a line is: name URL access");
            let (name, url, access) = (word(), word(), word());
            let (scheme, address) = url.split_once("://").expect("a URL");
            let [name, scheme, address] = [name, scheme, address].map(str::to_owned);
            Self { name, scheme, address, is_closed: access == "closed" }
        };
        list.lines().map(parse).collect()
    }

    fn with(&self, userinfo: &str) -> Proxy {
        let url = format!("{}://{userinfo}{}", self.scheme, self.address);
        if self.is_socks() { Proxy::socks5(url) } else { Proxy::http(url) }.expect("a URL")
    }

    /// With what it wants to know.
    fn proxy(&self) -> Proxy {
        self.with(if self.is_closed { "user:secret@" } else { "" })
    }

    fn is_socks(&self) -> bool {
        self.scheme == "socks5"
    }
}

/// TLS of a server, and a connector that trusts it and the proxies.
fn tls() -> (TlsAcceptor, Connector) {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone()).expect("a root");
    if let Some(path) = env::var_os("PROXIES_CERTIFICATE") {
        roots.add(CertificateDer::from_pem_file(path).expect("a certificate")).expect("a root");
    }
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key.into())
        .expect("a server");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Connector::Rustls(Arc::new(client)))
}

fn large() -> String {
    "x".repeat(1 << 20)
}

/// One message each way, and the closing handshake.
async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<IO>) {
    let head = peer.accept().await;
    assert_eq!((head.header("Authorization"), head.header("Proxy-Authorization")), (None, None));
    peer.expect_text(&large()).await;
    peer.text(&large()).await;
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    peer.finish().await;
}

#[tokio::test]
#[ignore = "tests/proxies.sh runs it"]
async fn messages_go_both_ways_over_ws_and_wss() {
    let (acceptor, connector) = tls();
    for running in Running::all() {
        for scheme in ["ws", "wss"] {
            println!("{} {scheme}", running.name);
            let script = Script::bind().await;
            let client = async {
                let url = format!("{scheme}://localhost:{}/", script.addr().port());
                let builder = WebSocketStream::builder(url).tls(connector.clone()).proxy(running.proxy());
                let mut ws = builder.connect().await.unwrap_or_else(|error| panic!("{}: {error}", running.name));
                ws.send(large().into()).await.expect("sent");
                let message = ws.next().await.expect("a message").expect("a message");
                assert!(message.as_text() == Some(&large()), "{}", running.name);
                ws.close().await.expect("closed");
            };
            let server = async {
                let peer = script.peer().await;
                if scheme == "ws" {
                    serve(peer).await;
                } else {
                    serve(Peer::over(acceptor.accept(peer.into_io()).await.expect("TLS"))).await;
                }
            };
            tokio::join!(client, server);
        }
    }
}

#[tokio::test]
#[ignore = "tests/proxies.sh runs it"]
async fn wrong_credentials_and_none_are_refused() {
    let (_, connector) = tls();
    for running in Running::all().into_iter().filter(|running| running.is_closed) {
        for userinfo in ["user:wrong@", ""] {
            let builder = WebSocketStream::builder("ws://localhost:9/").tls(connector.clone());
            let failed = error(builder.proxy(running.with(userinfo)).connect().await);
            let name = &running.name;
            println!("{name} {userinfo:?}: {failed}");
            assert!(failed.is_connect(), "{failed:?}");
            if name == "pproxy-socks-closed" {
                // It hangs up.
                assert!(matches!(failed, Error::Connect { .. }), "{failed:?}");
                continue;
            }
            assert_eq!(Retry::default_for(&failed), Retry::Never);
            let Error::Proxy(refused) = &failed else { panic!("{name}: {failed:?}") };
            match &refused.cause {
                ProxyCause::Refused(response) => assert!(matches!(response.status().as_u16(), 401 | 407), "{name}"),
                ProxyCause::Credentials => assert!(running.is_socks() && !userinfo.is_empty(), "{name}"),
                ProxyCause::NoMethod => assert!(running.is_socks() && userinfo.is_empty(), "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
#[ignore = "tests/proxies.sh runs it"]
async fn a_closed_port_behind_the_proxy_is_told() {
    let (_, connector) = tls();
    for running in Running::all() {
        // Nobody listens there any more.
        let url = Script::bind().await.url("/");
        let failed = error(WebSocketStream::builder(url).tls(connector.clone()).proxy(running.proxy()).connect().await);
        let name = &running.name;
        println!("{name}: {failed}");
        assert!(failed.is_transient(), "{failed:?}");
        // It hangs up; as SOCKS5 after it has said that the tunnel is open.
        if name.starts_with("pproxy-") {
            continue;
        }
        let Error::Proxy(refused) = &failed else { panic!("{name}: {failed:?}") };
        match &refused.cause {
            ProxyCause::Refused(response) => assert!(response.status().is_server_error(), "{name}"),
            ProxyCause::Reply(5) => assert!(running.is_socks(), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
