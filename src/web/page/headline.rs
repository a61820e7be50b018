//! The verdict in plain words, and everything that a reader should know besides.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::claims::{self, Claim};
use super::restore::command;
use super::troubles::{self, Trouble};
use super::{Setting, Tone, old, until};
use crate::board::health::Verdict;
use crate::board::{DrillOutcome, Status};
use crate::format::span;
use crate::format::text::visible;

/// The verdict in plain words: one sentence, and what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) tone: Tone,
    pub(super) sentence: String,
    pub(super) claims: Vec<Claim>,
    pub(super) troubles: Vec<Trouble>,
    /// What happens next.
    pub(super) next: Option<String>,
    /// Whether there is none, and a person may want to make the first one.
    is_first: bool,
    /// Whether there is one to be restored.
    has_backup: bool,
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
            Verdict::Ok if newest_is_proven(status) => {
                (Tone::Good, "The newest backup is fresh and proven.")
            }
            Verdict::Ok => (Tone::Good, "The newest backup is fresh."),
            Verdict::Running if newest.is_some() => (
                Tone::Good,
                "The newest backup is fresh, and the next one is being made.",
            ),
            Verdict::Running => (Tone::Calm, "The first backup is being made."),
            Verdict::Waiting => (Tone::Calm, "There is no backup yet, and none was due."),
            Verdict::Stale if newest.is_none() => {
                (Tone::Bad, "There is no backup, though one was due.")
            }
            Verdict::Stale => (Tone::Bad, "The newest backup is too old."),
            Verdict::Failing => (Tone::Bad, "The last backup failed."),
            Verdict::Unproven => (Tone::Bad, "The last drill could not restore a backup."),
            Verdict::Unprovable => (
                Tone::Unsure,
                "The newest backup is fresh, and the drills can\u{2019}t prove it.",
            ),
            Verdict::Unknown => (
                Tone::Unsure,
                "It is not known whether there is a fresh backup.",
            ),
        };
        let sentence = match newest {
            Some(newest) if verdict == Verdict::Stale => {
                format!("The newest backup is {}.", old(newest, now))
            }
            _ => sentence.to_owned(),
        };
        let next = if status.running {
            (verdict != Verdict::Running).then(|| "A backup is being made now.".to_owned())
        } else {
            let due = status.next_due_at;
            due.map(|due| {
                let which = if newest.is_some() { "next" } else { "first" };
                format!("The {which} one is due in {}.", span(until(due, now)))
            })
        };
        Self {
            tone,
            sentence,
            claims: claims::of(status, setting, now),
            troubles: troubles::of(verdict, status, setting, now),
            next,
            is_first: newest.is_none()
                && status.ahead.is_empty()
                && status.listed_at.is_some()
                && !status.running,
            has_backup: newest.is_some(),
        }
    }

    pub(super) fn section(&self) -> Markup {
        html! {
            section.hero.(self.tone.class()) aria-labelledby="headline" {
                span.mark aria-hidden="true" { (self.tone.mark()) }
                div {
                    h1 id="headline" { (self.sentence) }
                    @if self.is_first { (first()) }
                    ul.claims {
                        @for claim in &self.claims {
                            li {
                                strong.(claim.tone.class()) { span aria-hidden="true" { (claim.tone.mark()) } " " (claim.word) }
                                " " span { (visible(&claim.reason)) }
                            }
                        }
                    }
                    @if self.has_backup { p { a.jump href="#restore" { "Get the data back" } } }
                    @for trouble in &self.troubles { (trouble.section()) }
                    @if let Some(next) = &self.next { p { (next) } }
                }
            }
        }
    }
}

/// How to make the first backup without waiting for it to be due.
fn first() -> Markup {
    html! {
        p {
            "To make the first one now, start this service again with " code { "RUN_ON_STARTUP=true" }
            ". Or run this with its variables; this page shows what it made within the hour:"
        }
        (command("first-by-command", "postgres-s3-backups backup", "Copy the command that makes a backup"))
        p { code { "postgres-s3-backups check" } " finds out beforehand whether backups can be made." }
    }
}

fn newest_is_proven(status: &Status) -> bool {
    let newest = status.newest().map(|newest| newest.name.to_string());
    status.last_drill.as_ref().is_some_and(|drill| {
        drill.outcome == DrillOutcome::Proven && newest.as_ref() == Some(&drill.name)
    })
}
