//! The one place that names the S3 SDK: a bucket as this service uses it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::{DateTime, Utc};

mod access;
mod addressing;
mod answer;
mod cause;
mod connections;
mod connector;
mod credentials;
mod details;
pub(crate) mod download;
pub(crate) mod endpoint;
mod error;
mod etag;
mod hint;
mod lifecycle;
mod list;
mod multipart;
mod object;
mod patience;
mod provider;
pub mod upload;

pub use credentials::{Credentials, Keys};
pub use error::StoreError;
pub use lifecycle::{Expiry, Rules};
pub use multipart::{Acknowledged, PartCounts, Unfinished};
pub use object::{Object, ObjectInfo};
pub use patience::StorePatience;
pub use provider::Provider;

use access::Access;
use addressing::Addressing;

use crate::format;
use crate::network::proxy::Proxy;
use crate::secret::renewable::Renewable;

/// The part of the SDK that speaks HTTP, as it is named in the log.
pub const HTTP_CLIENT: &str = "aws_smithy_http_client";

/// Where the backups go, and the credentials that the requests are signed with.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The keys, or where AWS keeps them.
    pub credentials: Credentials,
    /// `AWS_S3_BUCKET`
    pub bucket: String,
    /// `AWS_S3_ENDPOINT` without the bucket; `None` means AWS itself.
    pub endpoint: Option<String>,
    /// `AWS_S3_REGION`
    pub region: String,
    /// `AWS_S3_FORCE_PATH_STYLE`
    pub path_style: bool,
    /// The proxy through which the store is reached, if there is one.
    pub proxy: Option<Proxy>,
}

/// A link slower than this cannot carry backups; a part gets at least the time it would need there.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// A failed request is logged from this try on. Every store answers 500 now and then, which is not worth a line in the log.
const NOTABLE_TRIES: u32 = 3;

/// One bucket.
#[derive(Clone)]
pub struct Store {
    access: Renewable<Access>,
    bucket: Arc<str>,
    addressing: Arc<Addressing>,
    /// Over TLS the payload needs no signature of its own: the connection and `Content-MD5` protect it, and hashing
    /// each part once more costs a tenth of the upload.
    unsigned: bool,
    patience: StorePatience,
    refusals: Arc<AtomicU64>,
    sent: PartCounts,
    /// Whether the log has already said that lists hold entries which can't be read.
    told_unreadable: Arc<AtomicBool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// A client for the bucket. Nothing is sent yet, and nothing but the arguments is read: the SDK's own search for
    /// credentials would ask a metadata service on the network, and only [`Credentials::Chain`] allows that.
    #[must_use]
    pub fn new(settings: &StoreSettings, patience: StorePatience) -> Self {
        Self {
            access: Renewable::new(Access::new(settings)),
            bucket: settings.bucket.as_str().into(),
            addressing: Arc::new(Addressing::of(settings)),
            unsigned: settings
                .endpoint
                .as_deref()
                .is_none_or(|endpoint| endpoint.starts_with("https://")),
            patience,
            refusals: Arc::default(),
            sent: PartCounts::default(),
            told_unreadable: Arc::default(),
        }
    }

    /// Signs all further requests, also those of clones, with these keys. The old keys are still kept out of all messages.
    pub fn renew(&self, settings: &StoreSettings) {
        if let Some(access) = self.access.get().renewed(settings) {
            self.access.set(access);
        }
    }

    fn client(&self) -> aws_sdk_s3::Client {
        self.access.get().client
    }

    /// The same store for requests that are not worth a long wait: two tries of ten seconds each.
    #[must_use]
    pub fn hurried(&self) -> Self {
        let patience = StorePatience {
            tries: self.patience.tries.min(2),
            answer: self.patience.answer.min(Duration::from_secs(10)),
            ..self.patience
        };
        Self {
            patience,
            ..self.clone()
        }
    }

    /// How patient the service is with this store.
    #[must_use]
    pub const fn patience(&self) -> &StorePatience {
        &self.patience
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whose store it is.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.addressing.provider
    }

    /// How often the store asked for fewer requests.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// The counts of the parts sent to this store. They go up while parts are sent.
    #[must_use]
    pub fn sent(&self) -> PartCounts {
        self.sent.clone()
    }

    /// Makes a request up to `tries` times, each within `limit`. It is repeated only where the store may give another answer a
    /// moment later. Under load R2 answers 429 and sometimes 500, and the SDK does not retry those as it should.
    async fn retrying<T, F>(
        &self,
        action: &'static str,
        key: &str,
        limit: Duration,
        mut request: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut wait = self.patience.first_wait;
        let mut tries = 1;
        loop {
            let outcome = tokio::select! {
                outcome = request() => outcome,
                () = tokio::time::sleep(limit) => Err(StoreError::timeout(action, key, limit)),
            };
            if let Err(error) = &outcome
                && matches!(error.status, Some(429 | 503))
            {
                self.refusals.fetch_add(1, Ordering::Relaxed);
            }
            match outcome {
                Err(error) if error.is_transient() && tries < self.patience.tries => {
                    let jittered = wait.mul_f64(0.5 + fastrand::f64());
                    let wait_seconds = format::seconds(jittered);
                    if tries < NOTABLE_TRIES {
                        tracing::debug!(try_number = tries, wait_seconds, error = %error, "store request retried");
                    } else {
                        tracing::warn!(try_number = tries, wait_seconds, error = %error, "store request retried");
                    }
                    tokio::time::sleep(jittered).await;
                    wait = (wait * 2).min(self.patience.longest_wait);
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn error<E>(&self, action: &'static str, key: &str, error: SdkError<E>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        if let Some(error) = credentials::missing(action, key, &error) {
            return error;
        }
        StoreError::of(
            &self.addressing,
            &self.access.get().redactor,
            action,
            key,
            error,
        )
    }
}

fn instant(time: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}
