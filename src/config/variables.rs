//! The variables, one row each. Everything else about them is derived from these rows: how they are read, the forms with
//! `_FILE`, the order of the problems, the misspellings, `--help-env`, `.env.example` and the tables in the documentation.
//!
//! A new variable needs a row here, a field of [`super::Config`] and the code that uses it. `make variables` writes the
//! documentation.

use std::time::Duration;

use serde::Deserialize;
use stream::level::Level;

use super::parse::{
    above, below, boolean, compression, duration, log_filter, log_format, number, secret,
    statements, text, token, zone,
};
use super::problem::Findings;
use crate::board::anomaly::Factor;
use crate::fault::Wrong;
use crate::schedule::zone::Zone;
use crate::secret::Secret;
use crate::telemetry::LogFormat;

/// A variable that this service reads.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The question that it answers.
    pub group: Group,
    /// What applies when it is not set.
    pub default: Unset,
    /// Whether it holds a secret. A secret may come from a file that `NAME_FILE` names.
    pub secret: bool,
    /// What a wrong value means for the commands that read backups. A wrong schedule must not stop a restore.
    pub wrong_for_readers: ForReaders,
    /// What it is, in one sentence of Markdown without a full stop at its end.
    pub about: &'static str,
}

/// The question that a variable answers, in the order in which people ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What every installation sets.
    Needed,
    /// When a backup is made.
    When,
    /// How it is made.
    How,
    /// Where it is stored.
    Where,
    /// How it is restored and proven.
    Restore,
    /// How people learn about it.
    Watch,
}

impl Group {
    /// All groups. The one that every installation needs comes first.
    pub const ALL: [Self; 6] = [
        Self::Needed,
        Self::When,
        Self::How,
        Self::Where,
        Self::Restore,
        Self::Watch,
    ];

    /// The heading above its variables.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Needed => "Needed",
            Self::When => "When a backup is made",
            Self::How => "How it is made",
            Self::Where => "Where it is stored",
            Self::Restore => "Restoring, and proving backups",
            Self::Watch => "Watching it",
        }
    }
}

/// What applies when a variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It must be set.
    Required,
    /// It must be set, except in the case that the text names.
    RequiredBut(&'static str),
    /// This value, as if it had been set.
    Is(&'static str),
    /// This value, except in the case that the second text names.
    Usually(&'static str, &'static str),
    /// It depends on what the first text names. The second text is what that usually comes to.
    Depends(&'static str, &'static str),
    /// There is no value.
    None,
    /// There is no value; the text says what that means.
    Means(&'static str),
}

impl Unset {
    /// The text that is read in place of a value.
    const fn text(self) -> Option<&'static str> {
        match self {
            Self::Is(text) => Some(text),
            _ => None,
        }
    }
}

/// What a wrong value of a variable means for `list`, `restore` and `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForReaders {
    /// They can't run.
    Stops,
    /// They warn, and run as if it were not set.
    IsNotUsed,
    /// Nothing, because they don't use it.
    Nothing,
}

impl Variable {
    /// The name of the form with `_FILE`, if there is one.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.name))
    }

    /// Whether this is the name of the variable, or of its form with `_FILE`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        name == self.name || self.secret && name.strip_suffix("_FILE") == Some(self.name)
    }

    /// The variable of this name, with or without `_FILE`.
    #[must_use]
    pub fn called(name: &str) -> Option<&'static Self> {
        VARIABLES
            .iter()
            .copied()
            .find(|variable| variable.is_called(name))
    }

    /// Its position in the table.
    pub(super) fn place_of(name: &str) -> Option<usize> {
        VARIABLES
            .iter()
            .position(|variable| variable.is_called(name))
    }

    /// The value, or its default. A wrong value is added to the findings.
    fn value<T>(
        &self,
        given: Option<&str>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
        findings: &mut Findings,
    ) -> Option<T> {
        match given.map(&parse) {
            Some(Ok(value)) => return Some(value),
            Some(Err(wrong)) => findings.refuse(self.name, wrong),
            None => {}
        }
        self.default.text().and_then(|text| parse(text).ok())
    }
}

/// How the names of this service's own variables begin: an unknown name that begins so may be a misspelling. The beginnings
/// that other programs use as well, such as `AWS_` and `LOG_`, are left out.
pub(super) const FAMILIES: [&str; 8] = [
    "BACKUP_",
    "AWS_S3_",
    "ALERT_",
    "ANOMALY_",
    "HEARTBEAT_",
    "RESTORE_DATABASE",
    "STATUS_TOKEN",
    "VERIFY_",
];

/// The table. Each row gives the name, the field for it in `Raw` (which `envy` fills) and in `Settings`, the type, the
/// parser, and the facts of [`Variable`].
macro_rules! variables {
    ($($(#[$attribute:meta])* $name:ident $field:ident: $type:ty = $parse:expr, { $($column:ident: $value:expr,)+ })+) => {
        $(pub(super) static $name: Variable = Variable {
            name: stringify!($name),
            $($column: $value,)+
        };)+

        /// Every variable that is read.
        pub static VARIABLES: &[&Variable] = &[$(&$name),+];

        /// The variables as `envy` fills them in: each is either absent, or trimmed and not empty. Secrets are not wrapped
        /// here, so this type has no `Debug`.
        #[derive(Default, Deserialize)]
        struct Raw {
            $($field: Option<String>,)+
        }

        /// The variables, each read by itself. A variable is absent if it was refused, or if it is not set and has no
        /// default.
        #[derive(Debug)]
        pub(super) struct Settings {
            $($(#[$attribute])* pub(super) $field: Option<$type>,)+
        }

        impl Settings {
            /// Reads the variables that are present, and adds their problems to the findings.
            pub(super) fn read(present: Vec<(String, String)>, findings: &mut Findings) -> Self {
                // Every field is an optional text, so this can't fail.
                let raw: Raw = envy::from_iter(present).unwrap_or_default();
                Self {
                    $($field: $name.value(raw.$field.as_deref(), $parse, findings),)+
                }
            }
        }
    };
}

variables! {
    AWS_ACCESS_KEY_ID aws_access_key_id: Secret = secret, {
        group: Group::Needed,
        default: Unset::Required,
        secret: true,
        wrong_for_readers: ForReaders::Stops,
        about: "The ID of the store's access key. R2: 32 characters, from \"Manage API tokens\"",
    }

    AWS_SECRET_ACCESS_KEY aws_secret_access_key: Secret = secret, {
        group: Group::Needed,
        default: Unset::Required,
        secret: true,
        wrong_for_readers: ForReaders::Stops,
        about: "The secret that belongs to it. R2: 64 characters",
    }

    AWS_SESSION_TOKEN aws_session_token: Secret = secret, {
        group: Group::Where,
        default: Unset::None,
        secret: true,
        wrong_for_readers: ForReaders::Stops,
        about: "The session token that comes with temporary credentials",
    }

    AWS_CREDENTIALS aws_credentials: String = text, {
        group: Group::Where,
        default: Unset::Means("the two keys"),
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "`chain`, on AWS alone: use the keys of a role (EKS, ECS, EC2, SSO) in place of the two keys",
    }

    AWS_S3_BUCKET aws_s3_bucket: String = text, {
        group: Group::Needed,
        default: Unset::Required,
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "The bare name of the bucket",
    }

    AWS_S3_ENDPOINT aws_s3_endpoint: String = text, {
        group: Group::Needed,
        default: Unset::RequiredBut("AWS"),
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "The URL of the store, for R2 `https://ACCOUNT_ID.r2.cloudflarestorage.com`",
    }

    AWS_S3_REGION aws_s3_region: String = text, {
        group: Group::Where,
        default: Unset::Is("auto"),
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "The bucket's region; `auto` is right for R2 and refused for AWS, which needs a real one",
    }

    AWS_S3_FORCE_PATH_STYLE aws_s3_force_path_style: bool = boolean, {
        group: Group::Where,
        default: Unset::Usually("true", "`false` where the endpoint begins with the bucket's name"),
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "Whether the bucket's name stands in the path of a request (`true`) or in its host name (`false`)",
    }

    BACKUP_DATABASE_URL backup_database_url: Secret = secret, {
        group: Group::Needed,
        default: Unset::Required,
        secret: true,
        wrong_for_readers: ForReaders::Stops,
        about: "The URL of the database, `postgres://USER:PASSWORD@HOST:5432/DATABASE`; on Railway `${{Postgres.DATABASE_URL}}`",
    }

    BACKUP_CRON_SCHEDULE backup_cron_schedule: String = text, {
        group: Group::When,
        default: Unset::Is("0 3 * * *"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "When a backup is due: five cron fields, six with leading seconds, or a nickname such as `@daily`",
    }

    TZ tz: Zone = zone, {
        group: Group::When,
        default: Unset::Is("UTC"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "The IANA time zone of the schedule; file names and logs are always in UTC",
    }

    RUN_ON_STARTUP run_on_startup: bool = boolean, {
        group: Group::When,
        default: Unset::Is("false"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "Make one backup at start, then follow the schedule",
    }

    SINGLE_SHOT_MODE single_shot_mode: bool = boolean, {
        group: Group::When,
        default: Unset::Is("false"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "Make one backup, then exit",
    }

    BACKUP_FILE_PREFIX backup_file_prefix: String = text, {
        group: Group::Where,
        default: Unset::Is("vlvt_backup_"),
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "The beginning of each file's name",
    }

    BUCKET_SUBFOLDER bucket_subfolder: String = text, {
        group: Group::Where,
        default: Unset::None,
        secret: false,
        wrong_for_readers: ForReaders::Stops,
        about: "The folder in the bucket",
    }

    BACKUP_OPTIONS backup_options: String = text, {
        group: Group::How,
        default: Unset::None,
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "Further options for `pg_dump`",
    }

    #[expect(dead_code, reason = "it is checked, and changes nothing")]
    SUPPORT_OBJECT_LOCK support_object_lock: bool = boolean, {
        group: Group::Where,
        default: Unset::Is("false"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "Accepted because Railway's template has it. It changes nothing: every part is sent with `Content-MD5` anyway",
    }

    PORT port: u16 = |text| number(text, &(1..=u16::MAX)), {
        group: Group::Watch,
        default: Unset::Is("8080"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "The port of `/health` and `/live`, and of the status page and the metrics",
    }

    BACKUP_MAX_AGE backup_max_age: Duration = duration, {
        group: Group::Watch,
        default: Unset::Depends("the longest gap of the schedule, and one hour", "25h"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "When the newest backup is older than this, `/health` is 503",
    }

    BACKUP_TIMEOUT backup_timeout: Duration = duration, {
        group: Group::How,
        default: Unset::Is("6h"),
        secret: false,
        wrong_for_readers: ForReaders::IsNotUsed,
        about: "The longest time that one attempt may take",
    }

    BACKUP_SERVER_WAIT backup_server_wait: Duration = duration, {
        group: Group::How,
        default: Unset::Is("2m"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "How long one attempt waits for a database server that can't be reached",
    }

    BACKUP_RETRIES backup_retries: u8 = |text| number(text, &(0..=20)), {
        group: Group::How,
        default: Unset::Is("3"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "How many more attempts follow a failed one",
    }

    BACKUP_CATCH_UP backup_catch_up: bool = boolean, {
        group: Group::When,
        default: Unset::Is("true"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "At start, make up for a due time that was missed while the service was down",
    }

    BACKUP_COMPRESSION backup_compression: Level = compression, {
        group: Group::How,
        default: Unset::Is("auto"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "How hard to compress: `auto` uses the time there is; or a level from `1` (fastest) to `9` (smallest)",
    }

    // The output of one `pg_dump` can't keep more threads busy, and each thread holds 2 MiB or more.
    BACKUP_COMPRESSION_THREADS backup_compression_threads: u8 = |text| number(text, &(1..=16)), {
        group: Group::How,
        default: Unset::Depends("the number of cores, at most 4", "2"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "How many threads compress",
    }

    BACKUP_GLOBALS backup_globals: bool = boolean, {
        group: Group::How,
        default: Unset::Is("false"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "Store the server's roles, with their settings and memberships, beside each backup",
    }

    RESTORE_DATABASE_URL restore_database_url: Secret = secret, {
        group: Group::Restore,
        default: Unset::None,
        secret: true,
        wrong_for_readers: ForReaders::Stops,
        about: "The URL of the database that the command `restore` writes into; the daemon does not use it",
    }

    VERIFY_SCHEDULE verify_schedule: String = text, {
        group: Group::Restore,
        default: Unset::Means("never"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "When the newest backup is proven by restoring it into a scratch database: a schedule like `BACKUP_CRON_SCHEDULE`",
    }

    VERIFY_DATABASE_URL verify_database_url: Secret = secret, {
        group: Group::Restore,
        default: Unset::None,
        secret: true,
        wrong_for_readers: ForReaders::Nothing,
        about: "Where that happens: `embedded`, a throwaway server in the image `with-server`, or the URL of a server whose user may create databases",
    }

    VERIFY_SQL verify_sql: String = statements, {
        group: Group::Restore,
        default: Unset::None,
        secret: false,
        wrong_for_readers: ForReaders::IsNotUsed,
        about: "Statements of SQL, each of which must return true in the restored database",
    }

    VERIFY_UNCONFINED verify_unconfined: bool = boolean, {
        group: Group::Restore,
        default: Unset::Is("false"),
        secret: false,
        wrong_for_readers: ForReaders::IsNotUsed,
        about: "Allow an embedded drill on a kernel that can't confine what it runs",
    }

    ALERT_WEBHOOK_URL alert_webhook_url: Secret = secret, {
        group: Group::Watch,
        default: Unset::None,
        secret: true,
        wrong_for_readers: ForReaders::Nothing,
        about: "Where alerts are sent: a webhook of Slack or Discord, or of any host that takes JSON",
    }

    HEARTBEAT_URL heartbeat_url: Secret = secret, {
        group: Group::Watch,
        default: Unset::None,
        secret: true,
        wrong_for_readers: ForReaders::Nothing,
        about: "Where each run sends a ping, so that silence raises an alarm: a URL of healthchecks.io or Uptime Kuma",
    }

    ANOMALY_BELOW anomaly_below: Option<Factor> = below, {
        group: Group::Watch,
        default: Unset::Is("0.5"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "A backup with less than this share of the usual size or rows is out of the ordinary; `off` for never",
    }

    ANOMALY_ABOVE anomaly_above: Option<Factor> = above, {
        group: Group::Watch,
        default: Unset::Is("3"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "A backup with more than this many times the usual size or rows is out of the ordinary too; `off` for never",
    }

    STATUS_TOKEN status_token: Secret = token, {
        group: Group::Watch,
        default: Unset::Means("closed"),
        secret: true,
        wrong_for_readers: ForReaders::Nothing,
        about: "Opens the status page `/` and `/metrics` to those who have it: 16 characters or more, from `openssl rand -hex 24`",
    }

    LOG_FORMAT log_format: LogFormat = log_format, {
        group: Group::Watch,
        default: Unset::Usually("json", "`text` on a terminal"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "The form of the log: `json` or `text`",
    }

    RUST_LOG rust_log: String = log_filter, {
        group: Group::Watch,
        default: Unset::Is("info"),
        secret: false,
        wrong_for_readers: ForReaders::Nothing,
        about: "The lowest level that is logged: `error`, `warn`, `info` or `debug`",
    }
}
