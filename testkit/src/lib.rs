//! What the tests, the fuzz targets and the benches of wsflow share, each thing once.
//!
//! It does not depend on wsflow: whatever it says of a client's bytes it knows from the RFCs alone, and in the simplest
//! way there is. Who expects something that does not come panics, and says what.

#[cfg(feature = "deflate")]
pub mod deflate;
pub mod fault_proxy;
pub mod flood;
pub mod frame;
pub mod heap;
pub mod hostile_io;
pub mod inflate;
pub mod masking;
pub mod peer;
pub mod request;
pub mod script_io;
pub mod server;
pub mod task;
#[cfg(feature = "tls")]
pub mod tls;
pub mod utf8;
pub mod wire;
