//! The HTTP server: `/health` for monitors, `/live` for the platform, and with the token the page and the metrics.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::board::health::{Health, Overall};
use crate::format::hex;
use crate::schedule::Clock;
use crate::web::gate::{self, Gate};
use crate::web::metrics;
use crate::web::page;
use crate::web::places::{self, PLACES};
use crate::web::shown::Shown;

/// A connection that has not sent a whole header by then is closed, and so is an idle one.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// A connection is closed after this long whatever it does; no answer here takes a second.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// Railway lets a deployment go live when one call from this host name is answered with 200. It must not depend on a
/// fresh backup: the deployment may be the one that mends it.
const RAILWAY_HOST: &str = "healthcheck.railway.app";

/// What the router answers from.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The series of backups.
    pub series: Arc<[Shown]>,
    /// The wall clock.
    pub clock: Clock,
    /// The door before the page and the metrics; none if `STATUS_TOKEN` is not set, and then nobody sees them.
    pub gate: Option<Arc<Gate>>,
}

/// Takes the port, on IPv6 and IPv4 alike; on IPv4 alone where the machine has no IPv6.
///
/// # Errors
/// When the port can't be had.
pub fn bind(port: u16) -> io::Result<TcpListener> {
    match listen(TcpSocket::new_v6(), (Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => listen(TcpSocket::new_v4(), (Ipv4Addr::UNSPECIFIED, port).into()),
        bound => bound,
    }
}

fn listen(socket: io::Result<TcpSocket>, address: SocketAddr) -> io::Result<TcpListener> {
    /// How many connections may wait until they are accepted. When there are more, the system makes a client wait for a second. The
    /// limit is at most `net.core.somaxconn`, usually 4,096.
    const WAITING: u32 = 4096;
    let socket = socket?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// An open connection.
struct Open {
    task: AbortHandle,
    /// Whether the peer is on this machine.
    is_own: bool,
}

/// Serves until it is told to stop. Connections that are open at that time are dropped, since every answer takes microseconds.
pub async fn serve(listener: TcpListener, answers: Answers, stop: CancellationToken) {
    let router = router(answers);
    let mut tasks = JoinSet::new();
    // The oldest first.
    let mut open: Vec<Open> = Vec::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = tasks.join_next_with_id() => {
                forget(&mut open, &ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // A socket for both families shows an IPv4 peer as ::ffff:127.0.0.1.
        let is_own = peer.ip().to_canonical().is_loopback();
        if let Some(index) = places::gives_way(is_own, open.iter().map(|guest| guest.is_own)) {
            open.remove(index).task.abort();
        }
        let task = tasks.spawn(converse(stream, router.clone()));
        open.push(Open { task, is_own });
        // A connection that is being closed keeps its descriptor until its task has ended.
        while tasks.len() > PLACES
            && let Some(ended) = tasks.join_next_with_id().await
        {
            forget(&mut open, &ended);
        }
    }
}

/// Takes a connection that has ended off the list.
fn forget(open: &mut Vec<Open>, ended: &Result<(Id, ()), JoinError>) {
    let id = match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    };
    open.retain(|connection| connection.task.id() != id);
}

async fn converse(stream: TcpStream, router: Router) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(16 * 1024);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        outcome = connection => if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended early");
        },
        () = tokio::time::sleep(CONNECTION_LIMIT) => {}
    }
}

fn router(answers: Answers) -> Router {
    let inside = answers.gate.clone().map(|gate| {
        let inside = Router::new()
            .route("/", get(page))
            .route("/metrics", get(metrics));
        let inside = if answers.series.len() > 1 {
            inside.route("/series/{name}", get(page_of))
        } else {
            inside
        };
        inside.with_state((answers.clone(), gate))
    });
    inside
        .unwrap_or_default()
        .route("/health", get(health))
        .route("/health/", get(health))
        .route("/live", get(live))
        .route("/live/", get(live))
        .with_state(answers)
}

async fn live() -> Response {
    answer(StatusCode::OK, serde_json::json!({"status": "live"}))
}

/// The host that a client asks for, without a port. If the target is a whole URL, its host counts, and not the header.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let in_header = || {
        let text = headers.get(header::HOST)?.to_str().ok()?;
        text.parse::<Authority>().ok()
    };
    let authority = uri.authority().cloned().or_else(in_header)?;
    Some(authority.host().to_ascii_lowercase())
}

async fn health(State(answers): State<Answers>, uri: Uri, headers: HeaderMap) -> Response {
    let now = (answers.clock)();
    let healths: Vec<(&str, Health)> = answers
        .series
        .iter()
        .map(|shown| (shown.name.as_str(), shown.health(now)))
        .collect();
    let overall = Overall::of(&healths);
    let asked_by_railway = host(&uri, &headers).is_some_and(|host| host == RAILWAY_HOST);
    let status = if overall.status.is_healthy() || asked_by_railway {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match &healths[..] {
        [(_, only)] => answer(status, only),
        _ => answer(status, overall),
    }
}

async fn metrics(
    State((answers, gate)): State<(Answers, Arc<Gate>)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal(&gate, &headers) {
        return refusal;
    }
    let headers = [
        (header::CONTENT_TYPE, metrics::CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, metrics::text(&answers.series, (answers.clock)())).into_response()
}

/// The page of the only series, or that which leads to those of several.
async fn page(State((answers, gate)): State<(Answers, Arc<Gate>)>, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal(&gate, &headers) {
        return refusal;
    }
    let now = (answers.clock)();
    html(|nonce| match &*answers.series {
        [only] => page::of(only, now, nonce),
        several => page::overview(several, now, nonce),
    })
}

/// The page of one series of several.
async fn page_of(
    State((answers, gate)): State<(Answers, Arc<Gate>)>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal(&gate, &headers) {
        return refusal;
    }
    let Some(shown) = answers.series.iter().find(|shown| shown.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    html(|nonce| page::of(shown, (answers.clock)(), nonce))
}

/// A page, whose style and script alone a browser takes.
fn html(write: impl FnOnce(&str) -> String) -> Response {
    let mut nonce = [0; 16];
    if let Err(error) = getrandom::fill(&mut nonce) {
        tracing::error!(%error, "no random number can be had");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let nonce = hex(&nonce);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, &policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, write(&nonce)).into_response()
}

/// The answer to a request without the right token.
fn refusal(gate: &Gate, headers: &HeaderMap) -> Option<Response> {
    let authorization = headers.get(header::AUTHORIZATION);
    let answer = gate.judge(authorization.map(HeaderValue::as_bytes), Instant::now());
    let refused = |status: StatusCode, (name, value): (header::HeaderName, String)| {
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
            (name, value),
        ];
        let text = "Give STATUS_TOKEN as the password, with any user name, or as a Bearer token.\n";
        Some((status, headers, text).into_response())
    };
    match answer {
        gate::Answer::Open => None,
        gate::Answer::Missing | gate::Answer::Wrong => {
            let realm = "Basic realm=\"postgres-s3-backups\", charset=\"UTF-8\"".to_owned();
            refused(StatusCode::UNAUTHORIZED, (header::WWW_AUTHENTICATE, realm))
        }
        gate::Answer::Pause(rest) => {
            let seconds = rest.as_secs().saturating_add(1).to_string();
            refused(
                StatusCode::TOO_MANY_REQUESTS,
                (header::RETRY_AFTER, seconds),
            )
        }
    }
}

fn answer(status: StatusCode, body: impl serde::Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_compared_without_its_port_and_in_any_case() {
        for (target, header, found) in [
            ("/health", "healthcheck.railway.app", Some(RAILWAY_HOST)),
            ("/health", "healthcheck.railway.app:443", Some(RAILWAY_HOST)),
            (
                "/health",
                "HealthCheck.Railway.APP:8080",
                Some(RAILWAY_HOST),
            ),
            (
                "http://healthcheck.railway.app:80/health",
                "x",
                Some(RAILWAY_HOST),
            ),
            ("http://x/health", "healthcheck.railway.app", Some("x")),
            (
                "/health",
                "healthcheck.railway.app.example.com",
                Some("healthcheck.railway.app.example.com"),
            ),
            ("/health", "[::1]:8080", Some("[::1]")),
            ("/health", "healthcheck.railway.app/", None),
            ("/health", "a b", None),
            ("/health", "", None),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, header.parse().unwrap())]);
            let host = host(&target.parse().unwrap(), &headers);
            assert_eq!(host.as_deref(), found, "{target} {header}");
        }
        assert_eq!(host(&Uri::from_static("/health"), &HeaderMap::new()), None);
    }
}
