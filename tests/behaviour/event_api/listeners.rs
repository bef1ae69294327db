//! Listeners: their order, and what happens to them while an event is handed out; the same for all four events.

use std::sync::{Arc, Mutex};

use testkit::peer::Peer;
use tokio_util::sync::CancellationToken;
use wsflow::{
    Config, ReadyState,
    compat::{CloseEvent, Event, ListenerId, ListenerOptions, MessageEvent, WebSocket},
};

use crate::event_api::log::{Log, plain};
use crate::support::watch::close_frame;

/// Which of the four events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Open,
    Message,
    Error,
    Close,
}

const ALL: [On; 4] = [On::Open, On::Message, On::Error, On::Close];

/// A listener of whatever event.
type Listener = Box<dyn FnMut(&WebSocket) + Send>;

impl On {
    fn add_with(self, ws: &WebSocket, options: ListenerOptions, mut listener: Listener) -> ListenerId {
        match self {
            Self::Open => ws.add_open_listener_with(options, move |ws, _: &Event| listener(ws)),
            Self::Message => ws.add_message_listener_with(options, move |ws, _: &MessageEvent| listener(ws)),
            Self::Error => ws.add_error_listener_with(options, move |ws, _: &Event| listener(ws)),
            Self::Close => ws.add_close_listener_with(options, move |ws, _: &CloseEvent| listener(ws)),
        }
    }

    fn add(self, ws: &WebSocket, mut listener: Listener) -> ListenerId {
        match self {
            Self::Open => ws.add_open_listener(move |ws, _| listener(ws)),
            Self::Message => ws.add_message_listener(move |ws, _| listener(ws)),
            Self::Error => ws.add_error_listener(move |ws, _| listener(ws)),
            Self::Close => ws.add_close_listener(move |ws, _| listener(ws)),
        }
    }

    fn set(self, ws: &WebSocket, mut handler: Listener) {
        match self {
            Self::Open => ws.set_on_open(move |ws, _| handler(ws)),
            Self::Message => ws.set_on_message(move |ws, _| handler(ws)),
            Self::Error => ws.set_on_error(move |ws, _| handler(ws)),
            Self::Close => ws.set_on_close(move |ws, _| handler(ws)),
        }
    }

    fn clear(self, ws: &WebSocket) {
        match self {
            Self::Open => ws.clear_on_open(),
            Self::Message => ws.clear_on_message(),
            Self::Error => ws.clear_on_error(),
            Self::Close => ws.clear_on_close(),
        }
    }

    /// How often a connection of [`calls`] has it.
    fn times(self) -> usize {
        if self == Self::Message { 3 } else { 1 }
    }
}

/// The names of the listeners that were called, in their order.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<String>>);

impl Calls {
    fn called(&self, name: char) {
        self.0.lock().unwrap().push(name);
    }

    fn names(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// A listener that does nothing else.
    fn listener(&self, name: char) -> Listener {
        let calls = self.clone();
        Box::new(move |_| calls.called(name))
    }

    /// A listener that then acts.
    fn acting(&self, name: char, mut act: impl FnMut(&WebSocket) + Send + 'static) -> Listener {
        let calls = self.clone();
        Box::new(move |ws| {
            calls.called(name);
            act(ws);
        })
    }
}

/// The calls during a connection that has each of the four events: open, three messages in one packet, and a violation.
/// What the listeners do must not change that.
async fn calls(set_up: impl FnOnce(&WebSocket, &Calls)) -> String {
    let (mut peer, io) = Peer::pipe(1 << 16);
    let (ws, calls) = (plain("ws://h/").connect_over(io), Calls::default());
    set_up(&ws, &calls);
    peer.accept().await;
    peer.raw([&b"\x81\x00"[..], b"\x81\x00", b"\x81\x00", b"\x83\x00"].concat()).await;
    assert_eq!(peer.rest().await.last(), Some(&close_frame(1002, "")));
    peer.finish().await;
    crate::event_api::log::within(ws.closed()).await.unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closed);
    calls.names()
}

fn once() -> ListenerOptions {
    ListenerOptions::default().once(true)
}

fn signal(token: &CancellationToken) -> ListenerOptions {
    ListenerOptions::default().signal(token.clone())
}

/// B177.
async fn registration_order_and_the_handlers_place(on: On) {
    let seen = calls(|ws, calls| {
        on.add(ws, calls.listener('a'));
        on.set(ws, calls.listener('h'));
        on.add(ws, calls.listener('b'));
    });
    assert_eq!(seen.await, "ahb".repeat(on.times()), "{on:?}");
}

/// B178.
async fn a_handler_that_is_replaced_keeps_its_place_and_one_that_is_set_anew_is_last(on: On) {
    let replaced = calls(|ws, calls| {
        on.clear(ws);
        on.set(ws, calls.listener('1'));
        on.add(ws, calls.listener('a'));
        on.set(ws, calls.listener('2'));
    });
    assert_eq!(replaced.await, "2a".repeat(on.times()), "{on:?}");
    let anew = calls(|ws, calls| {
        on.clear(ws);
        on.set(ws, calls.listener('1'));
        on.add(ws, calls.listener('a'));
        on.clear(ws);
        on.clear(ws);
        on.set(ws, calls.listener('2'));
    });
    assert_eq!(anew.await, "a2".repeat(on.times()), "{on:?}");
}

/// B178, B191.
async fn what_an_earlier_listener_does_to_the_handler_counts_at_once(on: On) {
    let replaced = calls(|ws, calls| {
        on.clear(ws);
        let new = calls.clone();
        on.add(ws, calls.acting('a', move |ws| on.set(ws, new.listener('2'))));
        on.set(ws, calls.listener('1'));
    });
    assert_eq!(replaced.await, "a2".repeat(on.times()), "{on:?}");
    let cleared = calls(|ws, calls| {
        on.clear(ws);
        on.add(ws, calls.acting('a', move |ws| on.clear(ws)));
        on.set(ws, calls.listener('1'));
        on.add(ws, calls.listener('b'));
    });
    assert_eq!(cleared.await, "ab".repeat(on.times()), "{on:?}");
    // Set anew in the same event it is a new listener, and one that is added meanwhile is not called.
    let anew = calls(|ws, calls| {
        on.clear(ws);
        let new = calls.clone();
        let act = move |ws: &WebSocket| {
            on.clear(ws);
            on.set(ws, new.listener('2'));
        };
        let mut act = Some(act);
        on.add(ws, calls.acting('a', move |ws| act.take().into_iter().for_each(|act| act(ws))));
        on.set(ws, calls.listener('1'));
        on.add(ws, calls.listener('b'));
    });
    let first = "ab".to_owned() + &"ab2".repeat(on.times() - 1);
    assert_eq!(anew.await, first, "{on:?}");
}

/// B191.
async fn a_handler_that_replaces_or_clears_itself_is_heard_from_the_next_event_on(on: On) {
    let replaced = calls(|ws, calls| {
        on.clear(ws);
        let new = calls.clone();
        on.set(ws, calls.acting('1', move |ws| on.set(ws, new.listener('2'))));
        on.add(ws, calls.listener('a'));
    });
    assert_eq!(replaced.await, "1a".to_owned() + &"2a".repeat(on.times() - 1), "{on:?}");
    let cleared = calls(|ws, calls| {
        on.set(ws, calls.acting('1', move |ws| on.clear(ws)));
        on.add(ws, calls.listener('a'));
    });
    assert_eq!(cleared.await, "1".to_owned() + &"a".repeat(on.times()), "{on:?}");
}

/// B180.
async fn the_same_function_twice_is_two_listeners_with_a_name_each(on: On) {
    let seen = calls(|ws, calls| {
        let [first, second] = [on.add(ws, calls.listener('a')), on.add(ws, calls.listener('a'))];
        assert_ne!(first, second);
        on.add(ws, calls.listener('b'));
        ws.remove_listener(first);
    });
    assert_eq!(seen.await, "ab".repeat(on.times()), "{on:?}");
}

/// B182.
async fn once_is_removed_before_its_call(on: On) {
    let seen = calls(|ws, calls| {
        let mine = Arc::new(Mutex::new(None));
        let (id, again) = (Arc::clone(&mine), calls.clone());
        let act = move |ws: &WebSocket| {
            // It is not there any more: nothing is removed, and another one can be added.
            ws.remove_listener(id.lock().unwrap().unwrap());
            on.add_with(ws, once(), again.listener('2'));
        };
        *mine.lock().unwrap() = Some(on.add_with(ws, once(), calls.acting('1', act)));
        on.add(ws, calls.listener('a'));
    });
    let expected = if on == On::Message { "1aa2a" } else { "1a" };
    assert_eq!(seen.await, expected, "{on:?}");
}

/// B182.
async fn once_that_panics_is_gone_all_the_same(on: On) {
    let seen = calls(|ws, calls| {
        on.add_with(ws, once(), calls.acting('1', |_| quiet_panic()));
        on.add(ws, calls.listener('a'));
    });
    assert_eq!(seen.await, "1".to_owned() + &"a".repeat(on.times()), "{on:?}");
}

/// B183.
async fn a_signal_removes_also_while_the_event_is_handed_out(on: On) {
    let seen = calls(|ws, calls| {
        let (before, during) = (CancellationToken::new(), CancellationToken::new());
        before.cancel();
        on.add_with(ws, signal(&before), calls.listener('x'));
        let token = during.clone();
        on.add(ws, calls.acting('a', move |_| token.cancel()));
        on.add_with(ws, signal(&during), calls.listener('y'));
        on.add(ws, calls.listener('b'));
    });
    assert_eq!(seen.await, "ab".repeat(on.times()), "{on:?}");
}

/// B184.
async fn a_listener_that_is_added_meanwhile_waits_for_the_next_event(on: On) {
    let seen = calls(|ws, calls| {
        let new = calls.clone();
        on.add(
            ws,
            calls.acting('a', move |ws| {
                on.add(ws, new.listener('n'));
            }),
        );
    });
    let expected = if on == On::Message { "aanann" } else { "a" };
    assert_eq!(seen.await, expected, "{on:?}");
}

/// B185, B188.
async fn a_listener_that_is_removed_meanwhile_is_not_called(on: On) {
    let seen = calls(|ws, calls| {
        let victim = Arc::new(Mutex::new(None));
        let id = Arc::clone(&victim);
        on.add(
            ws,
            calls.acting('a', move |ws| {
                for _ in 0..2 {
                    // The second time it is unknown, which is nothing.
                    ws.remove_listener(id.lock().unwrap().unwrap());
                }
            }),
        );
        *victim.lock().unwrap() = Some(on.add(ws, calls.listener('x')));
        let own = Arc::new(Mutex::new(None));
        let id = Arc::clone(&own);
        *own.lock().unwrap() =
            Some(on.add(ws, calls.acting('o', move |ws| ws.remove_listener(id.lock().unwrap().unwrap()))));
        on.add(ws, calls.listener('b'));
    });
    assert_eq!(seen.await, "aob".to_owned() + &"ab".repeat(on.times() - 1), "{on:?}");
}

/// B186.
async fn a_panic_stops_neither_the_others_nor_the_connection(on: On) {
    let seen = calls(|ws, calls| {
        on.clear(ws);
        on.add(ws, calls.acting('a', |_| quiet_panic()));
        on.set(ws, calls.acting('h', |_| quiet_panic()));
        on.add(ws, calls.listener('b'));
    });
    assert_eq!(seen.await, "ahb".repeat(on.times()), "{on:?}");
}

/// B191.
async fn whatever_is_called_inside_of_a_listener_returns(on: On) {
    let seen = calls(|ws, calls| {
        on.add(
            ws,
            calls.acting('a', move |ws| {
                let _ = (ws.url(), ws.protocol(), ws.extensions(), ws.error(), ws.buffered_amount(), ws.binary_type());
                ws.send("x").unwrap();
                ws.set_binary_type(ws.binary_type());
                for on in ALL {
                    let id = on.add(ws, Box::new(|_| {}));
                    ws.remove_listener(id);
                    on.set(ws, Box::new(|_| {}));
                    on.clear(ws);
                }
                drop(ws.clone());
                let _ = format!("{ws:?}");
                ws.close_with(1, "").unwrap_err();
            }),
        );
    });
    assert_eq!(seen.await, "a".repeat(on.times()), "{on:?}");
}

/// A panic without its report, which the panic hook makes and the test's output need not have.
fn quiet_panic() {
    std::panic::resume_unwind(Box::new("a listener's own"));
}

macro_rules! matrix {
    ($($fact:ident)*) => {
        $(
            mod $fact {
                #[tokio::test]
                async fn on_the_current_thread() {
                    for on in super::ALL {
                        super::$fact(on).await;
                    }
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_several_threads() {
                    for on in super::ALL {
                        super::$fact(on).await;
                    }
                }
            }
        )*
    };
}

matrix! {
    registration_order_and_the_handlers_place
    a_handler_that_is_replaced_keeps_its_place_and_one_that_is_set_anew_is_last
    what_an_earlier_listener_does_to_the_handler_counts_at_once
    a_handler_that_replaces_or_clears_itself_is_heard_from_the_next_event_on
    the_same_function_twice_is_two_listeners_with_a_name_each
    once_is_removed_before_its_call
    once_that_panics_is_gone_all_the_same
    a_signal_removes_also_while_the_event_is_handed_out
    a_listener_that_is_added_meanwhile_waits_for_the_next_event
    a_listener_that_is_removed_meanwhile_is_not_called
    a_panic_stops_neither_the_others_nor_the_connection
    whatever_is_called_inside_of_a_listener_returns
}

/// B190.
#[tokio::test]
async fn a_listener_added_in_open_gets_the_first_message_and_none_gets_past_events() {
    let calls = Calls::default();
    let added = calls.clone();
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), move |ws, seen| {
        if matches!(seen, crate::event_api::log::Seen::Open) {
            ws.add_message_listener({
                let mut listener = added.listener('m');
                move |ws, _| listener(ws)
            });
        }
        let mut late = added.listener('x');
        ws.add_open_listener(move |ws, _| late(ws));
    });
    let mut packet = peer.request().await.answer("").into_bytes();
    packet.extend_from_slice(b"\x81\x01m\x88\x00");
    peer.raw(packet).await;
    peer.expect_close(None, "").await;
    peer.finish().await;
    log.end(&ws).await;
    assert_eq!(calls.names(), "m");
}
