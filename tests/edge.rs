//! Failures that belong to no kind (of standard output, of the terminal) end in one line with their context, and never in a
//! panic.

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::r2::R2;
use crate::common::service::{BINARY, Variables};

fn check(stdout: Stdio) -> (Option<i32>, Vec<Value>) {
    let r2 = R2::start();
    // Nothing listens at this address. What the check finds does not matter here.
    let variables = Variables::on_r2(&r2, "postgres://u:testpass@127.0.0.1:1/d");
    let output = Command::new(BINARY)
        .arg("check")
        .env_clear()
        .envs(variables.all())
        .stdin(Stdio::null())
        .stdout(stdout)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (
        output.status.code(),
        lines
            .filter(|line: &Value| line["level"] == "ERROR")
            .collect(),
    )
}

#[test]
fn an_answer_that_cannot_be_printed_is_told_in_one_line() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, errors) = check(full.into());
    assert_eq!(code, Some(1));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["message"], "could not go on");
    let error = errors[0]["error"].as_str().unwrap();
    assert!(
        error.starts_with("could not print: No space left"),
        "{error}"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_to_print() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (_, errors) = check(writer.into());
    assert!(errors.is_empty(), "{errors:?}");
}
