//! Connections through a proxy, according to `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use std::ffi::OsString;
use std::fmt;

use axum::http::uri::Uri;
use axum::http::{HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;

use crate::fault::Wrong;
use crate::network::address::host_and_port;
use crate::secret::Secret;

/// A proxy that speaks HTTP, and the hosts that are reached without it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its host and port.
    authority: String,
    user: Option<(String, Secret)>,
    /// `NO_PROXY`
    except: String,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy(…)")
    }
}

/// The proxies for encrypted and for plain connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
}

impl Proxies {
    /// Reads the variables. Each may be in capitals or in small letters; as with curl, small letters come first.
    ///
    /// # Errors
    /// The variables that can't be used, each with what is wrong with it.
    pub(crate) fn from_variables(
        variables: &[(OsString, OsString)],
    ) -> Result<Self, Vec<(String, Wrong)>> {
        let find = |name: &str| {
            [name.to_ascii_lowercase(), name.to_owned()]
                .into_iter()
                .find_map(|name| {
                    let (_, value) = variables.iter().find(|(known, _)| *known == *name)?;
                    let value = value.to_string_lossy().trim().to_owned();
                    (!value.is_empty()).then_some((name, value))
                })
        };
        let except = find("NO_PROXY").map_or_else(String::new, |(_, value)| value);
        let mut problems = Vec::new();
        let mut read = |name: &str| {
            let (name, value) = find(name)?;
            match Proxy::parse(&value, &except) {
                Ok(proxy) => Some(proxy),
                Err(problem) => {
                    problems.push((name, problem));
                    None
                }
            }
        };
        let (https, http, all) = (read("HTTPS_PROXY"), read("HTTP_PROXY"), read("ALL_PROXY"));
        if problems.is_empty() {
            Ok(Self {
                https: https.or_else(|| all.clone()),
                http: http.or(all),
            })
        } else {
            Err(problems)
        }
    }

    /// The proxy for URLs with `http://` or with `https://`, whatever their host is.
    #[must_use]
    pub(crate) fn of_scheme(&self, is_plain: bool) -> Option<Proxy> {
        if is_plain {
            self.http.clone()
        } else {
            self.https.clone()
        }
    }
}

impl Proxy {
    fn parse(text: &str, except: &str) -> Result<Self, Wrong> {
        let no_url = || {
            Wrong::new(
                "is not the URL of a proxy",
                "write it as http://host:port or http://user:password@host:port",
            )
        };
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err(Wrong::new(
                    "names a SOCKS proxy, which this service can't use",
                    "name one that speaks HTTP as http://host:port, or remove the variable from this service",
                ));
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(Wrong::new(
                    "names a proxy that is reached over TLS, which this service can't do",
                    "write it as http://host:port (HTTPS through it stays encrypted), or remove the variable from this service",
                ));
            }
            Some(_) => return Err(no_url()),
        };
        let authority = rest.trim_end_matches('/');
        let (user, authority) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, authority)| {
                (Some(user), authority)
            });
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
            (!text.contains(char::is_control)).then_some(text)
        };
        let user = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            None => None,
            Some((name, password)) => Some((
                decoded(name).ok_or_else(no_url)?,
                Secret::new(decoded(password).ok_or_else(no_url)?),
            )),
        };
        let (host, port) = host_and_port(authority).ok_or_else(no_url)?;
        Ok(Self {
            authority: format!("{host}:{}", port.unwrap_or(80)),
            user,
            except: except.to_owned(),
        })
    }

    /// Its own URL, without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Its host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The user and the password for the proxy.
    #[must_use]
    pub const fn user(&self) -> Option<&(String, Secret)> {
        self.user.as_ref()
    }

    /// The hosts that are reached without it.
    #[must_use]
    pub fn except(&self) -> &str {
        &self.except
    }

    /// Whether a host is reached through it.
    #[must_use]
    pub fn is_for(&self, uri: &Uri) -> bool {
        Matcher::builder()
            .all(self.url())
            .no(self.except.clone())
            .build()
            .intercept(uri)
            .is_some()
    }

    /// The header by which this service logs in to the proxy.
    #[must_use]
    pub fn authorization(&self) -> Option<(header::HeaderName, HeaderValue)> {
        let (name, password) = self.user.as_ref()?;
        let pair = BASE64.encode(format!("{name}:{}", password.expose()));
        let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
        value.set_sensitive(true);
        Some((header::PROXY_AUTHORIZATION, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, Vec<(String, Wrong)>> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Proxies::from_variables(&variables)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_its_exceptions() {
        let proxies = read(&[
            ("HTTPS_PROXY", "http://user:c%40nary@proxy.internal:3128/"),
            ("https_proxy", ""),
            ("all_proxy", "other"),
            ("NO_PROXY", "localhost,.example.com,10.0.0.0/8"),
        ])
        .unwrap();
        let proxy = proxies.of_scheme(false).unwrap();
        assert_eq!(proxy.url(), "http://proxy.internal:3128");
        assert_eq!(proxy.user().unwrap().1.expose(), "c@nary");
        assert!(!format!("{proxies:?}").contains("nary"));
        assert_eq!(proxies.of_scheme(true).unwrap().url(), "http://other:80");
        for (uri, through) in [
            ("https://r2.cloudflarestorage.com/x", true),
            ("https://a.example.com", false),
            ("https://localhost:1", false),
            ("https://10.1.2.3", false),
        ] {
            assert_eq!(proxy.is_for(&uri.parse().unwrap()), through, "{uri}");
        }
        assert_eq!(read(&[]).unwrap(), Proxies::default());
    }

    #[test]
    fn what_can_not_be_honoured_is_refused_by_name() {
        for (value, piece) in [
            ("socks5://canary:1", "SOCKS"),
            ("https://canary:1", "over TLS"),
            ("ftp://canary", "not the URL of a proxy"),
            ("http://canary:port", "not the URL of a proxy"),
            ("http://u:canary@", "not the URL of a proxy"),
            ("http://canary/path", "not the URL of a proxy"),
            ("http://canary?query", "not the URL of a proxy"),
            ("http://canary:0", "not the URL of a proxy"),
            ("http://${canary}:3128", "not the URL of a proxy"),
        ] {
            let problems = read(&[("ALL_PROXY", value)]).unwrap_err();
            let (name, wrong) = &problems[0];
            assert_eq!(name, "ALL_PROXY");
            let text = wrong.to_string();
            assert!(
                text.contains(piece) && !text.contains("canary"),
                "{value}: {text}"
            );
        }
    }
}
