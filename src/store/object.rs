//! The objects of a bucket: looked at, and read in pieces.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

use super::error::{MOST_CODE, shown};
use super::etag::{WEAK, etag, opaque};
use super::multipart::MARK;
use super::{SLOWEST_BYTES_PER_SECOND, Store, StoreError};
use crate::fault::chain;

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
pub struct ObjectInfo {
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag without quotes, or unchanged if it is a weak one. Empty if there is none.
    pub etag: String,
    /// The mark that its upload was begun with, if the store gives it back.
    pub mark: Option<String>,
}

impl Store {
    /// Asks for an object's size and ETag; `None` if there is no such object.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
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
            Ok(head) => Ok(Some(ObjectInfo {
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
                            format!("{came} bytes came instead of {expected}"),
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
        "{} came instead of {asked}{size}, in {} bytes",
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
