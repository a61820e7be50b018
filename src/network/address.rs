//! The URLs of services that speak HTTP. All of them are checked against the same rules.

use std::fmt;

use axum::http::Uri;
use axum::http::uri::{PathAndQuery, Scheme};

use crate::fault::Wrong;
use crate::network::proxy::Proxy;
use crate::secret::{Redactor, Secret};

/// The address of a receiver. All of it is a secret, because anybody who knows it can send there.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    variable: &'static str,
    proxy: Option<Proxy>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}, …)", self.variable)
    }
}

impl Address {
    /// Reads the value of a variable.
    ///
    /// # Errors
    /// What is wrong. It never contains the value.
    pub fn parse(variable: &'static str, text: &str) -> Result<Self, Wrong> {
        let no_url = || {
            Wrong::new(
                "is not a URL that begins with https:// or http://",
                "copy it again from the receiver",
            )
        };
        if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(no_url());
        }
        let uri: Uri = text.parse().map_err(|_| no_url())?;
        let known = [Scheme::HTTP, Scheme::HTTPS].iter().map(Some);
        if !known.into_iter().any(|scheme| scheme == uri.scheme()) {
            return Err(no_url());
        }
        let authority = uri.authority().ok_or_else(no_url)?.as_str();
        if authority.contains('@') {
            return Err("holds a user or password before the host, which is not supported".into());
        }
        if !is_authority(authority) {
            return Err(no_url());
        }
        Ok(Self {
            uri,
            variable,
            proxy: None,
        })
    }

    /// The variable that holds it.
    #[must_use]
    pub const fn variable(&self) -> &'static str {
        self.variable
    }

    /// Its host, in lower case.
    #[must_use]
    pub fn host(&self) -> String {
        self.uri.host().unwrap_or_default().to_ascii_lowercase()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Its query; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Whether others can read on the way what is sent there.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTP)
    }

    /// The same receiver, with another path and query.
    #[must_use]
    pub fn with(&self, path: &str, query: &str) -> Self {
        let text = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let mut parts = self.uri.clone().into_parts();
        if let Ok(path) = PathAndQuery::try_from(text) {
            parts.path_and_query = Some(path);
        }
        Self {
            uri: Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone()),
            variable: self.variable,
            proxy: self.proxy.clone(),
        }
    }

    /// The same receiver, reached through a proxy unless its host is an exception.
    #[must_use]
    pub fn through(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy.filter(|proxy| proxy.is_for(&self.uri));
        self
    }

    /// The whole address, for the one place that sends there.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The proxy that it is reached through.
    pub(crate) const fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Removes the address, and every part of it that can identify a receiver, from a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        const TOKEN: usize = 6;
        let pieces = self
            .path()
            .split('/')
            .chain(self.query().split(['&', '=']))
            .filter(|piece| piece.len() >= TOKEN);
        let whole = self.uri.to_string();
        let path = self.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let path = if path.len() < TOKEN { "" } else { path };
        let host = self.uri.host().unwrap_or_default();
        let secrets: Vec<Secret> = [whole.as_str(), path, host]
            .into_iter()
            .chain(pieces)
            .map(|piece| Secret::new(piece.to_owned()))
            .collect();
        Redactor::new(&secrets).redact(text)
    }
}

/// Whether a text is a host, or a host and a port.
pub(crate) fn is_authority(authority: &str) -> bool {
    host_and_port(authority).is_some()
}

/// The host, and the port if there is one; `None` if the text is something else.
pub(crate) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !authority.bytes().all(is_plain) {
        return None;
    }
    let name = host(authority);
    let port = match authority.strip_prefix(name)? {
        "" => None,
        port => Some(
            port.strip_prefix(':')?
                .parse()
                .ok()
                .filter(|port| *port > 0)?,
        ),
    };
    (!name.is_empty()).then_some((name, port))
}

/// The host of `[scheme://]host[:port][/path]`.
pub(crate) fn host(endpoint: &str) -> &str {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    if authority.starts_with('[') {
        return authority.split_once(']').map_or(authority, |(host, _)| {
            authority.get(..=host.len()).unwrap_or(authority)
        });
    }
    authority.split(':').next().unwrap_or(authority)
}

/// Whether the way to a host is private, so that no outsider can listen.
pub(crate) fn is_local(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].contains(&host)
        || host.ends_with(".internal")
        || !host.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse("HEARTBEAT_URL", text).unwrap()
    }

    #[test]
    fn an_address_is_an_absolute_url_and_no_message_repeats_it() {
        for text in [
            "https://hc-ping.com/canary",
            "http://10.0.0.1:3001/api/push/canary?status=up",
            "http://[::1]:80/x",
            "HTTPS://Host/x",
        ] {
            assert!(Address::parse("X", text).is_ok(), "{text}");
        }
        for text in [
            "canary",
            "/canary",
            "canary.example.com/x",
            "ftp://canary/x",
            "https://",
            "https:///canary",
            "https://user:canary@host/x",
            "https://host:canary/x",
            "https://host:0/canary",
            "https://host:/canary",
            "https://host/can ary",
            "https://host/canary#x",
            "https://${{canary}}/x",
        ] {
            let said = Address::parse("X", text).unwrap_err();
            assert!(!said.to_string().contains("canary"), "{text}: {said}");
        }
    }

    #[test]
    fn no_part_of_an_address_that_identifies_a_receiver_stays_in_a_text() {
        let address =
            address("https://hooks.example.com/services/T0AAAA/B0BBBB/canarycanary?key=secretkey");
        let said = address.redact(
            "https://hooks.example.com/services/T0AAAA/B0BBBB/canarycanary?key=secretkey: B0BBBB of hooks.example.com has no secretkey, token canarycanary",
        );
        for piece in ["T0AAAA", "B0BBBB", "canary", "secretkey", "example.com"] {
            assert!(!said.contains(piece), "{piece}: {said}");
        }
        assert!(!format!("{address:?}").contains("canary"));
    }
}
