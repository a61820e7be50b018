//! Connections that break: a proxy before a server that cuts answers off after a number of bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy before a server on 127.0.0.1. Each connection gets the next limit of the list. After the last one there is no
/// limit.
#[derive(Debug)]
pub struct Cut {
    /// Where clients connect.
    pub endpoint: String,
    cuts: Arc<AtomicUsize>,
}

impl Cut {
    /// Cuts off the answers on the first connections after these numbers of bytes, with a reset if the system sends one.
    pub fn start(endpoint: &str, limits: Vec<u64>) -> Self {
        let (scheme, target) = endpoint.split_once("://").unwrap();
        let target = target.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cuts: Arc<AtomicUsize> = Arc::default();
        let (limits, counted) = (Mutex::new(limits.into_iter()), Arc::clone(&cuts));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let limit = limits.lock().unwrap().next();
                let Ok(server) = TcpStream::connect(&target) else {
                    return;
                };
                let (mut up_from, mut up_to) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    drop(std::io::copy(&mut up_from, &mut up_to));
                    drop(up_to.shutdown(Shutdown::Write));
                });
                let counted = Arc::clone(&counted);
                thread::spawn(move || {
                    if answer(server, client, limit) {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self {
            endpoint: format!("{scheme}://{address}"),
            cuts,
        }
    }

    /// How many answers were cut off.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Passes an answer on, and says whether it was cut off.
fn answer(mut from: TcpStream, mut to: TcpStream, limit: Option<u64>) -> bool {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut piece = vec![0; 16 * 1024];
    while let Ok(bytes) = from.read(&mut piece) {
        if bytes == 0 {
            break;
        }
        let passed = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        if to.write_all(&piece[..passed]).is_err() {
            break;
        }
        left -= u64::try_from(passed).unwrap();
        if left == 0 {
            drop(to.shutdown(Shutdown::Both));
            drop(from.shutdown(Shutdown::Both));
            return true;
        }
    }
    drop(to.shutdown(Shutdown::Write));
    false
}
