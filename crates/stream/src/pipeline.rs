//! The dump on its way through the compressor: read in blocks, compressed side by side, handed on in order.
//!
//! One thread reads, some compress, one puts the members into parts. What is held is bounded by the number of blocks and
//! of part buffers. A block is taken *in order and before* it is read into, with the room for its member: with room
//! taken later, the blocks behind could use all of it up while the one that must go first waits for some.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::task::JoinHandle;

use crate::gzip::{BEHIND, Encoder, MEMBER_BYTES};
use crate::level::{Effort, FASTEST, Lag, Level, Pressure};
use crate::part::{Buffers, Closed, Cutter, mapped};

/// What one thread compresses at a time. With a quarter of it the result is 2 % larger, with four times as much 0.4 %
/// smaller.
pub(crate) const BLOCK_BYTES: usize = 1024 * 1024;

/// `BACKUP_COMPRESSION` and `BACKUP_COMPRESSION_THREADS`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// How hard.
    pub level: Level,
    /// On how many threads.
    pub threads: usize,
}

/// Where the time went, and how hard it was compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// How many blocks there were.
    pub blocks: u32,
    /// The sum of their levels.
    pub levels: u64,
    /// How long the compressor waited for the dump.
    pub dump_waited: Duration,
    /// How long the dump waited for the compressor.
    pub compressor_waited: Duration,
    /// How long it waited for the upload.
    pub upload_waited: Duration,
}

/// What goes before a reader's bytes and after them, in members of their own.
#[derive(Debug)]
pub struct Around<R> {
    /// What goes before.
    pub before: Vec<u8>,
    /// What goes after, made when the reader is at its end.
    pub after: fn(&mut R) -> Vec<u8>,
}

/// What is left of a pipeline that came to its end.
#[derive(Debug)]
pub struct Ended<R> {
    /// The reader, at its end.
    pub reader: R,
    /// Where the time went until then.
    pub timings: Timings,
    /// When the last part was handed on. What is waited for afterwards is the upload.
    pub at: Instant,
}

impl Timings {
    /// The mean level, to one digit.
    #[must_use]
    pub fn mean_level(&self) -> f64 {
        let tenths = self.levels.saturating_mul(10) / u64::from(self.blocks.max(1));
        u32::try_from(tenths).map_or(f64::MAX, |tenths| f64::from(tenths) / 10.0)
    }
}

/// Why it ended early.
#[derive(Debug)]
pub enum PipelineError {
    /// The reader's own error.
    Read(io::Error),
    /// The compressor's, or a thread of its own that could not be started or panicked.
    Compress(String),
    /// Nobody wanted the rest.
    Stopped,
}

/// A running pipeline. Dropped, its threads end within a block's time.
#[derive(Debug)]
pub struct Pipeline<R> {
    shared: Arc<Shared>,
    reading: JoinHandle<Result<Ended<R>, PipelineError>>,
}

impl<R> Drop for Pipeline<R> {
    fn drop(&mut self) {
        self.shared.stop(PipelineError::Stopped);
    }
}

impl<R: Read + Send + 'static> Pipeline<R> {
    /// Starts the threads. The compressed bytes come out of the cutter's receiver.
    ///
    /// If there is nothing to be read at the moment, the reader has to say so by [`io::ErrorKind::WouldBlock`] and not to wait,
    /// so that the pipeline can be stopped meanwhile. It is left alone for a `pause` then, or a few of them.
    #[must_use]
    pub fn start(
        reader: R,
        pause: Duration,
        around: Around<R>,
        compression: Compression,
        buffers: &Buffers,
        cutter: Cutter,
    ) -> Self {
        let shared = Arc::new(Shared::new(pause, compression, buffers.clone()));
        let reading = tokio::task::spawn_blocking({
            let shared = Arc::clone(&shared);
            move || shared.run(reader, &around, compression.threads, cutter)
        });
        Self { shared, reading }
    }

    /// Waits for its end and gives the reader back.
    ///
    /// # Errors
    /// Whatever ended it before the reader's end.
    pub async fn finish(mut self) -> Result<Ended<R>, PipelineError> {
        match (&mut self.reading).await {
            Ok(outcome) => outcome,
            Err(error) => Err(PipelineError::Compress(error.to_string())),
        }
    }
}

/// Room for a block and for the member that becomes of it.
#[derive(Debug)]
struct Block {
    text: Room,
    member: Room,
}

/// Bytes of which the first ones are in use.
#[derive(Debug)]
struct Room {
    bytes: BytesMut,
    used: usize,
    /// How many may be in use.
    most: usize,
}

impl Room {
    /// Room for so many bytes, with others behind it that stay as they are.
    fn of(memory: &mut BytesMut, most: usize, behind: usize) -> Self {
        Self {
            bytes: memory.split_to(most.saturating_add(behind)),
            used: 0,
            most,
        }
    }

    fn used(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.used..self.most).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A block became free.
    free: Condvar,
    /// A block was read, or the last one was.
    read: Condvar,
    /// A block was compressed, or the last one was.
    compressed: Condvar,
    pause: Duration,
    buffers: Buffers,
}

#[derive(Debug)]
struct State {
    threads: usize,
    free: Vec<Block>,
    /// How many more may be made.
    unmade: usize,
    /// The memory for them.
    memory: BytesMut,
    waiting: VecDeque<(u64, Block)>,
    compressed: BTreeMap<u64, Block>,
    /// How many blocks there are, once the reader has ended.
    total: Option<u64>,
    /// Whether all of it was handed on.
    collected: bool,
    effort: Effort,
    timings: Timings,
    /// The first reason to end early.
    stopped: Option<PipelineError>,
    /// Whether there was one: the reason itself is taken out once.
    over: bool,
}

impl Shared {
    fn new(pause: Duration, compression: Compression, buffers: Buffers) -> Self {
        let blocks = compression.threads.saturating_add(4);
        let state = State {
            threads: compression.threads,
            free: Vec::new(),
            // One for each thread, one being read, and a queue that shows how busy the threads are.
            unmade: blocks,
            memory: mapped(blocks.saturating_mul(BLOCK_BYTES + BEHIND + MEMBER_BYTES)),
            waiting: VecDeque::new(),
            compressed: BTreeMap::new(),
            total: None,
            collected: false,
            effort: Effort::new(compression.level),
            timings: Timings::default(),
            stopped: None,
            over: false,
        };
        Self {
            state: Mutex::new(state),
            free: Condvar::new(),
            read: Condvar::new(),
            compressed: Condvar::new(),
            pause,
            buffers,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, bell: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        bell.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything; the first reason stays.
    fn stop(&self, reason: PipelineError) {
        let mut state = self.state();
        if !state.over {
            state.over = true;
            state.stopped = Some(reason);
        }
        drop(state);
        self.buffers.close();
        self.free.notify_all();
        self.read.notify_all();
        self.compressed.notify_all();
    }

    fn run<R: Read>(
        &self,
        mut reader: R,
        around: &Around<R>,
        threads: usize,
        cutter: Cutter,
    ) -> Result<Ended<R>, PipelineError> {
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                self.start(scope, "compress", || self.compress());
            }
            self.start(scope, "collect", || self.collect(cutter));
            self.guarded(|| self.read(&mut reader, around));
        });
        let mut state = self.state();
        match state.stopped.take() {
            Some(reason) => Err(reason),
            None => Ok(Ended {
                reader,
                timings: state.timings,
                at: Instant::now(),
            }),
        }
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        work: impl FnOnce() + Send + 'scope,
    ) {
        let started = thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, move || self.guarded(work));
        if let Err(error) = started {
            self.stop(PipelineError::Compress(format!("start a thread: {error}")));
        }
    }

    /// A panic must not leave the other threads waiting for this one.
    fn guarded(&self, work: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            let said = panic
                .downcast_ref::<&str>()
                .map(|said| (*said).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            self.stop(PipelineError::Compress(format!(
                "a thread panicked: {said}"
            )));
        }
    }

    fn read<R: Read>(&self, reader: &mut R, around: &Around<R>) {
        let mut number: u64 = 0;
        if !self.put(&around.before, &mut number) {
            return;
        }
        while let Some(mut block) = self.take_free() {
            let began = Instant::now();
            let filled = self.fill(reader, &mut block.text);
            let took = began.elapsed();
            let ended = match filled {
                Ok(ended) => ended,
                Err(reason) => return self.stop(reason),
            };
            let mut state = self.state();
            state.timings.dump_waited = state.timings.dump_waited.saturating_add(took);
            // Nothing at all becomes an empty member, which is what gzip makes of nothing.
            if block.text.used > 0 || number == 0 {
                state.waiting.push_back((number, block));
                number = number.saturating_add(1);
            }
            drop(state);
            self.read.notify_one();
            if ended {
                if self.put(&(around.after)(reader), &mut number) {
                    self.end(number);
                }
                return;
            }
        }
    }

    /// Reads until the room is full or the reader ends, and returns whether it ended.
    ///
    /// `pg_dump` writes 4 KiB at a time. A reader that answered each of these writes would wake up a quarter of a million times
    /// for a gigabyte, and `pg_dump` would pay for it as well. So this thread pauses whenever there is little to be read, and lets
    /// the pipe fill. The pauses become longer while there is nothing at all.
    fn fill<R: Read>(&self, reader: &mut R, text: &mut Room) -> Result<bool, PipelineError> {
        const LITTLE: usize = 32 * 1024;
        const LONGEST: Duration = Duration::from_millis(8);
        let mut pause = self.pause;
        while !text.rest().is_empty() {
            if self.state().over {
                return Err(PipelineError::Stopped);
            }
            match reader.read(text.rest()) {
                Ok(0) => return Ok(true),
                Ok(read) => {
                    text.used = text.used.saturating_add(read);
                    pause = self.pause;
                    if read >= LITTLE {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PipelineError::Read(error)),
            }
            if !text.rest().is_empty() {
                thread::sleep(pause);
                pause = pause.saturating_mul(2).min(LONGEST);
            }
        }
        Ok(false)
    }

    /// Puts bytes that are there already into blocks of their own. It is false where nobody wants them.
    fn put(&self, bytes: &[u8], number: &mut u64) -> bool {
        for piece in bytes.chunks(BLOCK_BYTES) {
            let Some(mut block) = self.take_free() else {
                return false;
            };
            if let Some(room) = block.text.bytes.get_mut(..piece.len()) {
                room.copy_from_slice(piece);
                block.text.used = piece.len();
            }
            self.state().waiting.push_back((*number, block));
            *number = number.saturating_add(1);
            self.read.notify_one();
        }
        true
    }

    /// Says that so many blocks were all, and waits until they are handed on.
    fn end(&self, total: u64) {
        let mut state = self.state();
        state.total = Some(total);
        self.read.notify_all();
        self.compressed.notify_all();
        // What is left to do is waited for like everything else.
        while !state.over && !state.collected {
            state = self.wait_measured(&self.free, state);
        }
    }

    /// The next room for a block, or none at the end.
    fn take_free(&self) -> Option<Block> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            if let Some(mut block) = state.free.pop() {
                block.text.used = 0;
                return Some(block);
            }
            if let Some(unmade) = state.unmade.checked_sub(1) {
                state.unmade = unmade;
                return Some(Block {
                    text: Room::of(&mut state.memory, BLOCK_BYTES, BEHIND),
                    member: Room::of(&mut state.memory, MEMBER_BYTES, 0),
                });
            }
            state = self.wait_measured(&self.free, state);
        }
    }

    /// Waits, and puts the time down to the upload as far as compressed bytes waited for it meanwhile.
    fn wait_measured<'a>(
        &self,
        bell: &Condvar,
        state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        let (began, before) = (Instant::now(), self.buffers.waited());
        let mut state = self.wait(bell, state);
        let took = began.elapsed();
        let upload = self.buffers.waited().saturating_sub(before).min(took);
        let timings = &mut state.timings;
        timings.upload_waited = timings.upload_waited.saturating_add(upload);
        timings.compressor_waited = timings
            .compressor_waited
            .saturating_add(took.saturating_sub(upload));
        state
    }

    fn compress(&self) {
        // Whatever shares these cores comes first, pg_dump and a database beside it above all. So a machine that is too
        // busy shows as blocks that wait, and the level falls.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "compressing at normal priority");
        }
        // The fastest level can be another library's. If one replaced the other whenever the level changes, their different sizes
        // would leave holes in the heap.
        let (mut fastest, mut harder): (Option<Encoder>, Option<Encoder>) = (None, None);
        while let Some((number, mut block, level)) = self.take_read() {
            let slot = if level == FASTEST {
                &mut fastest
            } else {
                &mut harder
            };
            let encoder = match slot {
                Some(encoder) if encoder.level() == level => encoder,
                other => {
                    // Its memory goes to the next one.
                    *other = None;
                    other.insert(Encoder::new(level))
                }
            };
            let (text, member) = (&block.text, &mut block.member);
            match encoder.compress(&text.bytes, text.used, &mut member.bytes) {
                Ok(bytes) => member.used = bytes,
                Err(error) => return self.stop(PipelineError::Compress(error.to_string())),
            }
            self.state().compressed.insert(number, block);
            self.compressed.notify_one();
        }
    }

    /// The next block to compress and its level, or none at the end.
    fn take_read(&self) -> Option<(u64, Block, u8)> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            if let Some((number, block)) = state.waiting.pop_front() {
                state.effort = state.effort.after(Pressure {
                    waiting: state.waiting.len(),
                    // Fewer may only wait for one that must go before them.
                    upload: if state.compressed.len() > state.threads {
                        Lag::Now
                    } else {
                        self.buffers.lag()
                    },
                });
                let level = state.effort.level();
                state.timings.blocks = state.timings.blocks.saturating_add(1);
                state.timings.levels = state.timings.levels.saturating_add(u64::from(level));
                return Some((number, block, level));
            }
            if state.total.is_some() {
                return None;
            }
            state = self.wait(&self.read, state);
        }
    }

    fn collect(&self, mut cutter: Cutter) {
        let mut next: u64 = 0;
        while let Some(block) = self.take_compressed(next) {
            if cutter.write(block.member.used()) == Err(Closed) {
                return self.stop(PipelineError::Stopped);
            }
            self.state().free.push(block);
            self.free.notify_one();
            next = next.saturating_add(1);
        }
        if self.state().over {
            return;
        }
        if cutter.finish() == Err(Closed) {
            return self.stop(PipelineError::Stopped);
        }
        self.state().collected = true;
        self.free.notify_one();
    }

    /// The block of this number once it is compressed, or none at the end.
    fn take_compressed(&self, number: u64) -> Option<Block> {
        let mut state = self.state();
        loop {
            if state.over || state.total == Some(number) {
                return None;
            }
            if let Some(block) = state.compressed.remove(&number) {
                return Some(block);
            }
            state = self.wait(&self.compressed, state);
        }
    }
}

/// How much the compressor's threads stand back, of 19.
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;
    use crate::gzip;
    use crate::part::Part;

    /// Gives bytes in pieces, then does what `then` says.
    struct Source {
        bytes: Vec<u8>,
        at: usize,
        then: Then,
    }

    enum Then {
        End,
        Fail,
        Hang,
        Panic,
    }

    impl Read for Source {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return match self.then {
                    Then::End => Ok(0),
                    Then::Fail => Err(io::Error::other("it broke")),
                    Then::Hang => Err(io::ErrorKind::WouldBlock.into()),
                    Then::Panic => panic!("it is gone"),
                };
            }
            let piece = rest.len().min(buffer.len()).min(300_000);
            buffer[..piece].copy_from_slice(&rest[..piece]);
            self.at += piece;
            Ok(piece)
        }
    }

    fn source(bytes: &[u8], then: Then) -> Source {
        Source {
            bytes: bytes.to_vec(),
            at: 0,
            then,
        }
    }

    /// Bytes that don't get smaller: they repeat, but from further away than the compressor looks.
    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut piece = vec![0; 100_000];
        random.fill(&mut piece);
        piece.iter().copied().cycle().take(length).collect()
    }

    const PAUSE: Duration = Duration::from_micros(500);

    fn alone() -> Around<Source> {
        Around {
            before: Vec::new(),
            after: |_| Vec::new(),
        }
    }

    fn on(threads: usize) -> Compression {
        Compression {
            level: Level::Auto,
            threads,
        }
    }

    async fn parts_of(
        source: Source,
        compression: Compression,
        buffers: &Buffers,
        mut take: impl AsyncFnMut(Part),
    ) -> Result<Timings, PipelineError> {
        let (cutter, mut parts) = Cutter::new(buffers);
        let pipeline = Pipeline::start(source, PAUSE, alone(), compression, buffers, cutter);
        while let Some(part) = parts.recv().await {
            take(part).await;
        }
        pipeline.finish().await.map(|ended| ended.timings)
    }

    fn unpacked(file: Vec<u8>) -> Vec<u8> {
        let mut text = Vec::new();
        gzip::decompress(
            BufReader::new(io::Cursor::new(file)),
            async |piece: &[u8]| {
                text.extend_from_slice(piece);
                Ok(())
            },
        )
        .unwrap();
        text
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_comes_out_is_what_went_in_whatever_the_size() {
        let text = noise(BLOCK_BYTES * 9 + 5);
        for length in [
            0,
            1,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            text.len(),
        ] {
            for threads in [1, 2, 4] {
                let text = &text[..length];
                let (mut file, mut sizes) = (Vec::new(), Vec::new());
                let buffers = Buffers::new(100_000, 3);
                let timings = parts_of(
                    source(text, Then::End),
                    on(threads),
                    &buffers,
                    async |part| {
                        sizes.push(part.body.len());
                        file.extend_from_slice(&part.body);
                    },
                )
                .await
                .unwrap();
                let (last, others) = sizes.split_last().unwrap();
                assert!(others.iter().all(|size| *size == 100_000) && *last > 0);
                assert_eq!(
                    usize::try_from(timings.blocks).unwrap(),
                    length.div_ceil(BLOCK_BYTES).max(1)
                );
                assert!((1.0..=9.0).contains(&timings.mean_level()), "{timings:?}");
                let unpacked = tokio::task::spawn_blocking(move || unpacked(file));
                assert!(unpacked.await.unwrap() == text, "{length} {threads}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_takes_one_part_at_a_time_slows_it_down_and_is_named() {
        let text = noise(BLOCK_BYTES * 80);
        for threads in [1, 4] {
            let buffers = Buffers::new(400_000, 1);
            let (cutter, mut parts) = Cutter::new(&buffers);
            let source = source(&text, Then::End);
            let pipeline = Pipeline::start(source, PAUSE, alone(), on(threads), &buffers, cutter);
            let mut bytes = 0;
            while let Some(part) = parts.recv().await {
                // While this part is held, everything behind it comes to a stop: all blocks but the one at hand wait.
                while pipeline.shared.state().compressed.len() < threads + 3
                    && pipeline.shared.state().total.is_none()
                {
                    tokio::task::yield_now().await;
                }
                bytes += part.body.len();
            }
            assert!(bytes > text.len());
            assert!(pipeline.shared.state().effort.level() > 6);
            let Ended { timings, .. } = pipeline.finish().await.unwrap();
            assert!(timings.upload_waited > Duration::ZERO, "{timings:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_slow_part_the_level_does_not_fall_at_once() {
        // One part holds it all, so what the buffers say stays as it is; fourteen blocks are one slow step at most.
        let text = noise(BLOCK_BYTES * 14);
        let buffers = Buffers::new(text.len() * 2, 1);
        buffers.fell_behind();
        let source = source(&text, Then::End);
        let timings = parts_of(source, on(1), &buffers, async |_| {}).await;
        let mean = timings.unwrap().mean_level();
        assert!(mean >= 5.0, "{mean}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_readers_error_and_a_panic_end_it() {
        for (then, expected) in [(Then::Fail, "it broke"), (Then::Panic, "it is gone")] {
            let buffers = Buffers::new(1000, 2);
            let text = noise(BLOCK_BYTES * 3);
            let outcome = parts_of(source(&text, then), on(2), &buffers, async |_| {}).await;
            let said = match outcome {
                Err(PipelineError::Read(error)) => error.to_string(),
                Err(PipelineError::Compress(said)) => said,
                outcome => panic!("{outcome:?}"),
            };
            assert!(said.contains(expected), "{said}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dropped_it_ends_whatever_it_waits_for() {
        // For the dump; for a buffer; for somebody who takes a part.
        for (length, held, taken) in [
            (0, 0, 0),
            (BLOCK_BYTES * 30, 1, 100),
            (BLOCK_BYTES * 30, 0, 0),
        ] {
            let buffers = Buffers::new(100_000, 2);
            let (cutter, mut parts) = Cutter::new(&buffers);
            let pipeline = Pipeline::start(
                source(&noise(length), Then::Hang),
                PAUSE,
                alone(),
                on(2),
                &buffers,
                cutter,
            );
            let mut kept = Vec::new();
            for _ in 0..taken {
                let part = parts.recv().await.unwrap();
                if kept.len() < held {
                    kept.push(part);
                }
            }
            while length > 0 && buffers.waited() == Duration::ZERO {
                tokio::task::yield_now().await;
            }
            let shared = Arc::downgrade(&pipeline.shared);
            drop(pipeline);
            let limit = Instant::now() + Duration::from_secs(20);
            while shared.strong_count() > 0 {
                assert!(Instant::now() < limit, "{length} {held} {taken}");
                tokio::task::yield_now().await;
            }
            drop(kept);
        }
    }
}
