//! Sends messages to addresses that are secrets. Time and tries are limited, and redirects to other hosts are not followed.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
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
pub use crate::network::address::Address;
use crate::network::proxy::Proxy;
use crate::network::tls::Distrust;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// The waits before each further try of one message.
pub const WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A GET, whose address holds the message.
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
    /// The receiver accepted the connection, but did not answer.
    #[error("the receiver did not answer within {} s", TRY.as_secs())]
    Timeout,
    /// The receiver is out of order, or asks for fewer messages.
    #[error("the receiver answered HTTP {0}")]
    Unavailable(u16),
    /// The receiver does not accept the message.
    #[error("the receiver answered HTTP {0}{1}")]
    Refused(u16, String),
    /// The receiver redirects to another address.
    #[error("the receiver answered HTTP {0}, a redirect")]
    Redirected(u16),
    /// The service ended in the meantime. Holds the failure of the last try, if there was one.
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

    /// Whether another try can succeed.
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

/// Sends a message. If it fails in a way that can pass, it is tried again after each of the waits, until `end`.
///
/// # Errors
/// The failure of the last try. After [`Undelivered::Ended`], and only then, `end` has completed and must not be polled
/// again.
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
        tracing::debug!(variable = address.variable(), kind = error.kind(), %error, wait_seconds = wait.as_secs(), "message to be sent again");
        last = Some(Box::new(error));
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = &mut end => return Err(Undelivered::Ended(last)),
        }
    }
}

async fn attempt(address: &Address, body: &Body) -> Result<(), Undelivered> {
    let exchanged = async {
        // The client is made for each message. A day may pass between two messages, and in that time it must not take any
        // memory.
        match (address.proxy(), address.is_plain()) {
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

/// Adds TLS to a connector.
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
        .uri(address.uri().clone())
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

/// Sends a request without TLS through a proxy, which needs the whole URL.
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
    if let Some(authority) = address.uri().authority()
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

/// The message of a receiver as an error repeats it, after the address was removed from it.
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
