//! `/metrics` as Prometheus sees it: with its own checker, a real Prometheus that scrapes the real daemon, the rules and the
//! dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postgres_s3_backups::web::metrics::PREFIX;
use serde_json::Value;

use crate::common::postgres::Postgres;
use crate::common::process::{Folder, LIMIT, Process, free_port, tools, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

const TOKEN: &str = "canary-7f3a9c1e5b2d4068";
const RULES: &str = "docs/prometheus-rules.yml";
const DASHBOARD: &str = "docs/grafana-dashboard.json";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap()
}

fn program(name: &str) -> PathBuf {
    tools(&["prometheus"]).join("prometheus").join(name)
}

/// The samples of a text, by series.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let series = series.strip_prefix(PREFIX).expect(line);
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn scrape(service: &Service) -> (String, BTreeMap<String, f64>) {
    let (status, _, text) = service.get_with(TOKEN, "/metrics");
    assert_eq!(status, 200, "{text}");
    let samples = samples(&text);
    (text, samples)
}

/// Waits until a series has a value.
fn wait_for(service: &Service, series: &str, value: f64) -> BTreeMap<String, f64> {
    wait_until(&format!("{series} {value}"), LIMIT, || {
        let (_, samples) = scrape(service);
        let there = samples
            .get(series)
            .is_some_and(|at| (at - value).abs() < f64::EPSILON);
        there.then_some(samples)
    })
}

fn check_by_promtool(text: &str) {
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics", "--extended"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{complaints}\n{text}");
    assert_eq!(complaints, "", "{text}");
}

fn promtool(arguments: &[&str]) {
    let output = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(root("docs"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A service that makes a backup at its start and proves the newest one each second.
fn everything() -> (Service, Postgres) {
    let bucket = unique("metrics");
    seaweedfs().create_bucket(&bucket);
    let server = Postgres::start(17);
    let url = server.url("postgres");
    server.psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS g",
    );
    let variables = Variables::working(seaweedfs(), &bucket, &url)
        .with("STATUS_TOKEN", TOKEN)
        .with("RUN_ON_STARTUP", "true")
        .with("VERIFY_SCHEDULE", "* * * * * *")
        .with("VERIFY_DATABASE_URL", &url);
    let service = Service::daemon(&variables);
    service.wait_for("backup proven");
    service.wait_for_health("ok");
    (service, server)
}

#[test]
fn the_metrics_tell_what_the_log_and_the_bucket_tell() {
    let (service, _server) = everything();
    let finished = service.wait_for("backup finished");
    let samples = wait_for(&service, "last_drill_proven", 1.0);
    let number = |field: &str| finished[field].as_f64().unwrap();
    for (series, expected) in [
        ("healthy", 1.0),
        ("newest_backup_size_bytes", number("size_bytes")),
        ("last_raw_bytes", number("uncompressed_bytes")),
        ("last_rows", 1000.0),
        ("last_parts", number("parts")),
        ("parts_total", number("parts")),
        ("part_retries_total", 0.0),
        (r#"runs_total{outcome="succeeded",kind="none"}"#, 1.0),
        (r#"runs_total{outcome="failed",kind="auth"}"#, 0.0),
        ("bucket_backups", 1.0),
        ("bucket_bytes", number("size_bytes")),
        ("running", 0.0),
        ("max_age_seconds", 90_000.0),
        (r#"health_status{status="ok"}"#, 1.0),
        (r#"health_status{status="stale"}"#, 0.0),
        (
            &format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
            1.0,
        ),
    ] {
        let value = samples[series];
        assert!(
            (value - expected).abs() < f64::EPSILON,
            "{series}: {value}, not {expected}"
        );
    }
    let duration = number("duration_seconds");
    assert!((samples["last_duration_seconds"] - duration).abs() < 0.002);
    let (_, health) = service.health();
    let due: chrono::DateTime<chrono::Utc> =
        health["next_due_at"].as_str().unwrap().parse().unwrap();
    let at = due.timestamp().to_string();
    assert_eq!(samples["next_due_timestamp_seconds"].to_string(), at);
    assert!(samples["newest_backup_age_seconds"] < 180.0);
    service.terminate();
}

#[test]
fn promtool_finds_no_fault_before_anything_is_known_nor_after() {
    // Nothing answers at this address, so the first listing never comes back.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    let early = Service::daemon(
        &Variables::working(seaweedfs(), "bucket", nowhere)
            .with("AWS_S3_ENDPOINT", &endpoint)
            .with("STATUS_TOKEN", TOKEN),
    );
    let (text, samples) = scrape(&early);
    check_by_promtool(&text);
    for unknown in [
        "bucket_backups",
        "last_success_timestamp_seconds",
        "last_rows",
        "last_drill_proven",
    ] {
        assert!(!samples.contains_key(unknown), "{unknown}: {text}");
    }
    assert!((samples[r#"health_status{status="unknown"}"#] - 1.0).abs() < f64::EPSILON);
    early.terminate();
    let (service, _server) = everything();
    check_by_promtool(&scrape(&service).0);
    service.terminate();
}

#[test]
fn a_redeploy_knows_the_bucket_and_a_failed_run_and_a_part_sent_again_are_counted() {
    let r2 = R2::start();
    let database = unique("metered").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(&database, "CREATE TABLE t AS SELECT 1 AS g");
    let variables = Variables::on_r2(&r2, &postgres().url(&database))
        .with("STATUS_TOKEN", TOKEN)
        .with("RUN_ON_STARTUP", "true");
    r2.fail(Operation::UploadPart, 0, 2, Action::Answer(503, "SlowDown"));
    let service = Service::daemon(&variables);
    service.wait_for("backup finished");
    let made = wait_for(&service, "part_retries_total", 2.0);
    assert!((made["parts_total"] - 1.0).abs() < f64::EPSILON);
    service.terminate();

    let wrong = postgres().url_as("postgres", "wrong-canary-password", &database);
    let service = Service::daemon(&variables.with("BACKUP_DATABASE_URL", &wrong));
    let failed = wait_for(&service, r#"runs_total{outcome="failed",kind="auth"}"#, 1.0);
    for series in [
        "last_success_timestamp_seconds",
        "newest_backup_size_bytes",
        "bucket_backups",
        "bucket_bytes",
    ] {
        let difference = (failed[series] - made[series]).abs();
        // The store keeps whole seconds.
        assert!(
            difference <= 1.0,
            "{series}: {} {}",
            failed[series],
            made[series]
        );
    }
    assert!((failed[r#"health_status{status="failing"}"#] - 1.0).abs() < f64::EPSILON);
    assert!(!failed.contains_key("last_rows"), "of another process");
    let ended = service.terminate();
    assert!(!ended.text().contains("canary"), "{}", ended.text());
}

/// The names in the first column of the table on the page.
fn documented() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let name = line.strip_prefix("| `")?.split('`').next()?;
        Some(name.split('{').next()?.to_owned())
    });
    rows.collect()
}

#[test]
fn the_page_has_a_row_for_each_metric_and_no_other() {
    let (service, _server) = everything();
    let (text, _) = scrape(&service);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<String> = families
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    pretty_assertions::assert_eq!(told, documented());
    service.terminate();
}

#[test]
fn the_rules_are_valid_and_each_fires_when_it_should_and_not_before() {
    promtool(&["check", "rules", "--lint-fatal", "prometheus-rules.yml"]);
    promtool(&["test", "rules", "../tests/data/prometheus_rules_test.yml"]);
    let tested = read("tests/data/prometheus_rules_test.yml");
    let rules = read(RULES);
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    for alert in alerts {
        let fires = tested
            .match_indices(&format!("alertname: {alert}\n"))
            .any(|(at, _)| {
                let expectation = tested[at..].split("- eval_time").next().unwrap();
                !expectation.contains("exp_alerts: []")
            });
        assert!(fires, "no test lets {alert} fire");
    }
    for name in names_in(&rules) {
        assert!(documented().contains(&name), "{name}");
    }
}

fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

/// A Prometheus that scrapes the service, with the rules from the documentation.
struct Prometheus {
    port: u16,
    _process: Process,
    _folder: Folder,
}

impl Prometheus {
    fn over(service: &Service) -> Self {
        let (port, folder) = (free_port(), Folder::new());
        let config = folder.path().join("prometheus.yml");
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        // The configuration is that of docs/metrics.md, except for the interval and the addresses.
        let example = blocks_of("docs/metrics.md");
        let text = example
            .replace("/etc/prometheus/backups-token", token.to_str().unwrap())
            .replace(
                "backups.internal:8080",
                &format!("127.0.0.1:{}", service.port()),
            )
            .replace(
                "/etc/prometheus/prometheus-rules.yml",
                root(RULES).to_str().unwrap(),
            )
            .replace("scrape_interval: 30s", "scrape_interval: 200ms");
        std::fs::write(
            &config,
            format!("global:\n  evaluation_interval: 1s\n{text}"),
        )
        .unwrap();
        let mut command = Process::command(program("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Self {
            port,
            _process: Process::spawn(command),
            _folder: folder,
        }
    }

    fn get(&self, path: &str, query: &str) -> Value {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--get",
                "--retry",
                "50",
                "--retry-connrefused",
                "--retry-delay",
                "1",
            ])
            .arg("--data-urlencode")
            .arg(query)
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// How many series an expression returns now.
    fn count(&self, expression: &str) -> usize {
        let answer = self.get("/api/v1/query", &format!("query={expression}"));
        assert_ne!(answer["status"], "error", "{expression}: {answer}");
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

/// The only block of YAML on a page.
fn blocks_of(page: &str) -> String {
    let text = read(page);
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Every expression of the dashboard.
fn expressions(panel: &Value, found: &mut Vec<String>) {
    match panel {
        Value::Object(fields) => {
            if let Some(expression) = fields.get("expr") {
                found.push(expression.as_str().unwrap().to_owned());
            }
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The panels that show a word if a value is not known yet, with their metric and their expression.
fn said_in_words(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap();
    let mut found = Vec::new();
    for name in [
        "last_drill_proven",
        "last_anomalies",
        "drills_untried",
        "bucket_backups_dated_ahead",
    ] {
        let metric = format!("{PREFIX}{name}");
        let begins = |panel: &&Value| {
            let expression = panel["targets"][0]["expr"].as_str();
            expression.is_some_and(|text| text.starts_with(&format!("{metric}{{")))
                && panel["type"] == "stat"
        };
        let panel = panels.iter().find(begins).expect(name);
        let defaults = &panel["fieldConfig"]["defaults"];
        let word = &defaults["mappings"][0]["options"]["-1"]["text"];
        assert!(
            word.as_str().is_some_and(|word| word.contains(' ')),
            "{name}"
        );
        assert_eq!(&defaults["noValue"], word, "{name}");
        let expression = panel["targets"][0]["expr"].as_str().unwrap();
        // This metric shows that there was a drill without a result.
        let expression = match name {
            "last_drill_proven" => {
                expression.replace(&format!("{PREFIX}drills_untried"), "never_told")
            }
            _ => expression.to_owned(),
        };
        found.push((metric, expression));
    }
    let drill = panels
        .iter()
        .find(|panel| panel["title"] == "Last drill")
        .unwrap();
    let words = &drill["fieldConfig"]["defaults"]["mappings"][0]["options"];
    assert_eq!(words["-1"]["text"], "No drill yet");
    found
}

#[test]
fn a_real_prometheus_scrapes_it_and_every_panel_of_the_dashboard_shows_something() {
    let (service, _server) = everything();
    let prometheus = Prometheus::over(&service);
    wait_until("a scrape", LIMIT, || {
        (prometheus.count("up{job=\"postgres-s3-backups\"} == 1") == 1).then_some(())
    });
    for name in documented() {
        wait_until(&name, LIMIT, || (prometheus.count(&name) > 0).then_some(()));
    }
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard["panels"], &mut found);
    assert!(found.len() > 10, "{found:?}");
    for expression in &found {
        let expression = expression.replace("$instance", ".*");
        wait_until(&expression, LIMIT, || {
            (prometheus.count(&expression) > 0).then_some(())
        });
        for name in names_in(&expression) {
            assert!(documented().contains(&name), "{name}");
        }
    }
    // What the process can't know before its first drill, its first backup or its first look at the bucket is shown as a
    // word, and not as missing data.
    for (metric, expression) in said_in_words(&dashboard) {
        let early = expression
            .replace("$instance", ".*")
            .replace(&metric, "never_told");
        let answer = prometheus.get("/api/v1/query", &format!("query={early}"));
        assert_eq!(
            answer["data"]["result"][0]["value"][1], "-1",
            "{early}: {answer}"
        );
    }
    // The rules are evaluated without an error, and none fires while everything is in order.
    let groups = wait_until("the rules", LIMIT, || {
        let answer = prometheus.get("/api/v1/rules", "type=alert");
        let groups = answer["data"]["groups"].as_array()?.clone();
        let done = groups.iter().all(|group| {
            let mut rules = group["rules"].as_array().unwrap().iter();
            rules.all(|rule| rule["health"] == "ok")
        });
        (done && !groups.is_empty()).then_some(groups)
    });
    for group in groups {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["state"], "inactive", "{rule}");
        }
    }
    service.terminate();
}

#[test]
fn the_dashboard_is_one_that_grafana_can_read() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    for field in [
        "title",
        "uid",
        "schemaVersion",
        "panels",
        "templating",
        "time",
    ] {
        assert!(!dashboard[field].is_null(), "{field}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{title}"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        let place = &panel["gridPos"];
        let side = |name: &str| place[name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title}");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{title} lies over another panel");
            }
        }
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                expression.contains("instance=~\"$instance\""),
                "{expression}"
            );
        }
    }
}
