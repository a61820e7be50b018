//! The most important facts: the newest backup, when the next one is due, and what the bucket holds.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{Setting, old, since, time, until};
use crate::board::Status;
use crate::catalog::Backup;
use crate::format;
use crate::format::{count, grouped, size, span};

pub(super) fn section(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
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
                                @if !zone.is_utc() {
                                    br; (due.with_timezone(zone).format("%H:%M")) " " (zone.name())
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

/// What stands in the place of the newest backup if there is none.
const fn none(status: &Status) -> &'static str {
    if status.listed_at.is_some() {
        "none"
    } else {
        "not known yet"
    }
}

/// How the size compares with the one before.
pub(super) fn change(backup: &Backup, older: Option<&Backup>) -> String {
    let Some(older) = older else {
        return "the only one".to_owned();
    };
    format::change_percent(older.size_bytes, backup.size_bytes).map_or_else(
        || "the one before held nothing".to_owned(),
        |percent| format!("{percent:+.1} % against the one before"),
    )
}
