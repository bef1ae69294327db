//! permessage-deflate in the opening handshake: the offer, and what the server made of it (RFC 7692, section 7.1).

use std::fmt::Write as _;

use crate::{
    config::{Deflate, WindowBits},
    wire::{
        deflate::{Direction, NegotiatedDeflate},
        token::{OWS, is_token},
    },
};

const NAME: &str = "permessage-deflate";

/// The value of `Sec-WebSocket-Extensions` in the request.
pub(crate) fn offer(config: &Deflate) -> String {
    let mut offer = NAME.to_owned();
    if config.server_no_context_takeover {
        offer.push_str("; server_no_context_takeover");
    }
    if config.client_no_context_takeover {
        offer.push_str("; client_no_context_takeover");
    }
    if let Some(bits) = config.server_window_bits() {
        // Writing to a String does not fail.
        let _ = write!(offer, "; server_max_window_bits={}", bits.get());
    }
    offer.push_str("; client_max_window_bits");
    if let Some(bits) = config.client_window_bits() {
        let _ = write!(offer, "={}", bits.get());
    }
    offer
}

/// Judges the value of `Sec-WebSocket-Extensions` in the response to [`offer`], or to no offer at all. `Ok(None)`: no
/// extension is in use. An error says what is wrong.
pub(crate) fn validate(value: &str, offered: Option<&Deflate>) -> Result<Option<NegotiatedDeflate>, &'static str> {
    if value.trim_matches(OWS).is_empty() {
        return Ok(None);
    }
    let mut extensions = Parser(value);
    let extension = extensions.extension()?.ok_or(MALFORMED)?;
    let Some(offered) = offered.filter(|_| extension.name.eq_ignore_ascii_case(NAME)) else {
        return Err("an extension that was not offered");
    };
    let agreed = agree(&extension.parameters, offered)?;
    match extensions.extension()? {
        None => Ok(Some(agreed)),
        Some(second) if second.name.eq_ignore_ascii_case(NAME) => Err("permessage-deflate is listed more than once"),
        Some(_) => Err("an extension that was not offered"),
    }
}

/// Judges the parameters that the server chose (section 7.1).
fn agree(parameters: &[Parameter], offered: &Deflate) -> Result<NegotiatedDeflate, &'static str> {
    let [mut server_no_takeover, mut client_no_takeover] = [false; 2];
    let [mut server_bits, mut client_bits] = [None; 2];
    for Parameter { name, value } in parameters {
        match (name.as_str(), value) {
            ("server_no_context_takeover", None) => set(&mut server_no_takeover)?,
            ("client_no_context_takeover", None) => set(&mut client_no_takeover)?,
            ("server_max_window_bits", Some(value)) => set_bits(&mut server_bits, value)?,
            ("client_max_window_bits", Some(value)) => set_bits(&mut client_bits, value)?,
            ("server_no_context_takeover" | "client_no_context_takeover", Some(_)) => {
                return Err("a parameter that takes no value has one");
            }
            ("server_max_window_bits" | "client_max_window_bits", None) => {
                return Err("a parameter that needs a value has none");
            }
            _ => return Err("a parameter that permessage-deflate does not have"),
        }
    }
    // To accept an offer is to accept each of its demands (sections 7.1.1.1 and 7.1.2.1).
    if offered.server_no_context_takeover && !server_no_takeover {
        return Err("server_no_context_takeover was asked for and is missing");
    }
    let is_within = |bits: Option<WindowBits>, limit: Option<WindowBits>| {
        limit.is_none_or(|limit| bits.unwrap_or(WindowBits::MAX) <= limit)
    };
    if !is_within(server_bits, offered.server_window_bits()) {
        return Err("server_max_window_bits is larger than was asked for, or missing");
    }
    // What the client said of itself it keeps, whether the server repeats it or not.
    if client_bits.is_some() && !is_within(client_bits, offered.client_window_bits()) {
        return Err("client_max_window_bits is larger than was offered");
    }
    Ok(NegotiatedDeflate {
        client: Direction {
            window_bits: client_bits.or(offered.client_window_bits()).unwrap_or(WindowBits::MAX),
            has_context_takeover: !(client_no_takeover || offered.client_no_context_takeover),
        },
        server: Direction {
            window_bits: server_bits.unwrap_or(WindowBits::MAX),
            has_context_takeover: !server_no_takeover,
        },
    })
}

const TWICE: &str = "a parameter is listed more than once";

fn set(flag: &mut bool) -> Result<(), &'static str> {
    if std::mem::replace(flag, true) { Err(TWICE) } else { Ok(()) }
}

/// A decimal from 8 to 15, without a leading zero (section 7.1.2).
fn set_bits(bits: &mut Option<WindowBits>, value: &str) -> Result<(), &'static str> {
    let number = match value.as_bytes() {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return Err("window bits that are no number from 8 to 15"),
    };
    match bits.replace(WindowBits::new(number)) {
        Some(_) => Err(TWICE),
        None => Ok(()),
    }
}

struct Extension {
    name: String,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    value: Option<String>,
}

/// What is left of a header's value, in the grammar of RFC 6455, section 9.1.
struct Parser<'a>(&'a str);

const MALFORMED: &str = "not a list of extensions";

impl Parser<'_> {
    /// The next extension of the list. Empty elements are allowed and mean nothing (RFC 9110, section 5.6.1).
    fn extension(&mut self) -> Result<Option<Extension>, &'static str> {
        while self.eat(',') {}
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut extension = Extension { name: self.token()?, parameters: Vec::new() };
        while self.eat(';') {
            let name = self.token()?;
            let value = if self.eat('=') { Some(self.value()?) } else { None };
            extension.parameters.push(Parameter { name, value });
        }
        if self.0.is_empty() || self.eat(',') { Ok(Some(extension)) } else { Err(MALFORMED) }
    }

    /// Takes one character and the white space around it, if it is next.
    fn eat(&mut self, c: char) -> bool {
        let trimmed = self.0.trim_start_matches(OWS);
        match trimmed.strip_prefix(c) {
            Some(rest) => self.0 = rest.trim_start_matches(OWS),
            None if trimmed.is_empty() => self.0 = trimmed,
            None => return false,
        }
        !trimmed.is_empty()
    }

    fn token(&mut self) -> Result<String, &'static str> {
        let end = self.0.bytes().position(|byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(MALFORMED) } else { Ok(token.to_owned()) }
    }

    /// A token, or a quoted string that is a token once it is unescaped.
    fn value(&mut self) -> Result<String, &'static str> {
        let Some(mut rest) = self.0.strip_prefix('"') else { return self.token() };
        let mut value = String::new();
        loop {
            let mut chars = rest.chars();
            let c = match chars.next() {
                Some('"') => break self.0 = chars.as_str(),
                Some('\\') => chars.next(),
                c => c,
            };
            value.push(c.filter(|&c| u8::try_from(c).is_ok_and(is_token)).ok_or(MALFORMED)?);
            rest = chars.as_str();
        }
        if value.is_empty() { Err(MALFORMED) } else { Ok(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(window_bits: u8, has_context_takeover: bool) -> Direction {
        Direction { window_bits: WindowBits::new(window_bits), has_context_takeover }
    }

    /// B25.
    #[test]
    fn the_offer_is_bare_unless_asked_for_more() {
        assert_eq!(offer(&Deflate::default()), "permessage-deflate; client_max_window_bits");
        let all = Deflate::default()
            .server_no_context_takeover(true)
            .client_no_context_takeover(true)
            .server_max_window_bits(9)
            .client_max_window_bits(10);
        let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                        server_max_window_bits=9; client_max_window_bits=10";
        assert_eq!(offer(&all), expected);
    }

    #[test]
    fn what_a_server_may_choose() {
        let bare = Deflate::default();
        let cases = [
            ("permessage-deflate", &bare, direction(15, true), direction(15, true)),
            ("Permessage-Deflate", &bare, direction(15, true), direction(15, true)),
            (" , permessage-deflate ,", &bare, direction(15, true), direction(15, true)),
            ("permessage-deflate;server_no_context_takeover", &bare, direction(15, true), direction(15, false)),
            ("permessage-deflate; client_no_context_takeover", &bare, direction(15, false), direction(15, true)),
            ("permessage-deflate ; server_max_window_bits = 8", &bare, direction(15, true), direction(8, true)),
            ("permessage-deflate; client_max_window_bits=\"12\"", &bare, direction(12, true), direction(15, true)),
            ("permessage-deflate; client_max_window_bits=\"1\\2\"", &bare, direction(12, true), direction(15, true)),
            ("permessage-deflate", &bare.clone().client_max_window_bits(10), direction(10, true), direction(15, true)),
            (
                "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
                &bare.clone().client_max_window_bits(10).server_max_window_bits(10),
                direction(9, true),
                direction(10, true),
            ),
        ];
        for (value, offered, client, server) in cases {
            assert_eq!(validate(value, Some(offered)), Ok(Some(NegotiatedDeflate { client, server })), "{value}");
        }
        for nothing in ["", " "] {
            assert_eq!(validate(nothing, Some(&bare)), Ok(None), "{nothing:?}");
            assert_eq!(validate(nothing, None), Ok(None), "{nothing:?}");
        }
    }

    /// B37.
    #[test]
    fn what_a_server_may_not_choose() {
        let bare = Deflate::default();
        for value in [
            "x-webkit-deflate-frame",
            "permessage-deflate, permessage-deflate",
            "permessage-deflate, x-more",
            "x-more, permessage-deflate",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=100000000000000000000",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"9",
            "permessage-deflate; server_max_window_bits=\"9 \"",
            "permessage-deflate; server_max_window_bits=9 9",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage deflate",
            "permessage-deflate é",
            "=",
            ";",
            ",",
            " , , ",
        ] {
            assert!(validate(value, Some(&bare)).is_err(), "{value}");
        }
        assert!(validate("permessage-deflate", None).is_err());
        for (value, offered) in [
            ("permessage-deflate", bare.clone().server_no_context_takeover(true)),
            ("permessage-deflate", bare.clone().server_max_window_bits(14)),
            ("permessage-deflate; server_max_window_bits=15", bare.clone().server_max_window_bits(14)),
            ("permessage-deflate; client_max_window_bits=11", bare.clone().client_max_window_bits(10)),
        ] {
            assert!(validate(value, Some(&offered)).is_err(), "{value} for {}", offer(&offered));
        }
    }
}
