//! Where a backup comes from. A database is asked for this before it is dumped, because its dump will not hold it.
//!
//! A dump needs none of this, so no answer can make a backup fail. Managed services and poolers refuse some of the
//! questions; what they refuse is absent from the backup's head.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::dump::label::Origin;
use crate::fault::Kind;
use crate::postgres::{Database, PostgresError, Sql, not_understood};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks for everything at once. If that fails, it asks for each fact by itself, so that one refusal costs only one answer.
pub(crate) async fn ask(database: &Database<'_>) -> Origin {
    match question(database, &facts()).await {
        Ok(origin) => origin.bounded(),
        Err(error) if error.kind == Kind::Connect => {
            tracing::debug!(error = %error, "the backup's head holds nothing about the database, which did not answer");
            Origin::default()
        }
        Err(error) => {
            tracing::debug!(error = %error, "could not ask for all facts of a backup's head at once");
            one_by_one(database).await
        }
    }
}

async fn one_by_one(database: &Database<'_>) -> Origin {
    let mut origin = Origin::default();
    for fact in facts() {
        let name = fact.0;
        match question(database, &[fact]).await {
            Ok(found) => origin = merged(origin, found.bounded()),
            Err(error) => {
                tracing::debug!(fact = name, error = %error, "left out of the backup's head");
            }
        }
    }
    origin
}

/// Puts together what two answers say. No part is in both.
fn merged(one: Origin, other: Origin) -> Origin {
    Origin {
        database: one.database.or(other.database),
        settings: one.settings.or(other.settings),
        extensions: one.extensions.or(other.extensions),
        roles: one.roles.or(other.roles),
        unlogged_tables: one.unlogged_tables.or(other.unlogged_tables),
        tablespaces: one.tablespaces.or(other.tablespaces),
        is_cut: one.is_cut || other.is_cut,
        relations: one.relations.or(other.relations),
    }
}

async fn question(
    database: &Database<'_>,
    facts: &[(&'static str, Sql)],
) -> Result<Origin, PostgresError> {
    let mut question = Sql::new("SELECT pg_catalog.json_build_object(");
    for (at, (name, fact)) in facts.iter().enumerate() {
        question = question
            .sql(if at > 0 { ", " } else { "" })
            .text(name)
            .sql(", (")
            .piece(fact)
            .sql(")");
    }
    let answer = database.ask(&question.sql(");"), LIMIT).await?;
    parse(&answer).ok_or_else(|| not_understood(database.client))
}

fn parse(answer: &str) -> Option<Origin> {
    let mut answer: Map<String, Value> = serde_json::from_str(answer.trim()).ok()?;
    for setting in answer
        .get_mut("settings")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        split(setting.as_object_mut()?);
    }
    serde_json::from_value(Value::Object(answer)).ok()
}

/// The server keeps a setting as `name=value`.
fn split(setting: &mut Map<String, Value>) {
    let whole = setting.remove("setting");
    let whole = whole.as_ref().and_then(Value::as_str).unwrap_or_default();
    let (name, value) = whole.split_once('=').unwrap_or((whole, ""));
    setting.insert("name".to_owned(), name.into());
    setting.insert("value".to_owned(), value.into());
}

/// The name of each part of an [`Origin`], and the query for it. Where the columns of a catalog differ between versions, its
/// row is read as JSON, so that a missing column is absent and not an error.
fn facts() -> [(&'static str, Sql); 7] {
    [
        ("database", database()),
        ("settings", settings()),
        ("extensions", extensions()),
        ("roles", roles()),
        ("unlogged_tables", unlogged_tables()),
        ("tablespaces", tablespaces()),
        ("relations", relations()),
    ]
}

/// PostgreSQL 15 added `datlocprovider` and `daticulocale`, 16 `daticurules`, and 17 `datlocale`.
fn database() -> Sql {
    Sql::new(
        "SELECT pg_catalog.json_build_object('name', datname, 'owner', pg_catalog.pg_get_userbyid(datdba), 'encoding', pg_catalog.pg_encoding_to_char(encoding), 'provider', CASE WHEN provider OPERATOR(pg_catalog.=) 'i' THEN 'icu' WHEN provider OPERATOR(pg_catalog.=) 'b' THEN 'builtin' ELSE 'libc' END, 'collate', datcollate, 'ctype', datctype, 'locale', COALESCE(more OPERATOR(pg_catalog.->>) 'datlocale', more OPERATOR(pg_catalog.->>) 'daticulocale'), 'rules', more OPERATOR(pg_catalog.->>) 'daticurules', 'version', more OPERATOR(pg_catalog.->>) 'datcollversion') FROM (SELECT datname, datdba, encoding, datcollate, datctype, pg_catalog.to_jsonb(d) AS more, pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) 'datlocprovider' AS provider FROM pg_catalog.pg_database d WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS d",
    )
}

fn settings() -> Sql {
    Sql::new(
        "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('role', rolname, 'setting', setting)), '[]') FROM (SELECT rolname, setting FROM pg_catalog.pg_database d, pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) setrole, pg_catalog.unnest(setconfig) AS c (setting) WHERE d.oid OPERATOR(pg_catalog.=) setdatabase AND datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND (setrole OPERATOR(pg_catalog.=) 0 OR rolname IS NOT NULL) ORDER BY rolname NULLS FIRST, setting LIMIT 20001) AS s",
    )
}

fn extensions() -> Sql {
    Sql::new(
        "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('name', extname, 'version', extversion, 'schema', nspname)), '[]') FROM (SELECT extname, extversion, nspname FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) extnamespace ORDER BY extname LIMIT 20001) AS e",
    )
}

/// The server keeps a list of the roles that own something or are granted something. Roles that `initdb` made are not in it:
/// the superuser among them is looked up among the owners of what was made later, and the others exist on every server.
fn roles() -> Sql {
    Sql::new(
        "SELECT COALESCE(pg_catalog.json_agg(rolname), '[]') FROM (SELECT rolname FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND (r.oid OPERATOR(pg_catalog.=) datdba OR EXISTS (SELECT FROM pg_catalog.pg_shdepend s WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass AND refobjid OPERATOR(pg_catalog.=) r.oid AND (dbid OPERATOR(pg_catalog.=) d.oid OR classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass AND objid OPERATOR(pg_catalog.=) d.oid))",
    )
    .sql(" OR r.oid OPERATOR(pg_catalog.=) 10 AND (EXISTS (SELECT FROM pg_catalog.pg_class WHERE relowner OPERATOR(pg_catalog.=) 10 AND oid OPERATOR(pg_catalog.>=) 16384) OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proowner OPERATOR(pg_catalog.=) 10 AND oid OPERATOR(pg_catalog.>=) 16384) OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typowner OPERATOR(pg_catalog.=) 10 AND oid OPERATOR(pg_catalog.>=) 16384) OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspowner OPERATOR(pg_catalog.=) 10 AND oid OPERATOR(pg_catalog.>=) 16384) OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata WHERE lomowner OPERATOR(pg_catalog.=) 10)))")
    .sql(" ORDER BY rolname LIMIT 20001) AS r")
}

fn unlogged_tables() -> Sql {
    Sql::new(
        "SELECT COALESCE(pg_catalog.json_agg(name), '[]') FROM (SELECT pg_catalog.format('%I.%I', nspname, relname) AS name FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) relnamespace WHERE relpersistence OPERATOR(pg_catalog.=) 'u' AND relkind OPERATOR(pg_catalog.=) 'r' ORDER BY nspname, relname LIMIT 20001) AS t",
    )
}

fn tablespaces() -> Sql {
    Sql::new(
        "SELECT COALESCE(pg_catalog.json_agg(spcname), '[]') FROM (SELECT spcname FROM pg_catalog.pg_tablespace t WHERE spcname OPERATOR(pg_catalog.<>) 'pg_default' AND spcname OPERATOR(pg_catalog.<>) 'pg_global' AND (EXISTS (SELECT FROM pg_catalog.pg_class WHERE reltablespace OPERATOR(pg_catalog.=) t.oid) OR EXISTS (SELECT FROM pg_catalog.pg_database WHERE dattablespace OPERATOR(pg_catalog.=) t.oid AND datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) ORDER BY spcname LIMIT 20001) AS t",
    )
}

fn relations() -> Sql {
    Sql::new(
        r"SELECT pg_catalog.json_build_object(
    'tables', pg_catalog.count(*) FILTER (WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f}')),
    'views', pg_catalog.count(*) FILTER (WHERE relkind OPERATOR(pg_catalog.=) ANY ('{v,m,c}')),
    'toasts', pg_catalog.count(*) FILTER (WHERE reltoastrelid OPERATOR(pg_catalog.<>) 0),
    'key_indexes', pg_catalog.count(*) FILTER (WHERE relkind OPERATOR(pg_catalog.=) ANY ('{i,I}') AND is_of_key),
    'indexes', pg_catalog.count(*) FILTER (WHERE relkind OPERATOR(pg_catalog.=) ANY ('{i,I}') AND NOT is_of_key),
    'sequences', pg_catalog.count(*) FILTER (WHERE relkind OPERATOR(pg_catalog.=) 'S'),
    'functions', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) pronamespace
        WHERE NOT nspname OPERATOR(pg_catalog.~) '^pg_' AND nspname OPERATOR(pg_catalog.<>) 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid OPERATOR(pg_catalog.=) p.oid
              AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e')),
    'large_objects', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata))
FROM (SELECT relkind, reltoastrelid, EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conindid OPERATOR(pg_catalog.=) c.oid
          AND contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}')) AS is_of_key
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) relnamespace
      WHERE NOT nspname OPERATOR(pg_catalog.~) '^pg_' AND nspname OPERATOR(pg_catalog.<>) 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid OPERATOR(pg_catalog.=) c.oid
            AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e')) AS c",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_cut_at_its_first_equals_sign() {
        let origin = parse(r#" {"settings": [{"role": null, "setting": "a.b=c=d"}, {"role": "r", "setting": "x"}], "later": 1} "#).unwrap();
        let settings = origin.settings.unwrap();
        let of = |at: usize| {
            let setting: &crate::dump::label::Setting = &settings[at];
            (
                setting.role.as_deref(),
                setting.name.as_str(),
                setting.value.as_str(),
            )
        };
        assert_eq!(of(0), (None, "a.b", "c=d"));
        assert_eq!(of(1), (Some("r"), "x", ""));
        assert_eq!(origin.roles, None);
        for answer in ["", "[]", "{\"settings\": [1]}", "{\"roles\": 1}"] {
            assert_eq!(parse(answer), None, "{answer}");
        }
    }
}
