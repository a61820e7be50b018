//! A dump that halts in the middle of a table until it is let go, on a machine of any speed.

use super::postgres::{PASSWORD, Postgres, USER};
use super::process::{LIMIT, Process, wait_until};
use super::service::Variables;
use super::unique;

/// A database with a table whose reader waits for a lock at one of its rows: the table is a foreign one, and reads a
/// view of the same database that wants an advisory lock which a session of ours holds. The rows before were sent by then.
#[derive(Debug)]
pub struct Halted<'a> {
    server: &'a Postgres,
    database: String,
    holder: Option<Process>,
}

impl<'a> Halted<'a> {
    /// A table `halting` of as many rows, each of about 70 bytes, before and after the halt.
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

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The superuser's URL of it.
    pub fn url(&self) -> String {
        self.server.url(&self.database)
    }

    /// The same variables, for a dump that is halted.
    pub fn variables(&self, variables: Variables) -> Variables {
        variables
            .with("BACKUP_DATABASE_URL", &self.url())
            .with("BACKUP_OPTIONS", OPTION)
    }

    /// Waits until the dump stands still, and gives its backend's process id.
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

    /// Lets the dump go on.
    pub fn release(&self) {
        // psql's end alone would not do: a server does not notice that a sleeping session's client is gone.
        self.server.psql("postgres", &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query = 'SELECT pg_sleep(3600)'",
            self.database
        ));
    }

    /// Leaves the halt to a process, for a test that needs the server for itself.
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
