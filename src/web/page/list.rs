//! The backups of the bucket, each with the command that restores it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::facts::change;
use super::old;
use crate::backup::restore_command;
use crate::board::Status;
use crate::format::text::visible;
use crate::format::{count, grouped, size};

/// How many backups are listed, so that the page stays small however many there are.
pub(super) const LISTED: usize = 60;

/// How many of them are seen at once.
pub(super) const SEEN: usize = 10;

pub(super) fn section(status: &Status, now: DateTime<Utc>) -> Markup {
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
                    "The command of each restores it into a new database on the server that " code { "RESTORE_DATABASE_URL" } " names."
                }
                ol.list { @for index in 0..total.min(SEEN) { (entry(index, status, now)) } }
                @if total > SEEN {
                    details.more data-keep="older" {
                        summary { (count(total.min(LISTED) - SEEN, "older one")) }
                        ol.list { @for index in SEEN..total.min(LISTED) { (entry(index, status, now)) } }
                    }
                }
            }
        }
    }
}

/// The backups that are ignored because the times in their names are in the future.
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

fn entry(index: usize, status: &Status, now: DateTime<Utc>) -> Markup {
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
            details data-keep=(name) {
                summary { "Restore command" span.hidden { " of " (name) } }
                pre tabindex="0" { code id=(id) { (restore_command(&backup.name)) } }
            }
        }
    }
}
