//! What is unusual about a backup, compared with those before it (pure).

use std::collections::BTreeMap;
use std::fmt;

use crate::catalog::Backup;
use crate::format::size;
use crate::format::text;
use stream::script::{self, Contents, Inside, TableName};

/// The size of a new backup is compared with those of so many backups before it, and not at all if there are fewer than the second
/// number.
const COMPARED: usize = 7;
const LEAST_COMPARED: usize = 3;

/// A table that lost or gained fewer rows than this is not reported. In a small table, three times as many rows mean nothing.
const LEAST_LOST: u64 = 10;
const LEAST_GAINED: u64 = 100;

/// How many are named at most.
pub const NAMED: usize = 20;

/// What to do about a change.
const HINT: &str = "the backup is whole; if nobody meant this change, restore an older one beside the database and compare, before it expires";

/// From which change on a backup counts as unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// `ANOMALY_BELOW`
    pub below: Option<Factor>,
    /// `ANOMALY_ABOVE`
    pub above: Option<Factor>,
}

/// A factor, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(u32);

impl Factor {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One half.
    pub const HALF: Self = Self(500);
    /// As much as before.
    pub const ONE: Self = Self(1000);
    /// Three times.
    pub const THREE: Self = Self(3000);

    /// Reads a decimal number such as `0.5` or `3`, with at most three digits after the point.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > 3 {
            return None;
        }
        let whole = whole.parse::<u32>().ok()?.checked_mul(1000)?;
        let rest = format!("{rest:0<3}").parse::<u32>().ok()?;
        whole.checked_add(rest).map(Self)
    }

    fn of(self, number: u64) -> u128 {
        u128::from(number).saturating_mul(u128::from(self.0))
    }
}

fn thousandths(number: u64) -> u128 {
    u128::from(number).saturating_mul(1000)
}

/// One thing that is out of the ordinary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// According to this service's reading of the text, it does not end between two statements.
    EndsInside(Inside),
    /// A table that had rows has none.
    Emptied {
        /// Which.
        table: TableName,
        /// Its rows in the backup before.
        before: u64,
    },
    /// A table that had rows is not in the backup.
    Vanished {
        /// Which.
        table: TableName,
        /// Its rows in the backup before.
        before: u64,
    },
    /// The size, against the median of those before.
    Size {
        /// In bytes.
        size: u64,
        /// In bytes.
        median: u64,
        /// Of how many backups.
        compared: usize,
    },
    /// A table's rows.
    Rows {
        /// Which.
        table: TableName,
        /// Its rows in the backup before.
        before: u64,
        /// Its rows now.
        now: u64,
    },
}

impl Anomaly {
    /// Whether there is less than before. Sizes and rows can also rise.
    #[must_use]
    pub const fn is_fall(&self) -> bool {
        match self {
            Self::EndsInside(_) | Self::Emptied { .. } | Self::Vanished { .. } => true,
            Self::Size { size, median, .. } => *size < *median,
            Self::Rows { before, now, .. } => *now < *before,
        }
    }

    /// The worst first: what may not come back at all, what is gone, then the size, then what fell, then what rose; the most rows first in each.
    const fn rank(&self) -> (u8, std::cmp::Reverse<u64>) {
        use std::cmp::Reverse;
        match self {
            Self::EndsInside(_) => (0, Reverse(0)),
            Self::Emptied { before, .. } => (1, Reverse(*before)),
            Self::Vanished { before, .. } => (2, Reverse(*before)),
            Self::Size { .. } => (3, Reverse(0)),
            Self::Rows { before, now, .. } if *now < *before => (4, Reverse(*before)),
            Self::Rows { now, .. } => (5, Reverse(*now)),
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A table's name is whatever the database's users made it.
        let name = |table: &TableName| text::shortened(&text::visible(&table.to_string()), 140);
        match self {
            Self::EndsInside(inside) => write!(f, "the dump ends inside {inside}"),
            Self::Emptied { table, before } => {
                write!(f, "{} is empty, it had {}", name(table), rows(*before))
            }
            Self::Vanished { table, before } => {
                write!(
                    f,
                    "{} is not there any more, it had {}",
                    name(table),
                    rows(*before)
                )
            }
            Self::Size {
                size: now,
                median,
                compared,
            } => write!(
                f,
                "the size {} from {} to {} (median of the {compared} before)",
                if self.is_fall() { "fell" } else { "rose" },
                size(*median),
                size(*now)
            ),
            Self::Rows { table, before, now } => write!(
                f,
                "{} {} from {before} to {}",
                name(table),
                if self.is_fall() { "fell" } else { "rose" },
                rows(*now)
            ),
        }
    }
}

fn rows(count: u64) -> String {
    format!("{count} {}", if count == 1 { "row" } else { "rows" })
}

/// Everything that is out of the ordinary about a backup, the worst first. `before` are the backups in the bucket, newest
/// first; `now` is what it holds, `previous` what the last one that this process made held.
#[must_use]
pub fn find(
    backup: &Backup,
    before: &[Backup],
    now: &Contents,
    previous: Option<&Contents>,
    thresholds: Thresholds,
) -> Vec<Anomaly> {
    let mut found: Vec<Anomaly> = judge_size(backup, before, thresholds).into_iter().collect();
    found.extend(now.ends_inside.map(Anomaly::EndsInside));
    // Of tables that were not counted one by one, nothing can be said.
    if let Some(previous) = previous.filter(|_| !now.has_more_tables) {
        found.extend(judge_rows(&now.tables, &previous.tables, thresholds));
    }
    found.sort_by_key(Anomaly::rank);
    found
}

fn judge_size(backup: &Backup, before: &[Backup], thresholds: Thresholds) -> Option<Anomaly> {
    let older = before
        .iter()
        .filter(|other| other.name.at() < backup.name.at());
    let mut sizes: Vec<u64> = older.take(COMPARED).map(|other| other.size_bytes).collect();
    if sizes.len() < LEAST_COMPARED {
        return None;
    }
    sizes.sort_unstable();
    let middle = |at: usize| sizes.get(at).copied().unwrap_or_default();
    let (low, high) = (middle((sizes.len() - 1) / 2), middle(sizes.len() / 2));
    let (size, median) = (backup.size_bytes, low.midpoint(high));
    is_odd(size, median, thresholds).then_some(Anomaly::Size {
        size,
        median,
        compared: sizes.len(),
    })
}

fn is_odd(now: u64, before: u64, thresholds: Thresholds) -> bool {
    let fell = thresholds
        .below
        .is_some_and(|below| thousandths(now) < below.of(before));
    let rose = thresholds
        .above
        .is_some_and(|above| thousandths(now) > above.of(before));
    fell || rose
}

fn judge_rows(
    now: &BTreeMap<TableName, u64>,
    previous: &BTreeMap<TableName, u64>,
    thresholds: Thresholds,
) -> impl Iterator<Item = Anomaly> {
    // A table that was empty or missing before was filled for the first time, so there is nothing to compare it with.
    let filled = previous.iter().filter(|(_, before)| **before > 0);
    filled.filter_map(move |(table, before)| {
        let before = *before;
        match now.get(table).copied() {
            Some(0) => Some(Anomaly::Emptied {
                table: table.clone(),
                before,
            }),
            None => thresholds.below.is_some().then(|| Anomaly::Vanished {
                table: table.clone(),
                before,
            }),
            Some(now) => {
                let matters = before.saturating_sub(now) >= LEAST_LOST
                    || now.saturating_sub(before) >= LEAST_GAINED;
                (matters && is_odd(now, before, thresholds)).then(|| Anomaly::Rows {
                    table: table.clone(),
                    before,
                    now,
                })
            }
        }
    })
}

/// The first anomalies as text, and how many more there are.
#[must_use]
pub fn named(anomalies: &[Anomaly]) -> (Vec<String>, usize) {
    let first = anomalies.iter().take(NAMED).map(Anomaly::to_string);
    (first.collect(), anomalies.len().saturating_sub(NAMED))
}

/// What to do about them.
#[must_use]
pub fn hint(anomalies: &[Anomaly]) -> &'static str {
    match anomalies.first() {
        Some(Anomaly::EndsInside(_)) => script::ENDS_INSIDE_HINT,
        _ => HINT,
    }
}

/// The one line about a backup that is out of the ordinary.
pub fn log(backup: &Backup, anomalies: &[Anomaly]) {
    if anomalies.is_empty() {
        return;
    }
    let (named, left_out) = named(anomalies);
    let mut found = named.join("; ");
    if left_out > 0 {
        found = format!("{found}; and {left_out} more");
    }
    tracing::warn!(name = %backup.name, count = anomalies.len(), found, hint = hint(anomalies), "backup out of the ordinary");
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::catalog::Prefix;

    const USUAL: Thresholds = Thresholds {
        below: Some(Factor::HALF),
        above: Some(Factor::THREE),
    };
    const OFF: Thresholds = Thresholds {
        below: None,
        above: None,
    };

    fn backup(day: i64, size_bytes: u64) -> Backup {
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(day);
        Backup {
            name: Prefix::new(None, "b_").name_at(at),
            finished_at: at,
            aged_from: at,
            size_bytes,
        }
    }

    /// Backups of one size each, the newest first.
    fn before(sizes: &[u64]) -> Vec<Backup> {
        let days = (1..100_i64).rev();
        sizes
            .iter()
            .zip(days)
            .map(|(size, day)| backup(day, *size))
            .collect()
    }

    /// What a dump with these tables holds.
    fn contents(tables: &[(&str, u64)]) -> Contents {
        let mut text = String::new();
        for (table, rows) in tables {
            text += &format!("COPY {table} (a) FROM stdin;\n");
            (0..*rows).for_each(|_| text += "1\n");
            text += "\\.\n\n";
        }
        let mut script = script::Script::default();
        script.read(text.as_bytes());
        script.contents()
    }

    fn of_size(size: u64, sizes: &[u64], thresholds: Thresholds) -> Vec<String> {
        let found = find(
            &backup(100, size),
            &before(sizes),
            &Contents::default(),
            None,
            thresholds,
        );
        found.iter().map(Anomaly::to_string).collect()
    }

    #[test]
    fn the_size_is_held_against_the_median_of_the_seven_before() {
        let seven = [1000, 1100, 900, 1_000_000, 1000, 2, 1000];
        let table: [(u64, &[u64], bool); 12] = [
            (500, &seven, false),
            (499, &seven, true),
            (3000, &seven, false),
            (3001, &seven, true),
            (1000, &seven, false),
            // The eighth counts no more.
            (499, &[400, 400, 400, 400, 400, 400, 400, 9000], false),
            // Too few to say what is usual.
            (1, &[], false),
            (1, &[1000, 1000], false),
            (1, &[1000, 1000, 1000], true),
            // The mean of the two in the middle.
            (1000, &[1000, 2002, 2001, 3000], true),
            (1001, &[1000, 2002, 2001, 3000], false),
            (u64::MAX, &[u64::MAX, u64::MAX, u64::MAX], false),
        ];
        for (size, sizes, odd) in table {
            assert_eq!(
                of_size(size, sizes, USUAL).len(),
                usize::from(odd),
                "{size} after {sizes:?}"
            );
        }
        assert_eq!(
            of_size(400, &seven, USUAL),
            ["the size fell from 1.0 kB to 400 B (median of the 7 before)"]
        );
        assert_eq!(
            of_size(4000, &seven, USUAL),
            ["the size rose from 1.0 kB to 4.0 kB (median of the 7 before)"]
        );
        assert!(of_size(1, &seven, OFF).is_empty());
        assert!(of_size(1_000_000, &seven, OFF).is_empty());
        // One that is younger, of a container whose clock is ahead, and the backup itself are none before it.
        let listed = vec![backup(101, 1), backup(100, 1), backup(99, 1), backup(98, 1)];
        assert!(
            find(
                &backup(100, 1000),
                &listed,
                &Contents::default(),
                None,
                USUAL
            )
            .is_empty()
        );
    }

    #[test]
    fn rows_are_held_against_the_previous_run() {
        let table: [(u64, Option<u64>, Option<&str>); 17] = [
            (1000, Some(1000), None),
            (1000, Some(500), None),
            (1000, Some(499), Some("t fell from 1000 to 499 rows")),
            (1000, Some(3000), None),
            (1000, Some(3001), Some("t rose from 1000 to 3001 rows")),
            (1, Some(4), None),
            (4, Some(1), None),
            (10, Some(109), None),
            (10, Some(110), Some("t rose from 10 to 110 rows")),
            (15, Some(6), None),
            (15, Some(5), Some("t fell from 15 to 5 rows")),
            (1, Some(0), Some("t is empty, it had 1 row")),
            (1000, Some(0), Some("t is empty, it had 1000 rows")),
            (0, Some(0), None),
            (0, Some(1000), None),
            (0, None, None),
            (5, None, Some("t is not there any more, it had 5 rows")),
        ];
        for (before, now, said) in table {
            let previous = contents(&[("t", before)]);
            let now = now.map_or_else(Contents::default, |now| contents(&[("t", now)]));
            let found = |thresholds| {
                let found = find(&backup(1, 1), &[], &now, Some(&previous), thresholds);
                found.iter().map(Anomaly::to_string).collect::<Vec<_>>()
            };
            assert_eq!(found(USUAL), Vec::from_iter(said), "{before} {now:?}");
            // What was emptied is named whatever the thresholds are.
            let emptied = said.filter(|said| said.contains("empty"));
            assert_eq!(found(OFF), Vec::from_iter(emptied), "{before} {now:?}");
        }
        // A table that is new is no change of one.
        let (old, new) = (contents(&[("a", 5)]), contents(&[("a", 5), ("b", 5000)]));
        assert!(find(&backup(1, 1), &[], &new, Some(&old), USUAL).is_empty());
    }

    #[test]
    fn the_worst_comes_first_and_twenty_are_named_of_twenty_thousand() {
        let names: Vec<String> = (0..20_000).map(|n| format!("t{n}")).collect();
        let filled: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 2)).collect();
        let empty: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let with = |more: &[(&'static str, u64)], rest: &[(&'static str, u64)]| {
            contents(&[more, rest].concat())
        };
        let previous = with(
            &[("falls", 100), ("rises", 100), ("goes", 1), ("empties", 1)],
            &[],
        );
        let now = with(&[("falls", 1), ("rises", 1000), ("empties", 0)], &[]);
        let odd = find(
            &backup(100, 1),
            &before(&[9, 9, 9]),
            &now,
            Some(&previous),
            USUAL,
        );
        let order: Vec<String> = odd.iter().map(Anomaly::to_string).collect();
        for (line, word) in order
            .iter()
            .zip(["empties", "goes", "the size", "falls", "rises"])
        {
            assert!(line.starts_with(word), "{order:?}");
        }
        let (full, none) = (contents(&filled), contents(&empty));
        let odd = find(&backup(1, 1), &[], &none, Some(&full), USUAL);
        assert_eq!(odd.len(), 20_000);
        let (named, left_out) = named(&odd);
        assert_eq!((named.len(), left_out), (20, 19_980));
    }

    #[test]
    fn a_text_that_breaks_off_is_the_worst() {
        let mut now = contents(&[("t", 0)]);
        now.ends_inside = Some(Inside::Statement);
        let previous = contents(&[("t", 5)]);
        for thresholds in [USUAL, OFF] {
            let found = find(&backup(1, 1), &[], &now, Some(&previous), thresholds);
            let said: Vec<String> = found.iter().map(Anomaly::to_string).collect();
            assert_eq!(
                said,
                [
                    "the dump ends inside a statement",
                    "t is empty, it had 5 rows"
                ]
            );
            assert_eq!(hint(&found), script::ENDS_INSIDE_HINT);
        }
        assert_eq!(find(&backup(1, 1), &[], &now, None, OFF).len(), 1);
        now.ends_inside = None;
        now.has_more_tables = true;
        assert!(find(&backup(1, 1), &[], &now, Some(&previous), USUAL).is_empty());
    }

    #[test]
    fn a_tables_name_is_one_line_of_limited_length() {
        let name = format!("\"a\u{1b}[2J\u{202e}{}\"", "x".repeat(300));
        let (full, none) = (contents(&[(&name, 1)]), contents(&[(&name, 0)]));
        let said = find(&backup(1, 1), &[], &none, Some(&full), OFF)[0].to_string();
        assert!(said.starts_with(r#""a\u{1b}[2J\u{202e}x"#), "{said}");
        assert!(said.chars().count() < 200, "{said}");
    }

    #[test]
    fn factors_have_three_digits_after_the_point() {
        for (text, factor) in [
            ("0.5", Some(500)),
            ("3", Some(3000)),
            ("1.25", Some(1250)),
            ("0.001", Some(1)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("1e3", None),
            ("0.0001", None),
            ("1,5", None),
            ("99999999999", None),
            ("4294968", None),
        ] {
            assert_eq!(Factor::parse(text), factor.map(Factor), "{text}");
        }
    }
}
