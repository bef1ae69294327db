//! Values of options on the command line.

use crate::units::parse_bytes;

pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().unwrap_or(f64::NAN);
    if (0.1..=86_400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("expected a number of seconds from 0.1 to 86400".into())
    }
}

pub fn size(text: &str) -> Result<u64, String> {
    let size = parse_bytes(text).filter(|&size| size > 0);
    size.ok_or_else(|| "expected a size above 0, such as 64MiB, 1GiB or a number of bytes".into())
}
