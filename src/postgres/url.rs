//! A database's URL, understood whole and handed over as variables.
//!
//! No child ever sees the URL. libpq prints pieces of a malformed one, the password among them, and a command line is
//! readable by every process on the machine; so the URL is parsed here and handed over as `PG*` variables.

use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::parameters::{Fate, Inherited, SETTINGS, find, ssl, sslmode};
use crate::secret::{Redactor, Secret};

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

/// Something about a URL, as the rest of a sentence that begins with the name of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The variable of libpq that it is about; none where it is about the URL.
    pub variable: Option<&'static str>,
    /// The rest of the sentence, which holds no secret.
    pub text: String,
}

impl Remark {
    fn new(text: impl Into<String>) -> Self {
        Self {
            variable: None,
            text: text.into(),
        }
    }

    fn about(variable: &'static str, text: impl Into<String>) -> Self {
        Self {
            variable: Some(variable),
            text: text.into(),
        }
    }
}

/// Parameters whose value is a whole number.
const NUMBERS: [&str; 6] = [
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
];

impl DatabaseUrl {
    /// Understands a `postgres://` or `postgresql://` URI, or lists everything that is wrong with it.
    ///
    /// # Errors
    /// One sentence a problem; none of them repeats any part of the URL that could belong to a password.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), Vec<String>> {
        let texts = |remarks: Vec<Remark>| remarks.into_iter().map(|remark| remark.text).collect();
        match Self::parse_with(text, &Inherited::default()) {
            Ok((url, warnings)) => Ok((url, texts(warnings))),
            Err(problems) => Err(texts(problems)),
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
        problems.extend(pieces.judge(!problems.is_empty()));
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
                "looks like PgBouncer; a dump through a transaction pooler disturbs other clients: use the direct URL (on Railway ${{Postgres.DATABASE_UNPOOLED_URL}})",
            ));
        }
        // A name that nobody knows is shown; a password that was put there is not.
        let redactor = url.redactor();
        for warning in &mut warnings {
            warning.text = redactor.redact(&warning.text);
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
    }
}

/// What stands in a URL, decoded, with what is odd about it.
#[derive(Default)]
struct Pieces {
    hosts: Vec<String>,
    ports: Vec<String>,
    user: String,
    password: Option<Secret>,
    password_as_written: Option<Secret>,
    name: String,
    parameters: BTreeMap<&'static str, String>,
    /// A driver's `ssl`.
    ssl: Option<String>,
    /// Names that libpq does not know.
    foreign: Vec<String>,
    /// Names of libpq that are left out, and why.
    left_out: Vec<(&'static str, &'static str)>,
    /// The parameters that came from libpq's variables.
    inherited: Vec<&'static str>,
    problems: Vec<String>,
}

impl Pieces {
    /// Cuts what follows `postgres://`.
    fn cut(rest: &str) -> Self {
        let mut pieces = Self::default();
        let mut refuse = |problem: &str| pieces.problems.push(problem.to_owned());
        if rest.contains(['"', '\'', '`']) || rest.contains(char::is_whitespace) {
            refuse("holds a quote or a blank; percent-encode it if it belongs to the password");
        }
        if rest.contains('#') {
            refuse("holds a # (write %23 if it belongs to the password)");
        }
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        if path.contains(['/', '@']) || query.contains('@') {
            refuse(
                "has a / or ? in the user, password or host part, or an @ after it (write %2F, %3F, %40 if they belong to the password)",
            );
        }
        let (credentials, addresses) = authority.rsplit_once('@').unwrap_or(("", authority));
        if path.contains('&') || addresses.contains('&') {
            refuse(
                "has an & before the first ?: write ? before the first parameter and & before each further one",
            );
        }
        if query.contains('?') {
            refuse(
                "has a second ?: write ? before the first parameter and & before each further one (%3F within a value)",
            );
        }
        let (raw_user, raw_password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        if raw_user.contains('@') {
            refuse("has an @ in the user (write %40, as in user%40server)");
        } else if credentials.contains('@') {
            refuse("has an @ in the password (write %40)");
        }
        if raw_password.is_some_and(is_placeholder) {
            refuse("still has a placeholder in brackets in place of the password");
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
                pieces.problems.push("has a host with several colons: write an address of IPv6 in brackets, as in [::1]:5432 (and %3A for a : of the password)".to_owned());
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
            self.problems.push(format!("has a % in the {what} that is not followed by two hexadecimal digits of UTF-8 text (write %25 for a plain %)"));
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
            (Fate::LeftOut(reason), name) => self.left_out.push((name, reason)),
            (Fate::Refused(reason), name) => {
                self.problems
                    .push(format!("has the parameter {name}: {reason}"));
            }
        }
    }

    /// Puts libpq's variables where the URL says nothing.
    fn inherit(&mut self, inherited: &Inherited, warnings: &mut Vec<Remark>) {
        let has_host = self.hosts.iter().any(|host| !host.is_empty());
        // They belong to the server that PGHOST names: a password of one server is not for another.
        let elsewhere = has_host
            && inherited
                .get("PGHOST")
                .is_some_and(|host| host != self.hosts.join(","));
        for (name, value) in inherited.each() {
            let owned = || value.to_owned();
            let is_missing = match name {
                "PGHOST" => !has_host,
                "PGPORT" => self.ports.iter().all(String::is_empty),
                "PGUSER" => self.user.is_empty(),
                "PGPASSWORD" => self.password.is_none(),
                "PGDATABASE" => self.name.is_empty(),
                "PGHOSTADDR" => !self.parameters.contains_key("hostaddr"),
                "PGPASSFILE" => !self.parameters.contains_key("passfile"),
                _ => {
                    self.inherit_parameter(name, value);
                    continue;
                }
            };
            if !is_missing {
                continue;
            }
            if elsewhere {
                warnings.push(Remark::about(
                    name,
                    "is not used: PGHOST names another server than the URL does",
                ));
                continue;
            }
            match name {
                "PGHOST" => self.hosts = value.split(',').map(str::to_owned).collect(),
                "PGPORT" => self.ports = value.split(',').map(str::to_owned).collect(),
                "PGUSER" => self.user = owned(),
                "PGPASSWORD" => self.password = Some(Secret::new(owned())),
                "PGDATABASE" => self.name = owned(),
                _ => self.inherit_parameter(name, value),
            }
        }
        for (name, reason) in inherited.unused() {
            warnings.push(Remark::about(name, format!("is not used: {reason}")));
        }
    }

    fn inherit_parameter(&mut self, variable: &'static str, value: &str) {
        if SETTINGS.contains(&variable) {
            self.parameters.insert(variable, value.to_owned());
            return;
        }
        let parameter = super::parameters::PARAMETERS
            .iter()
            .find(|parameter| parameter.variable == variable && parameter.fate == Fate::Given);
        let Some(parameter) = parameter else { return };
        // A driver's word for it in the URL counts as well.
        if parameter.name == "sslmode"
            && self.ssl.as_deref().is_some_and(|text| ssl(text).is_some())
        {
            return;
        }
        if !self.parameters.contains_key(parameter.name) {
            self.parameters.insert(parameter.name, value.to_owned());
            self.inherited.push(parameter.name);
        }
    }

    /// What is wrong with the whole.
    fn judge(&mut self, was_refused: bool) -> Vec<Remark> {
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
    fn remarks(&self) -> Vec<Remark> {
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

/// Takes the scheme off, or says what a text is that has another.
fn scheme(text: &str) -> Result<(&str, Option<String>), String> {
    const FORM: &str = "postgres://user:password@host:port/database";
    const OTHER_NAMES: [&str; 8] = [
        "ecto",
        "pgsql",
        "postgis",
        "psql",
        "psycopg2",
        "timescale",
        "timescaledb",
        "timescalegis",
    ];
    if text.contains("${") {
        return Err("holds a reference that was not resolved; on Railway it is ${{Postgres.DATABASE_URL}}, where the part before the dot is the name of the database's service".to_owned());
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "postgres" || scheme == "postgresql" {
        return Ok((rest, None));
    }
    let driver = ["postgres+", "postgresql+"]
        .iter()
        .find_map(|beginning| scheme.strip_prefix(beginning));
    if driver.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        || OTHER_NAMES.contains(&scheme.as_str())
        || scheme == "jdbc:postgresql"
    {
        let warning =
            "begins as a driver writes it, and was read as if it began with postgresql://";
        return Ok((rest, Some(warning.to_owned())));
    }
    let begins = text.trim_start();
    Err(if begins.starts_with(['{', '[']) {
        format!("is JSON; give it only the URL: {FORM}")
    } else if begins.starts_with("psql ") || begins.starts_with("pg_dump ") {
        "is a whole command; give it only the URL that stands in its quotes".to_owned()
    } else if scheme.starts_with("prisma") {
        format!(
            "is the address of Prisma's own service, which speaks no PostgreSQL; use the database's direct URL: {FORM}"
        )
    } else if scheme.contains("postgres") {
        format!("has something before postgres://; give it only the URL: {FORM}")
    } else if text.contains(';') && text.contains('=') {
        format!("is a connection string of .NET or ODBC; write it as {FORM}")
    } else if scheme.is_empty() && text.contains('=') {
        format!("is a list of key=value; write it as {FORM}")
    } else if scheme.is_empty() {
        format!("is not a postgres:// or postgresql:// URI; write it as {FORM}")
    } else {
        format!(
            "is not a postgres:// or postgresql:// URI, but a URL of something else; write it as {FORM}"
        )
    })
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

/// Whether the session asks the server to notice a vanished client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// With keepalives on the server's side, through start-up options.
    Guarded,
    /// Without, because a pooler in between refuses start-up options.
    Plain,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> DatabaseUrl {
        DatabaseUrl::parse(text).unwrap().0
    }

    fn variable(url: &DatabaseUrl, name: &str) -> Option<String> {
        url.environment(Session::Plain)
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    #[test]
    fn a_url_becomes_variables() {
        let url = parsed("postgres://app%40x:p%40ss%2Fw%23@db.internal:5433/shop?sslmode=require");
        assert_eq!(variable(&url, "PGHOST").unwrap(), "db.internal");
        assert_eq!(variable(&url, "PGPORT").unwrap(), "5433");
        assert_eq!(variable(&url, "PGUSER").unwrap(), "app@x");
        assert_eq!(variable(&url, "PGPASSWORD").unwrap(), "p@ss/w#");
        assert_eq!(variable(&url, "PGDATABASE").unwrap(), "shop");
        assert!(url.connection_string(18).contains("sslmode='require'"));
        assert!(
            url.connection_string(18)
                .contains("tcp_user_timeout='30000'")
        );
        assert!(!url.connection_string(18).contains("p@ss"));
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn ipv6_lists_and_sockets_are_understood() {
        assert_eq!(
            variable(&parsed("postgres://u@[::1]:5432/d"), "PGHOST").unwrap(),
            "::1"
        );
        let list = parsed("postgres://u@a:1,b:2/d");
        assert_eq!(variable(&list, "PGHOST").unwrap(), "a,b");
        assert_eq!(variable(&list, "PGPORT").unwrap(), "1,2");
        assert_eq!(
            variable(
                &parsed("postgres:///d?host=/var/run/postgresql&user=u"),
                "PGHOST"
            )
            .unwrap(),
            "/var/run/postgresql"
        );
        assert_eq!(
            variable(&parsed("postgres://u@%2Frun%2Fpg/d"), "PGHOST").unwrap(),
            "/run/pg"
        );
    }

    #[test]
    fn malformed_urls_are_refused_without_a_byte_of_the_password() {
        for url in [
            "mysql://u:hunter2secret@h/d",
            "\"postgres://u:hunter2secret@h/d\"",
            "postgres://u:hunter2secret@h",
            "postgres://u:hunter2secret@h/",
            "postgres://u:hunter2secret%zz@h/d",
            "postgres://u:hunter2secret/x@h/d",
            "postgres://u:hunter2secret#x@h/d",
            "postgres://u:hunter2@secret@h/d",
            "postgres://u:hunter2 secret@h/d",
            "postgres://u:hunter2secret@h:x/d",
            "postgres://u:hunter2?secret@h/d",
            "postgres://u:hunter2secret@h/d?sslmode=hunter2secret",
            "postgres://u:hunter2secret@/d",
            "postgres://:hunter2secret@h/d",
            "postgres://h/d",
            "host=h password=hunter2secret",
            "",
        ] {
            let problems = DatabaseUrl::parse(url).unwrap_err();
            let text = problems.join("\n");
            assert!(!problems.is_empty(), "{url}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
        let misplaced = "postgres://u:hunter2secret@h/d?hunter2secret=1";
        let warnings = DatabaseUrl::parse(misplaced).unwrap().1;
        assert!(
            warnings.len() == 1 && !warnings[0].contains("hunter2"),
            "{warnings:?}"
        );
    }

    #[test]
    fn parameters_of_orms_are_left_out_with_a_warning() {
        let (url, warnings) = DatabaseUrl::parse("postgres://u@h/d?schema=public&pgbouncer=true&connect_timeout=5&serverVersion=15&x=Zq7xKj9wLm4vBt2rYh6cNf8sGd3pXe5k&Zq7xKj9wLm4vBt2rYh6cNf8sGd3pXe5k")
            .unwrap();
        assert_eq!(
            warnings,
            [
                "has parameters that libpq does not know, so they are left out: schema, pgbouncer, serverVersion, x, one whose name can't be shown"
            ]
        );
        assert!(!url.connection_string(18).contains("schema"));
        assert_eq!(variable(&url, "PGCONNECT_TIMEOUT").unwrap(), "5");
        assert_eq!(
            DatabaseUrl::parse("postgres://u@pgbouncer.railway.internal:5432/d")
                .unwrap()
                .1
                .len(),
            1
        );
    }

    #[test]
    fn what_is_no_url_gets_its_word() {
        for (text, piece) in [
            ("{\"url\": \"postgres://u:canary@h/d\"}", "is JSON"),
            ("psql 'postgres://u:canary@h/d'", "is a whole command"),
            (
                "DATABASE_URL=postgres://u:canary@h/d",
                "has something before",
            ),
            (
                "prisma+postgres://h/?api_key=canary",
                "Prisma's own service",
            ),
            ("Server=h;Database=d;Password=canary", ".NET"),
            ("host=h password=canary", "key=value"),
            ("h:5432/canary", "is not a postgres://"),
            ("mysql://u:canary@h/d", "a URL of something else"),
            ("postgres://u:canary@::1:5432/d", "in brackets"),
            ("postgres://u:canary@::1/d", "in brackets"),
            ("postgres://u@server:canary@h/d", "an @ in the user"),
            ("postgres://u:c@nary@h/d", "an @ in the password"),
            (
                "postgres://u:canary@h/d&sslmode=require",
                "an & before the first ?",
            ),
            (
                "postgres://u:canary@h&sslmode=require",
                "an & before the first ?",
            ),
            (
                "postgres://u:canary@h/d?sslmode=require?schema=x",
                "a second ?",
            ),
            (
                "postgres://u:[YOUR-PASSWORD]@h/d",
                "a placeholder in brackets",
            ),
            (
                "postgres://u:canary@h/d?connect_timeout=10s",
                "not a whole number",
            ),
            ("postgres://u:x@h/d?sslpassword=canary", "sslpassword"),
            (
                "postgres://u:x@h/d?scram_client_key=canary",
                "scram_client_key",
            ),
        ] {
            let said = DatabaseUrl::parse(text).unwrap_err().join("\n");
            assert!(
                said.contains(piece) && !said.contains("canary"),
                "{text}: {said}"
            );
        }
        for text in [
            "postgresql+asyncpg://u:p@h/d",
            "postgres+psycopg2://u:p@h/d",
            "jdbc:postgresql://h/d?user=u&password=p",
            "postgis://u:p@h/d",
            "POSTGRES://u:p@h/d",
        ] {
            let (url, warnings) = DatabaseUrl::parse(text).unwrap();
            let expected = usize::from(!text.starts_with("POSTGRES"));
            assert_eq!(warnings.len(), expected, "{text}: {warnings:?}");
            assert_eq!(variable(&url, "PGUSER").unwrap(), "u");
            assert_eq!(variable(&url, "PGPASSWORD").unwrap(), "p");
        }
    }

    #[test]
    fn ssl_of_drivers_is_read_as_sslmode() {
        for (query, mode) in [
            ("ssl=true", Some("require")),
            ("ssl=1", Some("require")),
            ("ssl=no-verify", Some("require")),
            ("ssl=verify-full", Some("verify-full")),
            ("ssl=%7B%22rejectUnauthorized%22:false%7D", Some("require")),
            ("ssl=false", None),
            ("ssl=0", None),
            ("sslmode=no-verify", Some("require")),
            ("SSLMode=VerifyFull", Some("verify-full")),
            ("sslmode=disable&ssl=true", Some("disable")),
        ] {
            let (url, warnings) = DatabaseUrl::parse(&format!("postgres://u@h/d?{query}")).unwrap();
            let found = url.parameters.get("sslmode").map(String::as_str);
            assert_eq!(found, mode, "{query}");
            assert_eq!(
                warnings.len(),
                query.matches("ssl=").count(),
                "{query}: {warnings:?}"
            );
        }
    }

    fn under(url: &str, variables: &[(&str, &str)]) -> (DatabaseUrl, Vec<&'static str>) {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let inherited = Inherited::from_variables(&variables);
        let (url, warnings) = DatabaseUrl::parse_with(url, &inherited).unwrap();
        let named = warnings.iter().filter_map(|warning| warning.variable);
        (url, named.collect())
    }

    #[test]
    fn variables_of_libpq_count_under_the_url() {
        let (url, named) = under(
            "postgres://u@h/d?sslmode=require",
            &[
                ("PGSSLMODE", "verify-full"),
                ("PGSSLROOTCERT", "/ca"),
                ("PGPASSWORD", "hunter2secret"),
                ("PGUSER", "other"),
                ("PGTZ", "UTC"),
                ("PGOPTIONS", "-c a=b"),
                ("PGCONNECT_TIMEOUT", "7"),
                ("PGSERVICE", "x"),
                ("PGCLIENTENCODING", "LATIN1"),
            ],
        );
        let text = url.connection_string(18);
        assert!(text.contains("sslmode='require'") && text.contains("sslrootcert='/ca'"));
        assert!(!format!("{url:?} {text}").contains("hunter2"));
        assert_eq!(variable(&url, "PGPASSWORD").unwrap(), "hunter2secret");
        assert_eq!(url.redactor().redact("hunter2secret"), "[redacted]");
        assert_eq!(variable(&url, "PGUSER").unwrap(), "u");
        assert_eq!(variable(&url, "PGTZ").unwrap(), "UTC");
        assert_eq!(variable(&url, "PGCONNECT_TIMEOUT").unwrap(), "7");
        assert_eq!(url.start_up_options(), ["PGOPTIONS", "PGTZ"]);
        assert!(url.without_start_up_options().start_up_options().is_empty());
        assert_eq!(named, ["PGCLIENTENCODING", "PGSERVICE"]);

        let whole = [
            ("PGHOST", "h"),
            ("PGPORT", "6543"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "p"),
            ("PGDATABASE", "d"),
        ];
        let (url, named) = under("postgres://", &whole);
        assert_eq!(variable(&url, "PGHOST").unwrap(), "h");
        assert_eq!(variable(&url, "PGPORT").unwrap(), "6543");
        assert_eq!(url.database(), "d");
        assert!(named.is_empty());
        // Those of another server are not for this one.
        let (url, named) = under("postgres://v@elsewhere/e", &whole);
        assert_eq!(variable(&url, "PGPASSWORD"), None);
        assert_eq!(variable(&url, "PGPORT"), None);
        assert_eq!(named, ["PGPASSWORD", "PGPORT"]);
        let (url, _) = under("postgres://u@h/d", &[("PGREQUIRESSL", "1")]);
        assert!(url.connection_string(18).contains("sslmode='require'"));
    }

    #[test]
    fn what_a_client_does_not_know_is_left_out() {
        let url = parsed("postgres://u@h/d?min_protocol_version=3.0&sslcertmode=allow&sslsni=0");
        assert_eq!(url.unknown_to(14), ["min_protocol_version", "sslcertmode"]);
        assert_eq!(url.unknown_to(17), ["min_protocol_version"]);
        assert!(url.unknown_to(18).is_empty());
        assert!(!url.connection_string(15).contains("sslcertmode"));
        assert!(url.connection_string(16).contains("sslcertmode='allow'"));
    }
}
