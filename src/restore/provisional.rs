//! Databases that this service makes and that do not stay under the name they are made with: a drill drops its own, and a
//! restore renames its own when all of the backup is in it. What SIGKILL left of them is known by its name.

use std::time::Duration;

use crate::postgres::{self, Database, PostgresError, Sql};

/// How long a question about a catalog may take, and dropping a database.
const LIMIT: Duration = Duration::from_secs(300);

/// What the names of one kind begin with; 16 hexadecimal digits follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Provisional(pub(crate) &'static str);

impl Provisional {
    /// A new name of this kind.
    pub(crate) fn name(self) -> String {
        format!("{}{:016x}", self.0, fastrand::u64(..))
    }

    /// Whether this is the name of such a database. It is asked here and not of the server, which could say anything.
    pub(crate) fn is_one(self, name: &str) -> bool {
        name.strip_prefix(self.0).is_some_and(|digits| {
            digits.len() == 16
                && digits
                    .bytes()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
    }

    /// What was left behind: databases of this role that nobody is connected to.
    pub(crate) async fn left(self, server: &Database<'_>) -> Result<Vec<String>, PostgresError> {
        let question = Sql::new(
            "SELECT COALESCE(pg_catalog.json_agg(datname), '[]') FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) d.datdba WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER AND pg_catalog.starts_with(datname::pg_catalog.text, ",
        )
        .text(self.0)
        .sql(") AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid OPERATOR(pg_catalog.=) d.oid);");
        let left = server.ask(&question, LIMIT).await?;
        let left: Vec<String> = serde_json::from_str(left.trim())
            .map_err(|_| postgres::not_understood(server.client))?;
        Ok(left.into_iter().filter(|name| self.is_one(name)).collect())
    }
}

/// Drops a database. With the server's major version, the sessions in it are ended; without, whoever came meanwhile keeps it.
pub(crate) async fn drop_database(
    server: &Database<'_>,
    name: &str,
    by_force: Option<u16>,
) -> Result<(), PostgresError> {
    let drop = Sql::new("DROP DATABASE IF EXISTS ").name(name);
    // Before 13 there is no FORCE.
    let drop = match by_force {
        Some(13..) => drop.sql(" WITH (FORCE);"),
        _ => drop.sql(";"),
    };
    server.run(&drop, LIMIT).await.map(|_| ())
}

/// Drops the subscriptions of a database, each of which would keep it for ever, without a word to where they lead.
pub(crate) async fn drop_subscriptions(
    server: &Database<'_>,
    name: &str,
) -> Result<(), PostgresError> {
    let url = server.url.with_database(name);
    let database = Database {
        url: &url,
        ..*server
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_given_here_are_taken_for_such_databases() {
        let drill = Provisional("psb_drill_");
        assert!(drill.is_one("psb_drill_0123456789abcdef"));
        assert!(drill.is_one(&drill.name()));
        for name in [
            "psb_drill_0123456789abcde",
            "psb_drill_0123456789abcdef0",
            "psb_drill_0123456789ABCDEF",
            "psb_drill_0123456789abcde\n",
            "apsb_drill_0123456789abcdef",
            "psb_restore_0123456789abcdef",
            "shop",
            "",
        ] {
            assert!(!drill.is_one(name), "{name:?}");
        }
    }
}
