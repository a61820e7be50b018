//! What can be claimed of the newest backup. That it is fresh and that a restore has proven one are two claims, and each stands for
//! itself.

use chrono::{DateTime, Utc};

use super::{Setting, Tone, since};
use crate::board::{DrillOutcome, LastDrill, Status};
use crate::format::span;

/// One claim: a word, and what it rests on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) tone: Tone,
    pub(super) word: &'static str,
    pub(super) reason: String,
}

impl Claim {
    fn new(tone: Tone, word: &'static str, reason: impl Into<String>) -> Self {
        Self {
            tone,
            word,
            reason: reason.into(),
        }
    }
}

/// What is claimed, in the order in which it is shown.
pub(super) fn of(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Vec<Claim> {
    let known = status.newest().is_some() || status.last_drill.is_some();
    let proven = known.then(|| proven(status, setting, now));
    std::iter::once(fresh(status, setting, now))
        .chain(proven)
        .collect()
}

fn fresh(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Claim {
    let allowed = span(setting.max_age);
    let Some(newest) = status.newest() else {
        let was_due = status.first_due_at.is_some_and(|due| due <= now);
        return match () {
            () if status.listed_at.is_none() => Claim::new(
                Tone::Unsure,
                "Not known",
                "The bucket has not been read yet, so nobody knows what it holds.",
            ),
            () if !status.ahead.is_empty() => Claim::new(
                Tone::Unsure,
                "Not known",
                "The names in the bucket say times that cannot be true.",
            ),
            () if was_due && !status.running => Claim::new(
                Tone::Bad,
                "No backup",
                "The bucket holds none, though one was due.",
            ),
            () => Claim::new(Tone::Calm, "No backup yet", "The bucket holds none."),
        };
    };
    match newest.age(now).filter(|_| !status.store_is_ahead) {
        Some(age) if age <= setting.max_age => Claim::new(
            Tone::Good,
            "Fresh",
            format!(
                "The newest backup is {} old. It counts as fresh until it is {allowed} old (BACKUP_MAX_AGE).",
                span(age)
            ),
        ),
        Some(age) => Claim::new(
            Tone::Bad,
            "Not fresh",
            format!(
                "The newest backup is {} old. It may be {allowed} old at most (BACKUP_MAX_AGE).",
                span(age)
            ),
        ),
        None => Claim::new(
            Tone::Unsure,
            "Not known",
            "The clocks of this service and of the store differ too much to say how old the newest backup is.",
        ),
    }
}

fn proven(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Claim {
    let not = |word, reason: &str| Claim::new(Tone::Unsure, word, reason);
    let last = status.last_drill.as_ref();
    match (status.proof(), last) {
        (Some(true), Some(drill)) if drill.outcome == DrillOutcome::Proven => {
            Claim::new(Tone::Good, "Proven", restored(status, drill, now))
        }
        (Some(true), _) => Claim::new(
            Tone::Good,
            "Proven",
            "An earlier drill restored a backup and found in it what was dumped. The last drill could not say anything.",
        ),
        (Some(false), _) => Claim::new(
            Tone::Bad,
            "Not proven",
            "The last drill that could be carried out could not restore a backup.",
        ),
        (None, _) if status.is_unprovable() => not(
            "Not proven",
            "The drills cannot prove a backup in the place where they are carried out.",
        ),
        (None, Some(_)) => not(
            "Not proven",
            "No drill could be carried out since this service was started.",
        ),
        (None, None) if setting.drills => not(
            "Not proven yet",
            "No drill has ended since this service was started. VERIFY_SCHEDULE says when the next one is due.",
        ),
        (None, None) => not(
            "Not proven",
            "Nobody restores the backups to see whether they hold what was dumped. Set VERIFY_SCHEDULE and VERIFY_DATABASE_URL to have that done regularly.",
        ),
    }
}

fn restored(status: &Status, drill: &LastDrill, now: DateTime<Utc>) -> String {
    let ago = span(since(drill.finished_at, now));
    let newest = status.newest().map(|newest| newest.name.to_string());
    if newest.as_ref() == Some(&drill.name) {
        format!("A drill restored the newest backup {ago} ago and found in it what was dumped.")
    } else {
        format!(
            "A drill restored {} {ago} ago and found in it what was dumped. The newest backup was not tried.",
            drill.name
        )
    }
}
