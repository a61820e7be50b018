//! The client programs that were found, and which of them fits a server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{DatabaseUrl, PostgresError, Session};
use crate::fault::Kind;
use crate::process::confine::Confinement;
use crate::process::running::Running;
use crate::secret::Redactor;

/// A client program's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The major version, which must not be lower than the server's.
    pub major: u16,
    /// The version as the program prints it: `17.11`.
    pub version: String,
    /// The folder that holds `pg_dump` and `psql`.
    pub directory: PathBuf,
    /// The confinement of its programs during a drill; `None` if they work for this service itself.
    pub confinement: Option<Confinement>,
}

impl Client {
    /// The program's path in this client's folder.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// Whether its `psql` knows `\restrict`, which switches off its own commands. The minor versions of August 2025 brought it.
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

    /// A command whose environment holds only what libpq needs. Inherited `PG*` variables could send it to another server.
    #[must_use]
    pub fn command(&self, program: &str, url: &DatabaseUrl, session: Session) -> Command {
        let mut command = match &self.confinement {
            Some(confinement) => confinement.command(&self.directory, program),
            None => Command::new(self.path(program)),
        };
        // Ctrl-C on a terminal is sent to the whole process group. Only this process decides what happens to a child.
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

/// Where packages install clients: those of Debian and the PostgreSQL project, then Alpine's.
const PACKAGE_ROOTS: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr/libexec", "postgresql", ""),
];

/// Every folder that may hold a client, in order of preference.
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
    /// Asks the `pg_dump` in each folder for its version. Of several folders with the same major version, the first is used.
    pub async fn discover(directories: &[PathBuf]) -> Self {
        let mut clients = BTreeMap::new();
        for directory in directories {
            let program = directory.join("pg_dump");
            if !program.is_file() || !directory.join("psql").is_file() || is_wrapper(&program) {
                continue;
            }
            let Some((major, version)) = version_of(&program).await else {
                tracing::warn!(path = %program.display(), "client left out: it prints no version");
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

    /// The same programs, confined to what a drill needs.
    #[must_use]
    pub fn confined(&self, confinement: &Confinement) -> Self {
        let mut clients = self.clone();
        for client in clients.0.values_mut() {
            client.confinement = Some(confinement.clone());
        }
        clients
    }

    /// Each client, the oldest major version first.
    pub fn each(&self) -> impl Iterator<Item = &Client> {
        self.0.values()
    }

    /// The major versions that are here, for a log line.
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
        self.0.values().next_back().ok_or_else(|| PostgresError::new(
            Kind::Version,
            "no PostgreSQL client found: no pg_dump with a psql beside it in /usr/lib/postgresql/*/bin, /usr/libexec/postgresql* or PATH".to_owned(),
            "use this service's image, or install the package postgresql-client of the server's major version".to_owned(),
        ))
    }

    /// The client for a server: the same major version, or a newer one if the same is missing. Never an older one: `pg_dump`
    /// refuses a newer server.
    ///
    /// # Errors
    /// When every client here is older than the server.
    pub fn choose(
        &self,
        server_major: u16,
        server_version: &str,
    ) -> Result<&Client, PostgresError> {
        self.newest()?;
        self.0.range(server_major..).next().map(|(_, client)| client).ok_or_else(|| PostgresError::new(
            Kind::Version,
            format!("the server is PostgreSQL {server_version}, the clients here are {}: pg_dump cannot dump a server newer than itself", self.majors()),
            format!("deploy an image that carries the PostgreSQL {server_major} client (build argument PG_MAJORS)"),
        ))
    }
}

/// Whether this is Debian's Perl wrapper, which picks a version by its own rules and writes to stderr.
fn is_wrapper(program: &Path) -> bool {
    let target = program
        .canonicalize()
        .unwrap_or_else(|_| program.to_owned());
    target.file_name().is_some_and(|name| name == "pg_wrapper")
}

/// Asks a `pg_dump` for its version. What it says on stderr does not matter.
async fn version_of(program: &Path) -> Option<(u16, String)> {
    /// More than any version has.
    const MOST_BYTES: u64 = 4096;
    /// How long it may take to end after it has printed its version.
    const ENDING: Duration = Duration::from_secs(5);
    let mut command = Command::new(program);
    command
        .arg("--version")
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut running = Running::start_silent(command, "pg_dump", Redactor::default()).ok()?;
    let mut text = Vec::new();
    let output = running.output()?;
    let read = output.take(MOST_BYTES).read_to_end(&mut text).await;
    running.end_within(ENDING).await;
    read.ok()?;
    client_version(&String::from_utf8_lossy(&text))
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
}
