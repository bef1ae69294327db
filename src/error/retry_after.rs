//! What a refusal says of when to come back (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap,
    header::{DATE, HeaderName, RETRY_AFTER},
};

use crate::error::Error;

impl Error {
    /// For how long the server, or a proxy, asks to stay away: if it is a refusal that says so. RFC 9110 gives that a meaning
    /// for some statuses; servers send it with others, too, such as 418 and 403 to who is banned for a while.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        asked(self.refusal()?.headers(), SystemTime::now())
    }
}

/// A time that is over is none to wait.
fn asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a u64 holds is for ever, too.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    // The server's own clock, if it tells: ours may be wrong.
    let now = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(until.duration_since(now).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{HeaderValue, Response};

    use super::*;
    use crate::error::{ProxyCause, ProxyError, Server};

    #[test]
    fn every_refusal_is_obeyed_and_a_proxy_as_a_server_is() {
        for status in [302, 403, 407, 413, 418, 429, 502, 503, 520] {
            let response = Response::builder().status(status).header(RETRY_AFTER, "5").body(Bytes::new());
            let response = response.expect("a response");
            let proxy: http::uri::Authority = "proxy.example:3128".parse().expect("an authority");
            let server = Arc::new(Server::new("ws", proxy.clone()));
            let by_proxy = ProxyError { proxy, server, cause: ProxyCause::Refused(response.clone()) };
            for end in [Error::Refused(Arc::new(response)), Error::Proxy(Arc::new(by_proxy))] {
                assert_eq!(end.retry_after().map(|asked| asked.as_secs()), Some(5), "{end}");
            }
        }
    }

    /// By a clock here that says 1994-11-06 08:49:37.
    fn seconds(retry_after: &[u8], server_date: Option<&str>) -> Option<u64> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(retry_after).expect("a value"));
        if let Some(date) = server_date {
            headers.insert(DATE, date.parse().expect("a value"));
        }
        asked(&headers, now).map(|asked| asked.as_secs())
    }

    #[test]
    fn seconds_and_dates_in_every_form_of_http_are_read() {
        for (value, date, asked) in [
            ("0", None, Some(0)),
            ("5", None, Some(5)),
            ("120 ", None, Some(120)),
            ("99999999999999999999999999", None, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:42 GMT", None, Some(5)),
            ("Sunday, 06-Nov-94 08:49:42 GMT", None, Some(5)),
            ("Sun Nov  6 08:49:42 1994", None, Some(5)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None, Some(0)),
            ("Sun, 06 Nov 1994 08:49:42 GMT", Some("Sun, 06 Nov 1994 08:49:12 GMT"), Some(30)),
            ("Sun, 06 Nov 1994 08:49:42 GMT", Some("yesterday"), Some(5)),
        ] {
            assert_eq!(seconds(value.as_bytes(), date), asked, "{value:?} at {date:?}");
        }
    }

    #[test]
    fn what_is_neither_says_nothing() {
        for value in [&b""[..], b" ", b"-5", b"+5", b"1.5", b"5s", b"soon", b"\xff", b"Sun, 99 Nov 1994 08:49:42 GMT"] {
            assert_eq!(seconds(value, None), None, "{value:?}");
        }
    }
}
