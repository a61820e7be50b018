//! The content of an alert, for people and for programs (pure).

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::news::News;
use super::{Event, Subject};
use crate::board::health::{NewestBackup, Verdict, verdict};
use crate::board::{Failure, Status, anomaly};
use crate::fault::Kind;
use crate::format::text::{shortened, visible};
use crate::format::{age, serialize_utc, size};

/// An alert, as the JSON that is sent to a receiver of an unknown kind.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Alert {
    pub(super) event: Event,
    pub(super) status: Verdict,
    pub(super) text: String,
    pub(super) name: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) error: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) recovered_from: Vec<Event>,
    pub(super) anomalies: Vec<String>,
    pub(super) anomalies_left_out: usize,
    pub(super) newest_backup: Option<NewestBackup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) series: Option<String>,
    pub(super) bucket: String,
    pub(super) prefix: String,
    #[serde(serialize_with = "serialize_utc")]
    pub(super) at: DateTime<Utc>,
    pub(super) service: &'static str,
    pub(super) version: &'static str,
}

/// How many characters of an error, and of a hint, an alert repeats.
const MOST_OF_AN_ERROR: usize = 1000;

pub(super) fn compose(news: News, status: &Status, subject: &Subject, now: DateTime<Utc>) -> Alert {
    let newest = status.newest().map(|backup| NewestBackup::at(backup, now));
    let (mut name, mut kind, mut error, mut hint) = (None, None, None, None);
    let (mut anomalies, mut left_out) = (Vec::new(), 0);
    let mut explain = |failure: Option<&Failure>| {
        if let Some(failure) = failure {
            name = Some(failure.name.clone());
            error = Some(shortened(&visible(&failure.error), MOST_OF_AN_ERROR));
            hint = Some(shortened(&visible(&failure.hint), MOST_OF_AN_ERROR));
        }
    };
    match news.event {
        Event::Failing => {
            explain(status.failure.as_ref());
            kind = status.last_run.and_then(|run| run.kind);
        }
        Event::Unproven | Event::Undrilled | Event::Unprovable => {
            explain(status.drill_failure.as_ref());
            kind = status.last_drill.as_ref().and_then(|drill| drill.kind);
        }
        Event::Stale => {
            hint = Some("look for the last ERROR line in the log, and whether the service runs at all; make a backup at once (the command backup)".to_owned());
        }
        Event::Anomaly => {
            (anomalies, left_out) = anomaly::named(&status.anomalies);
            name = status.judged().map(|backup| backup.name.to_string());
            hint = Some(anomaly::hint(&status.anomalies).to_owned());
        }
        Event::Recovered => name = newest.as_ref().map(|newest| newest.name.clone()),
    }
    let known = |name: &Option<String>| name.clone().unwrap_or_else(|| "a backup".to_owned());
    let mut lines = Vec::new();
    lines.push(match news.event {
        Event::Failing => format!("Backup failed: {}", known(&name)),
        Event::Unproven => format!("Backup not proven: {} could not be restored", known(&name)),
        Event::Undrilled => format!(
            "Drills can't be carried out, {} in a row: nothing is known to be wrong with {}, and nothing proves it",
            status.untried,
            known(&name)
        ),
        Event::Unprovable => format!(
            "Drills can't prove {} where they take place: nothing is known to be wrong with it, and nothing proves it",
            known(&name)
        ),
        Event::Stale if newest.is_none() => "No backup: one was due, and there is none".to_owned(),
        Event::Stale => format!(
            "No new backup: the newest is older than BACKUP_MAX_AGE ({})",
            age(subject.max_age.as_secs())
        ),
        Event::Anomaly => format!("Backup out of the ordinary: {}", known(&name)),
        Event::Recovered => {
            let over: Vec<&str> = news
                .recovered_from
                .iter()
                .map(|event| event.as_str())
                .collect();
            format!("Recovered (was: {})", over.join(", "))
        }
    });
    let mut with = |what: &str, said: Option<&String>| {
        lines.extend(said.map(|said| format!("{what}: {said}")));
    };
    with("Error", error.as_ref());
    for anomaly in &anomalies {
        with("Change", Some(anomaly));
    }
    if left_out > 0 {
        with("Change", Some(&format!("and {left_out} more")));
    }
    if news.recovered_from.contains(&Event::Anomaly) {
        with("Mind", Some(&"the newest backup is like those before it; what was lost earlier did not come back by that".to_owned()));
    }
    with("To do", hint.as_ref());
    with(
        "Newest backup",
        Some(&newest.as_ref().map_or_else(
            || "none".to_owned(),
            |newest| {
                let old = newest
                    .age_seconds
                    .map_or_else(|| "of unknown age".to_owned(), |old| age(old) + " old");
                format!("{}, {old}, {}", newest.name, size(newest.size_bytes))
            },
        )),
    );
    with("Series", subject.series.as_ref());
    with(
        "Where",
        Some(&format!(
            "bucket {}, prefix {}",
            subject.bucket, subject.prefix
        )),
    );
    Alert {
        event: news.event,
        status: verdict(status, subject.max_age, now),
        text: lines
            .iter()
            .map(|line| visible(line))
            .collect::<Vec<_>>()
            .join("\n"),
        name,
        kind,
        error,
        hint,
        recovered_from: news.recovered_from,
        anomalies,
        anomalies_left_out: left_out,
        newest_backup: newest,
        series: subject.series.clone(),
        bucket: subject.bucket.clone(),
        prefix: subject.prefix.clone(),
        at: now,
        service: "postgres-s3-backups",
        version: env!("CARGO_PKG_VERSION"),
    }
}
