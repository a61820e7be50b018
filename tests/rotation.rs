//! Secrets that are rotated while the daemon runs: their files are read again at each run.

use std::path::Path;

use serde_json::Value;

use crate::common::process::{Folder, LIMIT, wait_until};
use crate::common::receiver::Receiver;
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

fn put(path: &Path, text: &str) {
    // Replaces the file as Kubernetes does, so that it is never half written.
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{text}\n")).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Waits for another event with this message.
fn one_more(service: &Service, message: &str) -> Value {
    let before = service.events(message).len();
    // The current run may have begun before the change, so this waits for the second one.
    service.wait_for_nth(message, before + 2)
}

#[test]
fn rotated_secrets_are_used_without_a_restart() {
    const TOKENS: [&str; 2] = ["0123456789abcdef-first", "0123456789abcdef-second"];
    let (store, server) = (seaweedfs(), postgres());
    let (bucket, database) = (unique("rotation"), unique("rotation"));
    store.create_bucket(&bucket);
    server.create_database(&database, "");
    let role = unique("rotation").replace('-', "_");
    let secret = |n: u8| format!("canary-password-{n}");
    let set = |verb: &str, n| {
        let password = secret(n);
        server.psql(
            "postgres",
            &format!("{verb} ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'"),
        );
    };
    set("CREATE", 1);
    let (first, second) = (Receiver::start(), Receiver::start());
    let folder = Folder::new();
    let file = |name: &str| folder.path().join(name);
    put(&file("url"), &server.url_as(&role, &secret(1), &database));
    put(&file("key"), "no-such-secret-key");
    put(&file("token"), TOKENS[0]);
    put(&file("heartbeat"), &first.url());
    let variables = Variables::working(store, &bucket, "")
        .without("BACKUP_DATABASE_URL")
        .without("AWS_SECRET_ACCESS_KEY")
        .with("BACKUP_DATABASE_URL_FILE", file("url").to_str().unwrap())
        .with("AWS_SECRET_ACCESS_KEY_FILE", file("key").to_str().unwrap())
        .with("STATUS_TOKEN_FILE", file("token").to_str().unwrap())
        .with("HEARTBEAT_URL_FILE", file("heartbeat").to_str().unwrap())
        .with("BACKUP_CRON_SCHEDULE", "* * * * * *");
    let service = Service::daemon(&variables);
    let failed = service.wait_for("backup failed");
    assert_eq!(failed["kind"], "store_denied", "{failed}");

    put(&file("key"), store.secret_key);
    one_more(&service, "backup finished");
    set("ALTER", 2);
    let failed = wait_until("a refused password", LIMIT, || {
        let failed = service.events("backup failed");
        failed.into_iter().find(|event| event["kind"] == "auth")
    });
    assert!(!failed.to_string().contains("canary"), "{failed}");
    put(&file("url"), &server.url_as(&role, &secret(2), &database));
    one_more(&service, "backup finished");

    assert_eq!(service.get_with(TOKENS[0], "/metrics").0, 200);
    put(&file("token"), TOKENS[1]);
    put(&file("heartbeat"), &second.url());
    one_more(&service, "backup finished");
    assert_eq!(service.get_with(TOKENS[1], "/metrics").0, 200);
    assert_eq!(service.get_with(TOKENS[0], "/metrics").0, 401);
    second.wait_for(1);

    // A value that can't be used is reported, and the earlier one is still used.
    for (change, word) in [
        (None, "there is no such file"),
        (Some("mysql://u:canary@h/d"), "a URL of something else"),
        (Some("\"postgres://u:canary@h/d\""), "quotes around"),
    ] {
        match change {
            None => std::fs::remove_file(file("url")).unwrap(),
            Some(text) => put(&file("url"), text),
        }
        wait_until(word, LIMIT, || {
            let told = service.events("secret not read again");
            told.iter()
                .any(|event| event["error"].as_str().unwrap().contains(word))
                .then_some(())
        });
        one_more(&service, "backup finished");
    }
    let told = service.events("secret not read again");
    for event in &told {
        assert!(
            event["variable"]
                .as_str()
                .unwrap()
                .starts_with("BACKUP_DATABASE_URL"),
            "{event}"
        );
    }
    let text = service.terminate().text();
    for secret in ["canary", TOKENS[0], TOKENS[1], "no-such-secret-key"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
