//! The pings for each run that a dead man's switch gets, so that silence raises an alarm too. It can be one in the manner of
//! healthchecks.io, or a push monitor of Uptime Kuma.

use std::pin::Pin;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::format::text::{shortened, visible};
use crate::secret::renewable::Renewable;
use crate::watch::webhook::{self, Address, Body, Undelivered};

/// How many beats may wait for a slow receiver. A run has two.
const WAITING: usize = 16;

/// What is reported about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// A run began.
    Started,
    /// It ended well: there is a backup.
    Made {
        /// What a person should read about it.
        text: String,
        /// How long it took; `None` if another container made it.
        took: Option<Duration>,
    },
    /// It failed after its last attempt.
    Failed {
        /// Why, without secrets.
        reason: String,
        /// What to do.
        hint: String,
    },
}

/// Where runs leave their beats. A run never waits for it.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat(Option<mpsc::Sender<Beat>>);

/// Delivers the beats that wait.
#[derive(Debug)]
pub struct Beats {
    address: Renewable<Option<Address>>,
    waiting: mpsc::Receiver<Beat>,
}

impl Heartbeat {
    /// A heartbeat for this receiver, and the part that delivers its beats once it is run.
    #[must_use]
    pub fn new(address: Renewable<Option<Address>>) -> (Self, Option<Beats>) {
        if address.get().is_none() {
            return (Self::default(), None);
        };
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self(Some(sender)), Some(Beats { address, waiting }))
    }

    /// Leaves a beat.
    pub fn tell(&self, beat: Beat) {
        if let Some(beats) = &self.0
            && beats.try_send(beat).is_err()
        {
            tracing::warn!(
                variable = "HEARTBEAT_URL",
                "heartbeat left out: too many are waiting for its receiver"
            );
        }
    }
}

impl Beats {
    /// Delivers the beats one after the other, until there can be no more, or until `grace` after it was told to stop.
    pub async fn deliver(mut self, stop: CancellationToken, grace: Duration) {
        let mut end = std::pin::pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
        });
        let mut next = None;
        loop {
            let beat = match next.take() {
                Some(beat) => beat,
                None => tokio::select! {
                    biased;
                    beat = self.waiting.recv() => match beat {
                        Some(beat) => beat,
                        None => return,
                    },
                    () = &mut end => return,
                },
            };
            let Some(address) = self.address.get() else {
                return;
            };
            let delivered = if beat == Beat::Started {
                tokio::select! {
                    delivered = send(&address, &beat, end.as_mut()) => delivered,
                    // The end of a run matters most. A receiver that does not accept its start must not delay its end.
                    () = superseded(&mut self.waiting, &mut next) => continue,
                }
            } else {
                send(&address, &beat, end.as_mut()).await
            };
            let is_over = matches!(delivered, Err(Undelivered::Ended(_)));
            match delivered {
                Ok(()) => tracing::debug!(beat = beat.name(), "heartbeat delivered"),
                // The beat at the end of the run reports the problem, and some receivers don't know a start.
                Err(error) if beat == Beat::Started => {
                    tracing::debug!(beat = beat.name(), kind = error.kind(), %error, "heartbeat not delivered");
                }
                Err(error) => {
                    let variable = address.variable();
                    tracing::warn!(variable, beat = beat.name(), kind = error.kind(), %error, hint = error.hint(variable), "heartbeat not delivered");
                }
            }
            if is_over {
                return;
            }
        }
    }
}

impl Beat {
    const fn name(&self) -> &'static str {
        match self {
            Self::Started => "start",
            Self::Made { .. } => "success",
            Self::Failed { .. } => "fail",
        }
    }
}

/// Takes the next beat, and ends some time after it came. If there is none, it never ends.
async fn superseded(waiting: &mut mpsc::Receiver<Beat>, next: &mut Option<Beat>) {
    *next = waiting.recv().await;
    if next.is_none() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn send(
    address: &Address,
    beat: &Beat,
    end: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Undelivered> {
    let Some((address, body)) = request(address, beat) else {
        return Ok(());
    };
    // The next beat must not be late because of one that does not matter.
    let waits = match beat {
        Beat::Started => &[][..],
        _ => &webhook::WAITS,
    };
    webhook::send(&address, &body, waits, end).await
}

/// What is sent, and where. `None` if the receiver does not know such a beat.
fn request(address: &Address, beat: &Beat) -> Option<(Address, Body)> {
    if address.path().contains("/api/push/") {
        return kuma(address, beat).map(|address| (address, Body::None));
    }
    // healthchecks.io keeps up to 100 kB.
    const MOST_CHARACTERS: usize = 2000;
    let path = address.path().trim_end_matches('/');
    let of = |suffix: &str, text: &str| {
        let address = if suffix.is_empty() {
            address.clone()
        } else {
            address.with(&format!("{path}{suffix}"), address.query())
        };
        (address, Body::Text(shortened(text, MOST_CHARACTERS)))
    };
    Some(match beat {
        Beat::Started => of("/start", ""),
        Beat::Made { text, .. } => of("", &visible(text)),
        // However long the reason is, there is always room for the hint.
        Beat::Failed { reason, hint } => {
            let reason = shortened(&visible(reason), MOST_CHARACTERS / 2);
            of("/fail", &format!("{reason}\n{}", visible(hint)))
        }
    })
}

/// `…/api/push/TOKEN?status=up&msg=OK&ping=`, as Uptime Kuma shows it. It has no ping for a start.
fn kuma(address: &Address, beat: &Beat) -> Option<Address> {
    const MOST_CHARACTERS: usize = 200;
    let (status, text, took) = match beat {
        Beat::Started => return None,
        Beat::Made { text, took } => ("up", text.clone(), *took),
        Beat::Failed { reason, hint } => ("down", format!("{reason} ({hint})"), None),
    };
    let text = shortened(&visible(&text), MOST_CHARACTERS);
    let ping = took.map_or_else(String::new, |took| took.as_millis().to_string());
    let message = utf8_percent_encode(&text, NON_ALPHANUMERIC);
    let own = |pair: &&str| {
        !pair.is_empty()
            && !["status", "msg", "ping"].contains(&pair.split('=').next().unwrap_or_default())
    };
    let others: String = address
        .query()
        .split('&')
        .filter(own)
        .map(|pair| format!("{pair}&"))
        .collect();
    Some(address.with(
        address.path(),
        &format!("{others}status={status}&msg={message}&ping={ping}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Beat {
        Beat::Made {
            text: "b.sql.gz & more".to_owned(),
            took: Some(Duration::from_millis(1500)),
        }
    }

    fn failed() -> Beat {
        Beat::Failed {
            reason: "auth: password\nfailed".to_owned(),
            hint: "set it".to_owned(),
        }
    }

    fn address(url: &str) -> Address {
        Address::parse("HEARTBEAT_URL", url).unwrap()
    }

    #[test]
    fn the_suffix_stands_before_the_query_and_the_reason_is_the_body() {
        for (url, start, fail) in [
            (
                "https://hc-ping.com/uuid",
                "https://hc-ping.com/uuid/start",
                "https://hc-ping.com/uuid/fail",
            ),
            (
                "https://hc-ping.com/key/slug/?create=1",
                "https://hc-ping.com/key/slug/start?create=1",
                "https://hc-ping.com/key/slug/fail?create=1",
            ),
            (
                "http://10.0.0.1:8000/ping/uuid?rid=1&a=b",
                "http://10.0.0.1:8000/ping/uuid/start?rid=1&a=b",
                "http://10.0.0.1:8000/ping/uuid/fail?rid=1&a=b",
            ),
        ] {
            let of = |beat: &Beat| request(&address(url), beat).unwrap();
            assert_eq!(
                of(&Beat::Started),
                (address(start), Body::Text(String::new()))
            );
            assert_eq!(
                of(&failed()),
                (
                    address(fail),
                    Body::Text("auth: password\\nfailed\nset it".to_owned())
                )
            );
            assert_eq!(
                of(&made()),
                (address(url), Body::Text("b.sql.gz & more".to_owned()))
            );
        }
    }

    #[test]
    fn uptime_kuma_gets_status_message_and_duration_and_no_start() {
        for url in [
            "https://kuma.example.com/api/push/token?status=up&msg=OK&ping=",
            "https://kuma.example.com/api/push/token",
        ] {
            let of = |beat: &Beat| request(&address(url), beat);
            let at = |query: &str| {
                let url = format!("https://kuma.example.com/api/push/token?{query}");
                Some((address(&url), Body::None))
            };
            assert_eq!(of(&Beat::Started), None);
            assert_eq!(
                of(&made()),
                at("status=up&msg=b%2Esql%2Egz%20%26%20more&ping=1500")
            );
            assert_eq!(
                of(&failed()),
                at("status=down&msg=auth%3A%20password%5Cnfailed%20%28set%20it%29&ping=")
            );
        }
        let kept = request(&address("https://h/api/push/t?a=b&msg=OK"), &failed()).unwrap();
        assert!(kept.0.query().starts_with("a=b&status=down&"), "{kept:?}");
    }

    #[test]
    fn a_reason_without_end_is_cut() {
        let endless = Beat::Failed {
            reason: "ä".repeat(100_000),
            hint: "ö".repeat(100_000),
        };
        let (_, body) = request(&address("https://hc-ping.com/uuid"), &endless).unwrap();
        let Body::Text(text) = body else { panic!() };
        assert_eq!(text.chars().count(), 2000);
        let (address, _) = request(&address("https://h/api/push/t"), &endless).unwrap();
        assert!(address.query().len() < 2000);
    }
}
