//! What the bucket's own rules say about old objects.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

use super::{Store, StoreError};
use crate::fault::{Diagnosed, Kind};

/// A rule of the bucket that deletes objects by their age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The beginning of the objects' keys; empty for all objects.
    pub prefix: String,
    /// How many days old an object is when it is deleted.
    pub days: u32,
}

/// What is known of a bucket's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// These are all the rules that delete objects by age.
    Known(Vec<Expiry>),
    /// This key may not read them.
    Refused,
    /// The store has none, or none in the form that S3 gives them.
    Unknown,
}

/// What an enabled rule deletes by age alone. A rule with a further condition besides the prefix may not apply to our objects.
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

/// Whether a rule has S3's form. Google, for example, answers with rules in its own form, of which the SDK reads nothing.
fn is_s3s(rule: &LifecycleRule) -> bool {
    rule.expiration().is_some()
        || rule.noncurrent_version_expiration().is_some()
        || rule.abort_incomplete_multipart_upload().is_some()
        || !rule.transitions().is_empty()
        || !rule.noncurrent_version_transitions().is_empty()
}

impl Store {
    /// The bucket's rules that delete objects by age.
    ///
    /// # Errors
    /// What the store answered, if that says nothing about its rules.
    pub async fn rules(&self) -> Result<Rules, StoreError> {
        const ACTION: &str = "read the lifecycle rules of";
        let outcome = self
            .retrying(ACTION, &self.bucket, self.patience.answer, || async {
                self.client()
                    .get_bucket_lifecycle_configuration()
                    .bucket(&*self.bucket)
                    .send()
                    .await
                    .map_err(|e| self.error(ACTION, &self.bucket, e))
            })
            .await;
        match outcome {
            Ok(answer) => {
                let rules = answer.rules();
                Ok(if !rules.is_empty() && rules.iter().all(is_s3s) {
                    Rules::Known(rules.iter().filter_map(expiry).collect())
                } else {
                    // S3 answers 404 where there is no rule.
                    Rules::Unknown
                })
            }
            Err(error) if error.is_code("NoSuchLifecycleConfiguration") => {
                Ok(Rules::Known(Vec::new()))
            }
            Err(error) if error.kind() == Kind::StoreDenied => Ok(Rules::Refused),
            Err(error)
                if error.kind() == Kind::StoreRejected && !error.is_code("NoSuchBucket")
                    || error.is_not_offered()
                    // An answer with status 200 that is not S3's
                    || error.status == Some(200) && error.code.is_none() =>
            {
                Ok(Rules::Unknown)
            }
            Err(error) => Err(error),
        }
    }
}
