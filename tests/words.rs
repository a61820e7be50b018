//! Names in a database and words of servers can hold anything. When they are shown to a person, they can't set the title of
//! a terminal, end a line, forge a field or hide anything.

use postgres_s3_backups::format::text::visible;

use crate::common::cut::Cut;
use crate::common::process::LIMIT;
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

/// Names as PostgreSQL takes them, up to 63 bytes each.
const NAMES: [&str; 3] = [
    "t\u{1b}]0;title\u{7}\u{8}",
    "x\n2026-01-26T03:00:00.000000Z  INFO backup finished name=y\r",
    "\u{202e}\u{2028}\u{9b}2J\u{200b}\u{e0041}\" kind=\"x\\",
];

/// A database with tables that have these names. The data of the first one is read in more than one piece.
fn database() -> String {
    let database = unique("words").replace('-', "_");
    postgres().create_database(&database, "");
    for (name, rows) in NAMES.iter().zip([200_000, 2, 3]) {
        let name = name.replace('"', "\"\"");
        postgres().psql(
            &database,
            &format!("CREATE TABLE \"{name}\" AS SELECT md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, {rows}) g"),
        );
    }
    database
}

fn variables(database: &str) -> Variables {
    let bucket = unique("words");
    seaweedfs().create_bucket(&bucket);
    Variables::working(seaweedfs(), &bucket, &postgres().url(database))
}

fn run(variables: &Variables, arguments: &[&str]) -> Ended {
    Service::start(variables, arguments).end(LIMIT)
}

/// Runs it with a terminal that is wide enough for every line.
fn on_a_terminal(variables: &Variables, arguments: &str) -> Ended {
    Service::on_a_terminal(variables, arguments, 300).end(LIMIT)
}

/// The text in a terminal's output, without line ends and without the sequences that draw a bar again.
fn text_of(ended: &Ended) -> String {
    let mut text = String::new();
    let shown = ended.text().replace(['\r', '\n'], " ");
    let mut rest = shown.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        // These clear a line, move the cursor up or down, or set a colour.
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap();
        assert!(after[end..].starts_with(['K', 'A', 'B', 'm']), "{after:?}");
        rest = &after[end + 1..];
    }
    text + rest
}

/// How the names are shown, as SQL spells them.
fn shown(name: &str) -> String {
    visible(&format!("\"{}\"", name.replace('"', "\"\""))).into_owned()
}

#[test]
fn names_of_tables_forge_no_line_and_no_field_of_the_log() {
    let variables = variables(&database());
    let all = |ended: &Ended| {
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        for line in &ended.lines {
            assert_eq!(visible(line), line.as_str());
        }
    };
    all(&run(&variables, &["backup"]));
    let json = run(&variables, &["verify"]);
    all(&json);
    let tables = json.events("rows in the backup");
    for name in NAMES {
        let name = format!("public.\"{}\"", name.replace('"', "\"\""));
        assert!(
            tables.iter().any(|event| event["table"] == name.as_str()),
            "{name:?}: {tables:?}"
        );
    }

    let text = variables.with("LOG_FORMAT", "text");
    let verified = run(&text, &["verify"]);
    all(&verified);
    assert_eq!(
        verified.lines.len(),
        json.lines.len(),
        "{}",
        verified.text()
    );
    for line in &verified.lines {
        // The time, the level and the message come from the service itself.
        assert!(
            line.starts_with(&chrono::Utc::now().format("%Y-").to_string()),
            "{line}"
        );
        let told = line[27..].trim_start();
        assert!(
            told.starts_with("INFO rows in the backup table=\"public.\\\"")
                || told.starts_with("INFO backup whole name="),
            "{line}"
        );
        assert!(!line.contains(" kind=\"x"), "{line}");
    }
    let made = run(&text, &["backup"]);
    all(&made);
    assert_eq!(
        made.lines
            .iter()
            .filter(|line| line.contains("INFO backup finished name=vlvt_backup_"))
            .count(),
        1,
        "{}",
        made.text()
    );
}

#[test]
fn no_name_and_no_word_of_a_server_reaches_a_terminal_as_it_is() {
    let source = database();
    let variables = variables(&source);
    assert_eq!(run(&variables, &["backup"]).code(), Some(0));

    // The bar stays inside the first table: the connection breaks after the first piece, and the service waits before it
    // tries again.
    let broken = Cut::start(&seaweedfs().endpoint, vec![5_000_000; 3]);
    let through = variables.clone().with("AWS_S3_ENDPOINT", &broken.endpoint);
    let verified = on_a_terminal(&through, "verify");
    assert!(broken.cuts() > 0, "{}", verified.text());
    assert_eq!(verified.code(), Some(0), "{}", verified.text());
    let text = text_of(&verified);
    assert_eq!(visible(&text), text);
    assert!(
        text.contains(&format!(" rows, public.{}", shown(NAMES[0]))),
        "the bar was not seen: {text}"
    );

    // Here it is in the question.
    let target = format!("{}\u{1b}]0;title\u{7}\n", unique("target"));
    postgres().create_database(&target, "");
    postgres().psql(&target, "CREATE TABLE t ()");
    let url = postgres().url(&target);
    let restored = on_a_terminal(
        &variables.clone().with("RESTORE_DATABASE_URL", &url),
        "restore --clean",
    );
    assert_eq!(restored.code(), Some(1), "{}", restored.text());
    let text = text_of(&restored);
    assert_eq!(visible(&text), text);
    assert!(
        text.contains(&format!("database  {}", visible(&target))),
        "{text}"
    );

    // Here it is in the server's message that there is no such database.
    let missing = url.replace("target", "missing");
    let checked = on_a_terminal(&variables.with("BACKUP_DATABASE_URL", &missing), "check");
    assert_eq!(checked.code(), Some(1), "{}", checked.text());
    let text = text_of(&checked);
    assert_eq!(visible(&text), text);
    assert!(text.contains(r"\u{1b}]0;title\u{7}"), "{text}");
}

#[test]
fn a_wrong_argument_is_shown_and_can_do_nothing() {
    for arguments in [
        &["a\u{1b}]0;title\u{7}\nERROR forged"][..],
        &["--\u{202e}x"],
        &["list", "--limit", "\u{9b}2J"],
        &["restore", "a", "postgres://u:hunter2@h/d"],
    ] {
        let ended = run(&Variables::bare(&[17]), arguments);
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
        for line in &ended.lines {
            assert_eq!(visible(line), line.as_str());
            assert!(
                !line.starts_with("ERROR") && !line.contains("hunter2"),
                "{line}"
            );
        }
        assert!(ended.lines[0].starts_with("error: "), "{}", ended.text());
    }
}
