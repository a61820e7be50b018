//! What the variables alone tell.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::finding::{Finding, failed, ok, warning};
use crate::config::Problem;
use crate::format::age;
use crate::schedule::Schedule;

/// What makes the variables unusable, so that nothing else could be looked at, and what is odd about them besides.
#[must_use]
pub(crate) fn unusable(problems: &[Problem], warnings: &[Problem]) -> Vec<Finding> {
    let broken = problems.iter().map(|problem| {
        let remedy = match &problem.wrong.remedy {
            remedy if remedy.is_empty() => {
                format!("look up {} in docs/configuration.md", problem.variable)
            }
            remedy => remedy.to_string(),
        };
        let text = format!("{} {}", problem.variable, problem.wrong.cause);
        failed("configuration", text, remedy)
    });
    broken.chain(odd(warnings)).collect()
}

/// What is odd about the variables.
pub(super) fn configuration(warnings: &[Problem]) -> Vec<Finding> {
    if warnings.is_empty() {
        return vec![ok("configuration", "valid")];
    }
    odd(warnings).collect()
}

fn odd(warnings: &[Problem]) -> impl Iterator<Item = Finding> {
    warnings.iter().map(|problem| {
        let hint = format!(
            "look up {} in docs/configuration.md, then change it or leave it if it is meant so",
            problem.variable
        );
        warning("configuration", problem.to_string(), hint)
    })
}

/// When backups will be made.
pub(super) fn schedule(schedule: &Schedule, max_age: Duration, now: DateTime<Utc>) -> Finding {
    let zone = schedule.zone();
    let due = schedule.upcoming(now, 5).into_iter().map(|due| {
        let local = due.with_timezone(zone).format("%a %Y-%m-%d %H:%M:%S %Z");
        if zone.is_utc() {
            local.to_string()
        } else {
            format!("{local} ({})", due.format("%d %H:%M:%S UTC"))
        }
    });
    ok(
        "schedule",
        format!(
            "{} in {}, next: {}; a backup may be {} old before /health is 503",
            schedule.expression(),
            zone.name(),
            due.collect::<Vec<_>>().join(", "),
            age(max_age.as_secs())
        ),
    )
}

/// Who would be told. Nothing is sent: a false alarm is worse than none.
pub(super) fn alerts(listeners: &[&str]) -> Finding {
    if listeners.is_empty() {
        return warning(
            "alerts",
            "nobody is told when backups fail: neither ALERT_WEBHOOK_URL nor HEARTBEAT_URL is set",
            "set one of them, or both; an uptime monitor on /health does it too",
        );
    }
    ok(
        "alerts",
        format!(
            "{} set; whether messages arrive, the next run tells",
            listeners.join(" and ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::check::finding::{Outcome, is};

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 26, 4, 0, 0).unwrap()
    }

    const DAY: Duration = Duration::from_secs(25 * 3600);

    #[test]
    fn the_next_five_due_times_are_told_as_the_zone_and_as_utc_say_them() {
        let told = |zone: &str| {
            let parsed = Schedule::parse("0 5 * * *", zone.parse().unwrap(), now()).unwrap();
            schedule(&parsed, DAY, now()).text
        };
        let text = told("Europe/Berlin");
        assert!(
            text.starts_with(
                "0 5 * * * in Europe/Berlin, next: Tue 2026-01-27 05:00:00 CET (27 04:00:00 UTC), "
            ),
            "{text}"
        );
        assert_eq!(text.matches(" CET (").count(), 5, "{text}");
        assert!(text.ends_with("25 h old before /health is 503"), "{text}");
        assert!(told("UTC").contains("next: Mon 2026-01-26 05:00:00 UTC, Tue"));
    }

    #[test]
    fn that_nobody_would_be_told_is_worth_knowing() {
        is(&alerts(&[]), Outcome::Warning, "HEARTBEAT_URL is set");
        is(
            &alerts(&["HEARTBEAT_URL"]),
            Outcome::Ok,
            "HEARTBEAT_URL set;",
        );
    }
}
