//! Many messages, and listeners that come, go, panic and close at random on several threads.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use testkit::{
    frame::{TEXT, encode},
    server::Script,
};
use wsflow::compat::{ListenerId, ListenerOptions, WebSocket};

use crate::event_api::log::{Log, Seen};

const MESSAGES: u32 = 10_000;

/// Xorshift: the same storm each time.
#[derive(Debug, Clone)]
struct Random(u32);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % n
    }
}

/// One thing that a listener, or another thread, may do to a socket.
fn stir(ws: &WebSocket, random: &mut Random, added: &Arc<Mutex<VecDeque<ListenerId>>>) {
    match random.below(8) {
        0 | 1 => {
            let (mut random, again) = (Random(random.below(u32::MAX - 1) + 1), Arc::clone(added));
            let options = ListenerOptions::default().once(random.below(2) == 0);
            let id = ws.add_message_listener_with(options, move |ws, _| stir(ws, &mut random, &again));
            added.lock().unwrap().push_back(id);
        }
        2 => {
            let id = added.lock().unwrap().pop_front();
            id.into_iter().for_each(|id| ws.remove_listener(id));
        }
        3 => ws.set_on_message(|_, _| {}),
        4 => ws.clear_on_message(),
        5 => ws.send("noise").unwrap(),
        // A panic without a report.
        6 => std::panic::resume_unwind(Box::new(())),
        _ => drop(ws.clone()),
    }
    // So many listeners that they do not grow for ever.
    while added.lock().unwrap().len() > 20 {
        let id = added.lock().unwrap().pop_front();
        id.into_iter().for_each(|id| ws.remove_listener(id));
    }
}

/// The messages that the steady listener of one socket saw, of which one closes it.
async fn storm(seed: u32, close_at: Option<u32>) -> Vec<u32> {
    let server = Script::bind().await;
    // The log has the place of the handlers, which the storm sets and clears.
    let (ws, log) = Log::connect(&server.url("/"), |_, seen: &Seen| assert_ne!(*seen, Seen::Error));
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    let added = Arc::new(Mutex::new(VecDeque::new()));
    let (mut random, others) = (Random(seed), Arc::clone(&added));
    ws.add_message_listener(move |ws, event| {
        let number = event.data.as_text().unwrap().parse().unwrap();
        seen.lock().unwrap().push(number);
        if Some(number) == close_at {
            ws.close_with(1000, "at random").unwrap();
        }
        stir(ws, &mut random, &others);
    });
    let mut peer = server.accept().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let (ws, is_over) = (ws.clone(), Arc::clone(&is_over));
        let mut random = Random(seed.rotate_left(7));
        move || {
            while !is_over.load(Relaxed) {
                let stirred = std::panic::AssertUnwindSafe(|| {
                    if u16::from(ws.ready_state()) > 0 {
                        stir(&ws, &mut random, &added);
                    }
                });
                let _ = std::panic::catch_unwind(stirred);
                std::thread::yield_now();
            }
        }
    });
    let (mut reader, mut writer) = tokio::io::split(peer.io_mut());
    let pouring = async {
        use tokio::io::AsyncWriteExt as _;
        for i in 0..MESSAGES {
            writer.write_all(&encode(true, 0, TEXT, i.to_string().as_bytes())).await.unwrap();
        }
        // The client's Close may have come long before: it reads on until ours.
        writer.write_all(&encode(true, 0, 8, b"\x03\xe8")).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let draining = async {
        use tokio::io::AsyncReadExt as _;
        let mut sink = vec![0; 1 << 16];
        while matches!(reader.read(&mut sink).await, Ok(1..)) {}
    };
    let ((), (), closed) = tokio::join!(pouring, draining, crate::event_api::log::within(ws.closed()));
    closed.unwrap_or_else(|_| panic!("a deadlock? {:?}", log.text().len()));
    is_over.store(true, Relaxed);
    thread.join().unwrap();
    std::mem::take(&mut *numbers.lock().unwrap())
}

/// B161, B162, B186, B191.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_messages_through_a_storm_of_listeners() {
    let mut random = Random(0x2545_f491);
    let storms: Vec<_> = (0..4)
        .map(|i| {
            let close_at = (i > 0).then(|| random.below(MESSAGES));
            (close_at, tokio::spawn(storm(random.below(u32::MAX - 1) + 1, close_at)))
        })
        .collect();
    for (close_at, storm) in storms {
        let expected: Vec<_> = (0..close_at.map_or(MESSAGES, |last| last + 1)).collect();
        let seen = storm.await.unwrap();
        assert!(seen == expected, "{} of {} messages", seen.len(), expected.len());
    }
}
