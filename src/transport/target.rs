//! Where to connect to: a URL, validated and taken apart before any IO.

use std::{fmt, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{
    HeaderValue,
    uri::{Authority, PathAndQuery},
};
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use crate::error::{InvalidUrl, Server, cut, up_to};

/// A URL that can be connected to, and what each step of connecting takes from it.
///
/// The [`url`](Self::url) stays what the WHATWG getter shows, userinfo included; nothing else here shows a password.
#[derive(Clone)]
pub(crate) struct Target {
    url: Url,
    server: Arc<Server>,
    resource: PathAndQuery,
    host: HeaderValue,
    server_name: String,
    credentials: Option<HeaderValue>,
}

impl Target {
    /// The steps of the WHATWG constructor, in their order: parse, map `http` to `ws`, check the scheme, the fragment.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let mut url = Url::parse(url)?;
        let scheme = match url.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            other => return Err(InvalidUrl::Scheme(cut(other).into())),
        };
        // http and ws, https and wss have the same default ports: what was elided stays so.
        url.set_scheme(scheme).map_err(|()| InvalidUrl::Scheme(scheme.into()))?;
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        let (host, server_name) = host_of(&url)?;
        let server = server_of(&url)?;
        Ok(Self {
            server: Arc::new(Server::new(scheme, server)),
            resource: resource_of(&url)?,
            credentials: credentials_of(&url),
            host,
            server_name,
            url,
        })
    }

    /// The same target under another name: for the header `Host`, and for SNI and the certificate. `host` may have a
    /// port, which the header shows. What is connected to stays as it was.
    pub(crate) fn with_host(self, host: &str) -> Result<Self, InvalidUrl> {
        let invalid = || InvalidUrl::Host(without_secrets(host).into());
        // The URL parser would take these for the end of the host, or drop them.
        if host.contains(|c: char| matches!(c, '/' | '\\' | '?' | '#' | '@') || c.is_whitespace() || c.is_control()) {
            return Err(invalid());
        }
        let url = Url::parse(&format!("{}://{host}", self.url.scheme())).map_err(|_| invalid())?;
        let (host, server_name) = host_of(&url)?;
        Ok(Self { host, server_name, ..self })
    }

    /// The same target with another value of the header `Host` alone.
    pub(crate) fn with_host_header(self, host: &str) -> Result<Self, InvalidUrl> {
        let Self { host, .. } = self.clone().with_host(host)?;
        Ok(Self { host, ..self })
    }

    /// Where `location` leads from here, without userinfo, which is not a server's to give, and without a fragment, which
    /// means nothing here. Another name ([`with_host`](Self::with_host)) goes on unless `location` has an authority.
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        let mut url = self.url.join(location)?;
        url.set_fragment(None);
        let there = Self::parse(url.as_str())?.without_userinfo();
        if self.is_relative(location) {
            let (host, server_name) = (self.host.clone(), self.server_name.clone());
            return Ok(Self { host, server_name, ..there });
        }
        Ok(there)
    }

    /// Whether `location` has no authority, so that host and port are those of here. The parser of URLs alone knows: it
    /// takes `\\` for `/`, and passes over tabs and more slashes than two. So it is asked from another port, too.
    fn is_relative(&self, location: &str) -> bool {
        let (mut one, mut another) = (self.url.clone(), self.url.clone());
        // The URL has a host, so these do not fail. No scheme here has one of these ports as its default.
        let _ = (one.set_port(Some(1)), another.set_port(Some(2)));
        match (one.join(location), another.join(location)) {
            (Ok(one), Ok(another)) => one.port() != another.port(),
            _ => false,
        }
    }

    /// Whether requests to both are to the same origin: scheme, and host and port as `Host` shows them.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        self.url.scheme() == other.url.scheme() && self.host == other.host
    }

    /// Whether requests to both ask for the same.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        self.url == other.url && self.host == other.host
    }

    /// With the userinfo of `other`.
    pub(crate) fn with_userinfo_of(mut self, other: &Self) -> Self {
        // The URL has a host, so these do not fail.
        let _ = self.url.set_username(other.url.username());
        let _ = self.url.set_password(other.url.password());
        Self { credentials: other.credentials.clone(), ..self }
    }

    pub(crate) fn without_userinfo(mut self) -> Self {
        // As above.
        let _ = self.url.set_username("");
        let _ = self.url.set_password(None);
        Self { credentials: None, ..self }
    }

    /// The URL as it was validated, scheme mapped, userinfo kept.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the scheme asks for TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// Host and port to open TCP to. The port is always explicit.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The same, reached through `proxy`, which errors name.
    #[cfg(feature = "proxy")]
    pub(crate) fn through(&self, proxy: &Server) -> Self {
        Self { server: self.server.through(proxy), ..self.clone() }
    }

    /// The resource name of the request line (RFC 6455, section 3).
    pub(crate) fn resource(&self) -> &PathAndQuery {
        &self.resource
    }

    /// The value of `Host`.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The name that the server's certificate must have: a DNS name or an address without brackets.
    pub(crate) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The URL's userinfo as a value of `Authorization`.
    pub(crate) fn credentials(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()
    }
}

/// Without the userinfo, which is a secret, and the query, which often has one.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", self.url.scheme(), **self.server)
    }
}

/// What was given as a host, without what is none in it: it may have been a whole URL.
fn without_secrets(host: &str) -> String {
    let host = up_to(host, &['/', '\\', '?', '#']);
    match host.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => host,
    }
}

/// Host and port as the header `Host` shows them, the default port elided, and the name to look for in a certificate.
fn host_of(url: &Url) -> Result<(HeaderValue, String), InvalidUrl> {
    let host = url.host_str().ok_or(url::ParseError::EmptyHost)?;
    let header = &url[Position::BeforeHost..Position::AfterPort];
    let header = HeaderValue::from_str(header).map_err(|_| InvalidUrl::Host(cut(host).into()))?;
    // A name in a certificate, and in SNI (RFC 6066, section 3), has no trailing dot.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = name.strip_suffix('.').unwrap_or(name);
    // No name in DNS has an empty label (RFC 1035, section 3.1), and each step would make another one of it.
    if name.split('.').any(str::is_empty) {
        return Err(InvalidUrl::Host(cut(host).into()));
    }
    Ok((header, name.to_owned()))
}

fn server_of(url: &Url) -> Result<Authority, InvalidUrl> {
    let host = url.host_str().ok_or(url::ParseError::EmptyHost)?;
    let port = url.port_or_known_default().ok_or(url::ParseError::InvalidPort)?;
    Authority::try_from(format!("{host}:{port}")).map_err(|_| InvalidUrl::Host(cut(host).into()))
}

fn resource_of(url: &Url) -> Result<PathAndQuery, InvalidUrl> {
    // An empty query is not sent (RFC 6455, section 3).
    let end = if url.query() == Some("") { Position::AfterPath } else { Position::AfterQuery };
    url[Position::BeforePath..end]
        .parse()
        .map_err(|error: http::uri::InvalidUri| InvalidUrl::Resource(error.to_string().into()))
}

/// Basic credentials (RFC 7617, section 2), sent without being asked for: a refused upgrade is not tried again.
fn credentials_of(url: &Url) -> Option<HeaderValue> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password.unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// B1, B3, B4, B5.
    #[test]
    fn urls_that_are_refused() {
        use InvalidUrl::{Fragment, Scheme};
        for url in ["", "ws://", "ws://foo bar/", "ws://h:65536/", "ws://h:x/", "/relative", "h/relative", "wss://[::1"]
        {
            assert!(matches!(Target::parse(url), Err(InvalidUrl::Parse(_))), "{url:?}");
        }
        for (url, scheme) in
            [("ftp://h/", "ftp"), ("mailto:a@b", "mailto"), ("about:blank", "about"), ("wsx://h", "wsx")]
        {
            assert_eq!(Target::parse(url).unwrap_err(), Scheme(scheme.into()), "{url:?}");
        }
        for url in ["ws://h/#", "ws://h/#test", "http://h#", "wss://h/?a#b"] {
            assert_eq!(Target::parse(url).unwrap_err(), Fragment, "{url:?}");
        }
        // B6: the scheme is checked before the fragment.
        assert_eq!(Target::parse("ftp://h/#").unwrap_err(), Scheme("ftp".into()));
    }

    #[test]
    fn hosts_with_an_empty_label_are_refused() {
        for host in ["localhost..", "a..b", ".a", ".", "..", "a..:80"] {
            let refused = Target::parse(&format!("wss://{host}/"));
            assert!(matches!(refused, Err(InvalidUrl::Host(_) | InvalidUrl::Parse(_))), "{host}: {refused:?}");
            assert!(matches!(target("ws://h/").with_host(host), Err(InvalidUrl::Host(_))), "{host}");
            assert!(target("ws://h/").join(&format!("//{host}/")).is_err(), "{host}");
        }
        assert_eq!(target("wss://localhost./").server_name(), "localhost");
    }

    /// B2, B7-B12.
    #[test]
    fn the_url_that_the_getter_shows() {
        for (given, shown) in [
            ("http://h/x", "ws://h/x"),
            ("https://h:443/x", "wss://h/x"),
            ("http://h:443", "ws://h:443/"),
            ("https://h:80", "wss://h:80/"),
            ("WS://HOST", "ws://host/"),
            ("ws://h:80", "ws://h/"),
            ("wss://h:443", "wss://h/"),
            ("ws://h:443", "ws://h:443/"),
            ("ws:h", "ws://h/"),
            ("ws:/h", "ws://h/"),
            (" ws://h/a b\u{1}", "ws://h/a%20b"),
            ("ws://h/?\u{e5}", "ws://h/?%C3%A5"),
            ("ws://h/?foo%20bar baz", "ws://h/?foo%20bar%20baz"),
            ("ws://h/?x\0y\0", "ws://h/?x%00y"),
            ("ws://b\u{fc}cher.example/", "ws://xn--bcher-kva.example/"),
            ("ws://me:secret@h/", "ws://me:secret@h/"),
        ] {
            assert_eq!(target(given).url().as_str(), shown, "{given:?}");
        }
    }

    /// B23.
    #[test]
    fn the_resource_and_what_else_is_taken_from_the_url() {
        for (url, resource, host, address, name) in [
            ("ws://h", "/", "h", "ws://h:80/", "h"),
            ("wss://h/a?b=c", "/a?b=c", "h", "wss://h:443/", "h"),
            ("ws://h/a?", "/a", "h", "ws://h:80/", "h"),
            ("ws://u:p@h:8080/", "/", "h:8080", "ws://h:8080/", "h"),
            ("wss://[2001:DB8::1]/", "/", "[2001:db8::1]", "wss://[2001:db8::1]:443/", "2001:db8::1"),
            ("wss://[::1]:9000/", "/", "[::1]:9000", "wss://[::1]:9000/", "::1"),
            ("wss://127.1/", "/", "127.0.0.1", "wss://127.0.0.1:443/", "127.0.0.1"),
            ("wss://h.example./", "/", "h.example.", "wss://h.example.:443/", "h.example"),
            ("ws://h:0/", "/", "h:0", "ws://h:0/", "h"),
        ] {
            let target = target(url);
            assert_eq!(target.resource().as_str(), resource, "{url}");
            assert_eq!(target.host(), host, "{url}");
            assert_eq!(format!("{target:?}"), address, "{url}");
            assert_eq!(target.server_name(), name, "{url}");
            assert_eq!(target.is_secure(), url.starts_with("wss"), "{url}");
        }
    }

    #[test]
    fn every_character_that_a_url_can_keep_can_stand_in_the_request_line() {
        for c in (0..=0x24f).filter_map(char::from_u32).filter(|&c| c != '#') {
            target(&format!("ws://h/a{c}b?c{c}d"));
        }
        assert!(matches!(Target::parse(&format!("ws://h/{}", "x".repeat(70_000))), Err(InvalidUrl::Resource(_))));
    }

    /// B13.
    #[test]
    fn userinfo_becomes_basic_credentials_and_is_not_shown() {
        for (url, credentials) in [
            ("ws://h/", None),
            ("ws://@h/", None),
            ("ws://foo:bar@h/", Some("foo:bar")),
            ("ws://foo@h/", Some("foo:")),
            ("ws://:bar@h/", Some(":bar")),
            ("ws://f%6Fo:b%3Aa%C3%A5@h/", Some("foo:b:a\u{e5}")),
        ] {
            let target = target(url);
            let expected = credentials.map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair)));
            assert_eq!(target.credentials().map(|value| value.to_str().unwrap()), expected.as_deref(), "{url}");
        }
        let shown = format!("{:?}", target("ws://foo:bar@h/?token=x"));
        assert_eq!(shown, "ws://h:80/");
        assert!(format!("{:?}", target("ws://foo:bar@h/").credentials()).contains("Sensitive"));
    }

    #[test]
    fn another_name_goes_on_with_a_location_without_an_authority() {
        let here = target("ws://me:secret@h:81/dir/a?b").with_host("front").unwrap();
        for (location, url, host, is_same_origin) in [
            ("/c", "ws://h:81/c", "front", true),
            ("c", "ws://h:81/dir/c", "front", true),
            ("?c", "ws://h:81/dir/a?c", "front", true),
            ("#c", "ws://h:81/dir/a?b", "front", true),
            ("ws:c", "ws://h:81/dir/c", "front", true),
            ("//front", "ws://front/", "front", true),
            ("\\\\you@front:80", "ws://front/", "front", true),
            ("wss://front/", "wss://front/", "front", false),
            ("//front:81/", "ws://front:81/", "front:81", false),
            ("//h:81/c", "ws://h:81/c", "h:81", false),
            ("/\\h:81/c", "ws://h:81/c", "h:81", false),
            (" \\/h:81/c", "ws://h:81/c", "h:81", false),
            ("/\t/h:81/c", "ws://h:81/c", "h:81", false),
            ("//h:1/", "ws://h:1/", "h:1", false),
            ("//h:2/", "ws://h:2/", "h:2", false),
        ] {
            let there = here.join(location).unwrap_or_else(|error| panic!("{location}: {error}"));
            assert_eq!(there.url().as_str(), url, "{location}");
            assert_eq!(there.host(), host, "{location}");
            assert_eq!(there.is_same_origin(&here), is_same_origin, "{location}");
            assert!(there.credentials().is_none(), "{location}");
            let there = there.with_userinfo_of(&here);
            assert_eq!((there.url().username(), there.credentials()), ("me", here.credentials()), "{location}");
        }
        assert!(here.join("//h:x/").is_err() && here.join("ftp://h/").is_err());
    }

    #[test]
    fn another_host_changes_the_header_and_the_name_but_not_the_address() {
        for (given, host, name) in [
            ("EXAMPLE.com", "example.com", "example.com"),
            ("example.com:8443", "example.com:8443", "example.com"),
            ("example.com:443", "example.com", "example.com"),
            ("[::1]:1", "[::1]:1", "::1"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let target = target("wss://127.0.0.1:9443/").with_host(given).unwrap();
            assert_eq!(target.host(), host, "{given}");
            assert_eq!(target.server_name(), name, "{given}");
            assert_eq!(format!("{target:?}"), "wss://127.0.0.1:9443/", "{given}");
        }
        for given in ["", "a/", "a?", "a#", "a b", "a\n", "a\r\nX: y", "a\0", "a\\", "a:x", ":80", "a%0d%0ab"] {
            let refused = target("ws://h/").with_host(given).unwrap_err();
            assert_eq!(refused, InvalidUrl::Host(given.into()), "{given:?}");
        }
        for (given, shown) in [
            ("me:secret@a", "…@a"),
            ("me:sec@ret@a", "…@a"),
            ("a/?token=secret", "a/…"),
            ("a?token=secret", "a?…"),
            ("wss://me:secret@a/", "wss:/…"),
            ("me:secret@a/secret", "…@a/…"),
        ] {
            let refused = target("ws://h/").with_host(given).unwrap_err();
            assert_eq!(refused, InvalidUrl::Host(shown.into()), "{given:?}");
        }
    }
}
