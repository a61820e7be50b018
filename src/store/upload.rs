//! A multipart upload: its parts are equal, few are on their way at a time, and it ends exactly once.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use md5::{Digest, Md5};
use tokio::task::JoinSet;

use crate::dump::CleanExit;
use crate::format::hex;
use crate::store::etag::opaque;
use crate::store::{Acknowledged, ObjectInfo, Store, StoreError};
use stream::part::Part;

/// S3's limit on the parts of one upload.
const MOST_PARTS: u64 = 10_000;

/// The smallest part. It is large enough that 10,000 parts hold 78 GiB, and small enough that five of them (four on their way,
/// one being filled) fit into a small container.
const SMALLEST_PART_BYTES: u64 = 8 * 1024 * 1024;

/// A little less than the limit of R2 and S3 on one part.
const LARGEST_PART_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// The most parts on their way. Four connections carry more than one `pg_dump` produces, and R2 answers 429 to many more.
const MOST_IN_FLIGHT: usize = 4;

/// How many parts are on their way at first, which is enough for a store that is near. Each takes 8 MiB of memory, so there are
/// more only when the upload has to wait for them.
const FIRST_IN_FLIGHT: usize = 2;

/// The memory for all parts on their way, though one part is always allowed. With larger parts, fewer are sent at a time.
const IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// How many buffers an upload with parts of this size needs: one to fill, and the others on their way.
#[must_use]
pub fn buffers(part_size: usize) -> usize {
    most_in_flight(part_size).saturating_add(1)
}

fn most_in_flight(part_size: usize) -> usize {
    (IN_FLIGHT_BYTES / part_size.max(1)).clamp(1, MOST_IN_FLIGHT)
}

/// How many parts may be on their way: one more each time one had to be waited for, and half as many when the store asks for
/// fewer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    limit: usize,
    most: usize,
    /// How often the store had asked for fewer requests when this was last looked at.
    refusals: u64,
}

impl Pace {
    fn new(most: usize, refusals: u64) -> Self {
        Self {
            limit: FIRST_IN_FLIGHT.min(most),
            most,
            refusals,
        }
    }

    /// The pace after a part has arrived.
    fn after(self, refusals: u64, waited_for: bool) -> Self {
        let limit = if refusals > self.refusals {
            (self.limit / 2).max(1)
        } else if waited_for {
            self.limit.saturating_add(1).min(self.most)
        } else {
            self.limit
        };
        Self {
            limit,
            refusals,
            ..self
        }
    }
}

/// The size of all parts but the last. R2 demands equal parts and checks that only at the end, so the size is fixed before the
/// first byte. It is assumed that the compressed dump is not larger than the database on disk; a dump of twice that size still
/// fits.
#[must_use]
pub fn part_size(database_bytes: u64) -> usize {
    let needed = database_bytes.saturating_mul(2).div_ceil(MOST_PARTS);
    let size = needed
        .clamp(SMALLEST_PART_BYTES, LARGEST_PART_BYTES)
        .next_multiple_of(1024 * 1024);
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// How long to wait for the store when an upload has to be aborted, and how long if the run's own time is over.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(5);

/// How often to look for an object that the store says it made. If the store does not show it, it counts as missing after about
/// 15 seconds. If the store does not answer, it counts as unknown after two minutes or more.
const LOOKS_FOR_NOTHING: usize = 6;
const LOOKS_WITHOUT_ANSWER: usize = 12;

const ACTION: &str = "complete upload of";

/// An upload that was begun and is not visible. It ends once: by [`Upload::complete`] or by [`Upload::abort`]. If it is dropped
/// instead, it stays in the bucket until the next start removes it.
#[derive(Debug)]
#[must_use]
pub struct Upload {
    store: Store,
    key: String,
    id: String,
    /// The mark by which the object is recognised, whatever its ETag is.
    mark: String,
    bytes: u64,
    md5s: Vec<[u8; 16]>,
    etags: Vec<Option<String>>,
    /// Whether the log has already said that this store's ETags are not MD5s.
    strange_etag: bool,
    in_flight: JoinSet<Result<(usize, Acknowledged), StoreError>>,
    pace: Pace,
}

/// An object that the store confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How many parts it was sent in.
    pub parts: usize,
}

/// What is in the store under the key.
#[derive(Debug, Clone, Copy)]
struct There {
    size: u64,
    /// Whether this upload made it; `None` if the store does not show that.
    is_ours: Option<bool>,
}

impl Upload {
    /// Begins the upload. This is done before the first byte is dumped, so that refused credentials cost the database nothing.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn begin(
        store: &Store,
        key: &str,
        part_size: usize,
        mark: &str,
    ) -> Result<Self, StoreError> {
        let id = store.create_upload(key, mark).await?;
        Ok(Self {
            store: store.clone(),
            key: key.to_owned(),
            id,
            mark: mark.to_owned(),
            bytes: 0,
            md5s: Vec::new(),
            etags: Vec::new(),
            strange_etag: false,
            in_flight: JoinSet::new(),
            pace: Pace::new(most_in_flight(part_size), store.refusals()),
        })
    }

    /// Sends a part as soon as one more may be on its way.
    ///
    /// # Errors
    /// The first failure of any part so far.
    pub async fn send(&mut self, part: Part) -> Result<(), StoreError> {
        while self.in_flight.len() >= self.pace.limit {
            self.settle_one(true).await?;
        }
        let index = self.etags.len();
        let number = i32::try_from(index.saturating_add(1)).unwrap_or(i32::MAX);
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(part.body.len()).unwrap_or(u64::MAX));
        self.md5s.push(part.md5);
        self.etags.push(None);
        let (store, key, id) = (self.store.clone(), self.key.clone(), self.id.clone());
        self.in_flight.spawn(async move {
            store
                .upload_part(&key, &id, number, &part.body, &part.md5)
                .await
                .map(|acknowledged| (index, acknowledged))
        });
        Ok(())
    }

    /// Waits until the store has acknowledged every part.
    ///
    /// # Errors
    /// The first failure.
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        while !self.in_flight.is_empty() {
            self.settle_one(false).await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self, waited_for: bool) -> Result<(), StoreError> {
        match self.in_flight.join_next().await {
            Some(Ok(Ok((index, Acknowledged { etag, is_md5 })))) => {
                if !is_md5 && !self.strange_etag {
                    self.strange_etag = true;
                    tracing::warn!(
                        key = self.key,
                        hint = "there is nothing to do: the store compared each part with its Content-MD5; stores that encrypt with your own key, and some gateways, have other ETags",
                        "the store's ETags are no MD5s: they say nothing about the bytes that it has"
                    );
                }
                let pace = self.pace.after(self.store.refusals(), waited_for);
                if pace.limit < self.pace.limit {
                    tracing::warn!(
                        parts_in_flight = pace.limit,
                        "the store asked for fewer requests: sending fewer parts at a time"
                    );
                }
                self.pace = pace;
                if let Some(slot) = self.etags.get_mut(index) {
                    *slot = Some(etag);
                }
                Ok(())
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Err(join)) => Err(StoreError::mismatch(
                "upload a part of",
                &self.key,
                format!("the task ended early: {join}"),
            )),
            None => Ok(()),
        }
    }

    /// Makes the object visible, unless `early` is ready first. It needs the proof that the dump ended well:
    ///
    /// ```
    /// use postgres_s3_backups::dump::CleanExit;
    /// use postgres_s3_backups::store::StoreError;
    /// use postgres_s3_backups::store::upload::Upload;
    ///
    /// async fn complete(upload: Upload, proof: CleanExit) {
    ///     let _ = upload.complete(proof, std::future::pending::<StoreError>()).await;
    /// }
    /// ```
    ///
    /// Without one, this does not compile:
    ///
    /// ```compile_fail
    /// use postgres_s3_backups::store::StoreError;
    /// use postgres_s3_backups::store::upload::Upload;
    ///
    /// async fn complete(upload: Upload) {
    ///     let _ = upload.complete((), std::future::pending::<StoreError>()).await;
    /// }
    /// ```
    ///
    /// Afterwards the object is looked at: it must have the size that was sent, and if the answer was lost, its mark shows
    /// whether it is ours.
    ///
    /// # Errors
    /// When the object is not there, or is somebody else's. The upload was aborted then.
    pub async fn complete<E: From<StoreError>>(
        mut self,
        _proof: CleanExit,
        early: impl Future<Output = E>,
    ) -> Result<Stored, E> {
        let mut early = pin!(early);
        tokio::select! {
            ended = self.commit() => {
                if ended.is_err() {
                    self.abort(early).await;
                }
                ended.map_err(E::from)
            }
            error = &mut early => {
                self.abort(ready(())).await;
                Err(error)
            }
        }
    }

    async fn commit(&mut self) -> Result<Stored, StoreError> {
        self.settle().await?;
        let etags: Vec<String> = self.etags.iter().flatten().cloned().collect();
        if etags.len() != self.md5s.len() {
            return Err(self.mismatch("a part was not acknowledged".to_owned()));
        }
        let answer = self
            .store
            .complete_upload(&self.key, &self.id, &etags)
            .await;
        match answer {
            Ok(()) => self.confirm().await,
            // The error of Complete says more than the one of the look afterwards.
            Err(error) => match self.look(&self.store).await {
                Ok(Some(there)) if there.is_ours == Some(true) && there.size == self.bytes => {
                    tracing::warn!(error = %error, "the answer to Complete was lost, but the object is there and is ours");
                    Ok(self.stored())
                }
                _ => Err(error),
            },
        }
    }

    /// Looks at the object that the store says it made. If the store does not show it yet, or is out of order for a while, it
    /// is asked again: everything was sent, so waiting is the best that can be done.
    async fn confirm(&self) -> Result<Stored, StoreError> {
        let store = self.store.hurried();
        let patience = self.store.patience();
        let mut wait = patience.first_wait;
        let mut looks: usize = 1;
        loop {
            let (error, most) = match self.look(&store).await {
                Ok(Some(there)) if there.is_ours == Some(false) => {
                    return Err(StoreError::taken(ACTION, &self.key));
                }
                Ok(Some(there)) if there.size == self.bytes => return Ok(self.stored()),
                Ok(Some(there)) => {
                    return Err(self.mismatch(format!(
                        "the object has {} bytes, {} were sent",
                        there.size, self.bytes
                    )));
                }
                Ok(None) => (
                    self.mismatch("the object is not there".to_owned()),
                    LOOKS_FOR_NOTHING,
                ),
                Err(error) => (error, LOOKS_WITHOUT_ANSWER),
            };
            if looks >= most {
                return Err(error);
            }
            looks = looks.saturating_add(1);
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(patience.longest_wait);
        }
    }

    /// Finds out what the store has under the key. If the access key may not look at objects, or the store can't say at the
    /// moment, the list is read instead.
    async fn look(&self, store: &Store) -> Result<Option<There>, StoreError> {
        let error = match store.head(&self.key).await {
            Ok(head) => return Ok(head.map(|head| self.identify(&head))),
            Err(error) => error,
        };
        let listed = store.listed(&self.key).await;
        // The first error says more.
        let Ok(listed) = listed else {
            return Err(error);
        };
        tracing::warn!(
            error = %error,
            hint = "give the key the right to read objects (s3:GetObject), or keep another key for restores and drills; if the store is out of order, there is nothing to do",
            "the object could not be looked at: its size is taken from the list"
        );
        Ok(listed.map(|object| There {
            size: object.size,
            is_ours: object.etag.map(|etag| self.is_known_by(&etag)),
        }))
    }

    /// Whose object it is, by its mark, or by its ETag if the store does not give the mark back.
    fn identify(&self, head: &ObjectInfo) -> There {
        There {
            size: head.size,
            is_ours: match &head.mark {
                Some(mark) => Some(*mark == self.mark),
                // A different ETag says nothing: not every store makes it from the parts' MD5s.
                None => self.is_known_by(&head.etag).then_some(true),
            },
        }
    }

    fn is_known_by(&self, etag: &str) -> bool {
        opaque(etag).eq_ignore_ascii_case(&self.expected_etag())
    }

    fn stored(&self) -> Stored {
        Stored {
            size_bytes: self.bytes,
            parts: self.md5s.len(),
        }
    }

    fn mismatch(&self, message: String) -> StoreError {
        StoreError::mismatch(ACTION, &self.key, message)
    }

    /// The MD5 of the parts' MD5s, and the number of parts: the ETag that R2, AWS and most others give the object.
    fn expected_etag(&self) -> String {
        format!(
            "{}-{}",
            hex(&Md5::digest(self.md5s.concat())),
            self.md5s.len()
        )
    }

    /// Ends the upload without making an object. A failure is logged, and never replaces the error that led here. A store that
    /// does not answer is not waited for long, because a later start or run aborts what is left: for a minute, and for five
    /// seconds once the run's own time is over, which `over` tells.
    pub async fn abort<T>(mut self, over: impl Future<Output = T>) {
        self.in_flight.shutdown().await;
        let at_the_end = async {
            over.await;
            tokio::time::sleep(PATIENCE_AT_THE_END).await;
        };
        let limit = async {
            tokio::select! {
                () = tokio::time::sleep(PATIENCE) => {}
                () = at_the_end => {}
            }
        };
        tokio::select! {
            aborted = self.store.abort_upload(&self.key, &self.id) => if let Err(error) = aborted {
                tracing::warn!(key = self.key, upload = self.id, error = %error, "could not abort upload");
            },
            () = limit => {
                tracing::warn!(key = self.key, upload = self.id, error = "the store does not answer", "could not abort upload");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_grows_with_the_need_and_halves_when_the_store_refuses() {
        let at = |limit, refusals| Pace {
            limit,
            most: 4,
            refusals,
        };
        assert_eq!(Pace::new(4, 7), at(2, 7));
        assert_eq!(Pace::new(1, 0).limit, 1);
        for (from, refusals, waited_for, to) in [
            (at(2, 0), 0, false, at(2, 0)),
            (at(2, 0), 0, true, at(3, 0)),
            (at(4, 0), 0, true, at(4, 0)),
            (at(4, 0), 1, true, at(2, 1)),
            (at(4, 0), 9, false, at(2, 9)),
            (at(2, 1), 1, true, at(3, 1)),
            (at(3, 1), 2, true, at(1, 2)),
            (at(1, 2), 3, true, at(1, 3)),
            (at(1, 3), 3, true, at(2, 3)),
        ] {
            assert_eq!(
                from.after(refusals, waited_for),
                to,
                "{from:?} {refusals} {waited_for}"
            );
        }
    }

    #[test]
    fn larger_parts_hold_no_more_memory_until_one_alone_does() {
        let mib = 1024 * 1024;
        for (part, parts) in [(8, 5), (9, 4), (16, 3), (20, 2), (32, 2), (100, 2)] {
            assert_eq!(buffers(part * mib), parts, "{part} MiB");
        }
    }

    #[test]
    fn twice_the_database_fits_into_ten_thousand_parts() {
        let mib = 1024 * 1024;
        assert_eq!(part_size(0), 8 * mib);
        assert_eq!(part_size(39 << 30), 8 * mib);
        for gib in [40_u64, 100, 500, 1000, 20_000] {
            let database = gib << 30;
            let part = part_size(database);
            assert!(
                u64::try_from(part).unwrap() * MOST_PARTS >= database * 2,
                "{gib} GiB"
            );
            assert_eq!(part % mib, 0);
        }
        assert_eq!(
            u64::try_from(part_size(u64::MAX)).unwrap(),
            LARGEST_PART_BYTES
        );
    }
}
