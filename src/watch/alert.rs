//! What is pushed to people: each state once while it lasts, and its end always.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::board::anomaly::{self, Anomaly};
use crate::board::health::{NewestBackup, Verdict, verdict};
use crate::board::{Board, Failure, Status};
use crate::catalog::{Backup, BackupName};
use crate::fault::Kind;
use crate::format::text::{shortened, visible};
use crate::format::{age, serialize_utc, size};
use crate::schedule::Clock;
use crate::secret::renewable::Renewable;
use crate::watch::webhook::{self, Address, Body, Undelivered};

/// How often it is looked whether time alone made something worth telling.
const TICK: Duration = Duration::from_secs(30);

/// An alert that did not arrive is sent again while what it tells lasts: so often, and after such a wait.
const ROUNDS: u32 = 4;
const ROUND: Duration = Duration::from_secs(15 * 60);

/// A bucket that is empty after the first due time is left to the run that is about to begin for so long.
const FIRST_RUN: TimeDelta = TimeDelta::minutes(5);

/// The closed set of what is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run failed after its last attempt.
    Failing,
    /// The newest backup is too old, or there is none though one was due.
    Stale,
    /// A drill could not prove the newest backup.
    Unproven,
    /// Drills could not be carried out, one after the other; nothing is known to be wrong with a backup.
    Undrilled,
    /// Backups can't be proven where the drills take place; nothing is known to be wrong with one.
    Unprovable,
    /// A backup is out of the ordinary.
    Anomaly,
    /// What was told before is over.
    Recovered,
}

impl Event {
    /// The name of it, as in the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Stale => "stale",
            Self::Unproven => "unproven",
            Self::Undrilled => "undrilled",
            Self::Unprovable => "unprovable",
            Self::Anomaly => "anomaly",
            Self::Recovered => "recovered",
        }
    }
}

/// What people were told and think to be so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    failing: bool,
    stale: bool,
    unproven: bool,
    undrilled: bool,
    unprovable: bool,
    odd: Option<Oddity>,
}

/// The backup that was out of the ordinary, and what of it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Oddity {
    name: Option<BackupName>,
    /// Whether its size was, and whether it fell.
    size: Option<bool>,
    ends_inside: bool,
}

/// What is to be told next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct News {
    event: Event,
    recovered_from: Vec<Event>,
}

/// The most pressing thing that is so and was not told, and what will have been told then.
fn next(
    told: &Told,
    status: &Status,
    max_age: Duration,
    now: DateTime<Utc>,
) -> Option<(News, Told)> {
    let (failing, unproven) = (status.is_failing(), status.is_unproven());
    let undrilled = status.is_undrilled();
    let unprovable = status.is_unprovable();
    let is_stale = verdict(status, max_age, now) == Verdict::Stale;
    let stale = is_stale
        && (status.newest().is_some()
            || status
                .first_due_at
                .is_some_and(|due| due <= now - FIRST_RUN));
    // Only a backup ends it, whose age is known: a run that begins, or fails, is none.
    let known = |newest: &Backup| newest.age(now).is_some();
    let fresh = status.newest().is_some_and(known) && !is_stale;

    let mut then = told.clone();
    let mut recovered_from = Vec::new();
    if told.failing && !failing {
        then.failing = false;
        recovered_from.push(Event::Failing);
    }
    if told.stale && fresh {
        then.stale = false;
        recovered_from.push(Event::Stale);
    }
    if told.unproven && !unproven {
        then.unproven = false;
        recovered_from.push(Event::Unproven);
    }
    // One that could be carried out is the end of it, whatever it found.
    if told.undrilled && status.untried == 0 {
        then.undrilled = false;
        recovered_from.push(Event::Undrilled);
    }
    if told.unprovable && !unprovable {
        then.unprovable = false;
        recovered_from.push(Event::Unprovable);
    }
    if told.odd.is_some() && status.anomalies.is_empty() {
        then.odd = None;
        recovered_from.push(Event::Anomaly);
    }
    let event = if !recovered_from.is_empty() {
        Event::Recovered
    } else if failing && !told.failing {
        then.failing = true;
        Event::Failing
    } else if stale && !told.stale {
        then.stale = true;
        Event::Stale
    } else if unproven && !told.unproven {
        then.unproven = true;
        Event::Unproven
    } else if undrilled && !told.undrilled {
        then.undrilled = true;
        Event::Undrilled
    } else if unprovable && !told.unprovable {
        then.unprovable = true;
        Event::Unprovable
    } else if is_odd_anew(told, status) {
        then.odd = Some(oddity(status));
        Event::Anomaly
    } else {
        return None;
    };
    Some((
        News {
            event,
            recovered_from,
        },
        then,
    ))
}

fn oddity(status: &Status) -> Oddity {
    let size = status
        .anomalies
        .iter()
        .find(|anomaly| matches!(anomaly, Anomaly::Size { .. }));
    Oddity {
        name: status.judged().map(|backup| backup.name.clone()),
        size: size.map(Anomaly::is_fall),
        ends_inside: status
            .anomalies
            .iter()
            .any(|anomaly| matches!(anomaly, Anomaly::EndsInside(_))),
    }
}

/// A size stays out of the ordinary for some days, and what a dump ends inside of until the database is changed; each is one
/// state. Rows are held against the run before, so in another backup they changed again.
fn is_odd_anew(told: &Told, status: &Status) -> bool {
    let rows_too = status
        .anomalies
        .iter()
        .any(|anomaly| !matches!(anomaly, Anomaly::Size { .. } | Anomaly::EndsInside(_)));
    let now = oddity(status);
    match &told.odd {
        _ if status.anomalies.is_empty() => false,
        None => true,
        Some(told) => {
            (rows_too && told.name != now.name)
                || (now.size.is_some() && told.size != now.size)
                || (now.ends_inside && !told.ends_inside)
        }
    }
}

/// How long time alone takes to make the newest backup too old, if that is sooner than the next look.
fn wait(status: &Status, max_age: Duration, now: DateTime<Utc>) -> Duration {
    let stale_in = status.newest().and_then(|newest| {
        newest.age(now)?;
        let due = newest
            .aged_from
            .checked_add_signed(TimeDelta::from_std(max_age).ok()?)?;
        (due - now + TimeDelta::milliseconds(1)).to_std().ok()
    });
    stale_in.map_or(TICK, |wait| wait.min(TICK))
}

/// An alert, as the JSON that is sent to a receiver of no known kind.
#[derive(Debug, Clone, Serialize)]
struct Alert {
    event: Event,
    status: Verdict,
    text: String,
    name: Option<String>,
    kind: Option<Kind>,
    error: Option<String>,
    hint: Option<String>,
    recovered_from: Vec<Event>,
    anomalies: Vec<String>,
    anomalies_left_out: usize,
    newest_backup: Option<NewestBackup>,
    bucket: String,
    prefix: String,
    #[serde(serialize_with = "serialize_utc")]
    at: DateTime<Utc>,
    service: &'static str,
    version: &'static str,
}

/// Whose backups they are: an operator may have several services that tell the same channel.
#[derive(Debug, Clone)]
pub struct Subject {
    /// `AWS_S3_BUCKET`
    pub bucket: String,
    /// `BUCKET_SUBFOLDER` and `BACKUP_FILE_PREFIX`.
    pub prefix: String,
    /// `BACKUP_MAX_AGE`
    pub max_age: Duration,
}

const MOST_OF_AN_ERROR: usize = 1000;

fn compose(news: News, status: &Status, subject: &Subject, now: DateTime<Utc>) -> Alert {
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
        bucket: subject.bucket.clone(),
        prefix: subject.prefix.clone(),
        at: now,
        service: "postgres-s3-backups",
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Slack,
    Discord,
}

impl Form {
    fn of(address: &Address) -> Self {
        let host = address.host();
        let is = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
        if is("hooks.slack.com") || is("hooks.slack-gov.com") {
            Self::Slack
        } else if (is("discord.com") || is("discordapp.com")) && address.path().starts_with("/api/")
        {
            // Discord takes Slack's form too, under an address of its own.
            if address.path().trim_end_matches('/').ends_with("/slack") {
                Self::Slack
            } else {
                Self::Discord
            }
        } else {
            Self::Json
        }
    }
}

/// The body in that form. No name of a table, and no server's words, can ring anybody's bell or look like a link.
fn body(alert: &Alert, form: Form) -> String {
    /// Slack asks for no more than 4,000.
    const MOST_FOR_SLACK: usize = 3000;
    match form {
        Form::Slack => {
            let text = shortened(&alert.text, MOST_FOR_SLACK);
            let text = unlinked(&text)
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            json!({"text": text, "mrkdwn": false, "unfurl_links": false}).to_string()
        }
        Form::Discord => {
            /// Links are shown without a preview.
            const SUPPRESS_EMBEDS: u32 = 4;
            json!({"content": for_discord(&alert.text), "allowed_mentions": {"parse": []}, "flags": SUPPRESS_EMBEDS}).to_string()
        }
        Form::Json => {
            // Mattermost and others like it read `text` as a message.
            let text = unlinked(&alert.text)
                .replace('<', "<\u{200b}")
                .replace("](", "]\u{200b}(");
            serde_json::to_string(&Alert {
                text,
                ..alert.clone()
            })
            .unwrap_or_default()
        }
    }
}

/// Text in which no receiver finds an address to make a link of, or a person to call: a blank without width breaks them.
fn unlinked(text: &str) -> String {
    text.replace('@', "@\u{200b}")
        .replace("://", ":\u{200b}//")
        .replace("www.", "www\u{200b}.")
        .replace("WWW.", "WWW\u{200b}.")
}

/// Text without markdown, cut to what Discord takes.
fn for_discord(text: &str) -> String {
    const MOST: usize = 2000;
    let mut written = String::new();
    let mut length: usize = 0;
    for c in text.chars() {
        let escaped = "\\*_~`|<>[]()#@:".contains(c);
        length = length
            .saturating_add(c.len_utf16())
            .saturating_add(usize::from(escaped));
        if length >= MOST {
            written.push('…');
            break;
        }
        if escaped {
            written.push('\\');
        }
        written.push(c);
    }
    written
}

/// The task that tells people.
#[derive(Debug)]
pub struct Alerts {
    /// `ALERT_WEBHOOK_URL`
    pub address: Renewable<Option<Address>>,
    /// What it is about.
    pub subject: Subject,
    /// The wall clock.
    pub clock: Clock,
}

impl Alerts {
    /// Tells what is new until it is told to stop; what is new then gets `grace` to be told.
    pub async fn follow(self, board: Board, stop: CancellationToken, grace: Duration) {
        let mut end = std::pin::pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
        });
        let mut changes = board.watch();
        let mut told = Told::default();
        let mut failed: u32 = 0;
        let mut not_before: Option<Instant> = None;
        loop {
            changes.mark_unchanged();
            let now = (self.clock)();
            let held = !stop.is_cancelled() && not_before.is_some_and(|at| Instant::now() < at);
            let due = board.read(|status| {
                let (news, then) = next(&told, status, self.subject.max_age, now)?;
                Some((compose(news, status, &self.subject, now), then))
            });
            if let Some((alert, then)) = due.filter(|_| !held) {
                let Some(address) = self.address.get() else {
                    return;
                };
                let body = Body::Json(body(&alert, Form::of(&address)));
                let sent = webhook::send(&address, &body, &webhook::WAITS, end.as_mut()).await;
                let error = match sent {
                    Ok(()) => {
                        tracing::info!(event = alert.event.as_str(), "alert sent");
                        (told, failed, not_before) = (then, 0, None);
                        continue;
                    }
                    Err(error @ Undelivered::Ended(_)) => {
                        self.tell_undelivered(&alert, &error, None);
                        return;
                    }
                    Err(error) => error,
                };
                failed = failed.saturating_add(1);
                let again = error.is_retryable() && failed < ROUNDS && !stop.is_cancelled();
                if failed == 1 || !again {
                    self.tell_undelivered(&alert, &error, again.then_some(ROUND));
                }
                if again {
                    not_before = Some(Instant::now() + ROUND);
                } else {
                    (told, failed, not_before) = (then, 0, None);
                }
                continue;
            }
            if stop.is_cancelled() {
                return;
            }
            let wait = board.read(|status| wait(status, self.subject.max_age, now));
            tokio::select! {
                () = stop.cancelled() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(if held { TICK } else { wait }) => {}
            }
        }
    }

    fn tell_undelivered(&self, alert: &Alert, error: &Undelivered, again: Option<Duration>) {
        let variable = "ALERT_WEBHOOK_URL";
        tracing::warn!(variable, event = alert.event.as_str(), kind = error.kind(), %error, hint = error.hint(variable), retry_in_seconds = again.map(|wait| wait.as_secs()), "alert not delivered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::anomaly::{Factor, Thresholds};
    use crate::board::{DrillOutcome, LastDrill, LastRun, RunOutcome};
    use crate::catalog::Prefix;

    const MAX_AGE: Duration = Duration::from_secs(25 * 3600);

    fn at(hours: i64) -> DateTime<Utc> {
        "2026-01-26T03:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
    }

    fn backup(hours: i64, size_bytes: u64) -> Backup {
        Backup {
            name: Prefix::new(None, "b_").name_at(at(hours)),
            finished_at: at(hours),
            aged_from: at(hours),
            size_bytes,
        }
    }

    fn failure() -> Option<Failure> {
        Some(Failure {
            name: "b_2026-01-27_03-00-00.sql.gz".to_owned(),
            error: "password authentication failed\nfor <!channel> @everyone [a](http://b) www.b.c"
                .to_owned(),
            hint: "set BACKUP_DATABASE_URL".to_owned(),
        })
    }

    fn ran(status: &mut Status, hours: i64, outcome: RunOutcome) {
        let failed = outcome == RunOutcome::Failed;
        status.last_run = Some(LastRun {
            outcome,
            kind: failed.then_some(Kind::Auth),
            finished_at: at(hours),
        });
        status.failure = failed.then(failure).flatten();
        if !failed {
            status.add(backup(hours, 1_000_000));
        }
    }

    fn drilled(status: &mut Status, outcome: DrillOutcome) {
        let failed = outcome == DrillOutcome::Failed;
        status.drilled(LastDrill {
            name: "b_2026-01-26_03-00-00.sql.gz".to_owned(),
            outcome,
            kind: failed.then_some(Kind::Unproven),
            finished_at: at(0),
            duration_seconds: 1,
        });
        status.drill_failure = failed.then(failure).flatten();
    }

    fn ends_inside(status: &mut Status, hours: i64) {
        odd(status, hours, None, false);
        let inside = stream::script::Inside::Quote;
        status.anomalies.push(Anomaly::EndsInside(inside));
    }

    /// A backup whose size is odd, or whose rows are, or both.
    fn odd(status: &mut Status, hours: i64, size: Option<u64>, rows: bool) {
        use stream::script::Script;
        let judged = backup(hours, size.unwrap_or(1000));
        let before: Vec<Backup> = (1..=3).map(|n| backup(hours - n, 1000)).collect();
        let contents = |text: &str| {
            let mut script = Script::default();
            script.read(text.as_bytes());
            script.contents()
        };
        let full = contents("COPY \"<!here> [a](http://b)\" (a) FROM stdin;\n1\n\\.\n");
        let now = if rows {
            contents("COPY \"<!here> [a](http://b)\" (a) FROM stdin;\n\\.\n")
        } else {
            full.clone()
        };
        let thresholds = Thresholds {
            below: Some(Factor::HALF),
            above: Some(Factor::THREE),
        };
        status.anomalies = anomaly::find(&judged, &before, &now, Some(&full), thresholds);
        status.add(judged.clone());
        status.last_made = Some(crate::backup::Made {
            backup: judged,
            contents: now,
            timings: stream::pipeline::Timings::default(),
            parts: 1,
            took: Duration::ZERO,
        });
    }

    /// Everything that is told at that time.
    fn tell(told: &mut Told, status: &Status, hours: i64) -> Vec<String> {
        let mut said = Vec::new();
        while let Some((news, then)) = next(told, status, MAX_AGE, at(hours)) {
            assert_ne!(*told, then, "{news:?} would be told for ever");
            let over = news.recovered_from.iter().map(|event| event.as_str());
            let over: Vec<&str> = over.collect();
            said.push([&[news.event.as_str()], &over[..]].concat().join(" "));
            *told = then;
        }
        said
    }

    #[test]
    fn each_state_is_told_once_and_its_end_always() {
        type Change = fn(&mut Status);
        let days: [(i64, Change, &[&str]); 37] = [
            (-1, |_| (), &[]),
            (0, |s| ran(s, 0, RunOutcome::Succeeded), &[]),
            (24, |s| ran(s, 24, RunOutcome::Failed), &["failing"]),
            // Another kind of failure, the same state.
            (25, |s| ran(s, 25, RunOutcome::Failed), &[]),
            (26, |_| (), &["stale"]),
            (30, |s| s.running = true, &[]),
            (48, |s| ran(s, 48, RunOutcome::Failed), &[]),
            (
                49,
                |s| ran(s, 49, RunOutcome::Succeeded),
                &["recovered failing stale"],
            ),
            (50, |s| ran(s, 50, RunOutcome::Failed), &["failing"]),
            (
                51,
                |s| ran(s, 51, RunOutcome::Skipped),
                &["recovered failing"],
            ),
            (52, |s| drilled(s, DrillOutcome::Failed), &["unproven"]),
            (53, |s| drilled(s, DrillOutcome::Failed), &[]),
            // One that could not be carried out is no news, and a second one in a row is.
            (53, |s| drilled(s, DrillOutcome::Unread), &[]),
            (53, |s| drilled(s, DrillOutcome::Unread), &["undrilled"]),
            (53, |s| drilled(s, DrillOutcome::Unread), &[]),
            (
                53,
                |s| drilled(s, DrillOutcome::Failed),
                &["recovered undrilled"],
            ),
            (53, |s| drilled(s, DrillOutcome::Unread), &[]),
            (
                54,
                |s| drilled(s, DrillOutcome::Proven),
                &["recovered unproven"],
            ),
            (
                54,
                |s| drilled(s, DrillOutcome::Unprovable),
                &["unprovable"],
            ),
            (54, |s| drilled(s, DrillOutcome::Unprovable), &[]),
            (54, |s| drilled(s, DrillOutcome::Unread), &[]),
            (
                54,
                |s| drilled(s, DrillOutcome::Proven),
                &["recovered unprovable"],
            ),
            (55, |s| odd(s, 55, Some(100), false), &["anomaly"]),
            // The same fall a day later, then a rise, then rows as well.
            (56, |s| odd(s, 56, Some(110), false), &[]),
            (57, |s| odd(s, 57, Some(9000), false), &["anomaly"]),
            (58, |s| odd(s, 58, Some(9000), true), &["anomaly"]),
            (59, |_| (), &[]),
            (60, |s| odd(s, 60, None, true), &["anomaly"]),
            (61, |s| odd(s, 61, None, false), &["recovered anomaly"]),
            // A dump that ends inside a quote does so every day, also when its size is odd one day.
            (61, |s| ends_inside(s, 61), &["anomaly"]),
            (61, |s| ends_inside(s, 61), &[]),
            (61, |s| odd(s, 61, None, false), &["recovered anomaly"]),
            (61, |s| odd(s, 61, Some(100), false), &["anomaly"]),
            (61, |s| ends_inside(s, 61), &["anomaly"]),
            (61, |s| odd(s, 61, None, false), &["recovered anomaly"]),
            (
                62,
                |s| {
                    ran(s, 62, RunOutcome::Failed);
                    drilled(s, DrillOutcome::Failed);
                },
                &["failing", "unproven"],
            ),
            (
                63,
                |s| {
                    ran(s, 63, RunOutcome::Succeeded);
                    odd(s, 63, Some(1), true);
                },
                &["recovered failing", "anomaly"],
            ),
        ];
        let (mut told, mut status) = (Told::default(), Status::default());
        for (hours, change, expected) in days {
            change(&mut status);
            assert_eq!(tell(&mut told, &status, hours), expected, "hour {hours}");
            assert_eq!(
                tell(&mut told, &status, hours),
                [""; 0],
                "hour {hours} again"
            );
        }
    }

    #[test]
    fn an_empty_bucket_is_stale_once_its_first_run_had_its_chance() {
        let mut told = Told::default();
        let mut status = Status {
            first_due_at: Some(at(0)),
            ..Status::default()
        };
        // Nothing is known of a bucket that was never read.
        assert_eq!(tell(&mut told, &status, 9), [""; 0]);
        status.listed_at = Some(at(0));
        assert_eq!(tell(&mut told, &status, -1), [""; 0]);
        assert_eq!(tell(&mut told, &status, 0), [""; 0]);
        status.running = true;
        assert_eq!(tell(&mut told, &status, 1), [""; 0]);
        status.running = false;
        assert_eq!(tell(&mut told, &status, 2), ["stale"]);
        // Neither a run that begins nor one that fails is the end of it.
        status.running = true;
        assert_eq!(tell(&mut told, &status, 3), [""; 0]);
        status.running = false;
        ran(&mut status, 4, RunOutcome::Failed);
        assert_eq!(tell(&mut told, &status, 4), ["failing"]);
        ran(&mut status, 5, RunOutcome::Succeeded);
        assert_eq!(tell(&mut told, &status, 5), ["recovered failing stale"]);
    }

    #[test]
    fn time_alone_wakes_it_when_the_newest_backup_becomes_too_old() {
        let mut status = Status::default();
        assert_eq!(wait(&status, MAX_AGE, at(0)), TICK);
        status.add(backup(0, 500));
        assert_eq!(wait(&status, MAX_AGE, at(0)), TICK);
        let soon = at(25) - TimeDelta::seconds(3);
        assert_eq!(wait(&status, MAX_AGE, soon), Duration::from_millis(3001));
        assert_eq!(wait(&status, MAX_AGE, at(26)), TICK);
    }

    fn alert(event: Event, status: &Status) -> Alert {
        let news = News {
            event,
            recovered_from: Vec::new(),
        };
        let subject = Subject {
            bucket: "vlvt-backups".to_owned(),
            prefix: "b_".to_owned(),
            max_age: MAX_AGE,
        };
        compose(news, status, &subject, at(26))
    }

    #[test]
    fn a_person_reads_what_is_wrong_and_what_to_do() {
        let mut status = Status::default();
        ran(&mut status, 0, RunOutcome::Succeeded);
        ran(&mut status, 24, RunOutcome::Failed);
        let told = alert(Event::Failing, &status);
        assert_eq!(
            told.text,
            "Backup failed: b_2026-01-27_03-00-00.sql.gz\n\
             Error: password authentication failed\\nfor <!channel> @everyone [a](http://b) www.b.c\n\
             To do: set BACKUP_DATABASE_URL\n\
             Newest backup: b_2026-01-26_03-00-00.sql.gz, 26 h old, 1.0 MB\n\
             Where: bucket vlvt-backups, prefix b_"
        );
        let json: serde_json::Value = serde_json::from_str(&body(&told, Form::Json)).unwrap();
        assert_eq!(
            (&json["event"], &json["kind"]),
            (&"failing".into(), &"auth".into())
        );
        assert_eq!(json["newest_backup"]["age_seconds"], 26 * 3600);
        assert_eq!(json["status"], "stale");
        let none = alert(Event::Stale, &Status::default()).text;
        assert!(
            none.contains("there is none") && none.contains("Newest backup: none"),
            "{none}"
        );
        assert!(
            alert(Event::Stale, &status)
                .text
                .contains("BACKUP_MAX_AGE (25 h)")
        );
    }

    #[test]
    fn the_receivers_host_decides_the_form() {
        for (url, form) in [
            ("https://hooks.slack.com/services/T/B/x", Form::Slack),
            ("https://HOOKS.slack.com/services/T/B/x", Form::Slack),
            ("https://discord.com/api/webhooks/1/x", Form::Discord),
            (
                "https://canary.discord.com/api/v10/webhooks/1/x?wait=true",
                Form::Discord,
            ),
            ("https://discordapp.com/api/webhooks/1/x", Form::Discord),
            ("https://discord.com/api/webhooks/1/x/slack", Form::Slack),
            ("https://nothooks.slack.com.example.com/x", Form::Json),
            ("https://evildiscord.com/api/webhooks/1/x", Form::Json),
            ("https://mattermost.example.com/hooks/x", Form::Json),
        ] {
            let address = Address::parse("ALERT_WEBHOOK_URL", url).unwrap();
            assert_eq!(Form::of(&address), form, "{url}");
        }
    }

    #[test]
    fn words_of_others_ring_no_bell_and_make_no_link() {
        let mut status = Status::default();
        odd(&mut status, 1, None, true);
        ran(&mut status, 2, RunOutcome::Failed);
        for event in [Event::Anomaly, Event::Failing] {
            let alert = alert(event, &status);
            let parsed =
                |form| -> serde_json::Value { serde_json::from_str(&body(&alert, form)).unwrap() };
            let slack = parsed(Form::Slack);
            let text = slack["text"].as_str().unwrap();
            assert!(
                text.contains("&lt;!") && !text.contains(['<', '>']),
                "{text}"
            );
            assert!(!text.contains("://") && !text.contains("@e"), "{text}");
            assert_eq!(slack["mrkdwn"], false);
            let discord = parsed(Form::Discord);
            assert_eq!(discord["allowed_mentions"], json!({"parse": []}));
            let content = discord["content"].as_str().unwrap();
            assert!(
                !content.contains("](")
                    && !content.contains(" @everyone")
                    && !content.contains("http://"),
                "{content}"
            );
            assert!(content.contains("\\<!"), "{content}");
            let text = parsed(Form::Json)["text"].as_str().unwrap().to_owned();
            assert!(
                !text.contains("<!") && !text.contains("@everyone"),
                "{text}"
            );
            assert!(
                !text.contains("://") && !text.contains("](") && !text.contains("www."),
                "{text}"
            );
            // Each line is one that was written here.
            assert_eq!(text.lines().count(), alert.text.lines().count());
            assert!(text.lines().all(|line| {
                [
                    "Backup ",
                    "Error: ",
                    "Change: ",
                    "To do: ",
                    "Newest backup: ",
                    "Where: ",
                ]
                .iter()
                .any(|start| line.starts_with(start))
            }));
        }
    }

    #[test]
    fn what_is_too_long_for_discord_is_cut_and_no_escape_in_two() {
        for text in [
            "*".repeat(5000),
            "x".repeat(5000),
            "😀".repeat(5000),
            "a*".repeat(3000),
        ] {
            let content = for_discord(&text);
            assert!(content.encode_utf16().count() <= 2000);
            assert!(content.ends_with('…') && !content.ends_with("\\…"));
        }
        assert_eq!(for_discord("plain"), "plain");
    }
}
