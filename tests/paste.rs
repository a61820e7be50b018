//! The command in the log restores the backup when it is pasted, from whatever form of the log and whatever its name holds.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, Process};
use crate::common::r2::R2;
use crate::common::service::{BINARY, Service, Variables};

/// The forms of the log.
#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Text,
    Terminal,
}

/// Makes a backup, and returns what a person selects in its log to restore it: the characters as they stand there, with nothing
/// undone.
fn selected(form: Form, variables: &Variables) -> String {
    let between = |name: &str, before: &str| {
        let ended = Service::backup(&variables.clone().with("LOG_FORMAT", name));
        let log = ended.text();
        let line = log.lines().find(|line| line.contains("backup finished"));
        let (_, rest) = line.expect(&log).split_once(before).expect(&log);
        rest.split_once('"').expect(&log).0.to_owned()
    };
    match form {
        Form::Json => between("json", "\"restore\":\""),
        Form::Text => between("text", " restore=\""),
        Form::Terminal => {
            let mut command = Process::command("/usr/bin/script");
            command.args(["-qec", &format!("exec {BINARY} backup"), "/dev/null"]);
            let variables = variables.clone().with("SHELL", "/bin/sh");
            let ended = Service::start_by(command, &variables, &[]).end(LIMIT);
            let screen = ended.text().replace('\r', "");
            // Nothing else stands in the line.
            let line = screen
                .lines()
                .find(|line| line.starts_with("postgres-s3-backups restore "));
            line.expect(&screen).to_owned()
        }
    }
}

/// Pastes it into a shell in which the variables are set, and which finds the program.
fn paste(variables: &Variables, command: &str) {
    let folder = Folder::new();
    let program = Path::new(BINARY).parent().unwrap().display();
    let path = format!("{program}:{}", variables.value("PATH"));
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(folder.path())
        .env_clear()
        .envs(variables.all())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command}\n{said}");
    let made = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(made, 0, "{command}");
}

#[test]
fn the_command_of_each_form_of_the_log_brings_the_database_back() {
    let server = Postgres::start(17);
    server.create_database("app", "");
    server.psql(
        "app",
        "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i",
    );
    let before = server.digest("app");
    for (folder, prefix) in [
        ("shop/2026", "vlvt_backup_"),
        ("two words", "it's \"quoted\" \\ "),
        ("$(touch made)", "`touch made`; touch made | *?~#!{}[]=%"),
        ("größe", "--clean -x 日本"),
    ] {
        for form in [Form::Json, Form::Text, Form::Terminal] {
            let store = R2::start();
            let variables = Variables::on_r2(&store, &server.url("app"))
                .with("BUCKET_SUBFOLDER", folder)
                .with("BACKUP_FILE_PREFIX", prefix);
            let command = selected(form, &variables);
            assert!(
                command
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || " -_./=".contains(c)),
                "{form:?}: {command}"
            );
            let target = server.url("postgres");
            paste(&variables.with("RESTORE_DATABASE_URL", &target), &command);
            assert_eq!(server.digest("restored"), before, "{form:?}: {command}");
            server.psql("postgres", "DROP DATABASE restored");
        }
    }
}
