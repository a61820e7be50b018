//! A database's URL, understood whole and handed over as variables.
//!
//! No child ever sees the URL. libpq prints pieces of a malformed one, the password among them, and a command line is
//! readable by every process on the machine; so the URL is parsed here and handed over as `PG*` variables.

use std::collections::BTreeMap;
use std::path::Path;

mod inherit;
mod pieces;
mod scheme;
mod whole;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::parameters::{Inherited, SETTINGS, find};
use crate::fault::Wrong;
use crate::secret::{Redactor, Secret};
use pieces::Pieces;
use scheme::scheme;

/// A database URL that was understood whole.
#[derive(Debug, Clone)]
pub struct DatabaseUrl {
    hosts: String,
    ports: String,
    user: String,
    password: Option<Secret>,
    password_as_written: Option<Secret>,
    name: String,
    /// libpq's own parameters, none of which can hold a secret, and its variables that are settings of a session.
    parameters: BTreeMap<&'static str, String>,
    /// Whether `options` came from `PGOPTIONS`.
    options_inherited: bool,
    /// Whether answers are asked for as the bytes that the database holds.
    bytes: bool,
    /// The variable it came from, for hints.
    variable: &'static str,
}

/// What is wrong or unusual about a URL, or about a variable of libpq that is used with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The variable of libpq that it is about; `None` if it is about the URL.
    pub variable: Option<&'static str>,
    /// The cause and the remedy, neither of which holds a secret.
    pub wrong: Wrong,
}

impl Remark {
    fn new(wrong: impl Into<Wrong>) -> Self {
        Self {
            variable: None,
            wrong: wrong.into(),
        }
    }

    fn about(variable: &'static str, wrong: impl Into<Wrong>) -> Self {
        Self {
            variable: Some(variable),
            wrong: wrong.into(),
        }
    }
}

impl DatabaseUrl {
    /// Understands a `postgres://` or `postgresql://` URI, or lists everything that is wrong with it.
    ///
    /// # Errors
    /// Every problem. None of them repeats any part of the URL that could belong to a password.
    pub fn parse(text: &str) -> Result<(Self, Vec<Wrong>), Vec<Wrong>> {
        let plain = |remarks: Vec<Remark>| remarks.into_iter().map(|remark| remark.wrong).collect();
        match Self::parse_with(text, &Inherited::default()) {
            Ok((url, warnings)) => Ok((url, plain(warnings))),
            Err(problems) => Err(plain(problems)),
        }
    }

    /// The same, with libpq's own variables counting for whatever the URL leaves out.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with(
        text: &str,
        inherited: &Inherited,
    ) -> Result<(Self, Vec<Remark>), Vec<Remark>> {
        let mut warnings = Vec::new();
        let (rest, warning) = scheme(text).map_err(|problem| vec![Remark::new(problem)])?;
        warnings.extend(warning.map(Remark::new));
        let mut pieces = Pieces::cut(rest);
        let mut problems: Vec<Remark> = pieces.problems.drain(..).map(Remark::new).collect();
        pieces.inherit(inherited, &mut warnings);
        problems.extend(pieces.problems_of_whole(!problems.is_empty()));
        warnings.extend(pieces.remarks());
        if !problems.is_empty() {
            problems.dedup();
            return Err(problems);
        }
        let ports = if pieces.ports.iter().all(String::is_empty) {
            String::new()
        } else {
            pieces.ports.join(",")
        };
        let url = Self {
            hosts: pieces.hosts.join(","),
            ports,
            user: pieces.user,
            password: pieces.password,
            password_as_written: pieces.password_as_written,
            name: pieces.name,
            parameters: pieces.parameters,
            options_inherited: pieces.inherited.contains(&"options"),
            bytes: false,
            variable: "BACKUP_DATABASE_URL",
        };
        if url.is_pooler() {
            warnings.push(Remark::new(
                Wrong::new("looks like PgBouncer, and a dump through a transaction pooler disturbs other clients", "use the direct URL (on Railway ${{Postgres.DATABASE_UNPOOLED_URL}})"),
            ));
        }
        // A name that nobody knows is shown; a password that was put there is not.
        let redactor = url.redactor();
        for warning in &mut warnings {
            let wrong = &mut warning.wrong;
            wrong.cause = redactor.redact(&wrong.cause).into();
            wrong.remedy = redactor.redact(&wrong.remedy).into();
        }
        Ok((url, warnings))
    }

    fn is_pooler(&self) -> bool {
        self.hosts.to_ascii_lowercase().contains("pgbouncer")
            || self.ports.split(',').any(|port| port == "6432")
    }

    /// What the user's own start-up options come from, if there are any: `options`, `PGOPTIONS`, `PGTZ`.
    #[must_use]
    pub fn start_up_options(&self) -> Vec<&'static str> {
        let options = self.parameters.get("options").map(|_| {
            if self.options_inherited {
                "PGOPTIONS"
            } else {
                "options"
            }
        });
        options
            .into_iter()
            .chain(
                SETTINGS
                    .into_iter()
                    .filter(|name| self.parameters.contains_key(name)),
            )
            .collect()
    }

    /// The same, asking the server for nothing as a session is opened.
    #[must_use]
    pub fn without_start_up_options(&self) -> Self {
        let mut url = self.clone();
        url.parameters
            .retain(|name, _| *name != "options" && !SETTINGS.contains(name));
        url
    }

    /// The same, for a database whose encoding has no way to UTF-8.
    #[must_use]
    pub fn answered_in_bytes(&self) -> Self {
        Self {
            bytes: true,
            ..self.clone()
        }
    }

    /// The encoding in which answers are asked for.
    #[must_use]
    pub(crate) const fn answers_in(&self) -> &'static str {
        if self.bytes { "SQL_ASCII" } else { "UTF8" }
    }

    /// Those of its parameters that a client of this major does not know, so that they are left out.
    #[must_use]
    pub fn unknown_to(&self, client_major: u16) -> Vec<&'static str> {
        let names = self.parameters.keys().copied();
        names
            .filter(|name| find(name).is_some_and(|known| known.since > client_major))
            .collect()
    }

    /// The superuser's URL of a server that listens on a socket in this folder only.
    #[must_use]
    pub fn on_socket(folder: &Path, user: &str, database: &str) -> Self {
        Self {
            hosts: folder.display().to_string(),
            ports: String::new(),
            user: user.to_owned(),
            password: None,
            password_as_written: None,
            name: database.to_owned(),
            parameters: BTreeMap::new(),
            options_inherited: false,
            bytes: false,
            variable: "VERIFY_DATABASE_URL",
        }
    }

    /// The same, known to have come from another variable.
    #[must_use]
    pub const fn from_variable(mut self, variable: &'static str) -> Self {
        self.variable = variable;
        self
    }

    /// Another database of the same server.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// As a URL to paste, without the password.
    #[must_use]
    pub fn without_password(&self) -> String {
        const ODD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');
        let encoded = |text: &str| utf8_percent_encode(text, ODD).to_string();
        let ports: Vec<&str> = self.ports.split(',').collect();
        let hosts = self.hosts.split(',').enumerate().map(|(at, host)| {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else if host.starts_with('/') {
                encoded(host)
            } else {
                host.to_owned()
            };
            match ports.get(at).or(ports.first()) {
                Some(port) if !port.is_empty() => format!("{host}:{port}"),
                _ => host,
            }
        });
        let user = if self.user.is_empty() {
            String::new()
        } else {
            format!("{}@", encoded(&self.user))
        };
        let parameters = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let parameters = parameters.collect::<Vec<_>>().join("&");
        format!(
            "postgresql://{user}{}/{}{}{parameters}",
            hosts.collect::<Vec<_>>().join(","),
            encoded(&self.name),
            if parameters.is_empty() { "" } else { "?" },
        )
    }

    /// Its servers as a person would name them: `db.example.com:5432`, or the folder of a socket.
    #[must_use]
    pub fn servers(&self) -> String {
        let ports: Vec<&str> = self.ports.split(',').collect();
        let servers = self.hosts.split(',').enumerate().map(|(at, host)| {
            let port = ports.get(at).or(ports.first()).copied();
            let port = port.filter(|port| !port.is_empty()).unwrap_or("5432");
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            }
        });
        servers.collect::<Vec<_>>().join(", ")
    }

    /// The variable it came from.
    #[must_use]
    pub const fn variable(&self) -> &'static str {
        self.variable
    }

    /// Where its servers are, each with its port.
    pub(super) fn addresses(&self) -> Vec<(String, u16)> {
        let hosts = self.parameter("hostaddr").unwrap_or(&self.hosts);
        let ports: Vec<&str> = self.ports.split(',').collect();
        let port_of = |at: usize| {
            let port = ports
                .get(at)
                .or(ports.first())
                .and_then(|port| port.parse().ok());
            port.unwrap_or(5432)
        };
        let each = hosts.split(',').enumerate();
        each.map(|(at, host)| (host.to_owned(), port_of(at)))
            .collect()
    }

    /// One of libpq's own parameters.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The password, for the one place that proves it to a server.
    pub(super) const fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.name
    }

    /// Whether every host is a socket, this machine, or a name of a private network, as far as the text tells.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.hosts.split(',').all(|host| {
            let host = host.to_ascii_lowercase();
            let address: Option<std::net::IpAddr> = host.parse().ok();
            host.starts_with('/')
                || host == "localhost"
                || host.ends_with(".internal")
                || address.is_some_and(|address| address.is_loopback())
        })
    }

    /// Whether both name the same database at the same address, as far as the texts tell.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |url: &Self| {
            let ports = if url.ports.is_empty() {
                "5432"
            } else {
                &url.ports
            };
            (
                url.hosts.to_ascii_lowercase(),
                ports.to_owned(),
                url.name.clone(),
            )
        };
        place(self) == place(other)
    }

    /// What a child gets besides a clean environment; `PGPASSWORD` is the only place the password goes.
    #[must_use]
    pub fn environment(&self, session: Session) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("LC_ALL", "C".to_owned()),
            ("PGHOST", self.hosts.clone()),
            ("PGDATABASE", self.name.clone()),
            ("PGAPPNAME", "postgres-s3-backups".to_owned()),
            (
                "PGCONNECT_TIMEOUT",
                self.parameters
                    .get("connect_timeout")
                    .cloned()
                    .unwrap_or_else(|| "15".to_owned()),
            ),
        ];
        if !self.ports.is_empty() {
            variables.push(("PGPORT", self.ports.clone()));
        }
        if !self.user.is_empty() {
            variables.push(("PGUSER", self.user.clone()));
        }
        if let Some(password) = &self.password {
            variables.push(("PGPASSWORD", password.expose().to_owned()));
        }
        if let Some(file) = self.parameters.get("passfile") {
            variables.push(("PGPASSFILE", file.clone()));
        }
        for name in SETTINGS {
            if let Some(value) = self.parameters.get(name) {
                variables.push((name, value.clone()));
            }
        }
        let options = self.options(session);
        if !options.is_empty() {
            variables.push(("PGOPTIONS", options));
        }
        variables
    }

    /// What the server is asked for as a session is opened.
    #[must_use]
    pub fn options(&self, session: Session) -> String {
        // The server's side of the keepalives: after a client had vanished silently, its session was seen to hold its
        // locks for 15 minutes with the defaults. A limit that is set for the role must not end a long statement.
        let guard = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c tcp_user_timeout=30000 -c statement_timeout=0 -c idle_in_transaction_session_timeout=0";
        let own = self.parameters.get("options").map(String::as_str);
        match session {
            Session::Guarded => [Some(guard), own]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            Session::Plain => own.unwrap_or_default().to_owned(),
        }
    }

    /// The connection string for the command line of a child of this major: none of it is secret, and what that client does
    /// not know is left out.
    #[must_use]
    pub fn connection_string(&self, client_major: u16) -> String {
        let mut parameters: BTreeMap<&str, &str> = BTreeMap::from([
            ("keepalives", "1"),
            ("keepalives_idle", "30"),
            ("keepalives_interval", "10"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
        ]);
        let unknown = self.unknown_to(client_major);
        for (key, value) in &self.parameters {
            // These are variables.
            let is_variable =
                SETTINGS.contains(key) || ["options", "connect_timeout", "passfile"].contains(key);
            if !is_variable && !unknown.contains(key) {
                parameters.insert(key, value);
            }
        }
        let quoted = parameters.iter().map(|(key, value)| {
            format!(
                "{key}='{}'",
                value.replace('\\', "\\\\").replace('\'', "\\'")
            )
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Takes the password, as it is and as it was written, out of a text.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        Redactor::new(
            [&self.password, &self.password_as_written]
                .into_iter()
                .flatten(),
        )
        .beside([self.user(), self.database()])
    }
}

/// Whether the session asks the server to notice a vanished client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// With keepalives on the server's side, through start-up options.
    Guarded,
    /// Without, because a pooler in between refuses start-up options.
    Plain,
}

#[cfg(test)]
mod tests;
