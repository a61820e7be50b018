//! The page that leads to those of several series. Those that need attention come first. It has no script, so a browser loads it
//! again from time to time.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::headline::Headline;
use super::{STYLE, Tone, metadata, old, reload, time};
use crate::board::health::{verdict, worst};
use crate::format::text::visible;
use crate::web::shown::Shown;

/// The whole page. The nonce is what the header of the answer names, so that a browser takes the style.
#[must_use]
pub fn overview(series: &[Shown], now: DateTime<Utc>, nonce: &str) -> String {
    let judge = |shown: &Shown| {
        shown
            .board
            .read(|status| verdict(status, shown.setting.max_age, now))
    };
    let overall = worst(series.iter().map(judge));
    let (tone, sentence) = if overall.is_healthy() {
        (Tone::Good, "Every series is well.")
    } else {
        (Tone::Bad, "Not every series is well.")
    };
    let mut sorted: Vec<&Shown> = series.iter().collect();
    sorted.sort_by_key(|shown| judge(shown).is_healthy());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (metadata())
                title { (tone.mark()) " " (sentence) }
                link rel="icon" href="data:,";
                (reload())
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                header { p.brand { "PostgreSQL backups" } }
                main id="main" {
                    section.hero.(tone.class()) aria-labelledby="headline" {
                        span.mark aria-hidden="true" { (tone.mark()) }
                        div { h1 id="headline" { (sentence) } }
                    }
                    @for shown in sorted { (entry(shown, now)) }
                }
                footer {
                    p {
                        "As of " (time(now)) ". " a href="/" { "Load again" } " · "
                        a href="/health" { "/health" } " · " a href="/metrics" { "/metrics" }
                        " · version " (env!("CARGO_PKG_VERSION"))
                    }
                }
            }
        }
    };
    page.into_string()
}

/// How one series is, and where its own page is.
fn entry(shown: &Shown, now: DateTime<Utc>) -> Markup {
    let (setting, name) = (&shown.setting, &shown.name);
    let address = format!("/series/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    shown.board.read(|status| {
        let verdict = verdict(status, setting.max_age, now);
        let told = Headline::of(verdict, status, setting, now);
        html! {
            section {
                h2 { a href=(address) { (visible(name)) } }
                p { strong.(told.tone.class()) { (told.tone.mark()) " " (told.sentence) } }
                p {
                    code { (visible(&setting.prefix)) "…" } " in " code { (visible(&setting.bucket)) }
                    @if let Some(newest) = status.newest() { ": the newest backup is " (old(newest, now)) }
                }
            }
        }
    })
}
