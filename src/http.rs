//! The HTTP side: `/health` for monitors, `/live` for the platform, and for who has the token the page and the metrics.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::gate::{self, Gate};
use crate::health::Health;
use crate::metrics;
use crate::page::{self, Setting};
use crate::schedule::Clock;
use crate::store::{Sent, hex};

/// A connection that has not sent a whole header by then is closed, and so is an idle one.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// A connection is closed after this long whatever it does; no answer here takes a second.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// More than any monitor opens, fewer than the usual limit of 1,024 descriptors that a dump also needs.
const CONNECTIONS: usize = 800;

/// Railway lets a deployment go live when one call from this host name is answered with 200. It must not depend on a
/// fresh backup: the deployment may be the one that mends it.
const RAILWAY_HOST: &str = "healthcheck.railway.app";

/// What the router answers from.
#[derive(Debug, Clone)]
pub struct Answers {
    /// What the daemon knows.
    pub board: Board,
    /// `BACKUP_MAX_AGE`
    pub max_age: Duration,
    /// The wall clock.
    pub clock: Clock,
    /// What is told to those who have `STATUS_TOKEN`; nothing if it is not set.
    pub inside: Option<Arc<Inside>>,
}

/// What the page and the metrics say besides what the daemon knows, and who may see them.
#[derive(Debug)]
pub struct Inside {
    /// The door.
    pub gate: Gate,
    /// For the page.
    pub setting: Setting,
    /// The parts that were sent.
    pub sent: Sent,
}

/// Takes the port, on IPv6 and IPv4 alike; on IPv4 alone where the machine has no IPv6.
///
/// # Errors
/// When the port can't be had.
pub async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        bound => bound,
    }
}

/// Serves until told to stop; connections that are open then are dropped, since every answer takes microseconds.
pub async fn serve(listener: TcpListener, answers: Answers, stop: CancellationToken) {
    let router = router(answers);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Over the limit a new connection is closed at once, so that descriptors are left for the backup.
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let router = router.clone();
                    connections.spawn(async move {
                        converse(stream, router).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(16 * 1024);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        outcome = connection => if let Err(error) = outcome {
            tracing::trace!(%error, "connection ended early");
        },
        () = tokio::time::sleep(CONNECTION_LIMIT) => {}
    }
}

fn router(answers: Answers) -> Router {
    let inside = answers.inside.clone().map_or_else(Router::new, |inside| {
        Router::new()
            .route("/", get(page))
            .route("/metrics", get(metrics))
            .with_state((answers.clone(), inside))
    });
    inside
        .route("/health", get(health))
        .route(
            "/live",
            get(|| async { answer(StatusCode::OK, serde_json::json!({"status": "live"})) }),
        )
        .with_state(answers)
}

async fn health(State(answers): State<Answers>, headers: HeaderMap) -> Response {
    let health = answers
        .board
        .read(|status| Health::at(status, answers.max_age, (answers.clock)()));
    let asked_by_railway = headers.get(header::HOST).is_some_and(|host| {
        host.as_bytes()
            .eq_ignore_ascii_case(RAILWAY_HOST.as_bytes())
    });
    let status = if health.is_healthy() || asked_by_railway {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(status, health)
}

async fn metrics(
    State((answers, inside)): State<(Answers, Arc<Inside>)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal(&inside.gate, &headers) {
        return refusal;
    }
    let now = (answers.clock)();
    let text = answers
        .board
        .read(|status| metrics::text(status, &inside.sent, answers.max_age, now));
    let headers = [
        (header::CONTENT_TYPE, metrics::CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

async fn page(
    State((answers, inside)): State<(Answers, Arc<Inside>)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal(&inside.gate, &headers) {
        return refusal;
    }
    let mut nonce = [0; 16];
    if let Err(error) = getrandom::fill(&mut nonce) {
        tracing::error!(%error, "no random number can be had");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let nonce = hex(&nonce);
    let now = (answers.clock)();
    let html = answers
        .board
        .read(|status| page::html(status, &inside.setting, now, &nonce));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, &policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, html).into_response()
}

/// What a request is answered with that does not bring the token.
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
