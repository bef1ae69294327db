//! What two processes share that were one: neither keys nor masks (RFC 6455, sections 4.1 and 10.3).
//!
//! A binary without a harness: only the thread that forks goes on in the child, and it must be the only one.

#[cfg(unix)]
fn main() {
    use std::io::Read as _;

    // A server that forks has connected before: its generator is at work.
    let before = unix::secrets();
    let (mut from_child, to_parent) = std::io::pipe().expect("a pipe");
    match fork::fork().expect("a process") {
        fork::Fork::Child => unix::report(to_parent),
        fork::Fork::Parent(child) => {
            drop(to_parent);
            let mut report = String::new();
            from_child.read_to_string(&mut report).expect("a report");
            fork::waitpid(child).expect("the child has ended");
            let of_parent = unix::secrets();
            let of_child: Vec<&str> = report.lines().collect();
            assert_eq!(of_child.len(), of_parent.len(), "{report}");
            for secret in &of_child {
                assert!(!of_parent.iter().any(|other| other == secret), "both processes used {secret}");
                assert!(!before.iter().any(|other| other == secret), "the child used {secret} again");
            }
            println!("two processes after a fork share neither keys nor masks: ok");
        }
    }
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::io::{PipeWriter, Write as _};

    use futures::SinkExt as _;
    use testkit::peer::Peer;
    use tokio::io::AsyncReadExt as _;
    use wsflow::{Config, WebSocketStream};

    /// So many frames are sent: masks are drawn more than once.
    const FRAMES: usize = 200;

    pub(crate) fn report(mut to: PipeWriter) {
        to.write_all(secrets().join("\n").as_bytes()).expect("the parent reads");
    }

    /// `Sec-WebSocket-Key` and the masks of a new connection.
    pub(crate) fn secrets() -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (mut peer, io) = Peer::pipe(64 * 1024);
            let config = Config::default().fragment_size(1);
            let opening = WebSocketStream::builder("ws://h/").config(config).connect_over(io);
            let (ws, head) = tokio::join!(opening, peer.accept());
            ws.expect("open").send("x".repeat(FRAMES).into()).await.expect("sent");
            let mut secrets = vec![head.header("Sec-WebSocket-Key").expect("a key").to_owned()];
            for _ in 0..FRAMES {
                let mut frame = [0; 7];
                peer.io_mut().read_exact(&mut frame).await.expect("a frame");
                // Two masks of 400 are alike once in 50 000 runs, four in a row never.
                secrets.push(format!("{:02x?}", &frame[2..6]));
            }
            let masks: Vec<_> = secrets[1..].chunks(4).map(<[String]>::concat).collect();
            [&secrets[..1], &masks].concat()
        })
    }
}
