//! The verdict in plain words, and everything that a reader should know besides.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{Setting, Tone, old, since, until};
use crate::board::anomaly;
use crate::board::health::Verdict;
use crate::board::{DrillOutcome, Status};
use crate::fault::Kind;
use crate::format::text::visible;
use crate::format::{size, span};

/// How much that is out of the ordinary is named beside the headline.
pub(super) const ANOMALIES: usize = 5;

/// The verdict in plain words: one sentence, and what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) tone: Tone,
    pub(super) sentence: String,
    pub(super) notes: Vec<String>,
}

impl Headline {
    pub(super) fn of(
        verdict: Verdict,
        status: &Status,
        setting: &Setting,
        now: DateTime<Utc>,
    ) -> Self {
        let newest = status.newest();
        let (tone, sentence) = match verdict {
            Verdict::Ok => (Tone::Good, "The newest backup is safe.".to_owned()),
            Verdict::Running if newest.is_some() => (
                Tone::Good,
                "The newest backup is safe, and the next one is being made.".to_owned(),
            ),
            Verdict::Running => (Tone::Calm, "The first backup is being made.".to_owned()),
            Verdict::Waiting => (
                Tone::Calm,
                "There is no backup yet, and none was due.".to_owned(),
            ),
            Verdict::Stale => (
                Tone::Bad,
                newest.map_or_else(
                    || "There is no backup, though one was due.".to_owned(),
                    |newest| format!("The newest backup is {}.", old(newest, now)),
                ),
            ),
            Verdict::Failing => (Tone::Bad, "The last backup failed.".to_owned()),
            Verdict::Unproven => (
                Tone::Bad,
                "The last drill could not restore a backup.".to_owned(),
            ),
            Verdict::Unprovable => (
                Tone::Unsure,
                "The newest backup is fresh, and the drills can\u{2019}t prove it.".to_owned(),
            ),
            Verdict::Unknown => (
                Tone::Unsure,
                "It is not known whether the backups are safe.".to_owned(),
            ),
        };
        Self {
            tone,
            sentence,
            notes: notes(verdict, status, setting, now),
        }
    }

    pub(super) fn section(&self) -> Markup {
        html! {
            section.hero.(self.tone.class()) aria-labelledby="headline" {
                span.mark aria-hidden="true" { (self.tone.mark()) }
                div {
                    h1 id="headline" { (self.sentence) }
                    @for note in &self.notes { p { (visible(note)) } }
                }
            }
        }
    }
}

/// Everything that a reader should know besides the headline, the most pressing first.
pub(super) fn notes(
    verdict: Verdict,
    status: &Status,
    setting: &Setting,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let newest = status.newest();
    if verdict == Verdict::Stale && newest.is_some() {
        notes.push(format!(
            "A backup may be {} old at most (BACKUP_MAX_AGE).",
            span(setting.max_age)
        ));
    }
    if let Some(run) = status.last_run.filter(|_| status.is_failing()) {
        notes.push(format!(
            "The run that ended {} ago failed: {}. The line \u{201c}backup failed\u{201d} in the log says what to do.",
            span(since(run.finished_at, now)),
            run.kind.map_or("no kind", Kind::as_str),
        ));
    }
    if let Some(drill) = &status.last_drill {
        let found = match drill.outcome {
            DrillOutcome::Proven => None,
            DrillOutcome::Failed => Some("could not restore"),
            DrillOutcome::Unread => Some("could not be carried out, which says nothing of"),
            DrillOutcome::Unprovable => Some("took place where nothing can be said of"),
        };
        notes.extend(found.map(|found| {
            format!(
                "The drill that ended {} ago {found} {}: {}. The log says what to do.",
                span(since(drill.finished_at, now)),
                drill.name,
                drill.kind.map_or("no kind", Kind::as_str),
            )
        }));
    }
    if let Some(newest) = newest.filter(|newest| newest.age(now).is_none()) {
        notes.push(format!(
            "{} was stored at {}, ahead of this service\u{2019}s clock: one of the two clocks is wrong, so how old it is cannot be said.",
            newest.name,
            newest.finished_at.format("%Y-%m-%d %H:%M:%S UTC")
        ));
    }
    if newest.is_none() && !status.ahead.is_empty() {
        notes.push(
            "All that the bucket holds is dated ahead: the times in the names cannot be true."
                .to_owned(),
        );
    }
    if let (Some(judged), false) = (status.judged(), status.anomalies.is_empty()) {
        let (named, _) = anomaly::named(&status.anomalies);
        let told: Vec<String> = named.into_iter().take(ANOMALIES).collect();
        let more = status.anomalies.len() - told.len();
        notes.push(format!(
            "{} is whole, but out of the ordinary: {}{}.",
            judged.name,
            told.join("; "),
            if more > 0 {
                format!("; and {more} more, which the log names")
            } else {
                String::new()
            },
        ));
    }
    if status.listed_at.is_none() {
        notes.push("The bucket has not been read yet, so what it holds is not known. If this lasts, the log says why.".to_owned());
    }
    let age = newest.and_then(|newest| newest.age(now));
    if let (Some(newest), Some(age), true) = (newest, age, verdict != Verdict::Stale) {
        // The other sentences are about the newest backup, so that "it" is understood.
        let subject = if matches!(verdict, Verdict::Failing | Verdict::Unproven) {
            "The newest backup"
        } else {
            "It"
        };
        notes.push(format!(
            "{subject} came into the bucket {} ago and holds {}.",
            span(age),
            size(newest.size_bytes)
        ));
    }
    if status.running && verdict != Verdict::Running {
        notes.push("A backup is being made now.".to_owned());
    } else if let Some(due) = status.next_due_at.filter(|_| !status.running) {
        notes.push(format!("The next one is due in {}.", span(until(due, now))));
    }
    notes
}
