//! Variables turned into a [`Config`], or into the list of everything that is wrong with them.
//!
//! No problem's text repeats a value: half of the variables hold secrets, and operators paste the wrong one into the
//! wrong field.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::catalog::Prefix;
use crate::postgres::DatabaseUrl;
use crate::schedule::Schedule;
use crate::secret::Secret;
use crate::store::StoreSettings;
use crate::telemetry::{self, LogFormat};

/// Every variable that is read, and whether it holds a secret and so may come as `NAME_FILE`.
pub const VARIABLES: &[(&str, bool)] = &[
    ("AWS_ACCESS_KEY_ID", true),
    ("AWS_SECRET_ACCESS_KEY", true),
    ("AWS_SESSION_TOKEN", true),
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
    log_format: Option<String>,
    rust_log: Option<String>,
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
    /// What is odd but usable.
    pub warnings: Vec<Problem>,
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
            .map(|(_, value)| value.to_string_lossy().trim().to_owned())
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

/// Checks `RUST_LOG`. A bare word that is no level is a filter too, one for a module of that name: `RUST_LOG=verbose`
/// would silence every line of this service, the failures among them.
fn check_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    if text
        .split(',')
        .map(str::trim)
        .any(|word| !word.contains(['=', '[']) && !is_level(word))
    {
        return Err(
            "is not a list of level or target=level; use error, warn, info, debug or trace"
                .to_owned(),
        );
    }
    telemetry::check_filter(text)
}

/// `PORT`, for the probe of a running daemon, which needs nothing else.
#[must_use]
pub fn port(variables: &[(OsString, OsString)]) -> u16 {
    let text = variables
        .iter()
        .find(|(name, _)| name == "PORT")
        .map(|(_, value)| value.to_string_lossy());
    text.and_then(|text| text.trim().parse().ok())
        .filter(|port| *port != 0)
        .unwrap_or(DEFAULT_PORT)
}

const DEFAULT_PORT: u16 = 8080;

fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "json" => Some(LogFormat::Json),
        "text" => Some(LogFormat::Text),
        _ => None,
    }
}

impl Config {
    /// Reads the variables. `read_file` is asked for the content of `NAME_FILE`.
    ///
    /// # Errors
    /// Every problem of every variable, in the order of [`VARIABLES`].
    pub fn from_variables(
        variables: &[(OsString, OsString)],
        read_file: impl Fn(&str) -> Result<String, String>,
        now: DateTime<Utc>,
    ) -> Result<Self, Vec<Problem>> {
        let mut findings = Findings::default();
        let present = present(variables, read_file, &mut findings);
        let raw: Raw = match envy::from_iter(present) {
            Ok(raw) => raw,
            Err(_) => Raw::default(),
        };
        let config = Self::from_raw(&raw, &mut findings, now);
        findings.problems.sort_by_key(|problem| {
            VARIABLES
                .iter()
                .position(|(name, _)| problem.variable.starts_with(name))
        });
        match config {
            Some(mut config) if findings.problems.is_empty() => {
                config.warnings = findings.warnings;
                Ok(config)
            }
            _ => Err(findings.problems),
        }
    }

    fn from_raw(raw: &Raw, findings: &mut Findings, now: DateTime<Utc>) -> Option<Self> {
        let store = store(raw, findings);
        let database = findings.required(
            "BACKUP_DATABASE_URL",
            raw.backup_database_url.as_ref(),
            "set it to the database's URL; on Railway to ${{Postgres.DATABASE_URL}}",
        );
        let database = database.and_then(|url| match DatabaseUrl::parse(url) {
            Ok((url, warnings)) => {
                warnings
                    .into_iter()
                    .for_each(|text| findings.warn("BACKUP_DATABASE_URL", text));
                Some(url)
            }
            Err(problems) => {
                problems
                    .into_iter()
                    .for_each(|text| findings.refuse("BACKUP_DATABASE_URL", text));
                None
            }
        });
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
            .unwrap_or(Duration::from_secs(6 * 3600));
        let chosen_age = findings.duration("BACKUP_MAX_AGE", raw.backup_max_age.as_ref());
        let retries = match raw.backup_retries.as_deref().map(str::parse::<u8>) {
            None => 3,
            Some(Ok(retries)) if retries <= 20 => usize::from(retries),
            Some(_) => {
                findings.refuse("BACKUP_RETRIES", "is not a number from 0 to 20");
                3
            }
        };
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
            database: database?,
            prefix: prefix?,
            options: options?,
            run_on_startup,
            single_shot,
            catch_up,
            port,
            max_age: chosen_age.unwrap_or(longest_gap + Duration::from_secs(3600)),
            timeout,
            retries,
            warnings: Vec::new(),
            schedule,
        })
    }
}

/// What is found on the way.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
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
        match value.map(|text| text.to_ascii_lowercase()).as_deref() {
            None => default,
            Some("true" | "t" | "1" | "yes" | "on") => true,
            Some("false" | "f" | "0" | "no" | "off") => false,
            Some(_) => {
                self.refuse(
                    variable,
                    "is neither true nor false; use true, t, 1, yes, on or false, f, 0, no, off",
                );
                default
            }
        }
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

/// Without blanks and line ends around it, nor the byte order mark that editors on Windows put before a file's text.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Our own variables, trimmed, the empty ones left out, the `_FILE` ones read.
fn present(
    variables: &[(OsString, OsString)],
    read_file: impl Fn(&str) -> Result<String, String>,
    findings: &mut Findings,
) -> Vec<(String, String)> {
    let mut ours: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let known = VARIABLES.iter().any(|(known, secret)| {
            name == *known || *secret && name.strip_suffix("_FILE") == Some(known)
        });
        if !known {
            if name.starts_with("BACKUP_") || name.starts_with("AWS_S3_") {
                findings.warn(
                    name,
                    "is not a variable of this service and is not read; look for a misspelling",
                );
            }
            continue;
        }
        match value.to_str().map(trimmed) {
            None => findings.refuse(name, "is not UTF-8 text"),
            Some("") => {}
            Some(text) => {
                ours.insert(name.to_owned(), text.to_owned());
            }
        }
    }
    for (name, _) in VARIABLES.iter().filter(|(_, secret)| *secret) {
        let file_name = format!("{name}_FILE");
        let Some(path) = ours.remove(&file_name) else {
            continue;
        };
        if ours.contains_key(*name) {
            findings.refuse(name, format!("and {file_name} are both set; remove one"));
            continue;
        }
        match read_file(&path).map(|content| trimmed(&content).to_owned()) {
            Ok(content) if content.is_empty() => findings.refuse(&file_name, "names an empty file"),
            Ok(content) => {
                ours.insert((*name).to_owned(), content);
            }
            Err(reason) => findings.refuse(
                &file_name,
                format!("names a file that can't be used: {reason}"),
            ),
        }
    }
    let quotes = ['"', '\'', '`'];
    for (name, value) in &ours {
        if name != "BACKUP_OPTIONS"
            && value.len() > 1
            && quotes
                .iter()
                .any(|quote| value.starts_with(*quote) && value.ends_with(*quote))
        {
            findings.refuse(name, "has quotes around its value; remove them");
        }
    }
    ours.retain(|name, _| {
        !findings
            .problems
            .iter()
            .any(|problem| problem.variable == *name)
    });
    ours.into_iter().collect()
}

fn store(raw: &Raw, findings: &mut Findings) -> Option<StoreSettings> {
    let remedy = "create an R2 API token (R2, Manage API tokens) and copy it";
    let access_key_id =
        findings.required("AWS_ACCESS_KEY_ID", raw.aws_access_key_id.as_ref(), remedy);
    let secret_access_key = findings.required(
        "AWS_SECRET_ACCESS_KEY",
        raw.aws_secret_access_key.as_ref(),
        remedy,
    );
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
            findings.refuse("AWS_S3_BUCKET", "holds a character that no bucket's name has there");
        }
    }
    let endpoint = endpoint(raw, findings);
    let is_r2 = endpoint
        .as_deref()
        .is_some_and(|endpoint| host(endpoint).ends_with(R2_HOST));
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
            "holds a character that no region's name has",
        );
    }
    let is_aws = endpoint.as_deref().is_none_or(|endpoint| {
        [".amazonaws.com", ".amazonaws.com.cn"]
            .iter()
            .any(|domain| host(endpoint).ends_with(domain))
    });
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
        true,
    );
    Some(StoreSettings {
        access_key_id: Secret::new(access_key_id?.clone()),
        secret_access_key: Secret::new(secret_access_key?.clone()),
        session_token: raw.aws_session_token.clone().map(Secret::new),
        bucket: bucket?.clone(),
        endpoint,
        region,
        path_style,
    })
}

const R2_HOST: &str = ".r2.cloudflarestorage.com";

/// The endpoint without a path. R2's dashboard shows the URL with the bucket at its end; left there, every object would
/// silently land under `bucket/`.
fn endpoint(raw: &Raw, findings: &mut Findings) -> Option<String> {
    const NAME: &str = "AWS_S3_ENDPOINT";
    let text = raw.aws_s3_endpoint.as_deref()?;
    let Some((scheme, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| ["http", "https"].contains(scheme))
    else {
        findings.refuse(NAME, "is not a URL that begins with https://; for R2 it is https://ACCOUNT_ID.r2.cloudflarestorage.com");
        return None;
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        findings.refuse(NAME, "holds a user or password; credentials go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        return None;
    }
    let authority_is_plain = authority
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if authority.is_empty()
        || !authority_is_plain
        || rest.contains(['?', '#'])
        || text.parse::<axum::http::Uri>().is_err()
    {
        findings.refuse(NAME, "is not a plain https://host URL; replace placeholders such as {ACCOUNT_ID}, and remove ? and #");
        return None;
    }
    let path = path.trim_matches('/');
    if !path.is_empty() {
        if raw.aws_s3_bucket.as_deref() == Some(path) {
            findings.warn(
                NAME,
                "ends in the bucket's name, as R2's dashboard shows it; the name was left out",
            );
        } else {
            findings.refuse(
                NAME,
                "holds a path; give the host only, and the folder in BUCKET_SUBFOLDER",
            );
            return None;
        }
    }
    let endpoint = format!("{scheme}://{authority}");
    let host = host(&endpoint);
    if let Some(account) = host.strip_suffix(R2_HOST) {
        let account = [".eu", ".fedramp"]
            .iter()
            .find_map(|jurisdiction| account.strip_suffix(jurisdiction))
            .unwrap_or(account);
        if account.len() != 32 || !account.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            findings.refuse(NAME, "does not hold an account id: the host must be the 32 hexadecimal digits of the account id, then .r2.cloudflarestorage.com, with nothing before them");
        }
    }
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&host)
        || host.ends_with(".internal")
        || !host.contains(['.', ':']);
    if scheme == "http" && !is_local {
        findings.warn(
            NAME,
            "begins with http://: the whole database travels unencrypted",
        );
    }
    Some(endpoint)
}

/// The host of `scheme://host[:port]`.
fn host(endpoint: &str) -> &str {
    let authority = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, authority)| authority);
    if authority.starts_with('[') {
        return authority.split_once(']').map_or(authority, |(host, _)| {
            authority.get(..=host.len()).unwrap_or(authority)
        });
    }
    authority.split(':').next().unwrap_or(authority)
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
            findings.refuse("BACKUP_CRON_SCHEDULE", format!("is not a schedule: {error}; five fields such as 0 3 * * * (03:00 every day), six with leading seconds, or @daily"));
            None
        }
    }
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
                "has an empty, . or .. segment; stores read such keys in different ways",
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

/// Options of `pg_dump` that would change where the output goes, what it is, or which database is dumped.
const REFUSED_OPTIONS: &[(&str, char, &str)] = &[
    ("file", 'f', "the output goes to the bucket"),
    (
        "format",
        'F',
        "the output is plain SQL, which gunzip and psql restore",
    ),
    ("jobs", 'j', "a stream has one writer"),
    ("compress", 'Z', "the output is compressed by this service"),
    ("dbname", 'd', "the database is that of BACKUP_DATABASE_URL"),
    ("host", 'h', "the host is that of BACKUP_DATABASE_URL"),
    ("port", 'p', "the port is that of BACKUP_DATABASE_URL"),
    ("username", 'U', "the user is that of BACKUP_DATABASE_URL"),
    (
        "password",
        'W',
        "the password is that of BACKUP_DATABASE_URL, and nobody is there to type one",
    ),
    (
        "enable-row-security",
        '\0',
        "rows would be left out silently",
    ),
    ("help", '?', "it prints no dump"),
    ("version", 'V', "it prints no dump"),
];

/// Short options of `pg_dump` that take a value.
const SHORT_WITH_VALUE: &str = "deEfFhjnNpStTUZ";

/// Long options of `pg_dump` that take a value, which may be the next word.
const LONG_WITH_VALUE: &[&str] = &[
    "encoding",
    "exclude-extension",
    "exclude-schema",
    "exclude-table",
    "exclude-table-and-children",
    "exclude-table-data",
    "exclude-table-data-and-children",
    "extension",
    "extra-float-digits",
    "filter",
    "include-foreign-data",
    "lock-wait-timeout",
    "restrict-key",
    "role",
    "rows-per-insert",
    "schema",
    "section",
    "snapshot",
    "superuser",
    "sync-method",
    "table",
    "table-and-children",
];

/// Short options of `pg_dump` that leave part of the database out.
const SHORT_PARTIAL: &str = "asnNtTeB";

/// Long options of `pg_dump` that leave part of the database out.
const LONG_PARTIAL: &[&str] = &[
    "data-only",
    "exclude-extension",
    "exclude-schema",
    "exclude-table",
    "exclude-table-and-children",
    "exclude-table-data",
    "exclude-table-data-and-children",
    "extension",
    "filter",
    "no-blobs",
    "no-data",
    "no-large-objects",
    "no-schema",
    "no-unlogged-table-data",
    "schema",
    "schema-only",
    "section",
    "statistics-only",
    "table",
    "table-and-children",
];

fn options(raw: &Raw, findings: &mut Findings) -> Option<Vec<String>> {
    const NAME: &str = "BACKUP_OPTIONS";
    let text = raw.backup_options.as_deref().unwrap_or_default();
    let Ok(words) = shell_words::split(text) else {
        findings.refuse(NAME, "has a quote that is not closed");
        return None;
    };
    let before = findings.problems.len();
    let mut partial = false;
    let mut refuse = |text: String| findings.refuse(NAME, text);
    let positional = "must not hold a word that is not an option: pg_dump would take it for the name of another database";
    let no_value = "ends in an option whose value is missing";
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            refuse("must not hold --: no option may follow it".to_owned());
        } else if let Some(long) = word.strip_prefix("--") {
            let name = long.split_once('=').map_or(long, |(name, _)| name);
            // getopt takes any abbreviation that is not ambiguous.
            let abbreviated = |full: &str| !name.is_empty() && full.starts_with(name);
            let refused = REFUSED_OPTIONS
                .iter()
                .find(|(full, _, _)| abbreviated(full));
            if let Some((full, _, reason)) = refused {
                refuse(format!("must not hold --{full}: {reason}"));
            }
            let takes_value = LONG_WITH_VALUE.iter().any(|full| abbreviated(full))
                || refused.is_some_and(|(_, short, _)| SHORT_WITH_VALUE.contains(*short));
            // --statistics adds to the dump, though it is how --statistics-only begins.
            partial |= name != "statistics" && LONG_PARTIAL.iter().any(|full| abbreviated(full));
            if takes_value && !long.contains('=') && rest.next().is_none() {
                refuse(no_value.to_owned());
            }
        } else if let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
            let mut letters = cluster.chars();
            while let Some(letter) = letters.next() {
                if let Some((_, _, reason)) = REFUSED_OPTIONS
                    .iter()
                    .find(|(_, short, _)| *short == letter)
                {
                    refuse(format!("must not hold -{letter}: {reason}"));
                }
                partial |= SHORT_PARTIAL.contains(letter);
                if SHORT_WITH_VALUE.contains(letter) {
                    if letters.as_str().is_empty() && rest.next().is_none() {
                        refuse(no_value.to_owned());
                    }
                    break;
                }
            }
        } else {
            refuse(positional.to_owned());
        }
    }
    if words.iter().any(|word| word.contains('\0')) {
        refuse("holds a NUL character".to_owned());
    }
    if partial {
        findings.warn(
            NAME,
            "leaves part of the database out: these backups do not restore all of it",
        );
    }
    (findings.problems.len() == before).then_some(words)
}
