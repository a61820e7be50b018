//! A server's side of a connection, with or without TLS, that ends in the way that a test wants.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// TLS announces the end (`close_notify`), and the connection is closed.
    Goodbye,
    /// The connection is closed without a word from TLS, as when a process dies, or by a proxy or a firewall.
    Silence,
    /// The connection is reset.
    Reset,
    /// The connection stays open, but nothing more is sent.
    Stall,
}

impl End {
    /// All ways to end.
    pub const ALL: [Self; 4] = [Self::Goodbye, Self::Silence, Self::Reset, Self::Stall];

    /// Ends a connection instead of answering the client's part of the handshake.
    pub async fn of_handshake(self, mut stream: TcpStream) -> io::Result<()> {
        // The client's bytes are read, because closing with unread bytes would be a reset.
        let mut header = [0; 5];
        stream.read_exact(&mut header).await?;
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut hello).await?;
        match self {
            // An alert (21) of TLS 1.2 (3, 3), of two bytes: a warning (1), close_notify (0).
            Self::Goodbye => stream.write_all(&[21, 3, 3, 0, 2, 1, 0]).await,
            Self::Silence => Ok(()),
            Self::Reset => stream.set_zero_linger(),
            Self::Stall => {
                // It waits until the client gives up.
                while stream.read(&mut [0; 1024]).await? > 0 {}
                Ok(())
            }
        }
    }
}

/// What will happen to a connection. Clones belong to the same connection.
#[derive(Debug, Clone, Default)]
pub struct Fate(Arc<Mutex<Option<Ending>>>);

#[derive(Debug, Clone, Copy)]
struct Ending {
    end: End,
    /// Whether half of the next write is still sent.
    half: bool,
}

impl Fate {
    /// From now on nothing is sent, except for half of the next write if `half` is set.
    pub fn seal(&self, end: End, half: bool) {
        *self.lock() = Some(Ending { end, half });
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    fate: Fate,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Makes the handshake of a connection that was accepted.
    pub async fn of(stream: TcpStream, tls: Option<&TlsAcceptor>) -> io::Result<Self> {
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(tls.accept(stream).await?)),
        };
        Ok(Self {
            stream,
            fate: Fate::default(),
        })
    }

    /// Its fate.
    pub fn fate(&self) -> Fate {
        self.fate.clone()
    }

    /// Whether both sides have agreed on HTTP/2.
    pub fn is_http2(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    fn stream(&mut self) -> Pin<&mut (dyn Both + '_)> {
        Pin::new(match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
        })
    }
}

/// The task that serves the connection drops it as soon as writing fails.
impl Drop for Connection {
    fn drop(&mut self) {
        let end = self.fate.lock().map(|ending| ending.end);
        match (end, &mut self.stream) {
            (Some(End::Reset), _) => self.tcp().set_zero_linger().expect("it is open"),
            (Some(End::Goodbye), Stream::Tls(stream)) => {
                let (tcp, session) = stream.get_mut();
                session.send_close_notify();
                let mut goodbye = Vec::new();
                session.write_tls(&mut goodbye).expect("it is memory");
                // The client may be gone, so an error is ignored.
                drop(tcp.try_write(&goodbye));
            }
            _ => {}
        }
    }
}

/// A stream that can be read and written.
trait Both: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let ending = *self.fate.lock();
        let Some(ending) = ending else {
            return self.stream().poll_write(context, bytes);
        };
        if ending.half {
            let half = &bytes[..(bytes.len() / 2).max(1)];
            let written = self.stream().poll_write(context, half);
            if written.is_ready() {
                self.fate.seal(ending.end, false);
            }
            return written;
        }
        if ending.end == End::Stall {
            // Nobody else flushes the stream, so what was written is sent here.
            return Poll::Pending;
        }
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
