//! The status in the format of Prometheus. Names follow its conventions, and all labels exist from the start, so that the first failure
//! is an increase from 0 and not a series that appears from nowhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::board::health::{self, Verdict};
use crate::board::{DrillOutcome, RunOutcome, Status};
use crate::fault::Kind;
use crate::web::shown::Shown;

/// The media type of the text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// What every name begins with.
pub const PREFIX: &str = "postgres_s3_backups_";

/// The `kind` of what did not fail.
const NO_KIND: &str = "none";

/// The text that Prometheus scrapes. What is not known has no series of numbers, since a 0 would be a lie. Where there are
/// several series of backups, each number has the name of its own as the label `series`.
#[must_use]
pub fn text(series: &[Shown], now: DateTime<Utc>) -> String {
    let mut families = Families::default();
    for shown in series {
        families.series = (series.len() > 1).then(|| shown.name.clone());
        shown
            .board
            .read(|status| tell(&mut families, status, shown, now));
    }
    families.series = None;
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    families.add(
        MetricType::GAUGE,
        "build_info",
        "1, with the version of the service as a label.",
        [(&version[..], 1.0)],
    );
    // It fails for a family without a name or a series only, and `add` lets none of them in.
    TextEncoder::new()
        .encode_to_string(&families.all)
        .unwrap_or_default()
}

fn tell(families: &mut Families, status: &Status, shown: &Shown, now: DateTime<Utc>) {
    verdict(families, status, shown.setting.max_age, now);
    newest(families, status, now);
    bucket(families, status);
    runs(families, status);
    families.add(
        MetricType::COUNTER,
        "parts_total",
        "Parts that the store acknowledged.",
        [(&[][..], number(shown.sent.parts()))],
    );
    families.add(
        MetricType::COUNTER,
        "part_retries_total",
        "Times that a part was sent again.",
        [(&[][..], number(shown.sent.retries()))],
    );
    drills(families, status, now);
}

fn verdict(families: &mut Families, status: &Status, max_age: Duration, now: DateTime<Utc>) {
    let verdict = health::verdict(status, max_age, now);
    families.gauge(
        "healthy",
        "Whether /health answers 200.",
        Some(flag(verdict.is_healthy())),
    );
    let labels = Verdict::ALL.map(|each| ([("status", each.as_str())], flag(each == verdict)));
    families.add(
        MetricType::GAUGE,
        "health_status",
        "1 for the status that /health tells, 0 for the others.",
        labels.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    families.gauge(
        "running",
        "Whether a backup is being made.",
        Some(flag(status.running)),
    );
    families.gauge(
        "next_due_timestamp_seconds",
        "When the next backup is due.",
        status.next_due_at.map(timestamp),
    );
    families.gauge(
        "max_age_seconds",
        "The age up to which the newest backup is fresh (BACKUP_MAX_AGE).",
        Some(max_age.as_secs_f64()),
    );
}

fn newest(families: &mut Families, status: &Status, now: DateTime<Utc>) {
    let newest = status.newest();
    families.gauge(
        "last_success_timestamp_seconds",
        "From when on the age of the newest backup counts: when it came into the bucket, or the time in its name.",
        newest
            .filter(|backup| backup.age(now).is_some())
            .map(|backup| timestamp(backup.aged_from)),
    );
    families.gauge(
        "newest_backup_age_seconds",
        "The age of the newest backup.",
        newest
            .and_then(|backup| backup.age(now))
            .map(|age| age.as_secs_f64()),
    );
    families.gauge(
        "newest_backup_size_bytes",
        "The size of the newest backup in the bucket.",
        newest.map(|backup| number(backup.size_bytes)),
    );
    families.gauge(
        "newest_backup_delay_seconds",
        "From the time in the newest backup's name, when it was due or begun by hand, until it was in the bucket.",
        newest.map(|backup| backup.delay().as_secs_f64()),
    );
    let made = status.last_made.as_ref();
    families.gauge(
        "last_duration_seconds",
        "How long the attempt took that made the last backup of this process.",
        made.map(|made| made.took.as_secs_f64()),
    );
    families.gauge(
        "last_raw_bytes",
        "Bytes of the last backup of this process before compression.",
        made.map(|made| number(made.contents.bytes)),
    );
    families.gauge(
        "last_rows",
        "Rows in the last backup of this process.",
        made.map(|made| number(made.contents.rows)),
    );
    families.gauge(
        "last_anomalies",
        "What is out of the ordinary about the last backup of this process.",
        made.and_then(|_| u64::try_from(status.anomalies.len()).ok())
            .map(number),
    );
    families.gauge(
        "last_parts",
        "Parts of the last backup of this process.",
        made.and_then(|made| u64::try_from(made.parts).ok())
            .map(number),
    );
}

fn bucket(families: &mut Families, status: &Status) {
    // Before the first listing, what this process made is not all that the bucket holds.
    let listed = status.listed_at.map(|_| &status.backups);
    families.gauge(
        "bucket_backups",
        "Good backups in the bucket under this service's prefix.",
        listed
            .and_then(|all| u64::try_from(all.len()).ok())
            .map(number),
    );
    families.gauge(
        "bucket_backups_dated_ahead",
        "Objects in the bucket that count for nothing, because the time in their names can't be true.",
        listed
            .and_then(|_| u64::try_from(status.ahead.len()).ok())
            .map(number),
    );
    families.gauge(
        "bucket_bytes",
        "What these backups hold.",
        listed.map(|all| {
            number(
                all.iter()
                    .fold(0, |sum: u64, backup| sum.saturating_add(backup.size_bytes)),
            )
        }),
    );
    families.gauge(
        "bucket_read_timestamp_seconds",
        "When the bucket was last listed.",
        status.listed_at.map(timestamp),
    );
}

fn runs(families: &mut Families, status: &Status) {
    let mut series = vec![(RunOutcome::Succeeded, None), (RunOutcome::Skipped, None)];
    // A run that was told to stop has no outcome, since the process ends with it.
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Cancelled);
    series.extend(kinds.map(|kind| (RunOutcome::Failed, Some(kind))));
    let series: Vec<_> = series
        .into_iter()
        .map(|(outcome, kind)| {
            let outcome_label = match outcome {
                RunOutcome::Succeeded => "succeeded",
                RunOutcome::Skipped => "skipped",
                RunOutcome::Failed => "failed",
            };
            let labels = [
                ("outcome", outcome_label),
                ("kind", kind.map_or(NO_KIND, Kind::as_str)),
            ];
            let count = status.runs.get(&(outcome, kind)).copied();
            (labels, number(count.unwrap_or(0)))
        })
        .collect();
    families.add(
        MetricType::COUNTER,
        "runs_total",
        "Runs since the start of this process, retries included in their run, by outcome and by the kind of what failed.",
        series.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    families.gauge(
        "last_run_timestamp_seconds",
        "When the last run of this process ended, however it did.",
        status.last_run.map(|run| timestamp(run.finished_at)),
    );
}

fn drills(families: &mut Families, status: &Status, now: DateTime<Utc>) {
    let outcomes = [
        (DrillOutcome::Proven, "proven"),
        (DrillOutcome::Failed, "failed"),
        (DrillOutcome::Unread, "unread"),
        (DrillOutcome::Unprovable, "unprovable"),
    ];
    let series = outcomes.map(|(outcome, label)| {
        let count = status.drills.get(&outcome).copied();
        ([("outcome", label)], number(count.unwrap_or(0)))
    });
    families.add(
        MetricType::COUNTER,
        "drills_total",
        "Drills since the start of this process by outcome.",
        series.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    let last = status.last_drill.as_ref();
    families.gauge(
        "last_drill_proven",
        "Whether the last drill of this process that found something out restored the newest backup.",
        status.proof().map(flag),
    );
    families.gauge(
        "drills_untried",
        "How many drills in a row could not be carried out.",
        last.map(|_| number(status.untried)),
    );
    families.gauge(
        "last_drill_timestamp_seconds",
        "When the last drill of this process ended.",
        last.map(|drill| timestamp(drill.finished_at)),
    );
    families.gauge(
        "last_drill_age_seconds",
        "How long ago that was.",
        last.map(|drill| {
            let age = now.signed_duration_since(drill.finished_at).to_std();
            age.unwrap_or_default().as_secs_f64()
        }),
    );
    families.gauge(
        "last_drill_duration_seconds",
        "How long it took.",
        last.map(|drill| number(drill.duration_seconds)),
    );
}

#[derive(Default)]
struct Families {
    all: Vec<MetricFamily>,
    /// The label of what is added now.
    series: Option<String>,
}

impl Families {
    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.add(
            MetricType::GAUGE,
            name,
            help,
            value.map(|value| (&[][..], value)),
        );
    }

    /// These series of a family, if there are any.
    fn add<'a>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (&'a [(&'static str, &'static str)], f64)>,
    ) {
        let series = series.into_iter().map(|(labels, value)| {
            let own = self.series.as_deref().map(|name| ("series", name));
            let labels = labels.iter().copied().chain(own).map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            });
            let mut metric = Metric::from_label(labels.collect());
            if kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            metric
        });
        let series: Vec<Metric> = series.collect();
        if series.is_empty() {
            return;
        }
        let name = format!("{PREFIX}{name}");
        if let Some(family) = self.all.iter_mut().find(|family| family.name() == name) {
            family.mut_metric().extend(series);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name);
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(series);
        self.all.push(family);
    }
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

fn timestamp(at: DateTime<Utc>) -> f64 {
    number(u64::try_from(at.timestamp()).unwrap_or(0))
}

/// Exact up to 2^53, as everything in Prometheus is.
fn number(value: u64) -> f64 {
    const HALF: f64 = 4_294_967_296.0;
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    let high = u32::try_from(value >> 32).unwrap_or(0);
    f64::from(high).mul_add(HALF, f64::from(low))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::board::{Board, LastDrill, LastRun};
    use crate::catalog::{Backup, Prefix};
    use crate::schedule::Schedule;
    use crate::schedule::zone::Zone;
    use crate::store::PartCounts;
    use crate::web::page::Setting;

    fn now() -> DateTime<Utc> {
        "2026-01-26T04:00:00Z".parse().unwrap()
    }

    fn shown(name: &str) -> Shown {
        let schedule = Schedule::parse("0 3 * * *", Zone::utc(), now()).unwrap();
        Shown {
            name: name.to_owned(),
            board: Board::default(),
            setting: Setting {
                schedule,
                max_age: Duration::from_secs(90_000),
                bucket: "b".to_owned(),
                prefix: "b_".to_owned(),
                drills: false,
            },
            sent: PartCounts::default(),
        }
    }

    #[test]
    fn several_series_are_told_apart_by_a_label_and_one_has_none() {
        let one = text(&[shown("shop")], now());
        assert_eq!(value(&one, "healthy"), Some(0.0));
        assert!(!one.contains("series="), "{one}");
        let two = [shown("shop"), shown("wiki")];
        two[1].board.listed(Vec::new(), now());
        let two = text(&two, now());
        assert_eq!(value(&two, r#"healthy{series="shop"}"#), Some(0.0));
        assert_eq!(value(&two, r#"healthy{series="wiki"}"#), Some(1.0));
        let failed = r#"runs_total{outcome="failed",kind="auth",series="wiki"}"#;
        assert_eq!(value(&two, failed), Some(0.0));
        // Each family is declared once, and the version belongs to all.
        assert_eq!(
            two.matches("# TYPE postgres_s3_backups_healthy ").count(),
            1
        );
        assert_eq!(two.matches("build_info{").count(), 1);
    }

    fn render(status: &Status) -> String {
        let mut families = Families::default();
        tell(&mut families, status, &shown("backups"), now());
        let encoder = TextEncoder::new();
        encoder.encode_to_string(&families.all).unwrap()
    }

    fn value(text: &str, series: &str) -> Option<f64> {
        let full = format!("{PREFIX}{series} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&full))?;
        Some(line.parse().unwrap())
    }

    #[test]
    fn before_anything_is_known_nothing_is_claimed_and_every_count_is_0() {
        let text = render(&Status::default());
        for unknown in [
            "last_success_timestamp_seconds",
            "newest_backup_age_seconds",
            "bucket_backups",
            "bucket_bytes",
            "next_due_timestamp_seconds",
            "last_rows",
            "last_drill_proven",
        ] {
            assert!(!text.contains(unknown), "{unknown}");
        }
        assert_eq!(value(&text, "healthy"), Some(0.0));
        assert_eq!(
            value(&text, r#"health_status{status="unknown"}"#),
            Some(1.0)
        );
        let states: f64 = Verdict::ALL
            .iter()
            .map(|each| format!("health_status{{status=\"{}\"}}", each.as_str()))
            .map(|series| value(&text, &series).unwrap())
            .sum();
        assert!((states - 1.0).abs() < f64::EPSILON);
        for kind in Kind::ALL {
            let series = format!(
                "runs_total{{outcome=\"failed\",kind=\"{}\"}}",
                kind.as_str()
            );
            let expected = (kind != Kind::Cancelled).then_some(0.0);
            assert_eq!(value(&text, &series), expected, "{kind:?}");
        }
        for series in [
            r#"runs_total{outcome="succeeded",kind="none"}"#,
            r#"runs_total{outcome="skipped",kind="none"}"#,
            "parts_total",
            "part_retries_total",
            r#"drills_total{outcome="proven"}"#,
            r#"drills_total{outcome="failed"}"#,
            r#"drills_total{outcome="unread"}"#,
        ] {
            assert_eq!(value(&text, series), Some(0.0), "{series}");
        }
    }

    #[test]
    fn the_bucket_and_the_runs_are_counted() {
        let backup = |hours: i64, size_bytes| Backup {
            name: Prefix::new(None, "b_").name_at(now() - TimeDelta::hours(hours)),
            finished_at: now() - TimeDelta::hours(hours) + TimeDelta::seconds(90),
            aged_from: now() - TimeDelta::hours(hours) + TimeDelta::seconds(90),
            size_bytes,
        };
        let mut status = Status::default();
        // One that was made before the first listing is the newest, but not known to be all.
        status.add(backup(1, 6_000_000_000_000));
        assert_eq!(value(&render(&status), "bucket_backups"), None);
        status.list(vec![backup(1, 6_000_000_000_000), backup(25, 500)], now());
        let run = |outcome, kind| LastRun {
            outcome,
            kind,
            finished_at: now(),
        };
        status.ran(run(RunOutcome::Succeeded, None));
        status.ran(run(RunOutcome::Failed, Some(Kind::Auth)));
        status.ran(run(RunOutcome::Failed, Some(Kind::Auth)));
        status.drilled(LastDrill {
            name: "b".to_owned(),
            outcome: DrillOutcome::Failed,
            kind: Some(Kind::Damaged),
            finished_at: now() - TimeDelta::hours(2),
            duration_seconds: 12,
        });
        let text = render(&status);
        for (series, expected) in [
            ("bucket_backups", 2.0),
            ("bucket_bytes", 6_000_000_000_500.0),
            ("bucket_read_timestamp_seconds", 1_769_400_000.0),
            ("last_success_timestamp_seconds", 1_769_396_490.0),
            ("newest_backup_age_seconds", 3510.0),
            ("newest_backup_size_bytes", 6_000_000_000_000.0),
            ("newest_backup_delay_seconds", 90.0),
            ("max_age_seconds", 90_000.0),
            (r#"runs_total{outcome="succeeded",kind="none"}"#, 1.0),
            (r#"runs_total{outcome="failed",kind="auth"}"#, 2.0),
            (r#"runs_total{outcome="failed",kind="connect"}"#, 0.0),
            (r#"drills_total{outcome="failed"}"#, 1.0),
            ("last_drill_proven", 0.0),
            ("last_drill_age_seconds", 7200.0),
            ("last_drill_duration_seconds", 12.0),
            (r#"health_status{status="failing"}"#, 1.0),
            ("healthy", 0.0),
        ] {
            assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
        }
    }

    #[test]
    fn numbers_are_exact() {
        for value in [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 53) - 1] {
            assert_eq!(format!("{}", number(value)), value.to_string());
        }
    }
}
