//! Turns the variables into a [`Config`], or into the list of everything that is wrong with them.
//!
//! The text of a problem never repeats a value: half of the variables hold secrets, and operators sometimes paste a secret
//! into the wrong variable.

use std::ffi::OsString;
use std::time::Duration;

pub mod help;
mod log;
pub mod options;
mod parse;
mod problem;
mod proof;
mod sources;
mod store;
mod timing;
mod values;
mod variables;

use chrono::{DateTime, Utc};
use stream::level::Level;

use crate::board::anomaly::Thresholds;
use crate::catalog::Prefix;
use crate::fault::Wrong;
use crate::network::address::{Address, is_local};
use crate::network::proxy::Proxies;
use crate::postgres::{DatabaseUrl, Inherited, Remark};
use crate::schedule::Schedule;
use crate::secret::Secret;
use crate::store::StoreSettings;

pub use log::{log_settings, port};
use options::Options;
pub use problem::{Findings, Problem};
pub use proof::Drilling;
pub use sources::{ReadFile, Secrets, Sources};
use values::present;
use variables::{
    ALERT_WEBHOOK_URL, BACKUP_DATABASE_URL, BACKUP_MAX_AGE, BACKUP_OPTIONS, HEARTBEAT_URL,
    RESTORE_DATABASE_URL, Settings,
};
pub use variables::{ForReaders, Group, Unset, VARIABLES, Variable};

/// A configuration that is valid as a whole.
#[derive(Debug)]
pub struct Config {
    /// What is backed up. So far this is one series, but the rest of the program handles any number.
    pub series: SeriesSettings,
    /// `SINGLE_SHOT_MODE`
    pub single_shot: bool,
    /// `PORT`
    pub port: u16,
    /// `ALERT_WEBHOOK_URL`
    pub alerts: Option<Address>,
    /// `STATUS_TOKEN`
    pub status_token: Option<Secret>,
    /// What is odd but usable.
    pub warnings: Vec<Problem>,
}

/// The settings of one series of backups: which database, where its backups go, and when they are made.
#[derive(Debug, Clone)]
pub struct SeriesSettings {
    /// Where the backups go.
    pub store: StoreSettings,
    /// What is dumped.
    pub database: DatabaseUrl,
    /// `BACKUP_CRON_SCHEDULE` in `TZ`.
    pub schedule: Schedule,
    /// `BUCKET_SUBFOLDER` and `BACKUP_FILE_PREFIX`.
    pub prefix: Prefix,
    /// `BACKUP_OPTIONS`, split as a shell would.
    pub options: Vec<String>,
    /// `RUN_ON_STARTUP`
    pub run_on_startup: bool,
    /// `BACKUP_CATCH_UP`
    pub catch_up: bool,
    /// `BACKUP_MAX_AGE`
    pub max_age: Duration,
    /// `BACKUP_TIMEOUT`
    pub timeout: Duration,
    /// `BACKUP_SERVER_WAIT`
    pub server_wait: Duration,
    /// `BACKUP_RETRIES`
    pub retries: usize,
    /// `BACKUP_COMPRESSION`
    pub compression: Level,
    /// `BACKUP_COMPRESSION_THREADS`; if there is none, the number depends on the machine.
    pub compression_threads: Option<usize>,
    /// `VERIFY_SCHEDULE`, and where and how backups are proven.
    pub drills: Option<(Schedule, Drilling)>,
    /// `HEARTBEAT_URL`
    pub heartbeat: Option<Address>,
    /// `ANOMALY_BELOW` and `ANOMALY_ABOVE`
    pub thresholds: Thresholds,
    /// `BACKUP_GLOBALS`
    pub globals: bool,
}

impl SeriesSettings {
    /// Whether `BACKUP_OPTIONS` leaves part of the database out.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        Options::read(&self.options).is_partial()
    }
}

impl Config {
    /// Reads the variables. `read_file` is asked for the content of `NAME_FILE`.
    ///
    /// # Errors
    /// Returns every problem of every variable, in the order of [`VARIABLES`].
    pub fn from_variables(
        variables: &[(OsString, OsString)],
        read_file: impl Fn(&str) -> Result<String, String>,
        now: DateTime<Utc>,
    ) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let given = Given::read(variables, read_file, &mut findings);
        let config = Self::put_together(given, &mut findings, now);
        findings.sort();
        match config {
            Some(mut config) if findings.problems.is_empty() => {
                config.warnings = findings.warnings;
                Ok(config)
            }
            _ => Err(findings),
        }
    }

    /// Puts the variables together. Each part is checked, even if an earlier one has a problem.
    fn put_together(given: Given, findings: &mut Findings, now: DateTime<Utc>) -> Option<Self> {
        let store = store::settings(&given, findings);
        findings.require(
            &BACKUP_DATABASE_URL,
            given.settings.backup_database_url.is_some(),
            "set it to the database's URL; on Railway to ${{Postgres.DATABASE_URL}}",
        );
        let source = given.source(findings);
        given.target(findings);
        let drills = proof::drills(&given, findings, now);
        let alerts = given.alerts(findings);
        let heartbeat = given.heartbeat(findings);
        let schedule = timing::schedule(&given.settings, findings, now);
        let prefix = store::prefix(&given.settings, findings);
        let options = options(&given.settings, findings);
        let settings = given.settings;
        let schedule = schedule?;
        let longest_gap = schedule.longest_gap(now);
        let chosen_age = settings.backup_max_age;
        if chosen_age.is_some_and(|age| age < longest_gap) {
            findings.warn(BACKUP_MAX_AGE.name, format!("is shorter than the longest gap of the schedule ({} s): /health will be 503 before each run", longest_gap.as_secs()));
        }
        Some(Self {
            series: SeriesSettings {
                store: store?,
                database: source?,
                prefix: prefix?,
                options: options?,
                run_on_startup: settings.run_on_startup?,
                catch_up: settings.backup_catch_up?,
                max_age: chosen_age.unwrap_or(longest_gap + Duration::from_secs(3600)),
                timeout: settings.backup_timeout?,
                server_wait: settings.backup_server_wait?,
                retries: usize::from(settings.backup_retries?),
                compression: settings.backup_compression?,
                compression_threads: settings.backup_compression_threads.map(usize::from),
                drills,
                heartbeat,
                thresholds: Thresholds {
                    below: settings.anomaly_below?,
                    above: settings.anomaly_above?,
                },
                schedule,
                globals: settings.backup_globals?,
            },
            single_shot: settings.single_shot_mode?,
            port: settings.port?,
            alerts,
            status_token: settings.status_token,
            warnings: Vec::new(),
        })
    }
}

/// What the commands that read backups need. A wrong schedule must not stop a restore, so only the variables that matter to
/// these commands are checked.
#[derive(Debug)]
pub struct Access {
    /// Where the backups are.
    pub store: StoreSettings,
    /// `BUCKET_SUBFOLDER` and `BACKUP_FILE_PREFIX`.
    pub prefix: Prefix,
    /// `BACKUP_DATABASE_URL`, so that a restore can't overwrite that database by accident.
    pub source: Option<DatabaseUrl>,
    /// `RESTORE_DATABASE_URL`
    pub target: Option<DatabaseUrl>,
    /// `VERIFY_SQL`
    pub verify_sql: Option<String>,
    /// `VERIFY_UNCONFINED`
    pub may_be_unconfined: bool,
    /// `BACKUP_TIMEOUT`
    pub timeout: Duration,
    /// What is odd but usable.
    pub warnings: Vec<Problem>,
}

impl Access {
    /// Reads the variables that matter for reading backups.
    ///
    /// # Errors
    /// Returns every problem of these variables.
    pub fn from_variables(
        variables: &[(OsString, OsString)],
        read_file: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let given = Given::read(variables, read_file, &mut findings);
        findings.keep_for_readers();
        let access = Self::put_together(given, &mut findings);
        findings.sort();
        match access {
            Some(mut access) if findings.problems.is_empty() => {
                access.warnings = findings.warnings;
                Ok(access)
            }
            _ => Err(findings),
        }
    }

    fn put_together(given: Given, findings: &mut Findings) -> Option<Self> {
        let store = store::settings(&given, findings);
        let prefix = store::prefix(&given.settings, findings);
        let source = given.source(findings);
        let target = given.target(findings);
        let settings = given.settings;
        Some(Self {
            store: store?,
            prefix: prefix?,
            source,
            target,
            verify_sql: settings.verify_sql,
            may_be_unconfined: settings.verify_unconfined?,
            timeout: settings.backup_timeout?,
            warnings: Vec::new(),
        })
    }
}

/// All variables that were given, each read by itself.
struct Given {
    settings: Settings,
    /// libpq's own variables. They apply where `BACKUP_DATABASE_URL` leaves something out.
    inherited: Inherited,
    /// The proxies.
    proxies: Proxies,
}

impl Given {
    fn read(
        variables: &[(OsString, OsString)],
        read_file: impl Fn(&str) -> Result<String, String>,
        findings: &mut Findings,
    ) -> Self {
        let present = present(variables, read_file, findings);
        Self {
            settings: Settings::read(present, findings),
            inherited: Inherited::from_variables(variables),
            proxies: proxies(variables, findings),
        }
    }

    /// `BACKUP_DATABASE_URL`
    fn source(&self, findings: &mut Findings) -> Option<DatabaseUrl> {
        let url = self.settings.backup_database_url.as_ref();
        database(&BACKUP_DATABASE_URL, url, &self.inherited, findings)
    }

    /// `RESTORE_DATABASE_URL`
    fn target(&self, findings: &mut Findings) -> Option<DatabaseUrl> {
        let url = self.settings.restore_database_url.as_ref();
        database(&RESTORE_DATABASE_URL, url, &Inherited::default(), findings)
    }

    /// `ALERT_WEBHOOK_URL`
    fn alerts(&self, findings: &mut Findings) -> Option<Address> {
        let url = self.settings.alert_webhook_url.as_ref();
        address(&ALERT_WEBHOOK_URL, url, &self.proxies, findings)
    }

    /// `HEARTBEAT_URL`
    fn heartbeat(&self, findings: &mut Findings) -> Option<Address> {
        let url = self.settings.heartbeat_url.as_ref();
        address(&HEARTBEAT_URL, url, &self.proxies, findings)
    }
}

/// The URL of a database, if it is set and every part of it is understood.
fn database(
    variable: &'static Variable,
    url: Option<&Secret>,
    inherited: &Inherited,
    findings: &mut Findings,
) -> Option<DatabaseUrl> {
    let name = |remark: &Remark| remark.variable.unwrap_or(variable.name);
    match DatabaseUrl::parse_with(url?.expose(), inherited) {
        Ok((url, warnings)) => {
            for remark in warnings {
                findings.warn(name(&remark), remark.wrong);
            }
            Some(url.from_variable(variable.name))
        }
        Err(problems) => {
            for remark in problems {
                findings.refuse(name(&remark), remark.wrong);
            }
            None
        }
    }
}

/// The proxies that can be used.
fn proxies(variables: &[(OsString, OsString)], findings: &mut Findings) -> Proxies {
    match Proxies::from_variables(variables) {
        Ok(proxies) => proxies,
        Err(problems) => {
            for (variable, wrong) in problems {
                findings.refuse(&variable, wrong);
            }
            Proxies::default()
        }
    }
}

/// The address that messages go to, if it is set and can be used.
fn address(
    variable: &'static Variable,
    url: Option<&Secret>,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Option<Address> {
    let address = match Address::parse(variable.name, url?.expose()) {
        Ok(address) => address,
        Err(wrong) => {
            findings.refuse(variable.name, wrong);
            return None;
        }
    };
    if address.is_plain() && !is_local(&address.host()) {
        findings.warn(
            variable.name,
            Wrong::new(
                "begins with http://, so anybody who can read it on the way can send there too",
                "use https:// if the receiver has it",
            ),
        );
    }
    let proxy = proxies.of_scheme(address.is_plain());
    Some(address.through(proxy))
}

/// `BACKUP_OPTIONS`, as words.
fn options(settings: &Settings, findings: &mut Findings) -> Option<Vec<String>> {
    let text = settings.backup_options.as_deref().unwrap_or_default();
    let Ok(words) = shell_words::split(text) else {
        findings.refuse(BACKUP_OPTIONS.name, "has a quote that is not closed");
        return None;
    };
    let options = Options::read(&words);
    for cause in options.warnings() {
        findings.warn(BACKUP_OPTIONS.name, cause);
    }
    let is_usable = options.refusals.is_empty();
    for cause in options.refusals {
        findings.refuse(BACKUP_OPTIONS.name, cause);
    }
    is_usable.then_some(words)
}

#[cfg(test)]
mod tests;
