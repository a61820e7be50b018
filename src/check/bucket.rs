//! The bucket: what it holds, its clock, its rules, and whether an upload would succeed.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Check;
use super::finding::{Finding, failed, ok, warning};
use super::upload::{try_upload, whole_part};
use crate::board::health::{AHEAD_HINT, CLOCKS_HINT};
use crate::catalog::{Backup, Listing};
use crate::fault::{Diagnosed, Kind};
use crate::format::{age, utc};
use crate::store::{Rules, StoreError, Unfinished};

impl Check {
    pub(super) async fn look_at_bucket(
        &self,
        size: oneshot::Receiver<u64>,
        stop: &CancellationToken,
    ) -> Vec<Finding> {
        let (store, prefix) = (self.catalog.store(), self.catalog.prefix().as_str());
        let looked = stop.run_until_cancelled(async {
            let mut findings = Vec::new();
            if self.variables.is_some() {
                match self.catalog.list((self.clock)()).await {
                    Ok(listing) => {
                        findings.append(&mut contents(&listing, self.max_age, (self.clock)()));
                    }
                    Err(error) => return Err(vec![refused("bucket", &error)]),
                }
            }
            match store.time(prefix).await {
                Ok(time) => findings.extend(time.map(|time| clock(time, (self.clock)()))),
                Err(error) => return Err(vec![refused("bucket", &error)]),
            }
            findings.push(self.look_at_uploads().await);
            findings.push(match store.rules().await {
                Ok(rules) => lifecycle(&rules, prefix, self.max_age),
                Err(error) => warning("lifecycle", error.to_string(), error.hint()),
            });
            Ok(findings)
        });
        match looked.await {
            None => Vec::new(),
            Some(Err(findings)) => findings,
            Some(Ok(mut findings)) => {
                let key = self.catalog.prefix().probe();
                let read = stop.run_until_cancelled(store.head(&key)).await;
                findings.extend(read.and_then(|read| reading(read.err()?)));
                let part = if store.provider().is_direct() {
                    Bytes::from_static(b"postgres-s3-backups check")
                } else {
                    whole_part(size.await.unwrap_or_default())
                };
                findings.push(match try_upload(store, &key, part, stop).await {
                    Ok(()) => ok(
                        "upload",
                        "an upload was begun, got a part and was aborted; nothing stays behind",
                    ),
                    Err(error) => refused("upload", &error),
                });
                findings
            }
        }
    }

    /// Counts our unfinished uploads, and removes what a check left that was killed. A young one may belong to another check
    /// that is at work.
    async fn look_at_uploads(&self) -> Finding {
        const MOST_REMOVED: usize = 1000;
        let (store, prefix) = (self.catalog.store(), self.catalog.prefix());
        let now = (self.clock)();
        let (mut count, mut oldest, mut probes) = (0_usize, None, Vec::new());
        let visit = |upload: Unfinished| {
            let begun = upload.initiated_at;
            if prefix.parse(&upload.key).is_some() {
                count = count.saturating_add(1);
                oldest = Some(oldest.map_or(begun, |oldest: DateTime<Utc>| oldest.min(begun)));
            } else if self.catalog.is_left_behind(&upload, self.timeout, now)
                && probes.len() < MOST_REMOVED
            {
                probes.push(upload);
            }
        };
        if let Err(error) = store.list_uploads(prefix.as_str(), visit).await {
            return if error.is_not_offered() {
                warning(
                    "unfinished_uploads",
                    "this store does not list them, so that what a killed run leaves behind is not seen, and stays",
                    "have the store delete unfinished uploads after some days, if it can: docs/stores.md",
                )
            } else {
                warning("unfinished_uploads", error.to_string(), error.hint())
            };
        }
        for probe in probes {
            if let Err(error) = store.abort_upload(&probe.key, &probe.id).await {
                tracing::debug!(key = probe.key, %error, "could not abort upload");
            }
        }
        unfinished(count, oldest, self.timeout, now)
    }
}

/// Whether objects may be read. A store that knows no such object says 404, which is no error; one that refuses the question will
/// refuse it for a backup.
fn reading(error: StoreError) -> Option<Finding> {
    (error.kind() == Kind::StoreDenied).then(|| {
        warning(
            "read",
            "this key may write and list objects, but not read them: backups are made and their size is taken from the list, but nothing can be verified or restored with it",
            "give the key the right to read objects (s3:GetObject), or keep another key for restores and drills",
        )
    })
}

fn refused(name: &'static str, error: &StoreError) -> Finding {
    failed(name, error.to_string(), error.hint())
}

/// What the bucket holds.
fn contents(listing: &Listing<Backup>, max_age: Duration, now: DateTime<Utc>) -> Vec<Finding> {
    let (ahead, backups): (Vec<&Backup>, Vec<&Backup>) = listing
        .kept
        .iter()
        .partition(|backup| backup.is_dated_ahead(now));
    let mut findings = vec![match backups.first() {
        Some(newest) => newest_of(backups.len(), newest, max_age, now),
        None => ok("bucket", "can be listed; there are no backups yet"),
    }];
    if let Some(first) = ahead.first() {
        findings.push(warning(
            "dated_ahead",
            format!(
                "{} under a name that is dated ahead, which is never taken for the newest: {}{}",
                if ahead.len() == 1 {
                    "a backup"
                } else {
                    "backups"
                },
                first.name,
                match ahead.len() {
                    1 => String::new(),
                    count => format!(" and {} more", count - 1),
                }
            ),
            AHEAD_HINT,
        ));
    }
    if listing.left_out > 0 {
        findings.push(warning(
            "bucket",
            format!("{} older backups are left out of account", listing.left_out),
            "delete some, best by a lifecycle rule of the bucket: docs/operations.md, \"Keeping backups for 30 days\"",
        ));
    }
    findings
}

fn newest_of(count: usize, newest: &Backup, max_age: Duration, now: DateTime<Utc>) -> Finding {
    let Some(old) = newest.age(now) else {
        return warning(
            "bucket",
            format!(
                "{count} backups, the newest is {}; how old it is can't be said: it was stored at {}, ahead of this clock",
                newest.name,
                utc(newest.finished_at)
            ),
            CLOCKS_HINT,
        );
    };
    let text = format!(
        "{count} backups, the newest is {} and {} old",
        newest.name,
        age(old.as_secs())
    );
    if old > max_age {
        warning(
            "bucket",
            format!("{text}: older than BACKUP_MAX_AGE"),
            "look for backup failed in the service's log; the command backup makes one now",
        )
    } else {
        ok("bucket", text)
    }
}

fn seconds_between(before: DateTime<Utc>, after: DateTime<Utc>) -> u64 {
    u64::try_from(after.signed_duration_since(before).num_seconds()).unwrap_or(0)
}

/// The store's clock against this one. At fifteen minutes every request is refused.
fn clock(store: DateTime<Utc>, now: DateTime<Utc>) -> Finding {
    let apart = now.signed_duration_since(store).num_seconds();
    let off = apart.unsigned_abs();
    if off <= 60 {
        return ok("clock", "agrees with the store's to the minute");
    }
    let (way, off) = (if apart > 0 { "ahead of" } else { "behind" }, age(off));
    warning(
        "clock",
        format!(
            "is {off} {way} the store's: backups are made and named at the wrong time, and from 15 minutes on the store refuses every request"
        ),
        "set the clock of this container's host (NTP)",
    )
}

/// Uploads of ours that are neither complete nor aborted.
fn unfinished(
    count: usize,
    oldest: Option<DateTime<Utc>>,
    timeout: Duration,
    now: DateTime<Utc>,
) -> Finding {
    let Some(oldest) = oldest else {
        return ok("unfinished_uploads", "none");
    };
    let old = seconds_between(oldest, now);
    let text = format!("{count}, the oldest {} old", age(old));
    if old > timeout.as_secs() {
        warning(
            "unfinished_uploads",
            text,
            "the next backup aborts what is older than BACKUP_TIMEOUT; if they stay, abort them with the AWS CLI, since their parts are billed",
        )
    } else {
        ok(
            "unfinished_uploads",
            format!("{text}: a backup may be under way"),
        )
    }
}

/// Whether the bucket deletes old backups, and not too early.
fn lifecycle(rules: &Rules, prefix: &str, max_age: Duration) -> Finding {
    const REMEDY: &str = "docs/operations.md, \"Keeping backups for 30 days\"";
    let rules = match rules {
        Rules::Known(rules) => rules,
        Rules::Refused => {
            return ok(
                "lifecycle",
                "rules cannot be read with this token, as it should be; look in the store's console whether one deletes old backups",
            );
        }
        Rules::Unknown => {
            return ok(
                "lifecycle",
                "this store does not tell its rules; look in its console whether one deletes old backups",
            );
        }
    };
    let ours = rules.iter().filter(|rule| prefix.starts_with(&rule.prefix));
    match ours.map(|rule| rule.days).min() {
        None => warning(
            "lifecycle",
            format!(
                "no rule deletes objects under {prefix}: backups stay for ever, and are billed"
            ),
            format!(
                "add a rule to the bucket that deletes objects with the prefix {prefix} after 30 days: {REMEDY}"
            ),
        ),
        Some(days) if u64::from(days).saturating_mul(86_400) <= max_age.as_secs() => warning(
            "lifecycle",
            format!(
                "a rule deletes backups after {days} days, which may be before the next one is made"
            ),
            format!("give the rule more days: {REMEDY}"),
        ),
        Some(days) => ok(
            "lifecycle",
            format!("a rule deletes backups after {days} days"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};

    use super::*;
    use crate::catalog::Prefix;
    use crate::check::finding::{Outcome, is};
    use crate::store::Expiry;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 26, 4, 0, 0).unwrap()
    }

    const DAY: Duration = Duration::from_secs(25 * 3600);

    #[test]
    fn a_rule_counts_if_it_holds_for_every_backup_and_leaves_time() {
        let rule = |prefix: &str, days| Expiry {
            prefix: prefix.to_owned(),
            days,
        };
        let judged = |rules: &[Expiry]| lifecycle(&Rules::Known(rules.to_vec()), "db_", DAY);
        is(&judged(&[]), Outcome::Warning, "prefix db_ after 30 days");
        is(
            &judged(&[rule("other", 9), rule("db_2026", 9)]),
            Outcome::Warning,
            "no rule",
        );
        is(&judged(&[rule("db_", 30)]), Outcome::Ok, "after 30 days");
        is(
            &judged(&[rule("", 90), rule("db", 30)]),
            Outcome::Ok,
            "after 30 days",
        );
        is(
            &judged(&[rule("db_", 30), rule("", 1)]),
            Outcome::Warning,
            "after 1 days",
        );
        let untold = |rules| lifecycle(&rules, "db_", DAY);
        is(&untold(Rules::Refused), Outcome::Ok, "cannot be read");
        is(&untold(Rules::Unknown), Outcome::Ok, "does not tell");
    }

    #[test]
    fn a_clock_that_is_a_minute_off_is_told_with_its_direction() {
        for (seconds, outcome, piece) in [
            (0, Outcome::Ok, "agrees"),
            (60, Outcome::Ok, "agrees"),
            (-60, Outcome::Ok, "agrees"),
            (61, Outcome::Warning, "61 s behind"),
            (-600, Outcome::Warning, "10 min ahead of"),
        ] {
            is(
                &clock(now() + TimeDelta::seconds(seconds), now()),
                outcome,
                piece,
            );
        }
    }

    #[test]
    fn backups_and_uploads_are_judged_by_their_age() {
        let backup = |hours| {
            let at = now() - TimeDelta::hours(hours);
            Backup {
                name: Prefix::new(None, "db_").name_at(at),
                finished_at: at,
                aged_from: at,
                size_bytes: 500,
            }
        };
        let contents = |kept: &[Backup], left_out| {
            let listing = Listing {
                store_time: None,
                kept: kept.to_vec(),
                left_out,
                globals: std::collections::BTreeSet::new(),
            };
            contents(&listing, DAY, now())
        };
        let only = |kept: &[Backup], outcome, piece| {
            let findings = contents(kept, 0);
            assert_eq!(findings.len(), 1, "{findings:?}");
            is(&findings[0], outcome, piece);
        };
        only(&[], Outcome::Ok, "no backups yet");
        only(
            &[backup(25), backup(49)],
            Outcome::Ok,
            "2 backups, the newest is db_2026-01-25_03-00-00.sql.gz and 25 h old",
        );
        only(&[backup(26)], Outcome::Warning, "older than BACKUP_MAX_AGE");
        only(
            &[backup(-1)],
            Outcome::Warning,
            "stored at 2026-01-26T05:00:00Z, ahead of this clock",
        );
        // A name that can't be true is no newest backup, and is named with its remedy.
        let found = contents(&[backup(-100), backup(-50), backup(25)], 7);
        is(
            &found[0],
            Outcome::Ok,
            "1 backups, the newest is db_2026-01-25",
        );
        is(
            &found[1],
            Outcome::Warning,
            "db_2026-01-30_08-00-00.sql.gz and 1 more",
        );
        is(&found[1], Outcome::Warning, "delete it");
        is(&found[2], Outcome::Warning, "7 older backups");
        is(
            &contents(&[backup(-50)], 0)[0],
            Outcome::Ok,
            "no backups yet",
        );
        let judged = |hours: &[i64]| {
            let begun = hours.iter().map(|&h| now() - TimeDelta::hours(h));
            unfinished(
                hours.len(),
                begun.min(),
                Duration::from_secs(6 * 3600),
                now(),
            )
        };
        is(&judged(&[]), Outcome::Ok, "none");
        is(&judged(&[1, 6]), Outcome::Ok, "2, the oldest 6 h old");
        is(&judged(&[7, 1]), Outcome::Warning, "2, the oldest 7 h old");
    }
}
