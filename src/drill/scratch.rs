//! The database that a drill fills, and that is gone after it.

use std::time::Duration;

use super::DrillError;
use crate::postgres::{self, Database, DatabaseUrl, Idle, PostgresError, Sql};
use crate::reader::Summary;
use crate::restore::newborn::{self, Likeness};
use crate::restore::provisional::{self, Provisional};
use stream::replay::Needs;

/// What scratch databases are called; a drill drops those of others that nobody is connected to.
const SCRATCH: Provisional = Provisional("psb_drill_");

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

impl Place<'_> {
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
