//! The alerts that are sent to people: one for each state while it lasts, and one when it ends.

mod form;
mod message;
mod news;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::schedule::Clock;
use crate::secret::renewable::Renewable;
use crate::watch::alert::form::{Form, body};
use crate::watch::alert::message::{Alert, compose};
use crate::watch::alert::news::{Told, next, wait};
use crate::watch::webhook::{self, Address, Body, Undelivered};

/// How often the time is checked: a backup can become too old while nothing else happens.
const TICK: Duration = Duration::from_secs(30);

/// How often an alert that did not arrive is sent again while what it tells lasts, and how long each further round waits.
const ROUNDS: u32 = 4;
const ROUND: Duration = Duration::from_secs(15 * 60);

/// The closed list of events that people are alerted of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run failed after its last attempt.
    Failing,
    /// The newest backup is too old, or there is none although one was due.
    Stale,
    /// A drill could not prove the newest backup.
    Unproven,
    /// Several successive drills could not be carried out. Nothing is known to be wrong with a backup.
    Undrilled,
    /// Backups can't be proven where the drills take place. Nothing is known to be wrong with a backup.
    Unprovable,
    /// A backup is out of the ordinary.
    Anomaly,
    /// A state that people were alerted of is over.
    Recovered,
}

impl Event {
    /// The name of the event, as in the JSON.
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

/// Which backups an alert is about: several services of an operator may send to the same channel.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The name of the series, if there are several.
    pub series: Option<String>,
    /// `AWS_S3_BUCKET`
    pub bucket: String,
    /// `BUCKET_SUBFOLDER` and `BACKUP_FILE_PREFIX`.
    pub prefix: String,
    /// `BACKUP_MAX_AGE`
    pub max_age: Duration,
}

/// The task that alerts people.
#[derive(Debug)]
pub struct Alerts {
    /// `ALERT_WEBHOOK_URL`
    pub address: Renewable<Option<Address>>,
    /// What the alerts are about.
    pub subject: Subject,
    /// The wall clock.
    pub clock: Clock,
}

impl Alerts {
    /// Sends an alert for each new event, until it is told to stop. What is new at that time is still sent, within `grace`.
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
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::json;

    use super::form::for_discord;
    use super::news::News;
    use super::*;
    use crate::board::anomaly::{self, Anomaly};
    use crate::board::anomaly::{Factor, Thresholds};
    use crate::board::{DrillOutcome, LastDrill, LastRun, RunOutcome};
    use crate::board::{Failure, Status};
    use crate::catalog::Backup;
    use crate::catalog::Prefix;
    use crate::fault::Kind;

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

    /// A backup with an unusual size, an unusual number of rows, or both.
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

    /// Everything that is sent at that time.
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
            // One drill that could not be carried out is not reported, but a second one in succession is.
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
            // A dump that ends inside a quote does so every day, even if its size is unusual on one day.
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
        // The state does not end when a run begins or fails.
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
            series: None,
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
            // Every line was written by this service.
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
