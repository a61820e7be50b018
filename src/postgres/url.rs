//! A database's URL, understood whole and handed over as variables.
//!
//! No child ever sees the URL. libpq prints pieces of a malformed one, the password among them, and a command line is
//! readable by every process on the machine; so the URL is parsed here and handed over as `PG*` variables.

use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::percent_decode_str;

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
    /// libpq's own parameters, none of which can hold a secret.
    parameters: BTreeMap<String, String>,
    /// The variable it came from, for hints.
    variable: &'static str,
}

/// The parameters of libpq that may stand in the URL; anything else there is an error, as it would be for `psql`.
const LIBPQ_PARAMETERS: &[&str] = &[
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "gssencmode",
    "gsslib",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "require_auth",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Parameters that ORMs and drivers put into the URL and libpq refuses.
const FOREIGN_PARAMETERS: &[&str] = &[
    "connection_limit",
    "currentSchema",
    "max",
    "pgbouncer",
    "pool",
    "pool_max_conns",
    "pool_min_conns",
    "pool_timeout",
    "prepareThreshold",
    "prepared_statements",
    "schema",
    "socket_timeout",
    "sslaccept",
    "sslidentity",
    "statement_cache_size",
    "uselibpqcompat",
];

impl DatabaseUrl {
    /// Understands a `postgres://` or `postgresql://` URI, or lists everything that is wrong with it.
    ///
    /// # Errors
    /// One sentence a problem; none of them repeats any part of the URL that could belong to a password.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), Vec<String>> {
        if text.contains("${") {
            return Err(vec!["holds a reference that was not resolved; on Railway it is ${{Postgres.DATABASE_URL}}, where the part before the dot is the name of the database's service".to_owned()]);
        }
        let Some(rest) = text
            .strip_prefix("postgresql://")
            .or_else(|| text.strip_prefix("postgres://"))
        else {
            return Err(vec!["is not a postgres:// or postgresql:// URI".to_owned()]);
        };
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        if rest.contains(['"', '\'', '`']) || rest.contains(char::is_whitespace) {
            problems.push(
                "holds a quote or a blank; percent-encode it if it belongs to the password"
                    .to_owned(),
            );
        }
        if rest.contains('#') {
            problems.push("holds a # (write %23 if it belongs to the password)".to_owned());
        }
        let (before_query, query) = rest
            .split_once('?')
            .map_or((rest, ""), |(before, query)| (before, query));
        let (authority, path) = before_query
            .split_once('/')
            .map_or((before_query, ""), |(a, p)| (a, p));
        if path.contains(['/', '@']) || query.contains('@') {
            problems.push(
                "has a / or ? in the user, password or host part, or an @ after it (write %2F, %3F, %40 if they belong to the password)"
                    .to_owned(),
            );
        }
        let (credentials, addresses) = authority
            .rsplit_once('@')
            .map_or(("", authority), |(c, a)| (c, a));
        if credentials.contains('@') {
            problems.push("has an @ in the password (write %40)".to_owned());
        }
        let (raw_user, raw_password) = credentials
            .split_once(':')
            .map_or((credentials, None), |(user, password)| {
                (user, Some(password))
            });
        let mut decode = |part: &str, what: &str| {
            decoded(part).unwrap_or_else(|| {
                problems.push(format!("has a % in the {what} that is not followed by two hexadecimal digits of UTF-8 text (write %25 for a plain %)"));
                String::new()
            })
        };
        let mut user = decode(raw_user, "user");
        let mut password = raw_password
            .filter(|p| !p.is_empty())
            .map(|p| Secret::new(decode(p, "password")));
        let mut name = decode(path, "database name");
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        for address in addresses.split(',') {
            let (host, port) = split_port(address);
            hosts.push(decode(host, "host"));
            ports.push(port.to_owned());
        }
        let mut parameters = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (raw_key, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode(raw_key, "parameters");
            let value = decode(raw_value, "parameters");
            match key.as_str() {
                "host" => hosts = value.split(',').map(str::to_owned).collect(),
                "port" => ports = value.split(',').map(str::to_owned).collect(),
                "user" => user = value,
                "password" => password = Some(Secret::new(value)),
                "dbname" => name = value,
                "application_name" | "fallback_application_name" => {
                    warnings.push(format!(
                        "parameter {key} is not used: this service names its own session"
                    ));
                }
                "ssl" if value == "true" => {
                    parameters.insert("sslmode".to_owned(), "require".to_owned());
                }
                _ if LIBPQ_PARAMETERS.contains(&key.as_str()) => {
                    parameters.insert(key, value);
                }
                _ if FOREIGN_PARAMETERS.contains(&key.as_str()) => {
                    warnings.push(format!("parameter {key} belongs to an ORM or driver and was left out: pg_dump would refuse it"));
                }
                _ if key.chars().all(|c| c.is_ascii_lowercase() || c == '_') && key.len() <= 30 => {
                    parameters.insert(format!("?{key}"), String::new());
                }
                _ => {
                    parameters.insert("?".to_owned(), String::new());
                }
            }
        }
        if let Some(mode) = parameters.get("sslmode")
            && ![
                "disable",
                "allow",
                "prefer",
                "require",
                "verify-ca",
                "verify-full",
            ]
            .contains(&mode.as_str())
        {
            problems.push("has an sslmode that libpq does not know; use disable, prefer, require, verify-ca or verify-full".to_owned());
        }
        if ports
            .iter()
            .any(|port| !port.is_empty() && port.parse::<u16>().is_err())
        {
            problems.push(
                "has a port that is not a number from 1 to 65535 (or a :, / or @ in the password that must be percent-encoded)".to_owned(),
            );
        }
        if hosts.iter().any(String::is_empty) {
            problems.push("names no host".to_owned());
        }
        if user.is_empty() {
            problems.push("names no user; libpq would take the one this process runs as, which has no name in a container".to_owned());
        }
        if name.is_empty() {
            problems.push(
                "names no database; write it after the host as /name (libpq would silently take the one that is named like the user)"
                    .to_owned(),
            );
        }
        if [&name, &user].iter().any(|part| part.contains('\0')) {
            problems.push("holds a NUL character".to_owned());
        }
        for unknown in parameters.keys().filter_map(|key| key.strip_prefix('?')) {
            // Where something else is wrong too, the "parameter" may be a piece of an unescaped password.
            let named = if unknown.is_empty() || !problems.is_empty() {
                String::new()
            } else {
                format!(": {unknown}")
            };
            problems.push(format!("has a parameter that libpq does not know{named}"));
        }
        if hosts
            .iter()
            .any(|host| host.to_ascii_lowercase().contains("pgbouncer"))
            || ports.iter().any(|port| port == "6432")
        {
            warnings.push(
                "looks like PgBouncer; a dump through a transaction pooler disturbs other clients: use the direct URL (on Railway ${{Postgres.DATABASE_UNPOOLED_URL}})"
                    .to_owned(),
            );
        }
        if !problems.is_empty() {
            problems.dedup();
            return Err(problems);
        }
        let ports = if ports.iter().all(String::is_empty) {
            String::new()
        } else {
            ports.join(",")
        };
        let url = Self {
            hosts: hosts.join(","),
            ports,
            user,
            password,
            password_as_written: raw_password.map(|p| Secret::new(p.to_owned())),
            name,
            parameters,
            variable: "BACKUP_DATABASE_URL",
        };
        Ok((url, warnings))
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

    /// The variable it came from.
    #[must_use]
    pub const fn variable(&self) -> &'static str {
        self.variable
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

    /// The connection string for a child's command line: libpq has no variable for these, and none of them is secret.
    #[must_use]
    pub fn connection_string(&self) -> String {
        let mut parameters: BTreeMap<&str, &str> = BTreeMap::from([
            ("keepalives", "1"),
            ("keepalives_idle", "30"),
            ("keepalives_interval", "10"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
        ]);
        for (key, value) in &self.parameters {
            if key != "options" && key != "connect_timeout" {
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
        assert!(url.connection_string().contains("sslmode='require'"));
        assert!(url.connection_string().contains("tcp_user_timeout='30000'"));
        assert!(!url.connection_string().contains("p@ss"));
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
            "postgres://u:hunter2secret@h/d?hunter2secret=1",
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
            assert!(
                !text.contains("hunter2")
                    || url.contains("?hunter2secret=1") && !text.contains("hunter2secret"),
                "{url}: {text}"
            );
        }
    }

    #[test]
    fn parameters_of_orms_are_left_out_with_a_warning() {
        let (url, warnings) =
            DatabaseUrl::parse("postgres://u@h/d?schema=public&pgbouncer=true&connect_timeout=5")
                .unwrap();
        assert_eq!(warnings.len(), 2);
        assert!(!url.connection_string().contains("schema"));
        assert_eq!(variable(&url, "PGCONNECT_TIMEOUT").unwrap(), "5");
        assert_eq!(
            DatabaseUrl::parse("postgres://u@pgbouncer.railway.internal:5432/d")
                .unwrap()
                .1
                .len(),
            1
        );
    }
}
