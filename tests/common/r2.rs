//! An S3 server in memory that is as strict as Cloudflare R2: what R2 refuses is refused here too, though a lenient server
//! accepts it.
//!
//! It checks signatures, answers with R2's own codes, and fails on demand. Each [`Fault`] counts how often it happened, so
//! that a test can check that it tested something.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, Request, Response, StatusCode};
use base64::Engine as _;
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use md5::{Digest, Md5};
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::certificates;
use super::connection::{Connection, End, Fate};

/// A text that is only in the keys of a check's uploads.
const CHECK: &str = "check-";

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    ListObjects,
    ListUploads,
    CreateUpload,
    UploadPart,
    CompleteUpload,
    AbortUpload,
    HeadObject,
    GetObject,
    Lifecycle,
    Other,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Action {
    /// Do nothing, and answer with this status and code.
    Answer(u16, &'static str),
    /// Do nothing, and answer with this status, code and message.
    Say(u16, &'static str, String),
    /// Answer 200 with an error in the body, as S3 does if a Complete fails late.
    OkWithError(&'static str),
    /// Answer with a page of HTML.
    Html(u16),
    /// Never answer.
    Hang,
    /// Do nothing, and close the connection without an answer.
    Reset,
    /// Do it, and close the connection without an answer.
    LoseAnswer,
    /// End the connection at this place and in this way.
    Break(Place, End),
    /// Flip a byte of the body that arrived.
    Corrupt,
    /// Do it, and answer with another ETag.
    WrongEtag,
    /// Answer after a while.
    Delay(Duration),
    /// Answer once the test has set this to true.
    Await(Arc<AtomicBool>),
    /// Answer that a Complete was done, but forget the upload.
    Forget,
    /// Answer with the size of something larger.
    WrongSize,
    /// Answer with this status and this body, and do nothing.
    Body(u16, String),
    /// The same, with these headers.
    Told(u16, &'static [(&'static str, &'static str)], String),
    /// Do it, and leave out this number of bytes at the end of the answer, as if it were complete.
    Cut(usize),
    /// Answer with this status, this beginning and this number of further bytes, with or without a Content-Length.
    Flood {
        status: u16,
        start: &'static str,
        bytes: u64,
        sized: bool,
    },
    /// Send other bytes of the object than the requested ones, with their true range.
    OtherRange,
    /// Claim that the object is ten times as long.
    OtherTotal,
    /// Claim that another upload made the object.
    OtherMark,
    /// Do it, and answer with this value of this header, or without the header.
    Header(&'static str, Option<&'static str>),
}

/// Where a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the handshake of the connection for the request. The request is answered with 503 first, so that the client comes
    /// back with a new connection.
    Handshake,
    /// After the request has arrived. Nothing is done.
    Request,
    /// After the request was carried out, before the answer.
    Done,
    /// After the request was carried out, in the middle of the answer.
    Answer,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 4] = [Self::Handshake, Self::Request, Self::Done, Self::Answer];
}

/// The ETag that a store gives a part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PartEtags {
    /// Its MD5.
    #[default]
    Md5,
    /// Its MD5, changed by a proxy that compresses.
    Weak,
    /// A value of the store's own form.
    Uuid,
    /// A value that looks like an MD5, from a store that says that it encrypts.
    Kms,
    /// There is none.
    Missing,
}

impl PartEtags {
    fn of(self, part: &[u8]) -> Option<String> {
        let md5 = hex(&Md5::digest(part));
        match self {
            Self::Md5 => Some(format!("\"{md5}\"")),
            Self::Weak => Some(format!("W/\"{md5}\"")),
            Self::Uuid => Some(format!("\"3f0c9d5e-7b1a-4c7e-9d55-{}\"", &md5[..12])),
            Self::Kms => Some(format!("\"{}\"", hex(&Md5::digest(md5)))),
            Self::Missing => None,
        }
    }
}

/// A body that is sent while it is made.
#[derive(Debug, Default)]
pub struct Sent {
    start: Bytes,
    left: u64,
    sized: bool,
}

impl From<Bytes> for Sent {
    fn from(start: Bytes) -> Self {
        Self {
            start,
            left: 0,
            sized: true,
        }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        static FILLER: [u8; 65536] = [b'x'; 65536];
        let start = std::mem::take(&mut self.start);
        let piece = if start.is_empty() {
            let size = self.left.min(65536);
            self.left -= size;
            Bytes::from_static(&FILLER[..usize::try_from(size).unwrap()])
        } else {
            start
        };
        std::task::Poll::Ready((!piece.is_empty()).then(|| Ok(hyper::body::Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_empty() && self.left == 0
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        if self.sized {
            hyper::body::SizeHint::with_exact(u64::try_from(self.start.len()).unwrap() + self.left)
        } else {
            hyper::body::SizeHint::new()
        }
    }
}

/// A fault. It happens `times` times, after `skip` matching requests.
#[derive(Debug)]
pub struct Fault {
    operation: Operation,
    of_check: bool,
    skip: usize,
    times: usize,
    action: Action,
    seen: AtomicUsize,
    struck: AtomicUsize,
}

impl Fault {
    /// How often it happened.
    pub fn struck(&self) -> usize {
        self.struck.load(Ordering::SeqCst)
    }
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub operation: Operation,
    pub path: String,
    pub headers: HeaderMap,
    pub status: u16,
    of_check: bool,
}

#[derive(Debug, Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    modified_at: DateTime<Utc>,
    mark: Option<String>,
}

#[derive(Debug, Clone)]
struct Begun {
    key: String,
    initiated_at: DateTime<Utc>,
    parts: BTreeMap<u32, Bytes>,
    /// The ETags of the parts.
    etags: BTreeMap<u32, String>,
    mark: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Begun>,
    faults: Vec<Arc<Fault>>,
    seen: Vec<Seen>,
    read_only: bool,
    any_clock: bool,
    page: Option<usize>,
    foreign_pages: usize,
    next_id: u64,
    parts_under_way: usize,
    most_parts_at_once: usize,
    /// Whether each connection is closed after one request.
    one_each: bool,
    /// How the next handshakes end.
    handshakes: VecDeque<End>,
    handshakes_ended: usize,
    part_etags: PartEtags,
    exact_uploads: bool,
    path: String,
}

/// The server; it ends with the test.
#[derive(Debug)]
pub struct R2 {
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: String,
    pub bucket: &'static str,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for R2 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl R2 {
    /// Starts a server with TLS, an empty bucket, and a token that may read and write it.
    pub fn start() -> Self {
        Self::start_with(Ipv4Addr::LOCALHOST, Some(good(&[])))
    }

    /// The same for clients that speak HTTP/2.
    pub fn start_http2() -> Self {
        Self::start_with(Ipv4Addr::LOCALHOST, Some(good(&[b"h2"])))
    }

    /// The same without TLS.
    pub fn start_plain() -> Self {
        Self::start_with(Ipv4Addr::LOCALHOST, None)
    }

    /// The same over TLS on another address of this machine.
    pub fn start_at(address: Ipv4Addr) -> Self {
        let certificate = certificates().for_addresses(&[IpAddr::V4(address)]);
        Self::start_with(address, Some(certificates().server(&certificate)))
    }

    fn start_with(address: Ipv4Addr, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let tls = tls.map(TlsAcceptor::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind(SocketAddr::from((address, 0))))
            .unwrap();
        let scheme = tls.as_ref().map_or("http", |_| "https");
        let endpoint = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let (access_key, secret_key) = ("0123456789abcdef".repeat(2), "fedcba9876543210".repeat(4));
        let server = Server {
            state: Arc::clone(&state),
            access_key: access_key.clone(),
            secret_key: secret_key.clone(),
        };
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (server, tls) = (server.clone(), tls.clone());
                // It is not an error if a client hangs up.
                tokio::spawn(async move { drop(server.serve(stream, tls).await) });
            }
        });
        Self {
            endpoint,
            access_key,
            secret_key,
            bucket: BUCKET,
            state,
            runtime: Some(runtime),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something go wrong from now on. The checks of a daemon are not affected, because nobody knows when they come.
    pub fn fail(
        &self,
        operation: Operation,
        skip: usize,
        times: usize,
        action: Action,
    ) -> Arc<Fault> {
        self.fault(operation, false, skip, times, action)
    }

    /// Lets the next connections end in their handshake.
    pub fn end_handshakes(&self, times: usize, end: End) {
        self.lock().handshakes.extend(vec![end; times]);
    }

    /// How many connections were ended in their handshake.
    pub fn handshakes_ended(&self) -> usize {
        self.lock().handshakes_ended
    }

    /// Lets something go wrong with checks from now on.
    pub fn fail_checks(&self, operation: Operation, times: usize, action: Action) -> Arc<Fault> {
        self.fault(operation, true, 0, times, action)
    }

    fn fault(
        &self,
        operation: Operation,
        of_check: bool,
        skip: usize,
        times: usize,
        action: Action,
    ) -> Arc<Fault> {
        let fault = Arc::new(Fault {
            operation,
            of_check,
            skip,
            times,
            action,
            seen: AtomicUsize::new(0),
            struck: AtomicUsize::new(0),
        });
        let mut state = self.lock();
        // On a connection that is open already, the request would come without a handshake.
        state.one_each |= matches!(fault.action, Action::Break(Place::Handshake, _));
        state.faults.push(Arc::clone(&fault));
        fault
    }

    /// From now on the token may only read.
    pub fn make_read_only(&self) {
        self.lock().read_only = true;
    }

    /// Accepts requests whatever their time of signing is, for services with a faked clock.
    pub fn accept_any_clock(&self) {
        self.lock().any_clock = true;
    }

    /// Sets how many entries a page of a list has.
    pub fn set_page(&self, entries: usize) {
        self.lock().page = Some(entries);
    }

    /// Sets which ETags parts get.
    pub fn set_part_etags(&self, etags: PartEtags) {
        self.lock().part_etags = etags;
    }

    /// Lists unfinished uploads only for a whole key or for all keys, as MinIO does.
    pub fn list_uploads_exactly(&self) {
        self.lock().exact_uploads = true;
    }

    /// Makes it answer only under this path, which is part of what is signed. Returns the endpoint with the path.
    pub fn move_to(&self, path: &str) -> String {
        self.lock().path = path.to_owned();
        format!("{}{path}", self.endpoint)
    }

    /// The visible objects.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.lock()
            .objects
            .iter()
            .map(|(key, stored)| (key.clone(), stored.body.clone()))
            .collect()
    }

    /// The keys of the visible objects.
    pub fn keys(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// The keys of the unfinished uploads.
    pub fn uploads(&self) -> Vec<String> {
        self.uploads_of(false)
    }

    /// The keys of the unfinished uploads of checks.
    pub fn uploads_of_checks(&self) -> Vec<String> {
        self.uploads_of(true)
    }

    fn uploads_of(&self, checks: bool) -> Vec<String> {
        let state = self.lock();
        let keys = state.uploads.values().map(|begun| begun.key.clone());
        keys.filter(|key| key.contains(CHECK) == checks).collect()
    }

    /// Every request so far, except for those of checks.
    pub fn seen(&self, operation: Operation) -> Vec<Seen> {
        self.lock()
            .seen
            .iter()
            .filter(|seen| seen.operation == operation && !seen.of_check)
            .cloned()
            .collect()
    }

    /// The most parts that were being sent at the same time. Only those that were answered count, so not those with `Hang`
    /// or `Reset`.
    pub fn most_parts_at_once(&self) -> usize {
        self.lock().most_parts_at_once
    }

    /// Lets lists begin with this number of full pages of other objects, whose names are as long as is allowed.
    pub fn crowd(&self, pages: usize) {
        self.lock().foreign_pages = pages;
    }

    /// Removes an object.
    pub fn remove(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// Stores an object.
    pub fn put(&self, key: &str, body: &[u8]) {
        self.put_at(key, body, Utc::now());
    }

    /// Stores an object with this Last-Modified.
    pub fn put_at(&self, key: &str, body: &[u8], modified_at: DateTime<Utc>) {
        let stored = Stored {
            body: Bytes::copy_from_slice(body),
            etag: hex(&Md5::digest(body)),
            modified_at,
            mark: None,
        };
        self.lock().objects.insert(key.to_owned(), stored);
    }

    /// Removes all unfinished uploads.
    pub fn forget_uploads(&self) {
        self.lock().uploads.clear();
    }

    /// Begins an upload that stays unfinished.
    pub fn leave_upload(&self, key: &str, initiated_at: DateTime<Utc>) {
        let mut state = self.lock();
        state.next_id += 1;
        let id = format!("left-{}", state.next_id);
        state.uploads.insert(
            id,
            Begun {
                key: key.to_owned(),
                initiated_at,
                parts: BTreeMap::new(),
                etags: BTreeMap::new(),
                mark: None,
            },
        );
    }
}

/// The certificate `good`, for a server that speaks these protocols.
fn good(protocols: &[&[u8]]) -> Arc<rustls::ServerConfig> {
    let config = certificates().server(&certificates().path("good"));
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

const BUCKET: &str = "vlvt-backups";

#[derive(Debug, Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    access_key: String,
    secret_key: String,
}

/// A refusal: HTTP status, R2's code and R2's message.
struct Refusal(u16, &'static str, String);

fn refuse<T>(status: u16, code: &'static str, message: &str) -> Result<T, Refusal> {
    Err(Refusal(status, code, message.to_owned()))
}

/// The parts of a request.
struct Call {
    method: String,
    /// The path as it was sent and signed.
    whole_path: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn key(&self) -> String {
        let path = percent_encoding::percent_decode_str(&self.path)
            .decode_utf8_lossy()
            .into_owned();
        path.trim_start_matches('/')
            .split_once('/')
            .map(|(_, key)| key.to_owned())
            .unwrap_or_default()
    }

    fn bucket(&self) -> &str {
        self.path
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default()
    }

    fn operation(&self) -> Operation {
        let has = |name: &str| self.query.contains_key(name);
        match (self.method.as_str(), self.key().is_empty()) {
            ("GET", true) if has("uploads") => Operation::ListUploads,
            ("GET", true) if has("list-type") => Operation::ListObjects,
            ("POST", false) if has("uploads") => Operation::CreateUpload,
            ("PUT", false) if has("partNumber") => Operation::UploadPart,
            ("POST", false) if has("uploadId") => Operation::CompleteUpload,
            ("DELETE", false) if has("uploadId") => Operation::AbortUpload,
            ("HEAD", false) => Operation::HeadObject,
            ("GET", false) => Operation::GetObject,
            ("GET", true) if has("lifecycle") => Operation::Lifecycle,
            _ => Operation::Other,
        }
    }
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection to its end.
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) -> std::io::Result<()> {
        let ends = self.lock().handshakes.pop_front();
        if let Some(end) = ends {
            self.lock().handshakes_ended += 1;
            return end.of_handshake(stream).await;
        }
        let connection = Connection::of(stream, tls.as_ref()).await?;
        let fate = connection.fate();
        let service = hyper::service::service_fn(move |request| {
            self.clone().answer_in_time(request, fate.clone())
        });
        let served = if connection.is_http2() {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(connection), service)
                .await
        } else {
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service)
                .await
        };
        served.map_err(std::io::Error::other)
    }

    /// Answers with the time of the request as the date, for services with a faked clock.
    async fn answer_in_time(
        self,
        request: Request<Incoming>,
        fate: Fate,
    ) -> Result<Response<Sent>, std::io::Error> {
        let (any_clock, one_each) = {
            let state = self.lock();
            (state.any_clock, state.one_each)
        };
        let signed_at = request.headers().get("x-amz-date").and_then(|date| {
            NaiveDateTime::parse_from_str(date.to_str().ok()?, "%Y%m%dT%H%M%SZ").ok()
        });
        let mut response = self.answer(request, &fate).await?;
        if one_each {
            let headers = response.headers_mut();
            headers.insert("connection", "close".parse().unwrap());
        }
        if let Some(signed_at) = signed_at.filter(|_| any_clock) {
            let date = signed_at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            response.headers_mut().insert("date", date.parse().unwrap());
        }
        Ok(response)
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        fate: &Fate,
    ) -> Result<Response<Sent>, std::io::Error> {
        let (mut head, body) = request.into_parts();
        // In HTTP/2, the host is here.
        if let Some(host) = head.uri.authority() {
            let host = host.as_str().parse().unwrap();
            head.headers.entry("host").or_insert(host);
        }
        let query = head.uri.query().unwrap_or_default();
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = pairs
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        // R2 does not send 100 Continue. Reading the body would make hyper send it.
        let expects = head.headers.contains_key("expect");
        let body = if expects {
            Bytes::new()
        } else {
            body.collect()
                .await
                .map_err(std::io::Error::other)?
                .to_bytes()
        };
        let whole_path = head.uri.path().to_owned();
        let path = whole_path.strip_prefix(&self.lock().path);
        let mut call = Call {
            method: head.method.to_string(),
            path: path.unwrap_or("/not-here").to_owned(),
            whole_path,
            query,
            headers: head.headers,
            body,
        };
        let operation = call.operation();
        let of_check = call.key().contains(CHECK) || call.query.contains_key("max-keys");
        let action = self.strike(operation, of_check);
        let is_part = operation == Operation::UploadPart;
        if is_part {
            let mut state = self.lock();
            state.parts_under_way += 1;
            state.most_parts_at_once = state.most_parts_at_once.max(state.parts_under_way);
        }
        match &action {
            Some(Action::Hang) => std::future::pending::<()>().await,
            Some(Action::Reset) => return Err(std::io::Error::other("reset")),
            Some(Action::Break(Place::Handshake, end)) => self.lock().handshakes.push_back(*end),
            Some(Action::Break(Place::Request, end)) => return break_off(fate, *end).await,
            Some(Action::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Action::Await(gate)) => {
                while !gate.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Some(Action::Corrupt) => {
                let mut changed = call.body.to_vec();
                let middle = changed.len() / 2;
                if let Some(byte) = changed.get_mut(middle) {
                    *byte ^= 1;
                }
                call.body = changed.into();
            }
            _ => {}
        }
        let answered = match action {
            Some(Action::Answer(status, code)) => refuse(status, code, "as the test wants it"),
            Some(Action::Say(status, code, ref message)) => refuse(status, code, message),
            Some(Action::OkWithError(code)) => Ok(xml(
                200,
                &format!("<Error><Code>{code}</Code><Message>late</Message></Error>"),
            )),
            Some(Action::Forget) => {
                self.lock().uploads.clear();
                Ok(xml(200, "<CompleteMultipartUploadResult/>"))
            }
            Some(Action::Html(status)) => Ok(respond(
                status,
                "<!doctype html><title>oops</title><h1>oops",
            )),
            Some(Action::Break(Place::Handshake, _)) => {
                refuse(503, "SlowDown", "Come back with another connection.")
            }
            Some(Action::Body(status, ref body)) => Ok(respond(status, body)),
            Some(Action::Told(status, headers, ref body)) => {
                let mut response = respond(status, body);
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                Ok(response)
            }
            Some(Action::Flood {
                status,
                start,
                bytes,
                sized,
            }) => {
                let mut response = respond(status, "");
                *response.body_mut() = Sent {
                    start: Bytes::from_static(start.as_bytes()),
                    left: bytes,
                    sized,
                };
                Ok(response)
            }
            _ => self.act(
                operation,
                &call,
                expects,
                matches!(action, Some(Action::Corrupt)),
            ),
        };
        let mut response = answered.unwrap_or_else(|Refusal(status, code, message)| {
            xml(
                status,
                &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"),
            )
        });
        if is_part {
            self.lock().parts_under_way -= 1;
        }
        self.lock().seen.push(Seen {
            operation,
            path: call.path,
            headers: call.headers,
            status: response.status().as_u16(),
            of_check,
        });
        if call.method == "HEAD" && response.status() != StatusCode::OK {
            *response.body_mut() = Sent::default();
        }
        match action {
            Some(Action::LoseAnswer) => return Err(std::io::Error::other("lost")),
            Some(Action::Break(Place::Done, end)) => return break_off(fate, end).await,
            Some(Action::Break(Place::Answer, end)) => fate.seal(end, true),
            Some(Action::WrongEtag) => {
                response.headers_mut().insert(
                    "etag",
                    "\"00000000000000000000000000000000\"".parse().unwrap(),
                );
            }
            Some(Action::Cut(bytes)) => {
                let body = response.body_mut();
                body.start.truncate(body.start.len().saturating_sub(bytes));
            }
            Some(Action::OtherRange) => {
                let range = response.headers()["content-range"].to_str().unwrap();
                let other = range.replacen("bytes ", "bytes 1", 1).parse().unwrap();
                response.headers_mut().insert("content-range", other);
            }
            Some(Action::OtherTotal) => {
                let range = response.headers()["content-range"].to_str().unwrap();
                let other = format!("{range}0").parse().unwrap();
                response.headers_mut().insert("content-range", other);
            }
            Some(Action::Header(name, value)) => {
                response.headers_mut().remove(name);
                let value = value.map(|value| value.parse().unwrap());
                response
                    .headers_mut()
                    .extend(value.map(|value| (name.parse().ok(), value)));
            }
            Some(Action::OtherMark) => {
                let mark = "0".repeat(32).parse().unwrap();
                response.headers_mut().insert(MARK, mark);
            }
            Some(Action::WrongSize) => {
                response
                    .headers_mut()
                    .insert("content-length", 123_456_789.into());
            }
            _ => {}
        }
        Ok(response)
    }

    fn strike(&self, operation: Operation, of_check: bool) -> Option<Action> {
        let state = self.lock();
        let fault = state.faults.iter().find(|fault| {
            fault.operation == operation
                && fault.of_check == of_check
                && fault.struck() < fault.times
                && fault.seen.fetch_add(1, Ordering::SeqCst) >= fault.skip
        })?;
        fault.struck.fetch_add(1, Ordering::SeqCst);
        Some(fault.action.clone())
    }

    fn act(
        &self,
        operation: Operation,
        call: &Call,
        expects: bool,
        corrupted: bool,
    ) -> Result<Response<Sent>, Refusal> {
        if expects {
            return refuse(
                417,
                "ExpectationFailed",
                "Expect: 100-continue is not supported",
            );
        }
        self.check_headers(operation, call)?;
        self.check_signature(call, corrupted)?;
        if call.bucket() != BUCKET {
            return refuse(404, "NoSuchBucket", "The specified bucket does not exist.");
        }
        let writes = matches!(
            operation,
            Operation::CreateUpload
                | Operation::UploadPart
                | Operation::CompleteUpload
                | Operation::AbortUpload
        );
        if writes && self.lock().read_only {
            return refuse(403, "AccessDenied", "Access Denied");
        }
        let mut state = self.lock();
        let key = call.key();
        let parameter = |name: &str| call.query.get(name).cloned().unwrap_or_default();
        let upload_gone = || {
            refuse(
                404,
                "NoSuchUpload",
                "The specified multipart upload does not exist.",
            )
        };
        match operation {
            Operation::ListObjects => {
                let (prefix, after) = (
                    parameter("prefix"),
                    parameter("continuation-token").max(parameter("start-after")),
                );
                let page = state.page.unwrap_or(1000);
                let turned = after
                    .strip_prefix(CROWD)
                    .map_or(0, |number| number.parse().unwrap());
                if turned < state.foreign_pages && (after.is_empty() || after.starts_with(CROWD)) {
                    return Ok(crowd(&prefix, turned));
                }
                let after = after
                    .strip_prefix(CROWD)
                    .map_or(after.as_str(), |_| "")
                    .to_owned();
                let mut found = state
                    .objects
                    .range(after.clone()..)
                    .filter(|(key, _)| key.starts_with(&prefix) && **key > after);
                let listed: Vec<_> = found.by_ref().take(page).collect();
                let more = found.next().is_some();
                let token = listed.last().filter(|_| more).map(|(key, _)| {
                    format!("<NextContinuationToken>{key}</NextContinuationToken>")
                });
                let encoded = parameter("encoding-type") == "url";
                let encoding = encoded.then_some("<EncodingType>url</EncodingType>");
                let contents: String = listed
                    .iter()
                    .map(|(key, stored)| (if encoded { url_encoded(key) } else { (*key).clone() }, stored))
                    .map(|(key, stored)| format!("<Contents><Key>{key}</Key><Size>{}</Size><ETag>\"{}\"</ETag><LastModified>{}</LastModified></Contents>", stored.body.len(), stored.etag, iso(stored.modified_at)))
                    .collect();
                Ok(xml(
                    200,
                    &format!(
                        "<ListBucketResult><IsTruncated>{more}</IsTruncated>{}{contents}{}</ListBucketResult>",
                        encoding.unwrap_or_default(),
                        token.unwrap_or_default()
                    ),
                ))
            }
            Operation::ListUploads => {
                let (prefix, marker) = (parameter("prefix"), parameter("upload-id-marker"));
                let page = state.page.unwrap_or(1000);
                let exact = state.exact_uploads && !prefix.is_empty();
                let mut found = state.uploads.iter().filter(|(id, begun)| {
                    begun.key.starts_with(&prefix)
                        && **id > marker
                        && (!exact || begun.key == prefix)
                });
                let listed: Vec<_> = found.by_ref().take(page).collect();
                let more = found.next().is_some();
                let next = listed.last().filter(|_| more).map(|(id, begun)| format!("<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>", begun.key));
                let uploads: String = listed
                    .iter()
                    .map(|(id, begun)| format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId><Initiated>{}</Initiated></Upload>", begun.key, iso(begun.initiated_at)))
                    .collect();
                Ok(xml(
                    200,
                    &format!(
                        "<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated>{uploads}{}</ListMultipartUploadsResult>",
                        next.unwrap_or_default()
                    ),
                ))
            }
            Operation::CreateUpload => {
                // Google does the same.
                if !call.headers.contains_key("content-length") {
                    return refuse(411, "MissingContentLength", "Length Required");
                }
                state.next_id += 1;
                let id = format!("upload-{}", state.next_id);
                state.uploads.insert(
                    id.clone(),
                    Begun {
                        key: key.clone(),
                        initiated_at: Utc::now(),
                        parts: BTreeMap::new(),
                        etags: BTreeMap::new(),
                        mark: Some(call.header(MARK).to_owned()),
                    },
                );
                Ok(xml(
                    200,
                    &format!(
                        "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                    ),
                ))
            }
            Operation::UploadPart => {
                let number: u32 = parameter("partNumber").parse().unwrap_or(0);
                if !(1..=10_000).contains(&number) {
                    return refuse(
                        400,
                        "InvalidArgument",
                        "Part number must be an integer between 1 and 10000, inclusive.",
                    );
                }
                let etags = state.part_etags;
                let Some(begun) = state.uploads.get_mut(&parameter("uploadId")) else {
                    return upload_gone();
                };
                begun.parts.insert(number, call.body.clone());
                let mut response = respond(200, "");
                let headers = response.headers_mut();
                if let Some(etag) = etags.of(&call.body) {
                    headers.insert("etag", etag.parse().unwrap());
                    let bare = etag.trim_start_matches("W/").trim_matches('"');
                    begun.etags.insert(number, bare.to_owned());
                }
                if etags == PartEtags::Kms {
                    headers.insert("x-amz-server-side-encryption", "aws:kms".parse().unwrap());
                }
                Ok(response)
            }
            Operation::CompleteUpload => {
                let id = parameter("uploadId");
                let Some(begun) = state.uploads.get(&id).cloned() else {
                    return upload_gone();
                };
                if call.header("if-none-match") == "*" && state.objects.contains_key(&key) {
                    state.uploads.remove(&id);
                    return refuse(
                        412,
                        "PreconditionFailed",
                        "At least one of the pre-conditions you specified did not hold.",
                    );
                }
                let parts = listed_parts(&call.body, &begun)?;
                let md5s: Vec<u8> = parts
                    .iter()
                    .flat_map(|part| Md5::digest(part).to_vec())
                    .collect();
                let etag = format!("{}-{}", hex(&Md5::digest(&md5s)), parts.len());
                state.uploads.remove(&id);
                state.objects.insert(
                    key.clone(),
                    Stored {
                        body: parts.concat().into(),
                        etag: etag.clone(),
                        modified_at: Utc::now(),
                        mark: begun.mark.clone(),
                    },
                );
                Ok(xml(
                    200,
                    &format!(
                        "<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><ETag>\"{etag}\"</ETag></CompleteMultipartUploadResult>"
                    ),
                ))
            }
            Operation::AbortUpload => match state.uploads.remove(&parameter("uploadId")) {
                Some(_) => Ok(respond(204, "")),
                None => upload_gone(),
            },
            Operation::HeadObject => match state.objects.get(&key) {
                Some(stored) => {
                    let mut response = respond(200, "");
                    response
                        .headers_mut()
                        .insert("content-length", stored.body.len().into());
                    response
                        .headers_mut()
                        .insert("etag", format!("\"{}\"", stored.etag).parse().unwrap());
                    if let Some(mark) = &stored.mark {
                        response.headers_mut().insert(MARK, mark.parse().unwrap());
                    }
                    Ok(response)
                }
                None => Ok(respond(404, "")),
            },
            Operation::GetObject => {
                let Some(stored) = state.objects.get(&key) else {
                    return refuse(404, "NoSuchKey", "The specified key does not exist.");
                };
                if call.headers.contains_key("if-match")
                    && call.header("if-match").trim_matches('"') != stored.etag
                {
                    return refuse(412, "PreconditionFailed", "It is another object now.");
                }
                let range = call.header("range").strip_prefix("bytes=").unwrap();
                let (from, to) = range.split_once('-').unwrap();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                let to = to.min(stored.body.len() - 1);
                let mut response = respond(206, "");
                *response.body_mut() = stored.body.slice(from..=to).into();
                let headers = response.headers_mut();
                let range = format!("bytes {from}-{to}/{}", stored.body.len());
                headers.insert("content-range", range.parse().unwrap());
                headers.insert("etag", format!("\"{}\"", stored.etag).parse().unwrap());
                Ok(response)
            }
            Operation::Lifecycle | Operation::Other => {
                refuse(501, "NotImplemented", "not needed here")
            }
        }
    }

    /// Checks for headers that R2 answers with 501, though others ignore them, and for checksums that it does not accept
    /// together.
    fn check_headers(&self, operation: Operation, call: &Call) -> Result<(), Refusal> {
        const UNKNOWN: &[&str] = &[
            "x-amz-tagging",
            "x-amz-acl",
            "x-amz-grant",
            "x-amz-server-side-encryption",
            "x-amz-object-lock",
            "x-amz-website-redirect-location",
            "x-amz-expected-bucket-owner",
            "x-amz-request-payer",
        ];
        for name in call.headers.keys().map(axum::http::HeaderName::as_str) {
            let sha_on_part = operation == Operation::UploadPart
                && ["x-amz-checksum-sha1", "x-amz-checksum-sha256"].contains(&name);
            let empty_class = name == "x-amz-storage-class" && call.header(name).is_empty();
            if UNKNOWN.iter().any(|unknown| name.starts_with(unknown)) || sha_on_part || empty_class
            {
                return Err(Refusal(
                    501,
                    "NotImplemented",
                    format!(
                        "Header '{name}' with value '{}' not implemented",
                        call.header(name)
                    ),
                ));
            }
        }
        if call
            .header("x-amz-content-sha256")
            .starts_with("STREAMING-")
            || call.header("content-encoding").contains("aws-chunked")
        {
            return refuse(
                501,
                "NotImplemented",
                "streaming signatures are not implemented",
            );
        }
        let checksums = call
            .headers
            .keys()
            .filter(|name| name.as_str().starts_with("x-amz-checksum-"))
            .count();
        if checksums > 0 && call.headers.contains_key("content-md5") {
            return refuse(
                400,
                "InvalidRequest",
                "You can only specify one non-default checksum at a time.",
            );
        }
        if call.headers.contains_key("content-md5")
            && call.header("content-md5")
                != base64::engine::general_purpose::STANDARD.encode(Md5::digest(&call.body))
        {
            return refuse(
                400,
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
            );
        }
        Ok(())
    }

    /// Checks the signature of the headers (version 4), as AWS documents it.
    fn check_signature(&self, call: &Call, corrupted: bool) -> Result<(), Refusal> {
        let authorization = call.header("authorization");
        let field = |name: &str| {
            authorization
                .split([' ', ','])
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        let (credential, signed, signature) = (
            field("Credential"),
            field("SignedHeaders"),
            field("Signature"),
        );
        let (key, scope) = credential.split_once('/').unwrap_or((&credential, ""));
        if key.len() != 32 {
            return Err(Refusal(
                400,
                "InvalidArgument",
                format!(
                    "Credential access key has length {}, should be 32",
                    key.len()
                ),
            ));
        }
        if key != self.access_key {
            return refuse(401, "Unauthorized", "Unauthorized");
        }
        let date = call.header("x-amz-date");
        let signed_at = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ")
            .map(|time| time.and_utc())
            .unwrap_or_default();
        if (Utc::now() - signed_at).abs() > chrono::TimeDelta::minutes(15) && !self.lock().any_clock
        {
            return refuse(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the server's time is too large.",
            );
        }
        let payload = call.header("x-amz-content-sha256");
        if payload != "UNSIGNED-PAYLOAD"
            && payload != hex(&Sha256::digest(&call.body))
            && !corrupted
        {
            return refuse(
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            );
        }
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, &UNRESERVED).to_string();
        let query: Vec<String> = call
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let headers: String = signed
            .split(';')
            .map(|name| format!("{name}:{}\n", call.header(name).trim()))
            .collect();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{signed}\n{payload}",
            call.method,
            call.whole_path,
            query.join("&")
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex(&Sha256::digest(canonical))
        );
        let seed = format!("AWS4{}", self.secret_key).into_bytes();
        let signing_key = scope.split('/').fold(seed, |key, part| hmac(&key, part));
        if hex(&hmac(&signing_key, &text)) != signature {
            return refuse(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your secret access key and signing method.",
            );
        }
        Ok(())
    }
}

const UNRESERVED: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parts that a Complete names. They must be sorted, have the right ETags, be large enough, and all except the last must
/// have the same size.
fn listed_parts(body: &Bytes, begun: &Begun) -> Result<Vec<Bytes>, Refusal> {
    let text = String::from_utf8_lossy(body).replace("&quot;", "\"");
    let tag = |part: &str, name: &str| {
        part.split_once(&format!("<{name}>"))
            .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
            .map(|(value, _)| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let named: Vec<(u32, String)> = text
        .split("<Part>")
        .skip(1)
        .map(|part| {
            (
                tag(part, "PartNumber").parse().unwrap_or(0),
                tag(part, "ETag"),
            )
        })
        .collect();
    if named.is_empty() {
        return refuse(
            400,
            "MalformedXML",
            "The XML you provided was not well formed or did not validate against our published schema.",
        );
    }
    if !named.is_sorted_by(|a, b| a.0 < b.0) {
        return refuse(
            400,
            "InvalidPartOrder",
            "The list of parts was not in ascending order.",
        );
    }
    let mut parts = Vec::new();
    for (number, etag) in &named {
        match begun.parts.get(number) {
            Some(part) if begun.etags.get(number).is_none_or(|known| known == etag) => {
                parts.push(part.clone());
            }
            _ => {
                return refuse(
                    400,
                    "InvalidPart",
                    "One or more of the specified parts could not be found.",
                );
            }
        }
    }
    if let Some((last, rest)) = parts.split_last() {
        if rest.iter().any(|part| part.len() < 5 << 20) {
            return refuse(
                400,
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed object size.",
            );
        }
        let size = rest.first().map_or(last.len(), Bytes::len);
        if rest.iter().any(|part| part.len() != size) || last.len() > size {
            return refuse(
                400,
                "InvalidPart",
                "All non-trailing parts must have the same length.",
            );
        }
    }
    Ok(parts)
}

/// Ends the connection without an answer.
async fn break_off(fate: &Fate, end: End) -> Result<Response<Sent>, std::io::Error> {
    if end == End::Stall {
        std::future::pending::<()>().await;
    }
    fate.seal(end, false);
    Err(std::io::Error::other("it ends"))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The header that says which upload made an object.
const MARK: &str = "x-amz-meta-backup-run";

const IN_LISTS: percent_encoding::AsciiSet = UNRESERVED.remove(b'/');

/// A key in the form that AWS uses in lists.
fn url_encoded(key: &str) -> String {
    percent_encoding::utf8_percent_encode(key, &IN_LISTS)
        .to_string()
        .replace("%20", "+")
}

/// How the token for a page of other objects begins.
const CROWD: &str = "crowd-";

fn crowd(prefix: &str, turned: usize) -> Response<Sent> {
    let filler = "x".repeat(1000 - prefix.len());
    let contents: String = (0..1000)
        .map(|number| format!("<Contents><Key>{prefix}{filler}{turned:06}{number:03}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"))
        .collect();
    xml(
        200,
        &format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated>{contents}<NextContinuationToken>{CROWD}{}</NextContinuationToken></ListBucketResult>",
            turned + 1
        ),
    )
}

fn respond(status: u16, body: &str) -> Response<Sent> {
    let mut response = Response::new(Sent::from(Bytes::from(body.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn xml(status: u16, body: &str) -> Response<Sent> {
    let mut response = respond(
        status,
        &format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}"),
    );
    response
        .headers_mut()
        .insert("content-type", "application/xml".parse().unwrap());
    response
}
