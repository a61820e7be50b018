//! The receiver of alerts and heartbeats. It records what comes, and answers as a test wants.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::certificates;
use super::process::{LIMIT, wait_until};

/// A part of every path. Only the receiver may ever see it.
pub const CANARY: &str = "canary-token-7f3a";

/// How a request is answered. Without any of these, it is 200.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answer with this status and this body.
    Status(u16, String),
    /// Answer with a redirect to this URL.
    Redirect(String),
    /// Never answer.
    Hang,
    /// Close the connection.
    Reset,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: String,
    pub body: String,
}

impl Received {
    /// Its body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Answer>>,
    /// The answer after all of `answers` were used.
    rest: Answer,
    ended: AtomicBool,
}

/// A receiver on a port of its own.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Starts one that accepts everything, with TLS and the certificate `good`.
    pub fn start() -> Self {
        Self::answering(&[], Answer::Status(200, String::new()))
    }

    /// Starts one that gives these answers first, and then always the same one.
    pub fn answering(first: &[Answer], rest: Answer) -> Self {
        Self::start_with(first, rest, Some(&certificates().path("good")))
    }

    /// Starts one that accepts everything, with TLS and this certificate.
    pub fn start_tls(certificate: &Path) -> Self {
        Self::start_with(&[], Answer::Status(200, String::new()), Some(certificate))
    }

    /// Starts one that accepts everything, without TLS.
    pub fn start_plain() -> Self {
        Self::start_with(&[], Answer::Status(200, String::new()), None)
    }

    fn start_with(first: &[Answer], rest: Answer, certificate: Option<&Path>) -> Self {
        let tls = certificate.map(|path| certificates().server(path));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            answers: Mutex::new(first.iter().cloned().collect()),
            rest,
            ended: AtomicBool::new(false),
        });
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(LIMIT)).unwrap();
                    match tls {
                        None => serve(stream, &shared),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).unwrap();
                            serve(rustls::StreamOwned::new(connection, stream), &shared);
                        }
                    }
                });
            }
        });
        receiver
    }

    /// Its URL, with a path that is a secret.
    pub fn url(&self) -> String {
        format!("{}://{}/hook/{CANARY}", self.scheme, self.address)
    }

    /// Everything that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until this number of requests came.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("{count} requests"), LIMIT, || {
            Some(self.received()).filter(|received| received.len() >= count)
        })
    }

    /// The events of the alerts so far.
    pub fn events(&self) -> Vec<String> {
        let events = self.received().into_iter().map(|received| {
            let json = received.json();
            json["event"].as_str().unwrap().to_owned()
        });
        events.collect()
    }

    /// Waits for the first alert of this event.
    pub fn wait_for_event(&self, event: &str) -> Value {
        wait_until(&format!("alert {event}"), LIMIT, || {
            let received = self.received().into_iter();
            received
                .map(|received| received.json())
                .find(|json| json["event"] == event)
        })
    }

    /// The targets of all requests so far, without the part up to the secret.
    pub fn beats(&self) -> Vec<String> {
        let tail = |received: Received| received.target.split_once(CANARY).unwrap().1.to_owned();
        self.received().into_iter().map(tail).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut stream: impl Read + Write, shared: &Shared) {
    let Some(received) = read(&mut stream) else {
        return;
    };
    let mut answers = shared
        .answers
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let answer = answers.pop_front().unwrap_or_else(|| shared.rest.clone());
    drop(answers);
    shared
        .received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(received);
    let text = match answer {
        Answer::Status(status, body) => format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
        Answer::Redirect(to) => format!(
            "HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        Answer::Hang => {
            let began = Instant::now();
            while !shared.ended.load(Ordering::SeqCst) && began.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(20));
            }
            return;
        }
        Answer::Reset => return,
    };
    // The client may be gone by now.
    drop(stream.write_all(text.as_bytes()));
    drop(stream.flush());
}

fn read(stream: impl Read) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let (first, headers) = head.split_once("\r\n")?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let headers = headers.to_ascii_lowercase();
    let length = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        method,
        target,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
