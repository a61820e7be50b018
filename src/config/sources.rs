//! Where the values of variables come from. A value that comes from a file can change while the service runs.

use std::ffi::OsString;
use std::fmt;

use super::problem::{Findings, Problem};
use super::variables::Variable;
use super::{Given, proof, store};
use crate::drill::DrillServer;
use crate::network::address::Address;
use crate::postgres::DatabaseUrl;
use crate::secret::Secret;
use crate::store::StoreSettings;

/// Reads the file of a `NAME_FILE` variable.
pub type ReadFile = fn(&str) -> Result<String, String>;

/// The variables of the process, and the function that reads the files which some of them name.
#[derive(Clone)]
pub struct Sources {
    variables: Vec<(OsString, OsString)>,
    read_file: ReadFile,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources(…)")
    }
}

/// What the files held when they were read again. A value is absent if it was not set or can't be used.
#[derive(Debug, Default)]
pub struct Secrets {
    /// The store's keys.
    pub store: Option<StoreSettings>,
    /// `BACKUP_DATABASE_URL`
    pub database: Option<DatabaseUrl>,
    /// `VERIFY_DATABASE_URL`
    pub drills: Option<DrillServer>,
    /// `ALERT_WEBHOOK_URL`
    pub alerts: Option<Address>,
    /// `HEARTBEAT_URL`
    pub heartbeat: Option<Address>,
    /// `STATUS_TOKEN`
    pub status_token: Option<Secret>,
    /// What is wrong with those that can't be used.
    pub problems: Vec<Problem>,
}

impl Sources {
    /// Puts the variables together with the function that reads their files.
    #[must_use]
    pub fn new(variables: &[(OsString, OsString)], read_file: ReadFile) -> Self {
        Self {
            variables: variables.to_vec(),
            read_file,
        }
    }

    /// Whether any secret comes from a file.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.variables.iter().any(|(name, value)| {
            let is_file =
                |name: &str| Variable::called(name).is_some_and(|known| known.name != name);
            name.to_str().is_some_and(is_file) && !value.is_empty()
        })
    }

    /// Reads all secrets once more.
    #[must_use]
    pub fn read(&self) -> Secrets {
        let mut findings = Findings::default();
        let given = Given::read(&self.variables, self.read_file, &mut findings);
        let store = store::settings(&given, &mut findings);
        let mut secrets = Secrets {
            database: given.source(&mut findings),
            drills: proof::server(&given, &mut findings),
            alerts: given.alerts(&mut findings),
            heartbeat: given.heartbeat(&mut findings),
            ..Secrets::default()
        };
        secrets.status_token = given.settings.status_token;
        // The keys belong together: if one of them is wrong, the others are not used either.
        if !store::CONNECTION
            .iter()
            .any(|variable| findings.has_refused(variable))
        {
            secrets.store = store;
        }
        findings.sort();
        secrets.problems = findings.problems;
        secrets
    }
}
