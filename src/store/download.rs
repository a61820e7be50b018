//! An object read from its beginning to its end, a piece at a time and a little ahead of the reader.
//!
//! Each piece is a request of its own. A reader that waits for a database holds no connection open that the store would
//! cut, and a connection that breaks costs one piece, which is asked for again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::store::{Store, StoreError};

/// The size of a piece. It is large enough that the time to its first byte hardly counts. It is small enough that the three
/// pieces held at a time (one being read, one waiting, one arriving) fit into a small container.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// An object that is being read. Every piece comes from the object that had this `etag` at the beginning; otherwise there is an
/// error.
#[derive(Debug)]
pub(crate) struct Download {
    pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
    piece: Bytes,
    received: Arc<AtomicU64>,
    size: u64,
    /// The task that asks for the pieces. It ends when the reader is dropped.
    _requests: JoinSet<()>,
}

impl Download {
    /// Begins to read an object of this ETag and size. It must be called inside a runtime.
    #[must_use]
    pub(crate) fn start(store: &Store, key: &str, etag: &str, size: u64) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let (store, key, etag) = (store.clone(), key.to_owned(), etag.to_owned());
        let mut requests = JoinSet::new();
        requests.spawn(async move {
            let mut from = 0;
            while from < size {
                let to = size.min(from.saturating_add(PIECE_BYTES));
                let piece = store.get(&key, &etag, from, to, size).await;
                let failed = piece.is_err();
                if sender.send(piece).await.is_err() || failed {
                    return;
                }
                from = to;
            }
        });
        Self {
            pieces,
            piece: Bytes::new(),
            received: Arc::default(),
            size,
            _requests: requests,
        }
    }

    /// A counter of the bytes handed out so far, which can be looked at while the object is read elsewhere.
    #[must_use]
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }
}

impl AsyncBufRead for Download {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.piece.is_empty() {
            match ready!(this.pieces.poll_recv(context)) {
                Some(Ok(piece)) => this.piece = piece,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                // An earlier end than the announced one is an error: the task may have been ended with its runtime.
                None if this.received.load(Ordering::Relaxed) < this.size => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                None => {}
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.piece.advance(amount);
        self.received
            .fetch_add(u64::try_from(amount).unwrap_or(0), Ordering::Relaxed);
    }
}

impl AsyncRead for Download {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let available = ready!(self.as_mut().poll_fill_buf(context))?;
        let taken = available.len().min(buffer.remaining());
        buffer.put_slice(available.get(..taken).unwrap_or_default());
        self.consume(taken);
        Poll::Ready(Ok(()))
    }
}
