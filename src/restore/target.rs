//! The database that a restore goes into: what it holds, who it is, and what stands in the way.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::postgres::{self, Database, PostgresError, Sql};
use crate::reader::Summary;
use crate::restore::source::Source;
use stream::replay::Skip;

mod activity;
mod clean;
mod locks;
mod rights;

pub use activity::Activity;
pub use clean::clean;
pub use rights::{Rights, left_out, some};

mod encoding;

use encoding::Letters;
use locks::{Room, Shortage};

/// How long a question about a whole catalog may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What was found in the target.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Survey {
    version_number: u32,
    /// The server's version as it prints it.
    pub version: String,
    read_only: bool,
    may_create: bool,
    may_create_temporary: bool,
    /// How many tables, views, functions, types and the like it holds.
    pub objects: u64,
    /// Some of them.
    pub examples: Vec<String>,
    /// Changes with each object that comes, goes or is altered.
    fingerprint: String,
    subscriptions: u64,
    user: String,
    /// The roles of the server.
    pub roles: BTreeSet<String>,
    /// The extensions that the server has, whether or not this database has them.
    pub available_extensions: BTreeSet<String>,
    /// The database's encoding.
    #[serde(default)]
    encoding: String,
    /// How many locks its settings make room for.
    #[serde(default)]
    lock_room: Room,
    /// What the user may do.
    #[serde(skip)]
    pub rights: Rights,
}

impl Survey {
    /// Looks at a database.
    ///
    /// # Errors
    /// Whatever `psql` said.
    pub async fn take(database: &Database<'_>) -> Result<Self, PostgresError> {
        let survey: Self = ask(database, &survey()).await?;
        let rights = ask(database, &rights::question()).await?;
        Ok(Self { rights, ..survey })
    }

    /// Whether it has the very objects that another look found.
    #[must_use]
    pub fn has_objects_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// The server's major version.
    #[must_use]
    pub fn major(&self) -> u16 {
        u16::try_from(self.version_number / 10_000).unwrap_or(u16::MAX)
    }

    /// Whether something would be lost if it were cleaned.
    #[must_use]
    pub const fn holds_something(&self) -> bool {
        self.objects > 0
    }

    /// Whom it was asked as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}

pub(super) async fn ask<T: for<'a> Deserialize<'a>>(
    database: &Database<'_>,
    question: &Sql,
) -> Result<T, PostgresError> {
    let answer = database.ask(question, LIMIT).await?;
    serde_json::from_str(answer.trim()).map_err(|_| postgres::not_understood(database.client))
}

/// What may not exist in an empty database. Members of extensions are not counted: template1 may hold some.
fn survey() -> Sql {
    Sql::new(
        r"
WITH member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype OPERATOR(pg_catalog.=) 'e'),
own_schema AS (
    SELECT n.oid, nspname FROM pg_catalog.pg_namespace n
    WHERE NOT nspname OPERATOR(pg_catalog.~) '^pg_' AND nspname OPERATOR(pg_catalog.<>) 'information_schema'
      AND NOT EXISTS (SELECT FROM member WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass AND objid OPERATOR(pg_catalog.=) n.oid)),
object AS (
    SELECT pg_catalog.format('%I.%I', nspname, relname) AS name,
           CASE WHEN relkind OPERATOR(pg_catalog.=) 'v' THEN 'view' WHEN relkind OPERATOR(pg_catalog.=) 'm' THEN 'materialized view'
                WHEN relkind OPERATOR(pg_catalog.=) 'S' THEN 'sequence' WHEN relkind OPERATOR(pg_catalog.=) 'c' THEN 'type' ELSE 'table' END AS kind,
           'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid AS oid
    FROM pg_catalog.pg_class c JOIN own_schema s ON s.oid OPERATOR(pg_catalog.=) relnamespace
    WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,S,f,c}')
  UNION ALL
    SELECT pg_catalog.format('%I.%I', nspname, proname), 'function', 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
    FROM pg_catalog.pg_proc p JOIN own_schema s ON s.oid OPERATOR(pg_catalog.=) pronamespace
  UNION ALL
    SELECT pg_catalog.format('%I.%I', nspname, typname), 'type', 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid
    FROM pg_catalog.pg_type t JOIN own_schema s ON s.oid OPERATOR(pg_catalog.=) typnamespace
    WHERE typtype OPERATOR(pg_catalog.=) ANY ('{d,e,r}')
  UNION ALL
    SELECT pg_catalog.format('%I', nspname), 'schema', 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid FROM own_schema WHERE nspname OPERATOR(pg_catalog.<>) 'public'
  UNION ALL
    SELECT oid::pg_catalog.text, 'large object', 'pg_catalog.pg_largeobject'::pg_catalog.regclass, oid FROM pg_catalog.pg_largeobject_metadata
  UNION ALL
    SELECT pg_catalog.format('%I', evtname), 'event trigger', 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, oid FROM pg_catalog.pg_event_trigger
  UNION ALL
    SELECT pg_catalog.format('%I', pubname), 'publication', 'pg_catalog.pg_publication'::pg_catalog.regclass, oid FROM pg_catalog.pg_publication
  UNION ALL
    SELECT pg_catalog.format('%I', srvname), 'foreign server', 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid FROM pg_catalog.pg_foreign_server),
own AS (
    SELECT pg_catalog.format('%s %s', kind, name) AS name, kind OPERATOR(pg_catalog.=) 'table' AS is_table, class, oid FROM object o
    WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid OPERATOR(pg_catalog.=) o.class::pg_catalog.oid AND m.objid OPERATOR(pg_catalog.=) o.oid)),
temporary_schema AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.~) '^pg_(toast_)?temp_'),
changeable AS (
    SELECT 'pg_class' AS place, oid, xmin FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND relpersistence OPERATOR(pg_catalog.<>) 't'
  UNION ALL
    SELECT 'pg_proc', oid, xmin FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT EXISTS (SELECT FROM temporary_schema s WHERE s.oid OPERATOR(pg_catalog.=) pronamespace)
  UNION ALL
    SELECT 'pg_type', oid, xmin FROM pg_catalog.pg_type WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT EXISTS (SELECT FROM temporary_schema s WHERE s.oid OPERATOR(pg_catalog.=) typnamespace)
  UNION ALL
    SELECT 'pg_namespace', oid, xmin FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT nspname OPERATOR(pg_catalog.~) '^pg_'
  UNION ALL
    SELECT 'pg_trigger', oid, xmin FROM pg_catalog.pg_trigger WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) tgrelid AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL
    SELECT 'pg_policy', oid, xmin FROM pg_catalog.pg_policy WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_rewrite', oid, xmin FROM pg_catalog.pg_rewrite WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ev_class AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL
    SELECT 'pg_constraint', oid, xmin FROM pg_catalog.pg_constraint WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT EXISTS (SELECT FROM temporary_schema s WHERE s.oid OPERATOR(pg_catalog.=) connamespace)
  UNION ALL
    SELECT 'pg_attrdef', oid, xmin FROM pg_catalog.pg_attrdef WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) adrelid AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL
    SELECT 'pg_extension', oid, xmin FROM pg_catalog.pg_extension WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_cast', oid, xmin FROM pg_catalog.pg_cast WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_collation', oid, xmin FROM pg_catalog.pg_collation WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_conversion', oid, xmin FROM pg_catalog.pg_conversion WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_operator', oid, xmin FROM pg_catalog.pg_operator WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_opclass', oid, xmin FROM pg_catalog.pg_opclass WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_opfamily', oid, xmin FROM pg_catalog.pg_opfamily WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_language', oid, xmin FROM pg_catalog.pg_language WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_enum', oid, xmin FROM pg_catalog.pg_enum WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_default_acl', oid, xmin FROM pg_catalog.pg_default_acl WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_event_trigger', oid, xmin FROM pg_catalog.pg_event_trigger WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_publication', oid, xmin FROM pg_catalog.pg_publication WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_foreign_data_wrapper', oid, xmin FROM pg_catalog.pg_foreign_data_wrapper WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_foreign_server', oid, xmin FROM pg_catalog.pg_foreign_server WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_ts_config', oid, xmin FROM pg_catalog.pg_ts_config WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_ts_dict', oid, xmin FROM pg_catalog.pg_ts_dict WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_ts_parser', oid, xmin FROM pg_catalog.pg_ts_parser WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_ts_template', oid, xmin FROM pg_catalog.pg_ts_template WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 'pg_largeobject_metadata', oid, xmin FROM pg_catalog.pg_largeobject_metadata WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
state AS (SELECT pg_catalog.format('%s %s %s', place, oid, xmin) AS text FROM changeable),
here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
SELECT pg_catalog.json_build_object(
    'version_number', pg_catalog.current_setting('server_version_num')::integer,
    'version', pg_catalog.current_setting('server_version'),
    'read_only', pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('default_transaction_read_only')::boolean,
    'may_create', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
    'may_create_temporary', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'),
    'objects', (SELECT pg_catalog.count(*) FROM own),
    'examples', (SELECT COALESCE(pg_catalog.json_agg(name), '[]') FROM (SELECT name FROM own ORDER BY is_table DESC, name LIMIT 3) few),
    'fingerprint', (SELECT pg_catalog.md5(COALESCE(pg_catalog.string_agg(text, ',' ORDER BY text), '')) FROM state),
    'subscriptions', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription, here WHERE subdbid OPERATOR(pg_catalog.=) here.oid),
    'user', CURRENT_USER,
    'roles', (SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles),
    'available_extensions', (SELECT COALESCE(pg_catalog.json_agg(name), '[]') FROM pg_catalog.pg_available_extensions),
    'encoding', pg_catalog.current_setting('server_encoding'),
    'lock_room', (SELECT pg_catalog.json_build_object(
        'each', pg_catalog.current_setting('max_locks_per_transaction')::bigint,
        'processes', pg_catalog.sum(setting::bigint) FILTER (WHERE name OPERATOR(pg_catalog.<>) ALL ('{huge_pages,huge_pages_status}')
            AND NOT (name OPERATOR(pg_catalog.=) 'autovacuum_max_workers' AND pg_catalog.current_setting('server_version_num')::integer OPERATOR(pg_catalog.>=) 180000)),
        'huge_pages', pg_catalog.bool_or(setting OPERATOR(pg_catalog.=) 'on') FILTER (WHERE name OPERATOR(pg_catalog.=) ANY ('{huge_pages,huge_pages_status}')))
        FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) ANY ('{max_connections,max_prepared_transactions,max_worker_processes,max_wal_senders,autovacuum_max_workers,autovacuum_worker_slots,huge_pages,huge_pages_status}')));
",
    )
}

/// The first major version that has `sha256` and tells what became of a transaction.
const LEAST_MAJOR: u16 = 11;

/// What the operator allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permits {
    /// Everything in the target may be replaced.
    pub clean: bool,
    /// The target may be the database that is backed up.
    pub overwrite_source: bool,
    /// Owners are left out: everything will belong to the target's user.
    pub no_owner: bool,
    /// Grants are left out.
    pub no_privileges: bool,
    /// Kinds of objects that are left out.
    pub skip: Skip,
    /// The restore makes a database of its own: what the one holds that it connects to, and what may be done in it, does not matter.
    pub new_database: bool,
    /// The settings of the database that was backed up are said and not applied.
    pub no_settings: bool,
    /// Everybody may create in the schema `public` again, as before 15.
    pub public_create: bool,
}

/// Everything that stands in the way of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(Vec<Refusal>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    text: String,
    hint: Cow<'static, str>,
}

impl Refusals {
    /// Whether nothing stands in the way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to do about the first one.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.0.first().map_or("", |refusal| &refusal.hint)
    }

    /// Each one with what to do about it.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|refusal| (refusal.text.as_str(), refusal.hint.as_ref()))
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Adds one: what stands in the way, and what to do.
    pub fn add(&mut self, text: impl Into<String>, hint: impl Into<Cow<'static, str>>) {
        self.0.push(Refusal {
            text: text.into(),
            hint: hint.into(),
        });
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|refusal| refusal.text.as_str()).collect();
        f.write_str(&texts.join("; "))
    }
}

/// The names that are needed and not there, as a list. A name in another encoding than UTF-8 can't be compared here; the
/// server itself will tell.
pub(crate) fn missing(needed: &BTreeSet<String>, there: &BTreeSet<String>) -> Option<String> {
    let missing: Vec<&str> = needed
        .difference(there)
        .map(String::as_str)
        .filter(|name| !name.contains(char::REPLACEMENT_CHARACTER))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// Decides what stands in the way of restoring a backup; without one, what stands in the way of any.
#[must_use]
pub fn refusals(
    target: &Survey,
    source: &Source,
    permits: Permits,
    backup: Option<&Summary>,
) -> Refusals {
    let mut refusals = Refusals::default();
    let new = permits.new_database;
    if *source == Source::Same && !new && !(permits.clean && permits.overwrite_source) {
        refusals.add(
            "the target is the database that is backed up (BACKUP_DATABASE_URL)",
            "restore into a new database with --create, which touches nothing that exists; to replace the source itself pass both --clean and --yes-overwrite-source",
        );
    }
    if let Source::Unknown(reason) = source
        && target.holds_something()
        && permits.clean
        && !permits.overwrite_source
        && !new
    {
        refusals.add(
            format!("the target is not empty, and it may be the very database that is backed up: {reason}"),
            "restore into a new database with --create, which touches nothing that exists; or set BACKUP_DATABASE_URL to an address of that database that can be reached from here, so that both can be compared; or, if the target may be replaced whatever it is, pass --yes-overwrite-source too",
        );
    }
    if *source == Source::Origin
        && target.holds_something()
        && permits.clean
        && !permits.overwrite_source
        && !new
    {
        refusals.add(
            "the target is not empty, and it is the very database that this backup was made of, whatever BACKUP_DATABASE_URL names now",
            "restore into a new database with --create, which touches nothing that exists; or, if what it holds now may go, pass --yes-overwrite-source too",
        );
    }
    if target.holds_something() && !permits.clean && !new {
        refusals.add(
            format!(
                "the target is not empty: it holds {} objects ({}{})",
                target.objects,
                target.examples.join(", "),
                if target.objects > 3 { ", …" } else { "" }
            ),
            "pass --create to restore into a new database, or --clean to replace everything in this one",
        );
    }
    if target.subscriptions > 0 && permits.clean {
        refusals.add(
            "the target has subscriptions, which can't be dropped in a transaction",
            "drop them by hand (DROP SUBSCRIPTION), or restore into a new database",
        );
    }
    if target.read_only {
        refusals.add(
            "the target is read-only",
            "name the primary server in --to (or RESTORE_DATABASE_URL), or set default_transaction_read_only to off",
        );
    }
    if !target.may_create && !new {
        refusals.add(
            format!(
                "the user {} may not create anything in the target",
                target.user
            ),
            "restore as the database's owner or a superuser, or GRANT CREATE ON DATABASE",
        );
    }
    if !target.may_create_temporary && !new {
        refusals.add(
            format!(
                "the user {} may not create temporary tables in the target, one of which guards the transaction",
                target.user
            ),
            "restore as the database's owner or a superuser, or GRANT TEMPORARY ON DATABASE",
        );
    }
    if target.major() < LEAST_MAJOR {
        refusals.add(
            format!("the target is PostgreSQL {}", target.version),
            "restore into PostgreSQL 11 or newer: older ones lack what guards the transaction",
        );
    }
    let Some(backup) = backup else {
        return refusals;
    };
    if let Some(extensions) = missing(&backup.needs.extensions, &target.available_extensions)
        .filter(|_| !permits.skip.extensions)
    {
        refusals.add(
            format!("the target's server does not have these extensions: {extensions}"),
            "restore into a server that has them installed, such as the image of the old one",
        );
    }
    let needs = &backup.needs;
    let mut named = BTreeSet::new();
    if !permits.no_owner {
        named.extend(needs.owners.iter().cloned());
    }
    if !permits.no_privileges {
        named.extend(needs.granted.iter().cloned());
    }
    if let Some(roles) = missing(&named, &target.roles) {
        refusals.add(
            format!("the target's server does not have these roles: {roles}"),
            match (permits.no_owner, permits.no_privileges) {
                (true, _) => "create them (CREATE ROLE), or pass --no-privileges too, to leave grants out as well",
                (false, true) => "create them (CREATE ROLE), or pass --no-owner too: then everything belongs to the target's user",
                (false, false) => "create them (CREATE ROLE; or --globals, if BACKUP_GLOBALS=true stored them), or pass --no-owner --no-privileges to leave owners and grants out",
            },
        );
    }
    if let Some(roles) = missing(&backup.needs.named_roles, &target.roles) {
        refusals.add(
            format!("policies or user mappings name roles that the target's server does not have: {roles}"),
            "create them (CREATE ROLE; or --globals, if BACKUP_GLOBALS=true stored them)",
        );
    }
    // What is of one database only is asked of the new one when it is there.
    if new {
        return refusals;
    }
    if let Letters::Unreadable { from } = Letters::of(backup, &target.encoding) {
        refusals.add(
            format!(
                "the backup holds letters beyond ASCII in {from} and the target's encoding is {}: its server would store their bytes without a look at them, and they could not be read there",
                target.encoding
            ),
            format!(
                "make a database for them with: {}; or let restore make it: --create",
                encoding::createdb(backup, &from)
            ),
        );
    }
    if let Some(shortage) = Shortage::of(backup, target, permits) {
        let Shortage {
            locks,
            room,
            enough,
            large_objects,
        } = shortage;
        let among = if large_objects > 0 {
            format!(" ({large_objects} of them for large objects)")
        } else {
            String::new()
        };
        refusals.add(
            format!("restoring this backup in one transaction takes about {locks} locks{among}, and the target's server has room for {room} at most"),
            format!("restore into a new database with --create, which needs no such transaction; or set max_locks_per_transaction to {enough} and restart that server"),
        );
    }
    let rights = &target.rights;
    rights.refuse(needs, &target.roles, permits, &mut refusals);
    refusals
}

/// Says what may end the restore, and is no reason not to try: then nothing is changed.
pub fn warn(target: &Survey, backup: &Summary) {
    if let Letters::MayLack { from } = Letters::of(backup, &target.encoding) {
        tracing::warn!(
            backup_encoding = from,
            target_encoding = target.encoding,
            hint = encoding::createdb(backup, &from),
            "the target's encoding may lack letters of the backup; one that it lacks will end the restore, with nothing changed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::source::Reason;
    use stream::replay::{Needs, skip};

    fn empty() -> Survey {
        Survey {
            version_number: 170_004,
            may_create: true,
            may_create_temporary: true,
            roles: BTreeSet::from(["postgres".to_owned()]),
            available_extensions: BTreeSet::from(["pgcrypto".to_owned()]),
            rights: Rights::of_a_superuser(),
            ..Survey::default()
        }
    }

    fn check(target: &Survey, source: &Source, permits: Permits, needs: Needs, expected: &[&str]) {
        let backup = Summary {
            needs,
            ..Summary::default()
        };
        let found = refusals(target, source, permits, Some(&backup));
        let texts: Vec<String> = found
            .each()
            .map(|(text, hint)| format!("{text} / {hint}"))
            .collect();
        assert_eq!(texts.len(), expected.len(), "{texts:#?}");
        for (text, piece) in texts.iter().zip(expected) {
            assert!(text.contains(piece), "{piece} in {text}");
        }
    }

    #[test]
    fn nothing_is_hurt_unasked() {
        let full = || Survey {
            objects: 12,
            examples: vec!["table public.users".to_owned()],
            ..empty()
        };
        let clean = Permits {
            clean: true,
            ..Permits::default()
        };
        let both = Permits {
            overwrite_source: true,
            ..clean
        };
        let half = Permits {
            overwrite_source: true,
            ..Permits::default()
        };
        let none = Permits::default;
        check(&empty(), &Source::Another, none(), Needs::default(), &[]);
        check(
            &full(),
            &Source::Another,
            none(),
            Needs::default(),
            &["12 objects (table public.users, …)"],
        );
        check(&full(), &Source::Another, clean, Needs::default(), &[]);
        check(
            &empty(),
            &Source::Same,
            none(),
            Needs::default(),
            &["--yes-overwrite-source"],
        );
        check(
            &empty(),
            &Source::Same,
            clean,
            Needs::default(),
            &["--yes-overwrite-source"],
        );
        check(
            &empty(),
            &Source::Same,
            half,
            Needs::default(),
            &["--yes-overwrite-source"],
        );
        check(&full(), &Source::Same, both, Needs::default(), &[]);
        check(
            &full(),
            &Source::Same,
            half,
            Needs::default(),
            &["BACKUP_DATABASE_URL", "not empty"],
        );
        // The same database may be behind another address.
        for reason in [
            Reason::NotSet,
            Reason::NoAnswer("no such host".to_owned()),
            Reason::NoIdentifier,
        ] {
            let said = reason.to_string();
            let unknown = Source::Unknown(reason);
            check(&full(), &unknown, clean, Needs::default(), &[&said]);
            check(&full(), &unknown, both, Needs::default(), &[]);
            check(&full(), &unknown, none(), Needs::default(), &["not empty"]);
            check(&empty(), &unknown, none(), Needs::default(), &[]);
            check(&empty(), &unknown, clean, Needs::default(), &[]);
            let new_database = Permits {
                new_database: true,
                ..none()
            };
            check(&full(), &unknown, new_database, Needs::default(), &[]);
        }
        let subscriber = Survey {
            subscriptions: 1,
            ..full()
        };
        check(
            &subscriber,
            &Source::Another,
            clean,
            Needs::default(),
            &["subscriptions"],
        );
        let standby = Survey {
            read_only: true,
            may_create: false,
            ..empty()
        };
        check(
            &standby,
            &Source::Another,
            none(),
            Needs::default(),
            &["read-only", "may not create"],
        );
    }

    #[test]
    fn what_the_server_lacks_is_named() {
        let needs = || Needs {
            roles: ["postgres", "app", "b"].map(str::to_owned).into(),
            owners: ["postgres", "app"].map(str::to_owned).into(),
            granted: ["b"].map(str::to_owned).into(),
            extensions: ["pgcrypto", "vector"].map(str::to_owned).into(),
            ..Needs::default()
        };
        let none = Permits::default();
        check(
            &empty(),
            &Source::Another,
            none,
            needs(),
            &["extensions: vector", "roles: app, b"],
        );
        let without = Permits {
            no_owner: true,
            no_privileges: true,
            ..none
        };
        check(&empty(), &Source::Another, without, needs(), &["vector"]);
        let skipping = Permits {
            skip: Skip::default().and(skip::ObjectKind::Extensions),
            ..without
        };
        check(&empty(), &Source::Another, skipping, needs(), &[]);
        let policies = Needs {
            named_roles: ["reader"].map(str::to_owned).into(),
            ..Needs::default()
        };
        check(&empty(), &Source::Another, without, policies, &["reader"]);
    }
}
