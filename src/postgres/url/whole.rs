//! What is wrong with a URL as a whole, and what is unusual about it.

use super::super::parameters::{find, ssl, sslmode};
use super::Remark;
use super::pieces::Pieces;
use crate::fault::Wrong;

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
    /// The problems of the URL as a whole.
    pub(super) fn problems_of_whole(&mut self, was_refused: bool) -> Vec<Remark> {
        let mut problems = Vec::new();
        let mut refuse = |cause, remedy| problems.push(Remark::new(Wrong::new(cause, remedy)));
        if self
            .ports
            .iter()
            .any(|port| !port.is_empty() && port.parse::<u16>().is_err())
        {
            refuse(
                "has a port that is not a number from 1 to 65535",
                "if it is a part of the password, percent-encode :, / and @ there",
            );
        }
        if self.hosts.iter().any(String::is_empty) || self.hosts.is_empty() && !was_refused {
            refuse("names no host", "write it after the @");
        }
        if self.user.is_empty() {
            refuse(
                "names no user (libpq would take the one that this process runs as, which has no name in a container)",
                "write it before the @",
            );
        }
        if self.name.is_empty() {
            refuse(
                "names no database (libpq would silently take the one that is named like the user)",
                "write it after the host as /name",
            );
        }
        if [&self.name, &self.user]
            .iter()
            .any(|part| part.contains('\0'))
        {
            refuse("holds a NUL character", "remove %00");
        }
        if let Some(mode) = self.parameters.get_mut("sslmode") {
            match sslmode(mode) {
                Some(known) => known.clone_into(mode),
                None => problems.push(Remark {
                    variable: self.inherited.contains(&"sslmode").then_some("PGSSLMODE"),
                    wrong: Wrong::new(
                        "has an sslmode that libpq does not know",
                        "use disable, prefer, require, verify-ca or verify-full",
                    ),
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
                    wrong: format!("has a {name} that is not a whole number").into(),
                });
            }
        }
        problems
    }

    /// What is unusual about it, though it can be used.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        if !self.foreign.is_empty() {
            // A name that looks random may be a key that somebody put into the wrong place.
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
        for (name, reason, remedy) in &self.left_out {
            remarks.push(Remark::new(Wrong::new(
                format!("has the parameter {name}, which is left out: {reason}"),
                *remedy,
            )));
        }
        remarks
    }
}
