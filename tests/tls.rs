//! TLS to the store and to the database, with good certificates and with faulty ones.

use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::process::{LIMIT, Process, free_port, wait_until};
use crate::common::r2::R2;
use crate::common::service::{Service, Variables};
use crate::common::{certificates, postgres, seaweedfs, unique};

fn file(name: &str) -> String {
    certificates().path(name).to_str().unwrap().to_owned()
}

#[test]
fn a_store_with_a_certificate_of_a_known_authority_is_used() {
    let store = seaweedfs();
    let bucket = unique("tls");
    store.create_bucket(&bucket);
    let variables = Variables::working(store, &bucket, &postgres().url("postgres"));
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let finished = ended.event("backup finished");
    assert_eq!(
        store.list(&bucket),
        [(
            finished["name"].as_str().unwrap().to_owned(),
            finished["size_bytes"].as_u64().unwrap()
        )]
    );
    // The connection is encrypted, so there is no warning.
    assert_eq!(ended.events("configuration"), Vec::<Value>::new());
}

/// The error of a run if the store has this certificate, and only the authority `known` is trusted.
fn refused_store(certificate: &str, host: &str) -> Value {
    let port = free_port();
    let mut command = Process::command("/usr/bin/openssl");
    command.args([
        "s_server",
        "-quiet",
        "-accept",
        &format!("127.0.0.1:{port}"),
        "-cert",
        &file(certificate),
        "-key",
    ]);
    command.arg(certificates().key());
    let _server = Process::spawn(command);
    wait_until("openssl's port", LIMIT, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let variables = Variables::working(seaweedfs(), "any-bucket", &postgres().url("postgres"));
    let ended = Service::backup(
        &variables
            .with("AWS_S3_ENDPOINT", &format!("https://{host}:{port}"))
            .with("BACKUP_RETRIES", "3")
            .with("RUST_LOG", "debug"),
    );
    assert!(
        ended.events("attempt failed").is_empty(),
        "waiting mends no certificate"
    );
    assert!(ended.events("store request retried").is_empty());
    assert!(
        ended.events("backup started").is_empty(),
        "the database was not touched"
    );
    let failure = ended.failure();
    assert_eq!(failure["kind"], "tls", "{failure}");
    failure
}

fn says(failure: &Value, field: &str, words: &[&str]) {
    let text = failure[field].as_str().unwrap();
    for word in words {
        assert!(text.contains(word), "{word}: {failure}");
    }
}

#[test]
fn an_expired_certificate_of_the_store_is_named_with_the_clock_as_the_other_cause() {
    let failure = refused_store("expired", "127.0.0.1");
    says(&failure, "error", &["certificate expired"]);
    says(&failure, "hint", &["expired", "clock"]);
}

#[test]
fn an_unknown_authority_of_the_store_says_how_to_make_it_known() {
    let failure = refused_store("unknown", "127.0.0.1");
    says(&failure, "error", &["UnknownIssuer"]);
    says(&failure, "hint", &["SSL_CERT_FILE", "AWS_S3_ENDPOINT"]);
}

#[test]
fn a_certificate_for_another_host_names_the_host_and_the_endpoint() {
    let failure = refused_store("elsewhere", "localhost");
    says(&failure, "error", &["localhost", "db.example.com"]);
    says(&failure, "hint", &["AWS_S3_ENDPOINT"]);
}

/// A server that uses TLS with this certificate.
fn server_with(certificate: &str) -> Postgres {
    Postgres::start_with(17, &[("ssl_cert_file", &file(certificate))])
}

fn backup_with(server: &Postgres, parameters: &str) -> (crate::common::service::Ended, R2) {
    let r2 = R2::start();
    let url = format!("{}?{parameters}", server.bare_url("postgres"));
    (Service::backup(&Variables::on_r2(&r2, &url)), r2)
}

fn refused_database(server: &Postgres, parameters: &str, error: &str) {
    let (ended, r2) = backup_with(server, parameters);
    let failure = ended.failure();
    assert_eq!(failure["kind"], "tls", "{failure}");
    says(&failure, "error", &[error]);
    says(&failure, "hint", &["sslmode", "BACKUP_DATABASE_URL"]);
    assert_eq!((r2.keys().len(), r2.uploads().len()), (0, 0));
}

#[test]
fn the_databases_certificate_is_checked_as_sslmode_says() {
    let root = format!("sslrootcert={}", file("known"));
    let server = server_with("good");
    for parameters in [
        "sslmode=require".to_owned(),
        "ssl=true".to_owned(),
        format!("sslmode=verify-full&{root}"),
    ] {
        let (ended, _r2) = backup_with(&server, &parameters);
        assert_eq!(ended.code(), Some(0), "{parameters}: {}", ended.text());
    }
    let stranger = server_with("unknown");
    refused_database(
        &stranger,
        &format!("sslmode=verify-ca&{root}"),
        "certificate verify failed",
    );
    // Railway's certificate does not come from a known authority either. Encryption without a check is right for it.
    let (ended, _r2) = backup_with(&stranger, "sslmode=require");
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    refused_database(
        &server_with("expired"),
        &format!("sslmode=verify-full&{root}"),
        "certificate verify failed",
    );
    refused_database(
        &server_with("elsewhere"),
        &format!("sslmode=verify-full&{root}"),
        "does not match host name",
    );
}

#[test]
fn a_database_without_tls_is_named_where_the_url_insists_on_it() {
    refused_database(
        &Postgres::start_plain(17, &[]),
        "sslmode=require",
        "server does not support SSL",
    );
}
