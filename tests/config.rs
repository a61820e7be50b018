//! The real program with each variable wrong: all problems are reported at once, by name, and the value of a secret is never
//! shown.

use std::process::{Command, Stdio};

use postgres_s3_backups::config::options;

use crate::common::postgres::{PASSWORD, Postgres};
use crate::common::process::{Folder, LIMIT, Process};
use crate::common::service::{BINARY, Ended, Service, Variables, processes_with};
use crate::common::{postgres, seaweedfs, unique};

fn variables_named(ended: &Ended) -> Vec<String> {
    ended
        .events("invalid configuration")
        .iter()
        .map(|event| event["variable"].as_str().unwrap().to_owned())
        .collect()
}

fn working() -> Variables {
    Variables::working(
        seaweedfs(),
        "some-bucket",
        "postgres://u:testpass@127.0.0.1:1/d",
    )
}

#[test]
fn an_empty_environment_names_every_missing_variable_and_exits_2() {
    let output = Command::new(BINARY)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "nothing on stderr"
    );
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named: Vec<&str> = lines
        .iter()
        .map(|line| line["variable"].as_str().unwrap())
        .collect();
    assert_eq!(
        named,
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_S3_BUCKET",
            "AWS_S3_ENDPOINT",
            "BACKUP_DATABASE_URL"
        ]
    );
    assert!(
        lines
            .iter()
            .all(|line| line["level"] == "ERROR" && line["message"] == "invalid configuration")
    );
}

#[test]
fn each_variable_that_is_wrong_is_named() {
    let r2 = format!("https://{}.r2.cloudflarestorage.com", "0".repeat(32));
    let table = [
        ("AWS_ACCESS_KEY_ID", "with blank"),
        ("AWS_SECRET_ACCESS_KEY", "canary\u{7f}secret"),
        ("AWS_SESSION_TOKEN", "a b"),
        ("AWS_CREDENTIALS", "role"),
        ("AWS_S3_BUCKET", "folder/bucket"),
        ("AWS_S3_BUCKET", "{bucket}"),
        ("AWS_S3_ENDPOINT", "account.r2.cloudflarestorage.com"),
        (
            "AWS_S3_ENDPOINT",
            "https://{ACCOUNT_ID}.r2.cloudflarestorage.com",
        ),
        ("AWS_S3_ENDPOINT", "https://user:canary@host"),
        ("AWS_S3_ENDPOINT", "https://host/a/../path"),
        ("AWS_S3_ENDPOINT", "\"https://host\""),
        ("AWS_S3_FORCE_PATH_STYLE", "maybe"),
        ("BACKUP_DATABASE_URL", "mysql://u:canary@h/d"),
        ("BACKUP_DATABASE_URL", "${{Postgres.DATABASE_URL}}"),
        ("BACKUP_DATABASE_URL", "postgres://u:canary@h"),
        ("BACKUP_CRON_SCHEDULE", "0 3 * *"),
        ("TZ", "Mars/Phobos"),
        ("TZ", ":Europe/Berlin"),
        ("RUN_ON_STARTUP", "2"),
        ("SINGLE_SHOT_MODE", "enabled"),
        ("BACKUP_FILE_PREFIX", "../x"),
        ("BUCKET_SUBFOLDER", "a//b"),
        ("BACKUP_OPTIONS", "--file=x"),
        ("BACKUP_OPTIONS", "'open"),
        ("SUPPORT_OBJECT_LOCK", "?"),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("BACKUP_MAX_AGE", "25"),
        ("BACKUP_TIMEOUT", "0s"),
        ("BACKUP_RETRIES", "-1"),
        ("BACKUP_CATCH_UP", "later"),
        ("BACKUP_COMPRESSION", "0"),
        ("BACKUP_COMPRESSION_THREADS", "0"),
        ("VERIFY_UNCONFINED", "maybe"),
        ("ALERT_WEBHOOK_URL", "canary.example.com/hook"),
        ("HEARTBEAT_URL", "https://u:canary@example.com/x"),
        ("HEARTBEAT_URL_FILE", "/no/such/file"),
        ("ANOMALY_BELOW", "1.5"),
        ("ANOMALY_ABOVE", "0.5"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "a=b=c"),
        ("AWS_SECRET_ACCESS_KEY_FILE", "/no/such/file"),
    ];
    for (name, value) in table {
        let mut variables = working().with(name, value);
        if let Some(plain) = name.strip_suffix("_FILE") {
            variables = variables.without(plain);
        }
        let ended = Service::daemon(&variables).end(LIMIT);
        assert_eq!(ended.code(), Some(2), "{name}={value}: {}", ended.text());
        assert_eq!(
            variables_named(&ended),
            [name],
            "{name}={value}: {}",
            ended.text()
        );
        assert!(!ended.text().contains("canary"), "{}", ended.text());
        assert!(ended.events("starting").is_empty(), "nothing was begun");
    }
    let swapped = working()
        .with("AWS_S3_ENDPOINT", &r2)
        .with("AWS_ACCESS_KEY_ID", &"a".repeat(64))
        .with("AWS_SECRET_ACCESS_KEY", &"b".repeat(32));
    let ended = Service::daemon(&swapped).end(LIMIT);
    assert!(
        ended.text().contains("are swapped") && !ended.text().contains(&"a".repeat(6)),
        "{}",
        ended.text()
    );
    let ended = Service::daemon(&working().with("AWS_S3_ENDPOINT", &r2)).end(LIMIT);
    assert!(
        ended
            .text()
            .contains("AWS_ACCESS_KEY_ID has 7 characters; an R2 access key id has 32"),
        "{}",
        ended.text()
    );
    let ended = Service::daemon(&working().with("AWS_ACCESS_KEY_ID", &"a".repeat(32)).with(
        "AWS_S3_ENDPOINT",
        "https://bucket.account.r2.cloudflarestorage.com",
    ))
    .end(LIMIT);
    assert_eq!(variables_named(&ended), ["AWS_S3_ENDPOINT"]);
    assert!(
        ended.text().contains("does not hold an account id"),
        "{}",
        ended.text()
    );
}

#[test]
fn all_problems_come_at_once_and_two_in_one_variable_are_two_lines() {
    let variables = Variables::bare(&[17])
        .with("BACKUP_OPTIONS", "--file=x -j4 --dbn=y")
        .with("PORT", "x")
        .with("BACKUP_DATABASE_URL", "postgres://u:pw@h:port")
        .with("LOG_FORMAT", "xml");
    let ended = Service::daemon(&variables).end(LIMIT);
    assert_eq!(ended.code(), Some(2));
    let named = variables_named(&ended);
    let count = |name: &str| named.iter().filter(|named| *named == name).count();
    assert_eq!(
        (
            count("BACKUP_OPTIONS"),
            count("PORT"),
            count("BACKUP_DATABASE_URL"),
            count("LOG_FORMAT"),
            count("AWS_S3_BUCKET")
        ),
        (3, 1, 2, 1, 1),
        "{}",
        ended.text()
    );
}

#[test]
fn secrets_come_from_files_too_but_not_from_both() {
    let bucket = unique("files");
    seaweedfs().create_bucket(&bucket);
    let folder = Folder::new();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let variables = Variables::working(seaweedfs(), &bucket, "unused")
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .without("BACKUP_DATABASE_URL")
        .with(
            "AWS_ACCESS_KEY_ID_FILE",
            &file("id", &format!("{}\n", seaweedfs().access_key)),
        )
        .with(
            "AWS_SECRET_ACCESS_KEY_FILE",
            &file("secret", seaweedfs().secret_key),
        )
        .with(
            "BACKUP_DATABASE_URL_FILE",
            &file("url", &format!("  {}\n\n", postgres().url("postgres"))),
        );
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());

    let both = Service::backup(&variables.clone().with("AWS_SECRET_ACCESS_KEY", "canary"));
    assert_eq!(
        (both.code(), both.text().contains("are both set")),
        (Some(2), true),
        "{}",
        both.text()
    );
    let empty = Service::backup(
        &variables
            .clone()
            .with("AWS_SECRET_ACCESS_KEY_FILE", &file("empty", "\n")),
    );
    assert_eq!(
        (empty.code(), empty.text().contains("names an empty file")),
        (Some(2), true),
        "{}",
        empty.text()
    );
    let large = Service::backup(&variables.clone().with(
        "AWS_SECRET_ACCESS_KEY_FILE",
        &file("large", &"x".repeat(70_000)),
    ));
    assert_eq!(
        (large.code(), large.text().contains("larger than 64 KiB")),
        (Some(2), true),
        "{}",
        large.text()
    );
    let missing = Service::backup(
        &variables
            .clone()
            .with("AWS_SECRET_ACCESS_KEY_FILE", "/no/such/file"),
    );
    assert_eq!(
        (
            missing.code(),
            missing.text().contains("there is no such file")
        ),
        (Some(2), true),
        "{}",
        missing.text()
    );
    let directory = Service::backup(&variables.with(
        "AWS_SECRET_ACCESS_KEY_FILE",
        folder.path().to_str().unwrap(),
    ));
    assert_eq!(
        (
            directory.code(),
            directory.text().contains("it is not a file")
        ),
        (Some(2), true),
        "{}",
        directory.text()
    );
}

#[test]
fn blank_is_unset_values_are_trimmed_and_strange_variables_of_others_do_no_harm() {
    use std::os::unix::ffi::OsStrExt;
    let bucket = unique("blank");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(
        seaweedfs(),
        &format!("  {bucket} "),
        &postgres().url("postgres"),
    )
    .with("BACKUP_OPTIONS", " ")
    .with("BACKUP_FILE_PREFIX", "")
    .with("AWS_SESSION_TOKEN", "")
    .with("RUN_ON_STARTUP", " TRUE ")
    .with("BACKUP_CRON_SCHEDUL", "x");
    let mut command = Process::command("/usr/bin/env");
    command
        .arg(std::ffi::OsStr::from_bytes(b"FOREIGN=\xff\xfe"))
        .arg(BINARY);
    let service = Service::start_by(command, &variables, &[]);
    service.wait_for("backup finished");
    let ended = service.terminate();
    assert!(
        ended
            .events("configuration")
            .iter()
            .any(|warning| warning["variable"] == "BACKUP_CRON_SCHEDUL"),
        "{}",
        ended.text()
    );
    assert!(seaweedfs().list(&bucket)[0].0.starts_with("vlvt_backup_"));
}

#[test]
fn an_endpoint_as_the_dashboard_shows_it_does_not_move_the_backups() {
    let bucket = unique("dashboard");
    seaweedfs().create_bucket(&bucket);
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url("postgres"));
    let endpoint = format!("{}/{bucket}", seaweedfs().endpoint);
    let ended = Service::backup(&variables.with("AWS_S3_ENDPOINT", &endpoint));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(ended.event("configuration")["variable"], "AWS_S3_ENDPOINT");
    let (key, _) = seaweedfs().list(&bucket).remove(0);
    assert!(key.starts_with("vlvt_backup_"), "{key}");
}

#[test]
fn single_shot_mode_exits_by_itself_and_opens_no_port() {
    let bucket = unique("single");
    seaweedfs().create_bucket(&bucket);
    let holder = std::net::TcpListener::bind(("::", 0)).unwrap();
    let variables = Variables::working(seaweedfs(), &bucket, &postgres().url("postgres"))
        .with("SINGLE_SHOT_MODE", "true")
        .with("PORT", &holder.local_addr().unwrap().port().to_string());
    let ended = Service::daemon(&variables).end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
    let ended = Service::daemon(&variables.with("AWS_S3_BUCKET", "no-such-bucket")).end(LIMIT);
    assert_eq!(ended.code(), Some(1));
}

#[test]
fn a_port_that_is_taken_is_named_and_exits_1() {
    let holder = std::net::TcpListener::bind(("::", 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let ended = Service::daemon(&working().with("PORT", &port.to_string())).end(LIMIT);
    assert_eq!(ended.code(), Some(1));
    let event = ended.event("could not listen");
    assert_eq!(
        (&event["variable"], &event["port"]),
        (&"PORT".into(), &port.into())
    );
}

#[test]
fn text_is_for_people_and_usage_is_checked() {
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(BINARY)
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (
            output.status.code(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        )
    };
    let (code, text) = run(&[], &[("LOG_FORMAT", "text")]);
    assert_eq!(code, Some(2));
    assert!(
        text.contains("ERROR") && text.contains("AWS_S3_BUCKET is not set"),
        "{text}"
    );
    assert!(!text.contains("{\"timestamp\""), "{text}");
    assert_eq!(run(&["frobnicate"], &[]).0, Some(2));
    let (code, version) = run(&["--version"], &[]);
    assert_eq!(
        (code, version.trim()),
        (
            Some(0),
            format!("postgres-s3-backups {}", env!("CARGO_PKG_VERSION")).as_str()
        )
    );
    let (code, help) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(help.contains("backup") && help.contains("health"), "{help}");
}

#[test]
fn nothing_is_touched_before_every_variable_is_valid() {
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (store, database) = (listen(), listen());
    let port = std::net::TcpListener::bind(("::", 0)).unwrap();
    let address = |listener: &std::net::TcpListener| listener.local_addr().unwrap();
    // If the port were opened before the variables are read, this would end with 1, as it does when the port is taken.
    let variables = Variables::bare(&[17])
        .with("AWS_ACCESS_KEY_ID", "id")
        .with("AWS_SECRET_ACCESS_KEY", "secret")
        .with("AWS_S3_BUCKET", "bucket")
        .with("AWS_S3_ENDPOINT", &format!("http://{}", address(&store)))
        .with(
            "BACKUP_DATABASE_URL",
            &format!("postgres://u:p@{}/d", address(&database)),
        )
        .with("PORT", &address(&port).port().to_string())
        .with("RUN_ON_STARTUP", "true")
        .with("BACKUP_TIMEOUT", "never");
    for arguments in [&[][..], &["backup"]] {
        let ended = Service::start(&variables, arguments).end(LIMIT);
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
        assert_eq!(ended.lines.len(), 1, "{}", ended.text());
        assert_eq!(variables_named(&ended), ["BACKUP_TIMEOUT"]);
    }
    for listener in [store, database] {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(
            listener.accept().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock,
            "somebody connected"
        );
    }
}

#[test]
fn a_filter_that_would_silence_the_service_is_told_of() {
    let ended = Service::daemon(&working().with("RUST_LOG", "verbose")).end(LIMIT);
    assert_eq!(ended.code(), Some(2));
    assert_eq!(variables_named(&ended), ["RUST_LOG"]);
}

/// The names and values of a process's environment.
fn environment_of(id: u32) -> Vec<(String, String)> {
    let bytes = std::fs::read(format!("/proc/{id}/environ")).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.split_terminator('\0')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn children_get_our_environment_only_whatever_was_inherited() {
    let bucket = unique("inherited");
    seaweedfs().create_bucket(&bucket);
    let (server, database) = (postgres(), bucket.replace('-', "_"));
    server.create_database(&database, "");
    server.psql(&database, "CREATE TABLE t AS SELECT 1 AS a");
    // The dump waits for this session's lock, so that its process can be examined.
    let mut holder = Process::command(Postgres::bin(17).join("psql"));
    holder.args(["-X", "-q", "-d", &server.url(&database), "-c"]);
    holder.arg("BEGIN; LOCK TABLE t; SELECT pg_sleep(600)");
    let _holder = Process::spawn(holder);
    server.wait_for(&database, "SELECT count(*) FROM pg_locks WHERE granted AND relation = 't'::regclass AND mode = 'AccessExclusiveLock'", "1");

    let variables = Variables::working(seaweedfs(), &bucket, &server.url(&database))
        .with("PGHOST", "wrong.invalid")
        .with("PGHOSTADDR", "192.0.2.1")
        .with("PGPORT", "1")
        .with("PGDATABASE", "wrong")
        .with("PGUSER", "wrong")
        .with("PGSERVICE", "x")
        .with("PGSERVICEFILE", "/nowhere")
        .with("PGOPTIONS", "-c geqo=off")
        .with("PGSSLKEYLOGFILE", "/nowhere")
        .with("LD_LIBRARY_PATH", "/nowhere")
        .with("LC_ALL", "de_DE.UTF-8");
    let service = Service::start(&variables, &["backup"]);
    let of_ours = |id: &u32| {
        std::fs::read_to_string(format!("/proc/{id}/status"))
            .is_ok_and(|status| status.contains(&format!("\nPPid:\t{}\n", service.id())))
    };
    server.wait_for(&database, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'postgres-s3-backups' AND wait_event_type = 'Lock'", "1");
    let dumps: Vec<u32> = processes_with("--lock-wait-timeout")
        .into_iter()
        .filter(of_ours)
        .collect();
    let [dump] = dumps[..] else {
        panic!("one pg_dump, not {dumps:?}");
    };
    let mut environment = environment_of(dump);
    environment.sort();
    let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "LC_ALL",
            "PGAPPNAME",
            "PGCONNECT_TIMEOUT",
            "PGDATABASE",
            "PGHOST",
            "PGOPTIONS",
            "PGPASSWORD",
            "PGPORT",
            "PGUSER",
        ]
    );
    for (name, value) in &environment {
        assert!(
            !value.contains("wrong") && !value.contains(seaweedfs().secret_key),
            "{name}={value}"
        );
    }
    let command_line = std::fs::read(format!("/proc/{dump}/cmdline")).unwrap();
    let command_line = String::from_utf8_lossy(&command_line);
    for secret in [PASSWORD, seaweedfs().secret_key, "postgres://"] {
        assert!(!command_line.contains(secret), "{command_line}");
    }
    server.psql(&database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'BEGIN; LOCK%'");
    let ended = service.end(LIMIT);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
}

#[test]
fn a_misspelt_name_is_told_where_the_right_one_is_missed() {
    let variables = working()
        .without("BACKUP_DATABASE_URL")
        .with("BACKUP_DATABASE_URI", "postgres://u:canary@h/d");
    let ended = Service::daemon(&variables).end(LIMIT);
    assert_eq!(ended.code(), Some(2));
    assert_eq!(variables_named(&ended), ["BACKUP_DATABASE_URL"]);
    assert_eq!(
        ended.event("configuration")["variable"],
        "BACKUP_DATABASE_URI"
    );
    assert!(!ended.text().contains("canary"), "{}", ended.text());
}

#[test]
fn create_is_warned_of_because_a_restore_would_enter_the_original_database() {
    for options in ["--create", "-C", "-vC", "--cre"] {
        let ended = Service::daemon(&working().with("BACKUP_OPTIONS", options).with("PORT", "0"))
            .end(LIMIT);
        let warning = ended.event("configuration");
        assert!(
            warning["warning"]
                .as_str()
                .unwrap()
                .contains("original name"),
            "{options}: {warning}"
        );
    }
}

/// The options in the help of a `pg_dump`: long name, short name, and whether it takes a value.
fn options_of(major: u16) -> Vec<(String, Option<char>, bool)> {
    let help = Command::new(Postgres::bin(major).join("pg_dump"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = help.lines().filter_map(|line| {
        let words = line.strip_prefix("  -")?.split_whitespace().next()?;
        let (short, long) = match words.strip_suffix(',') {
            Some(short) => (short.chars().next(), line.split_whitespace().nth(1)?),
            None => (None, line.split_whitespace().next()?),
        };
        let long = long.strip_prefix("--")?;
        let (name, value) = long.split_once('=').unwrap_or((long, ""));
        Some((name.to_owned(), short, !value.is_empty()))
    });
    options.collect()
}

#[test]
fn every_option_of_every_pg_dump_is_known() {
    let known: Vec<_> = options::known().collect();
    for major in 14..=18 {
        let options = options_of(major);
        assert!(options.len() > 50, "{options:?}");
        for (long, short, takes_value) in options {
            assert!(
                known.iter().any(|known| known.0 == long
                    && (short.is_none() || known.1 == short)
                    && known.2 == takes_value),
                "{major}: --{long} {short:?} {takes_value}"
            );
        }
    }
}

#[test]
fn what_options_cost_a_restore_is_said_at_the_start() {
    for (options, pieces) in [
        (
            "--schema=public",
            &[
                "leaves all extensions and large objects out",
                "--extension='*'",
            ][..],
        ),
        ("-t users", &["leaves all extensions and large objects out"]),
        ("-c", &["--clean without --if-exists", "empty database"]),
        ("--data-o", &["leaves the tables out", "empty database"]),
        (
            "--section=pre-data",
            &[
                "leaves the rows out",
                "leaves indexes, keys and triggers out",
            ],
        ),
    ] {
        let ended = Service::daemon(&working().with("BACKUP_OPTIONS", options).with("PORT", "0"))
            .end(LIMIT);
        let said: Vec<String> = ended
            .events("configuration")
            .iter()
            .filter(|event| event["level"] == "WARN")
            .map(|event| event["warning"].to_string())
            .collect();
        for piece in pieces {
            assert!(
                said.iter().any(|text| text.contains(piece)),
                "{options}: {said:?}"
            );
        }
    }
}
