//! What went wrong between this service and a store, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::addressing::Addressing;
use super::cause::Cause;
use super::details::AnswerDetails;
use super::hint::{everywhere, hint};
use crate::fault::chain;
use crate::fault::{Diagnosed, Kind};
use crate::format::text;
use crate::secret::Redactor;
use crate::store::answer::Unusable;

/// How many characters are kept of a store's error code, of a header, and of its explanation.
pub(super) const MOST_CODE: usize = 100;
const MOST_HEADER: usize = 300;
pub(super) const MOST_WORDS: usize = 1000;

/// A failed request to the store. Its texts hold the store's words, shortened and with secrets removed. Code that shows them
/// must make them visible first.
#[derive(Debug, Clone)]
pub struct StoreError {
    pub(super) action: &'static str,
    pub(super) key: String,
    pub(super) cause: Cause,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) message: String,
    pub(super) hint: Cow<'static, str>,
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

impl Diagnosed for StoreError {
    fn kind(&self) -> Kind {
        self.cause.kind()
    }

    fn hint(&self) -> &str {
        &self.hint
    }
}

impl StoreError {
    /// Turns the SDK's error into one that says what happened, with secrets removed: some stores repeat the access key in their
    /// answers.
    pub(super) fn of<E>(
        addressing: &Addressing,
        redactor: &Redactor,
        action: &'static str,
        key: &str,
        error: SdkError<E>,
    ) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        if let Some(unusable) = chain::find::<Unusable>(&error) {
            let message = shown(&redactor.redact(&unusable.to_string()), MOST_WORDS);
            return match unusable {
                Unusable::Broken(_) | Unusable::Cut(_) => {
                    Self::known(action, key, Cause::Broken, message)
                }
                Unusable::TooLong | Unusable::NotS3(_) => Self::not_s3(action, key, message),
            };
        }
        let answer = error.raw_response();
        let status = answer.map(|answer| answer.status().as_u16());
        // Without a body, the SDK makes up a code of its own for 404.
        let has_body = answer
            .and_then(|answer| answer.body().bytes())
            .is_some_and(|body| !body.is_empty());
        let (code, mut message) = match &error {
            SdkError::ServiceError(service) => (
                service
                    .err()
                    .code()
                    .filter(|code| has_body && !code.trim().is_empty())
                    .map(str::to_owned),
                service.err().message().unwrap_or_default().to_owned(),
            ),
            _ => (None, String::new()),
        };
        let details = answer.map_or_else(AnswerDetails::default, |answer| {
            AnswerDetails::by(answer, code.as_deref(), &message, addressing)
        });
        let cause = match (&error, status) {
            (SdkError::ResponseError(_), Some(200..=299)) => Cause::Unreadable,
            // The answer was read, and it is neither what was asked for nor an error.
            (SdkError::ServiceError(_), Some(200..=299)) if code.is_none() => Cause::NotS3,
            (SdkError::ServiceError(_) | SdkError::ResponseError(_), Some(status)) => {
                Cause::of_answer(status, code.as_deref(), &message, &details)
            }
            (SdkError::TimeoutError(_), _) => Cause::Timeout,
            (SdkError::ConstructionFailure(_), _) => Cause::Unsendable,
            _ => Cause::of_connection(&error),
        };
        if message.is_empty() && code.is_none() {
            message = match status {
                Some(200..=299) => {
                    format!("the answer is not what S3 sends: {}", chain::words(&error))
                }
                _ => chain::words(&error),
            };
        }
        // Secrets are removed before anything is cut off. Otherwise a part of a secret that was cut could stay.
        let kept = |words: &str, most| shown(&redactor.redact(words), most);
        let mut message = kept(&message, MOST_WORDS);
        for (name, value) in &details.headers {
            message.push_str("; ");
            message.push_str(name);
            message.push_str(": ");
            message.push_str(&kept(value, MOST_HEADER));
        }
        if cause == Cause::Clock
            && let Some(skew) = details.skew
        {
            let (seconds, way) = (
                skew.num_seconds(),
                if skew.num_seconds() < 0 {
                    "behind"
                } else {
                    "ahead of"
                },
            );
            message.push_str(&format!(
                "; the store's clock is {} s {way} this one",
                seconds.unsigned_abs()
            ));
        }
        Self {
            action,
            key: key.to_owned(),
            cause,
            status,
            code: code.map(|code| kept(&code, MOST_CODE)),
            message,
            hint: hint(cause, addressing, details.region.as_deref()),
        }
    }

    /// An error whose remedy does not depend on the provider.
    pub(super) fn known(action: &'static str, key: &str, cause: Cause, message: String) -> Self {
        Self {
            action,
            key: key.to_owned(),
            cause,
            status: None,
            code: None,
            message,
            hint: Cow::Borrowed(everywhere(cause)),
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) const fn is_transient(&self) -> bool {
        self.cause.is_transient()
    }

    /// The same error for a request with a body of this many bytes. If that is too long for the store, the hint names the size.
    pub(super) fn of_body(mut self, bytes: usize) -> Self {
        if self.cause == Cause::TooLarge {
            let mib = bytes.div_ceil(1024 * 1024);
            self.hint = Cow::Owned(format!(
                "{}: a part of this backup has {mib} MiB",
                everywhere(Cause::TooLarge)
            ));
        }
        self
    }

    /// An object that does not hold what was sent.
    #[must_use]
    pub fn mismatch(action: &'static str, key: &str, message: String) -> Self {
        Self::known(action, key, Cause::Mismatch, message)
    }

    /// An answer that can't be what it says it is.
    pub(super) fn not_s3(action: &'static str, key: &str, message: String) -> Self {
        Self::known(action, key, Cause::NotS3, message)
    }

    /// An answer that did not come, or broke off.
    pub(super) fn broken(action: &'static str, key: &str, cause: &str) -> Self {
        let message = format!("the connection broke off: {}", shown(cause, MOST_WORDS));
        Self::known(action, key, Cause::Broken, message)
    }

    /// Whether the object it is about was removed or replaced while it was being read.
    #[must_use]
    pub const fn is_replaced(&self) -> bool {
        matches!(self.cause, Cause::Replaced)
    }

    /// An object that was removed or replaced while it was being read.
    pub(super) fn replaced(action: &'static str, key: &str) -> Self {
        let message = "the object was removed or replaced while it was being read";
        Self::known(action, key, Cause::Replaced, message.to_owned())
    }

    pub(super) fn timeout(action: &'static str, key: &str, limit: Duration) -> Self {
        let message = format!("no answer within {} s", limit.as_secs());
        Self::known(action, key, Cause::Timeout, message)
    }

    /// The error for a name that another object already has.
    #[must_use]
    pub fn taken(action: &'static str, key: &str) -> Self {
        let message = "there is another object of this name";
        Self::known(action, key, Cause::Conflict, message.to_owned())
    }

    /// Whether the store does not offer this kind of request at all.
    #[must_use]
    pub fn is_not_offered(&self) -> bool {
        self.is_code("NotImplemented") || matches!(self.status, Some(405 | 501))
    }

    pub(super) fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// The store's words, shortened.
pub(super) fn shown(words: &str, most: usize) -> String {
    text::shortened(words, most)
}

#[cfg(test)]
mod tests;
