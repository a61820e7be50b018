//! The database that a drill fills, and that is gone after it.

use std::time::Duration;

use super::DrillError;
use crate::newborn::{self, Likeness};
use crate::postgres::{self, Database, DatabaseUrl, Idle, PostgresError, Sql};
use crate::reader::Summary;
use crate::replay::Needs;

/// What scratch databases are called; a drill drops those of others that nobody is connected to.
const SCRATCH: &str = "psb_drill_";

/// How long a question about a catalog may take, and making or dropping a database.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// A server, as a drill uses it.
pub(super) struct Place<'a> {
    pub(super) server: Database<'a>,
    pub(super) major: u16,
    pub(super) is_superuser: bool,
}

/// A database that exists as long as the drill.
pub(super) struct Scratch {
    pub(super) url: DatabaseUrl,
    /// A session that does nothing: as long as it is there, no other drill takes this database for a dead one's.
    keeper: Idle,
    /// How far it compares and sorts as the database that was dumped.
    pub(super) likeness: Likeness,
    /// Whether no event trigger runs in it.
    shuts_out_triggers: bool,
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
    pub(super) async fn sweep(&self) {
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

    /// The first extension of a backup that can't be created here even by itself, and what the server says to it. Whatever
    /// the reason, nothing of the backup's own has a part in it.
    pub(super) async fn refused_extension(&self, needs: &Needs) -> Option<(String, String)> {
        /// More than an honest database has; each takes a session of its own.
        const MOST: usize = 200;
        if needs.extensions.is_empty() {
            return None;
        }
        let scratch = self.create(&Summary::default()).await.ok()?;
        let mut refused = None;
        for name in needs.extensions.iter().take(MOST) {
            let create = Sql::new(
                "BEGIN;\nSET LOCAL search_path TO public;\nCREATE EXTENSION IF NOT EXISTS ",
            )
            .name(name)
            .sql(" CASCADE;\nROLLBACK;");
            let database = scratch.database(self);
            if let Err(error) = database.run(&create, LIMIT).await {
                // A server that is away says nothing about an extension.
                let answers = database.answers(LIMIT).await;
                refused = answers.then(|| (name.clone(), error.text));
                break;
            }
        }
        scratch.drop_from(self).await;
        refused
    }

    /// Makes a scratch database, as much like the one that was dumped as this server allows.
    pub(super) async fn create(&self, summary: &Summary) -> Result<Scratch, PostgresError> {
        let name = format!("{SCRATCH}{:016x}", fastrand::u64(..));
        let likeness = newborn::make(&self.server, self.major, &name, summary).await?;
        let shuts_out_triggers = self.shut_out_triggers(&name).await;
        let url = self.server.url.with_database(&name);
        let database = Database {
            url: &url,
            ..self.server
        };
        match database.stay().await {
            Ok(keeper) => Ok(Scratch {
                url,
                keeper,
                likeness,
                shuts_out_triggers,
            }),
            Err(error) => {
                self.drop_database(&name).await;
                Err(error)
            }
        }
    }

    /// Keeps the event triggers of a backup from running in the drill's sessions: since 17 there are some that run at each
    /// login, and they can change rows or shut everybody out. Whether that could be done.
    async fn shut_out_triggers(&self, name: &str) -> bool {
        if self.major < 17 {
            return true;
        }
        let alter = Sql::new("ALTER DATABASE ")
            .name(name)
            .sql(" SET event_triggers TO off;");
        let altered = self.server.run(&alter, LIMIT).await;
        if let Err(error) = &altered {
            tracing::debug!(%error, "event triggers stay on");
        }
        altered.is_ok()
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
pub(crate) async fn drop_subscriptions(database: &Database<'_>) -> Result<(), PostgresError> {
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
    pub(super) fn database<'a>(&'a self, place: &Place<'a>) -> Database<'a> {
        Database {
            url: &self.url,
            ..place.server
        }
    }

    /// Says so if triggers of the backup ran in the drill's sessions since it was restored.
    pub(super) async fn tell_of_triggers(&self, place: &Place<'_>, name: &str) {
        if self.shuts_out_triggers {
            return;
        }
        let question = Sql::new(
            "SELECT dathasloginevt FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database();",
        );
        let answer = self.ask(place, &question).await;
        if answer.is_ok_and(|answer| answer.trim() == "t") {
            tracing::warn!(
                name,
                hint = "drill as a superuser, or GRANT SET ON PARAMETER event_triggers to the drill's user",
                "login event triggers of the backup run in the drill"
            );
        }
    }

    pub(super) async fn ask(
        &self,
        place: &Place<'_>,
        question: &Sql,
    ) -> Result<String, DrillError> {
        /// Counting a large table takes as long as it takes; BACKUP_TIMEOUT ends the drill.
        const LIMIT: Duration = Duration::from_secs(24 * 3600);
        let asked = self.database(place).ask(question, LIMIT).await;
        asked.map_err(DrillError::Server)
    }

    /// Asks for a list of names.
    pub(super) async fn names(
        &self,
        place: &Place<'_>,
        question: &Sql,
    ) -> Result<Vec<String>, DrillError> {
        let answer = self.ask(place, question).await?;
        match answer.trim() {
            // What an aggregate of no rows prints.
            "" => Ok(Vec::new()),
            names => serde_json::from_str(names)
                .map_err(|_| DrillError::Server(postgres::not_understood(place.server.client))),
        }
    }

    pub(super) async fn drop_from(self, place: &Place<'_>) {
        self.keeper.end().await;
        place.drop_database(self.url.database()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
