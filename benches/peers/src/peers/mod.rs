//! The peers, one file each. Another one is a file beside these and a line in [`ALL`].

mod fastwebsockets;
mod raw;
mod sockudo_ws;
mod soketto;
mod tokio_tungstenite;
mod tokio_websockets;
mod web_socket;
mod ws_tool;
mod wsflow;
mod wtx;
mod yawc;

use tokio::net::TcpStream;

use crate::entry::Entry;

/// All of them, in the order of the table's columns; the first is what the others are measured by.
pub const ALL: [Entry; 11] = [
    Entry::of::<wsflow::Wsflow<TcpStream>>(),
    Entry::of::<tokio_tungstenite::TokioTungstenite<TcpStream>>(),
    Entry::of::<fastwebsockets::FastWebsockets<TcpStream>>(),
    Entry::of::<tokio_websockets::TokioWebsockets<TcpStream>>(),
    Entry::of::<yawc::Yawc<TcpStream>>(),
    Entry::of::<sockudo_ws::SockudoWs<TcpStream>>(),
    Entry::of::<ws_tool::WsTool<TcpStream>>(),
    Entry::of::<soketto::Soketto<TcpStream>>(),
    Entry::of::<web_socket::WebSocketRs<TcpStream>>(),
    Entry::of::<wtx::Wtx<TcpStream>>(),
    Entry::of::<raw::Raw<TcpStream>>(),
];
