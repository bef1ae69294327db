//! The server over TLS: it pours prepared frames, or takes bytes and answers with the number of records they came in.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use testkit::tls::Authority;
use tokio_tungstenite::tungstenite::{
    self,
    handshake::server::{Request, Response},
};

use crate::{
    error::Result,
    frame,
    job::Job,
    payload::{Content, Kind},
    pin,
    records::Counted,
};

type Stream = StreamOwned<ServerConnection, Counted<TcpStream>>;

/// How much is poured or read at a time.
const BLOCK: usize = 1 << 18;

/// A connection on which nothing happens for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate for this machine and its key, in PEM.
pub struct Identity([String; 2]);

impl Identity {
    pub fn issued_by(authority: &Authority) -> Self {
        Self(authority.issue(&[&Ipv4Addr::LOCALHOST.to_string()]).pem())
    }

    /// What the server's process has to know. The key is worth nothing beyond this run.
    pub fn arguments(&self) -> [&str; 2] {
        self.0.each_ref().map(String::as_str)
    }

    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        let [certificate, key] = arguments else { return Err("the server needs a certificate and its key".into()) };
        Ok(Self([certificate.clone(), key.clone()]))
    }

    fn server_config(&self) -> Result<ServerConfig> {
        let [certificate, key] = &self.0;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        Ok(ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?)
    }
}

/// The server's process: serves one connection after the other on this core, until its input ends.
pub fn serve(core: usize, identity: &Identity) -> Result<()> {
    pin::to_core(core);
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let config = Arc::new(identity.server_config()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        if let Err(error) = accept(stream, &config).and_then(|(stream, job)| work(stream, job)) {
            eprintln!("server: {error}");
        }
    }
}

fn accept(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<(Stream, Job)> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let stream = StreamOwned::new(ServerConnection::new(Arc::clone(config))?, Counted::new(stream));
    let mut path = String::new();
    #[allow(clippy::result_large_err)] // the callback's type is tungstenite's
    let note = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let stream = tungstenite::accept_hdr(stream, note).map_err(|error| error.to_string())?.into_inner();
    Ok((stream, path.parse()?))
}

fn work(mut stream: Stream, job: Job) -> Result<()> {
    match job {
        Job::Pour { content, size, count } => pour(&mut stream, content, size, count)?,
        Job::Drain { bytes } => drain(&mut stream, bytes)?,
        other => return Err(format!("not done over TLS: {other}").into()),
    }
    // The client ends the connection as it likes.
    while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
    Ok(())
}

fn pour(stream: &mut Stream, content: Content, size: usize, mut count: u64) -> io::Result<()> {
    let frame = frame::unmasked(content.kind(), &content.payload(size));
    let in_block = (BLOCK / frame.len()).max(1) as u64;
    let block = frame.repeat(in_block.min(count) as usize);
    while count > 0 {
        let frames = count.min(in_block);
        stream.write_all(&block[..frames as usize * frame.len()])?;
        count -= frames;
    }
    stream.flush()
}

fn drain(stream: &mut Stream, mut bytes: u64) -> Result<()> {
    let before = stream.sock.records();
    let mut block = vec![0; BLOCK];
    while bytes > 0 {
        let n = stream.read(&mut block)? as u64;
        if n == 0 {
            return Err(format!("the client has ended, {bytes} bytes are missing").into());
        }
        bytes = bytes.checked_sub(n).ok_or("more bytes than the client announced")?;
    }
    let records = stream.sock.records() - before;
    stream.write_all(&frame::unmasked(Kind::Binary, records.to_string().as_bytes()))?;
    Ok(stream.flush()?)
}
