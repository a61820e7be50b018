//! The next alert, decided by the alerts that were sent and by what is known (pure).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Event, TICK};
use crate::board::Status;
use crate::board::anomaly::Anomaly;
use crate::board::health::{Verdict, verdict};
use crate::catalog::{Backup, BackupName};

/// If the bucket is empty after the first due time, how long an alert waits, because the first run is about to begin.
const FIRST_RUN: TimeDelta = TimeDelta::minutes(5);

/// The states that people were alerted of, and still believe to last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    failing: bool,
    stale: bool,
    unproven: bool,
    undrilled: bool,
    unprovable: bool,
    odd: Option<Oddity>,
}

/// The backup that was out of the ordinary, and the part of it that can last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Oddity {
    name: Option<BackupName>,
    /// Whether its size fell, if the size was out of the ordinary.
    size: Option<bool>,
    ends_inside: bool,
}

/// The next alert to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) event: Event,
    pub(super) recovered_from: Vec<Event>,
}

/// The most urgent state that was not reported yet, and what will have been reported after it.
pub(super) fn next(
    told: &Told,
    status: &Status,
    max_age: Duration,
    now: DateTime<Utc>,
) -> Option<(News, Told)> {
    let (failing, unproven) = (status.is_failing(), status.is_unproven());
    let undrilled = status.is_undrilled();
    let unprovable = status.is_unprovable();
    let is_stale = verdict(status, max_age, now) == Verdict::Stale;
    let stale = is_stale
        && (status.newest().is_some()
            || status
                .first_due_at
                .is_some_and(|due| due <= now - FIRST_RUN));
    // Only a backup with a known age ends this state. A run that begins or fails does not.
    let known = |newest: &Backup| newest.age(now).is_some();
    let fresh = status.newest().is_some_and(known) && !is_stale;

    let mut then = told.clone();
    let mut recovered_from = Vec::new();
    if told.failing && !failing {
        then.failing = false;
        recovered_from.push(Event::Failing);
    }
    if told.stale && fresh {
        then.stale = false;
        recovered_from.push(Event::Stale);
    }
    if told.unproven && !unproven {
        then.unproven = false;
        recovered_from.push(Event::Unproven);
    }
    // A drill that could be carried out ends this state, whatever it found.
    if told.undrilled && status.untried == 0 {
        then.undrilled = false;
        recovered_from.push(Event::Undrilled);
    }
    if told.unprovable && !unprovable {
        then.unprovable = false;
        recovered_from.push(Event::Unprovable);
    }
    if told.odd.is_some() && status.anomalies.is_empty() {
        then.odd = None;
        recovered_from.push(Event::Anomaly);
    }
    let event = if !recovered_from.is_empty() {
        Event::Recovered
    } else if failing && !told.failing {
        then.failing = true;
        Event::Failing
    } else if stale && !told.stale {
        then.stale = true;
        Event::Stale
    } else if unproven && !told.unproven {
        then.unproven = true;
        Event::Unproven
    } else if undrilled && !told.undrilled {
        then.undrilled = true;
        Event::Undrilled
    } else if unprovable && !told.unprovable {
        then.unprovable = true;
        Event::Unprovable
    } else if is_odd_anew(told, status) {
        then.odd = Some(oddity(status));
        Event::Anomaly
    } else {
        return None;
    };
    Some((
        News {
            event,
            recovered_from,
        },
        then,
    ))
}

fn oddity(status: &Status) -> Oddity {
    let size = status
        .anomalies
        .iter()
        .find(|anomaly| matches!(anomaly, Anomaly::Size { .. }));
    Oddity {
        name: status.judged().map(|backup| backup.name.clone()),
        size: size.map(Anomaly::is_fall),
        ends_inside: status
            .anomalies
            .iter()
            .any(|anomaly| matches!(anomaly, Anomaly::EndsInside(_))),
    }
}

/// Whether the newest backup is out of the ordinary in a way that was not reported.
///
/// A size stays out of the ordinary for some days, and a dump ends inside a quote or comment until the database is changed:
/// each is reported once. Rows are compared with those of the run before, so if another backup has unusual rows, they
/// changed again.
fn is_odd_anew(told: &Told, status: &Status) -> bool {
    let rows_too = status
        .anomalies
        .iter()
        .any(|anomaly| !matches!(anomaly, Anomaly::Size { .. } | Anomaly::EndsInside(_)));
    let now = oddity(status);
    match &told.odd {
        _ if status.anomalies.is_empty() => false,
        None => true,
        Some(told) => {
            (rows_too && told.name != now.name)
                || (now.size.is_some() && told.size != now.size)
                || (now.ends_inside && !told.ends_inside)
        }
    }
}

/// How long to wait until the newest backup becomes too old, if that is before the next check.
pub(super) fn wait(status: &Status, max_age: Duration, now: DateTime<Utc>) -> Duration {
    let stale_in = status.newest().and_then(|newest| {
        newest.age(now)?;
        let due = newest
            .aged_from
            .checked_add_signed(TimeDelta::from_std(max_age).ok()?)?;
        (due - now + TimeDelta::milliseconds(1)).to_std().ok()
    });
    stale_in.map_or(TICK, |wait| wait.min(TICK))
}
