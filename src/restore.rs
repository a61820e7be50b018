//! A backup back into a database, in one transaction that is committed only after the object was read whole.

use std::future::Future;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kind::Kind;
use crate::postgres::{self, Client, Clients, DatabaseUrl, PostgresError, Session};
use crate::reader::{self, Found, Meter, ReadError, ReadWhole, Summary};
use crate::replay::Omit;
use crate::store::Store;
use crate::target::{self, Permits, Refusals, Survey};

/// What is restored, where to, and how.
#[derive(Debug)]
pub struct Restore {
    /// The bucket.
    pub store: Store,
    /// The object in it.
    pub found: Found,
    /// The database it goes into.
    pub target: DatabaseUrl,
    /// The database that is backed up, which is never written to unasked.
    pub source: Option<DatabaseUrl>,
    /// The client programs of this image.
    pub clients: Clients,
    /// What the operator allowed.
    pub permits: Permits,
    /// Whether the object is read to its end once before the target is touched.
    pub verify_first: bool,
    /// Whether the planner's statistics are collected at the end.
    pub analyze: bool,
    /// Whether the target is a drill's own scratch database, of which the drill tells.
    pub drill: bool,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What the stream held, and so what the target holds now.
    pub summary: Summary,
    /// The target's version.
    pub server_version: String,
    /// How long loading took, without the reading before it.
    pub took: Duration,
}

/// Why nothing was restored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not whole, or can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The target can't be asked.
    #[error("ask the target database: {0}")]
    Target(PostgresError),
    /// It would hurt, or can't work.
    #[error("{0}")]
    Refused(Refusals),
    /// The operator did not confirm that the target's content may go.
    #[error("not confirmed: everything in the database {0} would be replaced")]
    NotConfirmed(String),
    /// `psql` could not be run.
    #[error("run psql: {0}")]
    Start(String),
    /// The database refused a statement.
    #[error("{}{}", .0.text, rolled_back(*.1))]
    Psql(PostgresError, RolledBack),
    /// The connection broke off after everything was sent.
    #[error("the connection was lost during the commit: {0}")]
    Unknown(String),
    /// The service was told to stop.
    #[error("the restore was told to stop{}", rolled_back(*.0))]
    Cancelled(RolledBack),
}

/// Whether the server was seen to have ended the restore's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolledBack {
    /// The session is gone, and its transaction with it.
    Seen,
    /// The server could not be asked. It rolls back as soon as it notices that the client is gone.
    NotSeen,
}

const fn rolled_back(outcome: RolledBack) -> &'static str {
    match outcome {
        RolledBack::Seen => "; everything was rolled back, the target is as it was",
        RolledBack::NotSeen => {
            "; nothing was committed: the server rolls back when it notices that the client is gone"
        }
    }
}

impl RestoreError {
    /// The name of it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Target(error) | Self::Psql(error, _) => error.kind,
            Self::Refused(_) | Self::NotConfirmed(_) => Kind::Refused,
            Self::Start(_) => Kind::Internal,
            Self::Unknown(_) => Kind::Connect,
            Self::Cancelled(_) => Kind::Cancelled,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Read(error) => error.hint(),
            Self::Target(error) | Self::Psql(error, _) => &error.hint,
            Self::Refused(refusals) => refusals.hint(),
            Self::NotConfirmed(_) => "nothing was changed; the answer to the question must be yes",
            Self::Start(_) => "use this service's image, which holds psql",
            Self::Unknown(_) => {
                "look whether the target holds the tables: it has all of the backup or none of it"
            }
            Self::Cancelled(_) => "start it again when you are ready",
        }
    }
}

/// Restores. `confirm` is asked before content is replaced; it gets what is in the target.
///
/// # Errors
/// When nothing was restored; the target is as it was then.
pub async fn run<F: Future<Output = bool>>(
    restore: &Restore,
    confirm: impl FnOnce(Survey) -> F,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let prepared = tokio::select! {
        prepared = prepare(restore, meter) => prepared?,
        () = stop.cancelled() => return Err(RestoreError::Cancelled(RolledBack::Seen)),
    };
    if restore.permits.clean && prepared.survey.holds_something() {
        let confirmed = tokio::select! {
            confirmed = confirm(prepared.survey.clone()) => confirmed,
            () = stop.cancelled() => return Err(RestoreError::Cancelled(RolledBack::Seen)),
        };
        if !confirmed {
            return Err(RestoreError::NotConfirmed(
                restore.target.database().to_owned(),
            ));
        }
    }
    if !restore.drill {
        tracing::info!(
            name = restore.found.key,
            target_version = prepared.survey.version,
            client_version = prepared.client.version,
            database = restore.target.database(),
            clean = restore.permits.clean,
            "restore started"
        );
    }
    let began = Instant::now();
    let summary = load(restore, &prepared, meter, stop).await?;
    let took = began.elapsed();
    if restore.analyze {
        analyze(restore, &prepared, stop).await;
    }
    Ok(Restored {
        summary,
        server_version: prepared.survey.version,
        took,
    })
}

struct Prepared<'a> {
    survey: Survey,
    client: &'a Client,
    session: Session,
}

/// Finds out everything that can be found out before the first byte, and says all of it that stands in the way.
async fn prepare<'a>(
    restore: &'a Restore,
    meter: &Arc<Meter>,
) -> Result<Prepared<'a>, RestoreError> {
    let newest = restore.clients.newest().map_err(RestoreError::Target)?;
    let server = postgres::probe(newest, &restore.target)
        .await
        .map_err(RestoreError::Target)?;
    let client = restore
        .clients
        .choose(server.major, &server.version)
        .map_err(RestoreError::Target)?;
    let survey = Survey::take(client, &restore.target, server.session)
        .await
        .map_err(RestoreError::Target)?;
    let is_source = match &restore.source {
        Some(source) => is_source(restore, client, source, &survey).await,
        None => false,
    };
    // What stands in the way whatever the backup holds is said before the backup is read.
    let first = target::refusals(&survey, is_source, restore.permits, None);
    if !first.is_empty() {
        return Err(RestoreError::Refused(first));
    }
    let summary = if restore.verify_first {
        let read =
            reader::read(&restore.store, &restore.found, Omit::default(), None, meter).await?;
        tracing::info!(
            name = restore.found.key,
            rows = read.summary().contents.rows,
            tables = read.summary().contents.tables.len(),
            uncompressed_bytes = read.summary().contents.bytes,
            "backup read whole"
        );
        read.summary().clone()
    } else {
        reader::read_head(&restore.store, &restore.found).await?
    };
    let refusals = target::refusals(&survey, is_source, restore.permits, Some(&summary));
    if !refusals.is_empty() {
        return Err(RestoreError::Refused(refusals));
    }
    if summary
        .server_major()
        .is_some_and(|major| major > survey.major())
    {
        tracing::warn!(
            dumped_from = summary.dumped_from,
            target_version = survey.version,
            "the target is older than the server this came from; what it does not know will end the restore, with nothing changed"
        );
    }
    Ok(Prepared {
        survey,
        client,
        session: server.session,
    })
}

/// Whether the target is the database that is backed up: by address, or, under whatever address, by the server's identifier
/// and the database's number. A source that does not answer, which is when one restores, is compared by address only.
async fn is_source(
    restore: &Restore,
    client: &Client,
    source: &DatabaseUrl,
    survey: &Survey,
) -> bool {
    if source.is_same_place(&restore.target) {
        return true;
    }
    match target::identity(client, source).await {
        Ok(identity) => identity == survey.identity(),
        Err(error) => {
            tracing::warn!(error = %error, "the database of BACKUP_DATABASE_URL does not answer; it was compared with the target by address only");
            false
        }
    }
}

/// Streams the backup into `psql`. Whatever ends it early kills `psql` before its input is closed.
async fn load(
    restore: &Restore,
    prepared: &Prepared<'_>,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Summary, RestoreError> {
    let mut psql = Psql::start(prepared.client, &restore.target, prepared.session)?;
    let omit = Omit {
        owners: restore.permits.no_owner,
        privileges: restore.permits.no_privileges,
        transaction_timeout: prepared.survey.major() < 17,
    };
    let streamed = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Broken::Stopped),
        streamed = stream(restore, &mut psql, omit, meter) => streamed,
    };
    let broken = match streamed {
        Ok(proof) => {
            let summary = proof.summary().clone();
            return psql.commit(proof).await.map(|()| summary);
        }
        Err(broken) => broken,
    };
    let (said, rolled_back) = psql.kill().await;
    Err(match broken {
        Broken::Stopped => RestoreError::Cancelled(rolled_back),
        // psql that closes its input has a reason, and says it.
        Broken::Psql => RestoreError::Psql(psql_error(&said, &restore.target), rolled_back),
        Broken::Read(error) => {
            tracing::info!(
                rolled_back = rolled_back == RolledBack::Seen,
                "psql was stopped; nothing was committed"
            );
            RestoreError::Read(error)
        }
    })
}

/// What broke a stream off.
enum Broken {
    Stopped,
    Psql,
    Read(ReadError),
}

async fn stream(
    restore: &Restore,
    psql: &mut Psql,
    omit: Omit,
    meter: &Arc<Meter>,
) -> Result<ReadWhole, Broken> {
    psql.write(b"BEGIN;\n").await.map_err(|()| Broken::Psql)?;
    if restore.permits.clean {
        let script = target::CLEAN.as_bytes();
        psql.write(script).await.map_err(|()| Broken::Psql)?;
    }
    let (sender, mut pieces) = mpsc::channel::<Bytes>(2);
    let mut reading = Box::pin(reader::read(
        &restore.store,
        &restore.found,
        omit,
        Some(sender),
        meter,
    ));
    let mut outcome = None;
    loop {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some(piece) => psql.write(&piece).await.map_err(|()| Broken::Psql)?,
                // The reader hung up: its word is final.
                None => break,
            },
            done = &mut reading, if outcome.is_none() => outcome = Some(done),
        }
    }
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => reading.await,
    };
    outcome.map_err(Broken::Read)
}

/// `psql` in the middle of one transaction. Dropped means killed.
///
/// It is not run with `--single-transaction`: it would take the end of its input for the end of the script and commit, and
/// a killed service closes the pipe. So `BEGIN` and `COMMIT` are part of the input, and without `COMMIT` the server rolls
/// back when `psql` goes.
struct Psql {
    // Fields drop in this order: the child is gone before its input is closed.
    child: Child,
    stdin: ChildStdin,
    stderr: JoinSet<String>,
    client: Client,
    url: DatabaseUrl,
    session: Session,
    name: String,
}

/// How long `psql` may take to end after it was killed, and the server to notice.
const ENDING: Duration = Duration::from_secs(10);

impl Psql {
    fn start(client: &Client, url: &DatabaseUrl, session: Session) -> Result<Self, RestoreError> {
        let name = format!("postgres-s3-backups restore {:08x}", fastrand::u32(..));
        let mut command = client.command("psql", url, session);
        command
            .env("PGAPPNAME", &name)
            .args(["-X", "-q", "-w", "-v", "ON_ERROR_STOP=1"])
            .args(["-o", "/dev/null"])
            .args(["-d", &url.connection_string(), "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = RestoreError::Start;
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            return Err(failed("its input is not a pipe".to_owned()));
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(postgres::relay(stderr, url.redactor(), "psql"));
        Ok(Self {
            child,
            stdin,
            stderr: tasks,
            client: client.clone(),
            url: url.clone(),
            session,
            name,
        })
    }

    /// Hands it the next piece of the script; an error means that it is not reading any more.
    async fn write(&mut self, piece: &[u8]) -> Result<(), ()> {
        self.stdin.write_all(piece).await.map_err(|_| ())
    }

    /// Has it commit. Nothing else does.
    async fn commit(self, _proof: ReadWhole) -> Result<(), RestoreError> {
        let Self {
            mut child,
            mut stdin,
            mut stderr,
            url,
            ..
        } = self;
        // If psql has given up already, its status and its words tell.
        drop(stdin.write_all(b"COMMIT;\n").await);
        drop(stdin);
        let status = child
            .wait()
            .await
            .map_err(|error| RestoreError::Unknown(error.to_string()))?;
        let said = said(&mut stderr).await;
        judge(status, &said, &url)
    }

    /// Ends it before its input ends, and sees to it that the server ends the session too: a server at work on a long
    /// statement notices only later that its client is gone, and holds the locks until then.
    async fn kill(mut self) -> (String, RolledBack) {
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
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{}'",
            self.name
        );
        let deadline = Instant::now() + ENDING;
        loop {
            match postgres::query(&self.client, &self.url, self.session, &sql, ENDING).await {
                Ok(count) if count.trim() == "0" => return (said, RolledBack::Seen),
                Ok(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(_) | Err(_) => return (said, RolledBack::NotSeen),
            }
        }
    }
}

async fn said(stderr: &mut JoinSet<String>) -> String {
    tokio::select! {
        said = stderr.join_next() => said.and_then(Result::ok).unwrap_or_default(),
        () = tokio::time::sleep(Duration::from_secs(5)) => String::new(),
    }
}

fn judge(status: ExitStatus, said: &str, url: &DatabaseUrl) -> Result<(), RestoreError> {
    match status.code() {
        Some(0) => Ok(()),
        // 2: the connection was lost. Nobody can say whether the commit arrived before.
        Some(2) => Err(RestoreError::Unknown(psql_error(said, url).text)),
        Some(_) => Err(RestoreError::Psql(psql_error(said, url), RolledBack::Seen)),
        None => Err(RestoreError::Unknown("psql was killed".to_owned())),
    }
}

fn psql_error(said: &str, url: &DatabaseUrl) -> PostgresError {
    let mut error = PostgresError::from_psql(said, url);
    if error.text.is_empty() {
        "psql ended without a word".clone_into(&mut error.text);
    }
    error
}

/// A database without statistics answers its first queries slowly. What is restored stays restored if this fails.
async fn analyze(restore: &Restore, prepared: &Prepared<'_>, stop: &CancellationToken) {
    const LIMIT: Duration = Duration::from_secs(6 * 3600);
    let analyzed = tokio::select! {
        analyzed = postgres::query(prepared.client, &restore.target, prepared.session, "ANALYZE", LIMIT) => analyzed,
        () = stop.cancelled() => {
            tracing::warn!(hint = "run ANALYZE in the restored database", "ANALYZE was stopped; the restore itself is done");
            return;
        }
    };
    match analyzed {
        Ok(_) => tracing::info!("statistics collected"),
        Err(error) => {
            tracing::warn!(error = %error, hint = "run ANALYZE in the restored database", "could not collect statistics; the restore itself is done");
        }
    }
}
