//! The smallest parts of a header's value (RFC 9110, section 5.6).

/// Optional white space around a value.
pub(crate) const OWS: [char; 2] = [' ', '\t'];

/// Whether a byte may be part of a token: visible ASCII without separators.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B46.
    #[test]
    fn a_token_is_visible_ascii_without_separators() {
        for byte in 0..=u8::MAX {
            let is_separator = b"()<>@,;:\\\"/[]?={} \t".contains(&byte);
            assert_eq!(is_token(byte), (0x21..=0x7e).contains(&byte) && !is_separator, "{byte:#04x}");
        }
    }
}
