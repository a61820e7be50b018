//! The beginning of a URL, and what a text is that begins in another way.

use crate::fault::Wrong;

/// Takes the scheme off, or says what a text with another scheme is.
pub(super) fn scheme(text: &str) -> Result<(&str, Option<Wrong>), Wrong> {
    const FORM: &str = "postgres://user:password@host:port/database";
    const OTHER_NAMES: [&str; 8] = [
        "ecto",
        "pgsql",
        "postgis",
        "psql",
        "psycopg2",
        "timescale",
        "timescaledb",
        "timescalegis",
    ];
    if text.contains("${") {
        return Err(Wrong::new(
            "holds a reference that was not resolved",
            "on Railway it is ${{Postgres.DATABASE_URL}}, where the part before the dot is the name of the database's service",
        ));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "postgres" || scheme == "postgresql" {
        return Ok((rest, None));
    }
    let driver = ["postgres+", "postgresql+"]
        .iter()
        .find_map(|beginning| scheme.strip_prefix(beginning));
    if driver.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        || OTHER_NAMES.contains(&scheme.as_str())
        || scheme == "jdbc:postgresql"
    {
        let warning =
            "begins as a driver writes it, and was read as if it began with postgresql://";
        return Ok((rest, Some(warning.into())));
    }
    let begins = text.trim_start();
    let only = format!("give it only the URL: {FORM}");
    let written = format!("write it as {FORM}");
    let (cause, remedy) = if begins.starts_with(['{', '[']) {
        ("is JSON", only)
    } else if begins.starts_with("psql ") || begins.starts_with("pg_dump ") {
        (
            "is a whole command",
            "give it only the URL that is in its quotes".to_owned(),
        )
    } else if scheme.starts_with("prisma") {
        (
            "is the address of Prisma's own service, which does not speak PostgreSQL",
            format!("use the database's direct URL: {FORM}"),
        )
    } else if scheme.contains("postgres") {
        ("has something before postgres://", only)
    } else if text.contains(';') && text.contains('=') {
        ("is a connection string of .NET or ODBC", written)
    } else if scheme.is_empty() && text.contains('=') {
        ("is a list of key=value", written)
    } else if scheme.is_empty() {
        ("is not a postgres:// or postgresql:// URI", written)
    } else {
        (
            "is not a postgres:// or postgresql:// URI, but a URL of something else",
            written,
        )
    };
    Err(Wrong::new(cause, remedy))
}
