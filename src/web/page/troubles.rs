//! What is wrong, in words, each with what to do about it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{Setting, since};
use crate::board::health::{AHEAD_HINT, CLOCKS_HINT, Verdict};
use crate::board::{DrillOutcome, Failure, LastDrill, Status, anomaly};
use crate::fault::Kind;
use crate::format::span;
use crate::format::text::{shortened, visible};

/// How much that is out of the ordinary is named.
pub(super) const ANOMALIES: usize = 5;

/// How much of an error, and of a hint, is repeated.
const MOST_CHARACTERS: usize = 1500;

/// The same as the first thing that docs/operations.md says of the alert `stale`.
const STALE_HINT: &str = "make a backup at once: run the command backup, or start this service again with RUN_ON_STARTUP=true. If there was a newer one, somebody deleted it. If the schedule itself leaves more time between two backups, set BACKUP_MAX_AGE higher";

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// A whole sentence.
    pub(super) what: String,
    /// What the log says of it, if it is a failure.
    pub(super) error: Option<String>,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

impl Trouble {
    fn new(what: impl Into<String>, hint: &str) -> Self {
        Self {
            what: what.into(),
            error: None,
            hint: Some(hint.to_owned()),
        }
    }

    fn failed(what: impl Into<String>, failure: Option<&Failure>) -> Self {
        Self {
            what: what.into(),
            error: failure.map(|failure| failure.error.clone()),
            hint: failure.map(|failure| failure.hint.clone()),
        }
    }

    pub(super) fn section(&self) -> Markup {
        let shown = |text: &str| shortened(&visible(text), MOST_CHARACTERS);
        html! {
            div.trouble {
                p.what { (visible(&self.what)) }
                @if let Some(error) = &self.error { p { strong { "What happened: " } (shown(error)) } }
                @if let Some(hint) = &self.hint { p { strong { "What to do: " } (shown(hint)) } }
            }
        }
    }
}

/// Everything that is wrong, the most pressing first.
pub(super) fn of(
    verdict: Verdict,
    status: &Status,
    setting: &Setting,
    now: DateTime<Utc>,
) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Some(run) = status.last_run.filter(|_| status.is_failing()) {
        let what = format!(
            "The run that ended {} ago failed ({}).",
            span(since(run.finished_at, now)),
            run.kind.map_or("no kind", Kind::as_str),
        );
        troubles.push(Trouble::failed(what, status.failure.as_ref()));
    } else if verdict == Verdict::Stale && status.newest().is_some() && !status.running {
        troubles.push(Trouble::new(
            format!(
                "No backup was made within the last {}, and no run has failed since this service was started.",
                span(setting.max_age)
            ),
            STALE_HINT,
        ));
    }
    troubles.extend(of_drill(status, now));
    troubles.extend(of_bucket(status, now));
    troubles.extend(of_contents(status));
    troubles
}

fn of_drill(status: &Status, now: DateTime<Utc>) -> Option<Trouble> {
    let drill = status.last_drill.as_ref()?;
    let found = match drill.outcome {
        DrillOutcome::Proven => return None,
        DrillOutcome::Failed => "could not restore",
        DrillOutcome::Unread => "could not be carried out, which says nothing of",
        DrillOutcome::Unprovable => "took place where nothing can be said of",
    };
    let LastDrill { name, kind, .. } = drill;
    let what = format!(
        "The drill that ended {} ago {found} {name} ({}).",
        span(since(drill.finished_at, now)),
        kind.map_or("no kind", Kind::as_str),
    );
    Some(Trouble::failed(what, status.drill_failure.as_ref()))
}

fn of_bucket(status: &Status, now: DateTime<Utc>) -> Option<Trouble> {
    if let Some(failure) = &status.unread {
        let what = status.listed_at.map_or_else(
            || "The bucket could not be read.".to_owned(),
            |at| {
                format!(
                    "The bucket could be read {} ago for the last time, so this page may lack what changed there.",
                    span(since(at, now))
                )
            },
        );
        return Some(Trouble::failed(what, Some(failure)));
    }
    match status.newest() {
        Some(_) if status.listed_at.is_none() => Some(Trouble {
            what: "The bucket has not been read yet, so this page knows only what was made since this service was started.".to_owned(),
            error: None,
            hint: None,
        }),
        Some(newest) if newest.age(now).is_none() => Some(Trouble::new(
            format!(
                "{} was stored at {}, ahead of this service\u{2019}s clock: one of the two clocks is wrong, so how old it is cannot be said.",
                newest.name,
                newest.finished_at.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            CLOCKS_HINT,
        )),
        Some(_) if status.store_is_ahead => Some(Trouble::new(
            "The store\u{2019}s clock is ahead of this service\u{2019}s: one of the two is wrong, and a backup may be older than it looks.",
            CLOCKS_HINT,
        )),
        None if !status.ahead.is_empty() => Some(Trouble::new(
            "All that the bucket holds is dated ahead: the times in the names cannot be true.",
            AHEAD_HINT,
        )),
        _ => None,
    }
}

fn of_contents(status: &Status) -> Option<Trouble> {
    let judged = status.judged()?;
    if status.anomalies.is_empty() {
        return None;
    }
    let (named, _) = anomaly::named(&status.anomalies);
    let told: Vec<String> = named.into_iter().take(ANOMALIES).collect();
    let more = match status.anomalies.len().saturating_sub(told.len()) {
        0 => String::new(),
        more => format!("; and {more} more, which the log names"),
    };
    Some(Trouble::new(
        format!(
            "{} is whole, but out of the ordinary: {}{more}.",
            judged.name,
            told.join("; "),
        ),
        anomaly::hint(&status.anomalies),
    ))
}
