//! The head of a request for an opening handshake, and the answer that is right.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The head of a request, as text.
#[derive(Debug, Clone)]
pub struct Head(
    /// With its empty line.
    pub String,
);

impl Head {
    /// The value of the only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(": "));
        let mut named = || lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = named();
        assert_eq!(named(), None, "{name} stands twice in {:?}", self.0);
        value
    }

    /// The value of `Sec-WebSocket-Accept` that answers it.
    pub fn accept_key(&self) -> String {
        derive_accept_key(self.header("Sec-WebSocket-Key").expect("a key").as_bytes())
    }

    /// A right 101, with more header lines, each with its line end.
    pub fn answer(&self, lines: &str) -> String {
        let accept = self.accept_key();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn the_key_of_the_rfc_has_its_answer() {
        // RFC 6455, section 1.3.
        let head = Head("GET / HTTP/1.1\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_owned());
        assert_eq!(head.accept_key(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(head.answer("X: y\r\n").ends_with("+xOo=\r\nX: y\r\n\r\n"));
    }

    #[test]
    #[should_panic = "stands twice"]
    fn a_header_that_stands_twice_is_caught() {
        Head("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n".to_owned()).header("Host");
    }
}
