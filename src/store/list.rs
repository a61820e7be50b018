//! What the bucket holds: the objects, and the uploads that are neither completed nor aborted.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;

use super::connector::AnswerTime;
use super::etag::MOST_ETAG_BYTES;
use super::{Object, Store, StoreError, Unfinished};

/// The longest value that a store may want back in the URL of a later request, such as an upload's id. Servers refuse requests
/// whose first line is longer than this.
const MOST_HANDLE_BYTES: usize = 8 * 1024;

/// The most pages of a list. A page has 1000 entries, so this is ten million objects under one prefix.
const MOST_PAGES: usize = 10_000;

/// The most pages that are read of the unfinished uploads in a whole bucket. Most of those may belong to others.
const PAGES_OF_ALL: usize = 10;

impl Store {
    /// Lists every object whose key begins with `prefix`, a page at a time. Only what `visit` keeps stays in memory. Returns
    /// the latest time of the store's clock, if the answers hold it.
    ///
    /// # Errors
    /// What the store answered. A list that is not whole is an error, and whatever was visited before an error must not be
    /// used.
    pub async fn list(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Object),
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        const ACTION: &str = "list objects under";
        let not_whole = |what: String| StoreError::not_s3(ACTION, prefix, what);
        let mut pages = Pages::default();
        let mut token: Option<String> = None;
        let (mut read, mut unreadable) = (false, 0_usize);
        loop {
            let (page, time) = self
                .retrying(ACTION, prefix, self.patience.answer, || async {
                    let time = AnswerTime::default();
                    let request = self
                        .client()
                        .list_objects_v2()
                        .bucket(&*self.bucket)
                        .prefix(prefix)
                        .encoding_type(EncodingType::Url)
                        .set_continuation_token(token.clone());
                    let page = request
                        .customize()
                        .interceptor(time.clone())
                        .send()
                        .await
                        .map_err(|e| self.error(ACTION, prefix, e))?;
                    Ok((page, time.get()))
                })
                .await?;
            let (truncated, next) = (page.is_truncated, page.next_continuation_token);
            let encoded = page.encoding_type == Some(EncodingType::Url);
            for object in page.contents.unwrap_or_default() {
                match entry(object, encoded, prefix) {
                    Some(object) => {
                        read = true;
                        visit(object);
                    }
                    None => unreadable = unreadable.saturating_add(1),
                }
            }
            let next = next.filter(|next| !next.is_empty());
            match (truncated, next) {
                // A bucket in which no entry can be read is not empty.
                (Some(false), None) if unreadable > 0 && !read => {
                    return Err(not_whole(
                        "the list holds only objects without a key or a size".to_owned(),
                    ));
                }
                (Some(false), None) => {
                    self.tell_unreadable(unreadable);
                    return Ok(time);
                }
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

    /// Logs once that a list holds entries which can't be read. They probably belong to somebody else, and are there in each
    /// list.
    fn tell_unreadable(&self, entries: usize) {
        if entries > 0 && !self.told_unreadable.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                entries,
                hint = "look for strange objects in the bucket; if one of them is a backup, the store does not tell its name or its size",
                "the list of objects holds entries that cannot be read: they are left out"
            );
        }
    }

    /// Returns the object with this key as the list describes it.
    ///
    /// # Errors
    /// When the bucket could not be listed.
    pub async fn listed(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let mut found = None;
        let visit = |object: Object| {
            if object.key == key {
                found = Some(object);
            }
        };
        self.list(key, visit).await?;
        Ok(found)
    }

    /// Lists every unfinished upload whose key begins with `prefix`, a page at a time.
    ///
    /// # Errors
    /// What the store answered. Not all uploads were visited then.
    pub async fn list_uploads(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Unfinished),
    ) -> Result<(), StoreError> {
        let mut any = false;
        self.uploads_under(prefix, MOST_PAGES, |upload| {
            any = true;
            visit(upload);
        })
        .await?;
        if any || prefix.is_empty() {
            return Ok(());
        }
        // MinIO takes the prefix for a whole key, and lists all uploads only if there is no prefix.
        let ours = |upload: Unfinished| {
            if upload.key.starts_with(prefix) {
                visit(upload);
            }
        };
        if let Err(error) = self.uploads_under("", PAGES_OF_ALL, ours).await {
            tracing::debug!(error = %error, "could not look for unfinished uploads in the whole bucket");
        }
        Ok(())
    }

    async fn uploads_under(
        &self,
        prefix: &str,
        most_pages: usize,
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
                        .client()
                        .list_multipart_uploads()
                        .bucket(&*self.bucket)
                        .encoding_type(EncodingType::Url)
                        .set_prefix(Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()));
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
            let encoded = page.encoding_type == Some(EncodingType::Url);
            let next = (
                page.next_key_marker
                    .map(|marker| decoded(marker, encoded, prefix)),
                page.next_upload_id_marker,
            );
            for upload in page.uploads.unwrap_or_default() {
                // If the age of an upload is unknown, it can't be known whether somebody is still at work on it.
                let initiated_at = upload.initiated().and_then(super::instant);
                let (Some(key), Some(id), Some(initiated_at)) =
                    (upload.key, upload.upload_id, initiated_at)
                else {
                    continue;
                };
                visit(Unfinished {
                    key: decoded(key, encoded, prefix),
                    id: handle(&id).map_err(not_whole)?,
                    initiated_at,
                });
            }
            // If there are no more pages, SeaweedFS does not say so. If there are, it leaves out the key marker.
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
            if pages.seen.len() >= most_pages {
                return Err(not_whole(format!(
                    "the list has more than {most_pages} pages"
                )));
            }
            marker = next;
        }
    }

    /// Returns the time of the store's clock, if its answer holds it.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn time(&self, prefix: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        const ACTION: &str = "list objects under";
        self.retrying(ACTION, prefix, self.patience.answer, || async {
            let time = AnswerTime::default();
            self.client()
                .list_objects_v2()
                .bucket(&*self.bucket)
                .prefix(prefix)
                .max_keys(1)
                .customize()
                .interceptor(time.clone())
                .send()
                .await
                .map_err(|e| self.error(ACTION, prefix, e))?;
            Ok(time.get())
        })
        .await
    }
}

/// The pages of a list that were read so far. Each page must be a new one, and their number is limited.
#[derive(Debug, Default)]
struct Pages {
    state: RandomState,
    seen: HashSet<u64>,
}

impl Pages {
    /// The token of the next page, if it may be read.
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

/// A value that the store wants back with a later request, if it is short enough to be sent.
pub(super) fn handle(text: &str) -> Result<String, String> {
    if text.len() > MOST_HANDLE_BYTES {
        return Err(format!(
            "what it wants back with the next request is longer than {MOST_HANDLE_BYTES} bytes"
        ));
    }
    Ok(text.to_owned())
}

/// An entry of a list; `None` if it has no key or no size.
fn entry(object: aws_sdk_s3::types::Object, encoded: bool, prefix: &str) -> Option<Object> {
    let modified_at = object.last_modified().and_then(super::instant);
    let etag = object.e_tag.filter(|etag| etag.len() <= MOST_ETAG_BYTES);
    Some(Object {
        size: object.size.and_then(|size| u64::try_from(size).ok())?,
        modified_at: modified_at.unwrap_or_default(),
        etag,
        key: decoded(object.key?, encoded, prefix),
    })
}

/// Decodes a key from a list. Keys may hold characters that XML can't, so the store is asked to encode them as in a URL. Some
/// stores write a space as `+`, others leave a `+` unchanged, and some say that they encoded and did not. The right reading is
/// the one that begins with the prefix that was asked for.
fn decoded(text: String, encoded: bool, prefix: &str) -> String {
    if !encoded {
        return text;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let as_form = decode(&text.replace('+', " "));
    if as_form.starts_with(prefix) {
        return as_form;
    }
    let as_path = decode(&text);
    if as_path.starts_with(prefix) {
        return as_path;
    }
    if text.starts_with(prefix) {
        text
    } else {
        as_form
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_to_what_was_asked_for() {
        for (text, prefix, key) in [
            ("db_2026", "db_", "db_2026"),
            ("a%2Fdb%C3%A4_1", "a/dbä_", "a/dbä_1"),
            ("a+b_1", "a b_", "a b_1"),
            ("a%20b_1", "a b_", "a b_1"),
            ("a+b_1", "a+b_", "a+b_1"),
            ("a%2Bb_1", "a+b_", "a+b_1"),
            ("100%_1", "100%_", "100%_1"),
            ("100%25_1", "100%_", "100%_1"),
            ("a%20b_1", "a%20b_", "a%20b_1"),
            // Somebody else's.
            ("db_%01x", "db_", "db_\u{1}x"),
            ("db_%ff", "db_", "db_\u{fffd}"),
            ("x+y", "db_", "x y"),
        ] {
            assert_eq!(decoded(text.to_owned(), true, prefix), key, "{text}");
            assert_eq!(decoded(text.to_owned(), false, prefix), text);
        }
    }
}
