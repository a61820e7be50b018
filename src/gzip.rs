//! The one place that names the compressor.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, GzipEncoder};
use bytes::BytesMut;
use md5::{Digest, Md5};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use crate::upload::Part;

/// Compresses a reader and cuts the result into parts of one size (the last one shorter, never empty), then gives the
/// reader back.
///
/// It occupies its thread: compression inside a task would starve the clock and `/health` on a small machine, so run it
/// on a blocking thread of a runtime. It ends early, without an error of its own, when nobody takes the parts any more.
///
/// # Errors
/// What the reader answered, or the compressor.
pub fn compress<R: AsyncRead + Unpin>(
    reader: R,
    part_size: usize,
    parts: &mpsc::Sender<Part>,
) -> io::Result<R> {
    tokio::runtime::Handle::current().block_on(async {
        let mut encoder = GzipEncoder::new(BufReader::with_capacity(256 * 1024, reader));
        let mut buffer = BytesMut::with_capacity(part_size);
        loop {
            let room = part_size.saturating_sub(buffer.len());
            let ended = encoder
                .read_buf(&mut bytes::BufMut::limit(&mut buffer, room))
                .await?
                == 0
                && room > 0;
            if buffer.len() == part_size || ended && !buffer.is_empty() {
                let body = buffer.split().freeze();
                let md5 = Md5::digest(&body).into();
                if parts.send(Part { body, md5 }).await.is_err() {
                    break;
                }
                buffer.reserve(part_size);
            }
            if ended {
                break;
            }
        }
        Ok(encoder.into_inner().into_inner())
    })
}

/// Decompresses a reader to its end and hands each piece to `each`. Every member's checksum and length are compared, and
/// whatever follows the last one must be a member too.
///
/// It occupies its thread, as [`compress`] does.
///
/// # Errors
/// What the reader answered, what `each` answered, or that this is not gzip, not whole, or not what was compressed.
pub fn decompress<R: AsyncBufRead + Unpin>(
    reader: R,
    mut each: impl AsyncFnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const PIECE: usize = 256 * 1024;
    tokio::runtime::Handle::current().block_on(async {
        let mut decoder = GzipDecoder::new(reader);
        // Without this it would stop after the first member, and call that the end.
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
}
