//! The database that a drill restores into. It is dropped after the drill.

use std::time::Duration;

use super::DrillError;
use crate::postgres::{self, Database, DatabaseUrl, Idle, PostgresError, Sql};
use crate::reader::Summary;
use crate::restore::newborn::{self, Likeness};
use crate::restore::provisional::{self, Provisional};
use stream::replay::Needs;

/// How the names of scratch databases begin. A drill drops those of earlier drills that nobody is connected to.
const SCRATCH: Provisional = Provisional("psb_drill_");

/// How long a question about a catalog may take, and the creation or removal of a database.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// The server that a drill uses.
pub(super) struct DrillHost<'a> {
    pub(super) server: Database<'a>,
    pub(super) major: u16,
    pub(super) is_superuser: bool,
}

/// A database that exists as long as the drill.
pub(super) struct Scratch {
    pub(super) url: DatabaseUrl,
    /// A session that does nothing. As long as it exists, no other drill takes this database for one that a killed drill
    /// left behind.
    keeper: Idle,
    /// Whether it compares and sorts like the database that was dumped.
    pub(super) likeness: Likeness,
    /// Whether event triggers are turned off in it.
    shuts_out_triggers: bool,
}

impl DrillHost<'_> {
    /// Drops what killed drills left behind: scratch databases of this role that nobody is connected to.
    pub(super) async fn sweep(&self) {
        let left = match SCRATCH.left(&self.server).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(error = %error, "could not look for scratch databases");
                return;
            }
        };
        for name in &left {
            match self.drop_scratch(name, None).await {
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

    /// The first extension of a backup that can't be created here even on its own, and what the server answers. Whatever the
    /// reason, it is not the backup's own content.
    pub(super) async fn refused_extension(&self, needs: &Needs) -> Option<(String, String)> {
        /// This is more than an honest database has. The number is limited because each extension takes a session.
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
                // If the server is gone, that says nothing about the extension.
                let answers = database.answers(LIMIT).await;
                refused = answers.then(|| (name.clone(), error.text));
                break;
            }
        }
        scratch.drop_from(self).await;
        refused
    }

    /// Makes a scratch database that is as similar to the dumped one as this server allows.
    pub(super) async fn create(&self, summary: &Summary) -> Result<Scratch, PostgresError> {
        let name = SCRATCH.name();
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

    /// Keeps the event triggers of a backup from running in the drill's sessions. Since PostgreSQL 17, some of them run at
    /// each login, and can change rows or lock everybody out. Returns whether that could be done.
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

    /// Drops a scratch database. The subscriptions in it are dropped first, because a database with a subscription can't be
    /// dropped.
    async fn drop_scratch(&self, name: &str, by_force: Option<u16>) -> Result<(), PostgresError> {
        if let Err(error) = provisional::drop_subscriptions(&self.server, name).await {
            tracing::warn!(database = name, error = %error, "could not drop the subscriptions in a scratch database");
        }
        provisional::drop_database(&self.server, name, by_force).await
    }

    async fn drop_database(&self, name: &str) {
        if let Err(error) = self.drop_scratch(name, Some(self.major)).await {
            tracing::warn!(database = name, error = %error, "could not drop scratch database; the next drill drops it");
        }
    }
}

impl Scratch {
    pub(super) fn database<'a>(&'a self, host: &DrillHost<'a>) -> Database<'a> {
        Database {
            url: &self.url,
            ..host.server
        }
    }

    /// Warns if triggers of the backup run in the drill's sessions.
    pub(super) async fn tell_of_triggers(&self, host: &DrillHost<'_>, name: &str) {
        if self.shuts_out_triggers {
            return;
        }
        let question = Sql::new(
            "SELECT dathasloginevt FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database();",
        );
        let answer = self.ask(host, &question).await;
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
        host: &DrillHost<'_>,
        question: &Sql,
    ) -> Result<String, DrillError> {
        /// Counting a large table can take very long. BACKUP_TIMEOUT ends the drill.
        const LIMIT: Duration = Duration::from_secs(24 * 3600);
        let asked = self.database(host).ask(question, LIMIT).await;
        asked.map_err(DrillError::Server)
    }

    /// Asks for a list of names.
    pub(super) async fn names(
        &self,
        host: &DrillHost<'_>,
        question: &Sql,
    ) -> Result<Vec<String>, DrillError> {
        let answer = self.ask(host, question).await?;
        match answer.trim() {
            // An aggregate of no rows prints nothing.
            "" => Ok(Vec::new()),
            names => serde_json::from_str(names)
                .map_err(|_| DrillError::Server(postgres::not_understood(host.server.client))),
        }
    }

    pub(super) async fn drop_from(self, host: &DrillHost<'_>) {
        self.keeper.end().await;
        host.drop_database(self.url.database()).await;
    }
}
