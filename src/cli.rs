//! The command line.

use clap::{Parser, Subcommand};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Make one backup now and exit: 0 done, 1 it did not work, 2 configuration (as SINGLE_SHOT_MODE=true)
    Backup,
    /// Ask the daemon on this machine's PORT whether it lives: exit 0 or 1 (the container's HEALTHCHECK)
    Health,
}
