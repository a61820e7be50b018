//! The whole configuration: variables go in, and a `Config` or all problems come out.

use std::collections::BTreeMap;

use super::*;
use crate::board::anomaly::Factor;
use crate::store::{Credentials, Keys};
use crate::telemetry::LogFormat;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// The names of all variables.
fn names() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|variable| variable.name)
}

fn now() -> DateTime<Utc> {
    "2026-01-25T12:00:00Z".parse().unwrap()
}

/// The smallest valid configuration, with these changes.
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

/// There is exactly one problem. It begins with the variable's name and contains `piece`.
fn refused(variable: &str, value: &str, piece: &str) {
    let problems = bad(&[(variable, value)]);
    assert_eq!(problems.len(), 1, "{variable}={value}: {problems:#?}");
    assert!(
        problems[0].starts_with(&format!("{variable} ")) && problems[0].contains(piece),
        "{variable}={value}: {problems:#?}"
    );
}

/// It is accepted with exactly these warnings. Each is recognized by a piece of its text.
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
    match &config.series.store.credentials {
        Credentials::Keys(keys) => keys.clone(),
        Credentials::Chain => panic!("no keys"),
    }
}

#[test]
fn what_is_not_set_has_its_default() {
    let config = warned(&[], &[]);
    assert_eq!(config.series.store.region, "auto");
    assert!(config.series.store.path_style);
    assert!(keys(&config).session_token.is_none());
    assert_eq!(config.series.schedule.expression(), "0 3 * * *");
    assert_eq!(config.series.schedule.zone().name(), "UTC");
    assert_eq!(config.series.prefix, Prefix::new(None, "vlvt_backup_"));
    assert_eq!(config.series.prefix.as_str(), "vlvt_backup_");
    assert!(config.series.options.is_empty());
    assert!(!config.series.run_on_startup);
    assert!(!config.single_shot);
    assert!(config.series.catch_up);
    assert_eq!(config.port, 8080);
    assert_eq!(config.series.max_age, Duration::from_secs(25 * 3600));
    assert_eq!(config.series.timeout, Duration::from_secs(6 * 3600));
    assert_eq!(config.series.retries, 3);
    assert_eq!(config.series.compression, Level::Auto);
    assert_eq!(config.series.compression_threads, None);
    assert_eq!(
        log_settings(&with(&[]), false),
        (LogFormat::Json, "info".to_owned())
    );
    assert_eq!(log_settings(&with(&[]), true).0, LogFormat::Text);
    assert_eq!(port(&with(&[])), 8080);
}

/// The documentation shows the defaults of the table, so these must be the defaults that apply.
#[test]
fn a_default_that_is_set_changes_nothing() {
    let by_default = format!("{:?}", good(&[]));
    let mut count = 0;
    for variable in VARIABLES {
        if let Unset::Is(value) | Unset::Usually(value, _) = variable.default {
            let config = format!("{:?}", good(&[(variable.name, value)]));
            assert_eq!(config, by_default, "{}={value}", variable.name);
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn a_restore_is_stopped_by_what_it_needs_and_by_nothing_else() {
    let read = |changes: &[(&str, &str)]| {
        Access::from_variables(&with(changes), |_| Err("no file".to_owned()))
    };
    let access = read(&[
        ("BACKUP_TIMEOUT", "long"),
        ("VERIFY_SQL", "SELECT 'x"),
        ("VERIFY_UNCONFINED", "maybe"),
        ("BACKUP_CRON_SCHEDULE", "hourly"),
        ("BACKUP_RETRIES", "many"),
        ("ALERT_WEBHOOK_URL", "\"x\""),
    ])
    .unwrap();
    let warnings = lines(&access.warnings);
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    for (warning, name) in
        warnings
            .iter()
            .zip(["BACKUP_TIMEOUT", "VERIFY_SQL", "VERIFY_UNCONFINED"])
    {
        assert!(
            warning.starts_with(&format!("{name} ")) && warning.ends_with("; it is not used"),
            "{warning}"
        );
    }
    assert_eq!(access.timeout, Duration::from_secs(6 * 3600));
    assert_eq!((access.verify_sql, access.may_be_unconfined), (None, false));
    let findings = read(&[
        ("AWS_S3_BUCKET", "a/b"),
        ("RESTORE_DATABASE_URL", "x"),
        ("BUCKET_SUBFOLDER", ".."),
        ("HTTPS_PROXY", "socks5://x"),
    ])
    .unwrap_err();
    let names: Vec<&str> = findings
        .problems
        .iter()
        .map(|problem| problem.variable.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "HTTPS_PROXY",
            "AWS_S3_BUCKET",
            "BUCKET_SUBFOLDER",
            "RESTORE_DATABASE_URL"
        ]
    );
}

/// Other code asks a problem for its parts, and never reads its text.
#[test]
fn a_problem_has_a_variable_a_cause_and_a_remedy() {
    let problems = parse(&with(&[("RUN_ON_STARTUP", "maybe")])).unwrap_err();
    let [problem] = &problems[..] else {
        panic!("{problems:#?}")
    };
    assert_eq!(problem.variable, "RUN_ON_STARTUP");
    assert_eq!(problem.wrong.cause, "is neither true nor false");
    assert_eq!(
        problem.wrong.remedy,
        "use true, t, 1, yes, on or false, f, 0, no, off"
    );
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
    assert_eq!(config.series.store.region, "weur");
    assert!(!config.series.store.path_style && !config.series.catch_up);
    assert!(config.series.run_on_startup && config.single_shot);
    assert_eq!(config.series.schedule.expression(), "@weekly");
    assert_eq!(config.series.schedule.zone().name(), "Europe/Berlin");
    assert_eq!(config.series.options, ["--no-owner", "--role=the owner"]);
    assert_eq!(config.port, 3000);
    assert_eq!(config.series.max_age, Duration::from_secs(9 * 86_400));
    assert_eq!(config.series.timeout, Duration::from_secs(90 * 60));
    assert_eq!(config.series.retries, 0);
    assert_eq!(config.series.compression, Level::Fixed(9));
    assert_eq!(config.series.compression_threads, Some(3));
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
            config.series.max_age,
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
                    config.series.store.path_style,
                    config.series.run_on_startup,
                    config.single_shot,
                    config.series.catch_up,
                ];
                assert_eq!(read, [expected; 4], "{text}");
            }
        }
    }
    for text in ["y", "enabled", "2", "truee", "-1", "true false", "null"] {
        let problems = bad(&names.map(|name| (name, text)));
        let expected = names.map(|name| {
            format!(
                "{name} is neither true nor false; use true, t, 1, yes, on or false, f, 0, no, off"
            )
        });
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
            good(&[("BACKUP_TIMEOUT", text)]).series.timeout,
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
    assert_eq!(good(&[("BACKUP_RETRIES", "20")]).series.retries, 20);
    for text in ["0", "10", "-1", "fast", "1.5"] {
        refused(
            "BACKUP_COMPRESSION",
            text,
            "is neither auto nor a number from 1 to 9",
        );
    }
    assert_eq!(
        good(&[("BACKUP_COMPRESSION", "AUTO")]).series.compression,
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
        for name in names() {
            let result = parse(&with(&[(name, blank)]));
            match name {
                "AWS_ACCESS_KEY_ID"
                | "AWS_SECRET_ACCESS_KEY"
                | "AWS_S3_BUCKET"
                | "BACKUP_DATABASE_URL" => {
                    let problems = lines(&result.unwrap_err());
                    assert_eq!(problems.len(), 1, "{name}: {problems:#?}");
                    assert!(problems[0].starts_with(&format!("{name} is not set; ")));
                }
                // With a key of R2, somebody forgot it.
                "AWS_S3_ENDPOINT" => {
                    let problems = lines(&result.unwrap_err());
                    assert_eq!(problems.len(), 1, "{problems:#?}");
                    assert!(
                        problems[0].starts_with("AWS_S3_ENDPOINT is not set; for R2 set it to")
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
    assert_eq!(config.series.store.bucket, "vlvt-backups");
    assert_eq!((config.port, config.series.run_on_startup), (3000, true));
    assert_eq!(config.series.schedule.zone().name(), "Asia/Tokyo");
    assert_eq!(config.series.prefix.as_str(), "mine_");
}

#[test]
fn quotes_around_a_value_are_refused_by_name() {
    for value in ["\"x y\"", "''", "`x`", "'\""] {
        let changes = names().map(|name| (name, value));
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
    // In this variable, a shell's quotes have a meaning.
    let config = good(&[("BACKUP_OPTIONS", "'--no-owner' '--no-acl'")]);
    assert_eq!(config.series.options, ["--no-owner", "--no-acl"]);
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
        // A blank value counts as not set, so there is no conflict.
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
    assert!(format!("{:?}", config.series.database).contains("elsewhere"));
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
        ("BACKUP_SERVER_WAIT", "long"),
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
    let expected: Vec<&str> = VARIABLES.iter().map(|known| known.name).collect();
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
            "AWS_S3_ENDPOINT",
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
            // Only R2's keys have to be of a certain length.
            changes.extend([
                ("AWS_ACCESS_KEY_ID", "short"),
                ("AWS_SECRET_ACCESS_KEY", "short"),
            ]);
        }
        let config = warned(&changes, warnings);
        assert_eq!(
            config.series.store.endpoint.as_deref(),
            Some(endpoint),
            "{text}"
        );
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
fn a_forgotten_endpoint_is_called_that() {
    for (id, region, named) in [
        // Nothing says that AWS itself is meant.
        ("", "", "AWS_S3_ENDPOINT"),
        ("minio", "auto", "AWS_S3_ENDPOINT"),
        // A key of R2 opens nothing at AWS, whatever the region.
        (
            "0123456789abcdef0123456789abcdef",
            "auto",
            "AWS_S3_ENDPOINT",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "eu-central-1",
            "AWS_S3_ENDPOINT",
        ),
        ("AKIAIOSFODNN7EXAMPLE", "", "AWS_S3_REGION"),
        ("ASIAIOSFODNN7EXAMPLE", "auto", "AWS_S3_REGION"),
    ] {
        let problems = bad(&[
            ("AWS_S3_ENDPOINT", ""),
            ("AWS_S3_REGION", region),
            ("AWS_ACCESS_KEY_ID", id),
        ]);
        let about = |problem: &&String| problem.starts_with("AWS_S3_");
        let about: Vec<&String> = problems.iter().filter(about).collect();
        assert_eq!(about.len(), 1, "{problems:#?}");
        assert!(about[0].starts_with(named), "{id} {region}: {problems:#?}");
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
            let problems = bad(&[
                ("AWS_S3_ENDPOINT", endpoint),
                ("AWS_S3_REGION", region),
                ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ]);
            assert_eq!(problems.len(), 1, "{problems:#?}");
            assert!(problems[0].starts_with("AWS_S3_REGION is auto, which AWS does not know"));
        }
        let config = good(&[
            ("AWS_S3_ENDPOINT", endpoint),
            ("AWS_S3_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ]);
        assert_eq!(config.series.store.region, "eu-central-1");
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
    assert!(config.alerts.is_none() && config.series.heartbeat.is_none());
    assert_eq!(config.series.thresholds.below, Some(Factor::HALF));
    assert_eq!(config.series.thresholds.above, Some(Factor::THREE));
    let config = good(&[
        ("ALERT_WEBHOOK_URL", "https://hooks.slack.com/services/x"),
        ("HEARTBEAT_URL", "https://hc-ping.com/x"),
        ("ANOMALY_BELOW", "OFF"),
        ("ANOMALY_ABOVE", "1.5"),
    ]);
    assert!(config.alerts.is_some() && config.series.heartbeat.is_some());
    assert_eq!(config.series.thresholds.below, None);
    assert_eq!(config.series.thresholds.above, Factor::parse("1.5"));
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
        assert_eq!(
            config.series.prefix.as_str(),
            key,
            "{subfolder:?} {prefix:?}"
        );
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
        // These are values that look like options, and one that a shell would run.
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
            warned(&[("BACKUP_OPTIONS", options)], &[]).series.options,
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
        assert!(config.series.is_partial(), "{options}");
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
    assert_eq!(config.series.schedule.expression(), "0 3 * * *");
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
    for variable in VARIABLES {
        let name = variable.name;
        let names = [Some(name.to_owned()), variable.file_name()];
        for named in names.into_iter().flatten() {
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
        let given = Given::read(&with(&changes), no_file, &mut findings);
        drop(Config::put_together(given, &mut findings, now()));
        findings.problems.append(&mut findings.warnings);
        findings.problems.retain(|problem| {
            name == "BACKUP_CRON_SCHEDULE" || problem.variable != "BACKUP_CRON_SCHEDULE"
        });
        lines(&findings.problems)
    };
    let mut told = 0;
    for variable in VARIABLES {
        let (name, secret) = (variable.name, variable.secret);
        for shape in shapes
            .iter()
            .filter(|shape| !shape.starts_with("0 3") || name != "BACKUP_CRON_SCHEDULE")
        {
            let said = messages(name, &shape.replace('*', CANARY));
            told += said.len();
            check_for_canary(&format!("{name}={shape}"), &said.join("\n"), secret);
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
