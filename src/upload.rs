//! A multipart upload: equal parts, a bounded number in flight, and exactly one end.

use std::time::Duration;

use md5::{Digest, Md5};
use tokio::task::JoinSet;

use crate::dump::CleanExit;
use crate::part::Part;
use crate::store::{Store, StoreError, hex};

/// S3's limit on the parts of one upload.
const MOST_PARTS: u64 = 10_000;

/// Large enough that 10,000 of them hold 78 GiB, small enough that five of them (four on their way, one being filled) fit
/// into a small container.
const SMALLEST_PART_BYTES: u64 = 8 * 1024 * 1024;

/// R2's and S3's limit on one part, less a little.
const LARGEST_PART_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Four connections carry more than one `pg_dump` gives; R2 answers 429 to many more.
const MOST_IN_FLIGHT: usize = 4;

/// Enough for a store that is near. Each part on its way is 8 MiB of memory, so more come only when they are waited for.
const FIRST_IN_FLIGHT: usize = 2;

/// What all parts on their way may hold, as long as there is one: larger parts need fewer requests at a time.
const IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// How many buffers an upload with parts of this size needs: one to fill, and the others on their way.
#[must_use]
pub fn buffers(part_size: usize) -> usize {
    most_in_flight(part_size).saturating_add(1)
}

fn most_in_flight(part_size: usize) -> usize {
    (IN_FLIGHT_BYTES / part_size.max(1)).clamp(1, MOST_IN_FLIGHT)
}

/// How many parts may be on their way: one more each time one was waited for, half as many when the store asks for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    limit: usize,
    most: usize,
    /// How often the store had asked for less when it was last looked at.
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

    /// What follows when a part has arrived.
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

/// The size of all parts but the last. R2 demands that they are equal and checks it only at the end, so it is fixed
/// before the first byte: the dump is assumed to compress to no less than the database's size on disk, and twice that
/// must still fit.
#[must_use]
pub fn part_size(database_bytes: u64) -> usize {
    let needed = database_bytes.saturating_mul(2).div_ceil(MOST_PARTS);
    let size = needed
        .clamp(SMALLEST_PART_BYTES, LARGEST_PART_BYTES)
        .next_multiple_of(1024 * 1024);
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// An upload that was begun and is not visible. It ends once: by [`Upload::complete`] or by [`Upload::abort`]. Dropped,
/// it stays behind in the bucket until the next start sweeps it.
#[derive(Debug)]
#[must_use]
pub struct Upload {
    store: Store,
    key: String,
    id: String,
    bytes: u64,
    md5s: Vec<[u8; 16]>,
    etags: Vec<Option<String>>,
    in_flight: JoinSet<Result<(usize, String), StoreError>>,
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

impl Upload {
    /// Begins before the first byte is dumped, so that refused credentials cost the database nothing.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn begin(store: &Store, key: &str, part_size: usize) -> Result<Self, StoreError> {
        let id = store.create_upload(key).await?;
        Ok(Self {
            store: store.clone(),
            key: key.to_owned(),
            id,
            bytes: 0,
            md5s: Vec::new(),
            etags: Vec::new(),
            in_flight: JoinSet::new(),
            pace: Pace::new(most_in_flight(part_size), store.refusals()),
        })
    }

    /// Sends a part as soon as there is room for one more on its way.
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
                .map(|etag| (index, etag))
        });
        Ok(())
    }

    /// Waits until every part was acknowledged.
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
            Some(Ok(Ok((index, etag)))) => {
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

    /// Makes the object visible. It takes the proof that the dump ended well; without one this does not compile:
    ///
    /// ```compile_fail
    /// async fn forged(upload: postgres_s3_backups::upload::Upload) {
    ///     let _ = upload.complete(()).await;
    /// }
    /// ```
    ///
    /// The object is looked at afterwards: its size must be what was sent, and if the answer was lost, its ETag tells
    /// whether it is ours.
    ///
    /// # Errors
    /// When the object is not there, or is somebody else's; the upload was aborted then.
    pub async fn complete(mut self, _proof: CleanExit) -> Result<Stored, StoreError> {
        match self.commit().await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn commit(&mut self) -> Result<Stored, StoreError> {
        const ACTION: &str = "complete upload of";
        self.settle().await?;
        let etags: Vec<String> = self.etags.iter().flatten().cloned().collect();
        if etags.len() != self.md5s.len() {
            return Err(StoreError::mismatch(
                ACTION,
                &self.key,
                "a part was not acknowledged".to_owned(),
            ));
        }
        let answer = self
            .store
            .complete_upload(&self.key, &self.id, &etags)
            .await;
        let head = match (answer, self.store.head(&self.key).await) {
            (Ok(()), head) => head?,
            // The first error wins: what happened to Complete says more than what happened to the look afterwards.
            (Err(error), Err(_)) => return Err(error),
            (Err(error), Ok(head)) => {
                if head.as_ref().is_none_or(|head| {
                    !head.etag.eq_ignore_ascii_case(&self.expected_etag())
                        || head.size != self.bytes
                }) {
                    return Err(error);
                }
                tracing::warn!(error = %error, "the answer to Complete was lost, but the object is there and is ours");
                head
            }
        };
        match head {
            Some(head) if head.size == self.bytes => Ok(Stored {
                size_bytes: self.bytes,
                parts: self.md5s.len(),
            }),
            Some(head) => Err(StoreError::mismatch(
                ACTION,
                &self.key,
                format!(
                    "the object has {} bytes, {} were sent",
                    head.size, self.bytes
                ),
            )),
            None => Err(StoreError::mismatch(
                ACTION,
                &self.key,
                "the object is not there".to_owned(),
            )),
        }
    }

    /// The MD5 of the parts' MD5s and their number: what R2, AWS and most others call the object.
    fn expected_etag(&self) -> String {
        format!(
            "{}-{}",
            hex(&Md5::digest(self.md5s.concat())),
            self.md5s.len()
        )
    }

    /// Ends it without an object. A failure is logged and never takes the place of the error that led here; a store that
    /// does not answer is not waited for long, since a later start or run aborts what is left.
    pub async fn abort(mut self) {
        const LIMIT: Duration = Duration::from_secs(60);
        self.in_flight.shutdown().await;
        tokio::select! {
            aborted = self.store.abort_upload(&self.key, &self.id) => if let Err(error) = aborted {
                tracing::warn!(key = self.key, upload = self.id, error = %error, "could not abort upload");
            },
            () = tokio::time::sleep(LIMIT) => {
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
