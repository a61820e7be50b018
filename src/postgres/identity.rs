//! Which database this is, under whatever address it was reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Client, Database, DatabaseUrl, PostgresError, Sql, not_understood, probe};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What makes a database this one and no other: its server's identifier and its number there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `None` if the server does not tell it to this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The number of the database on its server.
    pub database_oid: String,
}

impl Identity {
    /// Whether both are the same database. `None` if that is possible, and a server does not say who it is.
    #[must_use]
    pub fn is_the_same(&self, other: &Self) -> Option<bool> {
        if self.database_oid != other.database_oid {
            return Some(false);
        }
        match (&self.system_identifier, &other.system_identifier) {
            (Some(one), Some(other)) => Some(one == other),
            _ => None,
        }
    }

    /// Whether both are databases of one server, as far as these users may know it.
    #[must_use]
    pub fn is_on_server_of(&self, other: &Self) -> bool {
        self.system_identifier.is_some() && self.system_identifier == other.system_identifier
    }
}

/// Asks a database who it is. A user who may not read the server's identifier gets the number of the database alone.
///
/// # Errors
/// Whatever `psql` said.
pub async fn identity(database: &Database<'_>) -> Result<Identity, PostgresError> {
    #[derive(Deserialize)]
    struct Rights {
        may_read_identifier: bool,
        database_oid: String,
    }
    // The server checks the right to run a function even where it would never be run, so this is a question of its own.
    let rights = Sql::new(
        "SELECT pg_catalog.json_build_object('may_read_identifier', COALESCE(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), false), 'database_oid', (SELECT oid::pg_catalog.text FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()));",
    );
    let rights: Rights = ask(database, &rights).await?;
    if !rights.may_read_identifier {
        return Ok(Identity {
            system_identifier: None,
            database_oid: rights.database_oid,
        });
    }
    let whole = Sql::new(
        "SELECT pg_catalog.json_build_object('system_identifier', (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()), 'database_oid', (SELECT oid::pg_catalog.text FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()));",
    );
    ask(database, &whole).await
}

/// The same for a database that was not asked anything before, in the session that its server accepts.
///
/// # Errors
/// Whatever `psql` said.
pub async fn identity_at(client: &Client, url: &DatabaseUrl) -> Result<Identity, PostgresError> {
    let server = probe(client, url).await?;
    let url = server.url(url);
    identity(&Database {
        client,
        url: &url,
        session: server.session,
    })
    .await
}

async fn ask<T: for<'a> Deserialize<'a>>(
    database: &Database<'_>,
    question: &Sql,
) -> Result<T, PostgresError> {
    let answer = database.ask(question, LIMIT).await?;
    serde_json::from_str(answer.trim()).map_err(|_| not_understood(database.client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_another_one_only_where_that_is_certain() {
        let identity = |identifier: Option<&str>, oid: &str| Identity {
            system_identifier: identifier.map(str::to_owned),
            database_oid: oid.to_owned(),
        };
        for (one, other, same) in [
            ((Some("7"), "1"), (Some("7"), "1"), Some(true)),
            ((Some("7"), "1"), (Some("8"), "1"), Some(false)),
            ((Some("7"), "1"), (Some("7"), "2"), Some(false)),
            // Nobody knows which server it is, but one server has no two databases of one number.
            ((None, "1"), (Some("7"), "1"), None),
            ((Some("7"), "1"), (None, "1"), None),
            ((None, "1"), (None, "1"), None),
            ((None, "1"), (None, "2"), Some(false)),
        ] {
            let (one, other) = (identity(one.0, one.1), identity(other.0, other.1));
            assert_eq!(one.is_the_same(&other), same, "{one:?} {other:?}");
        }
    }
}
