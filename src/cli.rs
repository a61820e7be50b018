//! The command line.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::catalog::Backup;
use crate::format::text::{visible, visible_json};
use crate::format::{age, change_percent, size, utc};
use crate::process::confine::Confined;
use stream::replay::skip;

/// Scheduled PostgreSQL backups to Cloudflare R2 or any S3, configured by environment variables.
///
/// Without a command it stays and runs a backup at each due time of BACKUP_CRON_SCHEDULE.
/// Every variable is described in docs/configuration.md and .env.example.
#[derive(Debug, Parser)]
#[command(name = "postgres-s3-backups", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do instead of staying.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Make one backup now and exit: 0 done, 1 it did not work, 2 configuration (as SINGLE_SHOT_MODE=true)
    Backup,
    /// List the backups, newest first
    List(List),
    /// Restore a backup into a database: all of it or nothing, and never over data unasked
    Restore(Restore),
    /// Read a backup whole, or prove it by restoring it into a scratch database
    Verify(Verify),
    /// Look whether backups can be made: configuration, database, bucket. Nothing is changed
    Check(Check),
    /// Ask the daemon on this machine's PORT whether it lives: exit 0 or 1 (the container's HEALTHCHECK)
    Health,
    /// Become another program that reaches nothing but its own files (used by embedded drills)
    #[command(hide = true)]
    Confined(Confined),
}

/// What `restore --skip` can leave out, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Skippable {
    /// Event triggers, which only a superuser may create
    EventTriggers,
    /// Publications
    Publications,
    /// Subscriptions
    Subscriptions,
    /// Extensions; the target must have those that the data needs
    Extensions,
}

impl From<Skippable> for skip::Kind {
    fn from(named: Skippable) -> Self {
        match named {
            Skippable::EventTriggers => Self::EventTriggers,
            Skippable::Publications => Self::Publications,
            Skippable::Subscriptions => Self::Subscriptions,
            Skippable::Extensions => Self::Extensions,
        }
    }
}

/// What `list` can be told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print the newest N only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// What `restore` can be told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Restore {
    /// A name as `list` prints it, or latest
    #[arg(default_value = "latest")]
    pub name: String,
    /// The database to restore into; better in RESTORE_DATABASE_URL, since other users of the machine can read a command line
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Replace everything that the target holds, in the same transaction
    #[arg(long)]
    pub clean: bool,
    /// Do not ask before --clean or --swap replaces something
    #[arg(long)]
    pub yes: bool,
    /// Allow the target to be the database that is backed up; needs --clean too
    #[arg(long)]
    pub yes_overwrite_source: bool,
    /// Leave owners out: everything will belong to the target's user
    #[arg(long)]
    pub no_owner: bool,
    /// Leave grants out
    #[arg(long)]
    pub no_privileges: bool,
    /// Leave these kinds of objects out, for a user who may not create them
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    pub skip: Vec<Skippable>,
    /// Do not read the backup whole before the target is touched (it is read whole before the commit all the same)
    #[arg(long)]
    pub no_verify: bool,
    /// Do not run ANALYZE at the end
    #[arg(long)]
    pub no_analyze: bool,
    /// Take a backup that was given another name since it was made
    #[arg(long)]
    pub renamed: bool,
    /// First create the roles that the target's server lacks, from what BACKUP_GLOBALS=true stored beside the backup: with their
    /// password hashes, memberships and settings. SUPERUSER, REPLICATION and BYPASSRLS are given too if the target's user is a
    /// superuser; such roles are named before. Nothing that is there is changed
    #[arg(long)]
    pub globals: bool,
    /// Look in these schemas for what the backup's functions name without one, as in --search-path public
    #[arg(long, value_name = "SCHEMA[,SCHEMA…]", value_delimiter = ',')]
    pub search_path: Vec<String>,
    /// Make a new database for it: NAME, or the name in the URL with the backup's time behind it
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, conflicts_with_all = ["clean", "yes_overwrite_source"])]
    pub create: Option<Option<String>>,
    /// Put the new database in the place of the one in the URL (or NAME), which stays as NAME_before_TIME
    #[arg(long, conflicts_with_all = ["clean", "yes_overwrite_source"])]
    pub swap: bool,
    /// End the sessions that are connected to the old database before --swap renames it
    #[arg(long, requires = "swap")]
    pub disconnect: bool,
    /// Print the settings of the database that was backed up (ALTER DATABASE … SET), and apply none
    #[arg(long)]
    pub no_settings: bool,
    /// Let everybody create in the schema public again, if the backup is of 14 or older and the target is newer
    #[arg(long)]
    pub public_create: bool,
}

impl Restore {
    /// Whether it goes into a database that the restore makes itself.
    #[must_use]
    pub const fn makes_a_database(&self) -> bool {
        self.create.is_some() || self.swap
    }
}

/// What `verify` can be told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Verify {
    /// A name as `list` prints it, or latest
    #[arg(default_value = "latest", conflicts_with = "all")]
    pub name: String,
    /// Every backup in the bucket, and what Railway's template left there
    #[arg(long)]
    pub all: bool,
    /// Prove it by restoring it into a scratch database of this server (its URL), or of a throwaway server (embedded)
    #[arg(long, value_name = "URL|embedded", conflicts_with = "all")]
    pub into: Option<String>,
    /// Take backups that were given another name since they were made
    #[arg(long)]
    pub renamed: bool,
    /// With --into, look in these schemas for what the backup's functions name without one
    #[arg(
        long,
        value_name = "SCHEMA[,SCHEMA…]",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    pub search_path: Vec<String>,
}

/// What `check` can be told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Check {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
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
#[must_use]
pub fn list(
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
            list(&backups(), &none, &options(false, Some(2)), now),
            "NAME                           TAKEN AT (UTC)             AGE       SIZE    CHANGE\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00     90 min     1.2 MB   +23.4 %\n\
             db_2026-01-25_03-00-00.sql.gz  2026-01-25 03:00:00       25 h     1.0 MB\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&list(&backups(), &none, &options(true, None), now)).unwrap();
        assert_eq!(
            json[0],
            serde_json::json!({"name": "db_2026-01-26_03-00-00.sql.gz", "taken_at": "2026-01-26T03:00:00Z", "age_seconds": 5400, "size_bytes": 1_234_567, "size_change_percent": 23.4, "dated_ahead": false, "globals": false})
        );
        assert_eq!(json[2]["size_change_percent"], serde_json::Value::Null);
        // One has the roles of the server beside it.
        let globals = BTreeSet::from([backups()[1].name.at()]);
        assert_eq!(
            list(&backups(), &globals, &options(false, Some(2)), now),
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
            list(&odd, &none, &options(false, None), now),
            "NAME                           TAKEN AT (UTC)             AGE       SIZE    CHANGE\n\
             db_9999-12-31_23-59-59.sql.gz  9999-12-31 23:59:59          ?     1.0 MB  dated ahead: never taken for the newest\n\
             db_2026-01-26_03-00-00.sql.gz  2026-01-26 03:00:00          ?     1.2 MB\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&list(&odd, &none, &options(true, None), now)).unwrap();
        for (at, dated_ahead) in [(0, true), (1, false)] {
            assert_eq!(json[at]["dated_ahead"], dated_ahead);
            assert_eq!(json[at]["age_seconds"], serde_json::Value::Null);
        }
        assert_eq!(list(&[], &none, &options(true, None), now), "[]\n");
        assert_eq!(
            list(&[], &none, &options(false, None), now),
            "There are no backups yet.\n"
        );
    }
}
