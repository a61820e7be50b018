//! Parts of an upload: one stream of bytes is cut into pieces of equal size, in buffers that are used again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};
use tokio::sync::mpsc;

use crate::level::Lag;

/// A piece of the object with its checksum.
#[derive(Debug, Clone)]
pub struct Part {
    /// The bytes. Their buffer is returned when the last clone of them is dropped.
    pub body: Bytes,
    /// The MD5 of the bytes, which is sent as `Content-MD5`.
    pub md5: [u8; 16],
}

/// At least so many zeroed bytes, to be split. They take up memory page by page as they are written to, and all of it goes back
/// to the system when the last part of them is dropped.
///
/// glibc does so with each piece of memory of more than 32 MiB. A smaller one comes from a heap as soon as one of its size was
/// freed before. It is written whole then, and its memory stays in the process, so that an idle daemon would hold what its last
/// backup needed, and each backup would need more than the one before it.
#[must_use]
pub fn mapped(bytes: usize) -> BytesMut {
    const LEAST: usize = 33 * 1024 * 1024;
    BytesMut::zeroed(bytes.max(LEAST))
}

/// The buffers of one attempt. The one that was returned last is used first, so that with a fast store only two or three of
/// them are ever touched and take up memory.
#[derive(Debug, Clone)]
pub struct Buffers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    size: usize,
    most: usize,
    shelf: Mutex<Shelf>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    free: Vec<BytesMut>,
    is_made: bool,
    closed: bool,
    waited: Duration,
    waiting_since: Option<Instant>,
    taken_at: Option<Instant>,
    /// Whether each of the last buffers had to be waited for, one bit each; the lowest bit is the latest.
    late: u8,
}

/// The error when nobody takes the parts any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Buffers {
    /// So many buffers of `size` bytes, made when the first one is needed.
    #[must_use]
    pub fn new(size: usize, most: usize) -> Self {
        Self(Arc::new(Shared {
            size,
            most: most.max(1),
            shelf: Mutex::default(),
            returned: Condvar::new(),
        }))
    }

    /// Ends every wait for a buffer, those going on and those to come.
    pub fn close(&self) {
        self.0.shelf().closed = true;
        self.0.returned.notify_all();
    }

    /// How long compressed bytes have waited for the upload, including a wait that is going on.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let shelf = self.0.shelf();
        let lasting = shelf
            .waiting_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        shelf.waited.saturating_add(lasting)
    }

    /// How far the upload is behind: a buffer is returned when its part has arrived.
    #[must_use]
    pub fn lag(&self) -> Lag {
        /// The bits of the parts that count as recent.
        const LATELY: u8 = 0b1111;
        match self.0.shelf().late {
            late if late & 1 != 0 => Lag::Now,
            late if late & LATELY != 0 => Lag::Lately,
            _ => Lag::None,
        }
    }

    /// Puts the buffers into the state after a part that had to be waited for.
    #[cfg(test)]
    pub(crate) fn fell_behind(&self) {
        self.0.shelf().late = 1;
    }

    fn take(&self) -> Result<Buffer, Closed> {
        let mut shelf = self.0.shelf();
        let before = shelf.waited;
        loop {
            if shelf.closed {
                return Err(Closed);
            }
            let bytes = match shelf.free.pop() {
                Some(bytes) => bytes,
                None if !shelf.is_made => {
                    shelf.is_made = true;
                    shelf.free = self.0.make();
                    continue;
                }
                None => {
                    let began = Instant::now();
                    shelf.waiting_since = Some(began);
                    shelf = self
                        .0
                        .returned
                        .wait(shelf)
                        .unwrap_or_else(PoisonError::into_inner);
                    shelf.waiting_since = None;
                    shelf.waited = shelf.waited.saturating_add(began.elapsed());
                    continue;
                }
            };
            let now = Instant::now();
            let since = shelf.taken_at.replace(now).map(|last| now - last);
            let waited = shelf.waited.saturating_sub(before);
            shelf.late = (shelf.late << 1) | u8::from(is_late(waited, since));
            return Ok(Buffer {
                bytes,
                home: Arc::clone(&self.0),
            });
        }
    }
}

/// Whether so long a wait, of the time since the buffer before, means that the upload is what everything waits for.
fn is_late(waited: Duration, since: Option<Duration>) -> bool {
    /// One part in so many of the time may be chance.
    const CHANCE: u32 = 8;
    since.is_some_and(|since| waited * CHANCE > since)
}

impl Shared {
    fn make(&self) -> Vec<BytesMut> {
        let mut memory = mapped(self.size.saturating_mul(self.most));
        let buffers = (0..self.most).map(|_| {
            let mut buffer = memory.split_to(self.size);
            buffer.clear();
            buffer
        });
        buffers.collect()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes back to the shelf.
#[derive(Debug)]
struct Buffer {
    bytes: BytesMut,
    home: Arc<Shared>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.home.shelf().free.push(bytes);
        self.home.returned.notify_one();
    }
}

/// Cuts what it is given into parts and hands them over. The checksum is computed as the bytes come in, while they are
/// still in the processor's cache.
#[derive(Debug)]
pub struct Cutter {
    buffers: Buffers,
    parts: mpsc::Sender<Part>,
    current: Option<(Buffer, Md5)>,
}

impl Cutter {
    /// A cutter whose parts come out of the receiver: equal ones, the last one shorter, never empty. All of a cutter's
    /// work blocks its thread.
    #[must_use]
    pub fn new(buffers: &Buffers) -> (Self, mpsc::Receiver<Part>) {
        // There are no more parts than buffers, so this one never waits.
        let (sender, receiver) = mpsc::channel(buffers.0.most);
        let cutter = Self {
            buffers: buffers.clone(),
            parts: sender,
            current: None,
        };
        (cutter, receiver)
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// When nobody takes the parts any more.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        while !bytes.is_empty() {
            let (mut buffer, mut md5) = match self.current.take() {
                Some(current) => current,
                None => (self.buffers.take()?, Md5::new()),
            };
            let room = self.buffers.0.size.saturating_sub(buffer.bytes.len());
            let (fitting, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            buffer.bytes.extend_from_slice(fitting);
            md5.update(fitting);
            bytes = rest;
            if buffer.bytes.len() >= self.buffers.0.size {
                self.hand_over(buffer, md5)?;
            } else {
                self.current = Some((buffer, md5));
            }
        }
        Ok(())
    }

    /// Hands the last part over.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn finish(mut self) -> Result<(), Closed> {
        match self.current.take() {
            Some((buffer, md5)) => self.hand_over(buffer, md5),
            None => Ok(()),
        }
    }

    fn hand_over(&self, buffer: Buffer, md5: Md5) -> Result<(), Closed> {
        let part = Part {
            body: Bytes::from_owner(buffer),
            md5: md5.finalize().into(),
        };
        self.parts.try_send(part).map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_the_last_is_not_empty() {
        for (bytes, sizes) in [
            (0, vec![]),
            (1, vec![1]),
            (9, vec![9]),
            (10, vec![10]),
            (11, vec![10, 1]),
            (35, vec![10, 10, 10, 5]),
        ] {
            for step in [1, 3, 10, 100] {
                let (mut cutter, mut parts) = Cutter::new(&Buffers::new(10, 100));
                let text: Vec<u8> = (0..bytes).collect();
                let taken = std::thread::spawn(move || {
                    let mut taken = Vec::new();
                    while let Some(part) = parts.blocking_recv() {
                        assert_eq!(part.md5, <[u8; 16]>::from(Md5::digest(&part.body)));
                        taken.push(part.body);
                    }
                    taken
                });
                for piece in text.chunks(step) {
                    cutter.write(piece).unwrap();
                }
                cutter.finish().unwrap();
                let taken = taken.join().unwrap();
                assert_eq!(taken.iter().map(Bytes::len).collect::<Vec<_>>(), sizes);
                assert_eq!(taken.concat(), text);
            }
        }
    }

    #[test]
    fn a_buffer_is_used_again_the_last_one_first() {
        let buffers = Buffers::new(10, 2);
        let (first, second) = (buffers.take().unwrap(), buffers.take().unwrap());
        let place = second.bytes.as_ptr();
        drop(first);
        drop(second);
        assert_eq!(buffers.take().unwrap().bytes.as_ptr(), place);
        assert_eq!(buffers.0.shelf().free.len(), 2);
    }

    #[test]
    fn a_full_buffer_stays_where_it_is() {
        let buffers = Buffers::new(10, 3);
        let mut taken: Vec<Buffer> = (0..3).map(|_| buffers.take().unwrap()).collect();
        let place = |buffer: &Buffer| buffer.bytes.as_ptr().addr();
        let mut places: Vec<usize> = taken.iter().map(place).collect();
        for buffer in &mut taken {
            buffer.bytes.extend_from_slice(&[7; 10]);
        }
        assert_eq!(taken.iter().map(place).collect::<Vec<_>>(), places);
        // They lie side by side in one piece of memory.
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] == 10));
    }

    #[test]
    fn a_wait_ends_when_a_buffer_comes_back_and_when_they_are_closed() {
        let buffers = Buffers::new(10, 1);
        let held = buffers.take().unwrap();
        let take = || {
            let theirs = buffers.clone();
            let waiter = std::thread::spawn(move || theirs.take().map(drop));
            while buffers.0.shelf().waiting_since.is_none() {
                std::thread::yield_now();
            }
            waiter
        };
        let waiter = take();
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        let held = buffers.take().unwrap();
        let waiter = take();
        buffers.close();
        assert_eq!(waiter.join().unwrap(), Err(Closed));
        assert!(buffers.waited() > Duration::ZERO);
        drop(held);
        assert_eq!(buffers.take().map(drop), Err(Closed));
    }

    #[test]
    fn a_wait_counts_when_it_was_more_than_an_eighth_of_the_time() {
        let ms = Duration::from_millis;
        for (waited, since, late) in [
            (0, Some(0), false),
            (0, Some(100), false),
            (10, Some(100), false),
            (13, Some(100), true),
            (100, Some(100), true),
            (100, None, false),
        ] {
            assert_eq!(
                is_late(ms(waited), since.map(ms)),
                late,
                "{waited} {since:?}"
            );
        }
    }

    #[test]
    fn the_upload_is_behind_while_buffers_are_waited_for_and_lately_for_three_more() {
        let buffers = Buffers::new(10, 1);
        drop(buffers.take().unwrap());
        assert_eq!(buffers.lag(), Lag::None);
        let held = buffers.take().unwrap();
        let theirs = buffers.clone();
        let waiter = std::thread::spawn(move || theirs.take().map(drop));
        while buffers.waited() < Duration::from_millis(1) {
            std::thread::yield_now();
        }
        // Long ago, against which any wait is short, or just now.
        buffers.0.shelf().taken_at = Some(Instant::now());
        drop(held);
        waiter.join().unwrap().unwrap();
        assert_eq!(buffers.lag(), Lag::Now);
        for lag in [Lag::Lately, Lag::Lately, Lag::Lately, Lag::None] {
            drop(buffers.take().unwrap());
            assert_eq!(buffers.lag(), lag);
        }
    }

    #[test]
    fn nobody_takes_the_parts() {
        let (mut cutter, parts) = Cutter::new(&Buffers::new(10, 4));
        drop(parts);
        assert_eq!(cutter.write(&[0; 100]), Err(Closed));
    }
}
