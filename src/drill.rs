//! Proof that a backup can be restored: by restoring it, into a scratch database that is dropped afterwards.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup;
use crate::embedded::{Embedded, EmbeddedError};
use crate::kind::Kind;
use crate::postgres::{self, Client, Clients, DatabaseUrl, PostgresError, Session};
use crate::reader::{self, Found, Meter, ReadError, ReadWhole, Summary};
use crate::replay::Omit;
use crate::restore::{self, Restore, RestoreError};
use crate::script::{Script, TableName};
use crate::store::Store;
use crate::target::{Permits, Survey};

/// Where a backup is proven.
#[derive(Debug, Clone)]
pub enum DrillServer {
    /// On a throwaway server of the backup's own major version, made of this image's programs.
    Embedded,
    /// In a scratch database of the server that this URL names; its own database is only used to connect to.
    At(DatabaseUrl),
}

/// Where backups are proven, and how; the same for all of them.
#[derive(Debug, Clone)]
pub struct Drill {
    /// The bucket.
    pub store: Store,
    /// Where.
    pub server: DrillServer,
    /// The programs of this image.
    pub clients: Clients,
    /// The user's own check: every statement must return true.
    pub sql: Option<String>,
    /// Where a throwaway server may put its files.
    pub temporary: PathBuf,
    /// The most that it may take.
    pub timeout: Duration,
}

/// A backup that was restored and found to hold what was dumped.
#[derive(Debug, Clone)]
pub struct Proven {
    /// What it holds.
    pub summary: Summary,
    /// The version of the server it was restored on.
    pub server_version: String,
    /// How many tables were counted row by row.
    pub tables_compared: usize,
    /// How many statements of the user's own check returned true.
    pub checks_passed: usize,
    /// How long it took, the reading included.
    pub took: Duration,
}

/// Why a backup is not proven.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DrillError {
    /// It is not whole, or can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The server that it was to be restored on can't be used.
    #[error("use the drill's server: {0}")]
    Server(PostgresError),
    /// The throwaway server can't be had.
    #[error("{0}")]
    Embedded(#[from] EmbeddedError),
    /// It could not be restored.
    #[error("restore into the scratch database: {0}")]
    Restore(RestoreError),
    /// It was restored, and something is not as it was dumped.
    #[error("restored, but not what was dumped: {0}")]
    Unequal(String),
    /// The user's own check did not return true.
    #[error("VERIFY_SQL: statement {number} {outcome}")]
    Check {
        /// Which one, counted from 1.
        number: usize,
        /// What it did instead.
        outcome: String,
    },
    /// It took too long.
    #[error("the drill took longer than BACKUP_TIMEOUT ({} s)", .0.as_secs())]
    Deadline(Duration),
    /// The service was told to stop.
    #[error("the drill was told to stop")]
    Cancelled,
}

impl DrillError {
    /// The name of it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Server(error) => error.kind,
            Self::Embedded(error) => error.kind(),
            Self::Restore(error) => error.kind(),
            Self::Unequal(_) | Self::Check { .. } => Kind::Unproven,
            Self::Deadline(_) => Kind::Deadline,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Read(error) => error.hint(),
            Self::Server(error) => &error.hint,
            Self::Embedded(error) => error.hint(),
            Self::Restore(error) => error.hint(),
            Self::Unequal(_) => {
                "do not rely on this backup; restore it by hand and compare, and look for triggers, rules or extensions that change rows as they are loaded"
            }
            Self::Check { .. } => {
                "run the statement against the source; if it is true there, do not rely on this backup"
            }
            Self::Deadline(_) => "use a faster server for drills, or raise BACKUP_TIMEOUT",
            Self::Cancelled => "nothing is left behind but what the next drill drops",
        }
    }
}

/// What scratch databases are called; a drill drops those of others that nobody is connected to.
const SCRATCH: &str = "psb_drill_";

/// How long a question about a catalog may take, and making or dropping a database.
const LIMIT: Duration = Duration::from_secs(300);

/// Proves the backup of that name: reads it whole, restores it, counts every table, looks at constraints and indexes, and asks what the
/// user wants asked. The scratch database is dropped whatever happens.
///
/// # Errors
/// When the backup is not proven.
pub async fn run(
    drill: &Drill,
    name: &str,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Proven, DrillError> {
    let began = Instant::now();
    // What is under way ends in an orderly manner when this is cancelled: databases are dropped, servers stopped.
    let ending = stop.child_token();
    let mut work = Box::pin(work(drill, name, meter, &ending));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = tokio::time::sleep(drill.timeout) => {
            ending.cancel();
            match work.await {
                Err(DrillError::Cancelled) => Err(DrillError::Deadline(drill.timeout)),
                outcome => outcome,
            }
        }
    };
    outcome.map(|proven| Proven {
        took: began.elapsed(),
        ..proven
    })
}

/// A backup that was read whole.
struct Whole {
    found: Found,
    read: ReadWhole,
}

async fn work(
    drill: &Drill,
    name: &str,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Proven, DrillError> {
    let read_whole = async {
        let found = Found::look_up(&drill.store, name).await?;
        let read = reader::read(&drill.store, &found, Omit::default(), None, meter).await?;
        Ok::<_, ReadError>(Whole { found, read })
    };
    let whole = tokio::select! {
        whole = read_whole => whole?,
        () = stop.cancelled() => return Err(DrillError::Cancelled),
    };
    match &drill.server {
        DrillServer::At(url) => prove(drill, url, &whole, meter, stop).await,
        DrillServer::Embedded => {
            let started = tokio::select! {
                started = Embedded::start(&drill.clients, whole.read.summary(), &drill.temporary) => started,
                () = stop.cancelled() => return Err(DrillError::Cancelled),
            };
            let server = started?;
            let outcome = prove(drill, server.url(), &whole, meter, stop).await;
            server.stop().await;
            outcome
        }
    }
}

async fn prove(
    drill: &Drill,
    url: &DatabaseUrl,
    whole: &Whole,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<Proven, DrillError> {
    let summary = whole.read.summary();
    let newest = drill.clients.newest().map_err(DrillError::Server)?;
    let server = postgres::probe(newest, url)
        .await
        .map_err(DrillError::Server)?;
    let client = drill
        .clients
        .choose(server.major, &server.version)
        .map_err(DrillError::Server)?;
    let place = Place {
        client,
        url,
        session: server.session,
    };
    place.sweep().await;
    let scratch = place.create(summary).await.map_err(DrillError::Server)?;
    let outcome = tokio::select! {
        outcome = fill_and_compare(drill, &place, &scratch, whole, meter, stop) => outcome,
        // The restore within ends by itself when it is told to stop; what runs after it only asks.
        () = after(stop, Duration::from_secs(15)) => Err(DrillError::Cancelled),
    };
    scratch.drop_from(&place).await;
    let (tables_compared, checks_passed) = outcome?;
    Ok(Proven {
        summary: summary.clone(),
        server_version: server.version,
        tables_compared,
        checks_passed,
        took: Duration::ZERO,
    })
}

async fn after(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

async fn fill_and_compare(
    drill: &Drill,
    place: &Place<'_>,
    scratch: &Scratch,
    whole: &Whole,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) -> Result<(usize, usize), DrillError> {
    let survey = Survey::take(place.client, &scratch.url, place.session)
        .await
        .map_err(DrillError::Server)?;
    // Whoever owned something where it came from need not exist where it is proven.
    let strangers = !whole.read.summary().needs.roles.is_subset(&survey.roles);
    let restore = Restore {
        store: drill.store.clone(),
        found: whole.found.clone(),
        target: scratch.url.clone(),
        source: None,
        clients: drill.clients.clone(),
        permits: Permits {
            no_owner: strangers,
            no_privileges: strangers,
            ..Permits::default()
        },
        verify_first: false,
        analyze: false,
        drill: true,
    };
    let restored = restore::run(&restore, |_| async { false }, meter, stop).await;
    let restored = restored.map_err(|error| match error {
        RestoreError::Cancelled(_) => DrillError::Cancelled,
        error => DrillError::Restore(error),
    })?;
    tracing::info!(
        name = whole.found.key,
        duration_seconds = backup::seconds(restored.took),
        "restored, comparing"
    );
    let compared = tokio::select! {
        compared = compare(place, scratch, &restored.summary) => compared?,
        () = stop.cancelled() => return Err(DrillError::Cancelled),
    };
    let passed = match &drill.sql {
        Some(sql) => tokio::select! {
            passed = check(drill, place, scratch, sql) => passed?,
            () = stop.cancelled() => return Err(DrillError::Cancelled),
        },
        None => 0,
    };
    Ok((compared, passed))
}

/// Counts every table and compares with what the stream held; then every constraint must be valid, and every index.
async fn compare(
    place: &Place<'_>,
    scratch: &Scratch,
    summary: &Summary,
) -> Result<usize, DrillError> {
    let mut differences = Vec::new();
    let encoding = summary.needs.encoding.as_deref();
    let tables: Vec<(&TableName, u64)> = summary
        .contents
        .tables
        .iter()
        .map(|(name, rows)| (name, *rows))
        .collect();
    let mut compared: usize = 0;
    // In pieces, so that a database of many tables makes no statement of many megabytes.
    for tables in tables.chunks(500) {
        let kinds = scratch.ask(place, kinds_question(tables, encoding)).await?;
        let question = counts_question(tables, &kinds, encoding);
        let counts = scratch.ask(place, question).await?;
        for line in counts.lines() {
            let mut fields = line.split('\t');
            let (Some(index), Some(count)) = (fields.next(), fields.next()) else {
                continue;
            };
            let table = index.parse::<usize>().ok().and_then(|at| tables.get(at));
            if let (Some((name, rows)), Ok(count)) = (table, count.parse::<u64>()) {
                compared = compared.saturating_add(1);
                if count != *rows {
                    differences.push(format!("{name} holds {count} rows, {rows} were dumped"));
                }
            }
        }
    }
    let unchecked = scratch.ask(place, UNCHECKED_CONSTRAINTS).await?;
    let found = u64::try_from(unchecked.lines().count()).unwrap_or(u64::MAX);
    if found > summary.unchecked_constraints {
        let names: Vec<&str> = unchecked.lines().collect();
        differences.push(format!(
            "constraints that are not valid: {}",
            names.join(", ")
        ));
    }
    let invalid = scratch.ask(place, INVALID_INDEXES).await?;
    if !invalid.trim().is_empty() {
        let names: Vec<&str> = invalid.lines().collect();
        differences.push(format!("indexes that are not valid: {}", names.join(", ")));
    }
    if differences.is_empty() {
        return Ok(compared);
    }
    let more = differences.len().saturating_sub(10);
    differences.truncate(10);
    let mut text = differences.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    Err(DrillError::Unequal(text))
}

/// A constraint that is not enforced at all (18) can't be valid.
const UNCHECKED_CONSTRAINTS: &str = "SELECT conrelid::regclass || '.' || quote_ident(conname) FROM pg_catalog.pg_constraint c WHERE NOT convalidated AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false' ORDER BY 1;";

/// The index of a partitioned table is a mere parent, and counts as invalid while a partition lacks its part.
const INVALID_INDEXES: &str = "SELECT indexrelid::regclass FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid AND relkind = 'i' ORDER BY 1;";

/// Which of these tables are partitioned, and which belong to an extension, whose rows need not be the dump's alone.
fn kinds_question(tables: &[(&TableName, u64)], encoding: Option<&str>) -> Vec<u8> {
    let mut question = in_encoding(encoding);
    question.extend_from_slice(b"SELECT at, relkind, EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::regclass AND objid = t AND deptype = 'e') FROM (VALUES ");
    for (at, (name, _)) in tables.iter().enumerate() {
        if at > 0 {
            question.extend_from_slice(b", ");
        }
        question.extend_from_slice(format!("({at}, '").as_bytes());
        for byte in name.as_bytes() {
            question.push(*byte);
            if *byte == b'\'' {
                question.push(b'\'');
            }
        }
        question.extend_from_slice(b"'::regclass)");
    }
    question.extend_from_slice(b") AS v (at, t) JOIN pg_catalog.pg_class ON pg_class.oid = t;");
    question
}

/// One `SELECT` a table. A parent's own rows are meant, not its children's; a partitioned table has none of its own.
fn counts_question(tables: &[(&TableName, u64)], kinds: &str, encoding: Option<&str>) -> Vec<u8> {
    let mut question = in_encoding(encoding);
    for line in kinds.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [at, kind, "f"] = fields.as_slice() else {
            continue;
        };
        let only = if *kind == "p" { "" } else { "ONLY " };
        if let Some((name, _)) = at.parse::<usize>().ok().and_then(|at| tables.get(at)) {
            question.extend_from_slice(format!("SELECT {at}, count(*) FROM {only}").as_bytes());
            question.extend_from_slice(name.as_bytes());
            question.extend_from_slice(b";\n");
        }
    }
    question
}

/// Names are spelled as the dump spells them, so the question is asked in the dump's encoding.
fn in_encoding(encoding: Option<&str>) -> Vec<u8> {
    let encoding = encoding.filter(|name| is_plain(name)).unwrap_or("UTF8");
    format!("SET standard_conforming_strings = on; SET client_encoding = '{encoding}';\n").into()
}

/// Whether this can be the name of an encoding.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Runs the user's own statements, each by itself.
async fn check(
    drill: &Drill,
    place: &Place<'_>,
    scratch: &Scratch,
    sql: &str,
) -> Result<usize, DrillError> {
    let statements = statements(sql);
    for (number, statement) in (1..).zip(&statements) {
        let answer = postgres::query(
            place.client,
            &scratch.url,
            place.session,
            statement,
            drill.timeout,
        )
        .await;
        let outcome = match answer {
            Ok(answer) if answer.trim_end() == "t" => continue,
            Ok(answer) => {
                let shown: String = answer.trim_end().chars().take(60).collect();
                format!("returned {shown:?}, not true")
            }
            Err(error) => format!("failed: {error}"),
        };
        return Err(DrillError::Check { number, outcome });
    }
    Ok(statements.len())
}

/// Cuts a script into its statements.
fn statements(sql: &str) -> Vec<String> {
    let mut script = Script::default();
    let mut rest = sql.as_bytes();
    let mut statements = Vec::new();
    let mut statement = Vec::new();
    while !rest.is_empty() {
        let (taken, after) = rest.split_at(script.read_statement(rest).min(rest.len()));
        statement.extend_from_slice(taken);
        rest = after;
        if taken.last() == Some(&b';') || rest.is_empty() {
            let text = String::from_utf8_lossy(&statement).trim().to_owned();
            if !text.is_empty() {
                statements.push(text);
            }
            statement.clear();
        }
    }
    statements
}

/// Whether a script breaks off inside a quote, where no semicolon ends a statement any more.
#[must_use]
pub fn ends_in_a_quote(sql: &str) -> bool {
    let mut script = Script::default();
    script.read(sql.as_bytes());
    script.read(b"\n");
    script.is_inside_quote()
}

/// A server, as a drill uses it.
struct Place<'a> {
    client: &'a Client,
    url: &'a DatabaseUrl,
    session: Session,
}

/// A database that exists as long as the drill.
struct Scratch {
    url: DatabaseUrl,
    /// A session that does nothing: as long as it is there, no other drill takes this database for a dead one's.
    keeper: Child,
    _input: Option<ChildStdin>,
}

impl Place<'_> {
    async fn ask(&self, sql: &str) -> Result<String, PostgresError> {
        postgres::query(self.client, self.url, self.session, sql, LIMIT).await
    }

    /// Drops what killed drills left behind: scratch databases that nobody is connected to.
    async fn sweep(&self) {
        let question = format!(
            "SELECT datname FROM pg_catalog.pg_database d WHERE datname ~ '^{SCRATCH}[0-9a-f]{{16}}$' AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid);"
        );
        let left = match self.ask(&question).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(error = %error, "could not look for scratch databases");
                return;
            }
        };
        for name in left.lines() {
            match self.ask(&format!("DROP DATABASE IF EXISTS {name};")).await {
                Ok(_) => tracing::info!(
                    database = name,
                    "scratch database of a killed drill dropped"
                ),
                Err(error) => {
                    tracing::warn!(database = name, error = %error, "could not drop scratch database");
                }
            }
        }
    }

    /// Makes a scratch database in the encoding of the one that was dumped.
    async fn create(&self, summary: &Summary) -> Result<Scratch, PostgresError> {
        let name = format!("{SCRATCH}{:016x}", fastrand::u64(..));
        let encoding = summary
            .needs
            .encoding
            .as_deref()
            .filter(|name| is_plain(name));
        let usual = self
            .ask("SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname = 'template0';")
            .await?;
        let options = match encoding {
            Some(encoding) if encoding != usual.trim() => {
                format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
            }
            _ => String::new(),
        };
        self.ask(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 {options};"
        ))
        .await?;
        let url = self.url.with_database(&name);
        match self.keep(&url).await {
            Ok((keeper, input)) => Ok(Scratch {
                url,
                keeper,
                _input: input,
            }),
            Err(error) => {
                self.drop_database(&name).await;
                Err(error)
            }
        }
    }

    /// Connects to a scratch database and stays.
    async fn keep(&self, url: &DatabaseUrl) -> Result<(Child, Option<ChildStdin>), PostgresError> {
        let failed = |text: String| PostgresError {
            kind: Kind::Connect,
            text,
            hint: "look at the log of the drill's server".to_owned(),
        };
        let mut command = self.client.command("psql", url, self.session);
        command
            .args(["-X", "-A", "-t", "-q", "-w", "-d", &url.connection_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut keeper = command.spawn().map_err(|e| failed(e.to_string()))?;
        let mut input = keeper.stdin.take();
        let mut line = String::new();
        let conversation = async {
            if let Some(input) = &mut input {
                input.write_all(b"SELECT 'here';\n").await?;
            }
            match keeper.stdout.take() {
                Some(output) => BufReader::new(output).read_line(&mut line).await,
                None => Ok(0),
            }
        };
        let answered = tokio::select! {
            answered = conversation => answered.is_ok_and(|bytes| bytes > 0),
            () = tokio::time::sleep(Duration::from_secs(60)) => false,
        };
        if answered {
            Ok((keeper, input))
        } else {
            Err(failed("connect to the scratch database".to_owned()))
        }
    }

    async fn drop_database(&self, name: &str) {
        let force = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE);");
        let dropped = match self.ask(&force).await {
            // Before 13 there is no FORCE.
            Err(error) if error.text.contains("syntax error") => {
                self.ask(&format!("DROP DATABASE IF EXISTS {name};")).await
            }
            outcome => outcome,
        };
        if let Err(error) = dropped {
            tracing::warn!(database = name, error = %error, "could not drop scratch database; the next drill drops it");
        }
    }
}

impl Scratch {
    async fn ask(&self, place: &Place<'_>, sql: impl AsRef<[u8]>) -> Result<String, DrillError> {
        postgres::query(
            place.client,
            &self.url,
            place.session,
            sql,
            Duration::from_secs(24 * 3600),
        )
        .await
        .map_err(DrillError::Server)
    }

    async fn drop_from(mut self, place: &Place<'_>) {
        if let Err(error) = self.keeper.kill().await {
            tracing::debug!(%error, "the scratch database's session was gone");
        }
        place.drop_database(self.url.database()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_at_its_own_semicolons() {
        let sql = "SELECT count(*) > 0 FROM users; -- not; here\nSELECT ';' = ';';;\n SELECT $$a;b$$ = 'a;b'";
        assert_eq!(
            statements(sql),
            [
                "SELECT count(*) > 0 FROM users;",
                "-- not; here\nSELECT ';' = ';';",
                ";",
                "SELECT $$a;b$$ = 'a;b'"
            ]
        );
        assert_eq!(statements(" \n"), Vec::<String>::new());
        for sql in ["SELECT 'x", "SELECT $$x", "SELECT \"x", "SELECT 1 /* x"] {
            assert!(ends_in_a_quote(sql), "{sql}");
        }
        assert!(!ends_in_a_quote("SELECT 'x' -- it's"));
    }

    #[test]
    fn tables_are_counted_by_what_they_are() {
        let mut script = Script::default();
        script.read(b"COPY public.t (a) FROM stdin;\n\\.\nCOPY public.\"it's\xe9\" (a) FROM stdin;\n\\.\nCOPY x.x (a) FROM stdin;\n\\.\n");
        let contents = script.contents();
        let tables: Vec<(&TableName, u64)> = contents
            .tables
            .iter()
            .map(|(name, rows)| (name, *rows))
            .collect();
        let question = kinds_question(&tables, Some("LATIN1"));
        assert!(
            question.starts_with(
                b"SET standard_conforming_strings = on; SET client_encoding = 'LATIN1';"
            )
        );
        assert!(
            memchr::memmem::find(&question, b"(0, 'public.\"it''s\xe9\"'::regclass)").is_some()
        );
        let question = counts_question(&tables, "0\tp\tf\n1\tr\tf\n2\tr\tt\n", None);
        let expected = b"'UTF8';\nSELECT 0, count(*) FROM public.\"it's\xe9\";\nSELECT 1, count(*) FROM ONLY public.t;\n";
        assert!(
            question.ends_with(expected),
            "{}",
            String::from_utf8_lossy(&question)
        );
    }
}
