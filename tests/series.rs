//! Several series of backups in one daemon. No variable makes a second one yet, so these are put together through the library.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;

use chrono::{DateTime, Utc};
use postgres_s3_backups::config::{Config, Sources};
use postgres_s3_backups::daemon::Daemon;
use postgres_s3_backups::daemon::renewal::Shared;
use postgres_s3_backups::daemon::series::Series;
use postgres_s3_backups::daemon::tasks::Tasks;
use postgres_s3_backups::postgres::Clients;
use postgres_s3_backups::web::http;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::common::halted::Halted;
use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, free_port, wait_until};
use crate::common::r2::R2;
use crate::common::receiver::Receiver;
use crate::common::service::Variables;
use crate::common::{postgres, unique};

const TOKEN: &str = "a-token-that-nobody-guesses";

/// A daemon in this process.
struct Several {
    runtime: Runtime,
    stop: CancellationToken,
    tasks: Tasks,
    port: u16,
    _temporary: Folder,
}

impl Several {
    /// The daemon of these series, each by its name and its variables. The alerts and the token are those of the first.
    fn start(series: &[(&str, Variables)]) -> Self {
        let (runtime, stop) = (Runtime::new().unwrap(), CancellationToken::new());
        let (port, temporary) = (free_port(), Folder::new());
        let mut tasks = Tasks::default();
        runtime.block_on(async {
            let mut shared = None;
            let series = series.iter().map(|(name, variables)| {
                let variables: Vec<(OsString, OsString)> = variables
                    .all()
                    .iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect();
                let no_file = |_: &str| Err("no file".to_owned());
                let config = Config::from_variables(&variables, no_file, Utc::now()).unwrap();
                let shared = shared.get_or_insert_with(|| Shared::new(&config));
                Series::new(
                    name,
                    config.series,
                    Sources::new(&variables, no_file),
                    shared,
                )
            });
            let series: Vec<Series> = series.collect();
            let daemon = Daemon {
                series,
                shared: shared.unwrap(),
                temporary: temporary.path().to_owned(),
                railway: None,
                clock: Utc::now,
            };
            daemon.answer(http::bind(port).unwrap(), &mut tasks, &stop);
            let clients = Clients::discover(&[Postgres::bin(17)]).await;
            daemon.start(&clients, &mut tasks, &stop);
        });
        Self {
            runtime,
            stop,
            tasks,
            port,
            _temporary: temporary,
        }
    }

    /// Status and body.
    fn get(&self, target: &str, token: bool) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let authorization = if token {
            format!("Authorization: Bearer {TOKEN}\r\n")
        } else {
            String::new()
        };
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn health(&self) -> (u16, Value) {
        let (status, body) = self.get("/health", false);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until `/health` says that of a series.
    fn wait_for(&self, series: &str, status: &str) -> (u16, Value) {
        wait_until(&format!("{series} to be {status}"), LIMIT, || {
            let (code, json) = self.health();
            (json["series"][series]["status"] == status).then_some((code, json))
        })
    }

    /// Stops it, and waits for its end.
    fn stop(mut self) {
        self.stop.cancel();
        self.runtime.block_on(async {
            let ended = tokio::time::timeout(LIMIT, self.tasks.all());
            ended.await.expect("the daemon does not end");
        });
    }
}

/// The variables of a series whose backups begin with `prefix`.
fn variables(store: &R2, prefix: &str, url: &str) -> Variables {
    Variables::on_r2(store, url)
        .with("BACKUP_FILE_PREFIX", prefix)
        .with("STATUS_TOKEN", TOKEN)
}

fn database() -> String {
    let name = unique("series").replace('-', "_");
    postgres().create_database(&name, "");
    postgres().psql(&name, "CREATE TABLE t AS SELECT 1 AS a");
    postgres().url(&name)
}

fn backups(store: &R2, prefix: &str) -> usize {
    let keys = store.keys();
    keys.iter().filter(|key| key.starts_with(prefix)).count()
}

#[test]
fn each_of_three_series_has_its_own_verdict_and_the_worst_is_that_of_all() {
    let (store, receiver) = (R2::start_plain(), Receiver::start_plain());
    let wrong = postgres().url_as("postgres", "wrong-canary-password", "postgres");
    let now = |prefix, url: &str| {
        variables(&store, prefix, url)
            .with("RUN_ON_STARTUP", "true")
            .with("ALERT_WEBHOOK_URL", &receiver.url())
    };
    let daemon = Several::start(&[
        ("shop", now("shop_", &database())),
        ("wiki & more", now("wiki_", &database())),
        ("books", now("books_", &wrong)),
    ]);
    daemon.wait_for("shop", "ok");
    daemon.wait_for("wiki & more", "ok");
    let (code, json) = daemon.wait_for("books", "failing");
    assert_eq!((code, &json["status"]), (503, &"failing".into()));
    assert_eq!(json["series"].as_object().unwrap().len(), 3);
    assert_eq!(json["series"]["books"]["last_run"]["kind"], "auth");
    let newest = &json["series"]["shop"]["newest_backup"]["name"];
    assert!(newest.as_str().unwrap().starts_with("shop_"), "{newest}");
    for prefix in ["shop_", "wiki_"] {
        assert_eq!(backups(&store, prefix), 1, "{prefix}");
    }
    assert_eq!(backups(&store, "books_"), 0);

    let (code, metrics) = daemon.get("/metrics", true);
    assert_eq!(code, 200);
    for (series, healthy) in [("shop", 1), ("wiki & more", 1), ("books", 0)] {
        let line = format!("postgres_s3_backups_healthy{{series=\"{series}\"}} {healthy}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }

    assert_eq!(daemon.get("/", false).0, 401);
    assert_eq!(daemon.get("/series/shop", false).0, 401);
    let (code, overview) = daemon.get("/", true);
    assert_eq!(code, 200);
    assert!(overview.contains("Not every series is well"), "{overview}");
    let place = |text: &str| overview.find(text).unwrap_or_else(|| panic!("{text}"));
    let books = place("href=\"/series/books\"");
    assert!(books < place("href=\"/series/shop\""), "the worst first");
    let wiki = "/series/wiki%20%26%20more";
    assert!(books < place(&format!("href=\"{wiki}\"")));
    let (code, page) = daemon.get(wiki, true);
    assert_eq!(code, 200);
    assert!(page.contains("wiki_") && !page.contains("shop_"), "{page}");
    assert_eq!(daemon.get("/series/none", true).0, 404);

    let alert = receiver.wait_for_event("failing");
    assert_eq!(alert["series"], "books");
    assert_eq!(alert["prefix"], "books_");
    let text = alert["text"].as_str().unwrap();
    assert!(text.contains("Series: books"), "{text}");
    daemon.stop();
}

#[test]
fn one_backup_at_a_time_is_made_whatever_is_due() {
    let store = R2::start_plain();
    let halted = Halted::new(postgres(), 10, 10);
    let every_second = |prefix, url: &str| {
        variables(&store, prefix, url).with("BACKUP_CRON_SCHEDULE", "* * * * * *")
    };
    let wiki = halted.variables(every_second("wiki_", ""));
    let daemon = Several::start(&[("shop", every_second("shop_", &database())), ("wiki", wiki)]);
    halted.wait();
    let before = backups(&store, "shop_");
    // The shop's backup is due, and waits.
    let due = || {
        let (_, json) = daemon.health();
        let due = json["series"]["shop"]["next_due_at"].as_str()?.to_owned();
        Some(DateTime::parse_from_rfc3339(&due).unwrap().to_utc())
    };
    let overdue = wait_until("a backup that waits", LIMIT, || {
        due().filter(|due| *due + chrono::TimeDelta::seconds(2) < Utc::now())
    });
    assert_eq!(due(), Some(overdue));
    let (_, json) = daemon.health();
    assert_ne!(json["series"]["shop"]["status"], "running");
    assert_eq!(backups(&store, "shop_"), before);
    let released_at = Utc::now();
    halted.release();
    let waited = wait_until("the backup that waited", LIMIT, || {
        store
            .keys()
            .into_iter()
            .filter(|key| key.starts_with("shop_"))
            .nth(before)
    });
    // It has the name of the time at which it was due, not of that at which its turn came.
    let name = |at: DateTime<Utc>| format!("shop_{}.sql.gz", at.format("%Y-%m-%d_%H-%M-%S"));
    assert!(
        name(overdue) <= waited && waited <= name(released_at),
        "{waited}, {overdue}"
    );
    daemon.stop();
}

#[test]
fn one_series_is_told_as_if_there_could_be_no_other() {
    let store = R2::start_plain();
    let url = database();
    let daemon = Several::start(&[(
        "shop",
        variables(&store, "shop_", &url).with("RUN_ON_STARTUP", "true"),
    )]);
    let json = wait_until("a backup", LIMIT, || {
        let (_, json) = daemon.health();
        (json["status"] == "ok").then_some(json)
    });
    assert_eq!(json.get("series"), None);
    let (_, metrics) = daemon.get("/metrics", true);
    assert!(!metrics.contains("series="), "{metrics}");
    assert!(daemon.get("/", true).1.contains("shop_"));
    assert_eq!(daemon.get("/series/shop", true).0, 404);
    daemon.stop();
}
