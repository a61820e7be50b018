//! `psql` in the middle of one transaction, and what became of that.

use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::walls::{Transaction, Walls};
use super::{RestoreError, cause};
use crate::postgres::{self, Database, Said, Sql};
use crate::process::running::Running;
use crate::reader::ReadWhole;
use crate::restore::target::Survey;

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
    /// No database was made yet.
    Untouched,
    /// The database that the restore had made is gone, and nothing else was touched.
    Dropped,
    /// The database that the restore had made could not be dropped.
    Left(String),
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
            Self::Untouched => f.write_str("nothing was touched"),
            Self::Dropped => {
                f.write_str("the new database was dropped, and nothing else was touched")
            }
            Self::Left(name) => write!(
                f,
                "nothing but the new database was touched, and that could not be dropped: the next restore --create drops {name}"
            ),
            Self::NotSeen => f.write_str(
                "the server could not be asked what became of the transaction; it rolls back what was not committed when it notices that the client is gone",
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
    // Fields are dropped in this order: the program is gone before its input is closed.
    running: Running,
    stdin: ChildStdin,
    begun: oneshot::Receiver<Transaction>,
    /// Reads the output, and says whether it held the line on the commit.
    reading: JoinSet<bool>,
    /// Whether all of the text is done and the transaction was still open then, so that the commit is this service's.
    asked: Arc<AtomicBool>,
    database: Database<'a>,
    walls: Arc<Walls>,
    /// The transaction, once it has begun.
    transaction: Option<Transaction>,
    name: String,
}

/// What became of a `psql` that was ended early.
pub(super) struct Killed {
    /// What it said.
    pub(super) said: Said,
    /// Its exit status, if it ended by itself.
    pub(super) status: Option<i32>,
    /// Whether the walls stopped it.
    pub(super) escaped: bool,
    /// What it left in the target.
    pub(super) aftermath: Aftermath,
}

/// The longest statement and the longest value have a gigabyte each, and `psql` holds either more than once. Without a limit
/// a backup could have it hold the answer to any query.
const PSQL_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// How long `psql` may take to end after it was killed, and the server to notice.
const ENDING: Duration = Duration::from_secs(10);

/// A `psql` that reads its script from a pipe, just started.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
}

impl Started {
    /// Starts it under this `application_name`.
    pub(super) fn new(
        database: &Database<'_>,
        name: &str,
        autocommit: bool,
    ) -> Result<Self, RestoreError> {
        let mut command = database
            .client
            .command("psql", database.url, database.session);
        command
            .env("PGAPPNAME", name)
            .args(["-X", "-A", "-t", "-q", "-w", "-F", "\t"])
            .args(["-v", "ON_ERROR_STOP=1", "-v"])
            .arg(if autocommit {
                "AUTOCOMMIT=on"
            } else {
                "AUTOCOMMIT=off"
            })
            // With the code of an error, which says more than words that can hold a table's name.
            .args(["-v", "VERBOSITY=verbose"])
            .args([
                "-d",
                &database.url.connection_string(database.client.major),
                "-f",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = Running::start(command, "psql", database.url.redactor())
            .map_err(|error| RestoreError::Start(error.to_string()))?;
        running.limit_memory(PSQL_BYTES);
        let (Some(stdin), Some(stdout)) = (running.input(), running.output()) else {
            return Err(RestoreError::Start("its input is not a pipe".to_owned()));
        };
        Ok(Self {
            running,
            stdin,
            stdout,
        })
    }
}

/// Ends a `psql` before its input ended. One that has ended by itself gets a moment to say why: then it has a status.
pub(super) async fn end(psql: &mut Running) -> Option<i32> {
    const MOMENT: Duration = Duration::from_millis(200);
    psql.end_within(MOMENT).await?.code()
}

impl<'a> Psql<'a> {
    pub(super) fn start(database: Database<'a>) -> Result<Self, RestoreError> {
        let failed = |error: std::io::Error| RestoreError::Start(error.to_string());
        let walls = Arc::new(Walls::new().map_err(failed)?);
        let name = format!("postgres-s3-backups restore {:08x}", fastrand::u32(..));
        let Started {
            running,
            stdin,
            stdout,
        } = Started::new(&database, &name, false)?;
        let (sender, begun) = oneshot::channel();
        let mut reading = JoinSet::new();
        let asked = Arc::new(AtomicBool::new(false));
        reading.spawn(read_answers(
            stdout,
            Arc::clone(&walls),
            sender,
            Arc::clone(&asked),
        ));
        Ok(Self {
            running,
            stdin,
            begun,
            reading,
            asked,
            database,
            walls,
            transaction: None,
            name,
        })
    }

    /// Begins the transaction, with the walls around it; an error means that `psql` gave up.
    pub(super) async fn begin(&mut self) -> Result<(), ()> {
        let before = self.walls.before();
        self.write(&before).await?;
        self.transaction = Some((&mut self.begun).await.map_err(|_| ())?);
        Ok(())
    }

    /// Hands it the next piece of the script; an error means that it is not reading any more.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), ()> {
        self.stdin.write_all(piece).await.map_err(|_| ())
    }

    /// Where the text goes.
    pub(super) const fn input(&mut self) -> &mut ChildStdin {
        &mut self.stdin
    }

    /// Has it commit. Nothing else does, and only what the server says of the transaction afterwards counts.
    pub(super) async fn commit(
        mut self,
        _proof: ReadWhole,
        before: &Survey,
        stop: &CancellationToken,
    ) -> Result<(), RestoreError> {
        let Some(transaction) = self.transaction.clone() else {
            return Err(RestoreError::Start("no transaction was begun".to_owned()));
        };
        let after = self.walls.after(transaction.number);
        let asked = Arc::clone(&self.asked);
        let mut stdin = self.stdin;
        let mut work = Box::pin(async {
            // If psql has given up already, its status and its words tell. The end of the input ends it also where the text
            // ended inside a statement or inside rows, and swallowed this.
            drop(stdin.write_all(&after).await);
            drop(stdin);
            self.running.wait().await
        });
        // Statements of the text may run for hours yet. Once the commit is asked for, only its outcome counts.
        let status = tokio::select! {
            status = &mut work => Some(status),
            () = stop.cancelled(), if !asked.load(Ordering::Acquire) => None,
        };
        let status = match status {
            None if asked.load(Ordering::Acquire) => Some((&mut work).await),
            status => status,
        };
        drop(work);
        let Some(status) = status else {
            self.running.kill().await;
            let aftermath = aftermath(
                &self.database,
                &self.name,
                self.transaction.as_ref(),
                before,
            )
            .await;
            return match aftermath {
                Aftermath::Committed if asked.load(Ordering::Acquire) => Ok(()),
                aftermath => Err(RestoreError::Cancelled(aftermath)),
            };
        };
        let said = self.running.said().await;
        let printed = matches!(self.reading.join_next().await, Some(Ok(true)));
        // What psql printed may be the text's own doing. Only the server's word counts, and it is asked until it has one.
        if printed && outcome(&self.database, &transaction).await == Some(true) {
            return Ok(());
        }
        let stopped = self.walls.stopped(said.raw());
        let aftermath = aftermath(
            &self.database,
            &self.name,
            self.transaction.as_ref(),
            before,
        )
        .await;
        match (status, aftermath) {
            // The connection was lost after the commit, which this service did ask for.
            (_, Aftermath::Committed) if asked.load(Ordering::Acquire) => Ok(()),
            (_, aftermath) if stopped => Err(RestoreError::Escape(aftermath)),
            (_, Aftermath::NotSeen) if printed => Err(RestoreError::Unknown(
                "psql reported the commit, but the server could not be asked whether that is true"
                    .to_owned(),
            )),
            (Ok(status), aftermath) if status.success() => Err(RestoreError::Unfinished(aftermath)),
            // The connection was lost while it committed, or before: what was not asked for did not happen.
            (Ok(status), aftermath) => Err(explain_end(
                status,
                &said,
                aftermath,
                asked.load(Ordering::Acquire),
            )),
            (Err(error), _) => Err(RestoreError::Unknown(error.to_string())),
        }
    }

    /// Ends it before its input ends, and finds out why it ended if it did by itself, and what became of its transaction.
    pub(super) async fn kill(mut self, before: &Survey) -> Killed {
        let status = end(&mut self.running).await;
        drop(self.stdin);
        let said = self.running.said().await;
        let escaped = self.walls.stopped(said.raw());
        let aftermath = aftermath(
            &self.database,
            &self.name,
            self.transaction.as_ref(),
            before,
        )
        .await;
        Killed {
            said,
            status,
            escaped,
            aftermath,
        }
    }
}

/// Reads to the end what `psql` prints, and picks out the two lines that are for this service. All else is the text's, and
/// must be read as well, or `psql` would wait.
async fn read_answers(
    stdout: ChildStdout,
    walls: Arc<Walls>,
    begun: oneshot::Sender<Transaction>,
    asked: Arc<AtomicBool>,
) -> bool {
    /// More than a line of ours has. Longer ones are read in pieces.
    const LINE_BYTES: u64 = 256;
    let mut begun = Some(begun);
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
            if walls.is_asked(text) {
                asked.store(true, Ordering::Release);
            }
            if let Some(transaction) = walls.begun(text)
                && let Some(begun) = begun.take()
                && begun.send(transaction).is_err()
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
    transaction: Option<&Transaction>,
    before: &Survey,
) -> Aftermath {
    let sessions = Sql::new(
        "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE ",
    );
    // Before the transaction began, none of the text was there, which could change the name.
    let sessions = match transaction {
        Some(transaction) => sessions
            .sql("pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND pid OPERATOR(pg_catalog.=) ")
            .number(transaction.process)
            .sql(" AND pg_catalog.date_part('epoch', backend_start)::pg_catalog.text OPERATOR(pg_catalog.=) ")
            .text(&transaction.since),
        None => sessions
            .sql("application_name OPERATOR(pg_catalog.=) ")
            .text(name),
    };
    let sessions = sessions.sql(";");
    let deadline = Instant::now() + ENDING;
    loop {
        match database.ask(&sessions, ENDING).await {
            Ok(count) if count.trim() == "0" => break,
            // A server that crashed is back within seconds.
            Ok(_) | Err(_) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(_) | Err(_) => return Aftermath::NotSeen,
        }
    }
    if let Some(transaction) = transaction {
        match outcome(database, transaction).await {
            Some(false) => {}
            Some(true) => return Aftermath::Committed,
            None => return Aftermath::NotSeen,
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

/// Whether the server has committed a transaction whose session has ended; none if it can't be asked, or does not know yet.
async fn is_committed(database: &Database<'_>, transaction: &Transaction) -> Option<bool> {
    // A server that crashed can have forgotten that it gave the number away, if the transaction wrote little and never ended:
    // then the number lies ahead, and asking for its status is an error.
    let question = Sql::new("SELECT CASE WHEN ")
        .number(transaction.number)
        .sql(" OPERATOR(pg_catalog.>=) pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) THEN 'aborted' ELSE pg_catalog.txid_status(")
        .number(transaction.number)
        .sql(") END;");
    match database.ask(&question, ENDING).await.ok()?.trim() {
        "committed" => Some(true),
        "aborted" => Some(false),
        _ => None,
    }
}

/// The same, asked until the server knows, or for a while.
async fn outcome(database: &Database<'_>, transaction: &Transaction) -> Option<bool> {
    let deadline = Instant::now() + ENDING;
    loop {
        let known = is_committed(database, transaction).await;
        if known.is_some() || Instant::now() >= deadline {
            return known;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Why `psql` ended, of which it is known whether the commit was asked for.
fn explain_end(status: ExitStatus, said: &Said, aftermath: Aftermath, asked: bool) -> RestoreError {
    match (status.code(), aftermath) {
        // 2: the connection was lost. If the server can't be asked, nobody can say whether the commit arrived before.
        (Some(2), Aftermath::NotSeen) if asked => RestoreError::Unknown(cause::of_psql(said).text),
        (None, Aftermath::NotSeen) if asked => RestoreError::Unknown("psql was killed".to_owned()),
        (_, aftermath) => ended(said, status.code(), aftermath),
    }
}

/// What a `psql` that gave up said, as an error: the backup's, or the server's that could not go on.
pub(super) fn ended(said: &Said, status: Option<i32>, aftermath: Aftermath) -> RestoreError {
    let mut error = cause::of_psql(said);
    if error.text.is_empty() {
        "psql ended without a word".clone_into(&mut error.text);
    }
    // A lost connection, what the server is short of, an administrator's word, the system's, a deadlock or a lock of
    // somebody else's, and a right that the user lacks.
    const SERVERS: [&str; 7] = ["08", "53", "57", "58", "40", "55P03", "42501"];
    let is_servers = |code: &str| SERVERS.iter().any(|class| code.starts_with(class));
    // 2: the connection to the server went bad. 1: psql itself could not go on, for want of memory. None: a signal ended it.
    // An error of a statement is 3.
    let code = postgres::last_error(said.raw()).map(|(code, _)| code);
    if status != Some(3) || code.is_some_and(is_servers) {
        RestoreError::Server(error, aftermath)
    } else {
        RestoreError::Psql(error, aftermath)
    }
}
