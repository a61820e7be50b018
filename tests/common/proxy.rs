//! A proxy before a server. All of its connections end when a test says so.

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection::End;

/// It passes bytes on, and knows nothing of TLS: the ends do not say goodbye.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    end: watch::Sender<Option<End>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Proxy {
    /// Starts one before this port of 127.0.0.1.
    pub fn start(target: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("start a runtime");
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("listen");
        let port = listener.local_addr().expect("it listens").port();
        let end = watch::Sender::new(None);
        let ends = end.clone();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target, ends.subscribe()));
            }
        });
        Self {
            port,
            end,
            runtime: Some(runtime),
        }
    }

    /// Ends every connection on both sides, and from now on every new one at once.
    pub fn end(&self, end: End) {
        self.end.send_replace(Some(end));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn pass(mut client: TcpStream, target: u16, mut ends: watch::Receiver<Option<End>>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let end = tokio::select! {
        end = ends.wait_for(Option::is_some) => end.ok().and_then(|end| *end),
        _ = copy_bidirectional(&mut client, &mut server) => None,
    };
    match end {
        Some(End::Reset) => {
            for stream in [&client, &server] {
                stream.set_zero_linger().expect("it is open");
            }
        }
        Some(End::Stall) => std::future::pending().await,
        Some(End::Goodbye | End::Silence) | None => {
            for stream in [&mut client, &mut server] {
                // The other side may have closed it.
                drop(stream.shutdown().await);
            }
        }
    }
}
