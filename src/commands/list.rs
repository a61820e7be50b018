//! `list`: the backups in the bucket.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{NO_BACKUPS_HINT, Surroundings, catalog, could_not_read, print};
use crate::catalog::{Backup, Listing};
use crate::cli::List;
use crate::format::screen::Screen;
use crate::format::text::{visible, visible_json};
use crate::format::{age, change_percent, count, size, utc};
use crate::process::Ending;

pub(super) async fn run(around: &Surroundings, options: &List) -> anyhow::Result<Ending> {
    let (access, now) = (around.access()?, around.now());
    let listing = match catalog(&access).list(now).await {
        Ok(listing) => listing,
        Err(error) => return Ok(could_not_read(&error)),
    };
    listing.log_left_out();
    if listing.kept.is_empty() {
        tracing::warn!(
            bucket = access.store.bucket,
            prefix = access.prefix.as_str(),
            hint = NO_BACKUPS_HINT,
            "there are no backups yet"
        );
    }
    print(&table(&listing, options, around.screen, now))?;
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
const DATED_AHEAD: &str = "dated ahead";

/// The backups, newest first, as JSON or as a table for a person.
fn table(listing: &Listing<Backup>, options: &List, screen: Screen, now: DateTime<Utc>) -> String {
    let (backups, globals) = (&listing.kept, &listing.globals);
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
    rows(&listed, !globals.is_empty(), screen) + &footer(&listed, listing)
}

/// A column of the table.
struct Column {
    title: &'static str,
    /// Whether its values end where its title ends, as numbers do.
    is_right: bool,
    values: Vec<String>,
    /// The columns of the highest rank are left out first where a terminal is too narrow; those of rank 0 never are.
    rank: u8,
}

impl Column {
    fn width(&self) -> usize {
        let values = self.values.iter().map(String::as_str).chain([self.title]);
        values.map(|value| value.chars().count()).max().unwrap_or(0)
    }

    fn cell(&self, value: &str) -> String {
        let width = self.width();
        if self.is_right {
            format!("{value:>width$}")
        } else {
            format!("{value:width$}")
        }
    }
}

/// A name says when its backup was taken, so on a narrow terminal that column goes first. A name itself is never cut: it is copied.
fn rows(listed: &[Listed], has_globals: bool, screen: Screen) -> String {
    let column = |title, is_right, rank, value: &dyn Fn(&Listed) -> String| Column {
        title,
        is_right,
        values: listed.iter().map(value).collect(),
        rank,
    };
    let mut columns = vec![
        column("NAME", false, 0, &|line| visible(&line.name).into_owned()),
        column("TAKEN AT (UTC)", false, 3, &|line| {
            line.taken_at.replace(['T', 'Z'], " ").trim().to_owned()
        }),
        column("AGE", true, 0, &|line| {
            line.age_seconds.map_or_else(|| "?".to_owned(), age)
        }),
        column("SIZE", true, 0, &|line| size(line.size_bytes)),
        column("CHANGE", true, 2, &|line| match line.size_change_percent {
            Some(percent) => format!("{percent:+.1} %"),
            None if line.dated_ahead => DATED_AHEAD.to_owned(),
            None => String::new(),
        }),
    ];
    if has_globals {
        columns.push(column("GLOBALS", false, 1, &|line| {
            if line.globals { "yes" } else { "" }.to_owned()
        }));
    }
    let length = |columns: &[Column]| {
        let widths = columns.iter().map(|column| column.width() + 2);
        widths.sum::<usize>().saturating_sub(2)
    };
    let room = screen.width().unwrap_or(usize::MAX);
    for rank in [3, 2, 1] {
        if length(&columns) > room {
            columns.retain(|column| column.rank != rank);
        }
    }
    let titles = columns.iter().map(|column| column.cell(column.title));
    let mut lines = vec![titles.collect::<Vec<_>>().join("  ")];
    for at in 0..listed.len() {
        let cells = columns.iter().map(|column| {
            let value = column.values.get(at).map_or("", String::as_str);
            column.cell(value)
        });
        lines.push(cells.collect::<Vec<_>>().join("  "));
    }
    lines
        .iter()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// How many there are, how much they hold, and what is not shown.
fn footer(listed: &[Listed], listing: &Listing<Backup>) -> String {
    let all = listing.kept.iter();
    let total = size(all.fold(0, |sum: u64, backup| sum.saturating_add(backup.size_bytes)));
    let all = count(listing.kept.len(), "backup");
    let mut text = if listed.len() < listing.kept.len() {
        format!(
            "The newest {} of {all}, which hold {total} in all.",
            listed.len()
        )
    } else {
        format!("{all}, {total} in all.")
    };
    if listing.left_out > 0 {
        text += &format!(
            " {} left out and not counted.",
            count(listing.left_out, "older one")
        );
    }
    if listed.iter().any(|line| line.dated_ahead) {
        text += " One that is dated ahead is never taken for the newest.";
    }
    text + "\n"
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

    /// The list of these backups, the roles of the server beside those of these times, on a screen.
    fn shown(
        backups: Vec<Backup>,
        globals: &[DateTime<Utc>],
        options: &List,
        screen: Screen,
    ) -> String {
        let listing = Listing {
            kept: backups,
            globals: globals.iter().copied().collect(),
            left_out: 0,
            store_time: None,
        };
        table(&listing, options, screen, now())
    }

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 26, 4, 30, 0).unwrap()
    }

    const fn options(json: bool, limit: Option<usize>) -> List {
        List { json, limit }
    }

    #[test]
    fn the_list_is_a_table_or_json() {
        let file = Screen::default();
        assert_eq!(
            shown(backups(), &[], &options(false, Some(2)), file),
            "NAME                           TAKEN AT (UTC)          AGE    SIZE   CHANGE\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00  90 min  1.2 MB  +23.4 %\n\
             db_2026-01-25_03-00-00.sql.gz  2026-01-25 03:00:00    25 h  1.0 MB\n\
             The newest 2 of 3 backups, which hold 2.2 MB in all.\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&shown(backups(), &[], &options(true, None), file)).unwrap();
        assert_eq!(
            json[0],
            serde_json::json!({"name": "db_2026-01-26_03-00-00.sql.gz", "taken_at": "2026-01-26T03:00:00Z", "age_seconds": 5400, "size_bytes": 1_234_567, "size_change_percent": 23.4, "dated_ahead": false, "globals": false})
        );
        assert_eq!(json[2]["size_change_percent"], serde_json::Value::Null);
        // One has the roles of the server beside it.
        let globals = [backups()[1].name.at()];
        assert_eq!(
            shown(backups(), &globals, &options(false, Some(2)), file),
            "NAME                           TAKEN AT (UTC)          AGE    SIZE   CHANGE  GLOBALS\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00  90 min  1.2 MB  +23.4 %\n\
             db_2026-01-25_03-00-00.sql.gz  2026-01-25 03:00:00    25 h  1.0 MB           yes\n\
             The newest 2 of 3 backups, which hold 2.2 MB in all.\n"
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
        let newest = stored(backups().remove(0), now() + chrono::TimeDelta::hours(1));
        let odd = vec![ahead, newest];
        assert_eq!(
            shown(odd.clone(), &[], &options(false, None), file),
            "NAME                           TAKEN AT (UTC)       AGE    SIZE       CHANGE\n\
             db_9999-12-31_23-59-59.sql.gz  9999-12-31 23:59:59    ?  1.0 MB  dated ahead\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00    ?  1.2 MB\n\
             2 backups, 2.2 MB in all. One that is dated ahead is never taken for the newest.\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&shown(odd, &[], &options(true, None), file)).unwrap();
        for (at, dated_ahead) in [(0, true), (1, false)] {
            assert_eq!(json[at]["dated_ahead"], dated_ahead);
            assert_eq!(json[at]["age_seconds"], serde_json::Value::Null);
        }
        assert_eq!(shown(vec![], &[], &options(true, None), file), "[]\n");
        assert_eq!(
            shown(vec![], &[], &options(false, None), file),
            "There are no backups yet.\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_what_the_name_says_too_is_left_out_first() {
        let globals = [backups()[0].name.at()];
        for (columns, titles) in [
            (100, "NAME TAKEN AT (UTC) AGE SIZE CHANGE GLOBALS"),
            (80, "NAME AGE SIZE CHANGE GLOBALS"),
            (60, "NAME AGE SIZE GLOBALS"),
            (50, "NAME AGE SIZE"),
            (10, "NAME AGE SIZE"),
        ] {
            let screen = Screen::terminal(columns, false);
            let text = shown(backups(), &globals, &options(false, None), screen);
            let first: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
            assert_eq!(first.join(" "), titles, "{columns}");
            assert!(text.contains("\ndb_2026-01-26_03-00-00.sql.gz  "), "{text}");
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(
                columns == 10 || widest <= Some(usize::from(columns)),
                "{text}"
            );
        }
        let more = Listing {
            kept: backups(),
            left_out: 1,
            store_time: None,
            globals: std::collections::BTreeSet::new(),
        };
        let text = table(&more, &options(false, None), Screen::default(), now());
        assert!(
            text.ends_with("\n3 backups, 2.2 MB in all. 1 older one left out and not counted.\n"),
            "{text}"
        );
    }
}
