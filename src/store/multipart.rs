//! The requests of a multipart upload: begin, send a part, complete, abort.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::etag::{etag, opaque};
use super::list::handle;
use super::{SLOWEST_BYTES_PER_SECOND, Store, StoreError};
use crate::format::hex;

/// The metadata header, without its `x-amz-meta-`, by which an upload's own object is told apart from anybody else's.
pub(super) const MARK: &str = "backup-run";

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
pub struct PartCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    retries: AtomicU64,
}

impl PartCounts {
    /// The parts that were acknowledged.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// How often a part was sent again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }
}

impl Store {
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
                self.sent.0.retries.fetch_add(1, Ordering::Relaxed);
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
        self.sent.0.acknowledged.fetch_add(1, Ordering::Relaxed);
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
            hint = "with one container there is nothing to do; two containers whose backups are due at the same time could overwrite each other's",
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
