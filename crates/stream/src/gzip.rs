//! The one place that names the compressor.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::BytesMut;
use libdeflater::CompressionLvl;
use tokio::io::{AsyncBufRead, AsyncReadExt};

use crate::level::{FASTEST, HARDEST};

/// The library that makes the members of the fastest level.
pub const FASTEST_COMPRESSOR: &str = if cfg!(feature = "isal") {
    "ISA-L"
} else {
    "libdeflate"
};

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

    /// Compresses a block into a member, and returns the member's length.
    ///
    /// # Errors
    /// When there is less room than [`Encoder::room_for`] asks for.
    pub fn compress(&mut self, block: &[u8], member: &mut [u8]) -> io::Result<usize> {
        match &mut self.compressor {
            Compressor::Libdeflate(compressor) => compressor
                .gzip_compress(block, member)
                .map_err(io::Error::other),
            #[cfg(feature = "isal")]
            Compressor::Isal(compressor) => compressor
                .gzip_member(block, member)
                .map_err(io::Error::other),
        }
    }
}

/// Decompresses a reader to its end and hands each piece to `each`. Every member's checksum and length are compared, and
/// whatever follows the last one must be a member too.
///
/// It keeps its thread busy. Inside an async task it would block the clock and `/health` on a small machine.
///
/// # Errors
/// The reader's error or that of `each`, or that the bytes are not gzip, not whole, or damaged.
pub fn decompress<R: AsyncBufRead + Unpin>(
    reader: R,
    mut each: impl AsyncFnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const PIECE: usize = 256 * 1024;
    tokio::runtime::Handle::current().block_on(async {
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
    })
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
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
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

    /// Their bounds differ: a block that had the room for one compressor's member may need more for the other's.
    #[test]
    fn what_cannot_be_compressed_fits_into_the_room_at_every_level() {
        let mut noise = vec![0; 1024 * 1024];
        fastrand::Rng::with_seed(3).fill(&mut noise);
        for level in FASTEST..=HARDEST {
            let mut encoder = Encoder::new(level);
            let mut member = vec![0; encoder.room_for(noise.len())];
            let bytes = encoder.compress(&noise, &mut member).unwrap();
            member.truncate(bytes);
            assert_eq!(read(member).unwrap(), noise);
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

    #[test]
    fn a_block_is_a_member_at_every_level() {
        let text = b"a line of text\n".repeat(10_000);
        for level in 0..=10 {
            let mut encoder = Encoder::new(level);
            let mut file = vec![0; encoder.room_for(text.len()) * 2];
            let first = encoder.compress(&text, &mut file).unwrap();
            let second = encoder.compress(b"", &mut file[first..]).unwrap();
            file.truncate(first + second);
            assert_eq!(read(file).unwrap(), text);
            assert!(encoder.compress(&text, &mut [0; 10]).is_err());
        }
    }
}
