//! How the last drill ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{Setting, Tone, since, time};
use crate::board::{DrillOutcome, Status};
use crate::format::span;
use crate::format::text::visible;

pub(super) fn section(status: &Status, setting: &Setting, now: DateTime<Utc>) -> Markup {
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
