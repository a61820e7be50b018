//! A proxy as companies have between their network and the internet: CONNECT for encrypted connections, and whole URLs for
//! the others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// It ends with the test process.
#[derive(Debug)]
pub struct Forward {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forward {
    /// Starts one that requires `Proxy-Authorization: Basic` with this value.
    pub fn start(basic: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || drop(forward(client, basic, &noted)));
            }
        });
        Self { port, asked }
    }

    /// The first line of each request that was passed on.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

fn forward(client: TcpStream, basic: &str, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let wanted = format!("proxy-authorization: basic {basic}").to_lowercase();
    if !head.iter().any(|line| line.to_lowercase() == wanted) {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let line = head[0].clone();
    noted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line.clone());
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut upstream;
    if method == "CONNECT" {
        upstream = TcpStream::connect(target)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        let (authority, path) = target
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        upstream = TcpStream::connect(authority)?;
        let rest = head[1..]
            .iter()
            .filter(|line| !line.to_lowercase().starts_with("proxy-"))
            .map(|line| format!("{line}\r\n"));
        let rest: String = rest.collect();
        let sent = format!("{method} /{path} HTTP/1.1\r\n{rest}\r\n");
        upstream.write_all(sent.as_bytes())?;
    }
    let (mut from, mut to) = (upstream.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
    let mut buffer = [0; 64 * 1024];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return upstream.shutdown(Shutdown::Write);
        }
        upstream.write_all(&buffer[..read])?;
    }
}
