//! One workload with one client over a transport in memory, for `benches/instructions.sh` to count its instructions.
//!
//! `instructions CLIENT WORKLOAD COUNT` takes so many messages of 64 bytes through it; without those three, each workload
//! runs once with each client.

use std::{env, process::ExitCode};

use wsflow_benches::{
    client::{ByReference, Client, Tungstenite, Wsflow},
    memory::Memory,
    now,
    payload::{Content, sent_len, served},
};

const SIZE: usize = 64;

/// Messages are moved in portions, since the counted instructions are not to be those that prepare input.
const PORTION: usize = 10_000;

#[derive(Clone, Copy)]
enum Workload {
    Receive(Content),
    /// Flushes after so many messages.
    Send(usize),
}

const WORKLOADS: [(&str, Workload); 5] = [
    ("receive", Workload::Receive(Content::Binary)),
    ("receive-text", Workload::Receive(Content::Ascii)),
    ("send", Workload::Send(usize::MAX)),
    ("batch", Workload::Send(64)),
    ("each", Workload::Send(1)),
];

/// Moves so many messages.
type Run = fn(Workload, usize);

const CLIENTS: [(&str, Run); 3] =
    [(Wsflow::NAME, run::<Wsflow>), (ByReference::NAME, run::<ByReference>), (Tungstenite::NAME, run::<Tungstenite>)];

fn run<C: Client>(workload: Workload, count: usize) {
    match workload {
        Workload::Receive(content) => receive::<C>(content, count),
        Workload::Send(batch) => send::<C>(batch, count),
    }
}

fn receive<C: Client>(content: Content, count: usize) {
    let (io, tap) = Memory::serving(served(&content.message(SIZE), PORTION));
    let mut socket = C::open(io);
    for portion in portions(count, PORTION) {
        tap.open();
        now(C::receive(&mut socket, portion, SIZE));
    }
}

fn send<C: Client>(batch: usize, count: usize) {
    let message = Content::Binary.message(SIZE);
    let wire_len = count * sent_len(&message);
    let (io, tap) = Memory::taking();
    let mut socket = C::open(io);
    let message = C::Message::from(message);
    for portion in portions(count, batch) {
        now(C::send(&mut socket, &message, portion));
    }
    assert_eq!(tap.written(), wire_len);
}

/// The whole count, in portions of at most so many.
fn portions(count: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(most).map(move |begin| most.min(count - begin))
}

fn main() -> ExitCode {
    // `cargo bench` adds one of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [client, workload, count] = arguments.as_slice() else {
        run_all();
        return ExitCode::SUCCESS;
    };
    match (find(&CLIENTS, client), find(&WORKLOADS, workload), count.parse()) {
        (Some(run), Some(workload), Ok(count)) => run(workload, count),
        _ => {
            eprintln!("instructions: no such client, workload or count: {client} {workload} {count}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, entry)| *entry)
}

/// Shows that they run.
fn run_all() {
    for (_, run) in CLIENTS {
        for (_, workload) in WORKLOADS {
            run(workload, PORTION);
        }
    }
    println!("instructions: every workload ran; benches/instructions.sh counts their instructions");
}
