//! The database that is backed up.

use tokio::sync::oneshot;

use super::finding::{Finding, failed, ok, warning};
use super::{Check, LIMIT};
use crate::format::{age, size};
use crate::globals;
use crate::postgres::rights::{Held, Named, Rights};
use crate::postgres::{
    self, Client, Database, DatabaseUrl, Locks, PostgresError, Server, Session, Unlogged,
};
use crate::store::upload;

impl Check {
    pub(super) async fn look_at_database(&self, tell_size: oneshot::Sender<u64>) -> Vec<Finding> {
        let asked = async {
            let newest = self.clients.newest()?;
            let server = postgres::probe(newest, &self.database).await?;
            Ok::<_, PostgresError>((newest, server))
        };
        let (newest, server) = match asked.await {
            Ok(asked) => asked,
            Err(error) => return vec![failed("database", error.text, error.hint)],
        };
        // Nobody waits for it where the bucket can't be read.
        let _told = tell_size.send(server.size_bytes);
        let chosen = self.clients.choose(server.major, &server.version);
        let mut findings = reached(&server, self.database.database(), chosen);
        let url = server.url(&self.database);
        let asked = Database {
            client: newest,
            url: &url,
            session: server.session,
        };
        match Rights::ask(&asked).await {
            Ok(rights) => {
                findings.push(tls(&rights, &self.database));
                findings.append(&mut rights_findings(&rights, server.major, self.partial));
            }
            Err(error) => findings.push(failed("rights", error.text, error.hint)),
        }
        match Locks::ask(&asked, LIMIT).await {
            Ok(room) => findings.push(lock_room(room, self.partial)),
            Err(error) => findings.push(warning("lock_room", error.text, error.hint)),
        }
        if self.globals {
            let asked = async {
                globals::program(self.clients.choose(server.major, &server.version)?)?;
                globals::may_read_passwords(&asked).await
            };
            findings.push(match asked.await {
                Ok(passwords) => roles(passwords, &self.database),
                Err(error) => failed("globals", error.text, error.hint),
            });
        }
        if server.is_standby {
            findings.push(match Unlogged::ask(&asked, LIMIT).await {
                Ok(unlogged) => standby(&unlogged),
                Err(error) => warning("standby", error.text, error.hint),
            });
        }
        findings
    }
}

/// What is stored beside each backup of the server's roles.
fn roles(passwords: bool, url: &DatabaseUrl) -> Finding {
    if passwords {
        ok(
            "globals",
            "the server's roles are stored beside each backup, with the hashes of their passwords",
        )
    } else {
        warning(
            "globals",
            "the server's roles are stored beside each backup, but without passwords, which this user may not read",
            globals::passwords_hint(url),
        )
    }
}

/// A server that answered, and what dumps it.
fn reached(server: &Server, name: &str, chosen: Result<&Client, PostgresError>) -> Vec<Finding> {
    let part = u64::try_from(upload::part_size(server.size_bytes)).unwrap_or(u64::MAX);
    vec![
        ok(
            "database",
            format!(
                "{name} has {}, so a backup is sent in parts of {}",
                size(server.size_bytes),
                size(part)
            ),
        ),
        match chosen {
            Ok(client) if client.major == server.major => ok(
                "version",
                format!("PostgreSQL {}, dumped by {client}", server.version),
            ),
            Ok(client) => warning(
                "version",
                format!(
                    "PostgreSQL {}, dumped by the newer {client}",
                    server.version
                ),
                "a newer pg_dump may write what this server's own psql refuses; deploy an image with the server's major version",
            ),
            Err(error) => failed("version", error.text, error.hint),
        },
        match server.session {
            Session::Guarded => ok("pooler", "none was noticed"),
            Session::Plain => warning(
                "pooler",
                "something between here and the server refuses start-up options, as PgBouncer does: a dump through it disturbs other clients",
                "use the server's own URL; on Railway ${{Postgres.DATABASE_UNPOOLED_URL}}",
            ),
        },
    ]
}

/// Whether the connection is encrypted.
fn tls(rights: &Rights, url: &DatabaseUrl) -> Finding {
    match &rights.tls {
        Some(version) => ok("tls", version.clone()),
        None if url.is_private() => ok("tls", "not used, on a private network"),
        None => warning(
            "tls",
            "not used: the password's exchange and all data travel unencrypted",
            format!(
                "add sslmode=require to {}; if the server does not offer TLS, turn it on there",
                url.variable()
            ),
        ),
    }
}

/// What of the database a dump would not get. Where options leave something out, it may be just that.
fn rights_findings(rights: &Rights, major: u16, partial: bool) -> Vec<Finding> {
    let worst = |name, text: String, hint: String| {
        if partial {
            warning(
                name,
                format!("{text}, unless BACKUP_OPTIONS leave that out"),
                hint,
            )
        } else {
            failed(name, text, hint)
        }
    };
    let user = &rights.user;
    let mut findings = Vec::new();
    let mut closed = Vec::new();
    if rights.schemas.count > 0 {
        closed.push(rights.schemas.text("schema", "schemas"));
    }
    if rights.unreadable.count > 0 {
        let text = rights
            .unreadable
            .text("table or sequence", "tables and sequences");
        closed.push(text);
    }
    findings.push(if closed.is_empty() {
        ok("rights", format!("{user} may read every table ({}) and sequence", rights.tables))
    } else {
        let hint = if major >= 14 {
            format!("as a superuser run: GRANT pg_read_all_data TO {user};")
        } else {
            format!("in each schema run as its owner: GRANT USAGE ON SCHEMA …, GRANT SELECT ON ALL TABLES IN SCHEMA … and GRANT SELECT ON ALL SEQUENCES IN SCHEMA … TO {user};")
        };
        worst("rights", format!("{user} may not read {}", closed.join(" and ")), hint)
    });
    let mut look = |name, hidden: &Named, text: String, hint: String, good: &str| {
        findings.push(if hidden.count > 0 {
            worst(name, text, hint)
        } else {
            ok(name, good)
        });
    };
    let objects = rights.large_objects.text("large object", "large objects");
    look(
        "large_objects",
        &rights.large_objects,
        format!("{user} may not read {objects}"),
        format!(
            "as their owner run GRANT SELECT ON LARGE OBJECT … TO {user}; for each one, or back up as their owner or a superuser"
        ),
        "none that may not be read",
    );
    let tables = rights.row_security.text("table", "tables");
    look(
        "row_security",
        &rights.row_security,
        format!("row level security would hide rows of {tables} from {user}, and ends the dump"),
        format!("as a superuser run: ALTER ROLE {user} BYPASSRLS;"),
        "hides nothing",
    );
    findings.push(locks(&rights.held));
    findings
}

/// A dump waits a minute for a table; a lock that is older than that is likely to outlast it.
const LONG_LOCK_SECONDS: u64 = 60;

fn locks(held: &[Held]) -> Finding {
    let describe = |held: &Held| {
        let by = match (held.pid, &held.gid) {
            (Some(pid), _) => format!("process {pid}"),
            (None, Some(gid)) => format!("the prepared transaction '{gid}'"),
            (None, None) => "an unknown process".to_owned(),
        };
        let since = held
            .seconds
            .map_or_else(|| "an unknown time".to_owned(), age);
        format!("{} by {by} for {since}", held.table)
    };
    let long = |held: &&Held| {
        held.seconds
            .is_none_or(|seconds| seconds > LONG_LOCK_SECONDS)
    };
    let late: Vec<String> = held.iter().filter(long).map(describe).collect();
    if !late.is_empty() {
        return warning(
            "locks",
            format!("held in ACCESS EXCLUSIVE mode now: {}", late.join(", ")),
            "a dump waits a minute and then fails; look at pg_stat_activity for what that session does, and end it with pg_terminate_backend (a prepared transaction with ROLLBACK PREPARED) if it was forgotten",
        );
    }
    let young: Vec<String> = held.iter().map(describe).collect();
    if young.is_empty() {
        ok("locks", "none that a dump would wait for")
    } else {
        ok(
            "locks",
            format!("a dump would wait for {}", young.join(", ")),
        )
    }
}

/// Whether the server can hold a lock on each table at once.
fn lock_room(locks: Locks, partial: bool) -> Finding {
    let Locks { tables, room } = locks;
    let text = format!(
        "{tables} tables, and the server makes room for {room} locks of all sessions together"
    );
    if !locks.are_too_few() {
        return ok("lock_room", text);
    }
    let so = if partial {
        "unless BACKUP_OPTIONS leave enough of them out"
    } else {
        "too few for a dump"
    };
    let hint =
        "raise max_locks_per_transaction and restart the server: a dump locks every table at once";
    // No failure: a server finds a little more room than it promises.
    warning("lock_room", format!("{text}: {so}"), hint)
}

/// What is not on a standby.
fn standby(unlogged: &Unlogged) -> Finding {
    if unlogged.count == 0 {
        return ok("standby", "this server is one; no table is unlogged");
    }
    warning(
        "standby",
        format!("this server is one, and has no rows of {}", unlogged.text()),
        postgres::UNLOGGED_HINT,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::{Outcome, is};
    use crate::postgres::{Clients, DatabaseUrl};

    #[test]
    fn a_lock_counts_from_a_minute_on_or_when_its_age_is_unknown() {
        let held = |seconds| Held {
            table: "public.t".to_owned(),
            pid: Some(42),
            gid: None,
            seconds,
        };
        is(&locks(&[]), Outcome::Ok, "none");
        is(
            &locks(&[held(Some(60))]),
            Outcome::Ok,
            "public.t by process 42 for 60 s",
        );
        is(
            &locks(&[held(Some(61))]),
            Outcome::Warning,
            "public.t by process 42 for 61 s",
        );
        is(&locks(&[held(None)]), Outcome::Warning, "unknown time");
        let old = locks(&[held(Some(7200)), held(Some(3))]);
        is(&old, Outcome::Warning, "for 2 h");
        assert!(!old.text.contains("3 s"), "{old:?}");
        let prepared = Held {
            pid: None,
            gid: Some("x".to_owned()),
            ..held(Some(90))
        };
        is(
            &locks(&[prepared]),
            Outcome::Warning,
            "the prepared transaction 'x' for 90 s",
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_to_run_on_that_server() {
        let named = |count, first: &[&str]| Named {
            count,
            first: first.iter().map(|&name| name.to_owned()).collect(),
        };
        let rights = || Rights {
            user: "app".to_owned(),
            tables: 7,
            ..Rights::default()
        };
        let outcomes = |rights: &Rights, partial| -> Vec<Outcome> {
            rights_findings(rights, 17, partial)
                .iter()
                .map(|finding| finding.outcome)
                .collect()
        };
        assert_eq!(outcomes(&rights(), false), [Outcome::Ok; 4]);
        let bad = Rights {
            schemas: named(1, &["own"]),
            unreadable: named(4, &["a", "b", "c"]),
            large_objects: named(2, &["1", "2"]),
            row_security: named(1, &["d"]),
            ..rights()
        };
        let [fails, warns] = [Outcome::Failed, Outcome::Warning].map(|o| [o, o, o, Outcome::Ok]);
        assert_eq!(outcomes(&bad, false), fails);
        assert_eq!(outcomes(&bad, true), warns);
        let rights = |major| rights_findings(&bad, major, false).remove(0);
        is(
            &rights(17),
            Outcome::Failed,
            "app may not read 1 schema (own) and 4 tables and sequences (a, b, c, …)",
        );
        is(
            &rights(14),
            Outcome::Failed,
            "GRANT pg_read_all_data TO app;",
        );
        is(
            &rights(13),
            Outcome::Failed,
            "GRANT SELECT ON ALL SEQUENCES",
        );
    }

    #[test]
    fn more_tables_than_locks_are_foreseen_and_rows_that_a_standby_lacks_named() {
        let room = |tables, partial| lock_room(Locks { tables, room: 550 }, partial);
        is(&room(550, false), Outcome::Ok, "550 tables");
        is(
            &room(551, false),
            Outcome::Warning,
            "max_locks_per_transaction",
        );
        is(&room(551, true), Outcome::Warning, "unless BACKUP_OPTIONS");
        let named = |count, first: &[&str]| Unlogged {
            count,
            first: first.iter().map(|&name| name.to_owned()).collect(),
        };
        is(
            &standby(&named(0, &[])),
            Outcome::Ok,
            "no table is unlogged",
        );
        is(
            &standby(&named(4, &["a.b", "a.c", "a.d"])),
            Outcome::Warning,
            "no rows of 4 unlogged tables (a.b, a.c, a.d, …)",
        );
    }

    fn url(host: &str) -> DatabaseUrl {
        let text = format!("postgres://u:p@{host}/d");
        DatabaseUrl::parse(&text).unwrap().0
    }

    #[test]
    fn tls_is_asked_for_where_the_way_is_public() {
        let with = Rights {
            tls: Some("TLSv1.3".to_owned()),
            ..Rights::default()
        };
        let public = url("db.example.com");
        is(&tls(&with, &public), Outcome::Ok, "TLSv1.3");
        is(
            &tls(&Rights::default(), &url("localhost")),
            Outcome::Ok,
            "private",
        );
        is(
            &tls(&Rights::default(), &public),
            Outcome::Warning,
            "sslmode=require",
        );
        for (host, private) in [
            ("postgres.railway.internal", true),
            ("127.0.0.1:5433", true),
            ("localhost", true),
            ("db.example.com", false),
            ("10.0.0.7", false),
            ("localhost,db.example.com", false),
        ] {
            assert_eq!(url(host).is_private(), private, "{host}");
        }
    }

    #[test]
    fn a_pooler_and_a_client_that_does_not_fit_are_told() {
        let server = |session| Server {
            version: "16.4".to_owned(),
            major: 16,
            size_bytes: 100 << 30,
            encoding: "UTF8".to_owned(),
            is_standby: false,
            may_choose_language: true,
            session,
        };
        let client = |major: u16| Client {
            major,
            version: format!("{major}.1"),
            directory: "/".into(),
            confinement: None,
        };
        let judged = |session, major| reached(&server(session), "app", Ok(&client(major)));
        let found = judged(Session::Guarded, 16);
        is(
            &found[0],
            Outcome::Ok,
            "app has 107.4 GB, so a backup is sent in parts of 22.0 MB",
        );
        is(&found[1], Outcome::Ok, "PostgreSQL 16.4, dumped by 16.1");
        is(&found[2], Outcome::Ok, "none");
        let found = judged(Session::Plain, 17);
        is(&found[1], Outcome::Warning, "newer");
        is(
            &found[2],
            Outcome::Warning,
            "${{Postgres.DATABASE_UNPOOLED_URL}}",
        );
        let nothing = Clients::default();
        let none = nothing.choose(16, "16.4");
        is(
            &reached(&server(Session::Guarded), "app", none)[1],
            Outcome::Failed,
            "no PostgreSQL client",
        );
    }
}
