//! The size and the duration of the backups of the last days, as bars, and each of them as a number.

use std::time::Duration;

use chrono::NaiveDate;
use maud::{Markup, html};

use super::days::day_words;
use crate::board::calendar::{Day, DayKind};
use crate::format::{grouped, size, span};

pub(super) fn section(days: &[Day]) -> Markup {
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
            (values(days))
        }
    }
}

/// The numbers behind the bars, the newest first, so that nobody needs a mouse to read one.
fn values(days: &[Day]) -> Markup {
    let known = || days.iter().rev().filter(|day| day.kind != DayKind::Before);
    html! {
        @if known().next().is_some() {
            details.values data-keep="values" {
                summary { "Each day in numbers" }
                table {
                    caption.hidden { "Backups, size and duration of each day, the newest first" }
                    thead { tr { @for name in ["Day", "Backups", "Size", "Duration"] { th scope="col" { (name) } } } }
                    tbody {
                        @for day in known() {
                            tr {
                                th scope="row" { (day.date) }
                                @if day.kind == DayKind::Covered {
                                    td { (grouped(u64::try_from(day.backups).unwrap_or(u64::MAX))) }
                                    td { (size(day.size_bytes)) }
                                    td { @if let Some(delay) = day.delay { (span(delay)) } @else { "–" } }
                                } @else {
                                    td colspan="3" { (day_words(day.kind)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A bar for each day, from 0. A day without a value is a gap.
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
                p.values {
                    "Last " strong { (words(newest.1)) } ", least " strong { (words(least)) } ", most " strong { (words(most)) }
                }
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

/// The height of a bar. Even the smallest can be seen.
pub(super) fn bar(value: u64, most: u64, height: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(height) / u128::from(most.max(1));
    u64::try_from(scaled).unwrap_or(height).clamp(8, height)
}
