//! A program before a server, like the poolers and proxies of vendors. It looks at the parameters of each new session, and
//! either refuses it with a message of its own or passes it on to a real server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// It ends with the test process.
#[derive(Debug)]
pub struct Doorman {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    asked: Arc<AtomicUsize>,
}

/// Decides about a session by its parameters, as names and values.
type Judge = dyn Fn(&[(String, String)]) -> Option<Refusal>;

/// What the client is told if it gets no session: severity and message.
pub type Refusal = (&'static str, &'static str);

impl Doorman {
    /// Starts one before the server on this port. `judge` gets the names and values of each session's parameters.
    pub fn start(
        server: u16,
        judge: impl Fn(&[(String, String)]) -> Option<Refusal> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, judge) = (Arc::clone(&asked), Arc::new(judge));
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let (count, judge) = (Arc::clone(&count), Arc::clone(&judge));
                std::thread::spawn(move || drop(admit(client, server, &count, &*judge)));
            }
        });
        Self { port, asked }
    }

    /// How many sessions were requested.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn admit(
    mut client: TcpStream,
    server: u16,
    count: &AtomicUsize,
    judge: &Judge,
) -> std::io::Result<()> {
    const TLS: u32 = 80_877_103;
    const GSS: u32 = 80_877_104;
    const CANCEL: u32 = 80_877_102;
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let size = usize::try_from(u32::from_be_bytes(length)).expect("a length");
        let mut body = vec![0; size - 4];
        client.read_exact(&mut body)?;
        let code = u32::from_be_bytes(body[..4].try_into().expect("four bytes"));
        if code == TLS || code == GSS {
            client.write_all(b"N")?;
            continue;
        }
        if code != CANCEL {
            count.fetch_add(1, Ordering::SeqCst);
            let words = body[4..].split(|byte| *byte == 0);
            let words: Vec<String> = words
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let pairs: Vec<(String, String)> = words
                .chunks_exact(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .filter(|(name, _)| !name.is_empty())
                .collect();
            if let Some((severity, message)) = judge(&pairs) {
                let fields = format!("S{severity}\0VFATAL\0C0A000\0M{message}\0\0");
                let length = u32::try_from(fields.len() + 4)
                    .expect("short")
                    .to_be_bytes();
                client.write_all(&[b"E", length.as_slice(), fields.as_bytes()].concat())?;
                return client.shutdown(Shutdown::Both);
            }
        }
        let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
        upstream.write_all(&length)?;
        upstream.write_all(&body)?;
        let (mut from, mut to) = (upstream.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Both));
        });
        std::io::copy(&mut client, &mut upstream)?;
        return upstream.shutdown(Shutdown::Write);
    }
}
