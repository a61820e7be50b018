//! What went wrong between this service and a store, and what to do about it.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::answer::Unusable;
use crate::kind::Kind;
use crate::secret::Redactor;
use crate::text;

/// The most that is kept of a store's own words: its code for an error, and its explanation.
pub(super) const MOST_CODE: usize = 100;
pub(super) const MOST_WORDS: usize = 1000;

/// A failed request to the store.
#[derive(Debug, Clone)]
pub struct StoreError {
    pub(super) action: &'static str,
    pub(super) key: String,
    pub(super) kind: Kind,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) message: String,
    pub(super) hint: &'static str,
    pub(super) transient: bool,
    pub(super) replaced: bool,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.action, self.key)?;
        match (&self.code, self.status) {
            (Some(code), Some(status)) => write!(f, "{code} (HTTP {status}): ")?,
            (None, Some(status)) => write!(f, "HTTP {status}: ")?,
            _ => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// Turns the SDK's error into one that says what happened, without what must not be seen: some stores repeat the
    /// access key in their answers.
    pub(super) fn of<E>(
        redactor: &Redactor,
        action: &'static str,
        key: &str,
        error: SdkError<E>,
    ) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        if let Some(unusable) = Unusable::among(&error) {
            let message = shown(&redactor.redact(&unusable.to_string()), MOST_WORDS);
            return match unusable {
                Unusable::Broken(_) | Unusable::Cut(_) => Self {
                    message,
                    ..Self::broken(action, key, "")
                },
                Unusable::TooLong | Unusable::NotS3(_) => Self::not_s3(action, key, message),
            };
        }
        let status = error.raw_response().map(|raw| raw.status().as_u16());
        let (code, message) = match &error {
            SdkError::ServiceError(service) => (
                service.err().code().map(str::to_owned),
                service.err().message().unwrap_or_default().to_owned(),
            ),
            _ => (None, String::new()),
        };
        // Secrets are taken out before anything is cut off, or the rest of one that is cut would stay.
        let kept = |words: &str, most| shown(&redactor.redact(words), most);
        let (kind, hint, transient) = match (&error, status) {
            (SdkError::ServiceError(_), Some(status)) => {
                classify(status, code.as_deref(), &message)
            }
            (SdkError::ResponseError(_), Some(status)) if status != 200 => {
                classify(status, None, "")
            }
            (SdkError::TimeoutError(_), _) => (Kind::StoreTimeout, HINT_LATER, true),
            (SdkError::ConstructionFailure(_), _) => (Kind::StoreRejected, HINT_REFUSED, false),
            // An answer that is not S3's: a captive page, or a connection cut in the middle of the answer.
            (SdkError::ResponseError(_), _) => (Kind::StoreUnavailable, HINT_REFUSED, true),
            _ => classify_dispatch(&DisplayErrorContext(&error).to_string()),
        };
        let message = if message.is_empty() && code.is_none() {
            match status {
                Some(200..=299) => "the answer is not what S3 sends".to_owned(),
                Some(_) => "the answer names no cause".to_owned(),
                None => chain(&error),
            }
        } else {
            message
        };
        Self {
            action,
            key: key.to_owned(),
            kind,
            status,
            code: code.map(|code| kept(&code, MOST_CODE)),
            message: kept(&message, MOST_WORDS),
            hint,
            transient,
            replaced: false,
        }
    }

    /// The name of it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.hint
    }

    /// An object that is not what was sent.
    #[must_use]
    pub fn mismatch(action: &'static str, key: &str, message: String) -> Self {
        Self {
            action,
            key: key.to_owned(),
            kind: Kind::StoreMismatch,
            status: None,
            code: None,
            message,
            hint: "the store lost or changed bytes; the next attempt starts from the beginning",
            transient: true,
            replaced: false,
        }
    }

    /// An answer that can't be what it says it is.
    pub(super) fn not_s3(action: &'static str, key: &str, message: String) -> Self {
        Self {
            action,
            key: key.to_owned(),
            kind: Kind::StoreRejected,
            status: None,
            code: None,
            message,
            hint: HINT_NOT_S3,
            transient: false,
            replaced: false,
        }
    }

    /// An answer that did not come, or not to its end.
    pub(super) fn broken(action: &'static str, key: &str, cause: &str) -> Self {
        Self {
            action,
            key: key.to_owned(),
            kind: Kind::StoreUnavailable,
            status: None,
            code: None,
            message: format!("the connection broke off: {}", shown(cause, MOST_WORDS)),
            hint: HINT_LATER,
            transient: true,
            replaced: false,
        }
    }

    /// Whether the object it is about was removed or replaced while it was being read.
    #[must_use]
    pub const fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// An object that was removed or replaced while it was being read.
    pub(super) fn replaced(action: &'static str, key: &str) -> Self {
        Self {
            action,
            key: key.to_owned(),
            kind: Kind::StoreConflict,
            status: None,
            code: None,
            message: "the object was removed or replaced while it was being read".to_owned(),
            hint: "a lifecycle rule or a person removed it; choose another backup",
            transient: false,
            replaced: true,
        }
    }

    pub(super) fn timeout(action: &'static str, key: &str, limit: Duration) -> Self {
        Self {
            action,
            key: key.to_owned(),
            kind: Kind::StoreTimeout,
            status: None,
            code: None,
            message: format!("no answer within {} s", limit.as_secs()),
            hint: "the store behind AWS_S3_ENDPOINT or the network to it hangs; the next attempt starts from the beginning",
            transient: true,
            replaced: false,
        }
    }

    pub(super) fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

const HINT_DENIED: &str = "compare AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_BUCKET and AWS_S3_ENDPOINT with the R2 console; the API token needs the permission Object Read & Write for this bucket";
const HINT_SIGNATURE: &str = "re-copy AWS_SECRET_ACCESS_KEY from the R2 dashboard; it belongs to the token of AWS_ACCESS_KEY_ID";
const HINT_KEY: &str = "AWS_ACCESS_KEY_ID is not the access key id of a valid R2 API token: 32 characters, not the secret, not another provider's key, no blank";
const HINT_BUCKET: &str = "AWS_S3_BUCKET must name an existing bucket, and AWS_S3_ENDPOINT must hold the id of the account that owns it: https://ACCOUNT_ID.r2.cloudflarestorage.com, or https://ACCOUNT_ID.eu.r2.cloudflarestorage.com (or .fedramp.) for a bucket with a jurisdiction";
const HINT_HOST: &str = "check the host in AWS_S3_ENDPOINT: https://ACCOUNT_ID.r2.cloudflarestorage.com with your own account id and nothing before it";
const HINT_EXPIRED: &str = "the certificate of the store behind AWS_S3_ENDPOINT has expired or is not valid yet; renew it, or set the clock of this container's host if that is wrong";
const HINT_AUTHORITY: &str = "the certificate of the store behind AWS_S3_ENDPOINT is of an authority that is not known here; for a store of your own, mount the authority's certificate and set SSL_CERT_FILE to its path; for R2 or AWS, check the host: somebody else answers";
const HINT_CLOCK: &str =
    "the clock of this container's host differs too much from the store's; set the clock (NTP)";
const HINT_LATER: &str =
    "the store is overloaded or out of order; the next attempt starts from the beginning";
const HINT_REFUSED: &str = "the store behind AWS_S3_ENDPOINT does not accept this request; check that the endpoint is an S3 API and AWS_S3_REGION fits it";
const HINT_NOT_S3: &str = "what answers at AWS_S3_ENDPOINT does not answer as S3 does; check that the endpoint is an S3 API, and look for a proxy in between";
const HINT_CONFLICT: &str = "another container wrote or removed the same backup at the same time; run one replica of this service for each prefix";

/// What an answer means: kind, remedy, and whether the same request may succeed a moment later.
fn classify(status: u16, code: Option<&str>, message: &str) -> (Kind, &'static str, bool) {
    match (code, status) {
        (Some("InvalidArgument"), _) if message.contains("access key") => {
            (Kind::StoreDenied, HINT_KEY, false)
        }
        (Some("Unauthorized" | "InvalidAccessKeyId" | "NotSignedUp"), _) | (None, 401) => {
            (Kind::StoreDenied, HINT_KEY, false)
        }
        (Some("SignatureDoesNotMatch"), _) => (Kind::StoreDenied, HINT_SIGNATURE, false),
        (Some("RequestTimeTooSkewed"), _) => (Kind::Clock, HINT_CLOCK, false),
        (Some("NoSuchBucket"), _) => (Kind::StoreRejected, HINT_BUCKET, false),
        (Some("PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchUpload"), _)
        | (None, 409 | 412) => (Kind::StoreConflict, HINT_CONFLICT, false),
        (Some("BadDigest"), _) => (Kind::StoreMismatch, HINT_LATER, true),
        (
            Some(
                "InternalError" | "SlowDown" | "ServiceUnavailable" | "TooManyRequests"
                | "RequestTimeout" | "IncompleteBody" | "ClientDisconnect" | "Throttling",
            ),
            _,
        )
        | (_, 408 | 429) => (Kind::StoreUnavailable, HINT_LATER, true),
        (_, 401 | 403) => (Kind::StoreDenied, HINT_DENIED, false),
        (_, 500 | 502..=599) => (Kind::StoreUnavailable, HINT_LATER, true),
        _ => (Kind::StoreRejected, HINT_REFUSED, false),
    }
}

/// What a connection that never became an answer means.
fn classify_dispatch(text: &str) -> (Kind, &'static str, bool) {
    let text = text.to_ascii_lowercase();
    if text.contains("certificate expired") || text.contains("not valid yet") {
        (Kind::Tls, HINT_EXPIRED, false)
    } else if text.contains("unknownissuer") {
        (Kind::Tls, HINT_AUTHORITY, false)
    } else if ["certificate", "handshake", "unknownissuer", "tls", "alert"]
        .iter()
        .any(|word| text.contains(word))
    {
        (Kind::Tls, HINT_HOST, false)
    } else if [
        "dns error",
        "failed to lookup",
        "name or service",
        "name resolution",
    ]
    .iter()
    .any(|word| text.contains(word))
    {
        (Kind::StoreUnavailable, HINT_HOST, true)
    } else if text.contains("timed out") || text.contains("timeout") {
        (Kind::StoreTimeout, HINT_LATER, true)
    } else {
        (
            Kind::StoreUnavailable,
            "nothing answers at AWS_S3_ENDPOINT; check its host and port",
            true,
        )
    }
}

/// Words of the store's, visible and cut.
pub(super) fn shown(words: &str, most: usize) -> String {
    text::shortened(&text::visible(words), most)
}

/// The causes of an error, outermost first, each said once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_get_their_kind_and_remedy() {
        let check = |status: u16,
                     code: Option<&str>,
                     message: &str,
                     kind: Kind,
                     hint: &str,
                     transient: bool| {
            let found = classify(status, code, message);
            assert_eq!((found.0, found.2), (kind, transient), "{status} {code:?}");
            assert!(found.1.contains(hint), "{status} {code:?}: {}", found.1);
        };
        check(
            403,
            Some("AccessDenied"),
            "",
            Kind::StoreDenied,
            "Object Read & Write",
            false,
        );
        check(403, None, "", Kind::StoreDenied, "AWS_S3_BUCKET", false);
        check(
            403,
            Some("SignatureDoesNotMatch"),
            "",
            Kind::StoreDenied,
            "re-copy AWS_SECRET_ACCESS_KEY from the R2 dashboard",
            false,
        );
        check(
            400,
            Some("InvalidArgument"),
            "Credential access key has length 20, should be 32",
            Kind::StoreDenied,
            "AWS_ACCESS_KEY_ID",
            false,
        );
        check(
            401,
            Some("Unauthorized"),
            "",
            Kind::StoreDenied,
            "AWS_ACCESS_KEY_ID",
            false,
        );
        check(
            403,
            Some("RequestTimeTooSkewed"),
            "",
            Kind::Clock,
            "clock",
            false,
        );
        check(
            404,
            Some("NoSuchBucket"),
            "",
            Kind::StoreRejected,
            "jurisdiction",
            false,
        );
        check(
            412,
            Some("PreconditionFailed"),
            "",
            Kind::StoreConflict,
            "same",
            false,
        );
        check(
            429,
            Some("TooManyRequests"),
            "",
            Kind::StoreUnavailable,
            "overloaded",
            true,
        );
        check(
            200,
            Some("InternalError"),
            "",
            Kind::StoreUnavailable,
            "",
            true,
        );
        check(503, None, "", Kind::StoreUnavailable, "", true);
        check(
            501,
            Some("NotImplemented"),
            "",
            Kind::StoreRejected,
            "",
            false,
        );
        check(400, Some("InvalidPart"), "", Kind::StoreRejected, "", false);
        check(
            400,
            Some("IncompleteBody"),
            "",
            Kind::StoreUnavailable,
            "",
            true,
        );
    }

    #[test]
    fn broken_connections_name_the_endpoint() {
        assert_eq!(
            classify_dispatch("dns error: failed to lookup address information").0,
            Kind::StoreUnavailable
        );
        assert!(
            classify_dispatch("received fatal alert: HandshakeFailure")
                .1
                .contains("AWS_S3_ENDPOINT")
        );
        for (text, hint) in [
            ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
            (
                "invalid peer certificate: certificate expired: verification time 2",
                "expired",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1",
                "clock",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"",
                "AWS_S3_ENDPOINT",
            ),
        ] {
            let found = classify_dispatch(text);
            assert_eq!((found.0, found.2), (Kind::Tls, false), "{text}");
            assert!(found.1.contains(hint), "{text}: {}", found.1);
        }
        assert_eq!(
            classify_dispatch("tcp connect error: Connection refused").0,
            Kind::StoreUnavailable
        );
    }
}
