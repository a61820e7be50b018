//! Runs through the library, for time limits that no variable can shorten.

use std::time::Duration;

use postgres_s3_backups::backup::{self, BackupError, Job, Outcome, Trigger};
use postgres_s3_backups::catalog::{Catalog, Prefix};
use postgres_s3_backups::dump::Patience;
use postgres_s3_backups::postgres::{Clients, DatabaseUrl};
use postgres_s3_backups::secret::Secret;
use postgres_s3_backups::store::{Credentials, Keys, Store, StorePatience, StoreSettings};
use stream::level::Level;
use stream::pipeline::Compression;
use tokio_util::sync::CancellationToken;

use super::postgres::Postgres;
use super::r2::R2;

/// The bucket of the strict server, which must be one without TLS: the trusted authority is given in a variable, and a
/// process can't set its own variables.
pub fn store(r2: &R2, patience: StorePatience) -> Store {
    assert!(r2.endpoint.starts_with("http:"), "{}", r2.endpoint);
    let settings = StoreSettings {
        credentials: Credentials::Keys(Keys {
            access_key_id: Secret::new(r2.access_key.clone()),
            secret_access_key: Secret::new(r2.secret_key.clone()),
            session_token: None,
        }),
        bucket: r2.bucket.to_owned(),
        endpoint: Some(r2.endpoint.clone()),
        region: "auto".to_owned(),
        path_style: true,
        proxy: None,
    };
    Store::new(&settings, patience)
}

/// A job with one attempt on the strict server, with a client of version 17.
pub async fn job(
    r2: &R2,
    url: &str,
    options: &[&str],
    patience: Patience,
    store_patience: StorePatience,
) -> Job {
    Job {
        catalog: Catalog::new(
            store(r2, store_patience),
            Prefix::new(None, "vlvt_backup_"),
            Duration::from_secs(3600),
        ),
        database: DatabaseUrl::parse(url).expect("a good URL").0,
        clients: Clients::discover(&[Postgres::bin(17)]).await,
        options: options.iter().map(|&option| option.to_owned()).collect(),
        compression: Compression {
            level: Level::Auto,
            threads: 2,
        },
        timeout: Duration::from_secs(3600),
        retry_waits: Vec::new(),
        server_wait: Duration::ZERO,
        patience,
        clock: chrono::Utc::now,
        globals: false,
    }
}

/// Runs a job to its end.
pub async fn run(job: &Job) -> Result<Outcome, BackupError> {
    let name = Trigger::Manual(chrono::Utc::now());
    backup::run(job, name, &CancellationToken::new()).await
}
