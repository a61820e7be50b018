//! A dump that stops in the middle of a table until it is released, however fast the machine is.

use super::postgres::{PASSWORD, Postgres, USER};
use super::process::{LIMIT, Process, wait_until};
use super::service::Variables;
use super::unique;

/// A database with a table that can't be read past one of its rows. It is a foreign table, which reads a view of the same
/// database, and at that row the view waits for an advisory lock that a session of the test holds. The rows before it have
/// been sent by then.
#[derive(Debug)]
pub struct Halted<'a> {
    server: &'a Postgres,
    database: String,
    holder: Option<Process>,
}

impl<'a> Halted<'a> {
    /// Makes a table `halting` with these numbers of rows before and after the halt. Each has about 70 bytes.
    pub fn new(server: &'a Postgres, before: u32, after: u32) -> Self {
        let database = unique("halted").replace('-', "_");
        server.create_database(&database, "");
        server.psql(&database, &format!(
            "CREATE FUNCTION pass() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN true; END';
             CREATE VIEW source AS SELECT g AS id, md5(g::text) || md5((-g)::text) AS a
               FROM generate_series(1, {}) g WHERE g <> {before} + 1 OR pass();
             CREATE EXTENSION postgres_fdw;
             CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{}', dbname '{database}');
             CREATE USER MAPPING FOR {USER} SERVER itself OPTIONS (user '{USER}', password '{PASSWORD}');
             CREATE FOREIGN TABLE halting (id integer, a text) SERVER itself OPTIONS (table_name 'source')",
            before + 1 + after, server.port()));
        let mut command = Process::command(Postgres::bin(17).join("psql"));
        command.args(["-X", "-q", "-d", &server.url(&database), "-c"]);
        command
            .arg("SELECT pg_advisory_lock(7)")
            .args(["-c", "SELECT pg_sleep(3600)"]);
        let holder = Some(Process::spawn(command));
        server.wait_for(
            &database,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            "1",
        );
        Self {
            server,
            database,
            holder,
        }
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The superuser's URL for the database.
    pub fn url(&self) -> String {
        self.server.url(&self.database)
    }

    /// Changes the variables so that the dump is halted.
    pub fn variables(&self, variables: Variables) -> Variables {
        variables
            .with("BACKUP_DATABASE_URL", &self.url())
            .with("BACKUP_OPTIONS", OPTION)
    }

    /// Waits until the dump has stopped, and returns the process number of its backend.
    pub fn wait(&self) -> u32 {
        let query = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{0}' AND application_name = 'postgres-s3-backups' AND query LIKE 'COPY %' \
             AND EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{0}' AND application_name = 'postgres_fdw' AND wait_event = 'advisory')",
            self.database
        );
        wait_until("halt in the middle of a table", LIMIT, || {
            self.server.psql("postgres", &query).parse().ok()
        })
    }

    /// Lets the dump continue.
    pub fn release(&self) {
        // Ending psql is not enough, because a server does not notice that the client of a sleeping session is gone.
        self.server.psql("postgres", &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query = 'SELECT pg_sleep(3600)'",
            self.database
        ));
    }

    /// Hands the halt over to a process, for a test that needs the server for itself.
    pub fn leave(mut self) -> Process {
        self.holder.take().expect("it is taken here only")
    }

    /// How many sessions the service has in this database.
    pub fn sessions(&self) -> String {
        self.server.psql("postgres", &format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'postgres-s3-backups'",
            self.database
        ))
    }
}

/// By default `pg_dump` leaves the rows of foreign tables out.
pub const OPTION: &str = "--include-foreign-data=itself";

impl Drop for Halted<'_> {
    fn drop(&mut self) {
        if self.holder.take().is_some() {
            // The server may be a shared one.
            drop(self.server.try_psql(
                "postgres",
                &format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
                    self.database
                ),
            ));
        }
    }
}
