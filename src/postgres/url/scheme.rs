//! What a URL begins with, and what a text is that begins otherwise.

/// Takes the scheme off, or says what a text is that has another.
pub(super) fn scheme(text: &str) -> Result<(&str, Option<String>), String> {
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
        return Err("holds a reference that was not resolved; on Railway it is ${{Postgres.DATABASE_URL}}, where the part before the dot is the name of the database's service".to_owned());
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
        return Ok((rest, Some(warning.to_owned())));
    }
    let begins = text.trim_start();
    Err(if begins.starts_with(['{', '[']) {
        format!("is JSON; give it only the URL: {FORM}")
    } else if begins.starts_with("psql ") || begins.starts_with("pg_dump ") {
        "is a whole command; give it only the URL that stands in its quotes".to_owned()
    } else if scheme.starts_with("prisma") {
        format!(
            "is the address of Prisma's own service, which speaks no PostgreSQL; use the database's direct URL: {FORM}"
        )
    } else if scheme.contains("postgres") {
        format!("has something before postgres://; give it only the URL: {FORM}")
    } else if text.contains(';') && text.contains('=') {
        format!("is a connection string of .NET or ODBC; write it as {FORM}")
    } else if scheme.is_empty() && text.contains('=') {
        format!("is a list of key=value; write it as {FORM}")
    } else if scheme.is_empty() {
        format!("is not a postgres:// or postgresql:// URI; write it as {FORM}")
    } else {
        format!(
            "is not a postgres:// or postgresql:// URI, but a URL of something else; write it as {FORM}"
        )
    })
}
