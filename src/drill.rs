//! Proof that a backup can be restored: by restoring it, into a scratch database that is dropped afterwards.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup;
use crate::embedded::{Embedded, EmbeddedError};
use crate::kind::{Fault, Kind};
use crate::postgres::{self, Clients, Database, DatabaseUrl, Idle, PostgresError, Sql};
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
    /// `--renamed`: whether the backup may have another name than its own.
    pub may_be_renamed: bool,
    /// `VERIFY_UNCONFINED`: whether a throwaway server may run where the kernel can't confine it.
    pub may_be_unconfined: bool,
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

    /// What it says of the backup.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Read(error) | Self::Restore(RestoreError::Read(error)) => error.fault(),
            Self::Restore(RestoreError::Server(..)) => Fault::Surroundings,
            Self::Restore(RestoreError::Psql(..)) => Fault::Backup,
            error => error.kind().fault(),
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
        let found = found.perhaps_renamed(drill.may_be_renamed);
        let read = reader::read(&drill.store, &found, Omit::default(), None, meter).await?;
        read.summary().tell_how_whole(name);
        read.summary().warn(name);
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
                started = Embedded::start(&drill.clients, whole.read.summary(), &drill.temporary, drill.may_be_unconfined) => started,
                () = stop.cancelled() => return Err(DrillError::Cancelled),
            };
            let server = started?;
            let confined = Drill {
                clients: drill.clients.confined(server.confinement()),
                ..drill.clone()
            };
            let outcome = prove(&confined, server.url(), &whole, meter, stop).await;
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
        server: Database {
            client,
            url,
            session: server.session,
        },
        major: server.major,
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
    let survey = Survey::take(&scratch.database(place))
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
        let counts = scratch
            .ask(place, &counts_question(tables, encoding))
            .await?;
        for line in counts.lines() {
            let mut fields = line.split('\t');
            let at = fields.next().and_then(|at| at.parse::<usize>().ok());
            let (Some((name, rows)), Some(found)) =
                (at.and_then(|at| tables.get(at)), fields.next())
            else {
                continue;
            };
            match found.parse::<u64>() {
                Ok(count) => {
                    compared = compared.saturating_add(1);
                    if count != *rows {
                        differences.push(format!("{name} holds {count} rows, {rows} were dumped"));
                    }
                }
                Err(_) if found == "extension" => {}
                Err(_) => differences.push(format!("{name} is {found}, {rows} rows were dumped")),
            }
        }
    }
    if summary.contents.has_more_tables {
        differences.push("it holds more tables than are counted one by one".to_owned());
    }
    let unchecked = scratch.names(place, &unchecked_constraints()).await?;
    let found = u64::try_from(unchecked.len()).unwrap_or(u64::MAX);
    if found > summary.unchecked_constraints {
        differences.push(format!(
            "constraints that are not valid: {}",
            unchecked.join(", ")
        ));
    }
    let invalid = scratch.names(place, &invalid_indexes()).await?;
    if !invalid.is_empty() {
        differences.push(format!(
            "indexes that are not valid: {}",
            invalid.join(", ")
        ));
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
fn unchecked_constraints() -> Sql {
    Sql::new(
        "SELECT pg_catalog.json_agg(pg_catalog.format('%s.%I', conrelid::pg_catalog.regclass, conname) ORDER BY conrelid, conname) FROM pg_catalog.pg_constraint c WHERE NOT convalidated AND COALESCE(pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conenforced', 'true') OPERATOR(pg_catalog.<>) 'false';",
    )
}

/// The index of a partitioned table is a mere parent, and counts as invalid while a partition lacks its part.
fn invalid_indexes() -> Sql {
    Sql::new(
        "SELECT pg_catalog.json_agg(indexrelid::pg_catalog.regclass::pg_catalog.text ORDER BY indexrelid) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) indexrelid WHERE NOT indisvalid AND relkind OPERATOR(pg_catalog.=) 'i';",
    )
}

/// Counts each of these tables, or says `missing`, or `extension` for one whose rows need not be the dump's alone. A parent's
/// own rows are meant, not its children's; a partitioned table has none of its own.
///
/// The names are spelled as the dump spells them, in its encoding; the server makes tables of them, and spells them itself in
/// the statements that count.
fn counts_question(tables: &[(&TableName, u64)], encoding: Option<&str>) -> Sql {
    let encoding = encoding.unwrap_or("UTF8");
    let mut question = Sql::new(
        "SELECT v.at, CASE WHEN c.oid IS NULL THEN 'missing' WHEN EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND objid OPERATOR(pg_catalog.=) c.oid AND deptype OPERATOR(pg_catalog.=) 'e') THEN 'extension' ELSE pg_catalog.substring(pg_catalog.query_to_xml(pg_catalog.format('SELECT pg_catalog.count(*) AS c FROM %s %s', CASE WHEN relkind OPERATOR(pg_catalog.=) 'p' THEN '' ELSE 'ONLY' END, c.oid::pg_catalog.regclass), false, true, '')::pg_catalog.text, '<c>([0-9]+)</c>') END FROM (VALUES ",
    );
    for (at, (name, _)) in (0_u64..).zip(tables) {
        question = question
            .sql(if at > 0 { ", (" } else { "(" })
            .number(at)
            .sql(", ")
            .hex(name.as_bytes())
            .sql(")");
    }
    question
        .sql(") AS v (at, name) LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(pg_catalog.convert_from(pg_catalog.decode(v.name, 'hex'), ")
        .text(encoding)
        .sql("))::pg_catalog.oid;")
}

/// The encodings that a dump can have (`--encoding`) and a database can't.
const CLIENTS_ONLY: [&str; 7] = [
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "GB18030",
    "JOHAB",
    "SHIFT_JIS_2004",
];

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
        let database = scratch.database(place);
        let answer = database.run_for_user(statement, drill.timeout).await;
        let outcome = match answer {
            Ok(answer) if answer.trim_end() == "t" => continue,
            Ok(answer) => {
                let shown: String = answer.trim_end().chars().take(60).collect();
                format!("returned {shown:?}, not true")
            }
            // A statement can lose its connection by what it asks for. A server that is away answers nothing else either.
            Err(error) if error.kind == Kind::Connect && !database.answers(LIMIT).await => {
                return Err(DrillError::Server(error));
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
    server: Database<'a>,
    major: u16,
}

/// A database that exists as long as the drill.
struct Scratch {
    url: DatabaseUrl,
    /// A session that does nothing: as long as it is there, no other drill takes this database for a dead one's.
    keeper: Idle,
}

/// Whether this is the name of a scratch database. It is asked here and not of the server, which could say anything.
fn is_scratch(name: &str) -> bool {
    name.strip_prefix(SCRATCH).is_some_and(|digits| {
        digits.len() == 16
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl Place<'_> {
    /// Drops what killed drills left behind: scratch databases of this role that nobody is connected to.
    async fn sweep(&self) {
        let question = Sql::new(
            "SELECT COALESCE(pg_catalog.json_agg(datname), '[]') FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) d.datdba WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER AND datname OPERATOR(pg_catalog.~) '^psb_drill_' AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid OPERATOR(pg_catalog.=) d.oid);",
        );
        let left = match self.server.ask(&question, LIMIT).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(error = %error, "could not look for scratch databases");
                return;
            }
        };
        let Ok(left) = serde_json::from_str::<Vec<String>>(left.trim()) else {
            let error = postgres::not_understood(self.server.client);
            tracing::warn!(error = %error, "could not look for scratch databases");
            return;
        };
        for name in left.iter().filter(|name| is_scratch(name)) {
            match self.drop_scratch(name, "").await {
                Ok(()) => tracing::info!(
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
            .filter(|name| is_plain(name) && !CLIENTS_ONLY.contains(name));
        let usual = Sql::new(
            "SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) 'template0';",
        );
        let usual = self.server.ask(&usual, LIMIT).await?;
        let create = Sql::new("CREATE DATABASE ")
            .name(&name)
            .sql(" TEMPLATE template0");
        let create = match encoding {
            Some(encoding) if encoding != usual.trim() => create
                .sql(" ENCODING ")
                .text(encoding)
                .sql(" LC_COLLATE 'C' LC_CTYPE 'C'"),
            _ => create,
        };
        self.server.run(&create.sql(";"), LIMIT).await?;
        let url = self.server.url.with_database(&name);
        let database = Database {
            url: &url,
            ..self.server
        };
        match database.stay().await {
            Ok(keeper) => Ok(Scratch { url, keeper }),
            Err(error) => {
                self.drop_database(&name).await;
                Err(error)
            }
        }
    }

    /// Drops a scratch database, after the subscriptions in it: one would keep it for ever.
    async fn drop_scratch(&self, name: &str, options: &'static str) -> Result<(), PostgresError> {
        let url = self.server.url.with_database(name);
        let database = Database {
            url: &url,
            ..self.server
        };
        if let Err(error) = drop_subscriptions(&database).await {
            tracing::warn!(database = name, error = %error, "could not drop the subscriptions in a scratch database");
        }
        let drop = Sql::new("DROP DATABASE IF EXISTS ")
            .name(name)
            .sql(options)
            .sql(";");
        self.server.run(&drop, LIMIT).await.map(|_| ())
    }

    async fn drop_database(&self, name: &str) {
        // Before 13 there is no FORCE.
        let options = if self.major < 13 { "" } else { " WITH (FORCE)" };
        if let Err(error) = self.drop_scratch(name, options).await {
            tracing::warn!(database = name, error = %error, "could not drop scratch database; the next drill drops it");
        }
    }
}

/// Drops the subscriptions of a database without a word to where they lead.
async fn drop_subscriptions(database: &Database<'_>) -> Result<(), PostgresError> {
    let question = Sql::new(
        "SELECT COALESCE(pg_catalog.json_agg(subname), '[]') FROM pg_catalog.pg_subscription JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) subdbid WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database();",
    );
    let names = database.ask(&question, LIMIT).await?;
    let names: Vec<String> = serde_json::from_str(names.trim())
        .map_err(|_| postgres::not_understood(database.client))?;
    for name in &names {
        let statements = Sql::new("ALTER SUBSCRIPTION ")
            .name(name)
            .sql(" DISABLE;\nALTER SUBSCRIPTION ")
            .name(name)
            .sql(" SET (slot_name = NONE);\nDROP SUBSCRIPTION ")
            .name(name)
            .sql(";");
        database.run(&statements, LIMIT).await?;
    }
    Ok(())
}

impl Scratch {
    fn database<'a>(&'a self, place: &Place<'a>) -> Database<'a> {
        Database {
            url: &self.url,
            ..place.server
        }
    }

    async fn ask(&self, place: &Place<'_>, question: &Sql) -> Result<String, DrillError> {
        /// Counting a large table takes as long as it takes; BACKUP_TIMEOUT ends the drill.
        const LIMIT: Duration = Duration::from_secs(24 * 3600);
        let asked = self.database(place).ask(question, LIMIT).await;
        asked.map_err(DrillError::Server)
    }

    /// Asks for a list of names.
    async fn names(&self, place: &Place<'_>, question: &Sql) -> Result<Vec<String>, DrillError> {
        let answer = self.ask(place, question).await?;
        match answer.trim() {
            // What an aggregate of no rows prints.
            "" => Ok(Vec::new()),
            names => serde_json::from_str(names)
                .map_err(|_| DrillError::Server(postgres::not_understood(place.server.client))),
        }
    }

    async fn drop_from(self, place: &Place<'_>) {
        self.keeper.end().await;
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
        let question = counts_question(&tables, Some("LATIN1"));
        let question = String::from_utf8(question.as_bytes().to_vec()).unwrap();
        assert!(
            question.contains("(0, '7075626c69632e226974277320e922')")
                || question.contains("(0, '7075626c69632e2269742773e922')"),
            "{question}"
        );
        assert!(question.contains("'LATIN1'"), "{question}");
    }

    #[test]
    fn only_the_names_that_drills_give_are_scratch_databases() {
        assert!(is_scratch("psb_drill_0123456789abcdef"));
        for name in [
            "psb_drill_0123456789abcde",
            "psb_drill_0123456789abcdef0",
            "psb_drill_0123456789ABCDEF",
            "psb_drill_0123456789abcde\n",
            "apsb_drill_0123456789abcdef",
            "shop",
            "",
        ] {
            assert!(!is_scratch(name), "{name:?}");
        }
    }
}
