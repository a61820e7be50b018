//! `list`: the backups in the bucket.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Surroundings, catalog, could_not_read, print};
use crate::catalog::Backup;
use crate::cli::List;
use crate::format::text::{visible, visible_json};
use crate::format::{age, change_percent, size, utc};
use crate::process::Ending;

pub(super) async fn run(around: &Surroundings, options: &List) -> anyhow::Result<Ending> {
    let (access, now) = (around.access()?, around.now());
    let listing = match catalog(&access).list(now).await {
        Ok(listing) => listing,
        Err(error) => return Ok(could_not_read(&error)),
    };
    listing.log_left_out();
    print(&table(&listing.kept, &listing.globals, options, now))?;
    Ok(Ending::Done)
}

/// A line of `list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    taken_at: String,
    /// None if the clocks do not say.
    age_seconds: Option<u64>,
    size_bytes: u64,
    /// Against the backup before it, if there is one.
    size_change_percent: Option<f64>,
    /// Whether the time in the name can't be true, so that it is never taken for the newest.
    dated_ahead: bool,
    /// Whether the roles and settings of the server lie beside it.
    globals: bool,
}

/// What stands behind a backup whose name can't be true.
const DATED_AHEAD: &str = "dated ahead: never taken for the newest";

/// The backups, newest first, as JSON or as a table for a person.
fn table(
    backups: &[Backup],
    globals: &BTreeSet<DateTime<Utc>>,
    options: &List,
    now: DateTime<Utc>,
) -> String {
    // What is dated ahead is neither compared nor compared with.
    let olders = backups.iter().skip(1).map(Some).chain([None]);
    let listed = backups.iter().zip(olders).map(|(backup, older)| {
        let dated_ahead = backup.is_dated_ahead(now);
        let age = backup.age(now).filter(|_| !dated_ahead);
        Listed {
            name: backup.name.to_string(),
            taken_at: utc(backup.name.at()),
            age_seconds: age.map(|age| age.as_secs()),
            size_bytes: backup.size_bytes,
            size_change_percent: older
                .filter(|_| !dated_ahead)
                .and_then(|older| change_percent(older.size_bytes, backup.size_bytes)),
            dated_ahead,
            globals: globals.contains(&backup.name.at()),
        }
    });
    let listed: Vec<Listed> = listed.take(options.limit.unwrap_or(usize::MAX)).collect();
    if options.json {
        let text = serde_json::to_string_pretty(&listed).unwrap_or_default();
        return visible_json(&text).into_owned() + "\n";
    }
    if listed.is_empty() {
        return "There are no backups yet.\n".to_owned();
    }
    let shown: Vec<_> = listed.iter().map(|line| visible(&line.name)).collect();
    let width = shown.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = format!(
        "{:width$}  {:20}  {:>8}  {:>9}  {:>8}{}\n",
        "NAME",
        "TAKEN AT (UTC)",
        "AGE",
        "SIZE",
        "CHANGE",
        if globals.is_empty() { "" } else { "  GLOBALS" },
    );
    for (line, name) in listed.iter().zip(&shown) {
        let change = match line.size_change_percent {
            Some(percent) => format!("{percent:+.1} %"),
            None if line.dated_ahead => DATED_AHEAD.to_owned(),
            None => String::new(),
        };
        let line = format!(
            "{name:width$}  {:20}  {:>8}  {:>9}  {change:>8}{}",
            line.taken_at.replace(['T', 'Z'], " ").trim(),
            line.age_seconds.map_or_else(|| "?".to_owned(), age),
            size(line.size_bytes),
            if line.globals { "  yes" } else { "" },
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::catalog::Prefix;

    fn backups() -> Vec<Backup> {
        let prefix = Prefix::new(None, "db_");
        [(26, 3, 1_234_567), (25, 3, 1_000_000), (24, 3, 0)]
            .map(|(day, hour, size_bytes)| {
                let at = Utc.with_ymd_and_hms(2026, 1, day, hour, 0, 0).unwrap();
                Backup {
                    name: prefix.name_at(at),
                    finished_at: at,
                    aged_from: at,
                    size_bytes,
                }
            })
            .into()
    }

    #[test]
    fn the_list_is_a_table_or_json() {
        let now = Utc.with_ymd_and_hms(2026, 1, 26, 4, 30, 0).unwrap();
        let options = |json, limit| List { json, limit };
        let none = BTreeSet::new();
        assert_eq!(
            table(&backups(), &none, &options(false, Some(2)), now),
            "NAME                           TAKEN AT (UTC)             AGE       SIZE    CHANGE\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00     90 min     1.2 MB   +23.4 %\n\
             db_2026-01-25_03-00-00.sql.gz  2026-01-25 03:00:00       25 h     1.0 MB\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&table(&backups(), &none, &options(true, None), now)).unwrap();
        assert_eq!(
            json[0],
            serde_json::json!({"name": "db_2026-01-26_03-00-00.sql.gz", "taken_at": "2026-01-26T03:00:00Z", "age_seconds": 5400, "size_bytes": 1_234_567, "size_change_percent": 23.4, "dated_ahead": false, "globals": false})
        );
        assert_eq!(json[2]["size_change_percent"], serde_json::Value::Null);
        // One has the roles of the server beside it.
        let globals = BTreeSet::from([backups()[1].name.at()]);
        assert_eq!(
            table(&backups(), &globals, &options(false, Some(2)), now),
            "NAME                           TAKEN AT (UTC)             AGE       SIZE    CHANGE  GLOBALS\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00     90 min     1.2 MB   +23.4 %\n\
             db_2026-01-25_03-00-00.sql.gz  2026-01-25 03:00:00       25 h     1.0 MB            yes\n"
        );
        // A name that can't be true is seen, and neither has an age nor is compared.
        let stored = |mut backup: Backup, at| {
            (backup.finished_at, backup.aged_from) = (at, at);
            backup
        };
        let ahead = Backup {
            name: Prefix::new(None, "db_").name_at("9999-12-31T23:59:59Z".parse().unwrap()),
            ..backups().remove(1)
        };
        let newest = stored(backups().remove(0), now + chrono::TimeDelta::hours(1));
        let odd = [ahead, newest];
        assert_eq!(
            table(&odd, &none, &options(false, None), now),
            "NAME                           TAKEN AT (UTC)             AGE       SIZE    CHANGE\n\
             db_9999-12-31_23-59-59.sql.gz  9999-12-31 23:59:59          ?     1.0 MB  dated ahead: never taken for the newest\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00          ?     1.2 MB\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&table(&odd, &none, &options(true, None), now)).unwrap();
        for (at, dated_ahead) in [(0, true), (1, false)] {
            assert_eq!(json[at]["dated_ahead"], dated_ahead);
            assert_eq!(json[at]["age_seconds"], serde_json::Value::Null);
        }
        assert_eq!(table(&[], &none, &options(true, None), now), "[]\n");
        assert_eq!(
            table(&[], &none, &options(false, None), now),
            "There are no backups yet.\n"
        );
    }
}
