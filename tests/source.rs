//! The database that is backed up is not overwritten because nobody could tell that it is the target.

use std::process::Stdio;

use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::Postgres;
use crate::common::process::free_port;
use crate::common::service::{Ended, Service, Variables};
use crate::common::{postgres, unique};
use crate::restore::{
    at_a_terminal, backed_up, empty_database, on_bucket, one_error, relations, restore,
};

/// The text and the hint of the one refusal.
fn refusal(ended: &Ended) -> (String, String) {
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(ended);
    assert_eq!(error["message"], "restore refused", "{error}");
    assert_eq!(error["kind"], "refused", "{error}");
    let text = |field: &str| error[field].as_str().unwrap().to_owned();
    (text("error"), text("hint"))
}

/// The variables on a machine that can't ask the source, each with what the refusal says of that.
fn unknown_sources(variables: &Variables, database: &str) -> Vec<(Variables, String)> {
    let server = postgres();
    let role = unique("stranger").replace('-', "_");
    server.psql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'stranger'"),
    );
    let closed = unique("closed");
    server.create_database(&closed, "");
    server.psql(
        "postgres",
        &format!("REVOKE CONNECT ON DATABASE \"{closed}\" FROM PUBLIC"),
    );
    let source = |url: &str, said: &str| {
        (
            variables.clone().with("BACKUP_DATABASE_URL", url),
            said.to_owned(),
        )
    };
    vec![
        (
            variables.clone().without("BACKUP_DATABASE_URL"),
            "BACKUP_DATABASE_URL is not set".to_owned(),
        ),
        source("", "BACKUP_DATABASE_URL is not set"),
        source(
            &format!("postgresql://u:p@postgres.invalid/{database}"),
            "could not translate host name",
        ),
        source(
            &format!("postgresql://u:p@127.0.0.1:{}/{database}", free_port()),
            "Connection refused",
        ),
        source(
            &server
                .url_as("postgres", "not-the-password", database)
                .replace("127.0.0.1", "localhost"),
            "password authentication failed",
        ),
        source(
            &server.url_as(&role, "stranger", &closed),
            "permission denied for database",
        ),
        source(&server.url("there-is-no-such-database"), "does not exist"),
    ]
}

#[test]
fn what_may_be_the_source_is_not_overwritten_unasked() {
    let (database, _, variables, _) = backed_up();
    let living = postgres().url(&database);
    // Somebody wrote to it since the backup.
    postgres().psql(&database, "INSERT INTO users VALUES (5001, 'the newest')");
    let before = postgres().digest(&database);
    for (variables, said) in unknown_sources(&variables, &database) {
        let ended = restore(&variables, &["--to", &living, "--clean", "--yes"]);
        let (error, hint) = refusal(&ended);
        assert!(
            error.contains("may be the very database that is backed up") && error.contains(&said),
            "{said}: {error}"
        );
        assert!(
            hint.contains("--create") && hint.contains("--yes-overwrite-source"),
            "{hint}"
        );
        assert!(!ended.text().contains("not-the-password"));
        assert_eq!(ended.events("restore started").len(), 0);
        assert_eq!(postgres().digest(&database), before, "{said}");
        // In a true disaster the target is empty, and nothing hinders anybody.
        let (target, url) = empty_database(postgres());
        let ended = restore(&variables, &["--to", &url]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        assert_ne!(relations(postgres(), &target), "0");
        // What it holds now may be replaced by whoever says so.
        let ended = restore(&variables, &["--to", &url, "--clean", "--yes"]);
        assert!(refusal(&ended).0.contains(&said), "{}", ended.text());
        let flags = ["--clean", "--yes", "--yes-overwrite-source"];
        let ended = restore(&variables, &[&["--to", &url], &flags[..]].concat());
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        let warning = ended.event("the target may be the database that is backed up");
        assert!(
            warning["error"].as_str().unwrap().contains(&said),
            "{warning}"
        );
    }
    // A new database touches nothing, whatever is known of the source.
    let unset = variables.without("BACKUP_DATABASE_URL");
    let ended = restore(&unset, &["--to", &living, "--create"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(postgres().digest(&database), before);
}

#[test]
fn the_database_that_a_backup_was_made_of_is_known_whatever_the_variable_names() {
    let (database, _, variables, _) = backed_up();
    let living = postgres().url(&database);
    postgres().psql(&database, "INSERT INTO users VALUES (5001, 'the newest')");
    let before = postgres().digest(&database);
    // On a laptop, the variable may name a database that answers and is another one.
    let (_, elsewhere) = empty_database(postgres());
    let variables = variables.with("BACKUP_DATABASE_URL", &elsewhere);
    let ended = restore(&variables, &["--to", &living, "--clean", "--yes"]);
    let (error, hint) = refusal(&ended);
    assert!(
        error.contains("the very database that this backup was made of"),
        "{error}"
    );
    assert!(hint.contains("--yes-overwrite-source"), "{hint}");
    assert_eq!(postgres().digest(&database), before);
    // Another one may be replaced as ever, and this one by whoever says so.
    let (_, url) = empty_database(postgres());
    for _ in 0..2 {
        let ended = restore(&variables, &["--to", &url, "--clean", "--yes"]);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
    }
    let flags = ["--clean", "--yes", "--yes-overwrite-source"];
    let ended = restore(&variables, &[&["--to", &living], &flags[..]].concat());
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_ne!(postgres().digest(&database), before);
}

#[test]
fn the_source_behind_a_pooler_is_known() {
    let server = Postgres::start(17);
    server.create_database("shop", "");
    server.psql("shop", "CREATE TABLE t (a int)");
    let pooler = PgBouncer::start(&server);
    let (_, variables) = on_bucket(&server, "shop");
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    let (direct, pooled) = (server.url("shop"), pooler.url("shop"));
    for (source, target) in [(&direct, &pooled), (&pooled, &direct)] {
        let variables = variables.clone().with("BACKUP_DATABASE_URL", source);
        let ended = restore(&variables, &["--to", target, "--clean", "--yes"]);
        let (error, _) = refusal(&ended);
        assert!(
            error.contains("is the database that is backed up"),
            "{error}"
        );
    }
}

#[test]
fn a_server_that_does_not_say_who_it_is_is_not_taken_for_another_one() {
    let server = Postgres::start(14);
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'app'");
    server.create_database("shop", "OWNER app");
    let (_, variables) = on_bucket(&server, "shop");
    server.psql("shop", "CREATE TABLE t (a int); ALTER TABLE t OWNER TO app");
    let backup = Service::backup(&variables);
    assert_eq!(backup.code(), Some(0), "{}", backup.text());
    // The right to run a function belongs to one database, and a dump of that one would hold it.
    let silent = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    server.psql("shop", silent);
    let same = server.url_as("app", "app", "shop");
    let variables = variables.with(
        "BACKUP_DATABASE_URL",
        &same.replace("127.0.0.1", "localhost"),
    );
    let ended = restore(&variables, &["--to", &same, "--clean", "--yes"]);
    let (error, _) = refusal(&ended);
    assert!(error.contains("pg_control_system()"), "{error}");
    // It is no reason not to restore into another one.
    server.create_database("other", "OWNER app");
    server.psql("other", silent);
    let other = server.url_as("app", "app", "other");
    for flags in [&[][..], &["--clean", "--yes"]] {
        let flags = [&["--to", &other, "--skip", "extensions"], flags].concat();
        let ended = restore(&variables, &flags);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
    }
}

#[test]
fn the_question_tells_one_database_from_another() {
    let (_, _, variables, name) = backed_up();
    let server = Postgres::start(18);
    // The name would end a line of the question, and set a terminal's title.
    let target = "railway\u{1b}]0;title\u{7}\nDATABASE";
    server.create_database(target, "");
    server.psql(
        target,
        "CREATE TABLE kept AS SELECT generate_series(1, 1234)",
    );
    let mut app = std::process::Command::new(Postgres::bin(18).join("psql"));
    app.args(["-X", "-q", "-d", &server.url(target)]);
    app.env_clear().stdin(Stdio::piped());
    let mut app = app.spawn().unwrap();
    server.wait_for(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'railway%' AND application_name = 'psql'",
        "1",
    );
    let url = server.url(target);
    let (code, text) = at_a_terminal(
        &variables.clone().without("BACKUP_DATABASE_URL"),
        &format!("--to '{url}' --clean --yes-overwrite-source"),
        "no",
    );
    assert_eq!(code, Some(1), "{text}");
    for shown in [
        format!("server    127.0.0.1:{} (PostgreSQL 18.", server.port()),
        "user      postgres\n".to_owned(),
        r"database  railway\u{1b}]0;title\u{7}\nDATABASE".to_owned(),
        "holds     1 object (table public.kept); ".to_owned(),
        "in use    1 other session is connected to it, the newest statement ".to_owned(),
        "before    ".to_owned(),
        "beware    this may be the database that is backed up: BACKUP_DATABASE_URL is not set"
            .to_owned(),
        format!("name      {name}\n"),
        " ago; ".to_owned(),
        "Replace everything in it? [yes/no] ".to_owned(),
    ] {
        assert!(text.contains(&shown), "{shown:?} in {text}");
    }
    drop(app.stdin.take());
    app.wait().unwrap();
    assert_eq!(server.psql(target, "SELECT count(*) FROM kept"), "1234");

    // The source itself, and a swap.
    let source = variables.value("BACKUP_DATABASE_URL").to_owned();
    let (code, text) = at_a_terminal(
        &variables,
        &format!("--to '{source}' --clean --yes-overwrite-source"),
        "no",
    );
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("beware    this is the database that is backed up (BACKUP_DATABASE_URL)\n"),
        "{text}"
    );
    let (code, text) = at_a_terminal(&variables, &format!("--to '{url}' --swap"), "no");
    assert_eq!(code, Some(1), "{text}");
    for shown in [
        format!("server    127.0.0.1:{}\n", server.port()),
        r"database  railway\u{1b}]0;title\u{7}\nDATABASE".to_owned(),
        format!("name      {name}\n"),
        "in use    no other session is connected to it now\n".to_owned(),
    ] {
        assert!(text.contains(&shown), "{shown:?} in {text}");
    }
}
