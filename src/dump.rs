//! `pg_dump` as a reader that knows whether the dump ended well.

pub(crate) mod envelope;
pub mod label;
pub(crate) mod origin;

use std::io::{self, PipeReader, PipeWriter, Read};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use rustix::process::Signal;
use tokio::process::Command;

use crate::fault::{Diagnosed, Kind};
use crate::postgres::{Client, DatabaseUrl, PostgresError, Said, Server, Session};
use crate::process::running::Running;
use stream::script::{Contents, Script};

/// The programs whose output is stored.
const DUMP: &str = "pg_dump";
const DUMP_ALL: &str = "pg_dumpall";

/// How long a dump waits for what. These values are promises to the source database and not matters of taste, so there are
/// no variables for them. Tests use shorter ones.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How long `pg_dump` waits for another session's lock before it gives up. While it waits, all later requests for that
    /// lock queue up behind it.
    pub lock_wait: Duration,
    /// If no byte comes for this long, the attempt ends. TCP keepalives do not notice a server that is alive but stopped.
    pub silence: Duration,
    /// How long the process may keep running after its output ended.
    pub exit: Duration,
    /// The time from SIGTERM to SIGKILL. To cancel its query, `pg_dump`'s handler opens a new connection. When the network
    /// was gone, it hung there for 135 s in a trial.
    pub terminate: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock_wait: Duration::from_secs(60),
            silence: Duration::from_secs(600),
            exit: Duration::from_secs(30),
            terminate: Duration::from_secs(2),
        }
    }
}

/// A running `pg_dump`. Dropping it kills the process.
#[derive(Debug)]
pub struct Dump {
    program: Running,
    patience: Patience,
    /// The remedy for a failure depends on it.
    url: DatabaseUrl,
}

/// The output of a [`Dump`], read as it is written. Reading never waits: if there is nothing at the moment, it says so by
/// [`io::ErrorKind::WouldBlock`].
///
/// It is not a pipe of tokio, because tokio asks for events by `epoll`. From then on Linux wakes the reader up at each write to
/// the pipe and not only when it was empty, and `pg_dump` writes 4 KiB at a time.
#[derive(Debug)]
pub struct DumpOutput {
    stdout: PipeReader,
    pause: Duration,
    script: Script,
    bytes: Arc<AtomicU64>,
    ended: bool,
    silence: Duration,
    /// Since when nothing came. While this service is not reading, silence is not the dump's fault, so it is not counted.
    silent_since: Option<Instant>,
}

/// Proof that a dump ended well: exit status 0, the output read to its end, the end marker in place, and stderr read to its
/// end.
///
/// Only [`Dump::finish`] can make one, and an upload can't be completed without one. Others can read it:
///
/// ```
/// use postgres_s3_backups::dump::CleanExit;
/// use stream::script::Contents;
///
/// fn contents(proof: &CleanExit) -> &Contents {
///     proof.contents()
/// }
/// ```
///
/// But they can't forge it:
///
/// ```compile_fail
/// use postgres_s3_backups::dump::CleanExit;
/// use stream::script::Contents;
///
/// let forged = CleanExit { contents: Contents::default() };
/// ```
#[derive(Debug)]
#[must_use]
pub struct CleanExit {
    contents: Contents,
}

impl CleanExit {
    /// What the dump holds.
    #[must_use]
    pub const fn contents(&self) -> &Contents {
        &self.contents
    }
}

/// Why a dump failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DumpError {
    /// It could not be started.
    #[error("could not start {program}: {reason}")]
    Start {
        /// The program's path.
        program: String,
        /// What the system answered.
        reason: String,
    },
    /// It ended with a status other than 0.
    #[error("pg_dump exited with status {status}: {said}")]
    Exit {
        /// The exit status.
        status: i32,
        /// What it said, with the kind and the remedy that follow from it.
        said: PostgresError,
    },
    /// It was ended by a signal.
    #[error("pg_dump was ended by signal {signal}{}{said}", if said.is_empty() { "" } else { ": " })]
    Signal {
        /// The signal's number.
        signal: i32,
        /// What it said before.
        said: String,
    },
    /// It reported success, but the dump has no end.
    #[error("pg_dump exited with status 0, but its output ({bytes} bytes) does not end like a whole dump{}{said}", if said.is_empty() { "" } else { ": " })]
    NotWhole {
        /// How many bytes came.
        bytes: u64,
        /// What it said.
        said: String,
        /// What to do, with the name of the variable that holds the URL.
        hint: String,
    },
    /// Its output was not read to the end.
    #[error("pg_dump's output was not read to its end")]
    NotRead,
    /// It closed its output but did not exit.
    #[error("pg_dump closed its output but did not exit within {0:?}")]
    Lingers(Duration),
    /// No byte came for too long.
    #[error("pg_dump wrote nothing for {0:?}")]
    Silent(Duration),
    /// The system could not report how it ended, or could not deliver its output.
    #[error("could not read the output of pg_dump: {0}")]
    Read(String),
}

impl Diagnosed for DumpError {
    fn kind(&self) -> Kind {
        match self {
            Self::Start { .. } | Self::NotRead | Self::Read(_) => Kind::Internal,
            Self::Exit { said, .. } => said.kind,
            Self::Signal { .. } => Kind::DumpSignal,
            Self::NotWhole { .. } => Kind::DumpInvalid,
            Self::Lingers(_) | Self::Silent(_) => Kind::DumpStalled,
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Exit { said, .. } => said.is_retryable(),
            error => error.kind().is_retryable(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Start { .. } => {
                "the image is damaged or the machine is out of processes; redeploy the service"
            }
            Self::Exit { said, .. } => &said.hint,
            Self::Signal { .. } => {
                "something killed pg_dump, often the memory limit of the container; the next attempt starts from the beginning"
            }
            Self::NotWhole { hint, .. } => hint,
            Self::Lingers(_) | Self::Silent(_) => {
                "the database or the network to it hangs; look for a server that is stopped, or for a network that drops packets"
            }
            Self::NotRead | Self::Read(_) => {
                "this is a defect of the service or of the machine; the next attempt starts from the beginning"
            }
        }
    }
}

impl Dump {
    /// Starts `pg_dump` in plain format. The password is in its environment, and the user's options come last, so that they
    /// take precedence.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        client: &Client,
        url: &DatabaseUrl,
        server: &Server,
        options: &[String],
        patience: &Patience,
    ) -> Result<(Self, DumpOutput), DumpError> {
        let mut command = Self::command(DUMP, client, url, server, patience);
        command.arg("--format=plain").args(options);
        Self::run(command, DUMP, client, url, patience)
    }

    /// Starts `pg_dumpall` for what belongs to the server and to none of its databases.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_globals(
        client: &Client,
        url: &DatabaseUrl,
        server: &Server,
        options: &[String],
        patience: &Patience,
    ) -> Result<(Self, DumpOutput), DumpError> {
        let mut command = Self::command(DUMP_ALL, client, url, server, patience);
        command.arg("--globals-only").args(options);
        Self::run(command, DUMP_ALL, client, url, patience)
    }

    fn command(
        program: &str,
        client: &Client,
        url: &DatabaseUrl,
        server: &Server,
        patience: &Patience,
    ) -> Command {
        let mut command = client.command(program, url, server.session);
        if server.may_choose_language && server.session == Session::Guarded {
            // pg_dump shows the server's messages without their codes. So they are requested in English, which is understood
            // here.
            let options = url.options(server.session);
            command.env("PGOPTIONS", format!("{options} -c lc_messages=C"));
        }
        command
            .arg("--no-password")
            .arg(format!(
                "--lock-wait-timeout={}",
                patience.lock_wait.as_millis()
            ))
            .arg(format!("--dbname={}", url.connection_string(client.major)));
        command
    }

    fn run(
        mut command: Command,
        name: &'static str,
        client: &Client,
        url: &DatabaseUrl,
        patience: &Patience,
    ) -> Result<(Self, DumpOutput), DumpError> {
        let failed = |error: io::Error| DumpError::Start {
            program: client.path(name).display().to_string(),
            reason: error.to_string(),
        };
        let (stdout, writer) = pipe().map_err(failed)?;
        let pause = fcntl_getpipe_size(&stdout).map_or(Duration::ZERO, pause);
        command.stdin(Stdio::null()).stdout(writer);
        let running = Running::start(command, name, url.redactor()).map_err(failed)?;
        let output = DumpOutput {
            stdout,
            pause,
            script: if name == DUMP_ALL {
                Script::of_globals()
            } else {
                Script::default()
            },
            bytes: Arc::default(),
            ended: false,
            silence: patience.silence,
            silent_since: None,
        };
        Ok((
            Self {
                program: running,
                patience: patience.clone(),
                url: url.clone(),
            },
            output,
        ))
    }

    /// Waits for the process and decides whether it ended well. The caller hands the output back, which proves that it was
    /// read to its end.
    ///
    /// # Errors
    /// Unless the status is 0, the output ended, and it ended like a whole dump.
    pub async fn finish(mut self, output: DumpOutput) -> Result<CleanExit, DumpError> {
        if !output.ended {
            self.stop().await;
            return Err(DumpError::NotRead);
        }
        let status = tokio::select! {
            status = self.program.wait() => status.map_err(|e| DumpError::Read(e.to_string()))?,
            () = tokio::time::sleep(self.patience.exit) => {
                let limit = self.patience.exit;
                self.stop().await;
                return Err(DumpError::Lingers(limit));
            }
        };
        let said = self.program.said().await;
        check_end(status, &output.script, &said, &self.url)
    }

    /// Stops it before its output ended.
    pub async fn stop(mut self) {
        self.program
            .stop(Signal::TERM, self.patience.terminate)
            .await;
    }
}

fn check_end(
    status: ExitStatus,
    script: &Script,
    said: &Said,
    url: &DatabaseUrl,
) -> Result<CleanExit, DumpError> {
    if let Some(signal) = status.signal() {
        let said = said.shown().to_owned();
        return Err(DumpError::Signal { signal, said });
    }
    match status.code() {
        // Whether the text ends inside of something is reported beside this. It is not decided here, since pg_dump knows
        // better.
        Some(0) if script.has_end() => Ok(CleanExit {
            contents: script.contents(),
        }),
        Some(0) => Err(DumpError::NotWhole {
            bytes: script.contents().bytes,
            said: said.shown().to_owned(),
            hint: format!(
                "nothing was stored; check that {} is valid and that BACKUP_OPTIONS leaves plain output on stdout",
                url.variable()
            ),
        }),
        code => {
            let status = code.unwrap_or(-1);
            Err(DumpError::Exit {
                status,
                said: PostgresError::of_pg_dump(said, script.contents().bytes > 0, url),
            })
        }
    }
}

impl DumpOutput {
    /// How many bytes came so far. It can be read while the output is being read elsewhere.
    #[must_use]
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    /// How long it may be left alone without having to wait.
    #[must_use]
    pub const fn pause(&self) -> Duration {
        self.pause
    }

    /// The text that was read so far.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.script.contents()
    }
}

impl Read for DumpOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.stdout.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let since = self.silent_since.get_or_insert_with(Instant::now);
                return Err(if since.elapsed() >= self.silence {
                    io::Error::other(DumpError::Silent(self.silence))
                } else {
                    error
                });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(io::Error::other(DumpError::Read(error.to_string()))),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        self.silent_since = None;
        self.ended = piece.is_empty() && !buffer.is_empty();
        self.script.read(piece);
        self.bytes
            .fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
        Ok(read)
    }
}

/// A pipe that can be read without waiting. With the usual size of 64 KiB, the two processes would take turns. If a container's
/// limit forbids a larger one, that only costs speed.
fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    if let Err(error) = fcntl_setpipe_size(&reader, 1 << 20) {
        tracing::debug!(%error, "pipe left at its default size");
    }
    Ok((reader, writer))
}

/// In this time, a dump at 1 GB/s fills half of a pipe of this size.
fn pause(pipe_bytes: usize) -> Duration {
    Duration::from_nanos(u64::try_from(pipe_bytes / 2).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As large as usual, as large as a pipe is by default, and as a user gets it who has too many of them.
    #[test]
    fn the_smaller_a_pipe_is_the_sooner_it_is_read_again() {
        for (pipe_bytes, microseconds) in [(1 << 20, 524), (1 << 16, 32), (8192, 4)] {
            assert_eq!(pause(pipe_bytes).as_micros(), microseconds);
        }
    }
}
