//! Storms: random programs over halves and over the event API, on a runtime of two threads, against a server behind TCP; and
//! random servers.
//!
//! Each round is one connection, made from one seed. It must end within its deadlines, and every message must be delivered
//! once, in order and whole, or be reported as lost. A round that fails prints its seed, and what each of its tasks was
//! doing. Half of the rounds over halves have only two mechanisms that meet, since most races need that nothing else happens.
//!
//! `WSFLOW_STORM_SECONDS` says how long all storms of programs take together (10), and those of servers. `WSFLOW_STORM_SEED` makes all rounds from one seed:
//! each then does the same, but its threads meet by chance.

mod compression;
mod event_api;
mod halves;
mod hostile;
mod ledger;
mod program;
mod round;
mod server;

#[test]
fn halves_deliver_each_message_once_in_order_and_whole_or_tell() {
    round::storm(3, 0.6, halves::round);
}

#[test]
fn the_event_api_delivers_each_message_once_in_order_and_whole_or_tells() {
    round::storm(3, 0.2, event_api::round);
}

#[test]
fn pings_are_answered_while_a_sender_compresses() {
    round::storm(1, 0.2, compression::round);
}

#[test]
fn no_server_makes_a_client_panic_or_hang() {
    round::storm(2, 1.0, hostile::round);
}
