//! A redirect that was not followed, and why.

use std::{fmt, sync::Arc};

use url::Url;

use super::{InvalidUrl, Server, text::Excerpt};

/// A redirect that was not followed.
///
/// `{}` says why, and lists the way: each URL as one can log it, without userinfo and query, cut to 200 characters. Of a long
/// way its start and its end are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Redirected {
    reason: InvalidRedirect,
    way: Vec<Url>,
    /// Whom the last one was asked of.
    at: Option<Arc<Server>>,
}

impl Redirected {
    /// `way` is taken without what may be secret.
    pub(crate) fn new(reason: InvalidRedirect, way: impl IntoIterator<Item = Url>) -> Self {
        Self { reason, way: way.into_iter().map(without_secrets).collect(), at: None }
    }

    pub(super) fn at(self, server: &Arc<Server>) -> Self {
        Self { at: Some(server.clone()), ..self }
    }

    /// Why it was not followed.
    pub fn reason(&self) -> &InvalidRedirect {
        &self.reason
    }

    /// The URLs that were asked, in their order, and behind them the one that was not, where there is one. They are
    /// without userinfo and query.
    pub fn way(&self) -> &[Url] {
        &self.way
    }
}

impl fmt::Display for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let through = self.at.as_ref().map(|server| server.way()).unwrap_or_default();
        write!(f, "{}: {}{through}", self.reason, Way(&self.way))
    }
}

impl fmt::Debug for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = format_args!("{}", Way(&self.way));
        f.debug_struct("Redirected").field("reason", &self.reason).field("way", &way).finish()
    }
}

/// How many URLs of a way are shown at each of its ends.
const SHOWN: usize = 2;

/// The URLs of a way, without those in the middle of a long one.
struct Way<'a>(&'a [Url]);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.len().saturating_sub(SHOWN);
        for (i, url) in self.0.iter().enumerate() {
            let arrow = if i == 0 { "" } else { " -> " };
            if (SHOWN..end).contains(&i) {
                if i == SHOWN {
                    write!(f, "{arrow}…")?;
                }
            } else {
                write!(f, "{arrow}{}", Excerpt(url.as_str()))?;
            }
        }
        Ok(())
    }
}

/// Its text has that of the reason, so it has no source.
impl std::error::Error for Redirected {}

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedirect {
    /// As many as [`ClientBuilder::redirects`](crate::ClientBuilder::redirects) allows were followed.
    #[error("there are more than {limit}")]
    TooMany {
        /// How many are allowed.
        limit: u8,
    },
    /// It leads to a URL that was asked already.
    #[error("they lead in a loop")]
    Loop,
    /// It leads from `wss` to `ws`: what is encrypted would go on in the clear.
    #[error("it leads from wss to ws")]
    Downgrade,
    /// It leads to another origin, which does not get the subprotocols that were asked for: see
    /// [`ClientBuilder::redirect_headers`](crate::ClientBuilder::redirect_headers) and
    /// [`subprotocol_required`](crate::ClientBuilder::subprotocol_required).
    #[error("it leads to another origin, which gets no subprotocols: see `redirect_headers()`")]
    Subprotocols,
    /// The response has no header `Location`, or several.
    #[error("it has no header Location, or several")]
    NoLocation,
    /// `Location` is no URL that can be connected to. Its text is not shown, since it may have a secret.
    #[error("the header Location is no WebSocket URL")]
    Location(InvalidUrl),
}

/// Without userinfo and query, as in a log.
fn without_secrets(mut url: Url) -> Url {
    // A ws URL has a host, so these do not fail.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url
}
