//! A URL cut into its pieces, each of them decoded.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::super::parameters::{Fate, find};
use crate::fault::Wrong;
use crate::secret::Secret;

/// The pieces of a URL, decoded, with what is wrong or unusual about them.
#[derive(Default)]
pub(super) struct Pieces {
    pub(super) hosts: Vec<String>,
    pub(super) ports: Vec<String>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) password_as_written: Option<Secret>,
    pub(super) name: String,
    pub(super) parameters: BTreeMap<&'static str, String>,
    /// A driver's `ssl`.
    pub(super) ssl: Option<String>,
    /// Names that libpq does not know.
    pub(super) foreign: Vec<String>,
    /// Names of libpq that are left out, why, and what to do.
    pub(super) left_out: Vec<(&'static str, &'static str, &'static str)>,
    /// The parameters that came from libpq's variables.
    pub(super) inherited: Vec<&'static str>,
    pub(super) problems: Vec<Wrong>,
}

impl Pieces {
    /// Cuts what follows `postgres://`.
    pub(super) fn cut(rest: &str) -> Self {
        let mut pieces = Self::default();
        let mut refuse = |cause, remedy| pieces.problems.push(Wrong::new(cause, remedy));
        if rest.contains(['"', '\'', '`']) || rest.contains(char::is_whitespace) {
            refuse(
                "holds a quote or a blank",
                "percent-encode it if it belongs to the password",
            );
        }
        if rest.contains('#') {
            refuse("holds a #", "write %23 if it belongs to the password");
        }
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        if path.contains(['/', '@']) || query.contains('@') {
            refuse(
                "has a / or ? in the user, password or host part, or an @ after it",
                "write %2F, %3F, %40 if they belong to the password",
            );
        }
        let (credentials, addresses) = authority.rsplit_once('@').unwrap_or(("", authority));
        if path.contains('&') || addresses.contains('&') {
            refuse(
                "has an & before the first ?",
                "write ? before the first parameter and & before each further one",
            );
        }
        if query.contains('?') {
            refuse(
                "has a second ?",
                "write ? before the first parameter and & before each further one (%3F within a value)",
            );
        }
        let (raw_user, raw_password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        if raw_user.contains('@') {
            refuse("has an @ in the user", "write %40, as in user%40server");
        } else if credentials.contains('@') {
            refuse("has an @ in the password", "write %40");
        }
        if raw_password.is_some_and(is_placeholder) {
            refuse(
                "still has a placeholder in brackets instead of the password",
                "write the password there",
            );
        }
        pieces.user = pieces.decoded(raw_user, "user");
        pieces.password = raw_password
            .filter(|password| !password.is_empty())
            .map(|password| Secret::new(pieces.decoded(password, "password")));
        pieces.password_as_written = raw_password.map(|password| Secret::new(password.to_owned()));
        pieces.name = pieces.decoded(path, "database name");
        for address in addresses.split(',') {
            let (host, port) = split_port(address);
            if !address.starts_with('[') && port.contains(':') {
                pieces.problems.push(Wrong::new("has a host with several colons", "write an address of IPv6 in brackets, as in [::1]:5432 (and %3A for a : of the password)"));
                continue;
            }
            let host = pieces.decoded(host, "host");
            pieces.hosts.push(host);
            pieces.ports.push(port.to_owned());
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            pieces.take(pair);
        }
        pieces
    }

    fn decoded(&mut self, part: &str, what: &str) -> String {
        decoded(part).unwrap_or_else(|| {
            self.problems.push(Wrong::new(format!("has a % in the {what} that is not followed by two hexadecimal digits of UTF-8 text"), "write %25 for a plain %"));
            String::new()
        })
    }

    /// Takes one `name=value`.
    fn take(&mut self, pair: &str) {
        let (raw_key, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = self.decoded(raw_key, "parameters");
        let value = self.decoded(raw_value, "parameters");
        if key.eq_ignore_ascii_case("ssl") {
            self.ssl = Some(value);
            return;
        }
        let Some(parameter) = find(&key) else {
            self.foreign.push(key);
            return;
        };
        match (parameter.fate, parameter.name) {
            (Fate::Address, "host") => self.hosts = value.split(',').map(str::to_owned).collect(),
            (Fate::Address, "port") => self.ports = value.split(',').map(str::to_owned).collect(),
            (Fate::Address, "user") => self.user = value,
            (Fate::Address, "password") => {
                self.password = Some(Secret::new(value));
                self.password_as_written = Some(Secret::new(raw_value.to_owned()));
            }
            (Fate::Address, _) => self.name = value,
            (Fate::Given, name) => {
                self.parameters.insert(name, value);
            }
            (Fate::LeftOut(reason, remedy), name) => self.left_out.push((name, reason, remedy)),
            (Fate::Refused(reason, remedy), name) => {
                self.problems.push(Wrong::new(
                    format!("has the parameter {name}: {reason}"),
                    remedy,
                ));
            }
        }
    }
}

/// Whether it is what dashboards show in place of a password: `[YOUR-PASSWORD]`.
fn is_placeholder(password: &str) -> bool {
    password
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| {
            let inner = inner.to_ascii_lowercase();
            inner.contains("password") || inner.contains("your")
        })
}

/// Decodes percent-encoding strictly: libpq refuses `%zz`, and so do we, without repeating it.
fn decoded(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after.get(..2)?;
        if !digits.chars().all(|c| c.is_ascii_hexdigit()) || digits == "00" {
            return None;
        }
        rest = after;
    }
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// Splits `host:port`, with `[::1]:5432` for IPv6.
fn split_port(address: &str) -> (&str, &str) {
    if let Some(rest) = address.strip_prefix('[')
        && let Some((host, port)) = rest.split_once(']')
    {
        return (host, port.strip_prefix(':').unwrap_or(port));
    }
    address.split_once(':').unwrap_or((address, ""))
}
