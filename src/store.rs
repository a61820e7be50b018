//! The one place that names the S3 SDK: a bucket as this service uses it.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, Credentials, HttpClient, Intercept, Region,
    RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, ConnectorError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ExpirationStatus, LifecycleRule, ServerSideEncryption,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

mod cause;
mod error;
mod hint;
mod place;
mod provider;
mod told;

pub use error::StoreError;
use error::{MOST_CODE, shown};
use place::Place;
pub use provider::Provider;
use told::SignedAt;

use crate::answer;
use crate::chain;
use crate::secret::{Redactor, Secret};

/// The part of the SDK that speaks HTTP, as it is named in the log.
pub const HTTP_CLIENT: &str = "aws_smithy_http_client";

/// Where the backups go and with whose rights.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Secret,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Secret>,
    /// `AWS_S3_BUCKET`
    pub bucket: String,
    /// `AWS_S3_ENDPOINT` without a path; none means AWS itself.
    pub endpoint: Option<String>,
    /// `AWS_S3_REGION`
    pub region: String,
    /// `AWS_S3_FORCE_PATH_STYLE`
    pub path_style: bool,
}

/// How patient the service is with the store; tests shorten it.
#[derive(Debug, Clone)]
pub struct StorePatience {
    /// How often one request is made before its failure counts.
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

/// The longest ETag that is kept, of each of 10,000 parts; MD5s and their number have 38 characters.
const MOST_ETAG_BYTES: usize = 256;

/// The longest that may be what a store wants back in the address of a request, such as the id of an upload: servers refuse
/// requests whose first line is longer.
const MOST_HANDLE_BYTES: usize = 8 * 1024;

/// The most pages of a list, which have 1000 entries each: ten million objects under one prefix.
const MOST_PAGES: usize = 10_000;

/// One bucket.
#[derive(Clone)]
pub struct Store {
    client: aws_sdk_s3::Client,
    bucket: Arc<str>,
    place: Arc<Place>,
    /// Over TLS the payload needs no signature of its own: the connection and `Content-MD5` protect it, and hashing
    /// each part once more costs a tenth of the upload.
    unsigned: bool,
    patience: StorePatience,
    redactor: Redactor,
    refusals: Arc<AtomicU64>,
    sent: Sent,
}

/// How many parts a store acknowledged, and how often one was sent again. Clones share the counts.
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
    /// When the store made it visible; 1970, the beginning of time, if the store does not say.
    pub modified_at: DateTime<Utc>,
}

/// What `HEAD` says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag without quotes.
    pub etag: String,
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key it would have.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
    /// When it was begun.
    pub initiated_at: DateTime<Utc>,
}

/// A rule of the bucket that deletes objects by their age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// What the keys of the objects begin with; empty for all.
    pub prefix: String,
    /// After how many days.
    pub days: u32,
}

/// Takes the time out of an answer's `Date`, which no output of the SDK holds.
#[derive(Debug, Clone, Default)]
struct AnswerTime(Arc<OnceLock<DateTime<Utc>>>);

impl Intercept for AnswerTime {
    fn name(&self) -> &'static str {
        "AnswerTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(at) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            // The first answer counts.
            let _first = self.0.get_or_init(|| at.to_utc());
        }
        Ok(())
    }
}

/// A client whose answers are read whole, and checked, before the SDK sees them.
#[derive(Debug)]
struct Bounded(SharedHttpClient);

impl HttpClient for Bounded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.0, components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.0, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[derive(Debug)]
struct Connector(SharedHttpConnector);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Only the bytes of an object are asked for by a range. They are read by `get`, which knows how many there are.
        let of_object = request.headers().contains_key("range");
        let signed_at = request.headers().get("x-amz-date").and_then(SignedAt::read);
        let answered = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answered.await?;
            let failed = !answer.status().is_success();
            if let Some(signed_at) = signed_at {
                answer.add_extension(signed_at);
            }
            if of_object && !failed {
                return Ok(answer);
            }
            let body = answer::read(answer.take_body(), failed).await;
            let body = body.map_err(|error| ConnectorError::other(error.into(), None))?;
            *answer.body_mut() = SdkBody::from(body);
            Ok(answer)
        })
    }
}

/// The system's own search for addresses. Its failures have a type, which those of the SDK's own way have not.
#[derive(Debug, Clone, Copy)]
struct Resolver;

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            found
                .map(|found| found.map(|address| address.ip()).collect())
                .map_err(ResolveDnsError::new)
        })
    }
}

/// What an enabled rule deletes by age alone: one with a condition beyond the prefix may not hold for our objects.
fn expiry(rule: &LifecycleRule) -> Option<Expiry> {
    let days = u32::try_from(rule.expiration()?.days()?).ok()?;
    let prefix = match rule.filter() {
        Some(filter) => {
            let conditional = filter.tag().is_some()
                || filter.object_size_greater_than().is_some()
                || filter.object_size_less_than().is_some()
                || filter.and().is_some_and(|and| {
                    !and.tags().is_empty()
                        || and.object_size_greater_than().is_some()
                        || and.object_size_less_than().is_some()
                });
            if conditional {
                return None;
            }
            filter
                .prefix()
                .or_else(|| filter.and().and_then(|and| and.prefix()))
        }
        None => {
            #[expect(deprecated, reason = "old rules have their prefix here")]
            let prefix = rule.prefix();
            prefix
        }
    };
    (*rule.status() == ExpirationStatus::Enabled).then(|| Expiry {
        prefix: prefix.unwrap_or_default().to_owned(),
        days,
    })
}

/// From this try on a request that failed is worth a line: an answer of 500 now and then is every store's daily life.
const NOTABLE_TRIES: u32 = 3;

impl Store {
    /// A client for the bucket. Nothing is sent yet, and nothing but the arguments is read: the SDK's own search for
    /// credentials would ask a metadata service on the network.
    #[must_use]
    pub fn new(settings: &StoreSettings, patience: StorePatience) -> Self {
        let credentials = Credentials::new(
            settings.access_key_id.expose(),
            settings.secret_access_key.expose(),
            settings
                .session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            None,
            "environment",
        );
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_with_resolver(Resolver);
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(Bounded(http_client))
            .region(Region::new(settings.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(settings.path_style)
            // R2 answers 501 to the SDK's default checksums on parts; Content-MD5 is what every vendor takes.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // The SDK does not retry R2's 429 and has one retry budget for the process: `retrying` does it instead.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(10))
                    .build(),
            )
            // It misfires on slow links, and does not see a dead connection under an in-memory part.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(settings.endpoint.clone());
        Self {
            client: aws_sdk_s3::Client::from_conf(config.build()),
            bucket: settings.bucket.as_str().into(),
            place: Arc::new(Place::of(settings)),
            unsigned: settings
                .endpoint
                .as_deref()
                .is_none_or(|endpoint| endpoint.starts_with("https://")),
            patience,
            refusals: Arc::default(),
            sent: Sent::default(),
            redactor: Redactor::new(
                [
                    Some(&settings.access_key_id),
                    Some(&settings.secret_access_key),
                    settings.session_token.as_ref(),
                ]
                .into_iter()
                .flatten(),
            ),
        }
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

    /// How often it asked for fewer requests.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// The parts that it sent, counted as they are sent.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Begins a multipart upload; nothing is visible until it is completed.
    ///
    /// # Errors
    /// What the store answered: this is where wrong credentials show.
    pub async fn create_upload(&self, key: &str) -> Result<String, StoreError> {
        const ACTION: &str = "begin upload of";
        self.retrying(ACTION, key, self.patience.answer, || async {
            let answer = self
                .client
                .create_multipart_upload()
                .bucket(&*self.bucket)
                .key(key)
                // Never Content-Encoding: gzip, or clients would unpack the file behind the user's back.
                .content_type("application/gzip")
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

    /// Sends one part and returns its ETag, which was compared with the part's MD5.
    ///
    /// # Errors
    /// When it was refused, or could not be sent in several tries.
    pub async fn upload_part(
        &self,
        key: &str,
        id: &str,
        number: i32,
        body: &Bytes,
        md5: &[u8; 16],
    ) -> Result<String, StoreError> {
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
                .client
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
            // With a customer's or KMS's key the ETag is not an MD5; Content-MD5 was checked by the store all the same.
            let encrypted = answer.sse_customer_algorithm().is_some()
                || matches!(
                    answer.server_side_encryption(),
                    Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
                );
            if !encrypted && !etag.eq_ignore_ascii_case(&hex(md5)) {
                return Err(StoreError::mismatch(
                    ACTION,
                    key,
                    format!("the store answered part {number} with the ETag of other bytes"),
                ));
            }
            Ok(etag)
        });
        let etag = sent.await?;
        self.sent.0.0.fetch_add(1, Ordering::Relaxed);
        Ok(etag)
    }

    /// Makes the object of these parts visible, unless the key is taken.
    ///
    /// # Errors
    /// What the store answered. The caller must find out by [`Store::head`] whether a lost answer was a success.
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
        let request = |condition: Option<&str>| {
            let call = self
                .client
                .complete_multipart_upload()
                .bucket(&*self.bucket)
                .key(key)
                .upload_id(id)
                .multipart_upload(parts.clone())
                .set_if_none_match(condition.map(str::to_owned))
                .send();
            async move {
                call.await
                    .map(|_| ())
                    .map_err(|e| self.error(ACTION, key, e))
            }
        };
        match self
            .retrying(ACTION, key, self.patience.answer, || request(Some("*")))
            .await
        {
            // A vendor that does not know conditional writes gets it once without.
            Err(error) if error.status == Some(501) => {
                self.retrying(ACTION, key, self.patience.answer, || request(None))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Ends an upload without an object. An upload that is gone already counts as aborted.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn abort_upload(&self, key: &str, id: &str) -> Result<(), StoreError> {
        const ACTION: &str = "abort upload of";
        let outcome = self
            .retrying(ACTION, key, self.patience.answer, || async {
                self.client
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

    /// Asks for an object's size and ETag; none when there is no such object.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        const ACTION: &str = "look at";
        let outcome = self
            .retrying(ACTION, key, self.patience.answer, || async {
                self.client
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
            })),
            Err(error) if error.status == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the bytes from `from` up to `to`, not included, of an object that still has this ETag and this size.
    ///
    /// # Errors
    /// What the store answered, or that the object is gone or another one now.
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
        let outcome = self
            .retrying(ACTION, key, self.patience.answer.max(needed), || async {
                let answer = self
                    .client
                    .get_object()
                    .bucket(&*self.bucket)
                    .key(key)
                    .if_match(format!("\"{etag}\""))
                    .range(format!("bytes={from}-{}", to.saturating_sub(1)))
                    .send()
                    .await
                    .map_err(|e| self.error(ACTION, key, e))?;
                // A store that ignores the condition says at least which object it sends.
                if answer
                    .e_tag()
                    .is_some_and(|now| now.trim_matches('"') != etag)
                {
                    return Err(StoreError::replaced(ACTION, key));
                }
                // One that ignores the range sends the whole object, or without end.
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

    /// Lists every object whose key begins with `prefix`, a page at a time: what `visit` does not keep is forgotten. Gives
    /// what the store's clock said last, if its answers tell.
    ///
    /// # Errors
    /// What the store answered; a list is whole or an error, and after an error what was visited counts for nothing.
    pub async fn list(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Object),
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        const ACTION: &str = "list objects under";
        let not_whole = |what: String| StoreError::not_s3(ACTION, prefix, what);
        let mut pages = Pages::default();
        let mut token: Option<String> = None;
        loop {
            let (page, time) = self
                .retrying(ACTION, prefix, self.patience.answer, || async {
                    let time = AnswerTime::default();
                    let request = self
                        .client
                        .list_objects_v2()
                        .bucket(&*self.bucket)
                        .prefix(prefix)
                        .set_continuation_token(token.clone());
                    let page = request
                        .customize()
                        .interceptor(time.clone())
                        .send()
                        .await
                        .map_err(|e| self.error(ACTION, prefix, e))?;
                    Ok((page, time.0.get().copied()))
                })
                .await?;
            let (truncated, next) = (page.is_truncated, page.next_continuation_token);
            for object in page.contents.unwrap_or_default() {
                visit(taken(object).map_err(not_whole)?);
            }
            let next = next.filter(|next| !next.is_empty());
            match (truncated, next) {
                (Some(false), None) => return Ok(time),
                (Some(true), Some(next)) => token = Some(pages.turn(&next).map_err(not_whole)?),
                (Some(true), None) => {
                    return Err(not_whole(
                        "the list says that there is more of it, and not how to ask for it"
                            .to_owned(),
                    ));
                }
                (Some(false) | None, Some(_)) => {
                    return Err(not_whole(
                        "the list tells how to ask for more of it, and does not say that there is more"
                            .to_owned(),
                    ));
                }
                (None, None) => {
                    return Err(not_whole(
                        "the list does not say whether it is whole (IsTruncated)".to_owned(),
                    ));
                }
            }
        }
    }

    /// Lists every unfinished upload whose key begins with `prefix`, a page at a time.
    ///
    /// # Errors
    /// What the store answered; there are more uploads then than were visited.
    pub async fn list_uploads(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Unfinished),
    ) -> Result<(), StoreError> {
        const ACTION: &str = "list unfinished uploads under";
        let not_whole = |what: String| StoreError::not_s3(ACTION, prefix, what);
        let mut pages = Pages::default();
        let mut marker: (Option<String>, Option<String>) = (None, None);
        loop {
            let page = self
                .retrying(ACTION, prefix, self.patience.answer, || async {
                    let request = self
                        .client
                        .list_multipart_uploads()
                        .bucket(&*self.bucket)
                        .prefix(prefix);
                    let request = request
                        .set_key_marker(marker.0.clone())
                        .set_upload_id_marker(marker.1.clone());
                    request
                        .send()
                        .await
                        .map_err(|e| self.error(ACTION, prefix, e))
                })
                .await?;
            let truncated = page.is_truncated == Some(true);
            let next = (page.next_key_marker, page.next_upload_id_marker);
            for upload in page.uploads.unwrap_or_default() {
                // One whose age is not told can't be known for left behind.
                let initiated_at = upload.initiated().and_then(instant);
                let (Some(key), Some(id), Some(initiated_at)) =
                    (upload.key, upload.upload_id, initiated_at)
                else {
                    continue;
                };
                visit(Unfinished {
                    key,
                    id: handle(&id).map_err(not_whole)?,
                    initiated_at,
                });
            }
            // SeaweedFS leaves out whether there is more where there is none, and the key where there is.
            if !truncated {
                return Ok(());
            }
            let present = |marker: Option<String>| marker.filter(|marker| !marker.is_empty());
            let next = (present(next.0), present(next.1));
            if next == (None, None) {
                return Err(not_whole(
                    "the list says that there is more of it, and not how to ask for it".to_owned(),
                ));
            }
            let text = format!(
                "{}\n{}",
                next.0.as_deref().unwrap_or_default(),
                next.1.as_deref().unwrap_or_default()
            );
            pages.turn(&text).map_err(not_whole)?;
            marker = next;
        }
    }

    /// What the store's clock says, if its answers tell.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn time(&self, prefix: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        const ACTION: &str = "list objects under";
        self.retrying(ACTION, prefix, self.patience.answer, || async {
            let time = AnswerTime::default();
            self.client
                .list_objects_v2()
                .bucket(&*self.bucket)
                .prefix(prefix)
                .max_keys(1)
                .customize()
                .interceptor(time.clone())
                .send()
                .await
                .map_err(|e| self.error(ACTION, prefix, e))?;
            Ok(time.0.get().copied())
        })
        .await
    }

    /// The bucket's rules that delete objects by age; none if the store has no such rules or this token may not read them.
    ///
    /// # Errors
    /// What else the store answered.
    pub async fn expiries(&self) -> Result<Option<Vec<Expiry>>, StoreError> {
        const ACTION: &str = "read the lifecycle rules of";
        let outcome = self
            .retrying(ACTION, &self.bucket, self.patience.answer, || async {
                self.client
                    .get_bucket_lifecycle_configuration()
                    .bucket(&*self.bucket)
                    .send()
                    .await
                    .map_err(|e| self.error(ACTION, &self.bucket, e))
            })
            .await;
        match outcome {
            Ok(answer) => Ok(Some(answer.rules().iter().filter_map(expiry).collect())),
            Err(error) if error.is_code("NoSuchLifecycleConfiguration") => Ok(Some(Vec::new())),
            Err(error) if matches!(error.status, Some(401 | 403 | 405 | 501)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a request up to `tries` times, each within `limit`. It is repeated only where the store may answer
    /// otherwise a moment later; R2 answers 429 and sporadic 500s under load, which the SDK would let through.
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
                    let wait_seconds = crate::backup::seconds(jittered);
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
        StoreError::of(&self.place, &self.redactor, action, key, error)
    }
}

/// The pages of a list so far. A list goes on only to a page that it has not been at, and not for ever.
#[derive(Debug, Default)]
struct Pages {
    state: RandomState,
    seen: HashSet<u64>,
}

impl Pages {
    /// What stands for the next page, if the list may go on there.
    fn turn(&mut self, next: &str) -> Result<String, String> {
        let next = handle(next)?;
        if !self.seen.insert(self.state.hash_one(&next)) {
            return Err(
                "the list leads back to a page that was read already, and has no end".to_owned(),
            );
        }
        if self.seen.len() >= MOST_PAGES {
            return Err(format!("the list has more than {MOST_PAGES} pages"));
        }
        Ok(next)
    }
}

/// What a store wants back with a later request, if it is short enough to be sent.
fn handle(text: &str) -> Result<String, String> {
    if text.len() > MOST_HANDLE_BYTES {
        return Err(format!(
            "what it wants back with the next request is longer than {MOST_HANDLE_BYTES} bytes"
        ));
    }
    Ok(text.to_owned())
}

/// An ETag without quotes; empty if there is none.
fn etag(text: Option<&str>) -> Result<String, String> {
    let etag = text.unwrap_or_default().trim_matches('"');
    if etag.len() > MOST_ETAG_BYTES {
        return Err(format!("the ETag is longer than {MOST_ETAG_BYTES} bytes"));
    }
    Ok(etag.to_owned())
}

/// An entry of a list.
fn taken(object: aws_sdk_s3::types::Object) -> Result<Object, String> {
    let modified_at = object.last_modified().and_then(instant);
    Ok(Object {
        size: object
            .size()
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
        modified_at: modified_at.unwrap_or_default(),
        key: object.key.ok_or("the list holds an object without a key")?,
    })
}

/// Whether an answer is about to send just the bytes from `from` up to `to` of an object of this size, as far as it says.
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
        // Without it, what is sent begins at the beginning.
        None => from == 0,
    };
    // Fewer bytes may be more the next time.
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

/// The bytes of a body that must have so many. No more than these are held, whatever else comes.
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

/// Lower-case hexadecimal, as ETags are written.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
            // Fewer bytes may be more the next time.
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
