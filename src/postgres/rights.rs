//! What the user may read of a database, and what prevents a dump of all of it.

use std::time::Duration;

use serde::Deserialize;

use super::{Cause, Database, PostgresError, Sql, not_understood};

/// How long the question may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A count, and the names of some of the things counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Named {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Named {
    /// `3 tables (a, b, …)`
    pub(crate) fn text(&self, one: &str, many: &str) -> String {
        let what = if self.count == 1 { one } else { many };
        let listed = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        let more = if self.count > listed { ", …" } else { "" };
        format!("{} {what} ({}{more})", self.count, self.first.join(", "))
    }
}

/// A table that another session has locked exclusively.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Held {
    pub(crate) table: String,
    pub(crate) pid: Option<i64>,
    /// The name of a prepared transaction, which has no process.
    pub(crate) gid: Option<String>,
    /// How long ago its transaction began, if this user may see that.
    pub(crate) seconds: Option<u64>,
}

/// What this user may not read, and which locks prevent reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Rights {
    pub(crate) user: String,
    pub(crate) tls: Option<String>,
    pub(crate) tables: u64,
    pub(crate) schemas: Named,
    pub(crate) unreadable: Named,
    pub(crate) large_objects: Named,
    pub(crate) row_security: Named,
    pub(crate) held: Vec<Held>,
}

/// Finds out what this user may not read, so that no dump of the whole database can succeed.
///
/// # Errors
/// What `psql` said, with its kind.
pub(crate) async fn what_is_closed(
    database: &Database<'_>,
) -> Result<Option<Cause>, PostgresError> {
    let rights = Rights::ask(database).await?;
    Ok(if rights.schemas.count > 0 || rights.unreadable.count > 0 {
        Some(Cause::Permission)
    } else if rights.row_security.count > 0 {
        Some(Cause::RowSecurity)
    } else if rights.large_objects.count > 0 {
        Some(Cause::LargeObject)
    } else {
        None
    })
}

impl Rights {
    pub(crate) async fn ask(database: &Database<'_>) -> Result<Self, PostgresError> {
        let answer = database.ask(&rights(), LIMIT).await?;
        serde_json::from_str(answer.trim()).map_err(|_| not_understood(database.client))
    }
}

/// The question. It reads only catalogs, and locks no table. `pg_dump` reads tables and the state of each sequence; of what
/// belongs to an extension, it reads only what the extension marks as data. Before version 18 there is no function that tells
/// the rights on a large object, so the lists of rights are read.
fn rights() -> Sql {
    Sql::new(
        r"
WITH configured AS (SELECT pg_catalog.unnest(extconfig) AS oid FROM pg_catalog.pg_extension),
member AS (
    SELECT objid FROM pg_catalog.pg_depend
    WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND deptype OPERATOR(pg_catalog.=) 'e'),
dumped AS (
    SELECT c.oid, relnamespace, nspname, relkind, pg_catalog.format('%I.%I', nspname, relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) relnamespace
    WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p,S}')
      AND NOT nspname OPERATOR(pg_catalog.~) '^pg_' AND nspname OPERATOR(pg_catalog.<>) 'information_schema'
      AND (NOT EXISTS (SELECT FROM member WHERE objid OPERATOR(pg_catalog.=) c.oid)
           OR EXISTS (SELECT FROM configured WHERE configured.oid OPERATOR(pg_catalog.=) c.oid))),
closed AS (
    SELECT DISTINCT pg_catalog.format('%I', nspname) AS name FROM dumped
    WHERE pg_catalog.has_schema_privilege(relnamespace, 'USAGE') IS FALSE),
unreadable AS (SELECT name FROM dumped WHERE pg_catalog.has_table_privilege(oid, 'SELECT') IS FALSE),
hidden AS (
    SELECT name FROM dumped
    WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p}') AND pg_catalog.row_security_active(oid)),
sealed AS (
    SELECT oid::pg_catalog.text AS name FROM pg_catalog.pg_largeobject_metadata
    WHERE NOT pg_catalog.current_setting('lo_compat_privileges')::boolean
      AND NOT pg_catalog.pg_has_role(lomowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(lomacl) a
                      WHERE a.privilege_type OPERATOR(pg_catalog.=) 'SELECT'
                        AND (a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))),
here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()),
held AS (
    SELECT d.name AS table, l.pid, p.gid,
           pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) COALESCE(a.xact_start, p.prepared)))::bigint AS seconds
    FROM pg_catalog.pg_locks l JOIN dumped d ON d.oid OPERATOR(pg_catalog.=) l.relation
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid
    LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.pid IS NULL
        AND x.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction AND x.locktype OPERATOR(pg_catalog.=) 'transactionid'
    LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction OPERATOR(pg_catalog.=) x.transactionid
    WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock' AND l.granted
      AND d.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}')
      AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM here)
    ORDER BY seconds DESC NULLS FIRST, d.name LIMIT 3)
SELECT pg_catalog.json_build_object(
    'user', pg_catalog.format('%I', CURRENT_USER),
    'tls', (SELECT version FROM pg_catalog.pg_stat_ssl WHERE ssl AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),
    'tables', (SELECT pg_catalog.count(*) FROM dumped WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p}')),
    'schemas', (SELECT pg_catalog.json_build_object('count', pg_catalog.count(*), 'first', COALESCE((SELECT pg_catalog.json_agg(name) FROM (SELECT name FROM closed ORDER BY name LIMIT 3) f), '[]')) FROM closed),
    'unreadable', (SELECT pg_catalog.json_build_object('count', pg_catalog.count(*), 'first', COALESCE((SELECT pg_catalog.json_agg(name) FROM (SELECT name FROM unreadable ORDER BY name LIMIT 3) f), '[]')) FROM unreadable),
    'row_security', (SELECT pg_catalog.json_build_object('count', pg_catalog.count(*), 'first', COALESCE((SELECT pg_catalog.json_agg(name) FROM (SELECT name FROM hidden ORDER BY name LIMIT 3) f), '[]')) FROM hidden),
    'large_objects', (SELECT pg_catalog.json_build_object('count', pg_catalog.count(*), 'first', COALESCE((SELECT pg_catalog.json_agg(name) FROM (SELECT name FROM sealed ORDER BY name LIMIT 3) f), '[]')) FROM sealed),
    'held', (SELECT COALESCE(pg_catalog.json_agg(held), '[]') FROM held));
",
    )
}
