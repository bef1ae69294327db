//! What the benches beside other WebSocket clients share: clients, servers, clocks and tables.
//!
//! Imports point one way: from the binaries to `report` and `chart`, `rounds`, `peers` (the clients), `entry` (a client ready to be
//! run), `drive` (a run), `stream_sink` (the loops of some clients), `peer` (what a client can do), `tally`, `workload`,
//! `statistic`, `job`, `frame`, and last to `payload` and `error`. The server's side, `server`, needs `frame` and what is
//! behind it.

#[cfg(not(unix))]
compile_error!("these benches measure with getrusage, which is Unix's");

pub mod args;
pub mod chart;
pub mod connect;
pub mod cost;
pub mod crowd;
pub mod drive;
pub mod entry;
pub mod error;
pub mod frame;
pub mod heap;
pub mod job;
pub mod machine;
pub mod page;
pub mod pair;
pub mod payload;
pub mod peer;
pub mod peers;
pub mod pin;
pub mod records;
pub mod report;
pub mod rounds;
pub mod server;
pub mod statistic;
pub mod stream_sink;
pub mod tally;
pub mod tls_server;
pub mod turns;
pub mod workload;
