//! Guides: one topic each, with code that is tested.
//!
//! | guide | the question it answers |
//! |---|---|
//! | [`choosing_an_api`] | Stream, halves, by reference or events: which one? |
//! | [`backpressure`] | What waits for what, and how much memory does a connection take? |
//! | [`sending_from_many_tasks`] | How do several tasks send on one connection? |
//! | [`by_reference`] | How are messages read and sent without an allocation? |
//! | [`large_messages`] | How is a message larger than memory sent and read? |
//! | [`closing`] | How does a connection end, and how do I end it? |
//! | [`keepalive`] | How is silence noticed? |
//! | [`reconnecting`] | How does a client come back? |
//! | [`compression`] | When does compression pay, and what does it cost? |
//! | [`tls_and_proxies`] | Private roots, client certificates, proxies, Unix sockets: how? |
//! | [`errors`] | What does each failure look like, and what is there to do? |
//! | [`from_tokio_tungstenite`] | What is each thing called here? |
//! | [`from_the_browser`] | What is each thing called here? |
//! | [`behind_a_server`] | How does a server pass its clients on to an upstream? |
//! | [`testing`] | How do I test my code without a network? |

#[doc = include_str!("choosing_an_api.md")]
pub mod choosing_an_api {}

#[doc = include_str!("backpressure.md")]
pub mod backpressure {}

#[doc = include_str!("sending_from_many_tasks.md")]
pub mod sending_from_many_tasks {}

#[doc = include_str!("by_reference.md")]
pub mod by_reference {}

#[doc = include_str!("large_messages.md")]
pub mod large_messages {}

#[doc = include_str!("closing.md")]
pub mod closing {}

#[doc = include_str!("keepalive.md")]
pub mod keepalive {}

#[doc = include_str!("reconnecting.md")]
pub mod reconnecting {}

#[doc = include_str!("compression.md")]
pub mod compression {}

#[doc = include_str!("tls_and_proxies.md")]
pub mod tls_and_proxies {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("from_tokio_tungstenite.md")]
pub mod from_tokio_tungstenite {}

#[doc = include_str!("from_the_browser.md")]
pub mod from_the_browser {}

#[doc = include_str!("behind_a_server.md")]
pub mod behind_a_server {}

#[doc = include_str!("testing.md")]
pub mod testing {}
