//! Values that dashboards, files and vendors put into variables, given to the real program.

use std::collections::BTreeSet;

use std::process::Command;

use postgres_s3_backups::config::VARIABLES;
use postgres_s3_backups::postgres::DatabaseUrl;

use crate::common::doorman::Doorman;
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::{PASSWORD, Postgres, USER};
use crate::common::process::LIMIT;
use crate::common::service::{Ended, Service, Variables, gunzip};
use crate::common::{postgres, seaweedfs, unique};

fn working() -> Variables {
    Variables::working(
        seaweedfs(),
        "some-bucket",
        "postgres://u:testpass@127.0.0.1:1/d",
    )
}

fn refused(ended: &Ended) -> BTreeSet<String> {
    assert_eq!(ended.code(), Some(2), "{}", ended.text());
    let events = ended.events("invalid configuration");
    let names = events.iter().map(|event| event["variable"].as_str());
    names.map(|name| name.unwrap().to_owned()).collect()
}

#[test]
fn what_belongs_to_a_file_or_dashboard_is_refused_in_every_variable_alike() {
    for (value, word, not_in_sql) in [
        ("\"canary value\"", "quotes around its value", false),
        ("'canary'", "quotes around its value", false),
        ("a-${{canary.VALUE}}", "not resolved", true),
        ("$(CANARY)", "not resolved", true),
        ("canary # comment", "holds a comment", true),
        ("canary\u{200b}value", "invisible character", true),
    ] {
        let expected: BTreeSet<String> = VARIABLES
            .iter()
            .map(|variable| variable.name.to_owned())
            .filter(|name| !(not_in_sql && name == "VERIFY_SQL"))
            .collect();
        let every = VARIABLES
            .iter()
            .fold(working(), |set, variable| set.with(variable.name, value));
        let ended = Service::daemon(&every).end(LIMIT);
        let events = ended.events("invalid configuration");
        let told: BTreeSet<String> = events
            .iter()
            .filter(|event| event["error"].as_str().unwrap().contains(word))
            .map(|event| event["variable"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ended.code(), Some(2));
        assert_eq!(told, expected, "{value}: {}", ended.text());
        let text = ended.text().to_lowercase();
        assert!(!text.contains("canary"), "{text}");
    }
    let kubernetes = working()
        .with("PORT", "0")
        .with("BACKUP_SERVICE_HOST", "10.0.0.1")
        .with("BACKUP_PORT", "tcp://10.0.0.1:80")
        .with("BACKUP_PORT_80_TCP_ADDR", "10.0.0.1");
    let ended = Service::daemon(&kubernetes).end(LIMIT);
    assert_eq!(refused(&ended), BTreeSet::from(["PORT".to_owned()]));
    assert!(ended.events("configuration").is_empty(), "{}", ended.text());
}

#[test]
fn options_that_one_pair_of_quotes_would_make_one_word_are_no_backup() {
    let (store, server) = (seaweedfs(), postgres());
    let (bucket, database) = (unique("strings"), unique("strings"));
    store.create_bucket(&bucket);
    server.create_database(&database, "");
    let variables = Variables::working(store, &bucket, &server.url(&database));
    for options in [
        "\"--exclude-table-data=logs --no-owner\"",
        "\"--exclude-table-data=logs --no-owner\" --no-acl",
    ] {
        let ended = Service::backup(&variables.clone().with("BACKUP_OPTIONS", options));
        assert_eq!(
            refused(&ended),
            BTreeSet::from(["BACKUP_OPTIONS".to_owned()]),
            "{options}"
        );
    }
    assert!(store.list(&bucket).is_empty());
}

#[test]
fn schedules_of_other_programs_are_read_or_get_their_word() {
    for (schedule, word) in [
        ("TZ=Europe/Berlin 0 3 * * *", "set TZ to Europe/Berlin"),
        ("@every 6h", "write 0 */6 * * *"),
        ("rate(1 day)", "write 0 3 * * *"),
        ("*/90 * * * *", "goes beyond the field"),
        ("0 0 3 ? * 2 *", "write names such as MON"),
    ] {
        let variables = working().with("BACKUP_CRON_SCHEDULE", schedule);
        let ended = Service::daemon(&variables).end(LIMIT);
        assert_eq!(
            refused(&ended),
            BTreeSet::from(["BACKUP_CRON_SCHEDULE".to_owned()])
        );
        assert!(ended.text().contains(word), "{}", ended.text());
    }
    for schedule in ["0 0 3 ? * * *", "cron(0 3 * * ? *)"] {
        // Another variable is wrong, so that the service ends.
        let variables = working()
            .with("BACKUP_CRON_SCHEDULE", schedule)
            .with("PORT", "0");
        let ended = Service::daemon(&variables).end(LIMIT);
        assert_eq!(refused(&ended), BTreeSet::from(["PORT".to_owned()]));
    }
}

/// Every parameter of libpq 14 to 18, and a value it can have; the last of them are not passed on.
const PARAMETERS: [(&str, &str); 37] = [
    ("hostaddr", "127.0.0.1"),
    ("passfile", "/nowhere"),
    ("channel_binding", "prefer"),
    ("connect_timeout", "9"),
    ("options", "-c%20work_mem=5MB"),
    ("keepalives", "1"),
    ("keepalives_idle", "9"),
    ("keepalives_interval", "9"),
    ("keepalives_count", "9"),
    ("tcp_user_timeout", "9000"),
    ("sslmode", "prefer"),
    ("sslnegotiation", "postgres"),
    ("sslcompression", "0"),
    ("sslcert", "/nowhere"),
    ("sslkey", "/nowhere"),
    ("sslcertmode", "disable"),
    ("sslrootcert", "/nowhere"),
    ("sslcrl", "/nowhere"),
    ("sslcrldir", "/nowhere"),
    ("sslsni", "1"),
    ("requirepeer", "postgres"),
    ("require_auth", "scram-sha-256"),
    ("min_protocol_version", "3.0"),
    ("max_protocol_version", "3.0"),
    ("ssl_min_protocol_version", "TLSv1.2"),
    ("ssl_max_protocol_version", "TLSv1.3"),
    ("gssencmode", "disable"),
    ("krbsrvname", "postgres"),
    ("gsslib", "gssapi"),
    ("gssdelegation", "0"),
    ("target_session_attrs", "any"),
    ("load_balance_hosts", "disable"),
    ("client_encoding", "LATIN1"),
    ("fallback_application_name", "x"),
    ("replication", "false"),
    ("oauth_scope", "x"),
    ("sslkeylogfile", "/nowhere"),
];

#[test]
fn each_client_is_given_the_parameters_that_it_knows() {
    for (name, value) in PARAMETERS {
        let url = format!("postgres://u@h/d?{name}={value}");
        let (url, warnings) = DatabaseUrl::parse(&url).unwrap();
        assert!(
            !format!("{warnings:?}").contains("libpq does not know"),
            "{name}: {warnings:?}"
        );
        for major in [14, 15, 16, 17, 18] {
            // A client that knows the parameter gets as far as the folder of the socket.
            let ask = |text: String| {
                let output = Command::new(Postgres::bin(major).join("psql"))
                    .env_clear()
                    .args(["-X", "-w", "-d", &text])
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!output.status.success());
                !said.contains("invalid connection option")
            };
            let knows = ask(format!("host=/nowhere {name}=''"));
            let left_out = url.unknown_to(major) == [name];
            let passed = url.connection_string(18).contains(&format!("{name}="));
            assert!(knows || left_out || !passed, "{name} with {major}");
            assert!(!left_out || !knows, "{name} with {major}");
            let string = url.connection_string(major);
            assert!(ask(format!("host=/nowhere {string}")), "{major}: {string}");
        }
    }
}

#[test]
fn the_configuration_page_names_every_variable_of_libpq() {
    let page = include_str!("../docs/configuration.md");
    let source = include_str!("../src/postgres/parameters.rs");
    let names: BTreeSet<&str> = source
        .split('"')
        .filter(|text| text.len() > 2 && text.starts_with("PG"))
        .collect();
    assert!(names.len() >= 40, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

/// A database with a table, and a bucket for it.
fn shop(server: &Postgres) -> (String, String) {
    let (bucket, database) = (unique("strings"), unique("strings"));
    seaweedfs().create_bucket(&bucket);
    server.create_database(&database, "");
    server.psql(&database, "CREATE TABLE t AS SELECT 'Zo\u{eb}' AS a");
    (bucket, database)
}

#[test]
fn a_url_with_every_parameter_makes_a_backup_with_old_and_new_clients() {
    for major in [14, 18] {
        let server = Postgres::start(major);
        let (bucket, database) = shop(&server);
        let parameters = PARAMETERS
            .iter()
            .filter(|(name, _)| !["gsslib", "sslrootcert", "sslcrl", "sslcrldir"].contains(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        let url = format!("{}?{parameters}", server.bare_url(&database));
        let path = Variables::bare(&[major]).value("PATH").to_owned();
        let variables = Variables::working(seaweedfs(), &bucket, &url).with("PATH", &path);
        let ended = Service::backup(&variables);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        ended.event("backup finished");
        let told = ended.events("parameters left out: this client does not know them");
        if major == 14 {
            let names = told[0]["parameters"].as_str().unwrap();
            for name in ["min_protocol_version", "sslnegotiation", "require_auth"] {
                assert!(names.contains(name), "{names}");
            }
        } else {
            assert!(told.is_empty(), "{}", ended.text());
        }
    }
}

#[test]
fn parameters_of_orms_and_poolers_are_left_out_with_one_warning() {
    let server = postgres();
    let (bucket, database) = shop(server);
    let names = "supa workaround serverVersion charset encoding pool_size pool_mode search_path statement_timeout lock_timeout binary_parameters default_query_exec_mode timezone pgbouncer";
    let query: Vec<String> = names.split(' ').map(|name| format!("{name}=1")).collect();
    let url = format!("{}?{}&ssl=no", server.bare_url(&database), query.join("&"));
    let ended = Service::backup(&Variables::working(seaweedfs(), &bucket, &url));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let warnings = ended.events("configuration");
    let told = warnings
        .iter()
        .map(|event| event["warning"].as_str().unwrap())
        .find(|text| text.contains("libpq does not know, so they are left out"));
    for name in names.split(' ') {
        assert!(told.unwrap().contains(name), "{name}: {told:?}");
    }
    assert_eq!(warnings.len(), 2, "{}", ended.text());
}

#[test]
fn libpqs_own_variables_count_under_the_url_and_for_the_source_only() {
    let server = postgres();
    let (bucket, database) = shop(server);
    let plain = Variables::working(seaweedfs(), &bucket, &server.bare_url(&database));
    let strict = plain
        .clone()
        .with("PGSSLMODE", "verify-full")
        .with("PGSSLROOTCERT", "/nonexistent");
    let failure = Service::backup(&strict).failure();
    assert_eq!(failure["kind"], "tls", "{failure}");
    // The URL wins.
    let url = format!("{}?sslmode=disable", server.bare_url(&database));
    let ended = Service::backup(&strict.with("BACKUP_DATABASE_URL", &url));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let url = format!("postgres://127.0.0.1:{}", server.port());
    let parts = plain
        .clone()
        .with("BACKUP_DATABASE_URL", &url)
        .with("PGUSER", USER)
        .with("PGPASSWORD", PASSWORD)
        .with("PGDATABASE", &database)
        .with("PGAPPNAME", "x")
        .with("PGSERVICE", "x");
    let ended = Service::backup(&parts);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(!ended.text().contains(PASSWORD));
    let named: BTreeSet<String> = ended
        .events("configuration")
        .iter()
        .map(|event| event["variable"].as_str().unwrap().to_owned())
        .collect();
    let expected = ["PGAPPNAME", "PGSERVICE"].map(str::to_owned);
    assert_eq!(named, BTreeSet::from(expected));
    let wrong = plain.with("PGSSLMODE", "sometimes");
    assert_eq!(
        refused(&Service::daemon(&wrong).end(LIMIT)),
        BTreeSet::from(["PGSSLMODE".to_owned()])
    );
}

#[test]
fn whatever_refuses_start_up_options_gets_none() {
    let server = postgres();
    for refusal in [
        (
            "FATAL",
            "Feature not supported: RDS Proxy currently doesn't support command-line options.",
        ),
        ("SCHWERWIEGEND", "das hat noch niemand gesehen"),
    ] {
        let (bucket, database) = shop(server);
        let doorman = Doorman::start(server.port(), move |asked| {
            let found = asked.iter().any(|(name, _)| name == "options");
            found.then_some(refusal)
        });
        let url = server
            .bare_url(&database)
            .replace(&server.port().to_string(), &doorman.port.to_string());
        let variables = Variables::working(seaweedfs(), &bucket, &url);
        let ended = Service::backup(&variables);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        ended.event("backup finished");
        let dropped = ended.event("server side keepalives dropped");
        assert!(dropped["error"].as_str().unwrap().contains(refusal.1));
        // The service does not silently ignore what the user asks for.
        for variables in [
            variables
                .clone()
                .with("BACKUP_DATABASE_URL", &format!("{url}?options=-c%20a.b=c")),
            variables.clone().with("PGOPTIONS", "-c a.b=c"),
        ] {
            let ended = Service::start(&variables, &["check"]).end(LIMIT);
            let name = if variables.names().any(|name| name == "PGOPTIONS") {
                "PGOPTIONS"
            } else {
                "options"
            };
            let expected = format!("only without what {name} asks for");
            assert!(ended.text().contains(&expected), "{}", ended.text());
        }
    }
}

#[test]
fn a_wrong_password_is_tried_once() {
    let server = postgres();
    let (bucket, database) = shop(server);
    let doorman = Doorman::start(server.port(), |_| None);
    let url = server
        .bare_url_as(USER, "wrong", &database)
        .replace(&server.port().to_string(), &doorman.port.to_string());
    let variables = Variables::working(seaweedfs(), &bucket, &url);
    let failure = Service::backup(&variables).failure();
    assert_eq!(failure["kind"], "auth", "{failure}");
    assert_eq!(doorman.asked(), 1);
}

#[test]
fn the_users_own_options_are_named_where_pgbouncer_refuses_them() {
    let server = postgres();
    let (bucket, database) = shop(server);
    let pooler = PgBouncer::start(server);
    let url = format!(
        "{}?options=-c%20geqo=off",
        server
            .bare_url(&database)
            .replace(&server.port().to_string(), &pooler.port.to_string())
    );
    let variables = Variables::working(seaweedfs(), &bucket, &url);
    let ended = Service::start(&variables, &["check"]).end(LIMIT);
    assert!(
        ended.text().contains("only without what options asks for"),
        "{}",
        ended.text()
    );
}

#[test]
fn a_dump_has_the_databases_own_encoding_whatever_the_role_has() {
    let server = Postgres::start(17);
    let role = unique("latin").replace('-', "_");
    server.psql(
        "postgres",
        &format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'p'; ALTER ROLE {role} SET client_encoding = 'LATIN1'"),
    );
    for (encoding, text) in [
        ("UTF8", "'Zo\u{eb} \u{20ac} \u{6f22}'"),
        ("MULE_INTERNAL", "'plain ' || chr(65)"),
        ("SQL_ASCII", "'plain'"),
        ("LATIN1", "'plain'"),
    ] {
        let bucket = unique("encoding");
        seaweedfs().create_bucket(&bucket);
        let (database, copy) = (unique("encoding"), unique("encoding"));
        let options =
            format!("ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
        server.create_database(&database, &options);
        server.create_database(&copy, &options);
        server.psql(&database, &format!("CREATE TABLE t AS SELECT {text} AS a"));
        let url = server.url_as(&role, "p", &database);
        let variables = Variables::working(seaweedfs(), &bucket, &url);
        let ended = Service::backup(&variables);
        assert_eq!(ended.code(), Some(0), "{encoding}: {}", ended.text());
        let name = ended.event("backup finished")["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let dump = gunzip(&seaweedfs().get(&bucket, &name));
        assert!(
            dump.contains(&format!("SET client_encoding = '{encoding}'")),
            "{encoding}"
        );
        assert!(
            dump.contains(&format!("\"encoding\":\"{encoding}\"")),
            "{encoding}"
        );
        server.psql(&copy, &dump);
        assert_eq!(server.digest(&database), server.digest(&copy), "{encoding}");
        let ended = Service::start(&variables, &["check"]).end(LIMIT);
        assert!(!ended.text().contains("not supported"), "{}", ended.text());
        assert_eq!(ended.code(), Some(0), "{encoding}: {}", ended.text());
    }
}
