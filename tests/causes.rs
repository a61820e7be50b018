//! Each cause of a failure, on a real server. It is recognized whatever the names in the database are, in another language
//! and over TLS. It is tried again or not. And the statement in its hint repairs it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::common::certificates;
use crate::common::halted::Halted;
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::{Account, Postgres};
use crate::common::process::{Folder, LIMIT, Process, free_port, wait_until};
use crate::common::r2::R2;
use crate::common::service::{Ended, Service, Variables};

/// The variables with all clients, and three more attempts.
fn variables(r2: &R2, url: &str) -> Variables {
    let folders = [14, 15, 16, 17, 18].map(|major| Postgres::bin(major).display().to_string());
    Variables::on_r2(r2, url)
        .with("PATH", &format!("{}:/usr/bin:/bin", folders.join(":")))
        .with("BACKUP_RETRIES", "3")
}

/// Makes a run that fails and is not tried again.
fn hopeless(url: &str) -> Value {
    hopeless_with(&variables(&R2::start(), url))
}

fn hopeless_with(variables: &Variables) -> Value {
    let ended = Service::backup(variables);
    let failure = ended.failure();
    assert_eq!(failure["attempts"], 1, "{failure}");
    assert_eq!(
        ended.events("database not reachable yet"),
        Vec::<Value>::new()
    );
    failure
}

/// Makes a run whose first attempt fails and is followed by another.
fn tried_again(variables: &Variables, in_the_middle: impl FnOnce()) -> Value {
    let service = Service::start(variables, &["backup"]);
    in_the_middle();
    let failed = service.wait_for("attempt failed");
    service.terminate();
    failed
}

#[track_caller]
fn is(event: &Value, kind: &str, hints: &[&str]) {
    assert_eq!(event["kind"], kind, "{event}");
    for hint in hints {
        assert!(
            event["hint"].as_str().unwrap().contains(hint),
            "{hint}: {event}"
        );
    }
}

fn done(url: &str) -> Ended {
    let ended = Service::backup(&variables(&R2::start(), url));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended
}

/// The statement in a hint.
fn statement(failure: &Value) -> String {
    let hint = failure["hint"].as_str().unwrap();
    let statement = hint.split_once("run: ").unwrap().1;
    statement.split_inclusive(';').next().unwrap().to_owned()
}

#[test]
fn the_statement_in_a_hint_lets_a_role_in() {
    let server = Postgres::start(17);
    let (role, database) = ("o\"brien", "My \"Db\"");
    server.create_database(database, "");
    server.psql("postgres", "CREATE ROLE \"o\"\"brien\" PASSWORD 'testpass' IN ROLE pg_read_all_data; REVOKE CONNECT ON DATABASE \"My \"\"Db\"\"\" FROM PUBLIC");
    server.psql(
        "postgres",
        "ALTER DATABASE \"My \"\"Db\"\"\" ALLOW_CONNECTIONS false",
    );
    let url = server.url_as(role, "testpass", database);
    for (kind, expected) in [
        ("auth", "ALTER ROLE \"o\"\"brien\" LOGIN;"),
        (
            "auth",
            "ALTER DATABASE \"My \"\"Db\"\"\" ALLOW_CONNECTIONS true;",
        ),
        (
            "permission",
            "GRANT CONNECT ON DATABASE \"My \"\"Db\"\"\" TO \"o\"\"brien\";",
        ),
    ] {
        let failure = hopeless(&url);
        is(&failure, kind, &["BACKUP_DATABASE_URL"]);
        assert_eq!(statement(&failure), expected, "{failure}");
        server.psql("postgres", expected);
    }
    done(&url);
    // pg_read_all_data does not include the right to read this.
    server.psql(database, "SELECT lo_create(4711)");
    let failure = hopeless(&url);
    is(
        &failure,
        "permission",
        &["GRANT SELECT ON LARGE OBJECT", "TO \"o\"\"brien\""],
    );
    server.psql(
        "postgres",
        "ALTER ROLE \"o\"\"brien\" SET lo_compat_privileges = on",
    );
    done(&url);
}

#[test]
fn tls_has_a_remedy_for_each_of_its_causes() {
    let server = Postgres::start(17);
    let url = server.bare_url("postgres");
    let failure = hopeless(&format!("{url}?sslmode=verify-full"));
    is(&failure, "tls", &["sslrootcert=system", "mount"]);
    assert!(
        !failure["hint"]
            .as_str()
            .unwrap()
            .contains("sslmode=require"),
        "{failure}"
    );
    let folder = Folder::new();
    let key = folder.path().join("client.key");
    std::fs::copy(certificates().key(), &key).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let certificate = certificates().path("good");
    let with_key = format!(
        "{url}?sslmode=require&sslcert={}&sslkey={}",
        certificate.display(),
        key.display()
    );
    is(&hopeless(&with_key), "tls", &["chmod 0600", "sslkey"]);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    done(&with_key);
}

/// Names that a database can have, of 63 bytes at most.
const NAMES: [&str; 3] = [
    "certificates",
    "x\"\nFATAL:  password authentication failed for user \"postgres",
    "x\npg_dump: error: query failed: ERROR:  permission denied for ",
];

fn renamed(halted: &Halted<'_>, server: &Postgres, name: &str) {
    let name = name.replace('"', "\"\"");
    server.psql(
        halted.database(),
        &format!(
            "ALTER FOREIGN TABLE halting RENAME COLUMN id TO sslmode;
             ALTER FOREIGN TABLE halting ALTER sslmode OPTIONS (column_name 'id');
             ALTER FOREIGN TABLE halting RENAME TO \"{name}\""
        ),
    );
}

#[test]
fn a_dump_that_loses_its_session_is_tried_again_over_tls_too() {
    for (major, tls) in [(18, true), (14, true), (17, false)] {
        let mut server = if tls {
            Postgres::start(major)
        } else {
            Postgres::start_plain(major, &[])
        };
        for name in NAMES {
            for ending in ["pg_terminate_backend", "pg_cancel_backend"] {
                let halted = Halted::new(&server, 1000, 1000);
                renamed(&halted, &server, name);
                let r2 = R2::start();
                let variables = halted.variables(variables(&r2, ""));
                let failed = tried_again(&variables, || {
                    let pid = halted.wait();
                    server.psql("postgres", &format!("SELECT {ending}({pid})"));
                });
                is(&failed, "dump_exit", &[]);
            }
        }
        let halted = Halted::new(&server, 1000, 1000);
        let r2 = R2::start();
        let variables = halted.variables(variables(&r2, ""));
        let service = Service::start(&variables, &["backup"]);
        halted.wait();
        let _holder = halted.leave();
        server.stop();
        let failed = service.wait_for("attempt failed");
        is(&failed, "dump_exit", &[]);
        // The dump's own session may be ended first, or that of its foreign table, and then the failure is one of the table.
        let by_the_table = failed["error"]
            .as_str()
            .unwrap()
            .contains("remote SQL command");
        if !by_the_table {
            is(&failed, "dump_exit", &["restarted", "log"]);
        }
    }
}

#[test]
fn what_no_attempt_can_dump_is_not_tried_again() {
    // This type has functions in a library that does not exist.
    let server = Postgres::start_with(18, &[]);
    server.psql("postgres", "
        CREATE TYPE x;
        CREATE FUNCTION x_in(cstring) RETURNS x STRICT IMMUTABLE LANGUAGE internal AS 'int4in';
        CREATE FUNCTION x_out(x) RETURNS cstring STRICT IMMUTABLE LANGUAGE internal AS 'int4out';
        CREATE TYPE x (INPUT = x_in, OUTPUT = x_out, LIKE = int4);
        CREATE CAST (int4 AS x) WITHOUT FUNCTION;
        CREATE TABLE certificates AS SELECT 1::x AS sslmode;
        UPDATE pg_proc SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'c'), probin = '$libdir/gone', prosrc = 'x_out' WHERE proname = 'x_out'");
    let failure = hopeless(&server.url("postgres"));
    is(&failure, "dump_exit", &["library"]);
    let failure = hopeless_with(
        &variables(&R2::start(), &server.url("template1"))
            .with("BACKUP_OPTIONS", "--no-such-option"),
    );
    is(&failure, "dump_exit", &["BACKUP_OPTIONS"]);
    // As text, this row is larger than 1 GB.
    server.create_database("large", "");
    server.psql("large", "CREATE TABLE certificates (sslmode bytea); ALTER TABLE certificates ALTER sslmode SET STORAGE EXTERNAL;
        INSERT INTO certificates SELECT convert_to(repeat('x', 600000000), 'LATIN1')");
    let failure = hopeless(&server.url("large"));
    is(&failure, "dump_exit", &["1 GB", "--exclude-table-data"]);
}

#[test]
fn more_tables_than_locks_are_foreseen_and_not_tried_again() {
    let server = Postgres::start_with(
        17,
        &[
            ("max_locks_per_transaction", "10"),
            ("max_connections", "10"),
            ("max_wal_senders", "0"),
            ("max_worker_processes", "2"),
        ],
    );
    for from in (1..=3000).step_by(50) {
        server.psql("postgres", &format!(
            "DO $$BEGIN FOR i IN {from}..{} LOOP EXECUTE format('CREATE TABLE certificates_%s (sslmode int)', i); END LOOP; END$$", from + 49));
    }
    let r2 = R2::start();
    let checked = Service::start(&variables(&r2, &server.url("postgres")), &["check"]).end(LIMIT);
    assert!(
        checked.text().contains("3000 tables")
            && checked.text().contains("max_locks_per_transaction"),
        "{}",
        checked.text()
    );
    let failure = hopeless(&server.url("postgres"));
    is(
        &failure,
        "dump_exit",
        &["max_locks_per_transaction", "restart"],
    );
}

/// What a client sends instead of a version to ask for TLS.
const SSL_REQUEST: [u8; 4] = [4, 210, 22, 47];

/// Listens on a port, and answers each connection with `serve`.
fn front(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(client));
        }
    });
    port
}

/// The line that is logged while the service waits for a server that is away.
fn waited_for(url: &str) -> Value {
    let r2 = R2::start();
    let service = Service::start(&variables(&r2, url), &["backup"]);
    let warning = service.wait_for("database not reachable yet");
    service.terminate();
    warning
}

#[test]
fn a_front_that_agrees_to_tls_and_closes_is_waited_for() {
    let port = front(|mut client| {
        let mut request = [0; 8];
        if client.read_exact(&mut request).is_ok() && request[4..] == SSL_REQUEST {
            drop(client.write_all(b"S"));
        }
        drop(client.shutdown(Shutdown::Both));
    });
    for mode in ["", "?sslmode=require"] {
        let warning = waited_for(&format!("postgres://u:testpass@127.0.0.1:{port}/d{mode}"));
        assert!(
            warning["hint"].as_str().unwrap().contains("broke off"),
            "{warning}"
        );
    }
}

/// A proxy before a real server that translates its messages about a wrong password and about too many connections into
/// German ones of the same length.
fn german(server: &Postgres) -> u16 {
    const WORDS: [(&[u8], &[u8]); 3] = [
        (
            b"password authentication failed for user \"",
            b"Anmeldung mit Passwort schlug fehl, Rolle ",
        ),
        (
            b"too many connections for role \"",
            b"zu viele Verbindungen; f\xc3\xbcr Rolle",
        ),
        (
            b"permission denied for table ",
            b"keine Berechtigung: Tabelle ",
        ),
    ];
    let target = server.port();
    front(move |client| {
        let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
        let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            drop(std::io::copy(&mut up_from, &mut up_to));
            drop(up_to.shutdown(Shutdown::Write));
        });
        let (mut from, mut to) = (server, client);
        let mut piece = vec![0; 64 * 1024];
        while let Ok(bytes @ 1..) = from.read(&mut piece) {
            let mut text = piece[..bytes].to_vec();
            for (english, german) in WORDS {
                if let Some(at) = memchr::memmem::find(&text, english) {
                    text[at..at + english.len()].copy_from_slice(&german[..english.len()]);
                }
            }
            if to.write_all(&text).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Write));
    })
}

#[test]
fn a_server_that_speaks_german_is_understood_by_its_codes() {
    // The server has no TLS, so that its messages can be changed on the way.
    let server = Postgres::start_plain(17, &[]);
    server.psql("postgres", "CREATE ROLE md5er LOGIN; SET password_encryption = md5; ALTER ROLE md5er PASSWORD 'testpass'; RESET password_encryption; CREATE ROLE narrow LOGIN PASSWORD 'testpass' CONNECTION LIMIT 0");
    server.admit("host all md5er all md5");
    let port = german(&server);
    let url = |user: &str, password: &str| {
        format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres")
    };
    for user in ["postgres", "md5er"] {
        let failure = hopeless(&url(user, "wrong-password"));
        is(&failure, "auth", &["wrong user or password"]);
        let error = failure["error"].as_str().unwrap();
        assert!(
            error.contains("Anmeldung mit Passwort") && error.contains("(SQLSTATE 28P01)"),
            "{failure}"
        );
    }
    let warning = waited_for(&url("narrow", "testpass"));
    assert!(
        warning["hint"]
            .as_str()
            .unwrap()
            .contains("max_connections"),
        "{warning}"
    );
    assert!(
        warning["error"].as_str().unwrap().contains("53300"),
        "{warning}"
    );
    done(&url("postgres", "testpass"));
    // pg_dump shows no code, so the service asks the server what this user may not read.
    server.psql(
        "postgres",
        "CREATE ROLE reader LOGIN PASSWORD 'testpass'; CREATE TABLE certificates (sslmode int)",
    );
    let failure = hopeless(&url("reader", "testpass"));
    is(
        &failure,
        "permission",
        &["GRANT pg_read_all_data TO \"reader\";"],
    );
    let error = failure["error"].as_str().unwrap();
    assert!(error.contains("keine Berechtigung"), "{failure}");
}

#[test]
fn a_superusers_dump_asks_for_messages_in_english() {
    let server = Postgres::start(17);
    let halted = Halted::new(&server, 1000, 1000);
    let r2 = R2::start();
    let service = Service::start(&halted.variables(variables(&r2, "")), &["backup"]);
    halted.wait();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let environments = processes
        .filter_map(|process| std::fs::read(process.path().join("environ")).ok())
        .map(|environment| String::from_utf8_lossy(&environment).into_owned());
    let database = format!("PGDATABASE={}\0", halted.database());
    let own: Vec<String> = environments
        .filter(|environment| environment.contains(&database))
        .collect();
    assert!(
        own.iter()
            .any(|environment| environment.contains(" -c lc_messages=C\0")),
        "{own:?}"
    );
    halted.release();
    assert_eq!(service.end(LIMIT).code(), Some(0));
}

/// A server that refuses everybody with this code and message, with or without TLS.
fn refusing(code: &'static str, words: &'static str, tls: bool) -> u16 {
    let certificate = CertificateDer::pem_file_iter(certificates().path("good")).unwrap();
    let certificate = certificate.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificates().key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificate, key)
        .unwrap();
    let config = Arc::new(config);
    front(move |mut client| {
        let mut length = [0; 4];
        let mut request = |from: &mut dyn Read| {
            from.read_exact(&mut length)?;
            let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
            from.read_exact(&mut body)?;
            Ok::<_, std::io::Error>(body)
        };
        let mut body = Vec::new();
        for (kind, text) in [('S', "FATAL"), ('V', "FATAL"), ('C', code), ('M', words)] {
            body.extend(format!("{kind}{text}\0").into_bytes());
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        let answer = [b"E".as_slice(), &length, &body].concat();
        let Ok(first) = request(&mut client) else {
            return;
        };
        if first != SSL_REQUEST {
            drop(client.write_all(&answer));
            return;
        }
        drop(client.write_all(if tls { b"S" } else { b"N" }));
        if !tls {
            drop(request(&mut client));
            drop(client.write_all(&answer));
            return;
        }
        let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(session, client);
        if request(&mut stream).is_ok() {
            drop(stream.write_all(&answer));
            stream.conn.send_close_notify();
            drop(stream.flush());
        }
    })
}

#[test]
fn a_refusal_in_any_language_has_its_remedy_over_tls_too() {
    for tls in [true, false] {
        for (code, words, kind, hint) in [
            (
                "28P01",
                "Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen",
                "auth",
                "wrong user or password",
            ),
            (
                "28000",
                "Rolle »u« hat keine Berechtigung zum Login",
                "auth",
                "ALTER ROLE \"u\" LOGIN;",
            ),
            (
                "3D000",
                "Datenbank »d« existiert nicht",
                "auth",
                "does not exist",
            ),
            (
                "42501",
                "keine Berechtigung für Datenbank »d«",
                "permission",
                "GRANT CONNECT ON DATABASE \"d\" TO \"u\";",
            ),
            (
                "55000",
                "Datenbank »d« akzeptiert gegenwärtig keine Verbindungen",
                "auth",
                "ALLOW_CONNECTIONS true",
            ),
            // The code of these says nothing.
            ("XX000", "Tenant or user not found", "auth", "Supabase"),
            (
                "XX000",
                "(ENOTFOUND) tenant/user u not found",
                "auth",
                "Supabase",
            ),
            (
                "28000",
                "Invalid Username specified. Please check the Username and retry connection. The Username should be in <username@hostname> format.",
                "auth",
                "user%40server",
            ),
            ("08P01", "no such database: d", "auth", "pgbouncer.ini"),
        ] {
            let port = refusing(code, words, tls);
            let mode = if tls { "require" } else { "disable" };
            // It does not matter if the password is a word of the message.
            for password in ["testpass", "database", "no", "user"] {
                let failure = hopeless(&format!(
                    "postgres://u:{password}@127.0.0.1:{port}/d?sslmode={mode}"
                ));
                is(&failure, kind, &[hint]);
                if !tls {
                    break;
                }
            }
        }
        for (code, words, hint) in [
            ("57P03", "das Datenbanksystem startet", "starting"),
            (
                "53300",
                "tut mir leid, schon zu viele Verbindungen",
                "max_connections",
            ),
            (
                "08P01",
                "no more connections allowed (max_client_conn)",
                "max_client_conn",
            ),
            (
                "08P01",
                "server login has been failing, cached error: x (server_login_retry)",
                "pooler",
            ),
            ("XX000", "something that nobody has seen yet", "`error`"),
        ] {
            let port = refusing(code, words, tls);
            let warning = waited_for(&format!("postgres://u:testpass@127.0.0.1:{port}/d"));
            assert!(
                warning["hint"].as_str().unwrap().contains(hint),
                "{hint}: {warning}"
            );
        }
    }
}

#[test]
fn pgbouncers_own_refusals_have_theirs() {
    let server = Postgres::start(17);
    let pooler = PgBouncer::start(&server);
    let url = pooler
        .url("postgres")
        .replace("postgres:testpass", "stranger:testpass");
    let failure = hopeless(&url);
    is(&failure, "auth", &["BACKUP_DATABASE_URL"]);
    // The server refuses the database, and the pooler repeats its answer.
    let failure = hopeless(&pooler.url("nosuchdatabase"));
    is(&failure, "auth", &["does not exist"]);
}

/// A standby of a server. It cancels its own queries at once if they conflict with the primary.
struct Standby {
    port: u16,
    _folder: Folder,
    _process: Process,
}

impl Standby {
    fn of(primary: &Postgres) -> Self {
        let folder = Folder::new();
        let data = folder.path().join("data");
        primary.admit("local all all trust\nhost replication all 127.0.0.1/32 trust");
        let account = Account::unprivileged();
        let options = account.as_ref().map(Account::options).unwrap_or_default();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        if let Some(account) = &account {
            chown(folder.path(), Some(account.user), Some(account.group)).unwrap();
        }
        let mut copy = Process::command_with(&options, Postgres::bin(17).join("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--pgdata"]);
        copy.arg(&data).arg("--dbname").arg(primary.url("postgres"));
        // Otherwise libpq would look for certificates in the home of the user who runs the tests.
        copy.env("HOME", folder.path());
        let copied = copy.current_dir(folder.path()).output().unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let port = free_port();
        let mut serve = Process::command_with(&options, Postgres::bin(17).join("postgres"));
        serve.args([
            "-p",
            &port.to_string(),
            "-c",
            "max_standby_streaming_delay=0",
            "-D",
        ]);
        serve
            .arg(&data)
            .current_dir(folder.path())
            .env("LC_ALL", "C")
            .env("HOME", folder.path())
            .env("LD_LIBRARY_PATH", Postgres::bin(17).with_file_name("lib"));
        let process = Process::spawn(serve);
        process.wait_for_line("ready to accept read-only connections", LIMIT);
        Self {
            port,
            _folder: folder,
            _process: process,
        }
    }

    fn url(&self, primary: &Postgres, database: &str) -> String {
        let port = format!(":{}/", primary.port());
        primary
            .url(database)
            .replace(&port, &format!(":{}/", self.port))
    }
}

#[test]
fn a_standby_says_what_it_could_not_wait_for_and_what_it_lacks() {
    let primary = Postgres::start(17);
    let halted = Halted::new(&primary, 1000, 1000);
    primary.psql(halted.database(), "CREATE UNLOGGED TABLE \"My cache\" AS SELECT 1 AS a; CREATE TABLE certificates AS SELECT 1 AS a");
    let standby = Standby::of(&primary);
    let url = standby.url(&primary, halted.database());
    let r2 = R2::start();
    let checked = Service::start(&variables(&r2, &url), &["check"]).end(LIMIT);
    assert!(
        checked.text().contains("public.\"My cache\""),
        "{}",
        checked.text()
    );
    // The foreign table is read from the primary, so the dump halts there. Its snapshot is on the standby.
    let variables = halted
        .variables(variables(&r2, ""))
        .with("BACKUP_DATABASE_URL", &url);
    let service = Service::start(&variables, &["backup"]);
    let missing = service.wait_for("rows missing on a standby");
    assert!(
        missing["found"]
            .as_str()
            .unwrap()
            .contains("1 unlogged table (public.\"My cache\")"),
        "{missing}"
    );
    wait_until("the halt", LIMIT, || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres_fdw' AND wait_event = 'advisory'";
        (primary.psql("postgres", query) == "1").then_some(())
    });
    primary.psql(halted.database(), "DROP TABLE certificates");
    let failed = service.wait_for("attempt failed");
    service.terminate();
    is(
        &failed,
        "dump_exit",
        &[
            "hot_standby_feedback",
            "max_standby_streaming_delay",
            "primary",
        ],
    );
}
