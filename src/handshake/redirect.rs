//! The way of an attempt through redirects (RFC 9110, section 15.4).

use std::sync::Arc;

use http::{
    Response, StatusCode,
    header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION},
};
use url::Url;

use crate::{
    error::{Error, InvalidRedirect, Redirected},
    handshake::request::Request,
    transport::target::Target,
};

/// The URLs that were left, without userinfo, and how many may be.
#[derive(Debug)]
pub(crate) struct Way {
    limit: u8,
    left: Vec<Url>,
}

impl Way {
    /// A way of at most `limit` redirects. With 0 no response counts as one.
    pub(crate) fn new(limit: u8) -> Self {
        Self { limit, left: Vec::new() }
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
        let here = request.target.url();
        let mut there = self.step(here, response)?;
        if there.origin() == here.origin() {
            // Both URLs have a host, so these do not fail.
            let _ = there.set_username(here.username());
            let _ = there.set_password(here.password());
        } else {
            for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                request.headers.remove(secret);
            }
        }
        request.target = Target::parse(there.as_str())?;
        Ok(())
    }

    /// Leaves `here` for where `response` leads, which is returned without userinfo.
    fn step(&mut self, here: &Url, response: &Response<()>) -> Result<Url, Error> {
        self.left.push(without_userinfo(here.clone()));
        let there = location(here, response).map_err(|reason| self.error(reason, None))?;
        let reason = if here.scheme() == "wss" && there.scheme() != "wss" {
            InvalidRedirect::Downgrade
        } else if self.left.contains(&there) {
            InvalidRedirect::Loop
        } else if self.left.len() > usize::from(self.limit) {
            InvalidRedirect::TooMany { limit: self.limit }
        } else {
            return Ok(there);
        };
        Err(self.error(reason, Some(&there)))
    }

    fn error(&self, reason: InvalidRedirect, there: Option<&Url>) -> Error {
        let way = self.left.iter().chain(there).cloned();
        Error::Redirect(Arc::new(Redirected::new(reason, way)))
    }
}

/// The URL in `Location`, without its userinfo: a server gives the caller no name.
fn location(here: &Url, response: &Response<()>) -> Result<Url, InvalidRedirect> {
    let mut locations = response.headers().get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return Err(InvalidRedirect::NoLocation) };
    let location = String::from_utf8_lossy(location.as_bytes());
    let mut there = here.join(&location).map_err(|error| InvalidRedirect::Location(error.into()))?;
    // A place within a document means nothing here.
    there.set_fragment(None);
    let there = Target::parse(there.as_str()).map_err(InvalidRedirect::Location)?;
    Ok(without_userinfo(there.url().clone()))
}

fn without_userinfo(mut url: Url) -> Url {
    // The URL has a host, so these do not fail.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
