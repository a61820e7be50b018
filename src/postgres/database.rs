//! The sessions that this service itself has with a database. They are all made here, and all in the same way.
//!
//! The database is not trusted: its owner can put a function of any name into any of its schemas, and a session with the usual
//! search path would run it with this service's rights. So each question is asked in a read-only transaction with an empty
//! search path, in SQL in which every name has its schema, by a `psql` whose own commands are switched off. The length of the
//! answer is limited too.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;

use super::{Cause, Client, DatabaseUrl, PostgresError, Session, Sql, sqlstate};
use crate::fault::Kind;
use crate::process::running::Running;

/// The longest answer to one of our questions: the names of all roles and extensions of a large server.
const ANSWER_BYTES: u64 = 8 * 1024 * 1024;

/// How much is read of an answer to the user's own statement, which should be `t`.
const TRUTH_BYTES: u64 = 64 * 1024;

/// The memory that `psql` may use. It holds a whole answer before it prints it, and needs this much for the longest real one.
const PSQL_BYTES: u64 = 256 * 1024 * 1024;

/// A database, and how to talk to it.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    /// The programs that talk to it.
    pub client: &'a Client,
    /// Where the database is, and as which user to log in.
    pub url: &'a DatabaseUrl,
    /// How the session may be opened.
    pub session: Session,
}

/// A session that does nothing. It ends when it is dropped.
#[derive(Debug)]
pub struct Idle {
    // Fields are dropped in this order: the child is gone before its input is closed.
    psql: Running,
    _input: Option<ChildStdin>,
}

impl Idle {
    /// Ends the session, and waits until it has ended.
    pub async fn end(mut self) {
        self.psql.kill().await;
    }
}

impl Database<'_> {
    /// Opens a session that does nothing.
    ///
    /// # Errors
    /// When the session can't be opened.
    pub async fn stay(&self) -> Result<Idle, PostgresError> {
        const LIMIT: Duration = Duration::from_secs(60);
        let mut psql = self.start()?;
        let (mut input, output) = (psql.input(), psql.output());
        let script = [self.no_commands()?.as_bytes(), b"SELECT 1;\n".as_slice()].concat();
        let conversation = async {
            if let Some(input) = &mut input {
                input.write_all(&script).await?;
            }
            match output {
                Some(mut output) => output.read_u8().await,
                None => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        };
        let answered = tokio::select! {
            answered = conversation => answered.is_ok(),
            () = tokio::time::sleep(LIMIT) => false,
        };
        if answered {
            return Ok(Idle {
                psql,
                _input: input,
            });
        }
        psql.kill().await;
        Err(PostgresError::of_psql(
            &psql.said().await,
            Some(2),
            self.url,
        ))
    }

    /// Asks a question. Nothing is changed by it, whatever functions the database has in its schemas.
    ///
    /// # Errors
    /// What `psql` said, with its kind.
    pub async fn ask(&self, question: &Sql, limit: Duration) -> Result<String, PostgresError> {
        self.within(READ_ONLY, question, limit).await
    }

    /// Whether the database answers at all.
    pub async fn answers(&self, limit: Duration) -> bool {
        self.ask(&Sql::new("SELECT 1;"), limit).await.is_ok()
    }

    /// Changes something, in one transaction.
    ///
    /// # Errors
    /// What `psql` said, with its kind.
    pub async fn change(&self, statements: &Sql, limit: Duration) -> Result<String, PostgresError> {
        self.within(READ_WRITE, statements, limit).await
    }

    /// Runs statements within one transaction.
    async fn within(
        &self,
        begin: &'static str,
        statements: &Sql,
        limit: Duration,
    ) -> Result<String, PostgresError> {
        let end: &[u8] = b"\nCOMMIT;\n";
        let script = [begin.as_bytes(), statements.as_bytes(), end].concat();
        self.talk(&script, limit, ANSWER_BYTES).await
    }

    /// Runs statements that can't be in a transaction, such as `CREATE DATABASE`, each by itself. They name nothing that is
    /// looked up in the search path.
    ///
    /// # Errors
    /// What `psql` said, with its kind.
    pub async fn run(&self, statements: &Sql, limit: Duration) -> Result<String, PostgresError> {
        self.talk(statements.as_bytes(), limit, ANSWER_BYTES).await
    }

    /// Runs the user's own statement as the user would: with the database's own search path.
    ///
    /// # Errors
    /// What `psql` said, with its kind.
    pub async fn run_for_user(
        &self,
        statement: &str,
        limit: Duration,
    ) -> Result<String, PostgresError> {
        self.talk(statement.as_bytes(), limit, TRUTH_BYTES).await
    }

    /// Gives `psql` a script and returns what it prints: fields cut by tabs, rows by line ends.
    async fn talk(
        &self,
        script: &[u8],
        limit: Duration,
        most_bytes: u64,
    ) -> Result<String, PostgresError> {
        let script = [self.no_commands()?.as_bytes(), script].concat();
        let mut psql = self.start()?;
        let (input, output) = (psql.input(), psql.output());
        let conversation = async {
            let sent = async {
                // SQL goes through the pipe: every process on the machine can read a command line.
                if let Some(mut input) = input {
                    // A psql that ended early says why on stderr.
                    drop(input.write_all(&script).await);
                }
                Ok(())
            };
            let answered = async {
                match output {
                    Some(output) => read_at_most(output, most_bytes).await,
                    None => Ok(Vec::new()),
                }
            };
            // An answer that is too long is not read to its end, so psql would not end by itself.
            let (answer, ()) = tokio::try_join!(answered, sent)?;
            let status = psql.wait().await?;
            Ok::<_, std::io::Error>((answer, psql.said().await, status))
        };
        let (answer, said, status) = tokio::select! {
            outcome = conversation => match outcome {
                Ok(outcome) => outcome,
                Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                    return Err(self.too_long(most_bytes));
                }
                Err(error) => return Err(self.not_run(&error)),
            },
            () = tokio::time::sleep(limit) => {
                let said = "timeout expired: the server accepted the connection but did not answer";
                return Err(PostgresError::of(Cause::Unreachable, Kind::Connect, said, self.url));
            }
        };
        if status.success() {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
        let error = PostgresError::of_psql(&said, status.code(), self.url);
        let code = match error.cause {
            Cause::Refused => sqlstate::of_refusal(self.url).await,
            _ => None,
        };
        let error = match code {
            Some(code) => error.with_code(&code, self.url),
            None => error,
        };
        Err(error)
    }

    /// Starts a `psql` that reads a script from its standard input and stops at the first error.
    fn start(&self) -> Result<Running, PostgresError> {
        let mut command = self.client.command("psql", self.url, self.session);
        // Otherwise it would be the locale's encoding, which does not cover bytes beyond ASCII.
        command.env("PGCLIENTENCODING", self.url.answers_in());
        command.args(["-X", "-A", "-t", "-q", "-w", "-F", "\t"]);
        command.args(["-v", "ON_ERROR_STOP=1"]);
        command.args([
            "-d",
            &self.url.connection_string(self.client.major),
            "-f",
            "-",
        ]);
        // The verbose form has an error's code. Unlike the message, a code holds no names and is the same in every language.
        command.args(["-v", "VERBOSITY=verbose"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let psql = Running::start_silent(command, "psql", self.url.redactor())
            .map_err(|error| self.not_run(&error))?;
        psql.limit_memory(PSQL_BYTES);
        Ok(psql)
    }

    /// The line that switches off `psql`'s own commands, if this `psql` knows it.
    fn no_commands(&self) -> Result<String, PostgresError> {
        if !self.client.knows_restrict() {
            return Ok(String::new());
        }
        let key = random_key().map_err(|error| self.not_run(&error))?;
        Ok(format!("\\restrict {key}\n"))
    }

    fn not_run(&self, error: &std::io::Error) -> PostgresError {
        PostgresError::new(
            Kind::Internal,
            format!("could not run psql: {error}"),
            format!(
                "{} must be an executable psql",
                self.client.path("psql").display()
            ),
        )
    }

    fn too_long(&self, most_bytes: u64) -> PostgresError {
        PostgresError::new(
            Kind::Refused,
            format!("the answer is longer than {most_bytes} bytes and was not read"),
            format!(
                "find out what the database of {} has changed about this answer",
                self.url.variable()
            ),
        )
    }
}

/// Both settings end with this transaction, because behind a pooler the next session may be somebody else's. Backslashes in
/// quotes are read as in the SQL standard, whatever the database has set.
const READ_ONLY: &str = "BEGIN READ ONLY;\nSET LOCAL search_path TO '';\nSET LOCAL standard_conforming_strings TO on;\n";
const READ_WRITE: &str = "BEGIN READ WRITE;\nSET LOCAL search_path TO '';\nSET LOCAL standard_conforming_strings TO on;\n";

/// 128 random bits, in letters that have no special meaning to `psql`.
///
/// # Errors
/// When the system has no random numbers.
pub fn random_key() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    let mut key = String::new();
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ok = write!(key, "{byte:02x}");
    }
    Ok(key)
}

/// Reads a stream to its end, but at most this many bytes.
async fn read_at_most(stream: impl AsyncRead + Unpin, most_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let read = stream
        .take(most_bytes.saturating_add(1))
        .read_to_end(&mut answer)
        .await?;
    if u64::try_from(read).is_ok_and(|read| read > most_bytes) {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(answer)
}
