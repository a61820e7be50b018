//! The one place that names the compressor.

use std::io;

use async_compression::tokio::bufread::GzipEncoder;
use bytes::BytesMut;
use md5::{Digest, Md5};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
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
