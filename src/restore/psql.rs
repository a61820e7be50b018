//! `psql` in the middle of one transaction, and what became of that.

use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::RestoreError;
use super::walls::Walls;
use crate::postgres::{self, Database, PostgresError, Session, Sql};
use crate::reader::ReadWhole;
use crate::target::Survey;

/// What a failed restore left in the target, as far as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aftermath {
    /// The server says that the transaction was rolled back, and the target has the objects that it had.
    AsBefore,
    /// The transaction was rolled back, and the target does not have the objects that it had: somebody changed it in the
    /// meantime, or the backup's own statements did.
    Changed {
        /// How many objects it had.
        before: u64,
        /// How many it has.
        after: u64,
    },
    /// The server says that the transaction was committed, which this service did not ask for.
    Committed,
    /// The server could not be asked. It rolls back as soon as it notices that the client is gone.
    NotSeen,
}

impl fmt::Display for Aftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsBefore => f.write_str(
                "its transaction was rolled back, and the target has the same objects as before",
            ),
            Self::Changed { before, after } => write!(
                f,
                "its transaction was rolled back, but the target has changed: it had {before} objects and has {after}; look what is in it"
            ),
            Self::Committed => f.write_str(
                "a part of the backup IS COMMITTED in the target: the backup itself ended the transaction; look what is in it",
            ),
            Self::NotSeen => f.write_str(
                "no commit was sent, so the server rolls back when it notices that the client is gone; it could not be asked whether it has",
            ),
        }
    }
}

/// `psql` in the middle of one transaction. Dropped means killed.
///
/// It is not run with `--single-transaction`: it would take the end of its input for the end of the script and commit, and
/// a killed service closes the pipe. So `BEGIN` and `COMMIT` are part of the input, and without `COMMIT` the server rolls
/// back when `psql` goes.
pub(super) struct Psql<'a> {
    // Fields drop in this order: the child is gone before its input is closed.
    child: Child,
    stdin: ChildStdin,
    number: oneshot::Receiver<u64>,
    /// Reads the output, and says whether it held the line on the commit.
    reading: JoinSet<bool>,
    stderr: JoinSet<String>,
    database: Database<'a>,
    walls: Arc<Walls>,
    /// The transaction's number on the server, once it has begun.
    transaction: Option<u64>,
    name: String,
}

/// How long `psql` may take to end after it was killed, and the server to notice.
const ENDING: Duration = Duration::from_secs(10);

impl<'a> Psql<'a> {
    pub(super) fn start(database: Database<'a>) -> Result<Self, RestoreError> {
        let failed = |error: std::io::Error| RestoreError::Start(error.to_string());
        let walls = Arc::new(Walls::new().map_err(failed)?);
        let name = format!("postgres-s3-backups restore {:08x}", fastrand::u32(..));
        let mut command = database
            .client
            .command("psql", database.url, database.session);
        if database.session == Session::Guarded {
            let options = database.url.options(database.session);
            command.env(
                "PGOPTIONS",
                format!("{options} -c default_transaction_read_only=on"),
            );
        }
        command
            .env("PGAPPNAME", &name)
            .args(["-X", "-A", "-t", "-q", "-w", "-F", "\t"])
            .args(["-v", "ON_ERROR_STOP=1", "-v", "AUTOCOMMIT=off"])
            .args(["-d", &database.url.connection_string(), "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(RestoreError::Start("its input is not a pipe".to_owned()));
        };
        let (sender, number) = oneshot::channel();
        let mut reading = JoinSet::new();
        reading.spawn(read_answers(stdout, Arc::clone(&walls), sender));
        let mut tasks = JoinSet::new();
        tasks.spawn(postgres::relay(stderr, database.url.redactor(), "psql"));
        Ok(Self {
            child,
            stdin,
            number,
            reading,
            stderr: tasks,
            database,
            walls,
            transaction: None,
            name,
        })
    }

    /// Begins the transaction, with the walls around it; an error means that `psql` gave up.
    pub(super) async fn begin(&mut self) -> Result<(), ()> {
        let before = self.walls.before(self.database.session);
        self.write(&before).await?;
        self.transaction = Some((&mut self.number).await.map_err(|_| ())?);
        Ok(())
    }

    /// Hands it the next piece of the script; an error means that it is not reading any more.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), ()> {
        self.stdin.write_all(piece).await.map_err(|_| ())
    }

    /// Has it commit. Nothing else does, and only what the server says of the transaction afterwards counts.
    pub(super) async fn commit(
        mut self,
        _proof: ReadWhole,
        before: &Survey,
    ) -> Result<(), RestoreError> {
        let Some(transaction) = self.transaction else {
            return Err(RestoreError::Start("no transaction was begun".to_owned()));
        };
        let after = self.walls.after(self.database.session, transaction);
        // If psql has given up already, its status and its words tell. The end of the input ends it also where the text
        // ended inside a statement or inside rows, and swallowed this.
        drop(self.stdin.write_all(&after).await);
        drop(self.stdin);
        let status = self.child.wait().await;
        let said = said(&mut self.stderr).await;
        if matches!(self.reading.join_next().await, Some(Ok(true))) {
            return Ok(());
        }
        let stopped = self.walls.stopped(&said);
        let aftermath = aftermath(&self.database, &self.name, self.transaction, before).await;
        match (status, aftermath) {
            // The connection was lost after the commit, which this service did ask for.
            (Ok(status), Aftermath::Committed) if status.code() == Some(2) => Ok(()),
            (_, aftermath) if stopped => Err(RestoreError::Escape(aftermath)),
            (Ok(status), aftermath) if status.success() => Err(RestoreError::Unfinished(aftermath)),
            (Ok(status), aftermath) => Err(judge(status, &said, &self.database, aftermath)),
            (Err(error), _) => Err(RestoreError::Unknown(error.to_string())),
        }
    }

    /// Ends it before its input ends, and finds out what it said by itself, whether the walls stopped it, and what became of
    /// its transaction.
    pub(super) async fn kill(mut self, before: &Survey) -> (String, bool, Aftermath) {
        // A psql that ended by itself has said why; it gets a moment to.
        tokio::select! {
            _ = self.child.wait() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                if let Err(error) = self.child.kill().await {
                    tracing::warn!(%error, "could not kill psql");
                }
            }
        }
        drop(self.stdin);
        let said = said(&mut self.stderr).await;
        let stopped = self.walls.stopped(&said);
        let aftermath = aftermath(&self.database, &self.name, self.transaction, before).await;
        (said, stopped, aftermath)
    }
}

/// Reads to the end what `psql` prints, and picks out the two lines that are for this service. All else is the text's, and
/// must be read as well, or `psql` would wait.
async fn read_answers(
    stdout: ChildStdout,
    walls: Arc<Walls>,
    number: oneshot::Sender<u64>,
) -> bool {
    /// More than a line of ours has. Longer ones are read in pieces.
    const LINE_BYTES: u64 = 256;
    let mut number = Some(number);
    let mut committed = false;
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    let mut begins = true;
    loop {
        line.clear();
        let mut piece = (&mut reader).take(LINE_BYTES);
        if !matches!(piece.read_until(b'\n', &mut line).await, Ok(1..)) {
            return committed;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if begins {
            committed |= walls.is_committed(text);
            if let Some(found) = walls.number(text)
                && let Some(number) = number.take()
                && number.send(found).is_err()
            {
                return committed;
            }
        }
        begins = line.last() == Some(&b'\n');
    }
}

/// Sees to it that the server ends the session: a server at work on a long statement notices only later that its client is
/// gone, and holds the locks until then. Then asks what became of the transaction, and looks at the target.
async fn aftermath(
    database: &Database<'_>,
    name: &str,
    transaction: Option<u64>,
    before: &Survey,
) -> Aftermath {
    let sessions = Sql::new("SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE application_name OPERATOR(pg_catalog.=) ")
        .text(name)
        .sql(";");
    let deadline = Instant::now() + ENDING;
    loop {
        match database.ask(&sessions, ENDING).await {
            Ok(count) if count.trim() == "0" => break,
            Ok(_) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(_) | Err(_) => return Aftermath::NotSeen,
        }
    }
    if let Some(number) = transaction {
        let question = Sql::new("SELECT pg_catalog.txid_status(")
            .number(number)
            .sql(");");
        match database
            .ask(&question, ENDING)
            .await
            .as_deref()
            .map(str::trim)
        {
            Ok("aborted") => {}
            Ok("committed") => return Aftermath::Committed,
            _ => return Aftermath::NotSeen,
        }
    }
    match Survey::take(database).await {
        Ok(after) if after.has_objects_of(before) => Aftermath::AsBefore,
        Ok(after) => Aftermath::Changed {
            before: before.objects,
            after: after.objects,
        },
        Err(_) => Aftermath::NotSeen,
    }
}

async fn said(stderr: &mut JoinSet<String>) -> String {
    tokio::select! {
        said = stderr.join_next() => said.and_then(Result::ok).unwrap_or_default(),
        () = tokio::time::sleep(Duration::from_secs(5)) => String::new(),
    }
}

fn judge(
    status: ExitStatus,
    said: &str,
    database: &Database<'_>,
    aftermath: Aftermath,
) -> RestoreError {
    let error = psql_error(said, database);
    match (status.code(), aftermath) {
        // 2: the connection was lost. If the server can't be asked, nobody can say whether the commit arrived before.
        (Some(2), Aftermath::NotSeen) => RestoreError::Unknown(error.text),
        (None, Aftermath::NotSeen) => RestoreError::Unknown("psql was killed".to_owned()),
        (_, aftermath) => RestoreError::Psql(error, aftermath),
    }
}

/// What `psql` said, as an error.
pub(super) fn psql_error(said: &str, database: &Database<'_>) -> PostgresError {
    let mut error = PostgresError::from_psql(said, database.url);
    if error.text.is_empty() {
        "psql ended without a word".clone_into(&mut error.text);
    }
    error
}
