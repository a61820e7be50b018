//! The one place that names the compressor.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Buf, BytesMut};
use inflate::Decompressor;
use libdeflater::CompressionLvl;
use tokio::io::{AsyncBufRead, AsyncReadExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::level::{FASTEST, HARDEST};
use crate::pipeline::BLOCK_BYTES;

/// The library that makes the members of the fastest level.
pub const FASTEST_COMPRESSOR: &str = if cfg!(feature = "isal") {
    "ISA-L"
} else {
    "libdeflate"
};

/// How many bytes have to follow a block in its buffer: ISA-L reads a few of them. With a whole line of the processor's cache, the
/// next block begins at one as well.
pub const BEHIND: usize = 64;

#[cfg(feature = "isal")]
const _: () = assert!(BEHIND >= igzip::BEHIND);

/// Compresses one block at a time, each into a whole gzip member: members in a row are one valid file.
pub struct Encoder {
    level: u8,
    compressor: Compressor,
}

enum Compressor {
    Libdeflate(libdeflater::Compressor),
    #[cfg(feature = "isal")]
    Isal(igzip::Compressor),
}

impl Compressor {
    /// ISA-L's levels 1 and 2 take the same time, and the members of level 2 are a percent smaller. Its level 3 is no faster than
    /// libdeflate.
    #[cfg(feature = "isal")]
    fn new(level: u8) -> Self {
        match level {
            FASTEST => Self::Isal(igzip::Compressor::new(igzip::Level::Two)),
            other => Self::libdeflate(other),
        }
    }

    #[cfg(not(feature = "isal"))]
    fn new(level: u8) -> Self {
        Self::libdeflate(level)
    }

    fn libdeflate(level: u8) -> Self {
        let level = CompressionLvl::new(i32::from(level)).unwrap_or_default();
        Self::Libdeflate(libdeflater::Compressor::new(level))
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder for a level from 1 to 9. For any other number the nearest level is used.
    #[must_use]
    pub fn new(level: u8) -> Self {
        let level = level.clamp(FASTEST, HARDEST);
        Self {
            level,
            compressor: Compressor::new(level),
        }
    }

    /// The level it was made for.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// How much room a block of this size needs at most. It is not the same for each level.
    #[must_use]
    pub fn room_for(&mut self, block_bytes: usize) -> usize {
        match &mut self.compressor {
            Compressor::Libdeflate(compressor) => compressor.gzip_compress_bound(block_bytes),
            #[cfg(feature = "isal")]
            Compressor::Isal(_) => igzip::bound(block_bytes),
        }
    }

    /// Compresses the first bytes of a buffer into a member, and returns the member's length. At least [`BEHIND`] bytes have to
    /// follow the block; they do not become part of the member.
    ///
    /// # Errors
    /// When there is less room than [`Encoder::room_for`] asks for, or fewer bytes follow the block.
    pub fn compress(
        &mut self,
        buffer: &[u8],
        block_bytes: usize,
        member: &mut [u8],
    ) -> io::Result<usize> {
        let Some(block) = block_bytes
            .checked_add(BEHIND)
            .and_then(|bytes| buffer.get(..bytes))
            .and_then(|buffer| buffer.get(..block_bytes))
        else {
            return Err(io::Error::other("too few bytes follow the block"));
        };
        match &mut self.compressor {
            Compressor::Libdeflate(compressor) => compressor
                .gzip_compress(block, member)
                .map_err(io::Error::other),
            #[cfg(feature = "isal")]
            Compressor::Isal(compressor) => compressor
                .gzip_member(buffer, block_bytes, member)
                .map_err(io::Error::other),
        }
    }
}

/// The longest member of a block at any level, with room to spare: what can't be compressed becomes a little longer.
pub(crate) const MEMBER_BYTES: usize = BLOCK_BYTES + BLOCK_BYTES / 64;

/// The first bytes of every member that this service writes: a header without optional fields.
const HEADER: [u8; 4] = [0x1f, 0x8b, 8, 0];

/// The members that this service writes, one at a time. libdeflate reads them faster than any decoder of streams, but it needs
/// the whole member, and room for the whole text.
struct Members<R> {
    reader: R,
    compressed: BytesMut,
    decompressor: Option<Decompressor>,
    /// Whether a member was read.
    is_begun: bool,
}

impl<R: AsyncBufRead + Unpin> Members<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            compressed: BytesMut::new(),
            decompressor: Decompressor::new(),
            is_begun: false,
        }
    }

    /// Adds the text of the next member, and returns whether there was one: whether what follows is a whole and sound member of a
    /// block.
    async fn read(&mut self, text: &mut Text) -> io::Result<bool> {
        while self.compressed.len() < MEMBER_BYTES {
            self.compressed.reserve(MEMBER_BYTES);
            if self.reader.read_buf(&mut self.compressed).await? == 0 {
                break;
            }
        }
        let read = self
            .decompressor
            .as_mut()
            .filter(|_| self.compressed.starts_with(&HEADER))
            .and_then(|decompressor| {
                let member = decompressor.gzip_member(&self.compressed, text.room());
                member.ok()
            });
        if let Some(read) = read {
            self.is_begun = true;
            self.compressed.advance(read.taken);
            text.length = text.length.saturating_add(read.written);
        }
        Ok(read.is_some())
    }

    /// Fills a text, and returns whether there is more to be read in this way.
    async fn fill(&mut self, text: &mut Text) -> io::Result<bool> {
        text.length = 0;
        while text.has_room() {
            if !self.read(text).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the texts of all members that can be read, and returns what is left. `used` are texts that nobody needs any more:
    /// their memory is taken for the next ones.
    async fn send(
        mut self,
        texts: mpsc::Sender<Text>,
        mut used: mpsc::Receiver<Text>,
    ) -> io::Result<Self> {
        let mut is_more = true;
        while is_more {
            let mut text = used.try_recv().unwrap_or_default();
            is_more = tokio::select! {
                biased;
                // Nobody wants the rest.
                () = texts.closed() => false,
                is_more = self.fill(&mut text) => is_more?,
            };
            if texts.send(text).await.is_err() {
                break;
            }
        }
        Ok(self)
    }
}

/// How much text is handed on at a time.
const PIECE: usize = 256 * 1024;

/// The text of a whole block, or of some short members.
struct Text {
    bytes: Vec<u8>,
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: vec![0; BLOCK_BYTES + PIECE],
            length: 0,
        }
    }
}

impl Text {
    fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.length..).unwrap_or_default()
    }

    /// Whether there is room for another block.
    const fn has_room(&self) -> bool {
        self.length <= PIECE
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes
            .get(..self.length)
            .unwrap_or_default()
            .chunks(PIECE)
    }
}

/// Decompresses a reader to its end and hands each piece to `each`. Every member's checksum and length are compared, and
/// whatever follows the last one must be a member too.
///
/// It keeps its thread busy, and another one, which decompresses the next members while `each` looks at a text. Inside an async
/// task it would block the clock and `/health` on a small machine.
///
/// # Errors
/// The reader's error or that of `each`, or that the bytes are not gzip, not whole, or damaged.
pub fn decompress<R: AsyncBufRead + Unpin + Send + 'static>(
    reader: R,
    mut each: impl AsyncFnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let runtime = Handle::current();
    let (texts, mut decompressed) = mpsc::channel::<Text>(1);
    let (spare, used) = mpsc::channel(1);
    let members = runtime
        .spawn_blocking(move || Handle::current().block_on(Members::new(reader).send(texts, used)));
    runtime.block_on(async {
        while let Some(text) = decompressed.recv().await {
            for piece in text.pieces() {
                each(piece).await?;
            }
            // Its memory is given back if one is waiting to be used again.
            drop(spare.try_send(text));
        }
        let rest = members.await.map_err(io::Error::other)??;
        let compressed = rest.compressed.as_ref();
        if rest.is_begun && compressed.is_empty() {
            return Ok(());
        }
        // Other programs' files, larger members, and whatever is damaged or cut off: the stream gives the text before the
        // damage, and says what is wrong.
        decompress_stream(AsyncReadExt::chain(compressed, rest.reader), each).await
    })
}

/// The same for any gzip file, at little more than half the speed.
async fn decompress_stream<R: AsyncBufRead + Unpin>(
    reader: R,
    mut each: impl AsyncFnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut decoder = GzipDecoder::new(reader);
    // Without this the decoder would stop after the first member, and take that for the end.
    decoder.multiple_members(true);
    let mut piece = BytesMut::with_capacity(PIECE);
    loop {
        piece.clear();
        if decoder.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        each(&piece).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::BufReader;

    use super::*;

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _context = runtime.enter();
        let mut text = Vec::new();
        decompress(
            BufReader::with_capacity(7, io::Cursor::new(bytes)),
            async |piece| {
                text.extend_from_slice(piece);
                Ok(())
            },
        )
        .map(|()| text)
    }

    #[test]
    fn every_member_is_read_and_checked() {
        let two = [member(b"one "), member(b""), member(&[b'2'; 100_000])].concat();
        assert_eq!(read(two.clone()).unwrap().len(), 100_004);
        assert!(read([two.clone(), vec![0]].concat()).is_err());
        for end in 1..two.len() {
            let whole = [
                member(b"one ").len(),
                member(b"one ").len() + member(b"").len(),
            ];
            assert_eq!(
                read(two[..end].to_vec()).is_ok(),
                whole.contains(&end),
                "cut at {end}"
            );
        }
        // Byte 9 of a header names a system, bytes 4 to 8 a time, byte 8 a strategy: they carry no content.
        let first = member(b"one ");
        for at in (0..first.len()).filter(|at| !(4..10).contains(at)) {
            for bit in 0..8 {
                let mut flipped = first.clone();
                flipped[at] ^= 1 << bit;
                let text = read(flipped);
                assert!(
                    text.as_deref().is_err() || text.unwrap() == b"one ",
                    "bit {bit} of {at}"
                );
            }
        }
        assert!(read(Vec::new()).is_err());
    }

    /// A block and what has to follow it.
    fn followed(block: &[u8]) -> Vec<u8> {
        [block, &[0xa5; BEHIND]].concat()
    }

    /// The member of a block, made in this room.
    fn made(encoder: &mut Encoder, block: &[u8], mut room: Vec<u8>) -> Vec<u8> {
        let bytes = encoder.compress(&followed(block), block.len(), &mut room);
        room.truncate(bytes.unwrap());
        room
    }

    /// Their bounds differ: a block that had the room for one compressor's member may need more for the other's.
    #[test]
    fn what_cannot_be_compressed_fits_into_the_room_at_every_level() {
        let mut noise = vec![0; 1024 * 1024];
        fastrand::Rng::with_seed(3).fill(&mut noise);
        for level in FASTEST..=HARDEST {
            let mut encoder = Encoder::new(level);
            let member = vec![0; encoder.room_for(noise.len())];
            assert_eq!(read(made(&mut encoder, &noise, member)).unwrap(), noise);
        }
    }

    #[cfg(feature = "isal")]
    #[test]
    fn the_fastest_level_alone_is_isa_l() {
        for level in 0..=10 {
            let isal = matches!(Encoder::new(level).compressor, Compressor::Isal(_));
            assert_eq!(isal, level <= FASTEST, "{level}");
        }
    }

    /// The same by the decoder of streams alone, with the text before an error.
    fn read_as_stream(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        let mut text = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let outcome = runtime.block_on(decompress_stream(bytes, async |piece| {
            text.extend_from_slice(piece);
            Ok(())
        }));
        (text, outcome.err().map(|error| error.to_string()))
    }

    fn read_by_members(bytes: &[u8], buffer: usize) -> (Vec<u8>, Option<String>) {
        let mut text = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _context = runtime.enter();
        let reader = BufReader::with_capacity(buffer, io::Cursor::new(bytes.to_vec()));
        let outcome = decompress(reader, async |piece| {
            text.extend_from_slice(piece);
            Ok(())
        });
        (text, outcome.err().map(|error| error.to_string()))
    }

    /// A member of another program, with the name of a file in its header.
    fn named(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::GzBuilder::new()
            .filename("dump.sql")
            .write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// A file of members as they come, and what may have become of it.
    fn file(random: &mut fastrand::Rng) -> Vec<u8> {
        let mut file = Vec::new();
        for _ in 0..random.usize(..5) {
            let bytes = match random.u8(..8) {
                0 => 0,
                1 => BLOCK_BYTES,
                2 => BLOCK_BYTES + 1,
                3 => random.usize(..2 * BLOCK_BYTES),
                _ => random.usize(..3000),
            };
            let text: Vec<u8> = match random.u8(..3) {
                0 => vec![random.u8(..); bytes],
                _ => (0..bytes).map(|_| random.u8(..)).collect(),
            };
            if random.u8(..3) == 0 {
                file.extend(named(&text));
            } else {
                let mut encoder = Encoder::new(random.u8(1..=6));
                let member = vec![0; encoder.room_for(text.len())];
                file.extend(made(&mut encoder, &text, member));
            }
            if random.u8(..12) == 0 {
                file.extend((0..random.usize(..30)).map(|_| random.u8(..2)));
            }
        }
        match random.u8(..4) {
            0 => file.truncate(random.usize(..=file.len())),
            1 if !file.is_empty() => {
                let at = random.usize(..file.len());
                file[at] ^= 1 << random.u8(..8);
            }
            _ => {}
        }
        file
    }

    #[test]
    fn it_reads_what_a_stream_would_read_and_says_the_same_of_damage() {
        let mut random = fastrand::Rng::with_seed(29);
        let (mut sound, mut damaged) = (0, 0);
        for number in 0..400 {
            let file = file(&mut random);
            let expected = read_as_stream(&file);
            let buffer = [1000, 8192, 4 * BLOCK_BYTES][number % 3];
            let found = read_by_members(&file, buffer);
            assert_eq!(found.1, expected.1, "{number}");
            assert!(found.0 == expected.0, "{number}");
            if found.1.is_none() {
                sound += 1;
            } else {
                damaged += 1;
            }
        }
        assert!(sound > 100 && damaged > 100, "{sound} {damaged}");
    }

    /// One flipped bit has made the reserved symbol 286 of the symbol 285, whose length is 258. libdeflate reads both alike.
    #[test]
    fn a_symbol_that_others_refuse_is_read_as_the_text_that_it_was() {
        let damaged = [
            0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff, 0xeb, 0xef, 0x1f, 0x07, 0xa3, 0x60, 0x08,
            0x01, 0x00, 0x38, 0x7f, 0x35, 0xb5, 0xb1, 0x02, 0, 0,
        ];
        let (text, error) = read_by_members(&damaged, 1000);
        assert_eq!(error, None);
        assert_eq!(text.len(), 689);
        assert!(text.iter().all(|byte| *byte == text[0]));
        assert!(read_as_stream(&damaged).1.is_some());
    }

    /// A stream would read these too, but slowly.
    #[test]
    fn what_this_service_wrote_is_read_member_by_member() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut noise = vec![0; BLOCK_BYTES];
        fastrand::Rng::with_seed(3).fill(&mut noise);
        let mut file = Vec::new();
        for level in FASTEST..=HARDEST {
            for block in [&noise[..], &noise[..1000], b"", &vec![b'a'; BLOCK_BYTES]] {
                let mut encoder = Encoder::new(level);
                assert!(encoder.room_for(BLOCK_BYTES) <= MEMBER_BYTES);
                file.extend(made(&mut encoder, block, vec![0; MEMBER_BYTES]));
            }
        }
        let other = named(b"text");
        file.extend_from_slice(&other);
        let mut members = Members::new(&file[..]);
        let mut text = Text::default();
        for _ in FASTEST..=HARDEST {
            for bytes in [BLOCK_BYTES, 1000, 0, BLOCK_BYTES] {
                text.length = 0;
                assert!(runtime.block_on(members.read(&mut text)).unwrap());
                assert_eq!(text.length, bytes);
            }
        }
        assert!(!runtime.block_on(members.read(&mut text)).unwrap());
        assert!(members.compressed == other);
    }

    #[test]
    fn a_block_is_a_member_at_every_level() {
        let text = b"a line of text\n".repeat(10_000);
        for level in 0..=10 {
            let mut encoder = Encoder::new(level);
            let room = vec![0; encoder.room_for(text.len())];
            let mut file = made(&mut encoder, &text, room.clone());
            file.extend(made(&mut encoder, b"", room.clone()));
            assert_eq!(read(file).unwrap(), text);
            let buffer = followed(&text);
            let small = encoder.compress(&buffer, text.len(), &mut [0; 10]);
            assert!(small.is_err());
            let alone = encoder.compress(&buffer[1..], text.len(), &mut room.clone());
            assert!(alone.is_err());
        }
    }
}
