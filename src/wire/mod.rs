//! What stands on the wire, and how it is read and written: frame headers, masks, UTF-8, compression.

pub(crate) mod deflate;
pub(crate) mod frame;
pub(crate) mod mask;
pub(crate) mod token;
pub(crate) mod utf8;
