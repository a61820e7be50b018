//! What a person sees on a terminal of eighty columns: whole lines, remedies that stand out, colours where they are wanted.

use chrono::{TimeDelta, Utc};

use crate::common::cut::Cut;
use crate::common::process::LIMIT;
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

const COLUMNS: usize = 80;

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

/// Runs it with a terminal of the usual width.
fn on_a_terminal(variables: &Variables, arguments: &str) -> Ended {
    Service::on_a_terminal(variables, arguments, COLUMNS).end(LIMIT)
}

fn run(variables: &Variables, arguments: &[&str]) -> Ended {
    Service::start(variables, arguments).end(LIMIT)
}

/// The lines without what sets colours.
fn plain(ended: &Ended) -> Vec<String> {
    let text = ended.text().replace('\r', "");
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').unwrap().1);
    }
    plain.lines().map(str::to_owned).collect()
}

fn fits(line: &str) -> bool {
    line.chars().count() <= COLUMNS
}

fn bucket() -> String {
    let bucket = unique("terminal");
    seaweedfs().create_bucket(&bucket);
    bucket
}

#[test]
fn the_list_fits_and_ends_with_how_much_there_is() {
    let bucket = bucket();
    for (days, size) in [(1, 500), (2, 1234), (3, 500)] {
        let at = Utc::now() - TimeDelta::days(days);
        let name = format!("vlvt_backup_{}.sql.gz", at.format("%Y-%m-%d_%H-%M-%S"));
        seaweedfs().put(&bucket, &name, &vec![b'x'; size]);
    }
    let variables = Variables::working(seaweedfs(), &bucket, NOWHERE);
    let lines = plain(&on_a_terminal(&variables, "list"));
    assert!(lines.iter().all(|line| fits(line)), "{lines:#?}");
    assert!(lines[0].starts_with("NAME") && lines[0].ends_with("CHANGE"));
    // The name says it too.
    assert!(!lines[0].contains("TAKEN AT"), "{}", lines[0]);
    assert_eq!(
        (lines.len(), lines[4].as_str()),
        (5, "3 backups, 2.2 kB in all.")
    );
    let some = plain(&on_a_terminal(&variables, "list --limit 1"));
    assert_eq!(
        some.last().unwrap(),
        "The newest 1 of 3 backups, which hold 2.2 kB in all."
    );
    // A file gets every column.
    let whole = run(&variables, &["list"]);
    assert!(
        whole.lines[0].contains("TAKEN AT (UTC)"),
        "{}",
        whole.text()
    );
}

#[test]
fn a_check_is_wrapped_and_says_in_colours_and_at_last_in_numbers_how_it_stands() {
    let variables = Variables::working(seaweedfs(), &bucket(), NOWHERE);
    let ended = on_a_terminal(&variables, "check");
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let lines = plain(&ended);
    let report: Vec<&String> = lines
        .iter()
        .skip_while(|line| !line.starts_with("✓ configuration"))
        .collect();
    for line in &report {
        // A word that is longer than the rest of a line stays whole.
        assert!(fits(line) || line.trim().split(' ').count() <= 2, "{line}");
    }
    let remedies = report
        .iter()
        .filter(|line| line.trim_start().starts_with("→ "));
    let odd = |mark| {
        report
            .iter()
            .filter(move |line| line.starts_with(mark))
            .count()
    };
    assert_eq!(remedies.count(), odd("!") + odd("✗"), "{report:#?}");
    assert!(odd("✗") > 0 && odd("!") > 0 && odd("✓") > 0);
    assert_eq!(
        report.last().unwrap().as_str(),
        format!(
            "{} well, {} worth knowing, {} broken",
            odd("✓"),
            odd("!"),
            odd("✗")
        )
    );
    for colour in ["\u{1b}[32m✓", "\u{1b}[33m!", "\u{1b}[31m✗"] {
        assert!(ended.text().contains(colour), "{}", ended.text());
    }
    // Not where they are not wanted, and not in a file, where each line is one thing with its remedy.
    let without = variables.clone().with("NO_COLOR", "1");
    assert!(!on_a_terminal(&without, "check").text().contains("\u{1b}["));
    let whole = run(&variables, &["check"]);
    assert!(!whole.text().contains('\u{1b}'), "{}", whole.text());
    let alerts = whole.lines.iter().find(|line| line.starts_with("! alerts"));
    assert!(alerts.unwrap().contains(" → "), "{}", whole.text());
    assert!(whole.lines.last().unwrap().ends_with(" broken"));
}

#[test]
fn a_program_that_reads_a_check_gets_an_array_whatever_is_wrong_with_the_configuration() {
    let variables = Variables::working(seaweedfs(), &bucket(), NOWHERE)
        .without("AWS_S3_BUCKET")
        .with("BACKUP_CRON_SCHEDULE", "sometimes")
        .with("AWS_S3_BUKET", "x");
    let ended = run(&variables, &["check", "--json"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.text());
    // The log, which says the same, goes to standard error.
    let begins = ended.lines.iter().position(|line| line == "[").unwrap();
    let ends = ended.lines.iter().rposition(|line| line == "]").unwrap();
    let json = ended.lines[begins..=ends].join("\n");
    let found: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let told = |outcome: &str, word: &str| {
        found.iter().any(|finding| {
            finding["name"] == "configuration"
                && finding["outcome"] == outcome
                && finding["text"].as_str().unwrap().starts_with(word)
                && !finding["hint"].as_str().unwrap().is_empty()
        })
    };
    assert!(told("failed", "AWS_S3_BUCKET is not set"), "{json}");
    assert!(told("failed", "BACKUP_CRON_SCHEDULE "), "{json}");
    assert!(told("warning", "AWS_S3_BUKET "), "{json}");
}

#[test]
fn help_is_wrapped_and_a_slip_of_the_pen_is_answered_with_what_was_meant() {
    let variables = Variables::bare(&[17]);
    for arguments in [
        "--help",
        "-h",
        "help",
        "help restore",
        "restore --help",
        "verify -h",
    ] {
        let ended = on_a_terminal(&variables, arguments);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        let lines = plain(&ended);
        assert!(lines.len() > 10, "{}", ended.text());
        for line in lines {
            assert!(fits(&line), "{arguments}: {line}");
        }
    }
    for (arguments, meant) in [
        (&["lst"][..], "'list'"),
        (&["restore", "--craete"], "'--create'"),
        (&["verify", "--al"], "'--all'"),
    ] {
        let ended = run(&variables, arguments);
        assert_eq!(ended.code(), Some(2));
        let tip = ended.lines.iter().find(|line| line.contains("tip: "));
        assert!(
            tip.is_some_and(|tip| tip.contains(meant)),
            "{}",
            ended.text()
        );
    }
}

#[test]
fn the_probe_says_a_word() {
    let variables = Variables::working(seaweedfs(), &bucket(), NOWHERE);
    let service = Service::daemon(&variables);
    service.wait_for("next backup");
    let port = service.port();
    let probe = || run(&variables, &["health"]).text();
    assert_eq!(
        probe().trim(),
        format!("The daemon on port {port} is running.")
    );
    service.terminate();
    assert_eq!(
        probe().trim(),
        format!("The daemon on port {port} is not running.")
    );
}

/// The rows are checked by a function that takes its time: so each part of the restore lasts long enough to be seen.
#[test]
fn the_bar_names_what_is_being_done() {
    let source = unique("bar").replace('-', "_");
    postgres().create_database(&source, "");
    postgres().psql(
        &source,
        "CREATE FUNCTION public.slowly(id integer) RETURNS boolean LANGUAGE plpgsql AS
           'BEGIN IF id % 10000 = 1 THEN PERFORM pg_catalog.pg_sleep(0.1); ELSIF id = 200000 THEN PERFORM pg_catalog.pg_sleep(2); END IF; RETURN true; END';
         CREATE TABLE slow AS SELECT g AS id, md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, 200000) g;
         ALTER TABLE slow ADD CHECK (public.slowly(id)) NOT VALID",
    );
    let variables = Variables::working(seaweedfs(), &bucket(), &postgres().url(&source));
    assert_eq!(run(&variables, &["backup"]).code(), Some(0));
    let target = unique("bar-target").replace('-', "_");
    postgres().create_database(&target, "");
    // The connection breaks in the first reading, and the service waits before it asks again.
    let broken = Cut::start(&seaweedfs().endpoint, vec![5_000_000; 3]);
    let through = variables
        .with("AWS_S3_ENDPOINT", &broken.endpoint)
        .with("RESTORE_DATABASE_URL", &postgres().url(&target));
    let restored = on_a_terminal(&through, "restore");
    assert_eq!(restored.code(), Some(0), "{}", restored.text());
    let text = restored.text();
    let mut rest = text.as_str();
    for phase in ["Reading ", "Restoring ", "Finishing "] {
        let at = rest.find(phase);
        rest = &rest[at.unwrap_or_else(|| panic!("no {phase}in: {text}"))..];
    }
    // What the backup has is measured in the unit in which `list` tells it.
    assert!(text.contains(" MB/") && !text.contains("MiB"), "{text}");
}

#[test]
fn a_finished_backup_can_be_read_and_its_command_be_copied() {
    let source = unique("finished").replace('-', "_");
    postgres().create_database(&source, "");
    postgres().psql(&source, "CREATE TABLE t AS SELECT 1 AS a");
    let variables = Variables::working(seaweedfs(), &bucket(), &postgres().url(&source));
    let ended = on_a_terminal(&variables, "backup");
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(
        ended
            .text()
            .contains(" \u{1b}[32m INFO\u{1b}[0m backup finished")
    );
    let lines = plain(&ended);
    let finished = lines
        .iter()
        .position(|line| line.ends_with(" INFO backup finished"));
    let told = &lines[finished.unwrap() + 1..];
    let fields = told
        .iter()
        .take_while(|line| line.starts_with("    "))
        .count();
    assert!(fields > 3, "{told:#?}");
    for line in &told[..fields] {
        assert!(fits(line) && line.contains('='), "{line}");
    }
    assert_eq!(told[fields], "To restore it:");
    let name = told[0].split_whitespace().next().unwrap();
    let name = name.strip_prefix("name=").unwrap();
    assert!(
        told[fields + 1].contains(name.trim_end_matches(".gz")),
        "{told:#?}"
    );
    // In a file it is one line, as every event.
    let elsewhere = variables
        .with("AWS_S3_BUCKET", &bucket())
        .with("LOG_FORMAT", "text");
    let whole = run(&elsewhere, &["backup"]);
    let finished = whole
        .lines
        .iter()
        .filter(|line| line.contains(" INFO backup finished name="));
    assert_eq!(finished.count(), 1, "{}", whole.text());
    assert!(!whole.text().contains('\u{1b}'), "{}", whole.text());
}
