//! What can be found out before a backup is due: the configuration, the database, the bucket and the platform, each thing
//! with its remedy. What is found is judged by pure functions; nothing is changed, and nothing stays behind.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use md5::{Digest, Md5};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Backup, Catalog, Listing};
use crate::config::{Config, Drilling, Problem};
use crate::drill::DrillServer;
use crate::fault::{Diagnosed, Kind};
use crate::format::text::{visible, visible_json};
use crate::format::{age, size, utc};
use crate::globals;
use crate::postgres::rights::{Held, Named, Rights};
use crate::postgres::{
    self, Client, Clients, Database, DatabaseUrl, Locks, PostgresError, Server, Session, Sql,
    Unlogged,
};
use crate::process::confine;
use crate::restore::target;
use crate::schedule::{Clock, Schedule};
use crate::store::upload;
use crate::store::{Rules, Store, StoreError, StorePatience, Unfinished};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warning,
    /// Backups cannot be made, or not of everything.
    Failed,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing; of a closed set, for scripts.
    pub name: &'static str,
    /// How it stands with it.
    pub outcome: Outcome,
    /// What was found.
    pub text: String,
    /// What to do; none if all is well.
    pub hint: Option<String>,
}

fn ok(name: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        name,
        outcome: Outcome::Ok,
        text: text.into(),
        hint: None,
    }
}

fn warning(name: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding {
        name,
        outcome: Outcome::Warning,
        text: text.into(),
        hint: Some(hint.into()),
    }
}

fn failed(name: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding {
        name,
        outcome: Outcome::Failed,
        text: text.into(),
        hint: Some(hint.into()),
    }
}

/// The findings as JSON, or one line each for a person.
#[must_use]
pub fn report(findings: &[Finding], json: bool) -> String {
    if json {
        let json = serde_json::to_string_pretty(findings).unwrap_or_default();
        return visible_json(&json).into_owned() + "\n";
    }
    let width = findings.iter().map(|finding| finding.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.outcome {
            Outcome::Ok => '✓',
            Outcome::Warning => '!',
            Outcome::Failed => '✗',
        };
        let hint = finding.hint.as_deref().map(visible);
        let remedy = hint.iter().map(|hint| format!(" → {hint}"));
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "{mark} {:width$}  {}{}",
            finding.name,
            visible(&finding.text),
            remedy.collect::<String>()
        );
    }
    text
}

/// The findings as lines of the daemon's log. A failure is no ERROR there: no backup has failed yet.
pub fn log(findings: &[Finding]) {
    let mut counts = [0_usize; 3];
    for finding in findings {
        let [good, warnings, failures] = &mut counts;
        let count = match finding.outcome {
            Outcome::Ok => good,
            Outcome::Warning => warnings,
            Outcome::Failed => failures,
        };
        *count = count.saturating_add(1);
        let (check, found) = (finding.name, &finding.text);
        match &finding.hint {
            None => tracing::debug!(check, found, "check ok"),
            Some(hint) if finding.outcome == Outcome::Warning => {
                tracing::warn!(check, found, hint, "check warning");
            }
            Some(hint) => tracing::warn!(check, found, hint, "check failed"),
        }
    }
    let [good, warnings, failures] = counts;
    tracing::info!(ok = good, warnings, failed = failures, "check finished");
}

/// What Railway tells a service of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Railway {
    /// `RAILWAY_DEPLOYMENT_DRAINING_SECONDS`
    draining: Option<String>,
}

impl Railway {
    /// None if this is not Railway.
    #[must_use]
    pub fn from_variables(variables: &[(OsString, OsString)]) -> Option<Self> {
        let find = |name: &str| {
            let found = variables.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.to_string_lossy().trim().to_owned())
        };
        // Railway sets it in each of its containers; the draining seconds are the operator's.
        find("RAILWAY_PROJECT_ID")?;
        Some(Self {
            draining: find("RAILWAY_DEPLOYMENT_DRAINING_SECONDS"),
        })
    }
}

/// What is looked at, and with what.
#[derive(Debug)]
pub struct Check {
    /// None in the daemon, which has told them.
    warnings: Option<Vec<Problem>>,
    schedule: Schedule,
    max_age: Duration,
    /// The variables that name somebody to tell.
    listeners: Vec<&'static str>,
    timeout: Duration,
    partial: bool,
    database: DatabaseUrl,
    clients: Clients,
    catalog: Catalog,
    /// Where backups are proven, if they are.
    drilling: Option<Drilling>,
    railway: Option<Railway>,
    clock: Clock,
    /// `BACKUP_GLOBALS`
    globals: bool,
}

/// How long a question to a database may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Nobody waits minutes for an answer here; a backup's own patience is greater.
fn patience() -> StorePatience {
    StorePatience {
        tries: 2,
        answer: Duration::from_secs(20),
        ..StorePatience::default()
    }
}

impl Check {
    /// A check of this configuration.
    #[must_use]
    pub fn new(config: &Config, clients: Clients, railway: Option<Railway>, clock: Clock) -> Self {
        let store = Store::new(&config.store, patience());
        Self {
            warnings: Some(config.warnings.clone()),
            schedule: config.schedule.clone(),
            max_age: config.max_age,
            listeners: [&config.alerts, &config.heartbeat]
                .into_iter()
                .filter_map(|address| Some(address.as_ref()?.variable()))
                .collect(),
            timeout: config.timeout,
            partial: config.is_partial(),
            database: config.database.clone(),
            clients,
            catalog: Catalog::new(store, config.prefix.clone(), config.timeout),
            drilling: config.drills.as_ref().map(|(_, drilling)| drilling.clone()),
            railway,
            clock,
            globals: config.globals,
        }
    }

    /// The same without what the daemon finds out and says by itself: the variables, and the backups that there are.
    #[must_use]
    pub fn for_daemon(self) -> Self {
        Self {
            warnings: None,
            ..self
        }
    }

    /// Looks at everything. None if it was told to stop; an upload that was begun is aborted first.
    pub async fn run(&self, stop: &CancellationToken) -> Option<Vec<Finding>> {
        let now = (self.clock)();
        let mut findings = Vec::new();
        if let Some(warnings) = &self.warnings {
            findings.append(&mut configuration(warnings));
            findings.push(schedule(&self.schedule, self.max_age, now));
            findings.push(alerts(&self.listeners));
        }
        let (tell_size, size) = oneshot::channel();
        let (mut database, mut bucket) = tokio::join!(
            async {
                stop.run_until_cancelled(self.look_at_database(tell_size))
                    .await
                    .unwrap_or_default()
            },
            self.look_at_bucket(size, stop)
        );
        findings.append(&mut database);
        findings.append(&mut bucket);
        if let Some(drilling) = &self.drilling {
            let looked = stop
                .run_until_cancelled(self.look_at_drills(drilling))
                .await;
            findings.extend(looked);
        }
        if let Some(platform) = &self.railway {
            findings.push(railway(platform));
        }
        (!stop.is_cancelled()).then_some(findings)
    }

    async fn look_at_database(&self, tell_size: oneshot::Sender<u64>) -> Vec<Finding> {
        let asked = async {
            let newest = self.clients.newest()?;
            let server = postgres::probe(newest, &self.database).await?;
            Ok::<_, PostgresError>((newest, server))
        };
        let (newest, server) = match asked.await {
            Ok(asked) => asked,
            Err(error) => return vec![failed("database", error.text, error.hint)],
        };
        // Nobody waits for it where the bucket can't be read.
        let _told = tell_size.send(server.size_bytes);
        let chosen = self.clients.choose(server.major, &server.version);
        let mut findings = reached(&server, self.database.database(), chosen);
        let url = server.url(&self.database);
        let asked = Database {
            client: newest,
            url: &url,
            session: server.session,
        };
        match Rights::ask(&asked).await {
            Ok(rights) => {
                findings.push(tls(&rights, self.database.is_private()));
                findings.append(&mut judge(&rights, server.major, self.partial));
            }
            Err(error) => findings.push(failed("rights", error.text, error.hint)),
        }
        match Locks::ask(&asked, LIMIT).await {
            Ok(room) => findings.push(lock_room(room, self.partial)),
            Err(error) => findings.push(warning("lock_room", error.text, error.hint)),
        }
        if self.globals {
            let asked = async {
                globals::program(self.clients.choose(server.major, &server.version)?)?;
                globals::may_read_passwords(&asked).await
            };
            findings.push(match asked.await {
                Ok(passwords) => roles(passwords),
                Err(error) => failed("globals", error.text, error.hint),
            });
        }
        if server.is_standby {
            findings.push(match Unlogged::ask(&asked, LIMIT).await {
                Ok(unlogged) => standby(&unlogged),
                Err(error) => warning("standby", error.text, error.hint),
            });
        }
        findings
    }

    async fn look_at_drills(&self, drilling: &Drilling) -> Finding {
        let url = match &drilling.server {
            DrillServer::Embedded => {
                return embedded_drills(confine::is_possible(), drilling.may_be_unconfined);
            }
            DrillServer::At(url) => url,
        };
        let asked = async {
            let client = self.clients.newest()?;
            let superuser = Sql::new(
                "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER;",
            );
            let database = Database {
                client,
                url,
                session: Session::Plain,
            };
            let superuser = database.ask(&superuser, LIMIT).await?;
            let there = target::identity(client, url).await?;
            // If the source does not answer, another finding says so.
            let source = target::identity(client, &self.database).await;
            let same_server = source.is_ok_and(|source| there.is_on_server_of(&source));
            Ok::<_, PostgresError>((superuser.trim() == "t", same_server))
        };
        let (superuser, same_server) = match asked.await {
            Ok(asked) => asked,
            Err(error) => return failed("drills", error.text, error.hint),
        };
        drills_by_url(superuser, same_server)
    }

    async fn look_at_bucket(
        &self,
        size: oneshot::Receiver<u64>,
        stop: &CancellationToken,
    ) -> Vec<Finding> {
        let (store, prefix) = (self.catalog.store(), self.catalog.prefix().as_str());
        let looked = stop.run_until_cancelled(async {
            let mut findings = Vec::new();
            if self.warnings.is_some() {
                match self.catalog.list((self.clock)()).await {
                    Ok(listing) => {
                        findings.append(&mut contents(&listing, self.max_age, (self.clock)()));
                    }
                    Err(error) => return Err(vec![refused("bucket", &error)]),
                }
            }
            match store.time(prefix).await {
                Ok(time) => findings.extend(time.map(|time| clock(time, (self.clock)()))),
                Err(error) => return Err(vec![refused("bucket", &error)]),
            }
            findings.push(self.look_at_uploads().await);
            findings.push(match store.rules().await {
                Ok(rules) => lifecycle(&rules, prefix, self.max_age),
                Err(error) => warning("lifecycle", error.to_string(), error.hint()),
            });
            Ok(findings)
        });
        match looked.await {
            None => Vec::new(),
            Some(Err(findings)) => findings,
            Some(Ok(mut findings)) => {
                let key = self.catalog.prefix().probe();
                let read = stop.run_until_cancelled(store.head(&key)).await;
                findings.extend(read.and_then(|read| reading(read.err()?)));
                let part = if store.provider().is_direct() {
                    Bytes::from_static(b"postgres-s3-backups check")
                } else {
                    whole_part(size.await.unwrap_or_default())
                };
                findings.push(match try_upload(store, &key, part, stop).await {
                    Ok(()) => ok(
                        "upload",
                        "an upload was begun, got a part and was aborted; nothing stays behind",
                    ),
                    Err(error) => refused("upload", &error),
                });
                findings
            }
        }
    }

    /// Counts our unfinished uploads, and removes what a check left that was killed. A young one may belong to another check
    /// that is at work.
    async fn look_at_uploads(&self) -> Finding {
        const MOST_REMOVED: usize = 1000;
        let (store, prefix) = (self.catalog.store(), self.catalog.prefix());
        let now = (self.clock)();
        let (mut count, mut oldest, mut probes) = (0_usize, None, Vec::new());
        let visit = |upload: Unfinished| {
            let begun = upload.initiated_at;
            if prefix.parse(&upload.key).is_some() {
                count = count.saturating_add(1);
                oldest = Some(oldest.map_or(begun, |oldest: DateTime<Utc>| oldest.min(begun)));
            } else if self.catalog.is_left_behind(&upload, self.timeout, now)
                && probes.len() < MOST_REMOVED
            {
                probes.push(upload);
            }
        };
        if let Err(error) = store.list_uploads(prefix.as_str(), visit).await {
            return if error.is_not_offered() {
                warning(
                    "unfinished_uploads",
                    "this store does not list them, so that what a killed run leaves behind is not seen, and stays",
                    "have the store delete unfinished uploads after some days, if it can: docs/stores.md",
                )
            } else {
                warning("unfinished_uploads", error.to_string(), error.hint())
            };
        }
        for probe in probes {
            if let Err(error) = store.abort_upload(&probe.key, &probe.id).await {
                tracing::debug!(key = probe.key, %error, "could not abort upload");
            }
        }
        unfinished(count, oldest, self.timeout, now)
    }
}

/// As many bytes as a part of this database's backup has: a proxy in front of a store may refuse what is that long.
fn whole_part(database_bytes: u64) -> Bytes {
    // Longer ones are those of databases above 300 GiB; whoever takes this much takes them too.
    const MOST_BYTES: usize = 64 * 1024 * 1024;
    // Pages of zeros that are only read take no memory.
    Bytes::from(vec![0; upload::part_size(database_bytes).min(MOST_BYTES)])
}

/// Begins an upload, sends a part and aborts it: all that a backup needs but the object. Once begun it is aborted, whatever
/// happens in between.
async fn try_upload(
    store: &Store,
    key: &str,
    body: Bytes,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    if stop.is_cancelled() {
        return Ok(());
    }
    let mut begin = Box::pin(store.create_upload(key, "check"));
    let id = tokio::select! {
        begun = &mut begin => begun?,
        () = stop.cancelled() => tokio::select! {
            begun = begin => begun?,
            () = tokio::time::sleep(Duration::from_secs(1)) => return Ok(()),
        }
    };
    let md5 = Md5::digest(&body).into();
    let sent = stop
        .run_until_cancelled(store.upload_part(key, &id, 1, &body, &md5))
        .await;
    let aborted = store.abort_upload(key, &id).await;
    sent.transpose()?;
    aborted
}

/// Whether objects may be read. A store that knows no such object says 404, which is no error; one that refuses the question will
/// refuse it for a backup.
fn reading(error: StoreError) -> Option<Finding> {
    (error.kind() == Kind::StoreDenied).then(|| {
        warning(
            "read",
            "this key may write and list objects, but not read them: backups are made and their size is taken from the list, but nothing can be verified or restored with it",
            "give the key the right to read objects (s3:GetObject), or keep another key for restores and drills",
        )
    })
}

fn refused(name: &'static str, error: &StoreError) -> Finding {
    failed(name, error.to_string(), error.hint())
}

/// What is odd about the variables.
fn configuration(warnings: &[Problem]) -> Vec<Finding> {
    if warnings.is_empty() {
        return vec![ok("configuration", "valid")];
    }
    let each = warnings.iter().map(|problem| {
        let hint = format!(
            "look up {} in docs/configuration.md, then change it or leave it if it is meant so",
            problem.variable
        );
        warning("configuration", problem.to_string(), hint)
    });
    each.collect()
}

/// When backups will be made.
fn schedule(schedule: &Schedule, max_age: Duration, now: DateTime<Utc>) -> Finding {
    let zone = schedule.zone();
    let due = schedule.upcoming(now, 5).into_iter().map(|due| {
        let local = due.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z");
        if zone == chrono_tz::UTC {
            local.to_string()
        } else {
            format!("{local} ({})", due.format("%d %H:%M:%S UTC"))
        }
    });
    ok(
        "schedule",
        format!(
            "{} in {}, next: {}; a backup may be {} old before /health is 503",
            schedule.expression(),
            zone.name(),
            due.collect::<Vec<_>>().join(", "),
            age(max_age.as_secs())
        ),
    )
}

/// What is stored beside each backup of the server's roles.
fn roles(passwords: bool) -> Finding {
    if passwords {
        ok(
            "globals",
            "the server's roles are stored beside each backup, with the hashes of their passwords",
        )
    } else {
        warning(
            "globals",
            "the server's roles are stored beside each backup, but without passwords, which this user may not read",
            globals::PASSWORDS_HINT,
        )
    }
}

/// A server that answered, and what dumps it.
fn reached(server: &Server, name: &str, chosen: Result<&Client, PostgresError>) -> Vec<Finding> {
    let part = u64::try_from(upload::part_size(server.size_bytes)).unwrap_or(u64::MAX);
    vec![
        ok(
            "database",
            format!(
                "{name} has {}; parts of {} MiB",
                size(server.size_bytes),
                part / (1024 * 1024)
            ),
        ),
        match chosen {
            Ok(client) if client.major == server.major => ok(
                "version",
                format!("PostgreSQL {}, dumped by {client}", server.version),
            ),
            Ok(client) => warning(
                "version",
                format!(
                    "PostgreSQL {}, dumped by the newer {client}",
                    server.version
                ),
                "a newer pg_dump may write what this server's own psql refuses; deploy an image with the server's major version",
            ),
            Err(error) => failed("version", error.text, error.hint),
        },
        match server.session {
            Session::Guarded => ok("pooler", "none was noticed"),
            Session::Plain => warning(
                "pooler",
                "something between here and the server refuses start-up options, as PgBouncer does: a dump through it disturbs other clients",
                "use the server's own URL; on Railway ${{Postgres.DATABASE_UNPOOLED_URL}}",
            ),
        },
    ]
}

/// Whether the connection is encrypted.
fn tls(rights: &Rights, private: bool) -> Finding {
    match &rights.tls {
        Some(version) => ok("tls", version.clone()),
        None if private => ok("tls", "not used, on a private network"),
        None => warning(
            "tls",
            "not used: the password's exchange and all data travel unencrypted",
            "add sslmode=require to BACKUP_DATABASE_URL; if the server does not offer TLS, turn it on there",
        ),
    }
}

/// What of the database a dump would not get. Where options leave something out, it may be just that.
fn judge(rights: &Rights, major: u16, partial: bool) -> Vec<Finding> {
    let worst = |name, text: String, hint: String| {
        if partial {
            warning(
                name,
                format!("{text}, unless BACKUP_OPTIONS leave that out"),
                hint,
            )
        } else {
            failed(name, text, hint)
        }
    };
    let user = &rights.user;
    let mut findings = Vec::new();
    let mut closed = Vec::new();
    if rights.schemas.count > 0 {
        closed.push(rights.schemas.text("schema", "schemas"));
    }
    if rights.unreadable.count > 0 {
        let text = rights
            .unreadable
            .text("table or sequence", "tables and sequences");
        closed.push(text);
    }
    findings.push(if closed.is_empty() {
        ok("rights", format!("{user} may read every table ({}) and sequence", rights.tables))
    } else {
        let hint = if major >= 14 {
            format!("as a superuser run: GRANT pg_read_all_data TO {user};")
        } else {
            format!("in each schema run as its owner: GRANT USAGE ON SCHEMA …, GRANT SELECT ON ALL TABLES IN SCHEMA … and GRANT SELECT ON ALL SEQUENCES IN SCHEMA … TO {user};")
        };
        worst("rights", format!("{user} may not read {}", closed.join(" and ")), hint)
    });
    let mut look = |name, hidden: &Named, text: String, hint: String, good: &str| {
        findings.push(if hidden.count > 0 {
            worst(name, text, hint)
        } else {
            ok(name, good)
        });
    };
    let objects = rights.large_objects.text("large object", "large objects");
    look(
        "large_objects",
        &rights.large_objects,
        format!("{user} may not read {objects}"),
        format!(
            "as their owner run GRANT SELECT ON LARGE OBJECT … TO {user}; for each one, or back up as their owner or a superuser"
        ),
        "none that may not be read",
    );
    let tables = rights.row_security.text("table", "tables");
    look(
        "row_security",
        &rights.row_security,
        format!("row level security would hide rows of {tables} from {user}, and ends the dump"),
        format!("as a superuser run: ALTER ROLE {user} BYPASSRLS;"),
        "hides nothing",
    );
    findings.push(locks(&rights.held));
    findings
}

/// A dump waits a minute for a table; a lock that is older than that is likely to outlast it.
const LONG_LOCK_SECONDS: u64 = 60;

fn locks(held: &[Held]) -> Finding {
    let describe = |held: &Held| {
        let by = match (held.pid, &held.gid) {
            (Some(pid), _) => format!("process {pid}"),
            (None, Some(gid)) => format!("the prepared transaction '{gid}'"),
            (None, None) => "an unknown process".to_owned(),
        };
        let since = held
            .seconds
            .map_or_else(|| "an unknown time".to_owned(), age);
        format!("{} by {by} for {since}", held.table)
    };
    let long = |held: &&Held| {
        held.seconds
            .is_none_or(|seconds| seconds > LONG_LOCK_SECONDS)
    };
    let late: Vec<String> = held.iter().filter(long).map(describe).collect();
    if !late.is_empty() {
        return warning(
            "locks",
            format!("held in ACCESS EXCLUSIVE mode now: {}", late.join(", ")),
            "a dump waits a minute and then fails; look at pg_stat_activity for what that session does, and end it with pg_terminate_backend (a prepared transaction with ROLLBACK PREPARED) if it was forgotten",
        );
    }
    let young: Vec<String> = held.iter().map(describe).collect();
    if young.is_empty() {
        ok("locks", "none that a dump would wait for")
    } else {
        ok(
            "locks",
            format!("a dump would wait for {}", young.join(", ")),
        )
    }
}

/// Whether the server can hold a lock on each table at once.
fn lock_room(locks: Locks, partial: bool) -> Finding {
    let Locks { tables, room } = locks;
    let text = format!(
        "{tables} tables, and the server makes room for {room} locks of all sessions together"
    );
    if !locks.are_too_few() {
        return ok("lock_room", text);
    }
    let so = if partial {
        "unless BACKUP_OPTIONS leave enough of them out"
    } else {
        "too few for a dump"
    };
    let hint =
        "raise max_locks_per_transaction and restart the server: a dump locks every table at once";
    // No failure: a server finds a little more room than it promises.
    warning("lock_room", format!("{text}: {so}"), hint)
}

/// What is not on a standby.
fn standby(unlogged: &Unlogged) -> Finding {
    if unlogged.count == 0 {
        return ok("standby", "this server is one; no table is unlogged");
    }
    warning(
        "standby",
        format!("this server is one, and has no rows of {}", unlogged.text()),
        postgres::UNLOGGED_HINT,
    )
}

/// Who would be told. Nothing is sent: a false alarm is worse than none.
fn alerts(listeners: &[&str]) -> Finding {
    if listeners.is_empty() {
        return warning(
            "alerts",
            "nobody is told when backups fail: neither ALERT_WEBHOOK_URL nor HEARTBEAT_URL is set",
            "set one of them, or both; an uptime monitor on /health does it too",
        );
    }
    ok(
        "alerts",
        format!(
            "{} set; whether messages arrive, the next run tells",
            listeners.join(" and ")
        ),
    )
}

/// What to do about a backup whose name is dated ahead.
pub const AHEAD_HINT: &str = "the time in the name can't be true: a clock was wrong when the backup was made, or somebody wrote the object; look into it by its full name (verify NAME), then delete it or copy it to the name with its real time";

/// What to do where the store's clock is ahead of this one.
pub const CLOCKS_HINT: &str =
    "set the clock of this container's host (NTP); if it is right, the store's is wrong";

/// What the bucket holds.
fn contents(listing: &Listing<Backup>, max_age: Duration, now: DateTime<Utc>) -> Vec<Finding> {
    let (ahead, backups): (Vec<&Backup>, Vec<&Backup>) = listing
        .kept
        .iter()
        .partition(|backup| backup.is_dated_ahead(now));
    let mut findings = vec![match backups.first() {
        Some(newest) => newest_of(backups.len(), newest, max_age, now),
        None => ok("bucket", "can be listed; there are no backups yet"),
    }];
    if let Some(first) = ahead.first() {
        findings.push(warning(
            "dated_ahead",
            format!(
                "{} under a name that is dated ahead, which is never taken for the newest: {}{}",
                if ahead.len() == 1 {
                    "a backup"
                } else {
                    "backups"
                },
                first.name,
                match ahead.len() {
                    1 => String::new(),
                    count => format!(" and {} more", count - 1),
                }
            ),
            AHEAD_HINT,
        ));
    }
    if listing.left_out > 0 {
        findings.push(warning(
            "bucket",
            format!("{} older backups are left out of account", listing.left_out),
            "delete some, best by a lifecycle rule of the bucket: docs/operations.md, \"Keeping backups for 30 days\"",
        ));
    }
    findings
}

fn newest_of(count: usize, newest: &Backup, max_age: Duration, now: DateTime<Utc>) -> Finding {
    let Some(old) = newest.age(now) else {
        return warning(
            "bucket",
            format!(
                "{count} backups, the newest is {}; how old it is can't be said: it was stored at {}, ahead of this clock",
                newest.name,
                utc(newest.finished_at)
            ),
            CLOCKS_HINT,
        );
    };
    let text = format!(
        "{count} backups, the newest is {} and {} old",
        newest.name,
        age(old.as_secs())
    );
    if old > max_age {
        warning(
            "bucket",
            format!("{text}: older than BACKUP_MAX_AGE"),
            "look for backup failed in the service's log; the command backup makes one now",
        )
    } else {
        ok("bucket", text)
    }
}

fn seconds_between(before: DateTime<Utc>, after: DateTime<Utc>) -> u64 {
    u64::try_from(after.signed_duration_since(before).num_seconds()).unwrap_or(0)
}

/// The store's clock against this one. At fifteen minutes every request is refused.
fn clock(store: DateTime<Utc>, now: DateTime<Utc>) -> Finding {
    let apart = now.signed_duration_since(store).num_seconds();
    let off = apart.unsigned_abs();
    if off <= 60 {
        return ok("clock", "agrees with the store's to the minute");
    }
    let (way, off) = (if apart > 0 { "ahead of" } else { "behind" }, age(off));
    warning(
        "clock",
        format!(
            "is {off} {way} the store's: backups are made and named at the wrong time, and from 15 minutes on the store refuses every request"
        ),
        "set the clock of this container's host (NTP)",
    )
}

/// Uploads of ours that are neither complete nor aborted.
fn unfinished(
    count: usize,
    oldest: Option<DateTime<Utc>>,
    timeout: Duration,
    now: DateTime<Utc>,
) -> Finding {
    let Some(oldest) = oldest else {
        return ok("unfinished_uploads", "none");
    };
    let old = seconds_between(oldest, now);
    let text = format!("{count}, the oldest {} old", age(old));
    if old > timeout.as_secs() {
        warning(
            "unfinished_uploads",
            text,
            "the next backup aborts what is older than BACKUP_TIMEOUT; if they stay, abort them with the AWS CLI, since their parts are billed",
        )
    } else {
        ok(
            "unfinished_uploads",
            format!("{text}: a backup may be under way"),
        )
    }
}

/// Whether the bucket deletes old backups, and not too early.
fn lifecycle(rules: &Rules, prefix: &str, max_age: Duration) -> Finding {
    const REMEDY: &str = "docs/operations.md, \"Keeping backups for 30 days\"";
    let rules = match rules {
        Rules::Told(rules) => rules,
        Rules::Refused => {
            return ok(
                "lifecycle",
                "rules cannot be read with this token, as it should be; look in the store's console whether one deletes old backups",
            );
        }
        Rules::NotTold => {
            return ok(
                "lifecycle",
                "this store does not tell its rules; look in its console whether one deletes old backups",
            );
        }
    };
    let ours = rules.iter().filter(|rule| prefix.starts_with(&rule.prefix));
    match ours.map(|rule| rule.days).min() {
        None => warning(
            "lifecycle",
            format!(
                "no rule deletes objects under {prefix}: backups stay for ever, and are billed"
            ),
            format!(
                "add a rule to the bucket that deletes objects with the prefix {prefix} after 30 days: {REMEDY}"
            ),
        ),
        Some(days) if u64::from(days).saturating_mul(86_400) <= max_age.as_secs() => warning(
            "lifecycle",
            format!(
                "a rule deletes backups after {days} days, which may be before the next one is made"
            ),
            format!("give the rule more days: {REMEDY}"),
        ),
        Some(days) => ok(
            "lifecycle",
            format!("a rule deletes backups after {days} days"),
        ),
    }
}

/// Whether the code in a backup is kept from this service's keys while it is proven here.
fn embedded_drills(possible: bool, may_be_unconfined: bool) -> Finding {
    const REMEDY: &str = "set VERIFY_DATABASE_URL to the URL of a server";
    match (possible, may_be_unconfined) {
        (true, _) => ok(
            "drills",
            "embedded; the kernel confines what they run (Landlock)",
        ),
        (false, false) => failed(
            "drills",
            "embedded drills are refused: this kernel can't confine what they run (it has no Landlock)",
            format!(
                "{REMEDY}; or, if you trust whoever can write to the database and to the bucket, set VERIFY_UNCONFINED=true"
            ),
        ),
        (false, true) => warning(
            "drills",
            "embedded and not confined, as VERIFY_UNCONFINED allows: the code in a backup can read this service's keys",
            format!("{REMEDY}, and unset VERIFY_UNCONFINED"),
        ),
    }
}

/// What the code in a backup can reach while it is proven on another server.
fn drills_by_url(superuser: bool, same_server: bool) -> Finding {
    let mut reach = Vec::new();
    if superuser {
        reach.push(
            "its user is a superuser there, so the code in a backup can do anything on that server",
        );
    }
    if same_server {
        reach.push("it is the server that is backed up, which a drill loads");
    }
    if reach.is_empty() {
        return ok(
            "drills",
            "on a server of their own, by a user without superuser rights",
        );
    }
    warning(
        "drills",
        format!("the server of VERIFY_DATABASE_URL: {}", reach.join("; ")),
        "use a server of its own for drills, with a role that has CREATEDB and is no superuser; or set VERIFY_DATABASE_URL=embedded",
    )
}

/// The platform's settings that can be seen from here, and those that cannot.
fn railway(platform: &Railway) -> Finding {
    const UNSEEN: &str = "make sure that Serverless is off and there is one replica";
    let seconds: Option<u64> = platform
        .draining
        .as_ref()
        .and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds) if seconds >= 5 => ok(
            "railway",
            format!("{seconds} s to stop; not to be seen from here: {UNSEEN}"),
        ),
        _ => warning(
            "railway",
            "RAILWAY_DEPLOYMENT_DRAINING_SECONDS is not set to 5 or more: a run under way is killed at a deploy and leaves its upload behind for a while",
            format!(
                "set RAILWAY_DEPLOYMENT_DRAINING_SECONDS=10 in the service's variables, and {UNSEEN}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use chrono::TimeDelta;

    use super::*;
    use crate::catalog::Prefix;
    use crate::store::Expiry;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 26, 4, 0, 0).unwrap()
    }

    const DAY: Duration = Duration::from_secs(25 * 3600);

    #[track_caller]
    fn is(finding: &Finding, outcome: Outcome, piece: &str) {
        assert_eq!(finding.outcome, outcome, "{finding:?}");
        assert_eq!(finding.hint.is_none(), outcome == Outcome::Ok);
        let hint = finding.hint.as_deref().unwrap_or_default();
        let whole = format!("{} {hint}", finding.text);
        assert!(whole.contains(piece), "{piece}: {whole}");
    }

    #[test]
    fn a_lock_counts_from_a_minute_on_or_when_its_age_is_unknown() {
        let held = |seconds| Held {
            table: "public.t".to_owned(),
            pid: Some(42),
            gid: None,
            seconds,
        };
        is(&locks(&[]), Outcome::Ok, "none");
        is(
            &locks(&[held(Some(60))]),
            Outcome::Ok,
            "public.t by process 42 for 60 s",
        );
        is(
            &locks(&[held(Some(61))]),
            Outcome::Warning,
            "public.t by process 42 for 61 s",
        );
        is(&locks(&[held(None)]), Outcome::Warning, "unknown time");
        let old = locks(&[held(Some(7200)), held(Some(3))]);
        is(&old, Outcome::Warning, "for 2 h");
        assert!(!old.text.contains("3 s"), "{old:?}");
        let prepared = Held {
            pid: None,
            gid: Some("x".to_owned()),
            ..held(Some(90))
        };
        is(
            &locks(&[prepared]),
            Outcome::Warning,
            "the prepared transaction 'x' for 90 s",
        );
    }

    #[test]
    fn a_rule_counts_if_it_holds_for_every_backup_and_leaves_time() {
        let rule = |prefix: &str, days| Expiry {
            prefix: prefix.to_owned(),
            days,
        };
        let judged = |rules: &[Expiry]| lifecycle(&Rules::Told(rules.to_vec()), "db_", DAY);
        is(&judged(&[]), Outcome::Warning, "prefix db_ after 30 days");
        is(
            &judged(&[rule("other", 9), rule("db_2026", 9)]),
            Outcome::Warning,
            "no rule",
        );
        is(&judged(&[rule("db_", 30)]), Outcome::Ok, "after 30 days");
        is(
            &judged(&[rule("", 90), rule("db", 30)]),
            Outcome::Ok,
            "after 30 days",
        );
        is(
            &judged(&[rule("db_", 30), rule("", 1)]),
            Outcome::Warning,
            "after 1 days",
        );
        let untold = |rules| lifecycle(&rules, "db_", DAY);
        is(&untold(Rules::Refused), Outcome::Ok, "cannot be read");
        is(&untold(Rules::NotTold), Outcome::Ok, "does not tell");
    }

    #[test]
    fn the_next_five_due_times_are_told_as_the_zone_and_as_utc_say_them() {
        let told = |zone| {
            let parsed = Schedule::parse("0 5 * * *", zone, now()).unwrap();
            schedule(&parsed, DAY, now()).text
        };
        let text = told(chrono_tz::Europe::Berlin);
        assert!(
            text.starts_with(
                "0 5 * * * in Europe/Berlin, next: Tue 2026-01-27 05:00:00 CET (27 04:00:00 UTC), "
            ),
            "{text}"
        );
        assert_eq!(text.matches(" CET (").count(), 5, "{text}");
        assert!(text.ends_with("25 h old before /health is 503"), "{text}");
        assert!(told(chrono_tz::UTC).contains("next: Mon 2026-01-26 05:00:00 UTC, Tue"));
    }

    #[test]
    fn a_clock_that_is_a_minute_off_is_told_with_its_direction() {
        for (seconds, outcome, piece) in [
            (0, Outcome::Ok, "agrees"),
            (60, Outcome::Ok, "agrees"),
            (-60, Outcome::Ok, "agrees"),
            (61, Outcome::Warning, "61 s behind"),
            (-600, Outcome::Warning, "10 min ahead of"),
        ] {
            is(
                &clock(now() + TimeDelta::seconds(seconds), now()),
                outcome,
                piece,
            );
        }
    }

    #[test]
    fn backups_and_uploads_are_judged_by_their_age() {
        let backup = |hours| {
            let at = now() - TimeDelta::hours(hours);
            Backup {
                name: Prefix::new(None, "db_").name_at(at),
                finished_at: at,
                aged_from: at,
                size_bytes: 500,
            }
        };
        let contents = |kept: &[Backup], left_out| {
            let listing = Listing {
                store_time: None,
                kept: kept.to_vec(),
                left_out,
                globals: std::collections::BTreeSet::new(),
            };
            contents(&listing, DAY, now())
        };
        let only = |kept: &[Backup], outcome, piece| {
            let findings = contents(kept, 0);
            assert_eq!(findings.len(), 1, "{findings:?}");
            is(&findings[0], outcome, piece);
        };
        only(&[], Outcome::Ok, "no backups yet");
        only(
            &[backup(25), backup(49)],
            Outcome::Ok,
            "2 backups, the newest is db_2026-01-25_03-00-00.sql.gz and 25 h old",
        );
        only(&[backup(26)], Outcome::Warning, "older than BACKUP_MAX_AGE");
        only(
            &[backup(-1)],
            Outcome::Warning,
            "stored at 2026-01-26T05:00:00Z, ahead of this clock",
        );
        // A name that can't be true is no newest backup, and is named with its remedy.
        let found = contents(&[backup(-100), backup(-50), backup(25)], 7);
        is(
            &found[0],
            Outcome::Ok,
            "1 backups, the newest is db_2026-01-25",
        );
        is(
            &found[1],
            Outcome::Warning,
            "db_2026-01-30_08-00-00.sql.gz and 1 more",
        );
        is(&found[1], Outcome::Warning, "delete it");
        is(&found[2], Outcome::Warning, "7 older backups");
        is(
            &contents(&[backup(-50)], 0)[0],
            Outcome::Ok,
            "no backups yet",
        );
        let judged = |hours: &[i64]| {
            let begun = hours.iter().map(|&h| now() - TimeDelta::hours(h));
            unfinished(
                hours.len(),
                begun.min(),
                Duration::from_secs(6 * 3600),
                now(),
            )
        };
        is(&judged(&[]), Outcome::Ok, "none");
        is(&judged(&[1, 6]), Outcome::Ok, "2, the oldest 6 h old");
        is(&judged(&[7, 1]), Outcome::Warning, "2, the oldest 7 h old");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_to_run_on_that_server() {
        let named = |count, first: &[&str]| Named {
            count,
            first: first.iter().map(|&name| name.to_owned()).collect(),
        };
        let rights = || Rights {
            user: "app".to_owned(),
            tables: 7,
            ..Rights::default()
        };
        let outcomes = |rights: &Rights, partial| -> Vec<Outcome> {
            judge(rights, 17, partial)
                .iter()
                .map(|finding| finding.outcome)
                .collect()
        };
        assert_eq!(outcomes(&rights(), false), [Outcome::Ok; 4]);
        let bad = Rights {
            schemas: named(1, &["own"]),
            unreadable: named(4, &["a", "b", "c"]),
            large_objects: named(2, &["1", "2"]),
            row_security: named(1, &["d"]),
            ..rights()
        };
        let [fails, warns] = [Outcome::Failed, Outcome::Warning].map(|o| [o, o, o, Outcome::Ok]);
        assert_eq!(outcomes(&bad, false), fails);
        assert_eq!(outcomes(&bad, true), warns);
        let rights = |major| judge(&bad, major, false).remove(0);
        is(
            &rights(17),
            Outcome::Failed,
            "app may not read 1 schema (own) and 4 tables and sequences (a, b, c, …)",
        );
        is(
            &rights(14),
            Outcome::Failed,
            "GRANT pg_read_all_data TO app;",
        );
        is(
            &rights(13),
            Outcome::Failed,
            "GRANT SELECT ON ALL SEQUENCES",
        );
    }

    #[test]
    fn more_tables_than_locks_are_foreseen_and_rows_that_a_standby_lacks_named() {
        let room = |tables, partial| lock_room(Locks { tables, room: 550 }, partial);
        is(&room(550, false), Outcome::Ok, "550 tables");
        is(
            &room(551, false),
            Outcome::Warning,
            "max_locks_per_transaction",
        );
        is(&room(551, true), Outcome::Warning, "unless BACKUP_OPTIONS");
        let named = |count, first: &[&str]| Unlogged {
            count,
            first: first.iter().map(|&name| name.to_owned()).collect(),
        };
        is(
            &standby(&named(0, &[])),
            Outcome::Ok,
            "no table is unlogged",
        );
        is(
            &standby(&named(4, &["a.b", "a.c", "a.d"])),
            Outcome::Warning,
            "no rows of 4 unlogged tables (a.b, a.c, a.d, …)",
        );
    }

    #[test]
    fn that_nobody_would_be_told_is_worth_knowing() {
        is(&alerts(&[]), Outcome::Warning, "HEARTBEAT_URL is set");
        is(
            &alerts(&["HEARTBEAT_URL"]),
            Outcome::Ok,
            "HEARTBEAT_URL set;",
        );
    }

    #[test]
    fn tls_is_asked_for_where_the_way_is_public() {
        let with = Rights {
            tls: Some("TLSv1.3".to_owned()),
            ..Rights::default()
        };
        is(&tls(&with, false), Outcome::Ok, "TLSv1.3");
        is(&tls(&Rights::default(), true), Outcome::Ok, "private");
        is(
            &tls(&Rights::default(), false),
            Outcome::Warning,
            "sslmode=require",
        );
        for (host, private) in [
            ("postgres.railway.internal", true),
            ("127.0.0.1:5433", true),
            ("localhost", true),
            ("db.example.com", false),
            ("10.0.0.7", false),
            ("localhost,db.example.com", false),
        ] {
            let url = DatabaseUrl::parse(&format!("postgres://u:p@{host}/d"))
                .unwrap()
                .0;
            assert_eq!(url.is_private(), private, "{host}");
        }
    }

    #[test]
    fn a_pooler_and_a_client_that_does_not_fit_are_told() {
        let server = |session| Server {
            version: "16.4".to_owned(),
            major: 16,
            size_bytes: 100 << 30,
            encoding: "UTF8".to_owned(),
            is_standby: false,
            may_choose_language: true,
            session,
        };
        let client = |major: u16| Client {
            major,
            version: format!("{major}.1"),
            directory: "/".into(),
            confinement: None,
        };
        let judged = |session, major| reached(&server(session), "app", Ok(&client(major)));
        let found = judged(Session::Guarded, 16);
        is(&found[0], Outcome::Ok, "app has 107.3 GB; parts of 21 MiB");
        is(&found[1], Outcome::Ok, "PostgreSQL 16.4, dumped by 16.1");
        is(&found[2], Outcome::Ok, "none");
        let found = judged(Session::Plain, 17);
        is(&found[1], Outcome::Warning, "newer");
        is(
            &found[2],
            Outcome::Warning,
            "${{Postgres.DATABASE_UNPOOLED_URL}}",
        );
        let nothing = Clients::default();
        let none = nothing.choose(16, "16.4");
        is(
            &reached(&server(Session::Guarded), "app", none)[1],
            Outcome::Failed,
            "no PostgreSQL client",
        );
    }

    #[test]
    fn railways_draining_time_must_be_long_enough() {
        let on = |variables: &[(&str, &str)]| {
            let own = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
            Railway::from_variables(&own.collect::<Vec<(OsString, OsString)>>())
        };
        const NAME: &str = "RAILWAY_DEPLOYMENT_DRAINING_SECONDS";
        const PROJECT: (&str, &str) = ("RAILWAY_PROJECT_ID", "p");
        assert_eq!(on(&[(NAME, "10")]), None);
        for (variables, outcome) in [
            (&[PROJECT][..], Outcome::Warning),
            (&[PROJECT, (NAME, "0")], Outcome::Warning),
            (&[PROJECT, (NAME, "x")], Outcome::Warning),
            (&[PROJECT, (NAME, " 10 ")], Outcome::Ok),
        ] {
            is(
                &railway(&on(variables).unwrap()),
                outcome,
                "Serverless is off and there is one replica",
            );
        }
    }

    #[test]
    fn a_person_reads_one_line_a_thing_and_a_script_an_array() {
        let findings = [
            ok("tls", "TLSv1.3"),
            warning("clock", "is off", "set it"),
            failed("bucket", "gone", "make it"),
        ];
        assert_eq!(
            report(&findings, false),
            "✓ tls     TLSv1.3\n! clock   is off → set it\n✗ bucket  gone → make it\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report(&findings, true)).unwrap();
        assert_eq!(
            json[1],
            serde_json::json!({"name": "clock", "outcome": "warning", "text": "is off", "hint": "set it"})
        );
        assert_eq!(json[0]["hint"], serde_json::Value::Null);
        assert_eq!(json[2]["outcome"], "failed");
    }
}
