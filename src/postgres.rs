//! The source database as this service sees it: its URL turned into a child's environment, its version, and the
//! client programs that can dump it.
//!
//! No child ever sees the URL. libpq prints pieces of a malformed one, the password among them, and a command line is
//! readable by every process on the machine; so the URL is parsed here and handed over as `PG*` variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::process::Command;

mod database;
mod said;
mod sql;

pub(crate) use database::limit_memory;
pub use database::{Database, Idle, random_key};
pub use said::relay;
pub use sql::Sql;

use crate::confine::Confinement;
use crate::kind::Kind;
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

/// What went wrong between this service and the database.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct PostgresError {
    /// The name of it.
    pub kind: Kind,
    /// The database's or its client's own words, redacted.
    pub text: String,
    /// What to do.
    pub hint: String,
}

impl PostgresError {
    /// Reads what libpq, `psql` or `pg_dump` said on stderr.
    #[must_use]
    pub fn from_stderr(said: &str, otherwise: Kind) -> Self {
        let text = one_line(said);
        let (kind, hint) = CAUSES
            .iter()
            .find(|(phrases, _, _)| phrases.iter().any(|phrase| said.contains(phrase)))
            .map_or((otherwise, "look at pg_dump's own words in `error`; check that BACKUP_DATABASE_URL is valid and the database is healthy"), |(_, kind, hint)| (*kind, *hint));
        Self {
            kind,
            text,
            hint: hint.to_owned(),
        }
    }

    /// Reads what `psql` said while it restored: statements are refused then, not connections.
    #[must_use]
    pub fn from_psql(said: &str) -> Self {
        let cause = RESTORE_CAUSES
            .iter()
            .find(|(phrases, _)| phrases.iter().any(|phrase| said.contains(phrase)));
        let hint = cause.map_or(
            "look at psql's own words in `error`, and at what it says of the target",
            |(_, hint)| hint,
        );
        Self {
            kind: Kind::Restore,
            text: one_line(said),
            hint: hint.to_owned(),
        }
    }

    /// Names the variable that holds this URL in the hint.
    #[must_use]
    pub(crate) fn about(mut self, url: &DatabaseUrl) -> Self {
        self.hint = self.hint.replace("BACKUP_DATABASE_URL", url.variable);
        self
    }
}

/// Several lines as one.
fn one_line(said: &str) -> String {
    said.trim()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// The words of libpq and `pg_dump` (with `LC_ALL=C`), what they mean, and what to do.
const CAUSES: &[(&[&str], Kind, &str)] = &[
    (
        &["aborting because of server version mismatch"],
        Kind::Version,
        "the image needs the pg_dump of the server's major version; deploy a newer image",
    ),
    (
        &[
            "too many connections",
            "remaining connection slots",
            "too many clients",
        ],
        Kind::Connect,
        "the server has no free connection; raise max_connections or the role's limit, or close idle sessions; with PgBouncer use DATABASE_UNPOOLED_URL in BACKUP_DATABASE_URL",
    ),
    (
        &[
            "password authentication failed",
            "no password supplied",
            "FATAL:  role \"",
            "Peer authentication failed",
            "authentication failed",
        ],
        Kind::Auth,
        "BACKUP_DATABASE_URL has the wrong user or password; on Railway set it to ${{Postgres.DATABASE_URL}}",
    ),
    (
        &["pg_hba.conf"],
        Kind::Auth,
        "the server's pg_hba.conf does not admit this user, database, address or encryption; check BACKUP_DATABASE_URL and add sslmode=require if the server wants TLS",
    ),
    (
        &["FATAL:  database \""],
        Kind::Auth,
        "BACKUP_DATABASE_URL names a database that does not exist on that server",
    ),
    (
        &["row-level security policy"],
        Kind::Permission,
        "row level security would hide rows from this user; back up with a role that has BYPASSRLS (ALTER ROLE … BYPASSRLS) or owns the table",
    ),
    (
        &[
            "canceling statement due to statement timeout",
            "canceling statement due to lock timeout",
        ],
        Kind::LockWait,
        "another session held a lock on that table for longer than the dump waits; move the migration or BACKUP_CRON_SCHEDULE, or pass --lock-wait-timeout in BACKUP_OPTIONS",
    ),
    (
        &["permission denied"],
        Kind::Permission,
        "the user of BACKUP_DATABASE_URL may not read everything; as a superuser run: GRANT pg_read_all_data TO that user",
    ),
    (
        &[
            "could not translate host name",
            "Name or service not known",
            "Temporary failure in name resolution",
            "Name does not resolve",
        ],
        Kind::Connect,
        "BACKUP_DATABASE_URL names a host that does not resolve; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{Postgres.DATABASE_URL}}",
    ),
    (
        &[
            "server does not support SSL",
            "SSL error",
            "certificate",
            "sslmode",
        ],
        Kind::Tls,
        "the server's TLS does not fit sslmode in BACKUP_DATABASE_URL; Railway's certificate is self-signed: use sslmode=require, not verify-full",
    ),
    (
        &[
            "Connection refused",
            "timeout expired",
            "Connection timed out",
            "No route to host",
            "Network is unreachable",
            "the database system is starting up",
            "the database system is shutting down",
            "could not connect to server",
        ],
        Kind::Connect,
        "nothing answers at the host and port of BACKUP_DATABASE_URL; on Railway keep this service in the same project and environment as Postgres and use the private URL ${{Postgres.DATABASE_URL}}",
    ),
];

/// What stops a restore, and what to do.
const RESTORE_CAUSES: &[(&[&str], &str)] = &[
    (
        &["No space left on device", "could not extend file"],
        "the target server's disk is full; make it larger, or restore elsewhere",
    ),
    (
        &["out of shared memory"],
        "the target has more tables than one transaction may lock there; raise max_locks_per_transaction and restart that server",
    ),
    (
        &["canceling statement due to lock timeout"],
        "another session uses what --clean would replace; stop the application, then try again",
    ),
    (
        &["unrecognized configuration parameter"],
        "the target is older than the server the backup came from; restore into the same major version or a newer one",
    ),
    (
        &["invalid command \\restrict"],
        "this psql is older than the pg_dump that made the backup; use this service's image",
    ),
    (
        &["is not available", "could not open extension control file"],
        "the target's server lacks the extension; restore into a server that has it",
    ),
    (
        &["must be superuser", "must be owner", "permission denied"],
        "the user of the target may not do this; restore as the database's owner or a superuser, or pass --no-owner --no-privileges",
    ),
    (
        &["does not exist"],
        "the target lacks something that the backup takes for granted, such as a role; create it, then try again",
    ),
    (
        &["already exists"],
        "the target was not empty; restore into a new database",
    ),
    (
        &[
            "server closed the connection",
            "terminating connection",
            "connection to server was lost",
        ],
        "the target server went away; find out why, then try again",
    ),
];

/// The database as it was found before the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As the server prints it: `17.11` or `18.6 (Debian 18.6-1)`.
    pub version: String,
    /// The number that decides which client fits.
    pub major: u16,
    /// `pg_database_size` of the database.
    pub size_bytes: u64,
    /// How the session may be opened.
    pub session: Session,
}

/// How long one question to the server may take, name resolution and TLS included.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// Asks the server who it is, with `psql`: it shares libpq with `pg_dump`, so what connects for one connects for both.
///
/// # Errors
/// Whatever `psql` said, with its kind.
pub async fn probe(client: &Client, url: &DatabaseUrl) -> Result<Server, PostgresError> {
    match ask(client, url, Session::Guarded).await {
        Err(refused)
            if refused.text.contains("unsupported startup parameter")
                || refused
                    .text
                    .contains("unrecognized configuration parameter") =>
        {
            let server = ask(client, url, Session::Plain).await?;
            tracing::warn!(
                error = refused.text,
                hint = "with PgBouncer use DATABASE_UNPOOLED_URL in BACKUP_DATABASE_URL",
                "server side keepalives dropped"
            );
            Ok(server)
        }
        outcome => outcome,
    }
}

async fn ask(
    client: &Client,
    url: &DatabaseUrl,
    session: Session,
) -> Result<Server, PostgresError> {
    let database = Database {
        client,
        url,
        session,
    };
    let answer = database
        .ask(
            &Sql::new("SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version'), pg_catalog.pg_database_size(pg_catalog.current_database());"),
            PROBE_LIMIT,
        )
        .await?;
    let mut fields = answer.trim().split('\t');
    let parsed = (|| {
        let number: u32 = fields.next()?.parse().ok()?;
        let version = fields.next()?.to_owned();
        let size_bytes = fields.next()?.parse().ok()?;
        // 90624 was 9.6.24; since 10 the major is the number without its last four digits.
        Some(Server {
            version,
            major: u16::try_from(number / 10_000).ok()?,
            size_bytes,
            session,
        })
    })();
    parsed.ok_or_else(|| not_understood(client))
}

/// An answer of `psql` that is not what was asked for.
#[must_use]
pub fn not_understood(client: &Client) -> PostgresError {
    PostgresError {
        kind: Kind::Internal,
        text: "psql's answer was not understood".to_owned(),
        hint: format!(
            "{} must be an executable psql",
            client.path("psql").display()
        ),
    }
}

/// A client program's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The major version, which must not be less than the server's.
    pub major: u16,
    /// As it prints it: `17.11`.
    pub version: String,
    /// The folder that holds `pg_dump` and `psql`.
    pub directory: PathBuf,
    /// What keeps its programs from everything but a drill; none where they work for this service.
    pub confinement: Option<Confinement>,
}

impl Client {
    /// The program's path in this client's folder.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// Whether its `psql` knows `\restrict`, after which it takes no commands of its own: the minors of August 2025 brought
    /// it.
    #[must_use]
    pub fn knows_restrict(&self) -> bool {
        let minor = self.version.split('.').nth(1);
        let minor: u16 = minor.and_then(|minor| minor.parse().ok()).unwrap_or(0);
        let least = match self.major {
            ..13 => u16::MAX,
            13 => 22,
            14 => 19,
            15 => 14,
            16 => 10,
            17 => 6,
            18.. => 0,
        };
        minor >= least
    }

    /// A command with nothing in its environment but what libpq needs: inherited `PG*` variables would redirect it.
    #[must_use]
    pub fn command(&self, program: &str, url: &DatabaseUrl, session: Session) -> Command {
        let mut command = match &self.confinement {
            Some(confinement) => confinement.command(&self.directory, program),
            None => Command::new(self.path(program)),
        };
        // Ctrl-C at a terminal goes to the whole group; what becomes of a child is this process's business.
        command
            .env_clear()
            .envs(url.environment(session))
            .process_group(0);
        command
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)
    }
}

/// The client programs of this image, by major version.
#[derive(Debug, Clone, Default)]
pub struct Clients(BTreeMap<u16, Client>);

/// Where clients lie: Debian and the PostgreSQL project's packages, then Alpine's.
const PACKAGE_ROOTS: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr/libexec", "postgresql", ""),
];

/// Every folder a client may lie in, in order of preference.
#[must_use]
pub fn client_directories(path: Option<&OsString>) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for (root, prefix, suffix) in PACKAGE_ROOTS {
        let entries = std::fs::read_dir(root)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .strip_prefix(prefix)
                    .is_some_and(|major| major.parse::<u16>().is_ok())
            })
            .map(|entry| {
                if suffix.is_empty() {
                    entry.path()
                } else {
                    entry.path().join(suffix)
                }
            })
            .collect();
        found.sort();
        directories.append(&mut found);
    }
    directories.extend(
        path.map(|path| std::env::split_paths(path).collect::<Vec<_>>())
            .unwrap_or_default(),
    );
    directories
}

impl Clients {
    /// Asks the `pg_dump` of each folder for its version; the first folder of a major wins.
    pub async fn discover(directories: &[PathBuf]) -> Self {
        let mut clients = BTreeMap::new();
        for directory in directories {
            let program = directory.join("pg_dump");
            if !program.is_file() || !directory.join("psql").is_file() || is_wrapper(&program) {
                continue;
            }
            let output = Command::new(&program)
                .arg("--version")
                .env_clear()
                .env("LC_ALL", "C")
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output()
                .await;
            let Some((major, version)) = output
                .ok()
                .and_then(|o| client_version(&String::from_utf8_lossy(&o.stdout)))
            else {
                tracing::warn!(path = %program.display(), "client left out: it does not tell its version");
                continue;
            };
            clients.entry(major).or_insert(Client {
                major,
                version,
                directory: directory.clone(),
                confinement: None,
            });
        }
        Self(clients)
    }

    /// The same programs, kept from everything but a drill.
    #[must_use]
    pub fn confined(&self, confinement: &Confinement) -> Self {
        let mut clients = self.clone();
        for client in clients.0.values_mut() {
            client.confinement = Some(confinement.clone());
        }
        clients
    }

    /// Each client, oldest major first.
    pub fn each(&self) -> impl Iterator<Item = &Client> {
        self.0.values()
    }

    /// The majors that are here, for a log line.
    #[must_use]
    pub fn majors(&self) -> String {
        let majors: Vec<String> = self.0.keys().map(u16::to_string).collect();
        if majors.is_empty() {
            "none".to_owned()
        } else {
            majors.join(", ")
        }
    }

    /// The newest client: its `psql` can talk to every server.
    ///
    /// # Errors
    /// When there is no client at all.
    pub fn newest(&self) -> Result<&Client, PostgresError> {
        self.0.values().next_back().ok_or_else(|| PostgresError {
            kind: Kind::Version,
            text: "no PostgreSQL client found: no pg_dump with a psql beside it in /usr/lib/postgresql/*/bin, /usr/libexec/postgresql* or PATH".to_owned(),
            hint: "use this service's image, or install the package postgresql-client of the server's major version".to_owned(),
        })
    }

    /// The client for a server: the same major; a newer one only where the same is missing; an older one never, since
    /// `pg_dump` refuses a newer server.
    ///
    /// # Errors
    /// When every client here is older than the server.
    pub fn choose(
        &self,
        server_major: u16,
        server_version: &str,
    ) -> Result<&Client, PostgresError> {
        self.newest()?;
        self.0.range(server_major..).next().map(|(_, client)| client).ok_or_else(|| PostgresError {
            kind: Kind::Version,
            text: format!("the server is PostgreSQL {server_version}, the clients here are {}: pg_dump cannot dump a server newer than itself", self.majors()),
            hint: format!("deploy an image that carries the PostgreSQL {server_major} client (build argument PG_MAJORS)"),
        })
    }
}

/// Whether this is Debian's Perl wrapper, which picks a version by its own rules and chats on stderr.
fn is_wrapper(program: &Path) -> bool {
    let target = program
        .canonicalize()
        .unwrap_or_else(|_| program.to_owned());
    target.file_name().is_some_and(|name| name == "pg_wrapper")
}

/// Reads `pg_dump (PostgreSQL) 17.12 (Debian 17.12-1)`.
fn client_version(text: &str) -> Option<(u16, String)> {
    let version = text
        .trim()
        .strip_prefix("pg_dump (PostgreSQL) ")?
        .split_whitespace()
        .next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, version.to_owned()))
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

    #[test]
    fn the_same_major_wins_then_the_next_newer_never_an_older() {
        let client = |major: u16| {
            (
                major,
                Client {
                    major,
                    version: format!("{major}.1"),
                    directory: PathBuf::new(),
                    confinement: None,
                },
            )
        };
        let clients = Clients(BTreeMap::from([client(14), client(16), client(18)]));
        assert_eq!(clients.choose(16, "16.3").unwrap().major, 16);
        assert_eq!(clients.choose(15, "15.3").unwrap().major, 16);
        assert_eq!(clients.choose(9, "9.6.24").unwrap().major, 14);
        let refused = clients.choose(19, "19.2").unwrap_err();
        assert_eq!(refused.kind, Kind::Version);
        assert!(
            refused.text.contains("19.2") && refused.text.contains("14, 16, 18"),
            "{refused}"
        );
        assert_eq!(
            Clients::default().choose(16, "16.3").unwrap_err().kind,
            Kind::Version
        );
    }

    #[test]
    fn a_clients_version_is_read_as_it_is_printed() {
        assert_eq!(
            client_version("pg_dump (PostgreSQL) 17.12 (Debian 17.12-1)\n"),
            Some((17, "17.12".to_owned()))
        );
        assert_eq!(
            client_version("pg_dump (PostgreSQL) 19beta2"),
            Some((19, "19beta2".to_owned()))
        );
        assert_eq!(client_version("something else 17"), None);
    }

    #[test]
    fn libpqs_words_get_their_kind() {
        let check = |said: &str, kind: Kind, hint: &str| {
            let error = PostgresError::from_stderr(said, Kind::DumpExit);
            assert_eq!(error.kind, kind, "{said}");
            assert!(error.hint.contains(hint), "{said}: {}", error.hint);
        };
        check(
            "connection to server at \"h\", port 1 failed: Connection refused",
            Kind::Connect,
            "same project",
        );
        check(
            "FATAL:  password authentication failed for user \"u\"",
            Kind::Auth,
            "BACKUP_DATABASE_URL",
        );
        check(
            "FATAL:  database \"x\" does not exist",
            Kind::Auth,
            "does not exist",
        );
        check(
            "ERROR:  permission denied for table secret",
            Kind::Permission,
            "pg_read_all_data",
        );
        check(
            "query would be affected by row-level security policy for table \"t\"",
            Kind::Permission,
            "BYPASSRLS",
        );
        check(
            "could not translate host name \"h\" to address: Name or service not known",
            Kind::Connect,
            "private URL",
        );
        check(
            "FATAL:  too many connections for role \"u\"",
            Kind::Connect,
            "max_connections",
        );
        check(
            "ERROR:  canceling statement due to statement timeout",
            Kind::LockWait,
            "lock",
        );
        check(
            "server closed the connection unexpectedly",
            Kind::DumpExit,
            "BACKUP_DATABASE_URL",
        );
    }
}
