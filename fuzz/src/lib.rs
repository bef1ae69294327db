//! What the fuzz targets share beyond `testkit`: a judge of bytes, and polls that are dropped anywhere.

pub mod judge;
pub mod poll;
