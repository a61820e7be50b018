//! A child program: it is started, its standard error is read, and it is waited for or stopped.

use std::future::pending;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

use super::said::{self, Said};
use crate::secret::Redactor;

/// How long to wait for the end of stderr after a program has ended: one of its own children can keep it open.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A program that runs. Dropping it kills the program.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    program: &'static str,
    /// Reads its stderr to the end: 64 KiB of unread warnings would make the program wait for ever.
    stderr: JoinSet<Said>,
}

impl Running {
    /// Starts a program and logs what it says on stderr. The caller decides about its stdin and its stdout.
    ///
    /// # Errors
    /// What the system answered.
    pub(crate) fn start(
        command: Command,
        program: &'static str,
        redactor: Redactor,
    ) -> io::Result<Self> {
        let mut running = Self::spawn(command, program)?;
        if let Some(stderr) = running.child.stderr.take() {
            running.stderr.spawn(said::relay(stderr, redactor, program));
        }
        Ok(running)
    }

    /// Starts a program and keeps what it says on stderr for [`Running::said`] only.
    ///
    /// # Errors
    /// What the system answered.
    pub(crate) fn start_silent(
        command: Command,
        program: &'static str,
        redactor: Redactor,
    ) -> io::Result<Self> {
        let mut running = Self::spawn(command, program)?;
        if let Some(stderr) = running.child.stderr.take() {
            running.stderr.spawn(said::keep(stderr, redactor));
        }
        Ok(running)
    }

    fn spawn(mut command: Command, program: &'static str) -> io::Result<Self> {
        command.stderr(Stdio::piped()).kill_on_drop(true);
        Ok(Self {
            child: command.spawn()?,
            program,
            stderr: JoinSet::new(),
        })
    }

    /// Its standard input, if that is a pipe and was not taken yet.
    pub(crate) const fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, if that is a pipe and was not taken yet.
    pub(crate) const fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Limits the memory that it may have for its data.
    pub(crate) fn limit_memory(&self, most_bytes: u64) {
        let limit = Rlimit {
            current: Some(most_bytes),
            maximum: Some(most_bytes),
        };
        if let Some(id) = id(&self.child)
            && let Err(error) = prlimit(Some(id), Resource::Data, limit)
        {
            tracing::debug!(%error, program = self.program, "could not limit the memory of a program");
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// What the system answered.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits until it ends, and kills it if that takes longer than `patience`. Returns `None` if it was killed.
    pub(crate) async fn end_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        end_within(&mut self.child, self.program, patience).await
    }

    /// Sends it a signal, and kills it if it lives on for longer than `patience`. Returns `None` if it was killed.
    pub(crate) async fn stop(&mut self, signal: Signal, patience: Duration) -> Option<ExitStatus> {
        stop(&mut self.child, self.program, signal, patience).await
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.end_within(Duration::ZERO).await;
    }

    /// The last lines of its stderr, once it has ended.
    pub(crate) async fn said(&mut self) -> Said {
        let said = async {
            match self.stderr.join_next().await {
                Some(said) => said.unwrap_or_default(),
                None => Said::default(),
            }
        };
        tokio::select! {
            said = said => said,
            () = tokio::time::sleep(LAST_WORDS) => Said::default(),
        }
    }
}

/// The process number of a child that has not been waited for. Afterwards, the number can belong to a stranger's process.
fn id(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
}

/// Sends a child a signal, and kills it if it lives on for longer than `patience`.
pub(super) async fn stop(
    child: &mut Child,
    program: &str,
    signal: Signal,
    patience: Duration,
) -> Option<ExitStatus> {
    if let Some(id) = id(child)
        && let Err(error) = kill_process(id, signal)
    {
        tracing::debug!(%error, program, "a program was gone before the signal");
    }
    end_within(child, program, patience).await
}

async fn end_within(child: &mut Child, program: &str, patience: Duration) -> Option<ExitStatus> {
    let ended = async {
        match child.wait().await {
            Ok(status) => status,
            Err(error) => {
                tracing::debug!(%error, program, "could not wait for a program");
                pending().await
            }
        }
    };
    tokio::select! {
        biased;
        status = ended => Some(status),
        () = tokio::time::sleep(patience) => {
            if let Err(error) = child.kill().await {
                tracing::warn!(program, %error, "could not kill a program");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Running::start_silent(command, "sh", Redactor::default()).unwrap()
    }

    /// Longer than any of these steps takes. A test that waits this long has failed.
    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_program_that_ends_by_itself_has_a_status_and_last_words() {
        let mut running = shell("echo first >&2; echo last >&2; exit 3");
        let status = running.end_within(LONG).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(running.said().await.shown(), "first\nlast");
    }

    #[tokio::test]
    async fn a_signal_comes_first_and_the_kill_after_the_patience() {
        use tokio::io::AsyncReadExt;

        let mut polite =
            shell("trap 'echo bye >&2; exit 4' TERM; echo ready; while :; do sleep 0.01; done");
        polite.output().unwrap().read_u8().await.unwrap();
        let status = polite.stop(Signal::TERM, LONG).await.unwrap();
        assert_eq!(status.code(), Some(4));
        assert_eq!(polite.said().await.shown(), "bye");

        let mut deaf = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        deaf.output().unwrap().read_u8().await.unwrap();
        assert_eq!(
            deaf.stop(Signal::TERM, Duration::from_millis(50)).await,
            None
        );
        assert_eq!(deaf.wait().await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_stderr_open_is_not_waited_for() {
        tokio::time::pause();
        let mut running = shell("sleep 600 & echo $! ; exit 0");
        let status = running.wait().await.unwrap();
        assert!(status.success());
        assert_eq!(running.said().await.shown(), "");
        let mut output = running.output().unwrap();
        let mut number = vec![0; 32];
        let read = tokio::io::AsyncReadExt::read(&mut output, &mut number)
            .await
            .unwrap();
        let number = String::from_utf8_lossy(&number[..read])
            .trim()
            .parse()
            .unwrap();
        kill_process(Pid::from_raw(number).unwrap(), Signal::KILL).unwrap();
    }
}
