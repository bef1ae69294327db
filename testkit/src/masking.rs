//! Masking, the naive way (RFC 6455, section 5.3): byte by byte.

/// Masks a payload, or unmasks it: both are the same.
pub fn masked(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn masks_the_hello_of_the_rfc() {
        // Section 5.7.
        let key = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(masked(key, b"Hello"), [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(masked(key, &masked(key, b"Hello")), b"Hello");
    }
}
