//! What a command finds around it: the environment, the clock and the terminal, as values.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::unusable::{Unusable, log_warnings};
use crate::check::Railway;
use crate::config::{self, Access, Config, ReadFile, Sources};
use crate::format::screen::Screen;
use crate::postgres::{Clients, client_directories};
use crate::progress::Terminal;
use crate::schedule::Clock;

/// What a command finds around it.
pub struct Surroundings {
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Reads the file that a `NAME_FILE` variable names.
    pub read_file: ReadFile,
    /// Both together, for what reads the files again.
    pub sources: Sources,
    /// The wall clock.
    pub clock: Clock,
    /// Where a throwaway server may put its files.
    pub temporary: PathBuf,
    /// What standard output is written to.
    pub screen: Screen,
    /// Where a bar can be drawn, if standard error is a terminal.
    pub terminal: Terminal,
    /// Whether a person can be asked: standard input is a terminal too.
    pub can_ask: bool,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variables hold passwords and keys.
        f.write_str("Surroundings(…)")
    }
}

impl Surroundings {
    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    pub(super) fn path(&self) -> Option<&OsString> {
        let found = self.variables.iter().find(|(name, _)| name == "PATH");
        found.map(|(_, value)| value)
    }

    /// The client programs of this image.
    pub(super) async fn clients(&self) -> Clients {
        Clients::discover(&client_directories(self.path())).await
    }

    pub(super) fn railway(&self) -> Option<Railway> {
        Railway::from_variables(&self.variables)
    }

    pub(super) fn sources(&self) -> Sources {
        self.sources.clone()
    }

    pub(super) fn port(&self) -> u16 {
        config::port(&self.variables)
    }

    /// All of the configuration, as making backups needs it. What is odd about it is logged.
    pub(super) fn config(&self) -> Result<Config, Unusable> {
        let config = Config::from_variables(&self.variables, self.read_file, self.now())?;
        log_warnings(&config.warnings);
        Ok(config)
    }

    /// The part of it that reading backups needs. What is odd about it is logged.
    pub(super) fn access(&self) -> Result<Access, Unusable> {
        let access = Access::from_variables(&self.variables, self.read_file)?;
        log_warnings(&access.warnings);
        Ok(access)
    }
}
