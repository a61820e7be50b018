//! The one place that names the S3 SDK: a bucket as this service uses it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

mod access;
pub mod answer;
mod cause;
mod connections;
mod connector;
mod credentials;
pub mod download;
pub mod endpoint;
mod error;
mod hint;
mod lifecycle;
mod list;
mod place;
mod provider;
mod told;
pub mod upload;

pub use credentials::{Credentials, Keys};
pub use error::StoreError;
pub use lifecycle::{Expiry, Rules};
pub use provider::Provider;

use access::Access;
use error::{MOST_CODE, shown};
use list::handle;
use place::Place;

use crate::fault::chain;
use crate::format;
use crate::format::hex;
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

/// How patient the service is with the store; tests shorten it.
#[derive(Debug, Clone)]
pub struct StorePatience {
    /// How many times a request is tried before it counts as failed.
    pub tries: u32,
    /// The first wait between two tries; it doubles, with jitter.
    pub first_wait: Duration,
    /// The longest wait between two tries.
    pub longest_wait: Duration,
    /// The limit of one try; a large part gets more.
    pub answer: Duration,
}

impl Default for StorePatience {
    fn default() -> Self {
        Self {
            tries: 8,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
            answer: Duration::from_secs(60),
        }
    }
}

/// A link slower than this cannot carry backups; a part gets at least the time it would need there.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// The longest ETag that is kept. There can be 10,000 of them, one for each part. An ETag in S3's form, MD5s and a number, has
/// at most 38 characters.
const MOST_ETAG_BYTES: usize = 256;

/// The longest value that a store may want back in the URL of a later request, such as an upload's id. Servers refuse requests
/// whose first line is longer than this.
const MOST_HANDLE_BYTES: usize = 8 * 1024;

/// The metadata header, without its `x-amz-meta-`, by which an upload's own object is told apart from anybody else's.
const MARK: &str = "backup-run";

/// One bucket.
#[derive(Clone)]
pub struct Store {
    access: Renewable<Access>,
    bucket: Arc<str>,
    place: Arc<Place>,
    /// Over TLS the payload needs no signature of its own: the connection and `Content-MD5` protect it, and hashing
    /// each part once more costs a tenth of the upload.
    unsigned: bool,
    patience: StorePatience,
    refusals: Arc<AtomicU64>,
    sent: Sent,
    /// Whether the log has already said that lists hold entries which can't be read.
    told_unreadable: Arc<AtomicBool>,
}

/// A part that the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The part's ETag.
    pub etag: String,
    /// Whether the ETag is the part's MD5.
    pub is_md5: bool,
}

/// Counts the parts that a store acknowledged, and how often one was sent again. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<(AtomicU64, AtomicU64)>);

impl Sent {
    /// The parts that were acknowledged.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// How often a part was sent again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

/// An object in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its full key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When the store made it visible; the beginning of 1970 if the store does not say.
    pub modified_at: DateTime<Utc>,
    /// Its ETag as the store writes it, if the list holds one.
    pub etag: Option<String>,
}

/// What `HEAD` says about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag without quotes, or unchanged if it is a weak one. Empty if there is none.
    pub etag: String,
    /// The mark that its upload was begun with, if the store gives it back.
    pub mark: Option<String>,
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key that the object would have.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
    /// When it was begun.
    pub initiated_at: DateTime<Utc>,
}

/// A failed request is logged from this try on. Every store answers 500 now and then, which is not worth a line in the log.
const NOTABLE_TRIES: u32 = 3;

impl Store {
    /// A client for the bucket. Nothing is sent yet, and nothing but the arguments is read: the SDK's own search for
    /// credentials would ask a metadata service on the network, and only [`Credentials::Chain`] allows that.
    #[must_use]
    pub fn new(settings: &StoreSettings, patience: StorePatience) -> Self {
        Self {
            access: Renewable::new(Access::new(settings)),
            bucket: settings.bucket.as_str().into(),
            place: Arc::new(Place::of(settings)),
            unsigned: settings
                .endpoint
                .as_deref()
                .is_none_or(|endpoint| endpoint.starts_with("https://")),
            patience,
            refusals: Arc::default(),
            sent: Sent::default(),
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
        self.place.provider
    }

    /// How often the store asked for fewer requests.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// The counts of the parts sent to this store. They go up while parts are sent.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Begins a multipart upload; nothing is visible until it is completed. [`Store::head`] gives the mark back.
    ///
    /// # Errors
    /// What the store answered. Wrong credentials are noticed here.
    pub async fn create_upload(&self, key: &str, mark: &str) -> Result<String, StoreError> {
        const ACTION: &str = "begin upload of";
        self.retrying(ACTION, key, self.patience.answer, || async {
            let answer = self
                .client()
                .create_multipart_upload()
                .bucket(&*self.bucket)
                .key(key)
                // Never Content-Encoding: gzip, or clients would unpack the file behind the user's back.
                .content_type("application/gzip")
                .metadata(MARK, mark)
                .send()
                .await
                .map_err(|e| self.error(ACTION, key, e))?;
            let id = answer.upload_id().filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| {
                StoreError::mismatch(ACTION, key, "the answer holds no upload id".to_owned())
            })?;
            handle(id).map_err(|what| StoreError::not_s3(ACTION, key, what))
        })
        .await
    }

    /// Sends one part and returns its ETag. If the ETag can be an MD5, it was compared with that of the part.
    ///
    /// # Errors
    /// When the part was refused, or could not be sent in several tries.
    pub async fn upload_part(
        &self,
        key: &str,
        id: &str,
        number: i32,
        body: &Bytes,
        md5: &[u8; 16],
    ) -> Result<Acknowledged, StoreError> {
        const ACTION: &str = "upload a part of";
        let needed = Duration::from_secs(
            u64::try_from(body.len()).unwrap_or(u64::MAX) / SLOWEST_BYTES_PER_SECOND,
        );
        let (tries, limit) = (AtomicU64::new(0), self.patience.answer.max(needed));
        let sent = self.retrying(ACTION, key, limit, || async {
            if tries.fetch_add(1, Ordering::Relaxed) > 0 {
                self.sent.0.1.fetch_add(1, Ordering::Relaxed);
            }
            let request = self
                .client()
                .upload_part()
                .bucket(&*self.bucket)
                .key(key)
                .upload_id(id)
                .part_number(number)
                .content_md5(BASE64.encode(md5))
                .body(ByteStream::from(body.clone()));
            let sent = if self.unsigned {
                request.customize().disable_payload_signing().send().await
            } else {
                request.send().await
            };
            let answer = sent.map_err(|e| self.error(ACTION, key, e).of_body(body.len()))?;
            let etag =
                etag(answer.e_tag()).map_err(|what| StoreError::not_s3(ACTION, key, what))?;
            // If the store encrypts with a customer's or a KMS key, the ETag is not an MD5. The store checked Content-MD5 all
            // the same.
            let encrypted = answer.sse_customer_algorithm().is_some()
                || matches!(
                    answer.server_side_encryption(),
                    Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
                );
            let (etag, expected) = (opaque(&etag), hex(md5));
            let is_md5 = etag.eq_ignore_ascii_case(&expected);
            let may_be_md5 = etag.len() == expected.len()
                && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !encrypted;
            if !is_md5 && may_be_md5 {
                return Err(StoreError::mismatch(
                    ACTION,
                    key,
                    format!("the store answered part {number} with the ETag of other bytes"),
                ));
            }
            // Complete must name an ETag for each part. A store that gave none can't compare it with anything.
            let etag = if etag.is_empty() { &expected } else { etag };
            Ok(Acknowledged {
                etag: etag.to_owned(),
                is_md5,
            })
        });
        let acknowledged = sent.await?;
        self.sent.0.0.fetch_add(1, Ordering::Relaxed);
        Ok(acknowledged)
    }

    /// Makes the object that consists of these parts visible, unless its key is taken.
    ///
    /// # Errors
    /// What the store answered. If the answer was lost, the caller must find out with [`Store::head`] whether there is an
    /// object.
    pub async fn complete_upload(
        &self,
        key: &str,
        id: &str,
        etags: &[String],
    ) -> Result<(), StoreError> {
        const ACTION: &str = "complete upload of";
        let parts = etags
            .iter()
            .zip(1..)
            .map(|(etag, number)| {
                CompletedPart::builder()
                    .e_tag(etag)
                    .part_number(number)
                    .build()
            })
            .collect();
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let refused = AtomicBool::new(false);
        let request = |condition: Option<&str>| {
            let call = self
                .client()
                .complete_multipart_upload()
                .bucket(&*self.bucket)
                .key(key)
                .upload_id(id)
                .multipart_upload(parts.clone())
                .set_if_none_match(condition.map(str::to_owned))
                .send();
            let refused = &refused;
            async move {
                call.await.map(|_| ()).map_err(|e| {
                    refused.store(refuses_condition(&e), Ordering::Relaxed);
                    self.error(ACTION, key, e)
                })
            }
        };
        let conditional = self
            .retrying(ACTION, key, self.patience.answer, || request(Some("*")))
            .await;
        let Err(error) = conditional else {
            return conditional;
        };
        if !refused.load(Ordering::Relaxed) {
            return Err(error);
        }
        tracing::warn!(
            key,
            error = %error,
            hint = "nothing is to be done where one container makes the backups; two that are due at the same time could overwrite each other's",
            "the store cannot be told to keep an existing object: completing the upload without that condition"
        );
        // Without the condition, a backup that another container made in the meantime would be overwritten.
        if self.listed(key).await?.is_some() {
            return Err(StoreError::taken(ACTION, key));
        }
        self.retrying(ACTION, key, self.patience.answer, || request(None))
            .await
    }

    /// Ends an upload without making an object. An upload that is already gone counts as aborted.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn abort_upload(&self, key: &str, id: &str) -> Result<(), StoreError> {
        const ACTION: &str = "abort upload of";
        let outcome = self
            .retrying(ACTION, key, self.patience.answer, || async {
                self.client()
                    .abort_multipart_upload()
                    .bucket(&*self.bucket)
                    .key(key)
                    .upload_id(id)
                    .send()
                    .await
                    .map(|_| ())
                    .map_err(|e| self.error(ACTION, key, e))
            })
            .await;
        match outcome {
            Err(error) if error.is_code("NoSuchUpload") || error.status == Some(404) => Ok(()),
            outcome => outcome,
        }
    }

    /// Asks for an object's size and ETag; `None` if there is no such object.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        const ACTION: &str = "look at";
        let outcome = self
            .retrying(ACTION, key, self.patience.answer, || async {
                self.client()
                    .head_object()
                    .bucket(&*self.bucket)
                    .key(key)
                    .send()
                    .await
                    .map_err(|e| self.error(ACTION, key, e))
            })
            .await;
        match outcome {
            Ok(head) => Ok(Some(Head {
                size: head
                    .content_length()
                    .and_then(|size| u64::try_from(size).ok())
                    .ok_or_else(|| {
                        let what = "the answer does not say how large the object is".to_owned();
                        StoreError::not_s3(ACTION, key, what)
                    })?,
                etag: etag(head.e_tag()).map_err(|what| StoreError::not_s3(ACTION, key, what))?,
                mark: head.metadata().and_then(|all| all.get(MARK).cloned()),
            })),
            Err(error) if error.status == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the bytes from `from` up to, but not including, `to`. The object must still have this ETag and this size.
    ///
    /// # Errors
    /// What the store answered, or that the object was removed or replaced.
    pub async fn get(
        &self,
        key: &str,
        etag: &str,
        from: u64,
        to: u64,
        size: u64,
    ) -> Result<Bytes, StoreError> {
        const ACTION: &str = "read";
        let expected = to.saturating_sub(from);
        let needed = Duration::from_secs(expected / SLOWEST_BYTES_PER_SECOND);
        // In a condition a weak ETag equals no other, not even itself.
        let strong = Some(etag).filter(|etag| !etag.is_empty() && !etag.starts_with(WEAK));
        let outcome = self
            .retrying(ACTION, key, self.patience.answer.max(needed), || async {
                let answer = self
                    .client()
                    .get_object()
                    .bucket(&*self.bucket)
                    .key(key)
                    .set_if_match(strong.map(|etag| format!("\"{etag}\"")))
                    .range(format!("bytes={from}-{}", to.saturating_sub(1)))
                    .send()
                    .await
                    .map_err(|e| self.error(ACTION, key, e))?;
                // A store that ignores the condition still says which object it sends.
                if answer
                    .e_tag()
                    .is_some_and(|now| !etag.is_empty() && opaque(now) != opaque(etag))
                {
                    return Err(StoreError::replaced(ACTION, key));
                }
                // A store that ignores the range sends the whole object, or never stops.
                check_range(
                    answer.content_range(),
                    answer.content_length(),
                    (from, to, size),
                )
                .map_err(|what| StoreError::not_s3(ACTION, key, what))?;
                read_piece(answer.body, expected)
                    .await
                    .map_err(|failure| match failure {
                        Piece::Broken(cause) => StoreError::broken(ACTION, key, &cause),
                        Piece::Short(came) => StoreError::mismatch(
                            ACTION,
                            key,
                            format!("{came} bytes came in place of {expected}"),
                        ),
                        Piece::Long => StoreError::not_s3(
                            ACTION,
                            key,
                            format!("more bytes came than the {expected} that were asked for"),
                        ),
                    })
            })
            .await;
        match outcome {
            Err(error) if matches!(error.status, Some(404 | 412 | 416)) => {
                Err(StoreError::replaced(ACTION, key))
            }
            outcome => outcome,
        }
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
        StoreError::of(&self.place, &self.access.get().redactor, action, key, error)
    }
}

/// The beginning of a weak ETag.
const WEAK: &str = "W/";

/// An ETag's text without the mark of a weak one.
pub(crate) fn opaque(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix(WEAK).unwrap_or(etag).trim_matches('"')
}

/// Whether an answer says that the store does not support the request's condition, as opposed to: the condition is not met. S3
/// has codes for that; some stores name the header instead.
fn refuses_condition<E>(error: &SdkError<E>) -> bool
where
    E: ProvideErrorMetadata,
{
    let Some(answer) = error.raw_response() else {
        return false;
    };
    let status = answer.status().as_u16();
    let code = match error {
        SdkError::ServiceError(service) => service.err().code(),
        _ => None,
    };
    if code == Some("NotImplemented") || matches!(status, 405 | 501) {
        return true;
    }
    let body = answer.body().bytes().unwrap_or_default();
    status == 400
        && String::from_utf8_lossy(body)
            .to_ascii_lowercase()
            .contains("if-none-match")
}

/// An ETag without quotes, or unchanged if it is a weak one; empty if there is none.
fn etag(text: Option<&str>) -> Result<String, String> {
    let text = text.unwrap_or_default().trim();
    let etag = if text.starts_with(WEAK) {
        text
    } else {
        text.trim_matches('"')
    };
    if etag.len() > MOST_ETAG_BYTES {
        return Err(format!("the ETag is longer than {MOST_ETAG_BYTES} bytes"));
    }
    Ok(etag.to_owned())
}

/// Checks, by an answer's headers, that it will send exactly the bytes from `from` up to `to` of an object of this size.
fn check_range(
    range: Option<&str>,
    length: Option<i64>,
    (from, to, size): (u64, u64, u64),
) -> Result<(), String> {
    let expected = to.saturating_sub(from);
    let asked = format!("bytes {from}-{}/", to.saturating_sub(1));
    let right_range = match range {
        Some(range) => range
            .trim()
            .strip_prefix(&asked)
            .is_some_and(|total| total == "*" || total.parse() == Ok(size)),
        // Without this header, the answer begins with the object's first byte.
        None => from == 0,
    };
    // If too few bytes came, there may be enough the next time.
    let too_long = length.is_some_and(|length| u64::try_from(length).is_ok_and(|l| l > expected));
    if right_range && !too_long {
        return Ok(());
    }
    let range = range.unwrap_or("no range");
    Err(format!(
        "{} came in place of {asked}{size}, in {} bytes",
        shown(range, MOST_CODE),
        length.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string())
    ))
}

/// Why a piece of an object did not come.
#[derive(Debug)]
enum Piece {
    Broken(String),
    Short(usize),
    Long,
}

/// Reads a body that must have this many bytes. More than that is never held in memory.
async fn read_piece(mut body: ByteStream, expected: u64) -> Result<Bytes, Piece> {
    let expected = usize::try_from(expected).map_err(|_| Piece::Long)?;
    let mut piece = BytesMut::with_capacity(expected);
    loop {
        match body.try_next().await {
            Ok(Some(bytes)) if bytes.len() > expected.saturating_sub(piece.len()) => {
                return Err(Piece::Long);
            }
            Ok(Some(bytes)) => piece.extend_from_slice(&bytes),
            Ok(None) if piece.len() == expected => return Ok(piece.freeze()),
            Ok(None) => return Err(Piece::Short(piece.len())),
            Err(error) => return Err(Piece::Broken(chain::words(&error))),
        }
    }
}

fn instant(time: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_that_was_asked_for_of_an_object_of_that_size_is_taken() {
        let taken = |range, length| check_range(range, length, (4, 8, 10)).is_ok();
        for (range, length, right) in [
            (Some("bytes 4-7/10"), Some(4), true),
            (Some(" bytes 4-7/10 "), None, true),
            (Some("bytes 4-7/*"), Some(4), true),
            // If too few bytes came, there may be enough the next time.
            (Some("bytes 4-7/10"), Some(3), true),
            (Some("bytes 4-7/10"), Some(5), false),
            (Some("bytes 4-7/11"), Some(4), false),
            (Some("bytes 4-7/"), Some(4), false),
            (Some("bytes 4-7"), Some(4), false),
            (Some("bytes 5-8/10"), Some(4), false),
            (None, Some(4), false),
        ] {
            assert_eq!(taken(range, length), right, "{range:?} {length:?}");
        }
        assert!(check_range(None, Some(4), (0, 4, 10)).is_ok());
    }
}
