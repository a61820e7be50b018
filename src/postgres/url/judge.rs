//! What is wrong with a URL as a whole, and what is odd about it.

use super::super::parameters::{find, ssl, sslmode};
use super::Remark;
use super::pieces::Pieces;

/// Parameters whose value is a whole number.
const NUMBERS: [&str; 6] = [
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
];

impl Pieces {
    /// What is wrong with the whole.
    pub(super) fn judge(&mut self, was_refused: bool) -> Vec<Remark> {
        let mut problems = Vec::new();
        let mut refuse = |problem: &str| problems.push(Remark::new(problem));
        if self
            .ports
            .iter()
            .any(|port| !port.is_empty() && port.parse::<u16>().is_err())
        {
            refuse(
                "has a port that is not a number from 1 to 65535 (or a :, / or @ in the password that must be percent-encoded)",
            );
        }
        if self.hosts.iter().any(String::is_empty) || self.hosts.is_empty() && !was_refused {
            refuse("names no host");
        }
        if self.user.is_empty() {
            refuse(
                "names no user; libpq would take the one this process runs as, which has no name in a container",
            );
        }
        if self.name.is_empty() {
            refuse(
                "names no database; write it after the host as /name (libpq would silently take the one that is named like the user)",
            );
        }
        if [&self.name, &self.user]
            .iter()
            .any(|part| part.contains('\0'))
        {
            refuse("holds a NUL character");
        }
        if let Some(mode) = self.parameters.get_mut("sslmode") {
            match sslmode(mode) {
                Some(known) => known.clone_into(mode),
                None => problems.push(Remark {
                    variable: self.inherited.contains(&"sslmode").then_some("PGSSLMODE"),
                    text: "has an sslmode that libpq does not know; use disable, prefer, require, verify-ca or verify-full".to_owned(),
                }),
            }
        } else if let Some(mode) = self.ssl.as_deref().and_then(ssl) {
            self.parameters.insert("sslmode", mode.to_owned());
        }
        for name in NUMBERS {
            let is_number = |value: &String| value.trim().parse::<i32>().is_ok();
            if self
                .parameters
                .get(name)
                .is_some_and(|value| !is_number(value))
            {
                let variable = find(name).map(|parameter| parameter.variable);
                problems.push(Remark {
                    variable: variable.filter(|_| self.inherited.contains(&name)),
                    text: format!("has a {name} that is not a whole number"),
                });
            }
        }
        problems
    }

    /// What is odd and usable.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        if !self.foreign.is_empty() {
            // What looks made by chance may be a key that somebody put into the wrong place.
            let is_name = |name: &&String| {
                let has_digits = name.bytes().any(|b| b.is_ascii_digit());
                let has_capitals = name.bytes().any(|b| b.is_ascii_uppercase());
                name.len() <= if has_digits { 20 } else { 40 }
                    && !(has_digits && has_capitals)
                    && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
            };
            let mut named: Vec<&str> = self
                .foreign
                .iter()
                .filter(is_name)
                .map(String::as_str)
                .collect();
            if named.len() < self.foreign.len() {
                named.push("one whose name can't be shown");
            }
            remarks.push(Remark::new(format!(
                "has parameters that libpq does not know, so they are left out: {}",
                named.join(", ")
            )));
        }
        if let Some(text) = &self.ssl {
            let read = match (self.inherited.contains(&"sslmode"), ssl(text)) {
                (false, Some(mode))
                    if self.parameters.get("sslmode").map(String::as_str) == Some(mode) =>
                {
                    format!("was read as sslmode={mode}")
                }
                _ => "was left out".to_owned(),
            };
            remarks.push(Remark::new(format!(
                "has the parameter ssl, which libpq does not know: it {read}"
            )));
        }
        for (name, reason) in &self.left_out {
            remarks.push(Remark::new(format!(
                "has the parameter {name}, which is left out: {reason}"
            )));
        }
        remarks
    }
}
