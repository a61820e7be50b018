//! How a cause is recognised: by the code that the server gives (SQLSTATE), or, if the client programs don't show it, by the
//! first words of a message.
//!
//! Anything that is not known for certain is [`Cause::Other`] or [`Cause::Refused`], and may be tried again.

mod codes;
mod connecting;
mod dumping;

use super::cause::Cause;
use super::message::{self, Message};
use super::said::Said;
use crate::fault::Kind;
use connecting::{CONNECTING, REFUSED};
use dumping::{DUMPING, PG_DUMP};

/// The words that a message is recognised by.
#[derive(Debug, Clone, Copy)]
enum Words {
    /// It begins with these words.
    Begins(&'static str),
    /// It consists of these words, a name, and these words at the end of a line.
    Around(&'static str, &'static str),
    /// It has this reason from OpenSSL, whatever version of the protocol stands before it.
    Tls(&'static str),
}

use Words::{Around, Begins, Tls};

impl Words {
    fn fit(self, text: &str) -> bool {
        match self {
            Begins(words) => text.starts_with(words),
            Around(before, after) => text.strip_prefix(before).is_some_and(|rest| {
                rest.match_indices(after).any(|(at, _)| {
                    let end = rest.get(at.saturating_add(after.len())..);
                    end.is_some_and(|end| end.is_empty() || end.starts_with('\n'))
                })
            }),
            Tls(reason) => text.strip_prefix("SSL error: ").is_some_and(|mut rest| {
                for family in ["ssl/tls ", "sslv3 ", "tlsv1 ", "tlsv13 ", "alert "] {
                    rest = rest.strip_prefix(family).unwrap_or(rest);
                }
                rest.starts_with(reason)
            }),
        }
    }
}

/// A cause and the words that it is recognised by.
type Row = (Cause, &'static [Words]);

fn find(rows: &[Row], text: &str) -> Option<Cause> {
    rows.iter()
        .find(|(_, words)| words.iter().any(|words| words.fit(text)))
        .map(|(cause, _)| *cause)
}

/// The cause of a refusal with this code.
pub(super) fn of_refusal_code(code: &str) -> Cause {
    codes::of_refusal(code).unwrap_or(Cause::Refused)
}

/// Why a statement of ours failed. The code decides; the words only tell causes apart that have the same code.
pub(super) fn of_statement(said: &Said) -> Cause {
    let Some((code, text)) = message::last_error(said.raw()) else {
        return Cause::Other;
    };
    let by_code = codes::of_statement(code);
    let finer = match code {
        "53200" | "57014" | "42501" | "40001" => find(DUMPING, text),
        _ => None,
    };
    finer.or(by_code).unwrap_or(Cause::Other)
}

/// Why `psql` has no connection, or lost it.
pub(super) fn of_lost_psql(said: &Said) -> Cause {
    let connecting = said
        .whole()
        .and_then(|text| message::while_connecting(text, "psql"));
    if let Some(messages) = connecting {
        return of_attempts(&messages);
    }
    match message::last_error(said.raw()) {
        Some((code, _)) if code.starts_with("57P") => Cause::Terminated,
        _ => Cause::ConnectionLost,
    }
}

/// Why `pg_dump` failed, and the kind of the failure if the cause has none.
pub(super) fn of_pg_dump(said: &Said, has_output: bool) -> (Cause, Kind) {
    if let Some(text) = said.whole().filter(|_| !has_output)
        && let Some(messages) = message::while_connecting(text, "pg_dump")
    {
        let cause = of_attempts(&messages);
        // If there was no attempt to connect, the words are pg_dump's own, or libpq had no server to try.
        if message::is_attempt(text, "pg_dump") || cause != Cause::Other {
            return (cause, Kind::Connect);
        }
    }
    if !has_output && said.raw().lines().any(is_usage) {
        return (Cause::Options, Kind::DumpExit);
    }
    let mut causes = message::of_pg_dump(said.raw()).into_iter().map(|message| {
        let found = match message {
            Message::Server(text) => find(DUMPING, text),
            Message::Client(text) => find(PG_DUMP, text),
        };
        found.unwrap_or(Cause::Other)
    });
    // A name can look like a message of its own. If the text can be read in two ways, the cause is not known.
    let first = causes.next().unwrap_or(Cause::Other);
    let cause = if causes.all(|cause| cause == first) {
        first
    } else {
        Cause::Other
    };
    (cause, Kind::DumpExit)
}

/// Whether this is what `pg_dump` says about options that it does not understand.
fn is_usage(line: &str) -> bool {
    let line = line.strip_prefix("pg_dump: hint: ").unwrap_or(line);
    line.starts_with("Try \"") && line.ends_with("pg_dump --help\" for more information.")
}

/// The cause of several failed attempts: libpq tries each address, and each with and without TLS if `sslmode` allows both. If
/// waiting may help one of them, that one counts. A server that refused says more than one that could not be reached.
fn of_attempts(messages: &[Message<'_>]) -> Cause {
    let weight = |cause: Cause| match cause {
        Cause::Other | Cause::HostUnknown | Cause::Unreachable => 0,
        Cause::Refused => 1,
        cause if cause.kind(Kind::Connect).is_retryable() => 3,
        _ => 2,
    };
    let causes = messages.iter().map(|message| match message {
        Message::Server(text) => find(REFUSED, text).unwrap_or(Cause::Refused),
        Message::Client(text) => find(CONNECTING, text).unwrap_or(Cause::Other),
    });
    // Of several that count the same, the last is taken.
    causes
        .max_by_key(|cause| weight(*cause))
        .unwrap_or(Cause::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Diagnosed;
    use crate::postgres::PostgresError;

    const AT: &str = "connection to server at \"h\" (10.0.0.1), port 5432 failed: ";

    fn of_connect(said: &str) -> Cause {
        let psql = of_lost_psql(&Said::of(&format!("psql: error: {said}")));
        let said = Said::of(&format!("pg_dump: error: {said}"));
        assert_eq!(of_pg_dump(&said, false), (psql, Kind::Connect), "{said:?}");
        psql
    }

    fn of_dump(said: &str) -> Cause {
        let before = of_pg_dump(&Said::of(said), false);
        let during = of_pg_dump(&Said::of(said), true);
        assert_eq!(before, during, "{said}");
        assert_eq!(before.1, Kind::DumpExit);
        before.0
    }

    /// Every way in which a server's error reaches `pg_dump`'s stderr, of 14 and of 15 and later.
    fn in_dumps(error: &str, name: &str) -> [String; 4] {
        let sql = name.replace('"', "\"\"");
        [
            format!(
                "pg_dump: error: query failed: {error}\npg_dump: detail: Query was: LOCK TABLE public.\"{sql}\" IN ACCESS SHARE MODE"
            ),
            format!(
                "pg_dump: error: query failed: {error}\npg_dump: error: query was: LOCK TABLE public.\"{sql}\" IN ACCESS SHARE MODE"
            ),
            format!(
                "pg_dump: error: Dumping the contents of table \"{name}\" failed: PQgetResult() failed.\npg_dump: detail: Error message from server: {error}\npg_dump: detail: Command was: COPY public.\"{sql}\" (sslmode, sso_certificate) TO stdout;"
            ),
            format!(
                "pg_dump: error: Dumping the contents of table \"{name}\" failed: PQgetResult() failed.\npg_dump: error: Error message from server: {error}\npg_dump: error: The command was: COPY public.\"{sql}\" (sslmode, sso_certificate) TO stdout;"
            ),
        ]
    }

    /// Names that a database can have, of 63 bytes at most.
    const NAMES: [&str; 9] = [
        "t",
        "certificates",
        "x\"\nFATAL:  password authentication failed for user \"u\"",
        "permission denied for table",
        "x\" does not exist",
        "x\npg_dump: detail: Query was: x",
        "connection to server at \"h\", port 1 failed: FATAL:  x",
        "x\npsql:<stdin>:1: FATAL:  28P01: password authentication faile",
        "SSL error: certificate verify failed\nconnection to server at \"h",
    ];

    const DUMPED: &[(&str, Cause)] = &[
        (
            "ERROR:  permission denied for large object 16385",
            Cause::LargeObject,
        ),
        ("ERROR:  permission denied for table {}", Cause::Permission),
        ("ERROR:  permission denied for schema {}", Cause::Permission),
        (
            "ERROR:  query would be affected by row-level security policy for table \"{}\"",
            Cause::RowSecurity,
        ),
        (
            "ERROR:  canceling statement due to statement timeout",
            Cause::Locked,
        ),
        (
            "ERROR:  canceling statement due to lock timeout",
            Cause::Locked,
        ),
        (
            "ERROR:  canceling statement due to user request",
            Cause::Cancelled,
        ),
        (
            "ERROR:  canceling statement due to conflict with recovery\nDETAIL:  User query might have needed to see row versions that must be removed.",
            Cause::Standby,
        ),
        (
            "FATAL:  terminating connection due to conflict with recovery\nDETAIL:  x",
            Cause::Standby,
        ),
        (
            "FATAL:  terminating connection due to administrator command\nSSL connection has been closed unexpectedly",
            Cause::Terminated,
        ),
        (
            "FATAL:  terminating connection due to administrator command\nserver closed the connection unexpectedly",
            Cause::Terminated,
        ),
        (
            "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.",
            Cause::ConnectionLost,
        ),
        (
            "SSL connection has been closed unexpectedly",
            Cause::ConnectionLost,
        ),
        ("SSL SYSCALL error: EOF detected", Cause::ConnectionLost),
        (
            "SSL SYSCALL error: Connection reset by peer",
            Cause::ConnectionLost,
        ),
        (
            "SSL error: unexpected eof while reading",
            Cause::ConnectionLost,
        ),
        (
            "could not receive data from server: Connection reset by peer",
            Cause::ConnectionLost,
        ),
        (
            "ERROR:  out of shared memory\nHINT:  You might need to increase \"max_locks_per_transaction\".",
            Cause::LocksExhausted,
        ),
        (
            "ERROR:  invalid memory alloc request size 1258291203",
            Cause::TooLarge,
        ),
        (
            "ERROR:  out of memory\nDETAIL:  Cannot enlarge string buffer containing 1073741822 bytes by 1 more bytes.",
            Cause::TooLarge,
        ),
        (
            "ERROR:  string buffer exceeds maximum allowed length (1073741823 bytes)\nDETAIL:  x",
            Cause::TooLarge,
        ),
        (
            "ERROR:  out of memory\nDETAIL:  Failed on request of size 16 in memory context \"x\".",
            Cause::ServerMemory,
        ),
        ("out of memory for query result", Cause::ClientMemory),
        (
            "ERROR:  could not access file \"$libdir/gone\": No such file or directory",
            Cause::Library,
        ),
        (
            "ERROR:  could not write to file \"base/pgsql_tmp/x\": No space left on device",
            Cause::DiskFull,
        ),
        (
            "ERROR:  missing chunk number 0 for toast value 16403 in pg_toast_16400",
            Cause::DamagedFiles,
        ),
        (
            "ERROR:  relation \"public.{}\" does not exist",
            Cause::Dropped,
        ),
        (
            "ERROR:  could not open relation with OID 16400",
            Cause::Dropped,
        ),
        // What is not known is not guessed, in whatever language it is.
        ("ERROR:  SSL error: certificate verify failed", Cause::Other),
        (
            "FATAL:  password authentication failed for user \"u\"",
            Cause::Other,
        ),
        ("ERROR:  division by zero", Cause::Other),
        ("FEHLER:  keine Berechtigung für Tabelle {}", Cause::Other),
    ];

    #[test]
    fn a_failing_dump_is_known_whatever_its_tables_are_called() {
        for (error, cause) in DUMPED {
            for name in NAMES {
                for said in in_dumps(&error.replace("{}", name), name) {
                    let found = of_dump(&said);
                    assert!(
                        found == *cause || name.contains("Query was") && found == Cause::Other,
                        "{found:?}: {said}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_name_that_looks_like_another_message_makes_the_cause_unknown_and_not_another() {
        let name = "x\npg_dump: error: query failed: ERROR:  permission denied for ";
        assert!(name.len() <= 63);
        for said in in_dumps("SSL SYSCALL error: EOF detected", name)
            .iter()
            .skip(2)
        {
            assert_eq!(of_dump(said), Cause::Other, "{said}");
        }
        // After warnings without end, the first of the lines that are kept is no beginning.
        let said = Said::cut(&format!(
            "pg_dump: error: {AT}FATAL:  password authentication failed for user \"u\""
        ));
        assert_eq!(of_pg_dump(&said, false).0, Cause::Other);
        assert_eq!(of_lost_psql(&said), Cause::ConnectionLost);
    }

    #[test]
    fn pg_dumps_own_words_count_before_there_is_output() {
        for (said, cause) in [
            (
                "pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 19.0; pg_dump version: 18.1",
                Cause::Version,
            ),
            (
                "pg_dump: error: no matching tables were found",
                Cause::NothingMatches,
            ),
            (
                "pg_dump: error: no matching schemas were found for pattern \"x\"",
                Cause::NothingMatches,
            ),
            (
                "pg_dump: error: failed to get data for sequence \"s\"; user may lack SELECT privilege on the sequence or the sequence may have been concurrently dropped",
                Cause::Sequence,
            ),
            (
                "pg_dump: error: options -s/--schema-only and -a/--data-only cannot be used together",
                Cause::Options,
            ),
            (
                "pg_dump: error: could not open large object 16385: ERROR:  permission denied for large object 16385",
                Cause::LargeObject,
            ),
            (
                "pg_dump: error: error reading large object 16385: SSL SYSCALL error: EOF detected",
                Cause::ConnectionLost,
            ),
            ("pg_dump: error: something new", Cause::Other),
            ("", Cause::Other),
        ] {
            assert_eq!(of_dump(said), cause, "{said}");
        }
        let usage = "/usr/bin/pg_dump: unrecognized option '--wat'\npg_dump: hint: Try \"pg_dump --help\" for more information.";
        assert_eq!(of_pg_dump(&Said::of(usage), false).0, Cause::Options);
    }

    const CONNECTED: &[(&str, Cause)] = &[
        (
            "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
            Cause::Unreachable,
        ),
        ("timeout expired", Cause::Unreachable),
        (
            "No route to host\n\tIs the server running",
            Cause::Unreachable,
        ),
        (
            "server closed the connection unexpectedly\n\tThis probably means",
            Cause::ConnectionLost,
        ),
        (
            "SSL error: unexpected eof while reading",
            Cause::ConnectionLost,
        ),
        ("SSL SYSCALL error: EOF detected", Cause::ConnectionLost),
        ("SSL SYSCALL error: Success", Cause::ConnectionLost),
        (
            "could not receive data from server: Connection reset by peer",
            Cause::ConnectionLost,
        ),
        (
            "received invalid response to SSL negotiation: H",
            Cause::NotPostgres,
        ),
        ("session is read-only", Cause::WrongRole),
        ("server is not in hot standby mode", Cause::WrongRole),
        (
            "channel binding is required, but server did not offer an authentication method that supports channel binding",
            Cause::Requirement,
        ),
        (
            "authentication method requirement \"md5\" failed: server requested SASL authentication",
            Cause::Requirement,
        ),
        (
            "server does not support SSL, but SSL was required",
            Cause::NoTls,
        ),
        (
            "SSL error: tlsv1 alert protocol version",
            Cause::TlsMismatch,
        ),
        (
            "SSL error: sslv3 alert handshake failure",
            Cause::TlsMismatch,
        ),
        (
            "SSL error: ssl/tls alert handshake failure",
            Cause::TlsMismatch,
        ),
        (
            "SSL error: tlsv13 alert certificate required",
            Cause::TlsMismatch,
        ),
        ("SSL error: wrong version number", Cause::TlsMismatch),
        (
            "SSL error: decryption failed or bad record mac",
            Cause::Other,
        ),
        ("SSL error: tlsv1 alert internal error", Cause::Other),
        (
            "root certificate file \"/.postgresql/root.crt\" does not exist\nEither provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode to disable server certificate verification.",
            Cause::NoRoot,
        ),
        ("SSL error: certificate verify failed", Cause::Untrusted),
        (
            "server certificate for \"a\" (and 2 other names) does not match host name \"b\"",
            Cause::OtherName,
        ),
        (
            "private key file \"/k\" has group or world access; file must have permissions u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root",
            Cause::KeyOpen,
        ),
        (
            "private key file \"/k\" must be owned by the current user or root",
            Cause::KeyOpen,
        ),
        (
            "certificate present, but not private key file \"/k\"",
            Cause::ClientCertificate,
        ),
        (
            "FATAL:  connection requires a valid client certificate",
            Cause::ClientCertificate,
        ),
        ("fe_sendauth: no password supplied", Cause::Password),
        (
            "FATAL:  password authentication failed for user \"the database system is \"",
            Cause::Password,
        ),
        ("FATAL:  role \"u\" does not exist", Cause::NoRole),
        (
            "FATAL:  role \"u\" is not permitted to log in",
            Cause::NoLogin,
        ),
        (
            "FATAL:  no pg_hba.conf entry for host \"10.0.0.2\", user \"u\", database \"d\", no encryption",
            Cause::Hba,
        ),
        (
            "FATAL:  pg_hba.conf rejects connection for host \"10.0.0.2\"",
            Cause::Hba,
        ),
        (
            "FATAL:  SSL connection is required. Please specify SSL options and retry.",
            Cause::TlsWanted,
        ),
        (
            "FATAL:  database \"too many connections\" does not exist",
            Cause::NoDatabase,
        ),
        (
            "FATAL:  database \"d\" is not currently accepting connections",
            Cause::ConnectionsForbidden,
        ),
        (
            "FATAL:  permission denied for database \"d\"\nDETAIL:  User does not have CONNECT privilege.",
            Cause::NoConnectRight,
        ),
        (
            "FATAL:  too many connections for role \"u\"",
            Cause::TooManyConnections,
        ),
        (
            "FATAL:  sorry, too many clients already",
            Cause::TooManyConnections,
        ),
        (
            "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
            Cause::TooManyConnections,
        ),
        (
            "FATAL:  the database system is starting up",
            Cause::Starting,
        ),
        (
            "FATAL:  the database system is not yet accepting connections\nDETAIL:  Consistent recovery state has not been yet reached.",
            Cause::Starting,
        ),
        (
            "FATAL:  unsupported startup parameter: options",
            Cause::StartupOptions,
        ),
        (
            "FATAL:  parameter \"max_connections\" cannot be changed without restarting the server",
            Cause::StartupOptions,
        ),
        ("FATAL:  Tenant or user not found", Cause::Tenant),
        (
            "FATAL:  (ENOTFOUND) tenant/user postgres.abc not found",
            Cause::Tenant,
        ),
        (
            "FATAL:  Invalid Username specified. Please check the Username and retry connection. The Username should be in <username@hostname> format.",
            Cause::AzureUser,
        ),
        (
            "ERROR:  The endpoint ID is not specified. Either upgrade the Postgres client library",
            Cause::Endpoint,
        ),
        ("FATAL:  no such database: d", Cause::PoolerUnknown),
        ("FATAL:  no such user", Cause::PoolerUnknown),
        (
            "FATAL:  no more connections allowed (max_client_conn)",
            Cause::PoolerFull,
        ),
        (
            "FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size",
            Cause::PoolerFull,
        ),
        (
            "FATAL:  server login has been failing, cached error: password authentication failed for user \"u\" (server_login_retry)",
            Cause::PoolerServer,
        ),
        (
            "FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen",
            Cause::Refused,
        ),
        (
            "ÖLÜMCÜL (FATAL):  \"u\" kullanıcısı için şifre doğrulaması başarısız oldu",
            Cause::Refused,
        ),
        ("致命错误:  用户 \"u\" Password 认证失败", Cause::Refused),
        ("FATAL:  something that no version says yet", Cause::Refused),
    ];

    #[test]
    fn a_connection_that_fails_is_known_by_how_its_message_begins() {
        for (why, cause) in CONNECTED {
            let attempts = if *cause == Cause::Other {
                // Then pg_dump's own default counts.
                assert_eq!(
                    of_lost_psql(&Said::of(&format!("psql: error: {AT}{why}"))),
                    Cause::Other
                );
                continue;
            } else {
                [format!("{AT}{why}"), format!("{AT}{why}\n{AT}{why}")]
            };
            for said in attempts {
                assert_eq!(of_connect(&said), *cause, "{said}");
            }
        }
        for (said, cause) in [
            (
                "could not translate host name \"FATAL:  x\" to address: Name or service not known",
                Cause::HostUnknown,
            ),
            ("invalid sslmode value: \"x\"", Cause::Parameter),
            (
                "weak sslmode \"require\" may not be used with sslrootcert=system (use \"verify-full\")",
                Cause::Parameter,
            ),
        ] {
            assert_eq!(of_connect(said), cause, "{said}");
        }
    }

    #[test]
    fn of_several_attempts_the_one_that_may_pass_counts_and_a_server_more_than_none() {
        let of = |attempts: &[&str]| {
            let attempts = attempts.iter().map(|why| format!("{AT}{why}"));
            of_connect(&attempts.collect::<Vec<_>>().join("\n"))
        };
        let wrong = "FATAL:  password authentication failed for user \"u\"";
        let unencrypted = "FATAL:  no pg_hba.conf entry for host \"h\", no encryption";
        assert_eq!(of(&["Connection refused", wrong]), Cause::Password);
        assert_eq!(of(&[wrong, unencrypted]), Cause::Hba);
        assert_eq!(
            of(&["SSL SYSCALL error: EOF detected", unencrypted]),
            Cause::ConnectionLost
        );
        assert_eq!(
            of(&["FATAL:  sorry, too many clients already", unencrypted]),
            Cause::TooManyConnections
        );
        assert_eq!(
            of(&[
                "FATAL:  Datenbank »d« existiert nicht",
                "Connection refused"
            ]),
            Cause::Refused
        );
    }

    #[test]
    fn a_statement_of_ours_is_judged_by_its_code() {
        let of = |said: &str| {
            of_statement(&Said::of(&format!(
                "psql:<stdin>:4: {said}\nLOCATION:  f, f.c:1"
            )))
        };
        for (said, cause) in [
            (
                "FEHLER:  42501: keine Berechtigung für Tabelle »password authentication failed«",
                Cause::Permission,
            ),
            (
                "ERROR:  42501: permission denied for large object 5",
                Cause::LargeObject,
            ),
            (
                "ERROR:  55P03: canceling statement due to lock timeout",
                Cause::Locked,
            ),
            (
                "ОШИБКА:  57014: выполнение оператора отменено",
                Cause::Cancelled,
            ),
            (
                "ERROR:  57014: canceling statement due to statement timeout",
                Cause::Locked,
            ),
            ("ERROR:  53200: out of shared memory", Cause::LocksExhausted),
            (
                "ERROR:  40001: canceling statement due to conflict with recovery",
                Cause::Standby,
            ),
            (
                "FATAL:  57P01: terminating connection due to administrator command",
                Cause::Terminated,
            ),
            (
                "ERROR:  58P01: could not access file \"$libdir/x\": No such file or directory",
                Cause::Library,
            ),
            ("ERROR:  22012: permission denied for table x", Cause::Other),
        ] {
            assert_eq!(of(said), cause, "{said}");
        }
        let url = crate::postgres::DatabaseUrl::parse("postgres://u:p@h/d")
            .unwrap()
            .0;
        let lost = "psql:<stdin>:3: SSL connection has been closed unexpectedly\npsql:<stdin>:3: error: connection to server was lost";
        let error = PostgresError::of_psql(&Said::of(lost), Some(2), &url);
        assert_eq!(
            (error.cause, error.kind),
            (Cause::ConnectionLost, Kind::Connect)
        );
        assert!(error.is_retryable());
        let ended = "psql:<stdin>:3: FATAL:  57P01: beende Verbindung\npsql:<stdin>:3: error: connection to server was lost";
        assert_eq!(of_lost_psql(&Said::of(ended)), Cause::Terminated);
    }

    #[test]
    fn what_is_not_attempted_again_is_what_the_page_says() {
        let page = include_str!("../../docs/troubleshooting.md");
        let table = page.split_once("| `pg_dump` says | Why").unwrap().1;
        let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
        let mut listed: Vec<Cause> = rows
            .map(|row| match row.split('`').nth(1).unwrap() {
                // With its statement it is judged in a table of its own.
                "unrecognized option" => {
                    let usage = row.split('`').nth(3).unwrap();
                    of_pg_dump(&Said::of(usage), false).0
                }
                error => match of_dump(&in_dumps(error, "t")[0]) {
                    Cause::LocksExhausted => Cause::LocksTooFew,
                    cause => cause,
                },
            })
            .collect();
        listed.dedup();
        for cause in Cause::ALL {
            assert_eq!(cause.is_hopeless(), listed.contains(&cause), "{cause:?}");
        }
    }

    #[test]
    fn every_cause_has_a_sample() {
        let known = DUMPED.iter().chain(CONNECTED).map(|(_, cause)| *cause);
        let elsewhere = [
            Cause::HostUnknown,
            Cause::Parameter,
            Cause::NotAdmitted,
            Cause::Version,
            Cause::Options,
            Cause::NothingMatches,
            Cause::Sequence,
            Cause::LocksTooFew,
        ];
        let known: Vec<Cause> = known.chain(elsewhere).collect();
        for cause in Cause::ALL {
            assert!(known.contains(&cause), "{cause:?}");
        }
        assert_eq!(of_refusal_code("28P01"), Cause::Password);
        assert_eq!(of_refusal_code("28000"), Cause::NotAdmitted);
        assert_eq!(of_refusal_code("57P03"), Cause::Starting);
        assert_eq!(of_refusal_code("XX000"), Cause::Refused);
    }
}
