//! What the fuzz targets share: a hostile transport, the naive twins that its bytes are judged by, and polls that are
//! dropped anywhere.

pub mod frame;
pub mod inflate;
pub mod io;
pub mod judge;
pub mod poll;
