//! The last days as a calendar, which shows on which days there is a backup and on which one is missing.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use maud::{Markup, html};

use super::{DAYS, Setting};
use crate::board::Status;
use crate::board::calendar::{Day, DayKind};
use crate::format::{count, size};

pub(super) fn section(
    days: &[Day],
    status: &Status,
    setting: &Setting,
    now: DateTime<Utc>,
) -> Markup {
    let missing = days.iter().filter(|day| day.kind == DayKind::Missing);
    let missing: Vec<NaiveDate> = missing.map(|day| day.date).collect();
    let covered = days.iter().filter(|day| day.kind == DayKind::Covered);
    let today = now.with_timezone(setting.schedule.zone()).date_naive();
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
            div.months {
                @for month in days.chunk_by(|one, next| one.date.month() == next.date.month()) {
                    (month_table(month, today))
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

/// The days of one month, under its name.
fn month_table(days: &[Day], today: NaiveDate) -> Markup {
    let Some(first) = days.first() else {
        return html! {};
    };
    let lead = first.date.weekday().num_days_from_monday();
    let blanks = std::iter::repeat_n(None, usize::try_from(lead).unwrap_or(0));
    let cells: Vec<Option<&Day>> = blanks.chain(days.iter().map(Some)).collect();
    html! {
        table.calendar {
            caption { (first.date.format("%B %Y")) }
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
            time datetime=(day.date) { (day.date.day()) }
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

pub(super) const fn day_mark(kind: DayKind) -> &'static str {
    match kind {
        DayKind::Covered => "✓",
        DayKind::Missing => "✕",
        DayKind::Making => "…",
        DayKind::Ahead => "○",
        DayKind::NotDue => "–",
        DayKind::Before => "·",
    }
}

pub(super) const fn day_words(kind: DayKind) -> &'static str {
    match kind {
        DayKind::Covered => "backup",
        DayKind::Missing => "missing",
        DayKind::Making => "being made",
        DayKind::Ahead => "due later today",
        DayKind::NotDue => "none due",
        DayKind::Before => "nothing known",
    }
}
