//! What is held in memory, counted by an allocator.
//!
//! It counts by thread: each test has a thread, and its runtime is of that thread alone. So tests beside one another do not
//! see each other.

mod by_reference;
mod byte_stream;
mod compression;
mod connection;
mod halves;
mod hostile;
#[path = "../../src/limits.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use a part of them")]
mod limits;
mod message_reader;
mod message_writer;
mod owning;

use testkit::heap::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
