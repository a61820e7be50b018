//! A throwaway PostgreSQL server that runs this image's own programs. It listens on a socket in a temporary folder, and
//! nobody else can reach it.

use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::Instant;

mod folder;
mod remove;

use folder::Folder;

use crate::fault::{Diagnosed, Kind};
use crate::postgres::{Client, Clients, Database, DatabaseUrl, Session, Sql};
use crate::process::confine::{self, Confinement};
use crate::process::running::Running;
use crate::reader::Summary;
use crate::secret::Redactor;

/// The superuser of the throwaway server.
const USER: &str = "postgres";

/// The user that it runs as if this service runs as root, which PostgreSQL refuses: the user `nobody`.
const NOBODY: u32 = 65_534;

/// A running throwaway server. Dropping it kills the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Embedded {
    running: Running,
    url: DatabaseUrl,
    confinement: Confinement,
    // Declared after the server, so that it is dropped after it: the files may be removed only when the server is gone.
    folder: Folder,
}

/// Why there is no throwaway server.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EmbeddedError {
    /// The image has no server that the backup can be restored on.
    #[error(
        "no PostgreSQL server of major version {wanted} or newer in this image (servers here: {here})"
    )]
    NoServer {
        /// The backup's major version.
        wanted: u16,
        /// The versions that the image has.
        here: String,
    },
    /// The temporary folder is too small.
    #[error(
        "{} has {free_bytes} bytes free, but restoring takes about {needed_bytes}", folder.display()
    )]
    Disk {
        /// The temporary folder.
        folder: PathBuf,
        /// How many bytes are free there.
        free_bytes: u64,
        /// How many bytes are needed, as an estimate.
        needed_bytes: u64,
    },
    /// The code in the backup could read this service's keys.
    #[error(
        "this kernel can't confine a program (it has no Landlock), so the code in a backup could read this service's keys"
    )]
    Unconfined,
    /// It did not start.
    #[error("a throwaway PostgreSQL server could not be started: {0}")]
    Start(String),
}

impl Diagnosed for EmbeddedError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoServer { .. } => Kind::Version,
            Self::Disk { .. } | Self::Unconfined => Kind::Refused,
            Self::Start(_) => Kind::Internal,
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::NoServer { .. } => {
                "use the image that carries a server (target with-server), or set VERIFY_DATABASE_URL (or --into) to the URL of a server"
            }
            Self::Disk { .. } => {
                "give the container more temporary disk (TMPDIR names another place), or set VERIFY_DATABASE_URL (or --into) to the URL of a server"
            }
            Self::Unconfined => {
                "set VERIFY_DATABASE_URL (or --into) to the URL of a server; or, if you trust whoever can write to the database and to the bucket, set VERIFY_UNCONFINED=true"
            }
            Self::Start(_) => {
                "PostgreSQL needs a user with a name (or the library libnss_wrapper), a writable temporary folder and shared memory; look at `error`, or set VERIFY_DATABASE_URL (or --into) to the URL of a server"
            }
        }
    }
}

impl Embedded {
    /// Starts a server of the backup's major version, or of the next newer one in this image, with the roles that the backup
    /// names. With `may_be_unconfined` it is also started on a kernel that can't confine it.
    ///
    /// # Errors
    /// When there is no such server, when the disk is too small, or when it does not start.
    pub(crate) async fn start(
        clients: &Clients,
        summary: &Summary,
        temporary: &Path,
        may_be_unconfined: bool,
    ) -> Result<Self, EmbeddedError> {
        let enforced = confine::is_possible();
        if !enforced && !may_be_unconfined {
            return Err(EmbeddedError::Unconfined);
        }
        if !enforced {
            tracing::warn!(
                hint = "unset VERIFY_UNCONFINED and set VERIFY_DATABASE_URL to the URL of a server, if you do not trust whoever can write to the database and to the bucket",
                "drill not confined: the code in the backup can read this service's keys"
            );
        }
        let wanted = summary.server_major().unwrap_or_default();
        let client = clients
            .each()
            .find(|client| client.major >= wanted && holds_server(client))
            .ok_or_else(|| EmbeddedError::NoServer {
                wanted,
                here: servers(clients),
            })?;
        let folder = make_folder(temporary, summary.contents.bytes).await?;
        let failed = |error: io::Error| EmbeddedError::Start(error.to_string());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).map_err(failed)?;
        // The owner of a file that this process made is the user of this process.
        let owner = folder.path().metadata().map_err(failed)?;
        let (user, group) = (owner.uid(), owner.gid());
        let is_root = user == 0;
        let nameless = !is_root && !has_name(user);
        if nameless {
            name_user(folder.path(), user, group).map_err(failed)?;
        }
        if is_root {
            for path in [folder.path(), &data] {
                chown(path, Some(NOBODY), Some(NOBODY)).map_err(failed)?;
            }
        }
        let confinement = Confinement {
            folder: folder.path().to_owned(),
            user: is_root.then_some(NOBODY),
            enforced,
        };
        let prepared = |mut command: Command| {
            command
                .env("LC_ALL", "C")
                // A build with its own libpq has it in this folder, for extensions such as postgres_fdw.
                .env("LD_LIBRARY_PATH", client.directory.with_file_name("lib"))
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            if nameless {
                command
                    .env("LD_PRELOAD", "libnss_wrapper.so")
                    .env("NSS_WRAPPER_PASSWD", folder.path().join(PASSWD))
                    .env("NSS_WRAPPER_GROUP", folder.path().join(GROUP));
            }
            command
        };
        let initdb = confinement.command(&client.directory, "initdb");
        initialise(prepared(initdb), &data).await?;
        let mut postgres = prepared(confinement.server(&client.directory, "postgres"));
        postgres
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .arg("-c")
            .arg(format!(
                "max_locks_per_transaction={}",
                locks_per_connection(summary.definitions)
            ));
        let running = Running::start(postgres, "postgres", Redactor::default()).map_err(failed)?;
        let client = Client {
            confinement: Some(confinement.clone()),
            ..client.clone()
        };
        let mut server = Self {
            running,
            url: DatabaseUrl::on_socket(folder.path(), USER, "postgres"),
            confinement,
            folder,
        };
        if let Err(error) = server.wait_until_ready(&client, summary).await {
            server.stop().await;
            return Err(error);
        }
        Ok(server)
    }

    /// How the programs that connect to it are confined.
    #[must_use]
    pub(crate) const fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// The URL of its first database, for the superuser.
    #[must_use]
    pub(crate) const fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Stops it at once, since nothing of it is kept.
    pub(crate) async fn stop(mut self) {
        // The server ends within five seconds, and what the backup started there within five more.
        const LIMIT: Duration = Duration::from_secs(15);
        self.running.stop(Signal::QUIT, LIMIT).await;
        // Deleting a database takes long, and must not delay other tasks.
        let folder = self.folder;
        let removed = tokio::task::spawn_blocking(move || drop(folder)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "could not remove the drill's folder; the next drill removes it");
        }
    }

    /// Waits until the server answers, and creates the roles that the backup names.
    async fn wait_until_ready(
        &mut self,
        client: &Client,
        summary: &Summary,
    ) -> Result<(), EmbeddedError> {
        const LIMIT: Duration = Duration::from_secs(60);
        let needs = &summary.needs;
        let roles = needs
            .roles
            .union(&needs.named_roles)
            .filter(|role| *role != USER && !role.starts_with("pg_"))
            .filter(|role| !role.contains(char::REPLACEMENT_CHARACTER))
            .fold(Sql::new(""), |sql, role| {
                sql.sql("CREATE ROLE ").name(role).sql(";\n")
            });
        let database = Database {
            client,
            url: &self.url,
            session: Session::Plain,
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            tokio::select! {
                answer = database.change(&roles, LIMIT) => match answer {
                    Ok(_) => return Ok(()),
                    Err(error) if error.kind != Kind::Connect || Instant::now() > deadline => {
                        return Err(EmbeddedError::Start(error.text));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                _ = self.running.wait() => {
                    let said = self.running.said().await;
                    return Err(EmbeddedError::Start(said.shown().to_owned()));
                }
            }
        }
    }
}

/// The settings of a server that is thrown away after one restore: nothing of it has to survive a crash.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=256MB",
    "autovacuum=off",
    "max_connections=20",
    "shared_buffers=64MB",
    "maintenance_work_mem=128MB",
    "dynamic_shared_memory_type=mmap",
];

/// How many locks the server has room for, per each of its 20 connections. One transaction creates everything in the backup,
/// and holds a lock on each table, index, sequence and large object until its end.
fn locks_per_connection(definitions: u64) -> u64 {
    /// `CREATE TABLE` makes three things: the table, a table for its long values, and the index of that one.
    const EACH: u64 = 3;
    const CONNECTIONS: u64 = 20;
    /// PostgreSQL's default.
    const LEAST: u64 = 64;
    /// This gives room for 1.3 million locks, which take about 350 megabytes.
    const MOST: u64 = 65_536;
    let locks = definitions.saturating_mul(EACH);
    locks.div_ceil(CONNECTIONS).saturating_add(LEAST).min(MOST)
}

async fn initialise(mut initdb: Command, data: &Path) -> Result<(), EmbeddedError> {
    let failed = |error: io::Error| EmbeddedError::Start(error.to_string());
    initdb.arg("-D").arg(data).args([
        "-U",
        USER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]);
    let mut initdb = Running::start(initdb, "initdb", Redactor::default()).map_err(failed)?;
    let status = initdb.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let said = initdb.said().await;
    let lines: Vec<&str> = said.shown().lines().map(str::trim).collect();
    Err(EmbeddedError::Start(format!(
        "initdb: {}",
        lines.join("; ")
    )))
}

/// Files in the form of `/etc/passwd` and `/etc/group`, for a user that has no name in these.
const PASSWD: &str = "passwd";
const GROUP: &str = "group";

/// Whether the system has a name for this user. Platforms start containers under any user number, but `initdb` insists on a
/// name.
fn has_name(user: u32) -> bool {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = user.to_string();
    accounts
        .lines()
        .any(|line| line.split(':').nth(2) == Some(user.as_str()))
}

/// Gives the user a name in the programs that are started with the library `libnss_wrapper`, which is part of the image with
/// a server. If it is missing, the loader only warns, and `initdb` reports that it needs a name.
fn name_user(folder: &Path, user: u32, group: u32) -> io::Result<()> {
    let home = folder.display();
    let account = format!("drill:x:{user}:{group}::{home}:/bin/sh\n");
    std::fs::write(folder.join(PASSWD), account)?;
    std::fs::write(folder.join(GROUP), format!("drill:x:{group}:\n"))
}

fn holds_server(client: &Client) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| client.path(program).is_file())
}

fn servers(clients: &Clients) -> String {
    let majors: Vec<String> = clients
        .each()
        .filter(|client| holds_server(client))
        .map(|client| client.major.to_string())
        .collect();
    if majors.is_empty() {
        "none".to_owned()
    } else {
        majors.join(", ")
    }
}

/// Removes what killed drills left behind, and then makes the server's folder if there is enough space.
async fn make_folder(temporary: &Path, plain_bytes: u64) -> Result<Folder, EmbeddedError> {
    let temporary = temporary.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        folder::sweep(&temporary);
        check_disk(&temporary, plain_bytes)?;
        Folder::create(&temporary).map_err(|error| EmbeddedError::Start(error.to_string()))
    });
    made.await
        .map_err(|error| EmbeddedError::Start(error.to_string()))?
}

/// A restored database takes about twice the size of its dump's text, with its indexes, the write-ahead log and the empty
/// server.
fn check_disk(folder: &Path, plain_bytes: u64) -> Result<(), EmbeddedError> {
    const BARE_SERVER: u64 = 300 * 1024 * 1024;
    let needed_bytes = plain_bytes.saturating_mul(2).saturating_add(BARE_SERVER);
    let free_bytes = rustix::fs::statvfs(folder)
        .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
        .map_err(|error| {
            EmbeddedError::Start(format!("could not examine {}: {error}", folder.display()))
        })?;
    if free_bytes < needed_bytes {
        return Err(EmbeddedError::Disk {
            folder: folder.to_owned(),
            free_bytes,
            needed_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_lock_on_everything_that_is_made() {
        for (definitions, locks) in [(0, 64), (7, 66), (100_000, 15_064), (u64::MAX, 65_536)] {
            assert_eq!(locks_per_connection(definitions), locks, "{definitions}");
        }
    }

    #[test]
    fn a_disk_that_is_too_small_is_told_with_both_numbers() {
        let folder = std::env::temp_dir();
        assert!(check_disk(&folder, 0).is_ok());
        let error = check_disk(&folder, u64::MAX / 4).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(
            error
                .to_string()
                .contains("bytes free, but restoring takes about 9"),
            "{error}"
        );
        assert!(error.hint().contains("TMPDIR"));
    }
}
