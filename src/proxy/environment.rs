//! What the environment says of proxies: which one for which server.

use crate::{
    error::{InvalidUrl, InvalidVariable},
    proxy::{endpoint::Endpoint, no_proxy::NoProxy},
    transport::target::Target,
};

/// The proxies of the environment.
#[derive(Debug)]
pub(super) struct Environment {
    ws: Option<Endpoint>,
    wss: Option<Endpoint>,
    no_proxy: NoProxy,
}

impl Environment {
    /// `variable` gives the value of a variable. The first one that is set and not empty counts.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidUrl> {
        let first = |names: &[&'static str]| {
            let value = |&name| Some((name, variable(name)?));
            names.iter().filter_map(value).find(|(_, value)| !value.trim().is_empty())
        };
        let endpoint = |names: &[&'static str]| {
            let Some((name, url)) = first(names).or_else(|| first(&["all_proxy", "ALL_PROXY"])) else {
                return Ok(None);
            };
            let invalid = |reason| InvalidUrl::ProxyVariable(Box::new(InvalidVariable { name, reason }));
            Endpoint::any(url.trim()).map(Some).map_err(invalid)
        };
        // In a CGI program `HTTP_PROXY` is the header `Proxy` of the request (CVE-2016-5385).
        let ws: &[_] = match variable("REQUEST_METHOD") {
            None => &["http_proxy", "HTTP_PROXY"],
            // There the names of variables have no case.
            Some(_) if cfg!(windows) => &[],
            Some(_) => &["http_proxy"],
        };
        Ok(Self {
            ws: endpoint(ws)?,
            wss: endpoint(&["https_proxy", "HTTPS_PROXY"])?,
            no_proxy: first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| NoProxy::parse(&list)).unwrap_or_default(),
        })
    }

    /// The proxy for `server`.
    pub(super) fn endpoint(&self, server: &Target) -> Option<&Endpoint> {
        let is_exempt = match (server.url().host(), server.server().port_u16()) {
            (Some(host), Some(port)) => self.no_proxy.contains(&host, port),
            _ => false,
        };
        let endpoint = if server.is_secure() { &self.wss } else { &self.ws };
        endpoint.as_ref().filter(|_| !is_exempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, InvalidUrl> {
        let value = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).into());
        Environment::read(value)
    }

    /// The proxy for this URL as `Debug` shows it, and `""` for none.
    fn proxy_for(url: &str, environment: &Environment) -> String {
        let target = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        environment.endpoint(&target).map(|proxy| format!("{proxy:?}")).unwrap_or_default()
    }

    #[test]
    fn which_variable_counts() {
        for (variables, ws, wss) in [
            (&[][..], "", ""),
            (&[("HTTP_PROXY", "http://a")], "http://a:80", ""),
            (&[("HTTPS_PROXY", "http://a")], "", "http://a:80"),
            (&[("ALL_PROXY", "http://a")], "http://a:80", "http://a:80"),
            (&[("ALL_PROXY", "http://a"), ("http_proxy", "http://b")], "http://b:80", "http://a:80"),
            // In lower case it wins.
            (&[("HTTP_PROXY", "http://a"), ("http_proxy", "http://b")], "http://b:80", ""),
            (&[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b")], "", "http://b:80"),
            (&[("ALL_PROXY", "http://a"), ("all_proxy", "http://b")], "http://b:80", "http://b:80"),
            (&[("all_proxy", "http://a"), ("HTTP_PROXY", "http://b")], "http://b:80", "http://a:80"),
            // An empty one counts as none.
            (&[("http_proxy", ""), ("HTTP_PROXY", " "), ("ALL_PROXY", "http://a")], "http://a:80", "http://a:80"),
            // CGI.
            (&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil")], "", ""),
            (
                &[("REQUEST_METHOD", ""), ("HTTP_PROXY", "x://evil"), ("ALL_PROXY", "http://a")],
                "http://a:80",
                "http://a:80",
            ),
            (&[("REQUEST_METHOD", "GET"), ("HTTPS_PROXY", "http://a")], "", "http://a:80"),
            // What a value may be.
            (&[("ALL_PROXY", "a:3128")], "http://a:3128", "http://a:3128"),
            (&[("ALL_PROXY", " user:secret@a ")], "http://a:80", "http://a:80"),
            (&[("ALL_PROXY", "https://a/path")], "https://a:443", "https://a:443"),
            (&[("ALL_PROXY", "SOCKS5://user:secret@a")], "socks5://a:1080", "socks5://a:1080"),
            (&[("ALL_PROXY", "socks5h://[::1]:9")], "socks5://[::1]:9", "socks5://[::1]:9"),
            // One that no scheme asks for is not looked at.
            (&[("http_proxy", "a"), ("https_proxy", "b"), ("ALL_PROXY", "x://")], "http://a:80", "http://b:80"),
        ] {
            let environment = read(variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
            assert_eq!(proxy_for("ws://h/", &environment), ws, "{variables:?}");
            assert_eq!(proxy_for("wss://h/", &environment), wss, "{variables:?}");
            assert!(!format!("{environment:?}").contains("secret"), "{environment:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn in_cgi_the_variable_in_lower_case_counts() {
        let environment =
            read(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil"), ("http_proxy", "a")]).expect("URLs");
        assert_eq!(proxy_for("ws://h/", &environment), "http://a:80");
    }

    #[test]
    fn no_proxy_is_for_either_scheme_and_knows_its_port() {
        let list = ("NO_PROXY", "ignored.example");
        let environment = read(&[("ALL_PROXY", "a"), ("no_proxy", "h:443, other"), list]).expect("URLs");
        for (url, proxy) in [
            ("wss://h/", ""),
            ("ws://h/", "http://a:80"),
            ("ws://h:443/", ""),
            ("ws://x.other:99/", ""),
            ("wss://OTHER./", ""),
            ("ws://ignored.example/", "http://a:80"),
            ("ws://localhost/", "http://a:80"),
            ("ws://127.0.0.1/", "http://a:80"),
        ] {
            assert_eq!(proxy_for(url, &environment), proxy, "{url}");
        }
    }

    #[test]
    fn an_invalid_url_is_told_with_its_variable_and_without_what_may_be_a_secret() {
        let scheme = "the scheme of the proxy is \"socks4\", expected http or https, or socks5 or socks5h for SOCKS5";
        for (name, value, reason) in [
            ("http_proxy", "http://user:secret@", "empty host"),
            ("HTTP_PROXY", "http://user:secret@h:x", "invalid port number"),
            ("HTTPS_PROXY", "user:secret@h:65536", "invalid port number"),
            ("ALL_PROXY", "socks4://user:secret@h", scheme),
            ("all_proxy", "socks5://user:secret@", "empty host"),
        ] {
            let error = read(&[(name, value)]).err().unwrap_or_else(|| panic!("{name}={value} is taken"));
            assert_eq!(error.to_string(), format!("in the environment variable {name}: {reason}"));
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
