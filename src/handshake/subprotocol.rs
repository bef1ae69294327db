//! The subprotocols that a client offers.

use std::{collections::HashSet, fmt};

use http::HeaderValue;

use crate::{
    error::InvalidSubprotocol,
    wire::token::{OWS, is_token},
};

/// Which names are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// Tokens (RFC 6455, section 4.1, item 10).
    Token,
    /// What can stand in the list and be told from its neighbours: visible ASCII without comma and quotation mark.
    Listed,
}

impl Grammar {
    fn has(self, c: char) -> bool {
        match self {
            Self::Token => u8::try_from(c).is_ok_and(is_token),
            Self::Listed => c.is_ascii_graphic() && !matches!(c, ',' | '"'),
        }
    }
}

/// A list of valid names, no two alike, in the order of preference. It may be empty: then none is offered.
#[derive(Clone, Default)]
pub(crate) struct Subprotocols(Vec<String>);

impl Subprotocols {
    /// Judges the names. Names that differ only in case count as the same, as
    /// web-platform-tests have it.
    pub(crate) fn new(
        names: impl IntoIterator<Item = impl Into<String>>,
        grammar: Grammar,
    ) -> Result<Self, InvalidSubprotocol> {
        let (mut valid, mut seen) = (Vec::new(), HashSet::new());
        for (index, name) in names.into_iter().enumerate() {
            let name = name.into();
            if name.is_empty() {
                return Err(InvalidSubprotocol::Empty);
            }
            if let Some(character) = name.chars().find(|&c| !grammar.has(c)) {
                return Err(InvalidSubprotocol::Character { index, character });
            }
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(InvalidSubprotocol::Duplicate { index });
            }
            valid.push(name);
        }
        Ok(Self(valid))
    }

    /// The list that the values of `Sec-WebSocket-Protocol` in a request mean.
    pub(crate) fn from_header<'a>(
        values: impl IntoIterator<Item = &'a HeaderValue>,
    ) -> Result<Self, InvalidSubprotocol> {
        let mut names = Vec::new();
        for value in values {
            let value = String::from_utf8_lossy(value.as_bytes());
            names.extend(value.split(',').map(|name| name.trim_matches(OWS).to_owned()));
        }
        Self::new(names, Grammar::Listed)
    }

    /// The value that offers them, or `None` when there is none to offer.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        if self.is_empty() { None } else { HeaderValue::try_from(self.0.join(", ")).ok() }
    }

    /// Whether none is offered.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this very name was offered; its case counts.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|offered| offered == name)
    }
}

/// Without the names: some servers expect a token there.
impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B45, B46.
    #[test]
    fn names_that_are_refused() {
        assert_eq!(Subprotocols::new([""], Grammar::Token).unwrap_err(), InvalidSubprotocol::Empty);
        assert_eq!(Subprotocols::new(["a", ""], Grammar::Token).unwrap_err(), InvalidSubprotocol::Empty);
        let separators = "()<>@,;:\\\"/[]?={} \t";
        for c in (0..=0xff).filter_map(char::from_u32) {
            let name = format!("a{c}b");
            let is_visible = ('\u{21}'..='\u{7e}').contains(&c);
            let by_token = (Grammar::Token, is_visible && !separators.contains(c));
            let by_list = (Grammar::Listed, is_visible && c != ',' && c != '"');
            for (grammar, valid) in [by_token, by_list] {
                match Subprotocols::new([name.as_str()], grammar) {
                    Ok(names) => assert!(valid && names.contains(&name), "{c:?}"),
                    Err(error) => {
                        assert_eq!((error, valid), (InvalidSubprotocol::Character { index: 0, character: c }, false));
                    }
                }
            }
        }
    }

    /// B47, B48.
    #[test]
    fn no_name_twice_whatever_its_case() {
        for names in [["echo", "echo"], ["echo", "eCho"]] {
            assert_eq!(
                Subprotocols::new(names, Grammar::Listed).unwrap_err(),
                InvalidSubprotocol::Duplicate { index: 1 }
            );
        }
    }

    /// B24, B49.
    #[test]
    fn the_header_keeps_the_order_and_is_absent_for_none() {
        assert_eq!(Subprotocols::new(["b", "a"], Grammar::Token).unwrap().header().unwrap(), "b, a");
        assert_eq!(Subprotocols::new([""; 0], Grammar::Token).unwrap().header(), None);
    }

    #[test]
    fn a_header_is_read_as_the_list_it_means() {
        let values = [HeaderValue::from_static("a,b"), HeaderValue::from_static(" c\t")];
        assert_eq!(Subprotocols::from_header(&values).unwrap().header().unwrap(), "a, b, c");
        let values = [HeaderValue::from_static("a,,b")];
        assert_eq!(Subprotocols::from_header(&values).unwrap_err(), InvalidSubprotocol::Empty);
    }
}
