//! Database URLs as people write them.

use super::*;

fn parsed(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap().0
}

fn variable(url: &DatabaseUrl, name: &str) -> Option<String> {
    url.environment(Session::Plain)
        .into_iter()
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}

#[test]
fn a_url_becomes_variables() {
    let url = parsed("postgres://app%40x:p%40ss%2Fw%23@db.internal:5433/shop?sslmode=require");
    assert_eq!(variable(&url, "PGHOST").unwrap(), "db.internal");
    assert_eq!(variable(&url, "PGPORT").unwrap(), "5433");
    assert_eq!(variable(&url, "PGUSER").unwrap(), "app@x");
    assert_eq!(variable(&url, "PGPASSWORD").unwrap(), "p@ss/w#");
    assert_eq!(variable(&url, "PGDATABASE").unwrap(), "shop");
    assert!(url.connection_string(18).contains("sslmode='require'"));
    assert!(
        url.connection_string(18)
            .contains("tcp_user_timeout='30000'")
    );
    assert!(!url.connection_string(18).contains("p@ss"));
    assert!(!format!("{url:?}").contains("p@ss"));
}

#[test]
fn ipv6_lists_and_sockets_are_understood() {
    assert_eq!(
        variable(&parsed("postgres://u@[::1]:5432/d"), "PGHOST").unwrap(),
        "::1"
    );
    let list = parsed("postgres://u@a:1,b:2/d");
    assert_eq!(variable(&list, "PGHOST").unwrap(), "a,b");
    assert_eq!(variable(&list, "PGPORT").unwrap(), "1,2");
    assert_eq!(
        variable(
            &parsed("postgres:///d?host=/var/run/postgresql&user=u"),
            "PGHOST"
        )
        .unwrap(),
        "/var/run/postgresql"
    );
    assert_eq!(
        variable(&parsed("postgres://u@%2Frun%2Fpg/d"), "PGHOST").unwrap(),
        "/run/pg"
    );
}

#[test]
fn malformed_urls_are_refused_without_a_byte_of_the_password() {
    for url in [
        "mysql://u:hunter2secret@h/d",
        "\"postgres://u:hunter2secret@h/d\"",
        "postgres://u:hunter2secret@h",
        "postgres://u:hunter2secret@h/",
        "postgres://u:hunter2secret%zz@h/d",
        "postgres://u:hunter2secret/x@h/d",
        "postgres://u:hunter2secret#x@h/d",
        "postgres://u:hunter2@secret@h/d",
        "postgres://u:hunter2 secret@h/d",
        "postgres://u:hunter2secret@h:x/d",
        "postgres://u:hunter2?secret@h/d",
        "postgres://u:hunter2secret@h/d?sslmode=hunter2secret",
        "postgres://u:hunter2secret@/d",
        "postgres://:hunter2secret@h/d",
        "postgres://h/d",
        "host=h password=hunter2secret",
        "",
    ] {
        let problems = DatabaseUrl::parse(url).unwrap_err();
        let text = format!("{problems:?}");
        assert!(!problems.is_empty(), "{url}");
        assert!(!text.contains("hunter2"), "{url}: {text}");
    }
    let misplaced = "postgres://u:hunter2secret@h/d?hunter2secret=1";
    let warnings = DatabaseUrl::parse(misplaced).unwrap().1;
    assert!(
        warnings.len() == 1 && !warnings[0].to_string().contains("hunter2"),
        "{warnings:?}"
    );
}

#[test]
fn parameters_of_orms_are_left_out_with_a_warning() {
    let (url, warnings) = DatabaseUrl::parse("postgres://u@h/d?schema=public&pgbouncer=true&connect_timeout=5&serverVersion=15&x=Zq7xKj9wLm4vBt2rYh6cNf8sGd3pXe5k&Zq7xKj9wLm4vBt2rYh6cNf8sGd3pXe5k")
        .unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "has parameters that libpq does not know, so they are left out: schema, pgbouncer, serverVersion, x, one whose name can't be shown"
        ]
    );
    assert!(!url.connection_string(18).contains("schema"));
    assert_eq!(variable(&url, "PGCONNECT_TIMEOUT").unwrap(), "5");
    assert_eq!(
        DatabaseUrl::parse("postgres://u@pgbouncer.railway.internal:5432/d")
            .unwrap()
            .1
            .len(),
        1
    );
}

#[test]
fn what_is_no_url_gets_its_word() {
    for (text, piece) in [
        ("{\"url\": \"postgres://u:canary@h/d\"}", "is JSON"),
        ("psql 'postgres://u:canary@h/d'", "is a whole command"),
        (
            "DATABASE_URL=postgres://u:canary@h/d",
            "has something before",
        ),
        (
            "prisma+postgres://h/?api_key=canary",
            "Prisma's own service",
        ),
        ("Server=h;Database=d;Password=canary", ".NET"),
        ("host=h password=canary", "key=value"),
        ("h:5432/canary", "is not a postgres://"),
        ("mysql://u:canary@h/d", "a URL of something else"),
        ("postgres://u:canary@::1:5432/d", "in brackets"),
        ("postgres://u:canary@::1/d", "in brackets"),
        ("postgres://u@server:canary@h/d", "an @ in the user"),
        ("postgres://u:c@nary@h/d", "an @ in the password"),
        (
            "postgres://u:canary@h/d&sslmode=require",
            "an & before the first ?",
        ),
        (
            "postgres://u:canary@h&sslmode=require",
            "an & before the first ?",
        ),
        (
            "postgres://u:canary@h/d?sslmode=require?schema=x",
            "a second ?",
        ),
        (
            "postgres://u:[YOUR-PASSWORD]@h/d",
            "a placeholder in brackets",
        ),
        (
            "postgres://u:canary@h/d?connect_timeout=10s",
            "not a whole number",
        ),
        ("postgres://u:x@h/d?sslpassword=canary", "sslpassword"),
        (
            "postgres://u:x@h/d?scram_client_key=canary",
            "scram_client_key",
        ),
    ] {
        let problems = DatabaseUrl::parse(text).unwrap_err();
        let said: String = problems.iter().map(ToString::to_string).collect();
        assert!(
            said.contains(piece) && !said.contains("canary"),
            "{text}: {said}"
        );
    }
    for text in [
        "postgresql+asyncpg://u:p@h/d",
        "postgres+psycopg2://u:p@h/d",
        "jdbc:postgresql://h/d?user=u&password=p",
        "postgis://u:p@h/d",
        "POSTGRES://u:p@h/d",
    ] {
        let (url, warnings) = DatabaseUrl::parse(text).unwrap();
        let expected = usize::from(!text.starts_with("POSTGRES"));
        assert_eq!(warnings.len(), expected, "{text}: {warnings:?}");
        assert_eq!(variable(&url, "PGUSER").unwrap(), "u");
        assert_eq!(variable(&url, "PGPASSWORD").unwrap(), "p");
    }
}

#[test]
fn ssl_of_drivers_is_read_as_sslmode() {
    for (query, mode) in [
        ("ssl=true", Some("require")),
        ("ssl=1", Some("require")),
        ("ssl=no-verify", Some("require")),
        ("ssl=verify-full", Some("verify-full")),
        ("ssl=%7B%22rejectUnauthorized%22:false%7D", Some("require")),
        ("ssl=false", None),
        ("ssl=0", None),
        ("sslmode=no-verify", Some("require")),
        ("SSLMode=VerifyFull", Some("verify-full")),
        ("sslmode=disable&ssl=true", Some("disable")),
    ] {
        let (url, warnings) = DatabaseUrl::parse(&format!("postgres://u@h/d?{query}")).unwrap();
        let found = url.parameters.get("sslmode").map(String::as_str);
        assert_eq!(found, mode, "{query}");
        assert_eq!(
            warnings.len(),
            query.matches("ssl=").count(),
            "{query}: {warnings:?}"
        );
    }
}

fn under(url: &str, variables: &[(&str, &str)]) -> (DatabaseUrl, Vec<&'static str>) {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let inherited = Inherited::from_variables(&variables);
    let (url, warnings) = DatabaseUrl::parse_with(url, &inherited).unwrap();
    let named = warnings.iter().filter_map(|warning| warning.variable);
    (url, named.collect())
}

#[test]
fn variables_of_libpq_count_under_the_url() {
    let (url, named) = under(
        "postgres://u@h/d?sslmode=require",
        &[
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/ca"),
            ("PGPASSWORD", "hunter2secret"),
            ("PGUSER", "other"),
            ("PGTZ", "UTC"),
            ("PGOPTIONS", "-c a=b"),
            ("PGCONNECT_TIMEOUT", "7"),
            ("PGSERVICE", "x"),
            ("PGCLIENTENCODING", "LATIN1"),
        ],
    );
    let text = url.connection_string(18);
    assert!(text.contains("sslmode='require'") && text.contains("sslrootcert='/ca'"));
    assert!(!format!("{url:?} {text}").contains("hunter2"));
    assert_eq!(variable(&url, "PGPASSWORD").unwrap(), "hunter2secret");
    assert_eq!(url.redactor().redact("hunter2secret"), "[redacted]");
    assert_eq!(variable(&url, "PGUSER").unwrap(), "u");
    assert_eq!(variable(&url, "PGTZ").unwrap(), "UTC");
    assert_eq!(variable(&url, "PGCONNECT_TIMEOUT").unwrap(), "7");
    assert_eq!(url.start_up_options(), ["PGOPTIONS", "PGTZ"]);
    assert!(url.without_start_up_options().start_up_options().is_empty());
    assert_eq!(named, ["PGCLIENTENCODING", "PGSERVICE"]);

    let whole = [
        ("PGHOST", "h"),
        ("PGPORT", "6543"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "p"),
        ("PGDATABASE", "d"),
    ];
    let (url, named) = under("postgres://", &whole);
    assert_eq!(variable(&url, "PGHOST").unwrap(), "h");
    assert_eq!(variable(&url, "PGPORT").unwrap(), "6543");
    assert_eq!(url.database(), "d");
    assert!(named.is_empty());
    // Those of another server are not for this one.
    let (url, named) = under("postgres://v@elsewhere/e", &whole);
    assert_eq!(variable(&url, "PGPASSWORD"), None);
    assert_eq!(variable(&url, "PGPORT"), None);
    assert_eq!(named, ["PGPASSWORD", "PGPORT"]);
    let (url, _) = under("postgres://u@h/d", &[("PGREQUIRESSL", "1")]);
    assert!(url.connection_string(18).contains("sslmode='require'"));
}

#[test]
fn what_a_client_does_not_know_is_left_out() {
    let url = parsed("postgres://u@h/d?min_protocol_version=3.0&sslcertmode=allow&sslsni=0");
    assert_eq!(url.unknown_to(14), ["min_protocol_version", "sslcertmode"]);
    assert_eq!(url.unknown_to(17), ["min_protocol_version"]);
    assert!(url.unknown_to(18).is_empty());
    assert!(!url.connection_string(15).contains("sslcertmode"));
    assert!(url.connection_string(16).contains("sslcertmode='allow'"));
}
