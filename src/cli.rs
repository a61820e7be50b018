//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::process::confine::Confined;
use stream::replay::skip;

/// Scheduled PostgreSQL backups to Cloudflare R2 or any S3, configured by environment variables.
///
/// Without a command it runs as a daemon, which makes a backup at each due time of BACKUP_CRON_SCHEDULE.
/// `--help-env` prints every variable; docs/configuration.md describes each.
#[derive(Debug, Parser)]
#[command(name = "postgres-s3-backups", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do. Without a command the process runs as a daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Print every variable with its default and what it is for
    #[arg(long)]
    pub help_env: bool,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Make one backup now and exit, as with SINGLE_SHOT_MODE=true. Exit code: 0 it is made, 1 it failed, 2 the configuration is wrong
    Backup,
    /// List the backups, newest first
    List(List),
    /// Restore a backup into a database: all of it or nothing, and over existing data only if you ask for that
    Restore(Restore),
    /// Read a backup to its end, or prove it by restoring it into a scratch database
    Verify(Verify),
    /// Find out whether backups can be made, from the configuration, the database and the bucket. Nothing is changed
    Check(Check),
    /// Ask the daemon on this machine's PORT whether it is running: exit code 0 or 1 (the container's HEALTHCHECK)
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

impl From<Skippable> for skip::ObjectKind {
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
    /// A name as `list` prints it, the time in it (2026-01-25_03-00-00), or latest
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
    /// Allow the target to be the database that is backed up, or one that may be it because the two can't be compared; needs --clean too
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
    /// Accept a backup that was renamed or copied to another name after it was made
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
    /// Restore into a new database: NAME, or the name in the URL followed by the backup's time
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, conflicts_with_all = ["clean", "yes_overwrite_source"])]
    pub create: Option<Option<String>>,
    /// Put the new database in the place of the one in the URL (or NAME), which is kept as NAME_before_TIME
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
    /// A name as `list` prints it, the time in it (2026-01-25_03-00-00), or latest
    #[arg(default_value = "latest", conflicts_with = "all")]
    pub name: String,
    /// Every backup in the bucket, and what Railway's template left there
    #[arg(long)]
    pub all: bool,
    /// Prove it by restoring it into a scratch database of this server (its URL), or of a throwaway server (embedded)
    #[arg(long, value_name = "URL|embedded", conflicts_with = "all")]
    pub into: Option<String>,
    /// Accept backups that were renamed or copied to another name after they were made
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
