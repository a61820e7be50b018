//! A throwaway PostgreSQL server of this image's own programs: on a socket in a temporary folder, reachable by nobody else.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kind::Kind;
use crate::postgres::{self, Client, Clients, DatabaseUrl, Session};
use crate::reader::Summary;
use crate::secret::Redactor;

/// The superuser of the throwaway server.
const USER: &str = "postgres";

/// Whom it runs as in place of root, whom PostgreSQL refuses: nobody.
const NOBODY: u32 = 65_534;

/// What its folders are called, with this process's id.
const FOLDER: &str = "psb-drill-";

/// A running throwaway server. Dropped means killed; its folder goes with it.
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    url: DatabaseUrl,
    said: JoinSet<String>,
    // After the server: its files may go when it is gone.
    _folder: TempDir,
}

/// Why there is no throwaway server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbeddedError {
    /// The image holds no server that can take the backup.
    #[error(
        "no PostgreSQL server of major version {wanted} or newer in this image (servers here: {here})"
    )]
    NoServer {
        /// The backup's major version.
        wanted: u16,
        /// What there is.
        here: String,
    },
    /// The temporary folder is too small.
    #[error(
        "{} has {free_bytes} bytes free, restoring takes about {needed_bytes}", folder.display()
    )]
    Disk {
        /// Where.
        folder: PathBuf,
        /// What is free there.
        free_bytes: u64,
        /// What is needed, by estimate.
        needed_bytes: u64,
    },
    /// It did not start.
    #[error("start a throwaway PostgreSQL server: {0}")]
    Start(String),
}

impl EmbeddedError {
    /// The name of it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::NoServer { .. } => Kind::Version,
            Self::Disk { .. } => Kind::Refused,
            Self::Start(_) => Kind::Internal,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoServer { .. } => {
                "use the image that carries a server (target with-server), or set VERIFY_DATABASE_URL (or --into) to the URL of a server"
            }
            Self::Disk { .. } => {
                "give the container more temporary disk (TMPDIR names another place), or set VERIFY_DATABASE_URL (or --into) to the URL of a server"
            }
            Self::Start(_) => {
                "PostgreSQL needs a user with a name (or the library libnss_wrapper), a writable temporary folder and shared memory; look at `error`, or set VERIFY_DATABASE_URL (or --into) to the URL of a server"
            }
        }
    }
}

impl Embedded {
    /// Starts a server of the backup's major version, or of the next newer one that is here, with the roles it names.
    ///
    /// # Errors
    /// When there is none, when the disk is too small, or when it does not start.
    pub async fn start(
        clients: &Clients,
        summary: &Summary,
        temporary: &Path,
    ) -> Result<Self, EmbeddedError> {
        sweep(temporary);
        let wanted = summary.server_major().unwrap_or_default();
        let client = clients
            .each()
            .find(|client| client.major >= wanted && holds_server(client))
            .ok_or_else(|| EmbeddedError::NoServer {
                wanted,
                here: servers(clients),
            })?;
        check_disk(temporary, summary.contents.bytes)?;
        let failed = |error: io::Error| EmbeddedError::Start(error.to_string());
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER}{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(temporary)
            .map_err(failed)?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data).map_err(failed)?;
        // The owner of a file that this process made tells who it is, without asking the system by other means.
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
        let program = |name: &str| {
            let mut command = Command::new(client.path(name));
            command
                .env_clear()
                .env("LC_ALL", "C")
                // A build that carries its own libpq keeps it there, for extensions such as postgres_fdw.
                .env("LD_LIBRARY_PATH", client.directory.with_file_name("lib"))
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .kill_on_drop(true);
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            if nameless {
                command
                    .env("LD_PRELOAD", "libnss_wrapper.so")
                    .env("NSS_WRAPPER_PASSWD", folder.path().join(PASSWD))
                    .env("NSS_WRAPPER_GROUP", folder.path().join(GROUP));
            }
            command
        };
        initialise(program("initdb"), &data).await?;
        let mut child = program("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut said = JoinSet::new();
        if let Some(stderr) = child.stderr.take() {
            said.spawn(postgres::relay(stderr, Redactor::default(), "postgres"));
        }
        let mut server = Self {
            child,
            url: DatabaseUrl::on_socket(folder.path(), USER, "postgres"),
            said,
            _folder: folder,
        };
        server.wait_until_ready(client, summary).await?;
        Ok(server)
    }

    /// The superuser's URL of its first database.
    #[must_use]
    pub const fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Stops it at once: nothing of it is kept.
    pub async fn stop(mut self) {
        const LIMIT: Duration = Duration::from_secs(5);
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok())
            && let Err(error) = kill(Pid::from_raw(id), Signal::SIGQUIT)
        {
            tracing::debug!(%error, "the throwaway server was gone");
        }
        tokio::select! {
            _ = self.child.wait() => {}
            () = tokio::time::sleep(LIMIT) => {
                if let Err(error) = self.child.kill().await {
                    tracing::warn!(%error, "could not kill the throwaway server");
                }
            }
        }
    }

    /// Waits for the first answer, and makes the roles that the backup names.
    async fn wait_until_ready(
        &mut self,
        client: &Client,
        summary: &Summary,
    ) -> Result<(), EmbeddedError> {
        const LIMIT: Duration = Duration::from_secs(60);
        let needs = &summary.needs;
        let roles: String = needs
            .roles
            .union(&needs.named_roles)
            .filter(|role| *role != USER && !role.starts_with("pg_"))
            .filter(|role| !role.contains(char::REPLACEMENT_CHARACTER))
            .map(|role| format!("CREATE ROLE \"{}\";\n", role.replace('"', "\"\"")))
            .collect();
        let deadline = Instant::now() + LIMIT;
        loop {
            tokio::select! {
                answer = postgres::query(client, &self.url, Session::Plain, &roles, LIMIT) => match answer {
                    Ok(_) => return Ok(()),
                    Err(error) if error.kind != Kind::Connect || Instant::now() > deadline => {
                        return Err(EmbeddedError::Start(error.text));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                _ = self.child.wait() => {
                    let said = self.said.join_next().await.and_then(Result::ok);
                    return Err(EmbeddedError::Start(said.unwrap_or_default()));
                }
            }
        }
    }
}

/// A server that serves one restore and is thrown away: nothing of it needs to survive a crash.
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
    // One transaction makes every table of the backup.
    "max_locks_per_transaction=2048",
    "shared_buffers=64MB",
    "maintenance_work_mem=128MB",
    "dynamic_shared_memory_type=mmap",
];

async fn initialise(mut initdb: Command, data: &Path) -> Result<(), EmbeddedError> {
    let output = initdb
        .arg("-D")
        .arg(data)
        .args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .output()
        .await
        .map_err(|error| EmbeddedError::Start(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Err(EmbeddedError::Start(format!(
        "initdb: {}",
        lines.join("; ")
    )))
}

/// Files of a nameless user's own names, in the form of those in `/etc`.
const PASSWD: &str = "passwd";
const GROUP: &str = "group";

/// Whether the system knows this user: platforms start containers as any number, and `initdb` insists on a name.
fn has_name(user: u32) -> bool {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = user.to_string();
    accounts
        .lines()
        .any(|line| line.split(':').nth(2) == Some(user.as_str()))
}

/// Names a user for those programs that are started with the library `libnss_wrapper`, which the image with a server has;
/// where it is missing, the loader only says so, and `initdb` says what it wants.
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

/// A restored database takes about twice its dump's text: rows, indexes, the write-ahead log and the bare server.
fn check_disk(folder: &Path, plain_bytes: u64) -> Result<(), EmbeddedError> {
    const BARE_SERVER: u64 = 300 * 1024 * 1024;
    let needed_bytes = plain_bytes.saturating_mul(2).saturating_add(BARE_SERVER);
    let free_bytes = nix::sys::statvfs::statvfs(folder)
        .map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()))
        .map_err(|error| EmbeddedError::Start(format!("look at {}: {error}", folder.display())))?;
    if free_bytes < needed_bytes {
        return Err(EmbeddedError::Disk {
            folder: folder.to_owned(),
            free_bytes,
            needed_bytes,
        });
    }
    Ok(())
}

/// Removes what killed processes left behind: their servers and folders.
fn sweep(temporary: &Path) {
    let entries = std::fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDER))
            .and_then(|rest| rest.split('-').next())
            .and_then(|id| id.parse::<u32>().ok());
        let Some(owner) = owner else { continue };
        if owner == std::process::id() || Path::new("/proc").join(owner.to_string()).exists() {
            continue;
        }
        let pid_file = entry.path().join("data/postmaster.pid");
        let postmaster = std::fs::read_to_string(pid_file)
            .ok()
            .and_then(|text| text.lines().next().and_then(|id| id.parse::<i32>().ok()));
        if let Some(id) = postmaster {
            // Only a server that works in that very folder.
            let works_there = std::fs::read_link(format!("/proc/{id}/cwd"))
                .is_ok_and(|folder| folder.starts_with(entry.path()));
            if works_there && let Err(error) = kill(Pid::from_raw(id), Signal::SIGQUIT) {
                tracing::debug!(%error, "a left server was gone");
            }
        }
        match std::fs::remove_dir_all(entry.path()) {
            Ok(()) => {
                tracing::info!(folder = %entry.path().display(), "folder of a killed drill removed");
            }
            Err(error) => {
                tracing::warn!(folder = %entry.path().display(), %error, "could not remove a killed drill's folder");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_told_with_both_numbers() {
        let folder = std::env::temp_dir();
        assert!(check_disk(&folder, 0).is_ok());
        let error = check_disk(&folder, u64::MAX / 4).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(
            error
                .to_string()
                .contains("bytes free, restoring takes about 9"),
            "{error}"
        );
        assert!(error.hint().contains("TMPDIR"));
    }
}
