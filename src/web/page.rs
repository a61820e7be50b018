//! The page for people: one HTML text, a pure function of what is known and the time. It loads nothing and needs no
//! script; a script of its own only adds the buttons that copy a command.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::backup::restore_command;
use crate::board::anomaly;
use crate::board::calendar::{self, Day, DayKind};
use crate::board::health::{self, Verdict};
use crate::board::{DrillOutcome, Status};
use crate::catalog::{Backup, BackupName};
use crate::fault::Kind;
use crate::format;
use crate::format::text::visible;
use crate::format::{count, grouped, quoted, size, span};
use crate::schedule::Schedule;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How many days the calendar and the charts show.
const DAYS: u32 = 60;

/// How many backups are listed, so that the page stays small however many there are.
const LISTED: usize = 60;

/// How many of them are seen at once.
const SEEN: usize = 10;

/// How much that is out of the ordinary is named beside the headline.
const ANOMALIES: usize = 5;

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
    /// `--endpoint-url …` for the restore command; empty for AWS itself.
    pub endpoint_option: String,
    /// Whether `VERIFY_SCHEDULE` is set.
    pub drills: bool,
}

impl Setting {
    fn restore(&self, name: &BackupName) -> String {
        restore_command(&self.bucket, name, &self.endpoint_option)
    }
}

/// The whole page. The nonce is what the header of the answer names, so that a browser takes the style and the script.
#[must_use]
pub fn html(status: &Status, setting: &Setting, now: DateTime<Utc>, nonce: &str) -> String {
    let verdict = health::verdict(status, setting.max_age, now);
    let told = Told::of(verdict, status, setting, now);
    let days = calendar::days(status, &setting.schedule, now, DAYS);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (told.tone.mark()) " " (told.headline) " · " (visible(&setting.prefix)) }
                link rel="icon" href="data:,";
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the status" }
                header {
                    p.brand { "PostgreSQL backups" }
                    p.where { code { (visible(&setting.prefix)) "…" } " in " code { (visible(&setting.bucket)) } }
                }
                main id="main" {
                    (hero(&told))
                    (facts(status, setting, now))
                    (calendar(&days, status, setting, now))
                    (charts(&days))
                    (drill(status, setting, now))
                    (restore(status, setting))
                    (list(status, setting, now))
                }
                footer {
                    p {
                        "As of " (time(now)) ". " a href="/" { "Load again" } " · "
                        a href="/health" { "/health" } " · " a href="/metrics" { "/metrics" }
                        " · version " (env!("CARGO_PKG_VERSION"))
                    }
                    p {
                        "Times are in UTC"
                        @if setting.schedule.zone() != chrono_tz::UTC {
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

/// How a text is meant; each has a mark of its own, since a colour alone says nothing to many.
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

/// The verdict in plain words: one sentence, and what belongs to it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    tone: Tone,
    headline: String,
    notes: Vec<String>,
}

impl Told {
    fn of(verdict: Verdict, status: &Status, setting: &Setting, now: DateTime<Utc>) -> Self {
        let newest = status.newest();
        let (tone, headline) = match verdict {
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
            headline,
            notes: notes(verdict, status, setting, now),
        }
    }
}

/// Everything that a reader should know besides the headline, the most pressing first.
fn notes(verdict: Verdict, status: &Status, setting: &Setting, now: DateTime<Utc>) -> Vec<String> {
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
        notes.push(format!(
            "It came into the bucket {} ago and holds {}.",
            span(age),
            size(newest.size_bytes)
        ));
        if matches!(verdict, Verdict::Failing | Verdict::Unproven) {
            let last = notes.pop().unwrap_or_default();
            notes.push(last.replacen("It came", "The newest backup came", 1));
        }
    }
    if status.running && verdict != Verdict::Running {
        notes.push("A backup is being made now.".to_owned());
    } else if let Some(due) = status.next_due_at.filter(|_| !status.running) {
        notes.push(format!("The next one is due in {}.", span(until(due, now))));
    }
    notes
}

fn hero(told: &Told) -> Markup {
    html! {
        section.hero.(told.tone.class()) aria-labelledby="headline" {
            span.mark aria-hidden="true" { (told.tone.mark()) }
            div {
                h1 id="headline" { (told.headline) }
                @for note in &told.notes { p { (visible(note)) } }
            }
        }
    }
}

fn facts(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
    let newest = status.newest();
    let older = status.backups.get(1);
    let zone = setting.schedule.zone();
    html! {
        section aria-labelledby="facts" {
            h2 id="facts" { "At a glance" }
            dl.facts {
                div {
                    dt { "Newest backup" }
                    @match newest {
                        Some(newest) => {
                            dd.large { (old(newest, now)) }
                            dd { (time(newest.finished_at)) }
                        }
                        None => dd.large { (none(status)) }
                    }
                }
                div {
                    dt { "Its size" }
                    @match newest {
                        Some(newest) => {
                            dd.large { (size(newest.size_bytes)) }
                            dd { (change(newest, older)) }
                        }
                        None => dd.large { "–" }
                    }
                }
                div {
                    dt { "Next due" }
                    @match status.next_due_at {
                        Some(due) => {
                            dd.large { @if due > now { "in " (span(until(due, now))) } @else { "now" } }
                            dd {
                                (time(due))
                                @if zone != chrono_tz::UTC {
                                    br; (due.with_timezone(&zone).format("%H:%M")) " " (zone.name())
                                }
                            }
                        }
                        None => dd.large { "not known yet" }
                    }
                }
                div {
                    dt { "In the bucket" }
                    @if let Some(listed_at) = status.listed_at {
                        dd.large { (count(status.backups.len(), "backup")) }
                        dd {
                            (size(status.backups.iter().fold(0, |sum: u64, backup| sum.saturating_add(backup.size_bytes))))
                            ", read " (span(since(listed_at, now))) " ago"
                        }
                    } @else {
                        dd.large { "not read yet" }
                    }
                }
                @if let Some(made) = &status.last_made {
                    div {
                        dt { "Last made here" }
                        dd.large { (grouped(made.contents.rows)) " rows" }
                        dd {
                            (count(made.contents.tables.len(), "table")) ", " (size(made.contents.bytes))
                            " before compression, in " (span(made.took))
                        }
                    }
                }
                div {
                    dt { "Schedule" }
                    dd.large { code { (setting.schedule.expression()) } }
                    dd { (zone.name()) ", fresh for " (span(setting.max_age)) }
                }
            }
        }
    }
}

/// What to say where a backup would stand.
const fn none(status: &Status) -> &'static str {
    if status.listed_at.is_some() {
        "none"
    } else {
        "not known yet"
    }
}

/// How the size compares with the one before.
fn change(backup: &Backup, older: Option<&Backup>) -> String {
    let Some(older) = older else {
        return "the only one".to_owned();
    };
    format::change_percent(older.size_bytes, backup.size_bytes).map_or_else(
        || "the one before held nothing".to_owned(),
        |percent| format!("{percent:+.1} % against the one before"),
    )
}

fn calendar(days: &[Day], status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
    let missing = days.iter().filter(|day| day.kind == DayKind::Missing);
    let missing: Vec<NaiveDate> = missing.map(|day| day.date).collect();
    let covered = days.iter().filter(|day| day.kind == DayKind::Covered);
    let today = now.with_timezone(&setting.schedule.zone()).date_naive();
    let lead = days
        .first()
        .map_or(0, |day| day.date.weekday().num_days_from_monday());
    let blanks = usize::try_from(lead).unwrap_or(0);
    let cells: Vec<Option<&Day>> = std::iter::repeat_n(None, blanks)
        .chain(days.iter().map(Some))
        .collect();
    html! {
        section aria-labelledby="calendar" {
            h2 id="calendar" { "The last " (DAYS) " days" }
            p {
                @if status.listed_at.is_none() {
                    "The bucket has not been read yet."
                } @else if missing.is_empty() {
                    (count(covered.count(), "day")) " with a backup, none missing."
                } @else {
                    (count(covered.count(), "day")) " with a backup, "
                    strong.bad { (missing.len()) " missing" } ": "
                    @for (index, date) in missing.iter().rev().take(10).enumerate() {
                        @if index > 0 { ", " }
                        (date)
                    }
                    @if missing.len() > 10 { " and earlier ones" }
                    "."
                }
            }
            div.scroll {
                table.calendar {
                    caption.hidden { "Each day with what there is of it" }
                    thead {
                        tr { @for name in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] { th scope="col" { (name) } } }
                    }
                    tbody {
                        @for week in cells.chunks(7) {
                            tr {
                                @for cell in week {
                                    @match cell { Some(day) => (day_cell(day, today)), None => td {} }
                                }
                            }
                        }
                    }
                }
            }
            ul.legend {
                @for kind in [DayKind::Covered, DayKind::Missing, DayKind::Making, DayKind::Ahead, DayKind::NotDue, DayKind::Before] {
                    li { span.key.(day_class(kind)) aria-hidden="true" { (day_mark(kind)) } " " (day_words(kind)) }
                }
            }
        }
    }
}

fn day_cell(day: &Day, today: NaiveDate) -> Markup {
    let words = if day.kind == DayKind::Covered {
        format!("{}, {}", count(day.backups, "backup"), size(day.size_bytes))
    } else {
        day_words(day.kind).to_owned()
    };
    let is_today = day.date == today;
    html! {
        td.(day_class(day.kind)).today[is_today] aria-current=[is_today.then_some("date")] title={ (day.date) ": " (words) } {
            time datetime=(day.date) {
                @if day.date.day() == 1 { (day.date.format("%b")) } @else { (day.date.day()) }
            }
            span aria-hidden="true" { (day_mark(day.kind)) }
            span.hidden { (words) @if is_today { ", today" } }
        }
    }
}

const fn day_class(kind: DayKind) -> &'static str {
    match kind {
        DayKind::Covered => "covered",
        DayKind::Missing => "missing",
        DayKind::Making => "making",
        DayKind::Ahead => "ahead",
        DayKind::NotDue => "notdue",
        DayKind::Before => "before",
    }
}

const fn day_mark(kind: DayKind) -> &'static str {
    match kind {
        DayKind::Covered => "✓",
        DayKind::Missing => "✕",
        DayKind::Making => "…",
        DayKind::Ahead => "○",
        DayKind::NotDue => "–",
        DayKind::Before => "·",
    }
}

const fn day_words(kind: DayKind) -> &'static str {
    match kind {
        DayKind::Covered => "backup",
        DayKind::Missing => "missing",
        DayKind::Making => "being made",
        DayKind::Ahead => "due later today",
        DayKind::NotDue => "none due",
        DayKind::Before => "nothing known",
    }
}

fn charts(days: &[Day]) -> Markup {
    let sizes: Vec<(NaiveDate, Option<u64>)> = days
        .iter()
        .map(|day| {
            (
                day.date,
                (day.kind == DayKind::Covered).then_some(day.size_bytes),
            )
        })
        .collect();
    let delays: Vec<(NaiveDate, Option<u64>)> = days
        .iter()
        .map(|day| (day.date, day.delay.map(|delay| delay.as_secs())))
        .collect();
    html! {
        section.charts aria-labelledby="charts" {
            h2 id="charts" { "Over time" }
            (chart("size", "Size", "the newest backup of each day", &sizes, size))
            (chart("duration", "Duration", "from the time it was due, or begun by hand, until it was in the bucket; the longest of each day", &delays, |seconds| span(Duration::from_secs(seconds))))
        }
    }
}

/// Bars from 0, one a day: a day without one is a gap.
fn chart(
    id: &str,
    title: &str,
    what: &str,
    values: &[(NaiveDate, Option<u64>)],
    words: impl Fn(u64) -> String,
) -> Markup {
    /// The unit of the drawing: its width is 10 for each day, and its height this.
    const HEIGHT: u64 = 1000;
    let known: Vec<(NaiveDate, u64)> = values
        .iter()
        .filter_map(|(date, value)| Some((*date, (*value)?)))
        .collect();
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return html! {};
    };
    let most = known.iter().map(|(_, value)| *value).max();
    html! {
        figure {
            figcaption { strong { (title) } ": " (what) }
            @if let (Some(most), Some(newest)) = (most, known.last()) {
                @let least = known.iter().map(|(_, value)| *value).min().unwrap_or(0);
                p.scale { (words(most)) }
                svg role="img" aria-labelledby={ (id) "-title " (id) "-desc" } viewBox={ "0 0 " (values.len() * 10) " " (HEIGHT) } preserveAspectRatio="none" {
                    title id={ (id) "-title" } { (title) " of the backups of the last " (values.len()) " days" }
                    desc id={ (id) "-desc" } {
                        "Last " (words(newest.1)) " on " (newest.0) "; least " (words(least)) ", most " (words(most)) "."
                    }
                    @for (index, (date, value)) in values.iter().enumerate() {
                        @if let Some(value) = value {
                            @let height = bar(*value, most, HEIGHT);
                            rect x=(index * 10 + 1) y=(HEIGHT - height) width="8" height=(height) { title { (date) ": " (words(*value)) } }
                        }
                    }
                }
                p.dates { span { (first.0) } span { (last.0) } }
            } @else {
                p.empty { "Nothing to show yet." }
            }
        }
    }
}

/// The height of a bar; one that is there can be seen.
fn bar(value: u64, most: u64, height: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(height) / u128::from(most.max(1));
    u64::try_from(scaled).unwrap_or(height).clamp(8, height)
}

fn drill(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
    html! {
        section aria-labelledby="drill" {
            h2 id="drill" { "The last drill" }
            @match &status.last_drill {
                Some(drill) => {
                    @let (tone, found) = match drill.outcome {
                        DrillOutcome::Proven => (Tone::Good, "Restored and counted."),
                        DrillOutcome::Failed => (Tone::Bad, "Could not be restored."),
                        DrillOutcome::Unread => (Tone::Unsure, "The drill could not be carried out."),
                        DrillOutcome::Unprovable => (Tone::Unsure, "It can\u{2019}t be proven where the drills take place."),
                    };
                    p {
                        strong.(tone.class()) {
                            span aria-hidden="true" { (tone.mark()) } " " (found)
                        }
                        " " code { (visible(&drill.name)) }
                        @if let Some(kind) = drill.kind { ", " (kind.as_str()) }
                    }
                    p {
                        (span(since(drill.finished_at, now))) " ago, " (time(drill.finished_at))
                        ", in " (span(Duration::from_secs(drill.duration_seconds))) "."
                    }
                }
                None if setting.drills => p { "None since this service was started." }
                None => p {
                    "No backup is proven by restoring it. Set " code { "VERIFY_SCHEDULE" } " and "
                    code { "VERIFY_DATABASE_URL" } " to have that done."
                }
            }
        }
    }
}

fn restore(status: &Status, setting: &Setting) -> Markup {
    html! {
        section aria-labelledby="restore" {
            h2 id="restore" { "Get the data back" }
            @match status.newest() {
                Some(newest) => {
                    p { "The newest backup, into a new and empty database whose URL is in " code { "DATABASE_URL" } ". This service\u{2019}s own command makes a new database beside that one." }
                    h3 { "With the AWS CLI, gunzip and psql" }
                    (command("restore-by-hand", &setting.restore(&newest.name), "Copy the restore command"))
                    h3 { "With this service\u{2019}s image and variables" }
                    (command(
                        "restore-by-command",
                        &format!("RESTORE_DATABASE_URL=\"$DATABASE_URL\" postgres-s3-backups restore {} --create", quoted(&newest.name.to_string())),
                        "Copy the command of this service",
                    ))
                }
                None => p { "There is no backup to restore" @if status.listed_at.is_none() { " that is known yet" } "." }
            }
        }
    }
}

/// A command to be selected, and where scripts run, copied. The script shows the button, and changes its words.
fn command(id: &str, text: &str, label: &str) -> Markup {
    html! {
        div.command {
            pre tabindex="0" { code id=(id) { (text) } }
            button type="button" data-copy=(id) aria-label=(label) hidden { "Copy" }
        }
    }
}

fn list(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
    let total = status.backups.len();
    html! {
        section aria-labelledby="list" {
            h2 id="list" { "Backups" }
            (ahead(status))
            @if status.backups.is_empty() {
                p { @if status.listed_at.is_some() { "There are none." } @else { "None is known yet." } }
            } @else {
                p {
                    @if total > LISTED { "The newest " (LISTED) " of " (grouped(u64::try_from(total).unwrap_or(u64::MAX))) ". " }
                    "The command of each restores it into the empty database in " code { "DATABASE_URL" } "."
                }
                ol.list { @for index in 0..total.min(SEEN) { (entry(index, status, setting, now)) } }
                @if total > SEEN {
                    details.more {
                        summary { (count(total.min(LISTED) - SEEN, "older one")) }
                        ol.list { @for index in SEEN..total.min(LISTED) { (entry(index, status, setting, now)) } }
                    }
                }
            }
        }
    }
}

/// What is in the bucket and counts for nothing.
fn ahead(status: &Status) -> Markup {
    html! {
        @if !status.ahead.is_empty() {
            p {
                strong.unsure { (count(status.ahead.len(), "object")) " dated ahead" }
                ": the time in the name cannot be true, so that it is never taken for the newest. "
                "Look into it by its full name, then delete it or give it its real time: "
                @for (index, backup) in status.ahead.iter().take(SEEN).enumerate() {
                    @if index > 0 { ", " }
                    code { (backup.name) }
                }
                @if status.ahead.len() > SEEN { " and more" }
                "."
            }
        }
    }
}

fn entry(index: usize, status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
    let Some(backup) = status.backups.get(index) else {
        return html! {};
    };
    let older = status.backups.get(index + 1);
    let name = backup.name.to_string();
    let name = visible(&name);
    let id = format!("backup-{index}");
    html! {
        li {
            p.name { code { (name) } }
            p.about {
                (old(backup, now)) ", " (size(backup.size_bytes))
                @if older.is_some() { " (" (change(backup, older)) ")" }
            }
            button type="button" data-copy=(id) aria-label={ "Copy the restore command of " (name) } hidden { "Copy" }
            details {
                summary { "Restore command" span.hidden { " of " (name) } }
                pre tabindex="0" { code id=(id) { (setting.restore(&backup.name)) } }
            }
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
    use crate::backup::Made;
    use crate::board::RunOutcome;
    use crate::board::anomaly::Anomaly;
    use crate::board::{LastDrill, LastRun};
    use crate::catalog::Prefix;
    use stream::pipeline::Timings;
    use stream::script::{Contents, TableName};

    fn now() -> DateTime<Utc> {
        "2026-01-26T04:00:00Z".parse().unwrap()
    }

    fn setting(prefix: &str) -> Setting {
        Setting {
            schedule: Schedule::parse("0 3 * * *", chrono_tz::UTC, now()).unwrap(),
            max_age: Duration::from_secs(90_000),
            bucket: "vlvt-backups".to_owned(),
            prefix: prefix.to_owned(),
            endpoint_option: " --endpoint-url https://store.example".to_owned(),
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
                "The newest backup is safe.",
                "It came into the bucket 59 minutes ago and holds 12.4 MB.",
            ),
            (
                making,
                Tone::Good,
                "The newest backup is safe, and the next one is being made.",
                "It came into the bucket",
            ),
            (first, Tone::Calm, "The first backup is being made.", ""),
            (
                listed(&[]),
                Tone::Calm,
                "There is no backup yet, and none was due.",
                "The next one is due in 23 hours.",
            ),
            (
                listed(&[80]),
                Tone::Bad,
                "The newest backup is 3 days old.",
                "A backup may be 25 hours old at most (BACKUP_MAX_AGE).",
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
                "The run that ended 50 minutes ago failed: auth.",
            ),
            (
                failed(listed(&[80])),
                Tone::Bad,
                "The newest backup is 3 days old.",
                "The run that ended 50 minutes ago failed: auth.",
            ),
            (
                unproven,
                Tone::Bad,
                "The last drill could not restore a backup.",
                "could not restore b_x: damaged.",
            ),
            (
                untried,
                Tone::Good,
                "The newest backup is safe.",
                "could not be carried out, which says nothing of b_x: store_denied.",
            ),
            (
                listed(&[-2]),
                Tone::Unsure,
                "It is not known whether the backups are safe.",
                "ahead of this service\u{2019}s clock",
            ),
            (
                listed(&[-48]),
                Tone::Unsure,
                "It is not known whether the backups are safe.",
                "All that the bucket holds is dated ahead",
            ),
            (
                Status::default(),
                Tone::Unsure,
                "It is not known whether the backups are safe.",
                "The bucket has not been read yet",
            ),
            (
                made_before_listing,
                Tone::Good,
                "The newest backup is safe.",
                "The bucket has not been read yet",
            ),
        ] {
            let setting = setting("b_");
            let verdict = health::verdict(&status, setting.max_age, now());
            let told = Told::of(verdict, &status, &setting, now());
            assert_eq!((told.tone, told.headline.as_str()), (tone, headline));
            let noted = told.notes.iter().any(|line| line.contains(note));
            assert!(note.is_empty() || noted, "{headline}: {:?}", told.notes);
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
        let notes = notes(Verdict::Ok, &status, &setting("b_"), now());
        let told = format!("{} is whole, but out of the ordinary: ", newest.name);
        assert!(notes[0].starts_with(&told), "{notes:?}");
        assert_eq!(notes[0].matches("is empty, it had").count(), ANOMALIES);
        assert!(
            notes[0].ends_with("; and 2 more, which the log names."),
            "{notes:?}"
        );
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
            r"could not restore \u{202e}\u{1b}\n\u{9b}: damaged",
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
            let command = restore_command(
                "vlvt-backups",
                &backup.name,
                " --endpoint-url https://store.example",
            );
            let escaped = command.replace('&', "&amp;").replace('"', "&quot;");
            assert!(html.contains(&format!(">{escaped}</code>")), "{command}");
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
        assert!(html.contains("The newest backup is safe."));
    }

    #[test]
    fn a_missing_day_is_named_and_marked() {
        let html = html(&listed(&[1, 25, 73]), &setting("b_"), now(), "n");
        assert!(html.contains("1 missing</strong>: 2026-01-24."), "{html}");
        assert!(html.contains("<td class=\"missing\" title=\"2026-01-24: missing\">"));
        assert!(html.contains("<td class=\"covered today\" aria-current=\"date\" title=\"2026-01-26: 1 backup, 12.4 MB\">"));
    }

    #[test]
    fn spans_and_numbers_read_well() {
        for (seconds, words) in [
            (0, "less than a second"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (172_799, "47 hours"),
            (172_800, "2 days"),
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
