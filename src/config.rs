//! Variables turned into a [`Config`], or into the list of everything that is wrong with them.
//!
//! No problem's text repeats a value: half of the variables hold secrets, and operators paste the wrong one into the
//! wrong field.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

pub mod options;
mod values;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::board::anomaly::{Factor, Thresholds};
use crate::catalog::Prefix;
use crate::drill::{self, DrillServer};
use crate::network::proxy::Proxies;
use crate::postgres::{DatabaseUrl, Inherited, Remark};
use crate::schedule::{Schedule, ScheduleError};
use crate::secret::Secret;
use crate::store::endpoint::{Endpoint, is_local};
use crate::store::{Credentials, Keys, StoreSettings};
use crate::telemetry::LogFormat;
use crate::watch::webhook::Address;
use options::Options;
use stream::level::{self, Level};
use values::{present, trimmed};

/// Every variable that is read, and whether it holds a secret and so may come as `NAME_FILE`.
pub const VARIABLES: &[(&str, bool)] = &[
    ("AWS_ACCESS_KEY_ID", true),
    ("AWS_SECRET_ACCESS_KEY", true),
    ("AWS_SESSION_TOKEN", true),
    ("AWS_CREDENTIALS", false),
    ("AWS_S3_BUCKET", false),
    ("AWS_S3_ENDPOINT", false),
    ("AWS_S3_REGION", false),
    ("AWS_S3_FORCE_PATH_STYLE", false),
    ("BACKUP_DATABASE_URL", true),
    ("BACKUP_CRON_SCHEDULE", false),
    ("TZ", false),
    ("RUN_ON_STARTUP", false),
    ("SINGLE_SHOT_MODE", false),
    ("BACKUP_FILE_PREFIX", false),
    ("BUCKET_SUBFOLDER", false),
    ("BACKUP_OPTIONS", false),
    ("SUPPORT_OBJECT_LOCK", false),
    ("PORT", false),
    ("BACKUP_MAX_AGE", false),
    ("BACKUP_TIMEOUT", false),
    ("BACKUP_RETRIES", false),
    ("BACKUP_CATCH_UP", false),
    ("BACKUP_COMPRESSION", false),
    ("BACKUP_COMPRESSION_THREADS", false),
    ("BACKUP_GLOBALS", false),
    ("RESTORE_DATABASE_URL", true),
    ("VERIFY_SCHEDULE", false),
    ("VERIFY_DATABASE_URL", true),
    ("VERIFY_SQL", false),
    ("VERIFY_UNCONFINED", false),
    ("ALERT_WEBHOOK_URL", true),
    ("HEARTBEAT_URL", true),
    ("ANOMALY_BELOW", false),
    ("ANOMALY_ABOVE", false),
    ("STATUS_TOKEN", true),
    ("LOG_FORMAT", false),
    ("RUST_LOG", false),
];

/// The variables as `envy` reads them: present, trimmed and not empty, or absent. Secrets are bare here, so it has no
/// `Debug`.
#[derive(Default, Deserialize)]
struct Raw {
    aws_access_key_id: Option<String>,
    aws_secret_access_key: Option<String>,
    aws_session_token: Option<String>,
    aws_credentials: Option<String>,
    aws_s3_bucket: Option<String>,
    aws_s3_endpoint: Option<String>,
    aws_s3_region: Option<String>,
    aws_s3_force_path_style: Option<String>,
    backup_database_url: Option<String>,
    backup_cron_schedule: Option<String>,
    tz: Option<String>,
    run_on_startup: Option<String>,
    single_shot_mode: Option<String>,
    backup_file_prefix: Option<String>,
    bucket_subfolder: Option<String>,
    backup_options: Option<String>,
    support_object_lock: Option<String>,
    port: Option<String>,
    backup_max_age: Option<String>,
    backup_timeout: Option<String>,
    backup_retries: Option<String>,
    backup_catch_up: Option<String>,
    backup_compression: Option<String>,
    backup_compression_threads: Option<String>,
    backup_globals: Option<String>,
    restore_database_url: Option<String>,
    verify_schedule: Option<String>,
    verify_database_url: Option<String>,
    verify_sql: Option<String>,
    verify_unconfined: Option<String>,
    alert_webhook_url: Option<String>,
    heartbeat_url: Option<String>,
    anomaly_below: Option<String>,
    anomaly_above: Option<String>,
    status_token: Option<String>,
    log_format: Option<String>,
    rust_log: Option<String>,
    /// libpq's own variables, which count under `BACKUP_DATABASE_URL`.
    #[serde(skip)]
    inherited: Inherited,
    /// The way out.
    #[serde(skip)]
    proxies: Proxies,
}

/// A configuration that is valid as a whole.
#[derive(Debug)]
pub struct Config {
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
    /// `SINGLE_SHOT_MODE`
    pub single_shot: bool,
    /// `BACKUP_CATCH_UP`
    pub catch_up: bool,
    /// `PORT`
    pub port: u16,
    /// `BACKUP_MAX_AGE`
    pub max_age: Duration,
    /// `BACKUP_TIMEOUT`
    pub timeout: Duration,
    /// `BACKUP_RETRIES`
    pub retries: usize,
    /// `BACKUP_COMPRESSION`
    pub compression: Level,
    /// `BACKUP_COMPRESSION_THREADS`; none means that it depends on the machine.
    pub compression_threads: Option<usize>,
    /// `VERIFY_SCHEDULE`, with where and how to prove backups.
    pub drills: Option<(Schedule, Drilling)>,
    /// `ALERT_WEBHOOK_URL`
    pub alerts: Option<Address>,
    /// `HEARTBEAT_URL`
    pub heartbeat: Option<Address>,
    /// `ANOMALY_BELOW` and `ANOMALY_ABOVE`
    pub thresholds: Thresholds,
    /// `STATUS_TOKEN`
    pub status_token: Option<Secret>,
    /// What is odd but usable.
    pub warnings: Vec<Problem>,
    /// `BACKUP_GLOBALS`
    pub globals: bool,
}

/// Where backups are proven, and how.
#[derive(Debug, Clone)]
pub struct Drilling {
    /// `VERIFY_DATABASE_URL`
    pub server: DrillServer,
    /// `VERIFY_SQL`
    pub sql: Option<String>,
    /// `VERIFY_UNCONFINED`
    pub may_be_unconfined: bool,
}

/// What the commands need that read backups. A wrong schedule must not stop a restore, so only the variables that matter
/// to these commands are looked at.
#[derive(Debug)]
pub struct Access {
    /// Where the backups are.
    pub store: StoreSettings,
    /// `BUCKET_SUBFOLDER` and `BACKUP_FILE_PREFIX`.
    pub prefix: Prefix,
    /// `BACKUP_DATABASE_URL`, so that a restore can't hit it by accident.
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
    /// Every problem of these variables.
    pub fn from_variables(
        variables: &[(OsString, OsString)],
        read_file: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, Findings> {
        const MATTER: [&str; 5] = [
            "AWS_",
            "BACKUP_DATABASE",
            "BACKUP_FILE",
            "BUCKET_",
            "RESTORE_",
        ];
        let mut findings = Findings::default();
        let present = present(variables, read_file, &mut findings);
        let (matter, rest) = std::mem::take(&mut findings.problems)
            .into_iter()
            .partition(|problem| {
                MATTER
                    .iter()
                    .any(|beginning| problem.variable.starts_with(beginning))
            });
        findings.problems = matter;
        for problem in rest {
            if ["BACKUP_TIMEOUT", "VERIFY_SQL", "VERIFY_UNCONFINED"]
                .contains(&problem.variable.as_str())
            {
                findings.warn(
                    &problem.variable,
                    format!("{}; it is not used", problem.text),
                );
            }
        }
        let mut raw: Raw = envy::from_iter(present).unwrap_or_default();
        raw.inherited = Inherited::from_variables(variables);
        raw.proxies = proxies(variables, &mut findings);
        let store = store(&raw, &mut findings);
        let prefix = prefix(&raw, &mut findings);
        let source = database(
            "BACKUP_DATABASE_URL",
            raw.backup_database_url.as_ref(),
            &raw.inherited,
            &mut findings,
        );
        let target = database(
            "RESTORE_DATABASE_URL",
            raw.restore_database_url.as_ref(),
            &Inherited::default(),
            &mut findings,
        );
        let timeout = raw.backup_timeout.as_deref().and_then(duration);
        let may_be_unconfined = raw.verify_unconfined.as_deref().and_then(boolean) == Some(true);
        match (store, prefix) {
            (Some(store), Some(prefix)) if findings.problems.is_empty() => Ok(Self {
                store,
                prefix,
                source,
                target,
                verify_sql: raw.verify_sql,
                may_be_unconfined,
                timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
                warnings: findings.warnings,
            }),
            _ => {
                findings.sort();
                Err(findings)
            }
        }
    }
}

/// Something about one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What is wrong, as the rest of a sentence that begins with the name; never its value.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.text)
    }
}

/// How lines are to be written, found out before anything else so that the other problems can be told.
#[must_use]
pub fn log_settings(variables: &[(OsString, OsString)], terminal: bool) -> (LogFormat, String) {
    let find = |name: &str| {
        variables
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| trimmed(&value.to_string_lossy()).to_owned())
    };
    let by_default = if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    let format = find("LOG_FORMAT")
        .and_then(|text| log_format(&text))
        .unwrap_or(by_default);
    (
        format,
        find("RUST_LOG")
            .filter(|text| !text.is_empty() && check_filter(text).is_ok())
            .unwrap_or_else(|| "info".to_owned()),
    )
}

/// Checks `RUST_LOG`: levels, and levels of targets. A bare word that is no level would be taken for a target:
/// `RUST_LOG=verbose` would silence every line of this service, the failures among them.
fn check_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_good = |word: &str| match word.split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(word),
    };
    if text.split(',').map(str::trim).all(is_good) {
        Ok(())
    } else {
        Err(
            "is not a list of level or target=level; use error, warn, info, debug or trace"
                .to_owned(),
        )
    }
}

/// `PORT`, for the probe of a running daemon, which needs nothing else.
#[must_use]
pub fn port(variables: &[(OsString, OsString)]) -> u16 {
    let text = variables
        .iter()
        .find(|(name, _)| name == "PORT")
        .map(|(_, value)| value.to_string_lossy());
    text.and_then(|text| trimmed(&text).parse().ok())
        .filter(|port| *port != 0)
        .unwrap_or(DEFAULT_PORT)
}

const DEFAULT_PORT: u16 = 8080;

/// Nothing that one `pg_dump` gives keeps more threads busy; each holds 2 MiB or more.
const MOST_THREADS: u8 = 16;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "json" => Some(LogFormat::Json),
        "text" => Some(LogFormat::Text),
        _ => None,
    }
}

impl Config {
    /// Whether `BACKUP_OPTIONS` leave part of the database out.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        Options::read(&self.options).is_partial()
    }

    /// Reads the variables. `read_file` is asked for the content of `NAME_FILE`.
    ///
    /// # Errors
    /// Every problem of every variable, in the order of [`VARIABLES`].
    pub fn from_variables(
        variables: &[(OsString, OsString)],
        read_file: impl Fn(&str) -> Result<String, String>,
        now: DateTime<Utc>,
    ) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let present = present(variables, read_file, &mut findings);
        // Every field is an optional text, so nothing can fail to parse here.
        let mut raw: Raw = envy::from_iter(present).unwrap_or_default();
        raw.inherited = Inherited::from_variables(variables);
        raw.proxies = proxies(variables, &mut findings);
        let config = Self::from_raw(&raw, &mut findings, now);
        findings.sort();
        match config {
            Some(mut config) if findings.problems.is_empty() => {
                config.warnings = findings.warnings;
                Ok(config)
            }
            _ => Err(findings),
        }
    }

    fn from_raw(raw: &Raw, findings: &mut Findings, now: DateTime<Utc>) -> Option<Self> {
        let store = store(raw, findings);
        let url = findings.required(
            "BACKUP_DATABASE_URL",
            raw.backup_database_url.as_ref(),
            "set it to the database's URL; on Railway to ${{Postgres.DATABASE_URL}}",
        );
        let source = database("BACKUP_DATABASE_URL", url, &raw.inherited, findings);
        database(
            "RESTORE_DATABASE_URL",
            raw.restore_database_url.as_ref(),
            &Inherited::default(),
            findings,
        );
        let drills = drills(raw, findings, now);
        let alerts = address(
            "ALERT_WEBHOOK_URL",
            raw.alert_webhook_url.as_ref(),
            &raw.proxies,
            findings,
        );
        let heartbeat = address(
            "HEARTBEAT_URL",
            raw.heartbeat_url.as_ref(),
            &raw.proxies,
            findings,
        );
        let thresholds = thresholds(raw, findings);
        let schedule = schedule(raw, findings, now);
        let prefix = prefix(raw, findings);
        let options = options(raw, findings);
        let run_on_startup = findings.boolean("RUN_ON_STARTUP", raw.run_on_startup.as_ref(), false);
        let single_shot =
            findings.boolean("SINGLE_SHOT_MODE", raw.single_shot_mode.as_ref(), false);
        let catch_up = findings.boolean("BACKUP_CATCH_UP", raw.backup_catch_up.as_ref(), true);
        findings.boolean(
            "SUPPORT_OBJECT_LOCK",
            raw.support_object_lock.as_ref(),
            false,
        );
        let port = match raw.port.as_deref().map(str::parse::<u16>) {
            None => DEFAULT_PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => {
                findings.refuse("PORT", "is not a number from 1 to 65535");
                DEFAULT_PORT
            }
        };
        let timeout = findings
            .duration("BACKUP_TIMEOUT", raw.backup_timeout.as_ref())
            .unwrap_or(DEFAULT_TIMEOUT);
        let chosen_age = findings.duration("BACKUP_MAX_AGE", raw.backup_max_age.as_ref());
        let retries = match raw.backup_retries.as_deref().map(str::parse::<u8>) {
            None => 3,
            Some(Ok(retries)) if retries <= 20 => usize::from(retries),
            Some(_) => {
                findings.refuse("BACKUP_RETRIES", "is not a number from 0 to 20");
                3
            }
        };
        let compression = match raw.backup_compression.as_deref() {
            None => Level::Auto,
            Some(text) if text.eq_ignore_ascii_case("auto") => Level::Auto,
            Some(text) => match text.parse::<u8>() {
                Ok(level) if (level::FASTEST..=level::HARDEST).contains(&level) => {
                    Level::Fixed(level)
                }
                _ => {
                    findings.refuse(
                        "BACKUP_COMPRESSION",
                        "is neither auto nor a number from 1 to 9",
                    );
                    Level::Auto
                }
            },
        };
        let compression_threads = match raw.backup_compression_threads.as_deref() {
            None => None,
            Some(text) => match text.parse::<u8>() {
                Ok(threads @ 1..=MOST_THREADS) => Some(usize::from(threads)),
                _ => {
                    findings.refuse("BACKUP_COMPRESSION_THREADS", "is not a number from 1 to 16");
                    None
                }
            },
        };
        let globals = findings.boolean("BACKUP_GLOBALS", raw.backup_globals.as_ref(), false);
        let status_token = status_token(raw, findings);
        if raw
            .log_format
            .as_deref()
            .is_some_and(|text| log_format(text).is_none())
        {
            findings.refuse("LOG_FORMAT", "is neither json nor text");
        }
        if let Some(Err(problem)) = raw.rust_log.as_deref().map(check_filter) {
            findings.refuse("RUST_LOG", problem);
        }
        let schedule = schedule?;
        let longest_gap = schedule.longest_gap(now);
        if chosen_age.is_some_and(|age| age < longest_gap) {
            findings.warn("BACKUP_MAX_AGE", format!("is shorter than the longest gap of the schedule ({} s): /health will be 503 before each run", longest_gap.as_secs()));
        }
        Some(Self {
            store: store?,
            database: source?,
            prefix: prefix?,
            options: options?,
            run_on_startup,
            single_shot,
            catch_up,
            port,
            max_age: chosen_age.unwrap_or(longest_gap + Duration::from_secs(3600)),
            timeout,
            retries,
            compression,
            compression_threads,
            drills,
            alerts,
            heartbeat,
            thresholds,
            status_token,
            warnings: Vec::new(),
            schedule,
            globals,
        })
    }
}

/// Reads the file of a `NAME_FILE` variable.
pub type ReadFile = fn(&str) -> Result<String, String>;

/// Where the values of variables come from: what is in a file can be another value later.
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

/// What the files held when they were read again; none where that can't be used.
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
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
}

impl Sources {
    /// These variables, and what reads their files.
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
            let secret = name.to_str().and_then(|name| name.strip_suffix("_FILE"));
            secret.is_some_and(|secret| VARIABLES.contains(&(secret, true))) && !value.is_empty()
        })
    }

    /// Reads all secrets once more.
    #[must_use]
    pub fn read(&self) -> Secrets {
        let mut findings = Findings::default();
        let present = present(&self.variables, self.read_file, &mut findings);
        let mut raw: Raw = envy::from_iter(present).unwrap_or_default();
        raw.inherited = Inherited::from_variables(&self.variables);
        raw.proxies = proxies(&self.variables, &mut findings);
        let store = store(&raw, &mut findings);
        let url = raw.backup_database_url.as_ref();
        let mut secrets = Secrets {
            database: database("BACKUP_DATABASE_URL", url, &raw.inherited, &mut findings),
            drills: drill_server(&raw, &mut findings),
            alerts: address(
                "ALERT_WEBHOOK_URL",
                raw.alert_webhook_url.as_ref(),
                &raw.proxies,
                &mut findings,
            ),
            heartbeat: address(
                "HEARTBEAT_URL",
                raw.heartbeat_url.as_ref(),
                &raw.proxies,
                &mut findings,
            ),
            status_token: status_token(&raw, &mut findings),
            ..Secrets::default()
        };
        let is_of_store = |problem: &Problem| problem.variable.starts_with("AWS_");
        if !findings.problems.iter().any(is_of_store) {
            secrets.store = store;
        }
        findings.sort();
        secrets.problems = findings.problems;
        secrets
    }
}

/// What is found on the way.
#[derive(Debug, Default)]
pub struct Findings {
    /// What makes the configuration unusable, in the order of [`VARIABLES`].
    pub problems: Vec<Problem>,
    /// What is odd: a misspelt name among them, which may be why another is "not set".
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// Puts the problems into the order of [`VARIABLES`].
    fn sort(&mut self) {
        self.problems.sort_by_key(|problem| {
            VARIABLES
                .iter()
                .position(|(name, _)| problem.variable.starts_with(name))
        });
    }

    fn refuse(&mut self, variable: &str, text: impl Into<String>) {
        self.problems.push(Problem {
            variable: variable.to_owned(),
            text: text.into(),
        });
    }

    fn warn(&mut self, variable: &str, text: impl Into<String>) {
        self.warnings.push(Problem {
            variable: variable.to_owned(),
            text: text.into(),
        });
    }

    fn required<'a>(
        &mut self,
        variable: &str,
        value: Option<&'a String>,
        remedy: &str,
    ) -> Option<&'a String> {
        // A variable that was refused already is not "not set" as well.
        if value.is_none()
            && !self
                .problems
                .iter()
                .any(|problem| problem.variable.starts_with(variable))
        {
            self.refuse(variable, format!("is not set; {remedy}"));
        }
        value
    }

    fn boolean(&mut self, variable: &str, value: Option<&String>, default: bool) -> bool {
        let Some(text) = value else { return default };
        boolean(text).unwrap_or_else(|| {
            self.refuse(
                variable,
                "is neither true nor false; use true, t, 1, yes, on or false, f, 0, no, off",
            );
            default
        })
    }

    fn duration(&mut self, variable: &str, value: Option<&String>) -> Option<Duration> {
        let parsed = duration(value?);
        if parsed.is_none() {
            self.refuse(
                variable,
                "is not a duration such as 90s, 15m, 25h or 7d (more than zero, at most 3650d)",
            );
        }
        parsed
    }
}

/// Reads `true`, `off` and the like in any case.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Reads `90s`, `15m`, `25h`, `7d`.
fn duration(text: &str) -> Option<Duration> {
    const LONGEST: u64 = 3650 * 86_400;
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=LONGEST)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// A database's URL, if it is set and understood whole.
fn database(
    variable: &'static str,
    value: Option<&String>,
    inherited: &Inherited,
    findings: &mut Findings,
) -> Option<DatabaseUrl> {
    let name = |remark: &Remark| remark.variable.unwrap_or(variable);
    match DatabaseUrl::parse_with(value?, inherited) {
        Ok((url, warnings)) => {
            for remark in warnings {
                findings.warn(name(&remark), remark.text);
            }
            Some(url.from_variable(variable))
        }
        Err(problems) => {
            for remark in problems {
                findings.refuse(name(&remark), remark.text);
            }
            None
        }
    }
}

/// The ways out, where they can be used.
fn proxies(variables: &[(OsString, OsString)], findings: &mut Findings) -> Proxies {
    match Proxies::from_variables(variables) {
        Ok(proxies) => proxies,
        Err(problems) => {
            for (variable, text) in problems {
                findings.refuse(&variable, text);
            }
            Proxies::default()
        }
    }
}

/// Where messages go, if that is set and can be used.
fn address(
    variable: &'static str,
    value: Option<&String>,
    proxies: &Proxies,
    findings: &mut Findings,
) -> Option<Address> {
    let address = match Address::parse(variable, value?) {
        Ok(address) => address,
        Err(problem) => {
            findings.refuse(variable, problem);
            return None;
        }
    };
    if address.is_plain() && !is_local(&address.host()) {
        findings.warn(
            variable,
            "begins with http://: whoever can read it on its way can send there too",
        );
    }
    let proxy = proxies.of_scheme(address.is_plain());
    Some(address.through(proxy))
}

/// `ANOMALY_BELOW` and `ANOMALY_ABOVE`.
fn thresholds(raw: &Raw, findings: &mut Findings) -> Thresholds {
    let below = |factor: &Factor| *factor > Factor::ZERO && *factor < Factor::ONE;
    let above = |factor: &Factor| *factor > Factor::ONE;
    let is_off = |text: &str| text.eq_ignore_ascii_case("off");
    Thresholds {
        below: match raw.anomaly_below.as_deref() {
            None => Some(Factor::HALF),
            Some(text) if is_off(text) => None,
            Some(text) => Factor::parse(text).filter(below).or_else(|| {
                findings.refuse("ANOMALY_BELOW", "is neither off nor a number between 0 and 1 such as 0.5, with at most three digits after the point");
                None
            }),
        },
        above: match raw.anomaly_above.as_deref() {
            None => Some(Factor::THREE),
            Some(text) if is_off(text) => None,
            Some(text) => Factor::parse(text).filter(above).or_else(|| {
                findings.refuse("ANOMALY_ABOVE", "is neither off nor a number above 1 such as 3, with at most three digits after the point");
                None
            }),
        },
    }
}

/// `VERIFY_SCHEDULE` and what goes with it.
fn drills(raw: &Raw, findings: &mut Findings, now: DateTime<Utc>) -> Option<(Schedule, Drilling)> {
    let server = drill_server(raw, findings);
    if raw
        .verify_sql
        .as_deref()
        .is_some_and(drill::ends_in_a_quote)
    {
        findings.refuse("VERIFY_SQL", "ends inside a quote or a comment");
    }
    let may_be_unconfined =
        findings.boolean("VERIFY_UNCONFINED", raw.verify_unconfined.as_ref(), false);
    let expression = raw.verify_schedule.as_deref()?;
    // A wrong TZ is told of beside BACKUP_CRON_SCHEDULE.
    let zone = raw.tz.as_deref().and_then(|name| name.parse().ok());
    let schedule = match Schedule::parse(expression, zone.unwrap_or(chrono_tz::UTC), now) {
        Ok(schedule) => schedule,
        Err(error) => {
            findings.refuse("VERIFY_SCHEDULE", not_a_schedule(&error));
            return None;
        }
    };
    if server.is_none() && raw.verify_database_url.is_none() {
        findings.refuse(
            "VERIFY_DATABASE_URL",
            "is not set, but VERIFY_SCHEDULE is; set it to embedded, or to the URL of a server where scratch databases may be created",
        );
    }
    Some((
        schedule,
        Drilling {
            server: server?,
            sql: raw.verify_sql.clone(),
            may_be_unconfined,
        },
    ))
}

/// `VERIFY_DATABASE_URL`
fn drill_server(raw: &Raw, findings: &mut Findings) -> Option<DrillServer> {
    match raw.verify_database_url.as_ref() {
        Some(word) if word.eq_ignore_ascii_case("embedded") => Some(DrillServer::Embedded),
        url => database("VERIFY_DATABASE_URL", url, &Inherited::default(), findings)
            .map(DrillServer::At),
    }
}

/// `STATUS_TOKEN`, if it is set and can't be guessed.
fn status_token(raw: &Raw, findings: &mut Findings) -> Option<Secret> {
    const LEAST: usize = 16;
    let token = raw.status_token.as_ref()?;
    let remedy = "make one with: openssl rand -hex 24";
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        findings.refuse(
            "STATUS_TOKEN",
            format!("holds a blank or a character that is not ASCII; {remedy}"),
        );
        return None;
    }
    let different: BTreeSet<u8> = token.bytes().collect();
    if token.len() < LEAST || different.len() < LEAST / 2 {
        findings.refuse(
            "STATUS_TOKEN",
            format!(
                "can be guessed: it needs {LEAST} characters or more, not always the same; {remedy}"
            ),
        );
        return None;
    }
    Some(Secret::new(token.clone()))
}

fn store(raw: &Raw, findings: &mut Findings) -> Option<StoreSettings> {
    let chain = uses_chain(raw, findings);
    let remedy = "create an R2 API token (R2, Manage API tokens) and copy it; for a role of AWS set AWS_CREDENTIALS=chain";
    let mut key = |name: &str, value| {
        if chain {
            return None;
        }
        findings.required(name, value, remedy)
    };
    let access_key_id = key("AWS_ACCESS_KEY_ID", raw.aws_access_key_id.as_ref());
    let secret_access_key = key("AWS_SECRET_ACCESS_KEY", raw.aws_secret_access_key.as_ref());
    let bucket = findings.required(
        "AWS_S3_BUCKET",
        raw.aws_s3_bucket.as_ref(),
        "name the bucket for the backups",
    );
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", access_key_id),
        ("AWS_SECRET_ACCESS_KEY", secret_access_key),
        ("AWS_SESSION_TOKEN", raw.aws_session_token.as_ref()),
    ] {
        if value.is_some_and(|value| !value.bytes().all(|byte| byte.is_ascii_graphic())) {
            findings.refuse(
                name,
                "holds a blank or a character that no key has; copy it again",
            );
        }
    }
    if let Some(bucket) = bucket {
        if bucket.contains('/') {
            findings.refuse(
                "AWS_S3_BUCKET",
                "holds a /; give the bare name of the bucket, and the folder in BUCKET_SUBFOLDER",
            );
        } else if !bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !bucket
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        {
            findings.refuse(
                "AWS_S3_BUCKET",
                "holds a character that no bucket's name has there; copy the name from the store's console",
            );
        }
    }
    let endpoint = endpoint(raw, findings);
    let is_r2 = endpoint.as_ref().is_some_and(Endpoint::is_r2);
    if is_r2 {
        let (id_length, secret_length) = (
            access_key_id.map_or(32, String::len),
            secret_access_key.map_or(64, String::len),
        );
        if id_length == 64 && secret_length == 32 {
            findings.refuse("AWS_ACCESS_KEY_ID", "and AWS_SECRET_ACCESS_KEY are swapped: R2's access key id has 32 characters, its secret 64");
        } else if id_length != 32 {
            findings.refuse(
                "AWS_ACCESS_KEY_ID",
                format!("has {id_length} characters; an R2 access key id has 32"),
            );
        }
    }
    let region = raw
        .aws_s3_region
        .clone()
        .unwrap_or_else(|| "auto".to_owned());
    if !region
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        findings.refuse(
            "AWS_S3_REGION",
            "holds a character that no region's name has; for R2 remove the variable or set it to auto",
        );
    }
    let is_aws = endpoint.as_ref().is_none_or(Endpoint::is_aws);
    if chain && !is_aws {
        findings.refuse("AWS_CREDENTIALS", "is chain, but AWS_S3_ENDPOINT is not AWS's: no other store takes the keys of AWS's roles; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    if region == "auto"
        && is_aws
        && !findings
            .problems
            .iter()
            .any(|problem| problem.variable == "AWS_S3_ENDPOINT")
    {
        findings.refuse("AWS_S3_REGION", "is auto, which AWS does not know; name the bucket's region such as eu-central-1, or set AWS_S3_ENDPOINT to your R2 endpoint");
    }
    let path_style = findings.boolean(
        "AWS_S3_FORCE_PATH_STYLE",
        raw.aws_s3_force_path_style.as_ref(),
        // Where the bucket stood before the host, the store answers there. R2's certificates do not always hold for it.
        is_r2 || !endpoint.as_ref().is_some_and(|found| found.named_bucket),
    );
    Some(StoreSettings {
        credentials: if chain {
            Credentials::Chain
        } else {
            Credentials::Keys(Keys {
                access_key_id: Secret::new(access_key_id?.clone()),
                secret_access_key: Secret::new(secret_access_key?.clone()),
                session_token: raw.aws_session_token.clone().map(Secret::new),
            })
        },
        bucket: bucket?.clone(),
        proxy: raw.proxies.of_scheme(
            endpoint
                .as_ref()
                .is_some_and(|endpoint| endpoint.url.starts_with("http://")),
        ),
        endpoint: endpoint.map(|endpoint| endpoint.url),
        region,
        path_style,
    })
}

/// Whether the keys are those of a role, which AWS hands out. It must be said, since it is asked for on the network.
fn uses_chain(raw: &Raw, findings: &mut Findings) -> bool {
    const NAME: &str = "AWS_CREDENTIALS";
    match raw.aws_credentials.as_deref() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("chain") => {
            let keys = [
                ("AWS_ACCESS_KEY_ID", &raw.aws_access_key_id),
                ("AWS_SECRET_ACCESS_KEY", &raw.aws_secret_access_key),
                ("AWS_SESSION_TOKEN", &raw.aws_session_token),
            ];
            let set = keys.iter().find(|(_, value)| value.is_some());
            if let Some((key, _)) = set {
                findings.refuse(
                    NAME,
                    format!("is chain, but {key} is set as well; remove one of the two"),
                );
            }
            set.is_none()
        }
        Some(_) => {
            findings.refuse(
                NAME,
                "is not chain, the only value there is; remove it where AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set",
            );
            false
        }
    }
}

/// The endpoint without what does not belong to it.
fn endpoint(raw: &Raw, findings: &mut Findings) -> Option<Endpoint> {
    const NAME: &str = "AWS_S3_ENDPOINT";
    let text = raw.aws_s3_endpoint.as_deref()?;
    match Endpoint::parse(text, raw.aws_s3_bucket.as_deref()) {
        Ok(endpoint) => {
            endpoint
                .warnings
                .iter()
                .for_each(|&text| findings.warn(NAME, text));
            Some(endpoint)
        }
        Err(problem) => {
            findings.refuse(NAME, problem);
            None
        }
    }
}

fn schedule(raw: &Raw, findings: &mut Findings, now: DateTime<Utc>) -> Option<Schedule> {
    let zone = raw
        .tz
        .as_deref()
        .map_or(Some(chrono_tz::UTC), |name| name.parse().ok());
    if zone.is_none() {
        findings.refuse(
            "TZ",
            "is not a time zone of the IANA database such as UTC or Europe/Berlin",
        );
    }
    let expression = raw.backup_cron_schedule.as_deref().unwrap_or("0 3 * * *");
    match Schedule::parse(expression, zone.unwrap_or(chrono_tz::UTC), now) {
        Ok(schedule) => {
            if schedule.shortest_gap(now) < Duration::from_secs(300) {
                findings.warn(
                    "BACKUP_CRON_SCHEDULE",
                    "can be due more often than every 5 minutes",
                );
            }
            Some(schedule)
        }
        Err(error) => {
            findings.refuse("BACKUP_CRON_SCHEDULE", not_a_schedule(&error));
            None
        }
    }
}

fn not_a_schedule(error: &ScheduleError) -> String {
    format!(
        "is not a schedule: {error}; five fields such as 0 3 * * * (03:00 every day), six with leading seconds, or @daily"
    )
}

fn prefix(raw: &Raw, findings: &mut Findings) -> Option<Prefix> {
    let mut usable = true;
    for (name, value) in [
        ("BACKUP_FILE_PREFIX", raw.backup_file_prefix.as_deref()),
        ("BUCKET_SUBFOLDER", raw.bucket_subfolder.as_deref()),
    ] {
        let value = value.unwrap_or_default();
        let value = if name == "BUCKET_SUBFOLDER" {
            value.trim_matches('/')
        } else {
            value
        };
        if value.chars().any(char::is_control) {
            findings.refuse(name, "holds a control character");
            usable = false;
        }
        if value.starts_with('/')
            || value.contains("//")
            || value
                .split('/')
                .any(|segment| segment == "." || segment == "..")
        {
            findings.refuse(
                name,
                "has an empty, . or .. segment, which stores read in different ways; remove it",
            );
            usable = false;
        }
        if value.len() > 900 {
            findings.refuse(name, "is longer than 900 bytes; a key has at most 1,024");
            usable = false;
        }
    }
    let prefix = Prefix::new(
        raw.bucket_subfolder.as_deref(),
        raw.backup_file_prefix.as_deref().unwrap_or("vlvt_backup_"),
    );
    if usable && prefix.as_str().len() > 990 {
        findings.refuse(
            "BUCKET_SUBFOLDER",
            "and BACKUP_FILE_PREFIX together make a key longer than 1,024 bytes",
        );
        usable = false;
    }
    usable.then_some(prefix)
}

fn options(raw: &Raw, findings: &mut Findings) -> Option<Vec<String>> {
    const NAME: &str = "BACKUP_OPTIONS";
    let text = raw.backup_options.as_deref().unwrap_or_default();
    let Ok(words) = shell_words::split(text) else {
        findings.refuse(NAME, "has a quote that is not closed");
        return None;
    };
    let options = Options::read(&words);
    for text in options.warnings() {
        findings.warn(NAME, text);
    }
    let is_usable = options.refusals.is_empty();
    for text in options.refusals {
        findings.refuse(NAME, text);
    }
    is_usable.then_some(words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

    fn now() -> DateTime<Utc> {
        "2026-01-25T12:00:00Z".parse().unwrap()
    }

    /// A valid configuration of nothing but what is required, with these set on top.
    fn with(changes: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let endpoint = format!("https://{ACCOUNT}.r2.cloudflarestorage.com");
        let (id, secret) = ("a".repeat(32), "b".repeat(64));
        let required = [
            ("AWS_ACCESS_KEY_ID", id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", &secret),
            ("AWS_S3_BUCKET", "vlvt-backups"),
            ("AWS_S3_ENDPOINT", &endpoint),
            ("BACKUP_DATABASE_URL", "postgres://u:p@db.internal/shop"),
        ];
        let variables: BTreeMap<_, _> = required.iter().chain(changes).copied().collect();
        variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn parse(variables: &[(OsString, OsString)]) -> Result<Config, Vec<Problem>> {
        let read_file = |path: &str| match path {
            "/run/good" => Ok(format!("{}\n", "c".repeat(32))),
            "/run/marked" => Ok(format!("\u{feff}{}\r\n", "d".repeat(32))),
            "/run/url" => Ok("postgres://u:p@elsewhere/shop\n".to_owned()),
            "/run/empty" => Ok(" \n".to_owned()),
            "/run/folder" => Err("it is not a file".to_owned()),
            "/run/large" => Err("it is larger than 64 KiB".to_owned()),
            _ => Err("entity not found".to_owned()),
        };
        Config::from_variables(variables, read_file, now()).map_err(|findings| findings.problems)
    }

    fn good(changes: &[(&str, &str)]) -> Config {
        parse(&with(changes)).unwrap_or_else(|problems| panic!("{changes:?}: {problems:#?}"))
    }

    fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(Problem::to_string).collect()
    }

    fn bad(changes: &[(&str, &str)]) -> Vec<String> {
        match parse(&with(changes)) {
            Ok(_) => panic!("accepted: {changes:?}"),
            Err(problems) => lines(&problems),
        }
    }

    /// One problem and no more, which begins with the variable's name and holds `piece`.
    fn refused(variable: &str, value: &str, piece: &str) {
        let problems = bad(&[(variable, value)]);
        assert_eq!(problems.len(), 1, "{variable}={value}: {problems:#?}");
        assert!(
            problems[0].starts_with(&format!("{variable} ")) && problems[0].contains(piece),
            "{variable}={value}: {problems:#?}"
        );
    }

    /// Accepted with exactly these warnings, each by a piece of it.
    fn warned(changes: &[(&str, &str)], pieces: &[&str]) -> Config {
        let config = good(changes);
        let warnings = lines(&config.warnings);
        assert_eq!(warnings.len(), pieces.len(), "{changes:?}: {warnings:#?}");
        for (warning, piece) in warnings.iter().zip(pieces) {
            assert!(warning.contains(piece), "{changes:?}: {warning}");
        }
        config
    }

    fn keys(config: &Config) -> Keys {
        match &config.store.credentials {
            Credentials::Keys(keys) => keys.clone(),
            Credentials::Chain => panic!("no keys"),
        }
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let config = warned(&[], &[]);
        assert_eq!(config.store.region, "auto");
        assert!(config.store.path_style);
        assert!(keys(&config).session_token.is_none());
        assert_eq!(config.schedule.expression(), "0 3 * * *");
        assert_eq!(config.schedule.zone(), chrono_tz::UTC);
        assert_eq!(config.prefix, Prefix::new(None, "vlvt_backup_"));
        assert_eq!(config.prefix.as_str(), "vlvt_backup_");
        assert!(config.options.is_empty());
        assert!(!config.run_on_startup);
        assert!(!config.single_shot);
        assert!(config.catch_up);
        assert_eq!(config.port, 8080);
        assert_eq!(config.max_age, Duration::from_secs(25 * 3600));
        assert_eq!(config.timeout, Duration::from_secs(6 * 3600));
        assert_eq!(config.retries, 3);
        assert_eq!(config.compression, Level::Auto);
        assert_eq!(config.compression_threads, None);
        assert_eq!(
            log_settings(&with(&[]), false),
            (LogFormat::Json, "info".to_owned())
        );
        assert_eq!(log_settings(&with(&[]), true).0, LogFormat::Text);
        assert_eq!(port(&with(&[])), 8080);
    }

    #[test]
    fn what_is_set_is_taken() {
        let config = warned(
            &[
                ("AWS_SESSION_TOKEN", "token"),
                ("AWS_S3_REGION", "weur"),
                ("AWS_S3_FORCE_PATH_STYLE", "false"),
                ("BACKUP_CRON_SCHEDULE", "@weekly"),
                ("TZ", "Europe/Berlin"),
                ("RUN_ON_STARTUP", "true"),
                ("SINGLE_SHOT_MODE", "true"),
                ("SUPPORT_OBJECT_LOCK", "true"),
                ("BACKUP_CATCH_UP", "false"),
                ("BACKUP_OPTIONS", "--no-owner  --role='the owner'"),
                ("PORT", "3000"),
                ("BACKUP_MAX_AGE", "9d"),
                ("BACKUP_TIMEOUT", "90m"),
                ("BACKUP_RETRIES", "0"),
                ("BACKUP_COMPRESSION", "9"),
                ("BACKUP_COMPRESSION_THREADS", "3"),
                ("LOG_FORMAT", "TEXT"),
                ("RUST_LOG", "warn,postgres_s3_backups=debug"),
            ],
            &[],
        );
        assert_eq!(keys(&config).session_token.unwrap().expose(), "token");
        assert_eq!(config.store.region, "weur");
        assert!(!config.store.path_style && !config.catch_up);
        assert!(config.run_on_startup && config.single_shot);
        assert_eq!(config.schedule.expression(), "@weekly");
        assert_eq!(config.schedule.zone(), chrono_tz::Europe::Berlin);
        assert_eq!(config.options, ["--no-owner", "--role=the owner"]);
        assert_eq!(config.port, 3000);
        assert_eq!(config.max_age, Duration::from_secs(9 * 86_400));
        assert_eq!(config.timeout, Duration::from_secs(90 * 60));
        assert_eq!(config.retries, 0);
        assert_eq!(config.compression, Level::Fixed(9));
        assert_eq!(config.compression_threads, Some(3));
    }

    #[test]
    fn the_default_age_follows_the_longest_gap_of_the_schedule() {
        for (expression, hours) in [
            ("0 * * * *", 1),
            ("0 */6 * * *", 6),
            ("0 3 * * 1-5", 72),
            ("@weekly", 168),
        ] {
            let config = good(&[("BACKUP_CRON_SCHEDULE", expression)]);
            assert_eq!(
                config.max_age,
                Duration::from_secs((hours + 1) * 3600),
                "{expression}"
            );
        }
        warned(
            &[("BACKUP_MAX_AGE", "23h")],
            &["BACKUP_MAX_AGE is shorter than the longest gap of the schedule (86400 s)"],
        );
        warned(&[("BACKUP_MAX_AGE", "24h")], &[]);
    }

    #[test]
    fn booleans_are_read_in_every_spelling_and_case() {
        let names = [
            "AWS_S3_FORCE_PATH_STYLE",
            "RUN_ON_STARTUP",
            "SINGLE_SHOT_MODE",
            "SUPPORT_OBJECT_LOCK",
            "BACKUP_CATCH_UP",
        ];
        for (spellings, expected) in [
            (["true", "t", "1", "yes", "on"], true),
            (["false", "f", "0", "no", "off"], false),
        ] {
            for spelling in spellings {
                let capital = spelling[..1].to_uppercase() + &spelling[1..];
                for text in [spelling.to_owned(), spelling.to_uppercase(), capital] {
                    let config = good(&names.map(|name| (name, text.as_str())));
                    let read = [
                        config.store.path_style,
                        config.run_on_startup,
                        config.single_shot,
                        config.catch_up,
                    ];
                    assert_eq!(read, [expected; 4], "{text}");
                }
            }
        }
        for text in ["y", "enabled", "2", "truee", "-1", "true false", "null"] {
            let problems = bad(&names.map(|name| (name, text)));
            let expected = names.map(|name| format!("{name} is neither true nor false; use true, t, 1, yes, on or false, f, 0, no, off"));
            assert_eq!(problems, expected, "{text}");
        }
    }

    #[test]
    fn durations_have_a_number_and_one_unit() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("15m", 900),
            ("25h", 90_000),
            ("7d", 604_800),
            ("007d", 604_800),
            ("3650d", 315_360_000),
        ] {
            assert_eq!(
                good(&[("BACKUP_TIMEOUT", text)]).timeout,
                Duration::from_secs(seconds),
                "{text}"
            );
        }
        for text in [
            "90",
            "s",
            "0s",
            "-1h",
            "+1h",
            "1.5h",
            "1h30m",
            "1 h",
            "25H",
            "1w",
            "3651d",
            "99999999999999999999s",
            "18446744073709551615d",
            "1ä",
            "ä",
            "٣h",
        ] {
            refused("BACKUP_TIMEOUT", text, "is not a duration");
            refused("BACKUP_MAX_AGE", text, "is not a duration");
        }
    }

    #[test]
    fn numbers_are_in_range() {
        for text in ["0", "70000", "65536", "-1", "x", "80 80", "8080/tcp"] {
            refused("PORT", text, "is not a number from 1 to 65535");
            assert_eq!(port(&with(&[("PORT", text)])), 8080, "{text}");
        }
        assert_eq!(good(&[("PORT", "1")]).port, 1);
        assert_eq!(good(&[("PORT", "65535")]).port, 65535);
        assert_eq!(port(&with(&[("PORT", " 3000 ")])), 3000);
        for text in ["21", "-1", "three", "1.0", "256"] {
            refused("BACKUP_RETRIES", text, "is not a number from 0 to 20");
        }
        assert_eq!(good(&[("BACKUP_RETRIES", "20")]).retries, 20);
        for text in ["0", "10", "-1", "fast", "1.5"] {
            refused(
                "BACKUP_COMPRESSION",
                text,
                "is neither auto nor a number from 1 to 9",
            );
        }
        assert_eq!(
            good(&[("BACKUP_COMPRESSION", "AUTO")]).compression,
            Level::Auto
        );
        for text in ["0", "17", "auto", "300"] {
            refused(
                "BACKUP_COMPRESSION_THREADS",
                text,
                "is not a number from 1 to 16",
            );
        }
    }

    #[test]
    fn blank_is_unset_and_the_rest_is_trimmed() {
        for blank in ["", "\u{feff} \t\r\n"] {
            for (name, _) in VARIABLES {
                let result = parse(&with(&[(name, blank)]));
                match *name {
                    "AWS_ACCESS_KEY_ID"
                    | "AWS_SECRET_ACCESS_KEY"
                    | "AWS_S3_BUCKET"
                    | "BACKUP_DATABASE_URL" => {
                        let problems = lines(&result.unwrap_err());
                        assert_eq!(problems.len(), 1, "{name}: {problems:#?}");
                        assert!(problems[0].starts_with(&format!("{name} is not set; ")));
                    }
                    // Without an endpoint it is AWS, which has no region `auto`.
                    "AWS_S3_ENDPOINT" => {
                        assert!(
                            lines(&result.unwrap_err())[0].starts_with("AWS_S3_REGION is auto")
                        );
                    }
                    _ => assert_eq!(result.unwrap().port, 8080, "{name}"),
                }
            }
        }
        let config = good(&[
            ("AWS_S3_BUCKET", " vlvt-backups\n"),
            ("BACKUP_DATABASE_URL", "\u{feff}postgres://u:p@h/d\r\n"),
            ("PORT", "\t3000 "),
            ("RUN_ON_STARTUP", " true "),
            ("TZ", " Asia/Tokyo "),
            ("BACKUP_FILE_PREFIX", " mine_ "),
        ]);
        assert_eq!(config.store.bucket, "vlvt-backups");
        assert_eq!((config.port, config.run_on_startup), (3000, true));
        assert_eq!(config.schedule.zone(), chrono_tz::Asia::Tokyo);
        assert_eq!(config.prefix.as_str(), "mine_");
    }

    #[test]
    fn quotes_around_a_value_are_refused_by_name() {
        for value in ["\"x y\"", "''", "`x`", "'\""] {
            let changes = VARIABLES.iter().map(|(name, _)| (*name, value));
            let changes: Vec<_> = changes.collect();
            let expected = changes
                .iter()
                .map(|(name, _)| format!("{name} has quotes around its value; remove them"));
            let told = bad(&changes);
            assert_eq!(
                told == expected.collect::<Vec<_>>(),
                value != "'\"",
                "{told:#?}"
            );
        }
        // There a shell's quotes mean something.
        let config = good(&[("BACKUP_OPTIONS", "'--no-owner' '--no-acl'")]);
        assert_eq!(config.options, ["--no-owner", "--no-acl"]);
    }

    #[test]
    fn each_secret_may_come_from_a_file() {
        for name in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "BACKUP_DATABASE_URL",
        ] {
            let file_name = format!("{name}_FILE");
            let only_file = |path: &str| {
                let mut variables = with(&[(&file_name, path)]);
                variables.retain(|(known, _)| known != name);
                variables
            };
            for (path, piece) in [
                ("/run/missing", "entity not found"),
                ("/run/folder", "it is not a file"),
                ("/run/large", "it is larger than 64 KiB"),
                ("/run/empty", "names an empty file"),
            ] {
                let problems = lines(&parse(&only_file(path)).unwrap_err());
                assert_eq!(problems.len(), 1, "{file_name}={path}: {problems:#?}");
                assert!(
                    problems[0].starts_with(&format!("{file_name} names "))
                        && problems[0].contains(piece)
                        && !problems[0].contains(path),
                    "{file_name}={path}: {problems:#?}"
                );
            }
            let both = bad(&[(name, "x"), (&file_name, "/run/good")]);
            assert_eq!(
                both,
                [format!("{name} and {file_name} are both set; remove one")]
            );
            // A blank one is not set, so there is no conflict.
            let mut variables = with(&[(name, " "), (&file_name, "/run/url")]);
            let problems = match parse(&variables) {
                Ok(_) => Vec::new(),
                Err(problems) => lines(&problems),
            };
            assert!(
                !problems.iter().any(|line| line.contains("both set")),
                "{problems:#?}"
            );
            variables.retain(|(known, _)| known != file_name.as_str());
            assert_eq!(parse(&variables).is_err(), name != "AWS_SESSION_TOKEN");
        }
        let files = [
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_ACCESS_KEY_ID_FILE", "/run/marked"),
            ("BACKUP_DATABASE_URL", ""),
            ("BACKUP_DATABASE_URL_FILE", " /run/url "),
        ];
        let config = warned(&files, &[]);
        assert_eq!(keys(&config).access_key_id.expose(), "d".repeat(32));
        assert!(format!("{:?}", config.database).contains("elsewhere"));
    }

    #[test]
    fn what_holds_no_secret_has_no_file_form() {
        warned(
            &[("AWS_S3_BUCKET_FILE", "/run/good")],
            &["AWS_S3_BUCKET_FILE is not a variable of this service"],
        );
    }

    #[test]
    fn every_problem_is_told_at_once_in_the_order_of_the_variables() {
        let wrong = [
            ("RUST_LOG", "x=y=z"),
            ("LOG_FORMAT", "xml"),
            ("STATUS_TOKEN", "short"),
            ("ANOMALY_ABOVE", "1"),
            ("ANOMALY_BELOW", "1"),
            ("HEARTBEAT_URL", "x"),
            ("ALERT_WEBHOOK_URL", "x"),
            ("VERIFY_UNCONFINED", "maybe"),
            ("VERIFY_SQL", "SELECT 'x"),
            ("VERIFY_DATABASE_URL", "mysql://u@h/d"),
            ("VERIFY_SCHEDULE", "hourly"),
            ("RESTORE_DATABASE_URL", "mysql://u@h/d"),
            ("BACKUP_CATCH_UP", "maybe"),
            ("BACKUP_RETRIES", "many"),
            ("BACKUP_COMPRESSION", "best"),
            ("BACKUP_COMPRESSION_THREADS", "all"),
            ("BACKUP_TIMEOUT", "long"),
            ("BACKUP_MAX_AGE", "old"),
            ("PORT", "0"),
            ("SUPPORT_OBJECT_LOCK", "maybe"),
            ("BACKUP_OPTIONS", "-f x"),
            ("BUCKET_SUBFOLDER", "a//b"),
            ("BACKUP_FILE_PREFIX", "../x"),
            ("SINGLE_SHOT_MODE", "maybe"),
            ("BACKUP_GLOBALS", "maybe"),
            ("RUN_ON_STARTUP", "maybe"),
            ("TZ", "Mars/Phobos"),
            ("BACKUP_CRON_SCHEDULE", "hourly"),
            ("BACKUP_DATABASE_URL", "mysql://u@h/d"),
            ("AWS_S3_FORCE_PATH_STYLE", "maybe"),
            ("AWS_S3_REGION", "eu central"),
            ("AWS_S3_ENDPOINT", "ftp://x"),
            ("AWS_S3_BUCKET", "a/b"),
            ("AWS_CREDENTIALS", "role"),
            ("AWS_SESSION_TOKEN", "a b"),
            ("AWS_SECRET_ACCESS_KEY", "a b"),
            ("AWS_ACCESS_KEY_ID", "a b"),
        ];
        let problems = parse(&with(&wrong)).unwrap_err();
        let names: Vec<&str> = problems
            .iter()
            .map(|problem| problem.variable.as_str())
            .collect();
        let expected: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "{:#?}", lines(&problems));

        let problems = lines(&parse(&[]).unwrap_err());
        let names: Vec<&str> = problems
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            names,
            [
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_S3_BUCKET",
                "AWS_S3_REGION",
                "BACKUP_DATABASE_URL"
            ]
        );
    }

    #[test]
    fn two_problems_of_one_variable_are_two_lines() {
        let url = bad(&[("BACKUP_DATABASE_URL", "postgres://u:p#x@h:port")]);
        assert!(url.len() >= 2, "{url:#?}");
        assert!(
            url.iter()
                .all(|line| line.starts_with("BACKUP_DATABASE_URL "))
        );
        assert_eq!(bad(&[("BACKUP_OPTIONS", "-f x -j 4 --host=h")]).len(), 3);
        assert_eq!(bad(&[("AWS_ACCESS_KEY_ID", "a b")]).len(), 2);
    }

    #[test]
    fn endpoints_become_a_scheme_and_a_host() {
        let r2 = format!("https://{ACCOUNT}.r2.cloudflarestorage.com");
        for (text, endpoint, warnings) in [
            (r2.clone(), r2.as_str(), &[][..]),
            (format!("{r2}/"), &r2, &[]),
            (format!("{r2}///"), &r2, &[]),
            (
                format!("{r2}/vlvt-backups"),
                &r2,
                &["ends in the bucket's name"],
            ),
            (
                format!("{r2}/vlvt-backups/"),
                &r2,
                &["ends in the bucket's name"],
            ),
            (
                format!("https://{ACCOUNT}.eu.r2.cloudflarestorage.com"),
                &r2.replace(".r2", ".eu.r2"),
                &[],
            ),
            (
                format!("https://{ACCOUNT}.us.r2.cloudflarestorage.com"),
                &r2.replace(".r2", ".us.r2"),
                &[],
            ),
            (
                format!("HTTPS://vlvt-backups.{ACCOUNT}.r2.cloudflarestorage.com"),
                &r2,
                &["begins with the bucket's name"],
            ),
            (
                "https://x.supabase.co/storage/v1/s3".to_owned(),
                "https://x.supabase.co/storage/v1/s3",
                &[],
            ),
            (
                "https://s3.example.com:9000".to_owned(),
                "https://s3.example.com:9000",
                &[],
            ),
            (
                "http://s3.example.com".to_owned(),
                "http://s3.example.com",
                &["unencrypted"],
            ),
            (
                "http://10.0.0.7:9000".to_owned(),
                "http://10.0.0.7:9000",
                &["unencrypted"],
            ),
            (
                "http://[2001:db8::7]:9000".to_owned(),
                "http://[2001:db8::7]:9000",
                &["unencrypted"],
            ),
            (
                "http://s3.example.com/vlvt-backups".to_owned(),
                "http://s3.example.com",
                &["ends in the bucket's name", "unencrypted"],
            ),
            (
                "http://localhost:8333".to_owned(),
                "http://localhost:8333",
                &[],
            ),
            (
                "http://127.0.0.1:8333/".to_owned(),
                "http://127.0.0.1:8333",
                &[],
            ),
            ("http://[::1]:8333".to_owned(), "http://[::1]:8333", &[]),
            ("http://minio:9000".to_owned(), "http://minio:9000", &[]),
            (
                "http://bucket.railway.internal:9000".to_owned(),
                "http://bucket.railway.internal:9000",
                &[],
            ),
        ] {
            let mut changes = vec![("AWS_S3_ENDPOINT", text.as_str())];
            if !text.contains("r2.cloud") {
                // What R2 asks of keys it asks of nobody else.
                changes.extend([
                    ("AWS_ACCESS_KEY_ID", "short"),
                    ("AWS_SECRET_ACCESS_KEY", "short"),
                ]);
            }
            let config = warned(&changes, warnings);
            assert_eq!(config.store.endpoint.as_deref(), Some(endpoint), "{text}");
        }
    }

    #[test]
    fn endpoints_that_cannot_work_are_refused() {
        let r2 = format!("https://{ACCOUNT}.r2.cloudflarestorage.com");
        for (text, piece) in [
            (
                r2.replace("https://", ""),
                "is not a URL that begins with https://",
            ),
            (
                r2.replace("https", "ftp"),
                "is not a URL that begins with https://",
            ),
            (
                r2.replace("https", "s3"),
                "is not a URL that begins with https://",
            ),
            (
                "https:/host".to_owned(),
                "is not a URL that begins with https://",
            ),
            (
                "localhost:9000".to_owned(),
                "is not a URL that begins with https://",
            ),
            (
                r2.replace("https://", "https://key:secret@"),
                "holds a user or password",
            ),
            (
                r2.replace("https://", "https://key@"),
                "holds a user or password",
            ),
            (format!("{r2}/other-bucket"), "holds a path"),
            (format!("{r2}/vlvt-backups/folder"), "holds a path"),
            (format!("{r2}/folder/vlvt-backups"), "holds a path"),
            (
                "https://{ACCOUNT_ID}.r2.cloudflarestorage.com".to_owned(),
                "placeholders such as {ACCOUNT_ID}",
            ),
            (
                "https://<ACCOUNT_ID>.r2.cloudflarestorage.com".to_owned(),
                "placeholders",
            ),
            (
                "https://ACCOUNT_ID.r2.cloudflarestorage.com".to_owned(),
                "does not hold an account id",
            ),
            (
                "https://.r2.cloudflarestorage.com".to_owned(),
                "does not hold an account id",
            ),
            (
                r2.replace("https://", "https://other."),
                "does not hold an account id",
            ),
            (
                r2.replace("abcdef", "abcdeg"),
                "does not hold an account id",
            ),
            (format!("{r2}?x=1"), "remove ? and #"),
            (format!("{r2}/?x=1"), "remove ? and #"),
            (format!("{r2}#x"), "remove ? and #"),
            ("https://".to_owned(), "is not a plain https://host URL"),
            (
                "https:///vlvt-backups".to_owned(),
                "is not a plain https://host URL",
            ),
            (
                "https://a b.example.com".to_owned(),
                "is not a plain https://host URL",
            ),
            (
                "https://hôst.example.com".to_owned(),
                "is not a plain https://host URL",
            ),
            ("https://[::1".to_owned(), "is not a plain https://host URL"),
            (
                "https://:9000".to_owned(),
                "is not a plain https://host URL",
            ),
            (
                "https://host:port".to_owned(),
                "is not a plain https://host URL",
            ),
            (
                "https://host:99999".to_owned(),
                "is not a plain https://host URL",
            ),
            (
                "https://host:".to_owned(),
                "is not a plain https://host URL",
            ),
        ] {
            refused("AWS_S3_ENDPOINT", &text, piece);
        }
    }

    #[test]
    fn r2s_key_id_has_32_characters() {
        refused(
            "AWS_ACCESS_KEY_ID",
            "AKIAIOSFODNN7EXAMPLE",
            "has 20 characters; an R2 access key id has 32",
        );
        let (id, secret) = ("a".repeat(32), "b".repeat(64));
        let swapped = bad(&[
            ("AWS_ACCESS_KEY_ID", &secret),
            ("AWS_SECRET_ACCESS_KEY", &id),
        ]);
        assert_eq!(swapped.len(), 1);
        assert!(swapped[0].starts_with("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are swapped"));
        for value in [
            "with blank",
            "tab\there",
            "line\nbreak",
            "bell\u{7}",
            "ümlaut",
        ] {
            let problems = bad(&[("AWS_SECRET_ACCESS_KEY", value)]);
            assert!(
                problems[0].contains("a character that no key has"),
                "{problems:#?}"
            );
        }
    }

    #[test]
    fn aws_needs_a_region() {
        for endpoint in [
            "",
            "https://s3.eu-central-1.amazonaws.com",
            "https://s3.cn-north-1.amazonaws.com.cn",
        ] {
            for region in ["", "auto"] {
                let problems = bad(&[("AWS_S3_ENDPOINT", endpoint), ("AWS_S3_REGION", region)]);
                assert_eq!(problems.len(), 1, "{problems:#?}");
                assert!(problems[0].starts_with("AWS_S3_REGION is auto, which AWS does not know"));
            }
            let config = good(&[
                ("AWS_S3_ENDPOINT", endpoint),
                ("AWS_S3_REGION", "eu-central-1"),
                ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ]);
            assert_eq!(config.store.region, "eu-central-1");
        }
        // Which store it is cannot be known from an endpoint that was refused.
        refused("AWS_S3_ENDPOINT", "\"https://s3.example.com\"", "quotes");
    }

    #[test]
    fn buckets_and_regions_are_bare_names() {
        for (bucket, piece) in [
            ("vlvt/backups", "bare name of the bucket"),
            ("s3://vlvt", "bare name of the bucket"),
            ("vlvt backups", "holds a character"),
            ("vlvt?", "holds a character"),
            ("büro", "holds a character"),
            ("..", "holds a character"),
        ] {
            refused("AWS_S3_BUCKET", bucket, piece);
        }
        for region in ["eu central", "eu\ncentral", "eu/central"] {
            refused("AWS_S3_REGION", region, "no region's name has");
        }
    }

    #[test]
    fn time_zones_and_schedules_are_known_or_refused() {
        for zone in [
            "Mars/Phobos",
            ":Europe/Berlin",
            "/etc/localtime",
            "CET-1CEST",
            "Berlin",
            "+02:00",
        ] {
            refused("TZ", zone, "is not a time zone of the IANA database");
        }
        for expression in [
            "hourly",
            "@reboot",
            "0 3 * *",
            "61 3 * * *",
            "0 0 30 2 *",
            "a b c d e",
            "0 3 * * * 2026 x",
        ] {
            refused("BACKUP_CRON_SCHEDULE", expression, "is not a schedule");
        }
        for expression in ["* * * * *", "*/4 * * * *", "* * * * * *", "0,2 3 * * *"] {
            warned(
                &[("BACKUP_CRON_SCHEDULE", expression)],
                &["can be due more often than every 5 minutes"],
            );
        }
        warned(&[("BACKUP_CRON_SCHEDULE", "*/5 * * * *")], &[]);
    }

    #[test]
    fn the_log_settings_are_checked_and_never_silence_the_service() {
        refused("LOG_FORMAT", "xml", "is neither json nor text");
        for filter in [
            "verbose",
            "inf",
            "info,verbose",
            "x=y=z",
            "=,=",
            "postgres_s3_backups=loud",
        ] {
            refused("RUST_LOG", filter, "is not a list of level or target=level");
            let (_, used) = log_settings(&with(&[("RUST_LOG", filter)]), false);
            assert_eq!(used, "info", "{filter}");
        }
        for filter in ["debug", "WARN", "info,hyper=debug", "hyper=off,error"] {
            good(&[("RUST_LOG", filter)]);
            assert_eq!(
                log_settings(&with(&[("RUST_LOG", filter)]), false).1,
                filter
            );
        }
        for (text, format) in [
            ("text", LogFormat::Text),
            (" JSON ", LogFormat::Json),
            ("xml", LogFormat::Json),
        ] {
            assert_eq!(
                log_settings(&with(&[("LOG_FORMAT", text)]), false).0,
                format,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_told_to_others_is_checked_at_start() {
        let config = warned(&[], &[]);
        assert!(config.alerts.is_none() && config.heartbeat.is_none());
        assert_eq!(config.thresholds.below, Some(Factor::HALF));
        assert_eq!(config.thresholds.above, Some(Factor::THREE));
        let config = good(&[
            ("ALERT_WEBHOOK_URL", "https://hooks.slack.com/services/x"),
            ("HEARTBEAT_URL", "https://hc-ping.com/x"),
            ("ANOMALY_BELOW", "OFF"),
            ("ANOMALY_ABOVE", "1.5"),
        ]);
        assert!(config.alerts.is_some() && config.heartbeat.is_some());
        assert_eq!(config.thresholds.below, None);
        assert_eq!(config.thresholds.above, Factor::parse("1.5"));
        for name in ["ALERT_WEBHOOK_URL", "HEARTBEAT_URL"] {
            refused(name, "hc-ping.com/x", "is not a URL");
            refused(name, "https://u:p@host/x", "holds a user or password");
            warned(&[(name, "http://example.com/x")], &["begins with http://"]);
            warned(&[(name, "http://kuma.railway.internal:3001/x")], &[]);
        }
        for text in ["0", "1", "2", "-0.5", "0.0001", "half", "50%", "false"] {
            refused("ANOMALY_BELOW", text, "between 0 and 1");
        }
        for text in ["0", "1", "0.5", "x3", "3x", "1.0", "true"] {
            refused("ANOMALY_ABOVE", text, "above 1");
        }
    }

    #[test]
    fn prefixes_and_subfolders_make_a_key() {
        for (subfolder, prefix, key) in [
            ("", "", "vlvt_backup_"),
            ("", "backup", "backup-"),
            ("", "nightly/", "nightly/"),
            ("", "a b+ä_", "a b+ä_"),
            ("pg", "", "pg/vlvt_backup_"),
            ("/pg/main//", "x", "pg/main/x-"),
            ("///", "x_", "x_"),
        ] {
            let config = good(&[
                ("BUCKET_SUBFOLDER", subfolder),
                ("BACKUP_FILE_PREFIX", prefix),
            ]);
            assert_eq!(config.prefix.as_str(), key, "{subfolder:?} {prefix:?}");
        }
        let long = "x".repeat(901);
        for (value, piece) in [
            ("a/../b", "segment"),
            ("..", "segment"),
            ("a/./b", "segment"),
            ("a//b", "segment"),
            ("a\nb", "control character"),
            ("a\0b", "control character"),
            ("a\u{1b}[2Jb", "control character"),
            (&long, "longer than 900 bytes"),
        ] {
            refused("BACKUP_FILE_PREFIX", value, piece);
            refused("BUCKET_SUBFOLDER", value, piece);
        }
        refused("BACKUP_FILE_PREFIX", "/x", "segment");
        let half = "ä".repeat(250);
        let problems = bad(&[("BUCKET_SUBFOLDER", &half), ("BACKUP_FILE_PREFIX", &half)]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("BUCKET_SUBFOLDER and BACKUP_FILE_PREFIX together"));
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        for (token, piece) in [
            ("0123456789abcde", "can be guessed"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "can be guessed"),
            ("abababababababababababababababab", "can be guessed"),
            ("correct horse battery staple", "holds a blank"),
            ("0123456789abcdefä", "not ASCII"),
        ] {
            refused("STATUS_TOKEN", token, piece);
        }
        assert!(good(&[("STATUS_TOKEN", " ")]).status_token.is_none());
        let token = good(&[("STATUS_TOKEN", " 0123456789abcdef\n")]).status_token;
        assert_eq!(token.unwrap().expose(), "0123456789abcdef");
    }

    #[test]
    fn options_that_would_change_what_a_backup_is_are_refused() {
        for (options, named) in [
            ("-f x", "-f"),
            ("-fx", "-f"),
            ("-vf x", "-f"),
            ("--file x", "--file"),
            ("--file=x", "--file"),
            ("-Fc", "-F"),
            ("-F p", "-F"),
            ("--format=plain", "--format"),
            ("--fo=c", "--format"),
            ("-j4", "-j"),
            ("--jobs 4", "--jobs"),
            ("--j=4", "--jobs"),
            ("-Z0", "-Z"),
            ("--compress=0", "--compress"),
            ("--com gzip", "--compress"),
            ("-d other", "-d"),
            ("-dother", "-d"),
            ("-Ovd other", "-d"),
            ("--dbname other", "--dbname"),
            ("--dbn other", "--dbname"),
            ("--dbname='host=h password=p'", "--dbname"),
            ("-h elsewhere", "-h"),
            ("--host=elsewhere", "--host"),
            ("-p 5433", "-p"),
            ("--po 5433", "--port"),
            ("-U other", "-U"),
            ("--user other", "--username"),
            ("-W", "-W"),
            ("-vW", "-W"),
            ("--password", "--password"),
            ("--enable-row-security", "--enable-row-security"),
            ("--enable", "--enable-row-security"),
            ("--help", "--help"),
            ("-?", "-?"),
            ("-V", "-V"),
            ("--version", "--version"),
            ("--vers", "--version"),
            ("'-f' 'x y'", "-f"),
            ("\"-\"f x", "-f"),
            ("-t a -f b", "-f"),
            ("--table a -f b", "-f"),
            ("--table=a -f b", "-f"),
            ("--schema-only -f b", "-f"),
            ("-s -f b", "-f"),
            ("--no-owner\n-f\nb", "-f"),
        ] {
            refused(
                "BACKUP_OPTIONS",
                options,
                &format!("must not hold {named}: "),
            );
        }
        for (options, piece) in [
            ("--", "must not hold --:"),
            ("other", "a word that is not an option"),
            ("-v other", "a word that is not an option"),
            ("-", "a word that is not an option"),
            ("-v ''", "a word that is not an option"),
            ("\"-T logs -O\" -x", "quotes around several options"),
            ("-x '--table=a --no-owner'", "quotes around several options"),
            ("--table=a b", "a word that is not an option"),
            ("; rm", "a word that is not an option"),
            ("-t 'a", "a quote that is not closed"),
            ("-t", "value is missing"),
            ("-vt", "value is missing"),
            ("--schema", "value is missing"),
            ("--no-owner --role", "value is missing"),
            ("-t a\0b", "NUL"),
        ] {
            let problems = bad(&[("BACKUP_OPTIONS", options)]);
            assert!(
                problems
                    .iter()
                    .all(|line| line.starts_with("BACKUP_OPTIONS ") && line.contains(piece)),
                "{options:?}: {problems:#?}"
            );
        }
        assert!(
            bad(&[("BACKUP_OPTIONS", "-- -f")])
                .iter()
                .any(|line| line.contains("must not hold --:"))
        );
    }

    #[test]
    fn other_options_pass_word_by_word() {
        for (options, words) in [
            ("--no-owner --no-acl", &["--no-owner", "--no-acl"][..]),
            ("-xOcb --if-exists", &["-xOcb", "--if-exists"]),
            ("-w --verbose", &["-w", "--verbose"]),
            ("--no-password", &["--no-password"]),
            // Values that look like options, and one that a shell would have run.
            ("-S -f", &["-S", "-f"]),
            ("--role --file", &["--role", "--file"]),
            ("--role=-s", &["--role=-s"]),
            ("-S -t --role -n", &["-S", "-t", "--role", "-n"]),
            ("--role '$(touch x);`id`'", &["--role", "$(touch x);`id`"]),
            ("--lock-wait-timeout=5min", &["--lock-wait-timeout=5min"]),
            ("-EUTF8", &["-EUTF8"]),
            ("--statistics", &["--statistics"]),
            ("--no-sync", &["--no-sync"]),
        ] {
            assert_eq!(
                warned(&[("BACKUP_OPTIONS", options)], &[]).options,
                words,
                "{options}"
            );
        }
    }

    #[test]
    fn options_that_leave_something_out_are_warned_of() {
        for options in [
            "-t a -n b",
            "-ta -nb",
            "-s",
            "-vs",
            "-Oxt a",
            "-a",
            "-N x",
            "-T x",
            "-e x",
            "-B",
            "--table=a",
            "--table a",
            "--tab a",
            "--schema-only",
            "--schema-o",
            "--data",
            "--section=data",
            "--exclude-table-data=audit",
            "--exclude-table-data audit",
            "--exclude-table-and-children=audit",
            "--table-and-children=a",
            "--no-blobs",
            "--no-large-objects",
            "--no-unlogged-table-data",
            "--no-data",
            "--statistics-only",
            "--filter=f",
        ] {
            let config = good(&[("BACKUP_OPTIONS", options)]);
            assert!(config.is_partial(), "{options}");
            let said = lines(&config.warnings).join("\n");
            assert!(
                said.contains("leaves part of the database out"),
                "{options}: {said}"
            );
        }
    }

    #[test]
    fn database_urls_are_refused_or_warned_of_by_name() {
        for value in [
            "mysql://u@h/d",
            "host=h dbname=d",
            "postgres://u@h",
            "postgres://u:%zz@h/d",
        ] {
            let problems = bad(&[("BACKUP_DATABASE_URL", value)]);
            assert!(
                problems
                    .iter()
                    .all(|line| line.starts_with("BACKUP_DATABASE_URL ")),
                "{problems:#?}"
            );
        }
        warned(
            &[("BACKUP_DATABASE_URL", "postgres://u:p@h/d?schema=public")],
            &[
                "BACKUP_DATABASE_URL has parameters that libpq does not know, so they are left out: schema",
            ],
        );
    }

    #[test]
    fn what_looks_like_a_variable_of_ours_is_warned_of() {
        let config = good(&[
            ("BACKUP_CRON_SCHEDUL", "0 4 * * *"),
            ("AWS_S3_BUCKETS", "x"),
            ("ALERT_URL", "x"),
            ("ANOMALY_OVER", "2"),
            ("HEARTBEAT_URLS", "x"),
            ("RESTORE_DATABASE", "x"),
            ("STATUS_TOKENS", "x"),
            ("VERIFY_CRON", "x"),
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("PGHOST", "elsewhere"),
        ]);
        let names: Vec<&str> = config
            .warnings
            .iter()
            .map(|warning| warning.variable.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "ALERT_URL",
                "ANOMALY_OVER",
                "AWS_S3_BUCKETS",
                "BACKUP_CRON_SCHEDUL",
                "HEARTBEAT_URLS",
                "RESTORE_DATABASE",
                "STATUS_TOKENS",
                "VERIFY_CRON",
            ]
        );
        assert!(
            lines(&config.warnings)
                .iter()
                .all(|line| line.contains("look for a misspelling"))
        );
        assert_eq!(config.schedule.expression(), "0 3 * * *");
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_utf8_matters_in_our_own_variables_only() {
        use std::os::unix::ffi::OsStringExt;
        let garbage = || OsString::from_vec(vec![b'x', 0xff, b'y']);
        let mut foreign = with(&[]);
        foreign.push(("LS_COLORS".into(), garbage()));
        foreign.push((garbage(), garbage()));
        assert!(parse(&foreign).unwrap().warnings.is_empty());
        for (name, secret) in VARIABLES {
            let mut names = vec![(*name).to_owned()];
            if *secret {
                names.push(format!("{name}_FILE"));
            }
            for named in names {
                let mut variables = with(&[]);
                variables.retain(|(known, _)| known != name);
                variables.push((OsString::from(&named), garbage()));
                let problems = lines(&parse(&variables).unwrap_err());
                assert_eq!(problems, [format!("{named} is not UTF-8 text")]);
                // Neither the lines about it nor the probe stop at it.
                assert_eq!(log_settings(&variables, false).0, LogFormat::Json);
                assert_eq!(port(&variables), 8080);
            }
        }
    }

    /// Long, and with no six characters in a row that a message would hold by itself.
    const CANARY: &str = "Zq7xKj9wLm4vBt2rYh6cNf8sGd3pXe5k";

    fn check_for_canary(what: &str, text: &str, secret: bool) {
        assert!(!text.contains(CANARY), "{what}: {text}");
        for run in (0..CANARY.len() - 5).map(|at| &CANARY[at..at + 6]) {
            assert!(!secret || !text.contains(run), "{what}: {run} in {text}");
        }
    }

    #[test]
    fn no_message_repeats_a_value() {
        let shapes = [
            "*",
            "* x",
            "x *",
            "*\nx",
            "\"*\"",
            "\"*",
            "*=1",
            "-*",
            "--*",
            "--*=x",
            "-f *",
            "-d*",
            "--dbname=*",
            "'*",
            "/*",
            "a/../*",
            "*/..",
            "*h",
            "1*",
            "@*",
            "0 3 * * *",
            "https://*",
            "https://*/",
            "https://host/*",
            "https://u:*@host",
            "https://host?*",
            "ftp://*",
            "*.r2.cloudflarestorage.com",
            "https://*.r2.cloudflarestorage.com",
            "postgres://u:*@h",
            "postgres://u:*@h/",
            "postgres://u:*#@h/d",
            "postgres://u:*%zz@h/d",
            "postgres://u:*/x@h/d",
            "postgres://u:x/*@h/d",
            "postgres://u:x?*@h/d",
            "postgres://u:x@*@h/d",
            "postgres://u:x:*@h/d",
            "postgres://u:x @*/d",
            "postgres://u@h:*/d",
            "postgres://u@h/d?*=1",
            "postgres://u@h/d?sslmode=*",
            "postgres://u@h/d?schema=*",
            "postgres://u@h/d?password=*&x=y",
            "postgres://u:*@pgbouncer/d",
            "mysql://u:*@h/d",
            "u:*@h/d",
            "host=h password=*",
        ];
        // The gaps of a schedule take a while to be found: only where it is the schedule that is asked for.
        let messages = |name: &str, value: &str| {
            let changes = [("BACKUP_CRON_SCHEDULE", "x"), (name, value)];
            let mut findings = Findings::default();
            let no_file = |_: &str| Err("entity not found".to_owned());
            let raw = envy::from_iter(present(&with(&changes), no_file, &mut findings)).unwrap();
            drop(Config::from_raw(&raw, &mut findings, now()));
            findings.problems.append(&mut findings.warnings);
            findings.problems.retain(|problem| {
                name == "BACKUP_CRON_SCHEDULE" || problem.variable != "BACKUP_CRON_SCHEDULE"
            });
            lines(&findings.problems)
        };
        let mut told = 0;
        for (name, secret) in VARIABLES {
            for shape in shapes
                .iter()
                .filter(|shape| !shape.starts_with("0 3") || *name != "BACKUP_CRON_SCHEDULE")
            {
                let said = messages(name, &shape.replace('*', CANARY));
                told += said.len();
                check_for_canary(&format!("{name}={shape}"), &said.join("\n"), *secret);
            }
            // The path of a secret's file is no secret, but what somebody took for a path may be one.
            let said = messages(&format!("{name}_FILE"), CANARY);
            check_for_canary(&format!("{name}_FILE"), &said.join("\n"), true);
        }
        assert!(told > 500, "{told}");
    }

    #[test]
    fn no_secret_shows_in_a_configurations_debug_output() {
        let secret_key = format!("{CANARY}{CANARY}");
        let url = format!("postgres://u:{CANARY}%40@h/d?sslmode=require");
        let config = good(&[
            ("AWS_ACCESS_KEY_ID", CANARY),
            ("AWS_SECRET_ACCESS_KEY", &secret_key),
            ("AWS_SESSION_TOKEN", CANARY),
            ("STATUS_TOKEN", CANARY),
            ("BACKUP_DATABASE_URL", &url),
            ("ALERT_WEBHOOK_URL", &format!("https://{CANARY}/{CANARY}")),
            ("HEARTBEAT_URL", &format!("https://h/{CANARY}?x={CANARY}")),
        ]);
        check_for_canary("Config", &format!("{config:?} {config:#?}"), true);
        assert_eq!(keys(&config).access_key_id.expose(), CANARY);
    }
}
