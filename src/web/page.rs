//! The page for people: one HTML text, a pure function of what is known and the time. It loads nothing and needs no script. A script
//! of its own adds the buttons that copy a command, keeps the page up to date, and says how old it is when that fails.

use std::time::Duration;

mod chart;
mod claims;
mod days;
mod drill;
mod facts;
mod headline;
mod list;
mod overview;
mod restore;
mod troubles;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::board::{Status, calendar, health};
use crate::catalog::Backup;
use crate::format::span;
use crate::format::text::visible;
use crate::schedule::Schedule;
use crate::web::page::headline::Headline;
use crate::web::shown::Shown;

pub use overview::overview;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How often, in seconds, the page is loaded again where no script does it. A person must be able to read it in between.
const AGAIN: u32 = 300;

/// How many days the calendar and the charts show.
const DAYS: u32 = 60;

/// What the page says besides the status; the same for the whole life of a process.
#[derive(Debug, Clone)]
pub struct Setting {
    /// `BACKUP_CRON_SCHEDULE` in `TZ`.
    pub schedule: Schedule,
    /// `BACKUP_MAX_AGE`
    pub max_age: Duration,
    /// `AWS_S3_BUCKET`
    pub bucket: String,
    /// What every name begins with.
    pub prefix: String,
    /// Whether `VERIFY_SCHEDULE` is set.
    pub drills: bool,
}

/// The page of one series.
#[must_use]
pub fn of(shown: &Shown, now: DateTime<Utc>, nonce: &str) -> String {
    shown
        .board
        .read(|status| html(status, &shown.setting, now, nonce))
}

/// What stands at the beginning of every page's head.
fn metadata() -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        meta name="robots" content="noindex";
    }
}

/// What makes a browser load a page again without a script.
fn reload() -> Markup {
    html! { meta http-equiv="refresh" content=(AGAIN); }
}

/// The whole page. The header of the answer has the same nonce, so that a browser accepts the style and the script.
#[must_use]
pub fn html(status: &Status, setting: &Setting, now: DateTime<Utc>, nonce: &str) -> String {
    let verdict = health::verdict(status, setting.max_age, now);
    let told = Headline::of(verdict, status, setting, now);
    let days = calendar::days(status, &setting.schedule, now, DAYS);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (metadata())
                title { (told.tone.mark()) " " (told.sentence) " · " (visible(&setting.prefix)) }
                link rel="icon" href="data:,";
                noscript { (reload()) }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the status" }
                header {
                    p.brand { "PostgreSQL backups" }
                    p.as-of id="as-of" { "As of " (time(now)) }
                    p.where { code { (visible(&setting.prefix)) "…" } " in " code { (visible(&setting.bucket)) } }
                }
                p.outdated id="outdated" role="status" {}
                main id="main" {
                    (told.section())
                    // Whoever comes because something is wrong wants the data back, and nothing else first.
                    @let urgent = told.tone == Tone::Bad;
                    @if urgent { (restore::section(status)) }
                    (facts::section(status, setting, now))
                    @if !urgent { (restore::section(status)) }
                    (days::section(&days, status, setting, now))
                    (chart::section(&days))
                    (drill::section(status, setting, now))
                    (list::section(status, now))
                }
                footer {
                    p {
                        a href="/" { "Load again" } " · " a href="/health" { "/health" } " · " a href="/metrics" { "/metrics" }
                        " · version " (env!("CARGO_PKG_VERSION"))
                    }
                    noscript { p { "This page is loaded again every " (span(Duration::from_secs(u64::from(AGAIN)))) "." } }
                    p {
                        "Times are in UTC"
                        @if !setting.schedule.zone().is_utc() {
                            "; days begin and end in " (setting.schedule.zone().name())
                        }
                        "."
                    }
                }
                p.hidden id="copied" role="status" aria-live="polite" {}
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The tone of a text. Each tone has a mark of its own, since many people can't tell colours apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Calm,
    Bad,
    Unsure,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Calm => "calm",
            Self::Bad => "bad",
            Self::Unsure => "unsure",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Calm => "…",
            Self::Bad => "✕",
            Self::Unsure => "?",
        }
    }
}

fn time(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.format("%Y-%m-%dT%H:%M:%SZ")) { (at.format("%Y-%m-%d %H:%M:%S UTC")) } }
}

/// `3 days old`
fn old(backup: &Backup, now: DateTime<Utc>) -> String {
    let age = backup.age(now);
    age.map_or_else(|| "of unknown age".to_owned(), |age| span(age) + " old")
}

fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    now.signed_duration_since(at).to_std().unwrap_or_default()
}

fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    since(now, at)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::backup::{Made, restore_command};
    use crate::board::DrillOutcome;
    use crate::board::Failure;
    use crate::board::RunOutcome;
    use crate::board::anomaly::Anomaly;
    use crate::board::health::Verdict;
    use crate::board::{LastDrill, LastRun};
    use crate::catalog::Prefix;
    use crate::fault::Kind;
    use crate::format::{count, grouped};
    use crate::schedule::zone::Zone;
    use crate::web::page::chart::bar;
    use crate::web::page::list::LISTED;
    use crate::web::page::troubles::ANOMALIES;
    use stream::pipeline::Timings;
    use stream::script::{Contents, TableName};

    fn now() -> DateTime<Utc> {
        "2026-01-26T04:00:00Z".parse().unwrap()
    }

    fn setting(prefix: &str) -> Setting {
        Setting {
            schedule: Schedule::parse("0 3 * * *", Zone::utc(), now()).unwrap(),
            max_age: Duration::from_secs(90_000),
            bucket: "vlvt-backups".to_owned(),
            prefix: prefix.to_owned(),
            drills: false,
        }
    }

    fn backup(prefix: &str, hours: i64) -> Backup {
        Backup {
            name: Prefix::new(None, prefix).name_at(now() - TimeDelta::hours(hours)),
            finished_at: now() - TimeDelta::hours(hours) + TimeDelta::seconds(40),
            aged_from: now() - TimeDelta::hours(hours) + TimeDelta::seconds(40),
            size_bytes: 12_400_000,
        }
    }

    fn listed(hours: &[i64]) -> Status {
        let mut status = Status {
            next_due_at: Some(now() + TimeDelta::hours(23)),
            first_due_at: Some(now() + TimeDelta::hours(23)),
            ..Status::default()
        };
        status.list(
            hours.iter().map(|hours| backup("b_", *hours)).collect(),
            now(),
        );
        status
    }

    fn failed(status: Status) -> Status {
        let mut status = status;
        status.ran(LastRun {
            outcome: RunOutcome::Failed,
            kind: Some(Kind::Auth),
            finished_at: now() - TimeDelta::minutes(50),
        });
        status
    }

    /// Every sentence of the first section but its headline.
    fn said(told: &Headline) -> Vec<String> {
        let claims = told.claims.iter().map(|claim| claim.reason.clone());
        let troubles = told.troubles.iter().map(|trouble| trouble.what.clone());
        claims.chain(troubles).chain(told.next.clone()).collect()
    }

    #[test]
    fn the_headline_is_the_verdict_in_plain_words() {
        let mut making = listed(&[1]);
        making.running = true;
        let mut first = listed(&[]);
        first.running = true;
        let mut due = listed(&[]);
        due.first_due_at = Some(now() - TimeDelta::hours(1));
        let mut unproven = listed(&[1]);
        unproven.drilled(LastDrill {
            name: "b_x".to_owned(),
            outcome: DrillOutcome::Failed,
            kind: Some(Kind::Damaged),
            finished_at: now(),
            duration_seconds: 3,
        });
        let mut untried = listed(&[1]);
        untried.drilled(LastDrill {
            name: "b_x".to_owned(),
            outcome: DrillOutcome::Unread,
            kind: Some(Kind::StoreDenied),
            finished_at: now(),
            duration_seconds: 3,
        });
        let mut made_before_listing = Status::default();
        made_before_listing.add(backup("b_", 1));
        for (status, tone, headline, note) in [
            (
                listed(&[1, 25]),
                Tone::Good,
                "The newest backup is fresh.",
                "The newest backup is 59 minutes old. It counts as fresh until it is 1 day 1 hour old (BACKUP_MAX_AGE).",
            ),
            (
                making,
                Tone::Good,
                "The newest backup is fresh, and the next one is being made.",
                "The newest backup is 59 minutes old.",
            ),
            (first, Tone::Calm, "The first backup is being made.", ""),
            (
                listed(&[]),
                Tone::Calm,
                "There is no backup yet, and none was due.",
                "The first one is due in 23 hours.",
            ),
            (
                listed(&[80]),
                Tone::Bad,
                "The newest backup is 3 days old.",
                "It may be 1 day 1 hour old at most (BACKUP_MAX_AGE).",
            ),
            (
                due,
                Tone::Bad,
                "There is no backup, though one was due.",
                "",
            ),
            (
                failed(listed(&[1])),
                Tone::Bad,
                "The last backup failed.",
                "The run that ended 50 minutes ago failed (auth).",
            ),
            (
                failed(listed(&[80])),
                Tone::Bad,
                "The newest backup is 3 days old.",
                "The run that ended 50 minutes ago failed (auth).",
            ),
            (
                unproven,
                Tone::Bad,
                "The last drill could not restore a backup.",
                "could not restore b_x (damaged).",
            ),
            (
                untried,
                Tone::Good,
                "The newest backup is fresh.",
                "could not be carried out, which says nothing of b_x (store_denied).",
            ),
            (
                listed(&[-2]),
                Tone::Unsure,
                "It is not known whether there is a fresh backup.",
                "ahead of this service\u{2019}s clock",
            ),
            (
                listed(&[-48]),
                Tone::Unsure,
                "It is not known whether there is a fresh backup.",
                "All that the bucket holds is dated ahead",
            ),
            (
                Status::default(),
                Tone::Unsure,
                "It is not known whether there is a fresh backup.",
                "The bucket has not been read yet",
            ),
            (
                made_before_listing,
                Tone::Good,
                "The newest backup is fresh.",
                "The bucket has not been read yet",
            ),
        ] {
            let setting = setting("b_");
            let verdict = health::verdict(&status, setting.max_age, now());
            let told = Headline::of(verdict, &status, &setting, now());
            assert_eq!((told.tone, told.sentence.as_str()), (tone, headline));
            let noted = said(&told).iter().any(|line| line.contains(note));
            assert!(noted, "{headline}: {:?}", said(&told));
            let html = html(&status, &setting, now(), "n");
            assert!(
                html.contains(&format!("<h1 id=\"headline\">{headline}</h1>")),
                "{html}"
            );
            // A good word and a bad mark, or the other way round, would be a lie.
            assert_eq!(
                verdict.is_healthy(),
                matches!(tone, Tone::Good | Tone::Calm)
            );
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_told_beside_the_headline() {
        let mut status = listed(&[1, 25]);
        let newest = status.backups[0].clone();
        status.last_made = Some(Made {
            backup: newest.clone(),
            contents: Contents::default(),
            timings: Timings::default(),
            parts: 1,
            took: Duration::from_secs(40),
        });
        let emptied = |before| Anomaly::Emptied {
            table: TableName::default(),
            before,
        };
        status.anomalies = (0..7).map(|before| emptied(before + 2)).collect();
        let troubles = troubles::of(Verdict::Ok, &status, &setting("b_"), now());
        let told = format!("{} is whole, but out of the ordinary: ", newest.name);
        let what = &troubles[0].what;
        assert!(what.starts_with(&told), "{what}");
        assert_eq!(what.matches("is empty, it had").count(), ANOMALIES);
        assert!(
            what.ends_with("; and 2 more, which the log names."),
            "{what}"
        );
        let hint = troubles[0].hint.as_ref().unwrap();
        assert!(hint.contains("restore an older one beside"), "{hint}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_error_and_with_what_to_do() {
        let failure = |error: &str, hint: &str| {
            Some(Failure {
                name: "b_x".to_owned(),
                error: error.to_owned(),
                hint: hint.to_owned(),
            })
        };
        let mut status = failed(listed(&[1]));
        status.failure = failure("the <server> refused\u{1b}", "set the password");
        status.drilled(LastDrill {
            name: status.backups[0].name.to_string(),
            outcome: DrillOutcome::Failed,
            kind: Some(Kind::Damaged),
            finished_at: now(),
            duration_seconds: 3,
        });
        status.drill_failure = failure("it is cut off", "restore an older one");
        status.unread = failure("the store was silent", "look at its status page");
        let page = html(&status, &setting("b_"), now(), "n");
        for told in [
            "</strong>the &lt;server&gt; refused\\u{1b}</p><p><strong>What to do: </strong>set the password</p>",
            "</strong>it is cut off</p><p><strong>What to do: </strong>restore an older one</p>",
            "</strong>the store was silent</p><p><strong>What to do: </strong>look at its status page</p>",
            "The last drill could not restore this one.",
        ] {
            assert!(page.contains(told), "{told}: {page}");
        }
        assert!(!page.contains("log says"), "{page}");
        // However long the words of a server are, the page stays readable.
        status.failure = failure(&"x".repeat(100_000), "");
        assert!(html(&status, &setting("b_"), now(), "n").len() < 100_000);
        // The bucket can be read again.
        status.list(Vec::new(), now());
        assert!(!html(&status, &setting("b_"), now(), "n").contains("silent"));
    }

    #[test]
    fn fresh_and_proven_are_two_claims() {
        let drill = |name: &str, outcome| LastDrill {
            name: name.to_owned(),
            outcome,
            kind: None,
            finished_at: now() - TimeDelta::hours(5),
            duration_seconds: 3,
        };
        let newest = listed(&[1]).backups[0].name.to_string();
        let (proven, unread, unprovable) = (
            DrillOutcome::Proven,
            DrillOutcome::Unread,
            DrillOutcome::Unprovable,
        );
        for (hours, drills, words, sentence) in [
            (
                1,
                vec![],
                ["Fresh", "Not proven"],
                "The newest backup is fresh.",
            ),
            (
                80,
                vec![],
                ["Not fresh", "Not proven"],
                "The newest backup is 3 days old.",
            ),
            (
                1,
                vec![drill(&newest, proven)],
                ["Fresh", "Proven"],
                "The newest backup is fresh and proven.",
            ),
            (
                80,
                vec![drill("b_x", proven)],
                ["Not fresh", "Proven"],
                "The newest backup is 3 days old.",
            ),
            (
                1,
                vec![drill("b_x", proven)],
                ["Fresh", "Proven"],
                "The newest backup is fresh.",
            ),
            (
                1,
                vec![drill("b_x", unread)],
                ["Fresh", "Not proven"],
                "The newest backup is fresh.",
            ),
            (
                1,
                vec![drill("b_x", proven), drill("b_y", unread)],
                ["Fresh", "Proven"],
                "The newest backup is fresh.",
            ),
            (
                1,
                vec![drill("b_x", unprovable)],
                ["Fresh", "Not proven"],
                "The newest backup is fresh, and the drills can\u{2019}t prove it.",
            ),
            (
                1,
                vec![drill("b_x", DrillOutcome::Failed), drill("b_y", unread)],
                ["Fresh", "Not proven"],
                "The last drill could not restore a backup.",
            ),
        ] {
            let mut status = listed(&[hours]);
            let setting = setting("b_");
            drills.into_iter().for_each(|drill| status.drilled(drill));
            let verdict = health::verdict(&status, setting.max_age, now());
            let told = Headline::of(verdict, &status, &setting, now());
            let shown: Vec<&str> = told.claims.iter().map(|claim| claim.word).collect();
            assert_eq!(
                (shown.as_slice(), told.sentence.as_str()),
                (&words[..], sentence)
            );
        }
        // Before there is one, nothing is claimed of it.
        let told = Headline::of(Verdict::Waiting, &listed(&[]), &setting("b_"), now());
        assert_eq!(told.claims.len(), 1);
    }

    #[test]
    fn a_page_without_a_backup_begins_with_how_to_make_the_first_one() {
        let mut due = listed(&[]);
        due.first_due_at = Some(now() - TimeDelta::hours(1));
        let mut making = listed(&[]);
        making.running = true;
        for (status, told) in [
            (listed(&[]), true),
            (due, true),
            (failed(listed(&[])), true),
            (making, false),
            (Status::default(), false),
            (listed(&[1]), false),
            (listed(&[-48]), false),
        ] {
            let html = html(&status, &setting("b_"), now(), "n");
            let begins = "</h1><p>To make the first one now, start this service again with <code>RUN_ON_STARTUP=true</code>";
            assert_eq!(html.contains(begins), told, "{html}");
        }
    }

    #[test]
    fn where_something_is_wrong_the_data_comes_first() {
        for (status, first) in [(listed(&[80]), "restore"), (listed(&[1]), "facts")] {
            let html = html(&status, &setting("b_"), now(), "n");
            let place = |id: &str| html.find(&format!("<h2 id=\"{id}\">")).unwrap();
            let second = if first == "restore" {
                "facts"
            } else {
                "restore"
            };
            assert!(place(first) < place(second) && place(second) < place("calendar"));
            assert!(html.find("<a class=\"jump\" href=\"#restore\">").unwrap() < place(first));
        }
    }

    #[test]
    fn what_was_not_read_is_not_said_to_be_empty() {
        let html = html(&Status::default(), &setting("b_"), now(), "n");
        for wrong in ["There are none", ">none<", "0 backups", "missing: "] {
            assert!(!html.contains(wrong), "{wrong}");
        }
        for right in ["None is known yet.", "not read yet", "not known yet"] {
            assert!(html.contains(right), "{right}");
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_text_and_never_markup() {
        let prefix = "</style><script>alert('1')</script>\"><img src=x>&_";
        let mut status = Status::default();
        status.list(vec![backup(prefix, 1)], now());
        let mut setting = setting(prefix);
        setting.bucket = "<b>".to_owned();
        let html = html(&status, &setting, now(), "n");
        for markup in ["<script>", "</style><script", "<img", "<b>"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert!(html.contains("&lt;script&gt;alert"));
        assert_eq!(html.matches("<script nonce=\"n\">").count(), 1);
        assert_eq!(html.matches("<style nonce=\"n\">").count(), 1);
        // No attribute that the policy would refuse, and nothing from another address.
        for refused in [" style=", " onclick=", " onload=", " src=\"", "http://"] {
            assert!(!html.contains(refused), "{refused}");
        }
    }

    #[test]
    fn every_character_of_a_name_can_be_seen() {
        let prefix = "\u{202e}\u{1b}\n\u{9b}";
        let mut status = listed(&[1]);
        // The restore commands alone hold names as they are, since they are to be copied.
        status.drilled(LastDrill {
            name: prefix.to_owned(),
            outcome: DrillOutcome::Failed,
            kind: Some(Kind::Damaged),
            finished_at: now(),
            duration_seconds: 3,
        });
        let html = html(&status, &setting(prefix), now(), "n");
        assert!(!html.contains(['\u{202e}', '\u{1b}', '\u{9b}']), "{html}");
        for shown in [
            r"<code>\u{202e}\u{1b}\n\u{9b}…</code>",
            r"could not restore \u{202e}\u{1b}\n\u{9b} (damaged)",
            r"<code>\u{202e}\u{1b}\n\u{9b}</code>, damaged",
        ] {
            assert!(html.contains(shown), "{shown}: {html}");
        }
    }

    #[test]
    fn each_restore_command_is_the_one_of_the_log() {
        let status = listed(&[1, 25]);
        let setting = setting("b_");
        let html = html(&status, &setting, now(), "n");
        for backup in &status.backups {
            let command = restore_command(&backup.name);
            assert!(html.contains(&format!(">{command}</code>")), "{command}");
        }
    }

    #[test]
    fn however_many_backups_there_are_the_page_stays_small() {
        let hours: Vec<i64> = (0..10_000).collect();
        let html = html(&listed(&hours), &setting("b_"), now(), "n");
        assert!(html.len() < 100_000, "{}", html.len());
        assert!(html.contains("The newest 60 of 10,000."));
        assert_eq!(html.matches("<li><p class=\"name\">").count(), LISTED);
        assert!(html.contains("10,000 backups"));
    }

    #[test]
    fn what_is_dated_ahead_is_shown_with_its_mark() {
        let hours: Vec<i64> = (2..20).map(|days| -24 * days).chain([1]).collect();
        let html = html(&listed(&hours), &setting("b_"), now(), "n");
        assert!(
            html.contains("<strong class=\"unsure\">18 objects dated ahead</strong>: "),
            "{html}"
        );
        assert!(html.contains("<code>b_2026-02-14_04-00-00.sql.gz</code>"));
        assert!(html.contains(" and more."));
        assert!(html.contains("The newest backup is fresh."));
    }

    #[test]
    fn a_missing_day_is_named_and_marked() {
        let html = html(&listed(&[1, 25, 73]), &setting("b_"), now(), "n");
        assert!(html.contains("1 missing</strong>: 2026-01-24."), "{html}");
        // Each month stands under its name, and each day with its numbers, to be read without a mouse.
        for month in ["December 2025", "January 2026"] {
            assert!(
                html.contains(&format!("<caption>{month}</caption>")),
                "{month}"
            );
        }
        assert!(
            html.contains(
                "<th scope=\"row\">2026-01-26</th><td>1</td><td>12.4 MB</td><td>40 seconds</td>"
            ),
            "{html}"
        );
        assert!(
            html.contains("<th scope=\"row\">2026-01-24</th><td colspan=\"3\">missing</td>"),
            "{html}"
        );
        assert!(
            html.contains("Last <strong>12.4 MB</strong>, least <strong>12.4 MB</strong>, most"),
            "{html}"
        );
        assert!(html.contains("<td class=\"missing\" title=\"2026-01-24: missing\">"));
        assert!(html.contains("<td class=\"covered today\" aria-current=\"date\" title=\"2026-01-26: 1 backup, 12.4 MB\">"));
    }

    #[test]
    fn spans_and_numbers_read_well() {
        for (seconds, words) in [
            (0, "less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (119, "1 minute 59 seconds"),
            (121, "2 minutes 1 second"),
            (239, "3 minutes"),
            (3659, "1 hour"),
            (7199, "1 hour 59 minutes"),
            (7200, "2 hours"),
            (90_000, "1 day 1 hour"),
            (172_799, "1 day 23 hours"),
            (172_800, "2 days"),
            (86_400 * 365, "365 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
        for (number, words) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), words);
        }
        assert_eq!(count(1, "day"), "1 day");
        assert_eq!(
            (bar(0, 0, 1000), bar(1, 2, 1000), bar(7, 7, 1000)),
            (8, 500, 1000)
        );
    }
}
