//! The way of an attempt through redirects (RFC 9110, section 15.4).

use std::sync::Arc;

use http::{
    Response, StatusCode,
    header::{AUTHORIZATION, COOKIE, LOCATION, ORIGIN, USER_AGENT},
};

use crate::{
    error::{Error, InvalidRedirect, Redirected},
    handshake::{request::Request, subprotocol::Subprotocols},
    transport::target::Target,
};

/// What of the caller's another origin gets that a redirect leads to: see
/// [`ClientBuilder::redirect_headers`](crate::ClientBuilder::redirect_headers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RedirectHeaders {
    /// `User-Agent` and `Origin` alone. No other header, and no subprotocol.
    #[default]
    Drop,
    /// All headers but `Authorization` and `Cookie`, and the subprotocols.
    Keep,
}

/// What was left, without userinfo, and how many may be.
#[derive(Debug)]
pub(crate) struct Way {
    limit: u8,
    headers: RedirectHeaders,
    left: Vec<Target>,
}

impl Way {
    /// A way of at most `limit` redirects. With 0 no response counts as one.
    pub(crate) fn new(limit: u8, headers: RedirectHeaders) -> Self {
        Self { limit, headers, left: Vec::new() }
    }

    /// Whether `response` is a redirect to be followed.
    pub(crate) fn goes_on(&self, response: &Response<()>) -> bool {
        self.limit > 0
            && matches!(
                response.status(),
                StatusCode::MOVED_PERMANENTLY
                    | StatusCode::FOUND
                    | StatusCode::SEE_OTHER
                    | StatusCode::TEMPORARY_REDIRECT
                    | StatusCode::PERMANENT_REDIRECT
            )
    }

    /// Points `request` to where its `response` leads, and takes from it what only its origin may see.
    pub(crate) fn follow(&mut self, request: &mut Request, response: &Response<()>) -> Result<(), Error> {
        let here = &request.target;
        let there = self.step(here, response)?;
        if there.is_same_origin(here) {
            request.target = there.with_userinfo_of(here);
            return Ok(());
        }
        match self.headers {
            RedirectHeaders::Keep => {
                for secret in [AUTHORIZATION, COOKIE] {
                    request.headers.remove(secret);
                }
            }
            RedirectHeaders::Drop if !request.protocols.is_empty() && request.subprotocol_required => {
                return Err(self.error(InvalidRedirect::Subprotocols, Some(&there)));
            }
            RedirectHeaders::Drop => {
                request.protocols = Subprotocols::default();
                for name in request.headers.keys().cloned().collect::<Vec<_>>() {
                    if ![USER_AGENT, ORIGIN].contains(&name) {
                        request.headers.remove(name);
                    }
                }
            }
        }
        request.target = there;
        Ok(())
    }

    /// Leaves `here` for where `response` leads, which is returned without userinfo.
    fn step(&mut self, here: &Target, response: &Response<()>) -> Result<Target, Error> {
        self.left.push(here.clone().without_userinfo());
        let there = location(here, response).map_err(|reason| self.error(reason, None))?;
        let reason = if here.is_secure() && !there.is_secure() {
            InvalidRedirect::Downgrade
        } else if self.left.iter().any(|left| left.is_same_place(&there)) {
            InvalidRedirect::Loop
        } else if self.left.len() > usize::from(self.limit) {
            InvalidRedirect::TooMany { limit: self.limit }
        } else {
            return Ok(there);
        };
        Err(self.error(reason, Some(&there)))
    }

    fn error(&self, reason: InvalidRedirect, there: Option<&Target>) -> Error {
        let way = self.left.iter().chain(there).map(|target| target.url().clone());
        Error::Redirect(Arc::new(Redirected::new(reason, way)))
    }
}

/// Where `Location` leads.
fn location(here: &Target, response: &Response<()>) -> Result<Target, InvalidRedirect> {
    let mut locations = response.headers().get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return Err(InvalidRedirect::NoLocation) };
    here.join(&String::from_utf8_lossy(location.as_bytes())).map_err(InvalidRedirect::Location)
}
