//! Messages to addresses that are secrets: bounded in time and tries, and never followed to another host.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::fault::chain;
use crate::format::text::shortened;
use crate::network::proxy::Proxy;
use crate::network::tls::Distrust;
use crate::secret::{Redactor, Secret};

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// The waits before each further try of one message.
pub const WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// The address of a receiver. All of it is a secret: whoever knows it can send there.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    variable: &'static str,
    proxy: Option<Proxy>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}, …)", self.variable)
    }
}

impl Address {
    /// Reads the value of a variable.
    ///
    /// # Errors
    /// What is wrong, as the rest of a sentence that begins with the variable's name; never its value.
    pub fn parse(variable: &'static str, text: &str) -> Result<Self, &'static str> {
        const NO_URL: &str =
            "is not a URL that begins with https:// or http://; copy it again from the receiver";
        if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NO_URL);
        }
        let uri: Uri = text.parse().map_err(|_| NO_URL)?;
        let known = [Scheme::HTTP, Scheme::HTTPS].iter().map(Some);
        if !known.into_iter().any(|scheme| scheme == uri.scheme()) {
            return Err(NO_URL);
        }
        let authority = uri.authority().ok_or(NO_URL)?.as_str();
        if authority.contains('@') {
            return Err("holds a user or password before the host, which is not supported");
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let host = uri.host().unwrap_or_default();
        let port = authority.strip_prefix(host).unwrap_or_default();
        let has_port = uri.port_u16().is_some_and(|port| port > 0);
        if host.is_empty() || !authority.bytes().all(is_plain) || !(port.is_empty() || has_port) {
            return Err(NO_URL);
        }
        Ok(Self {
            uri,
            variable,
            proxy: None,
        })
    }

    /// The variable that holds it.
    #[must_use]
    pub const fn variable(&self) -> &'static str {
        self.variable
    }

    /// Its host, in lower case.
    #[must_use]
    pub fn host(&self) -> String {
        self.uri.host().unwrap_or_default().to_ascii_lowercase()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Its query; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Whether what is sent there can be read on the way.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTP)
    }

    /// The same receiver under another path and query.
    #[must_use]
    pub fn with(&self, path: &str, query: &str) -> Self {
        let text = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let mut parts = self.uri.clone().into_parts();
        if let Ok(path) = PathAndQuery::try_from(text) {
            parts.path_and_query = Some(path);
        }
        Self {
            uri: Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone()),
            variable: self.variable,
            proxy: self.proxy.clone(),
        }
    }

    /// The same receiver, reached through a proxy unless its host is excepted.
    #[must_use]
    pub fn through(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy.filter(|proxy| proxy.is_for(&self.uri));
        self
    }

    /// Takes the address, and whatever of it can identify a receiver, out of a text.
    fn redact(&self, text: &str) -> String {
        const TOKEN: usize = 6;
        let pieces = self
            .path()
            .split('/')
            .chain(self.query().split(['&', '=']))
            .filter(|piece| piece.len() >= TOKEN);
        let whole = self.uri.to_string();
        let path = self.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let path = if path.len() < TOKEN { "" } else { path };
        let host = self.uri.host().unwrap_or_default();
        let secrets: Vec<Secret> = [whole.as_str(), path, host]
            .into_iter()
            .chain(pieces)
            .map(|piece| Secret::new(piece.to_owned()))
            .collect();
        Redactor::new(&secrets).redact(text)
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A GET, whose address says it all.
    None,
    /// A POST of plain text.
    Text(String),
    /// A POST of JSON.
    Json(String),
}

/// Why a message did not arrive. No text holds the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// There was no connection, or it broke.
    #[error("the receiver could not be reached: {0}")]
    Unreachable(String),
    /// The receiver's certificate was not accepted.
    #[error("no encrypted connection to the receiver: {0}")]
    Tls(String),
    /// The receiver took the connection, and said nothing.
    #[error("the receiver did not answer within {} s", TRY.as_secs())]
    Timeout,
    /// It is out of order, or asks for fewer messages.
    #[error("the receiver answered HTTP {0}")]
    Unavailable(u16),
    /// It does not want the message.
    #[error("the receiver answered HTTP {0}{1}")]
    Refused(u16, String),
    /// It is elsewhere.
    #[error("the receiver answered HTTP {0}, a redirect")]
    Redirected(u16),
    /// The service ended meanwhile; what the last try met, if there was one.
    #[error("the service ended before it was delivered{}", .0.as_ref().map_or_else(String::new, |last| format!(" ({last})")))]
    Ended(Option<Box<Self>>),
}

impl Undelivered {
    /// The name of it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(..) => "refused",
            Self::Redirected(_) => "redirected",
            Self::Ended(_) => "ended",
        }
    }

    /// Whether another try can end better.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Timeout | Self::Unavailable(_)
        )
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self, variable: &str) -> String {
        match self {
            Self::Unreachable(_) => format!(
                "check the host in {variable}, and that this service may connect to the outside"
            ),
            Self::Tls(_) => format!(
                "check the host in {variable}; for a receiver with a certificate of your own authority set SSL_CERT_FILE"
            ),
            Self::Timeout | Self::Unavailable(_) => {
                "look whether the receiver works; backups are made all the same".to_owned()
            }
            Self::Refused(..) => format!(
                "copy {variable} again from the receiver: the address is wrong, or was withdrawn"
            ),
            Self::Redirected(_) => format!(
                "redirects are not followed; set {variable} to the address that the receiver has now (often https:// in place of http://)"
            ),
            Self::Ended(Some(last)) => last.hint(variable),
            Self::Ended(None) => "nothing was lost but the message".to_owned(),
        }
    }
}

/// Sends a message, with a further try after each of the waits where that can help, until `end`.
///
/// # Errors
/// The last try's failure. After [`Undelivered::Ended`], and only then, `end` is over and must not be asked again.
pub async fn send(
    address: &Address,
    body: &Body,
    waits: &[Duration],
    mut end: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Undelivered> {
    let mut waits = waits.iter();
    let mut last = None;
    loop {
        let error = tokio::select! {
            answer = attempt(address, body) => match answer {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            () = &mut end => return Err(Undelivered::Ended(last)),
        };
        let Some(wait) = waits.next().filter(|_| error.is_retryable()) else {
            return Err(error);
        };
        tracing::debug!(variable = address.variable, kind = error.kind(), %error, wait_seconds = wait.as_secs(), "message to be sent again");
        last = Some(Box::new(error));
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = &mut end => return Err(Undelivered::Ended(last)),
        }
    }
}

async fn attempt(address: &Address, body: &Body) -> Result<(), Undelivered> {
    let exchanged = async {
        // Made for each message: between two of them, a day may pass in which nothing of it is held in memory.
        match (&address.proxy, address.is_plain()) {
            (None, true) => exchange(HttpConnector::new(), address, body).await,
            (Some(proxy), true) => exchange_plainly(proxy, address, body).await,
            (None, false) => {
                let mut connector = HttpConnector::new();
                connector.enforce_http(false);
                exchange(encrypted(connector)?, address, body).await
            }
            (Some(proxy), false) => {
                let uri: Uri = proxy.url().parse().map_err(unreachable)?;
                let mut tunnel = Tunnel::new(uri, HttpConnector::new());
                if let Some((_, value)) = proxy.authorization() {
                    tunnel = tunnel.with_auth(value);
                }
                exchange(encrypted(tunnel)?, address, body).await
            }
        }
    };
    tokio::select! {
        answer = exchanged => answer,
        () = tokio::time::sleep(TRY) => Err(Undelivered::Timeout),
    }
}

fn unreachable(error: impl Error) -> Undelivered {
    Undelivered::Unreachable(error.to_string())
}

/// TLS over whatever connects.
fn encrypted<C>(connector: C) -> Result<HttpsConnector<C>, Undelivered> {
    Ok(HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| Undelivered::Tls(error.to_string()))?
        .https_only()
        .enable_http1()
        .wrap_connector(connector))
}

fn request(address: &Address, body: &Body) -> Result<Request<Full<Bytes>>, Undelivered> {
    let agent = concat!("postgres-s3-backups/", env!("CARGO_PKG_VERSION"));
    let request = Request::builder()
        .uri(address.uri.clone())
        .header(USER_AGENT, agent);
    let request = match body {
        Body::None => request.method(Method::GET).body(Full::default()),
        Body::Text(text) => request
            .method(Method::POST)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::new(Bytes::from(text.clone()))),
        Body::Json(text) => request
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text.clone()))),
    };
    request.map_err(unreachable)
}

async fn exchange(
    connector: impl Connect + Clone + Send + Sync + 'static,
    address: &Address,
    body: &Body,
) -> Result<(), Undelivered> {
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    match client.request(request(address, body)?).await {
        Ok(answer) => judge(address, answer).await,
        Err(error) => Err(broken(address, &error)),
    }
}

/// A proxy is asked for an unencrypted address by the whole of it.
async fn exchange_plainly(
    proxy: &Proxy,
    address: &Address,
    body: &Body,
) -> Result<(), Undelivered> {
    let stream = TcpStream::connect(proxy.authority())
        .await
        .map_err(unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(address, &error))?;
    let mut request = request(address, body)?;
    if let Some(authority) = address.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    if let Some((name, value)) = proxy.authorization() {
        request.headers_mut().insert(name, value);
    }
    let answered = async {
        match sender.send_request(request).await {
            Ok(answer) => judge(address, answer).await,
            Err(error) => Err(broken(address, &error)),
        }
    };
    // The connection has to be driven while its answer is read.
    tokio::select! {
        answer = answered => answer,
        Err(error) = connection => Err(broken(address, &error)),
    }
}

async fn judge(address: &Address, answer: Response<Incoming>) -> Result<(), Undelivered> {
    let (status, code) = (answer.status(), answer.status().as_u16());
    if status.is_success() {
        Ok(())
    } else if status.is_redirection() {
        Err(Undelivered::Redirected(code))
    } else if status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
    {
        Err(Undelivered::Unavailable(code))
    } else {
        // Receivers say in a word what they do not like, such as "no_service".
        const MOST_BYTES: usize = 4096;
        let read = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        let said = read.map(http_body_util::Collected::to_bytes);
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        let said = told(&address.redact(&said));
        let said = if said.is_empty() {
            said
        } else {
            format!(": {said}")
        };
        Err(Undelivered::Refused(code, said))
    }
}

/// A receiver's words, of which the address was taken out, as an error repeats them.
fn told(said: &str) -> String {
    const MOST_CHARACTERS: usize = 200;
    shortened(said.trim(), MOST_CHARACTERS)
}

/// Finds the cause in an error of the client, whose own words are "client error (Connect)".
fn broken(address: &Address, error: &(dyn Error + 'static)) -> Undelivered {
    let deepest = chain::causes(error).last();
    let said = deepest.map_or_else(String::new, ToString::to_string);
    let said = told(&address.redact(&said));
    if Distrust::among(error).is_some() {
        Undelivered::Tls(said)
    } else {
        Undelivered::Unreachable(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse("HEARTBEAT_URL", text).unwrap()
    }

    #[test]
    fn an_address_is_an_absolute_url_and_no_message_repeats_it() {
        for text in [
            "https://hc-ping.com/canary",
            "http://10.0.0.1:3001/api/push/canary?status=up",
            "http://[::1]:80/x",
            "HTTPS://Host/x",
        ] {
            assert!(Address::parse("X", text).is_ok(), "{text}");
        }
        for text in [
            "canary",
            "/canary",
            "canary.example.com/x",
            "ftp://canary/x",
            "https://",
            "https:///canary",
            "https://user:canary@host/x",
            "https://host:canary/x",
            "https://host:0/canary",
            "https://host:/canary",
            "https://host/can ary",
            "https://host/canary#x",
            "https://${{canary}}/x",
        ] {
            let said = Address::parse("X", text).unwrap_err();
            assert!(!said.contains("canary"), "{text}: {said}");
        }
    }

    #[test]
    fn no_part_of_an_address_that_identifies_a_receiver_stays_in_a_text() {
        let address =
            address("https://hooks.example.com/services/T0AAAA/B0BBBB/canarycanary?key=secretkey");
        let said = address.redact(
            "https://hooks.example.com/services/T0AAAA/B0BBBB/canarycanary?key=secretkey: B0BBBB of hooks.example.com has no secretkey, token canarycanary",
        );
        for piece in ["T0AAAA", "B0BBBB", "canary", "secretkey", "example.com"] {
            assert!(!said.contains(piece), "{piece}: {said}");
        }
        assert!(!format!("{address:?}").contains("canary"));
    }

    #[test]
    fn what_waiting_does_not_mend_is_not_tried_again() {
        let table = [
            (Undelivered::Unreachable(String::new()), true),
            (Undelivered::Timeout, true),
            (Undelivered::Unavailable(503), true),
            (Undelivered::Tls(String::new()), false),
            (Undelivered::Refused(404, String::new()), false),
            (Undelivered::Redirected(301), false),
            (Undelivered::Ended(None), false),
        ];
        for (error, again) in table {
            assert_eq!(error.is_retryable(), again, "{error}");
            assert!(!error.hint("HEARTBEAT_URL").is_empty());
        }
    }
}
