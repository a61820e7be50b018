//! What belongs to the server as a whole and not to one of its databases: roles, their settings and memberships, tablespaces.
//! With `BACKUP_GLOBALS=true` they are stored beside each backup, and `restore --globals` makes those roles that are missing.
//!
//! They are read after the backup was made and reported, so that they can't delay it or let it fail.

use std::time::Duration;

mod missing;
mod plan;
mod statement;

pub(crate) use missing::restore;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup::{self, BackupError, Job};
use crate::catalog::BackupName;
use crate::dump::Dump;
use crate::dump::label::{self, Head, Origin};
use crate::fault::Kind;
use crate::format;
use crate::postgres::{
    self, Client, Database, DatabaseUrl, PostgresError, Server, Sql, random_key,
};
use crate::store::upload::{self, Upload};
use stream::script::COUNTING;

/// What to do where the hashes of passwords may not be read by the user of that URL.
#[must_use]
pub(crate) fn passwords_hint(url: &DatabaseUrl) -> String {
    format!(
        "only superusers may read password hashes, so that after a restore the passwords have to be set anew; use a superuser in {} if the provider gives one, else keep the passwords elsewhere",
        url.variable()
    )
}

/// An object with the roles and settings of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it holds the hashes of passwords.
    pub passwords: bool,
    /// How long it took to make.
    pub took: Duration,
}

/// Reads the roles and settings of the server, and stores them beside the backup of that name. There is one attempt, within
/// `BACKUP_TIMEOUT`.
///
/// # Errors
/// Why there is no such object. The backup is not touched.
pub(crate) async fn store(
    job: &Job,
    name: &BackupName,
    stop: &CancellationToken,
) -> Result<Stored, BackupError> {
    let started = Instant::now();
    let early = || async {
        tokio::select! {
            () = stop.cancelled() => BackupError::Cancelled,
            () = tokio::time::sleep_until(started + job.timeout) => BackupError::Deadline(job.timeout),
        }
    };
    let key = name.globals();
    let (server, client, passwords) = tokio::select! {
        prepared = prepare(job) => prepared?,
        error = early() => return Err(error),
    };
    let part_size = upload::part_size(0);
    let mark = format!("{:032x}", fastrand::u128(..));
    let mut upload = backup::begin(job, &key, part_size, &mark, early()).await?;
    let started_dump = Dump::start_globals(
        client,
        &job.database,
        &server,
        &options(&server, job.database.database(), passwords),
        &job.patience,
    );
    let (dump, output) = match started_dump {
        Ok(started) => started,
        Err(error) => return Err(given_up(upload, error.into(), early()).await),
    };
    let head = head(&key, name, &server, client).line();
    let streamed = tokio::select! {
        streamed = backup::stream(output, head, job.compression, part_size, &mut upload) => streamed,
        error = early() => Err(error),
    };
    let output = match streamed {
        Ok((output, _, _)) => output,
        Err(error) => {
            dump.stop().await;
            return Err(given_up(upload, error, early()).await);
        }
    };
    let proof = match dump.finish(output).await {
        Ok(proof) => proof,
        Err(error) => return Err(given_up(upload, error.into(), early()).await),
    };
    let stored = upload.complete(proof, early()).await?;
    Ok(Stored {
        key,
        size_bytes: stored.size_bytes,
        passwords,
        took: started.elapsed(),
    })
}

async fn given_up(
    upload: Upload,
    error: BackupError,
    over: impl Future<Output = BackupError>,
) -> BackupError {
    upload.abort(over).await;
    error
}

/// Finds out what is needed before anything is begun: the server, its client, and whether the passwords may be read.
async fn prepare(job: &Job) -> Result<(Server, &Client, bool), BackupError> {
    let server = postgres::probe(job.clients.newest()?, &job.database).await?;
    let client = job.clients.choose(server.major, &server.version)?;
    program(client)?;
    let url = server.url(&job.database);
    let database = Database {
        client,
        url: &url,
        session: server.session,
    };
    let passwords = may_read_passwords(&database).await?;
    Ok((server, client, passwords))
}

/// Checks that there is a `pg_dumpall` beside the other programs.
///
/// # Errors
/// When there is none.
pub(crate) fn program(client: &Client) -> Result<(), PostgresError> {
    if client.path("pg_dumpall").is_file() {
        return Ok(());
    }
    Err(PostgresError::new(
        Kind::Version,
        format!(
            "BACKUP_GLOBALS is true, but there is no pg_dumpall beside the pg_dump in {}",
            client.directory.display()
        ),
        "use this service's image, which holds it, or install the whole package postgresql-client"
            .to_owned(),
    ))
}

/// Whether this user may read the hashes of passwords.
///
/// # Errors
/// What `psql` said, with its kind.
pub(crate) async fn may_read_passwords(database: &Database<'_>) -> Result<bool, PostgresError> {
    let question = Sql::new(
        "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid'::pg_catalog.regclass, 'SELECT');",
    );
    let answer = database.ask(&question, postgres::PROBE_LIMIT).await?;
    Ok(answer.trim() == "t")
}

/// The arguments of `pg_dumpall`: an encoding that can be read back, and the database that is backed up. Otherwise it would
/// connect to other databases, which may not admit this user.
fn options(server: &Server, database: &str, passwords: bool) -> Vec<String> {
    let mut options = vec![format!("--database={}", connectable(database))];
    // These can't be converted to UTF-8.
    if !["MULE_INTERNAL", "SQL_ASCII"].contains(&server.encoding.as_str()) {
        options.push("--encoding=UTF8".to_owned());
    }
    if !passwords {
        options.push("--no-role-passwords".to_owned());
    }
    options
}

/// The name of a database. If libpq would take the name for a connection string, a connection string with that name.
fn connectable(database: &str) -> String {
    if database.contains('=') || database.contains("://") {
        let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
        return format!("dbname='{quoted}'");
    }
    database.to_owned()
}

fn head(key: &str, name: &BackupName, server: &Server, client: &Client) -> Head {
    Head {
        format: label::FORMAT,
        id: random_key().unwrap_or_else(|_| format!("{:032x}", fastrand::u128(..))),
        name: key.to_owned(),
        due_at: format::utc(name.at()),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        counting: COUNTING,
        server_version: server.version.clone(),
        client_version: client.version.clone(),
        size_bytes: 0,
        identity: None,
        origin: Origin::default(),
    }
}

/// The text of an error, about why there is no such object.
#[must_use]
pub(crate) fn told(error: &BackupError) -> String {
    let BackupError::Dump(error) = error else {
        return error.to_string();
    };
    // The errors of a dump name pg_dump at their beginning.
    let text = error.to_string();
    match text.strip_prefix("pg_dump ") {
        Some(rest) => format!("pg_dumpall {rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::DumpError;

    #[test]
    fn the_name_of_a_database_is_no_connection_string() {
        assert_eq!(connectable("app"), "app");
        assert_eq!(connectable("a b'"), "a b'");
        assert_eq!(connectable("a=b'\\"), r"dbname='a=b\'\\'");
        assert_eq!(connectable("postgres://x"), "dbname='postgres://x'");
    }

    #[test]
    fn an_error_names_the_program_that_ran() {
        let error = BackupError::Dump(DumpError::Silent(Duration::from_secs(600)));
        assert_eq!(told(&error), "pg_dumpall wrote nothing for 600s");
        assert_eq!(
            told(&BackupError::Cancelled),
            "the service was told to stop"
        );
    }
}
