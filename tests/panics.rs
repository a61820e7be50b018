//! A panic of the program, as it appears in the log.

use std::process::Command;

use postgres_s3_backups::format::screen::Screen;
use postgres_s3_backups::progress::Terminal;
use postgres_s3_backups::secret::renewable::Renewable;
use postgres_s3_backups::secret::{Redactor, Secret};
use postgres_s3_backups::telemetry::{self, Channel, Lines, LogFormat};
use serde_json::Value;

/// Tells the test below that it runs in the process that has to panic.
const PANICKING: &str = "PANICKING_ON_PURPOSE";

#[test]
fn a_panic_is_one_line_of_the_log_and_nothing_else() {
    if std::env::var_os(PANICKING).is_some() {
        telemetry::start(
            Lines::new(LogFormat::Json, Screen::default()),
            "info",
            Channel::Stdout,
            &Terminal::new(false),
            Renewable::new(Redactor::new([&Secret::new("hunter2".to_owned())])),
        );
        let thread = std::thread::Builder::new().name("worker".to_owned());
        let panicking = thread.spawn(|| panic!("two\nlines of {}, hunter2", "words"));
        assert!(panicking.unwrap().join().is_err());
        return;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &name])
        .env(PANICKING, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = stdout
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [line] = lines.as_slice() else {
        panic!("{stdout}");
    };
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "a part of the program panicked");
    assert_eq!(line["panic"], "two\nlines of words, [redacted]");
    assert_eq!(line["thread"], "worker");
    assert!(
        line["at"].as_str().unwrap().contains("panics.rs:"),
        "{line}"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
