//! `/` and `/metrics` are closed without the token. The page is examined in a real browser, in both colour schemes and both
//! sizes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use postgres_s3_backups::board::{DrillOutcome, Failure, LastDrill, LastRun, RunOutcome, Status};
use postgres_s3_backups::catalog::{Backup, Prefix};
use postgres_s3_backups::fault::Kind;
use postgres_s3_backups::schedule::Schedule;
use postgres_s3_backups::schedule::zone::Zone;
use postgres_s3_backups::web::page::{self, Setting};
use serde_json::Value;

use crate::common::browser::Browser;
use crate::common::process::{Folder, LIMIT, wait_until};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";
const TOKEN: &str = "canary-7f3a9c1e5b2d4068";

fn bucket() -> String {
    let bucket = unique("page");
    seaweedfs().create_bucket(&bucket);
    bucket
}

fn open_to(token: &str, bucket: &str, url: &str) -> Variables {
    Variables::working(seaweedfs(), bucket, url).with("STATUS_TOKEN", token)
}

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64.encode(pair))
}

fn ask(service: &Service, method: &str, path: &str, header: &str) -> (u16, String) {
    let answer = service.raw(&format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n"
    ));
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap(), answer.to_ascii_lowercase())
}

#[test]
fn without_a_token_both_are_closed_and_the_log_says_how_to_open_them() {
    let service = Service::daemon(&Variables::working(seaweedfs(), &bucket(), NOWHERE));
    let line = service.wait_for("/ and /metrics are closed");
    assert_eq!(line["level"], "INFO");
    assert!(line["hint"].as_str().unwrap().contains("set STATUS_TOKEN"));
    for path in ["/", "/metrics"] {
        // An empty token is not a token, and no token opens the page if none is set.
        for header in [
            String::new(),
            basic(":"),
            "Authorization: Bearer \r\n".to_owned(),
        ] {
            let (status, answer) = ask(&service, "GET", path, &header);
            assert_eq!(status, 404, "{path} {header}");
            assert!(answer.ends_with("\r\n\r\n") && !answer.contains("www-authenticate"));
        }
    }
    service.terminate();
}

#[test]
fn with_a_token_they_open_to_it_alone_and_a_guesser_is_slowed_but_nobody_is_locked_out() {
    let service = Service::daemon(&open_to(TOKEN, &bucket(), NOWHERE));
    service.wait_for("/ and /metrics are open to those who have STATUS_TOKEN");
    service.wait_for_health("waiting");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/", "/metrics"] {
        let (status, answer) = ask(&service, "GET", path, "");
        assert_eq!(status, 401, "{answer}");
        assert!(answer.contains("www-authenticate: basic realm=\"postgres-s3-backups\""));
        assert!(answer.contains("cache-control: no-store"));
        for right in [
            bearer.clone(),
            basic(&format!("anybody:{TOKEN}")),
            basic(&format!(":{TOKEN}")),
        ] {
            assert_eq!(ask(&service, "GET", path, &right).0, 200, "{path} {right}");
            let (status, head) = ask(&service, "HEAD", path, &right);
            assert!(status == 200 && head.ends_with("\r\n\r\n"), "{head}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(ask(&service, method, path, &bearer).0, 405, "{method}");
        }
    }
    // A request without a token does not count as a guess, because browsers always make one first.
    for _ in 0..30 {
        assert_eq!(ask(&service, "GET", "/", "").0, 401);
    }
    let guess = |number: usize| format!("Authorization: Bearer {number}{TOKEN}\r\n");
    let answers: Vec<(u16, String)> = (0..30)
        .map(|number| {
            ask(
                &service,
                "GET",
                ["/", "/metrics"][number % 2],
                &guess(number),
            )
        })
        .collect();
    assert!(answers[..10].iter().all(|(status, _)| *status == 401));
    let (status, refusal) = answers.last().unwrap();
    assert_eq!(*status, 429);
    let after = refusal.split("retry-after: ").nth(1).unwrap();
    let after: u64 = after.split_once("\r\n").unwrap().0.parse().unwrap();
    assert!((1..=7).contains(&after), "{refusal}");
    assert_eq!(ask(&service, "GET", "/", &bearer).0, 200);
    assert_eq!(ask(&service, "GET", "/metrics", &bearer).0, 200);
    // What is open to everybody stays open and says no more than before, and the token opens nothing else.
    assert_eq!(service.get("/health").0, 200);
    assert_eq!(service.get("/live").1, r#"{"status":"live"}"#);
    for path in ["/page.js", "/index.html", "/metrics/", "//"] {
        assert_eq!(ask(&service, "GET", path, &bearer).0, 404, "{path}");
    }
    let ended = service.terminate();
    assert!(!ended.text().contains("canary"), "{}", ended.text());
    assert_eq!(ended.events("too many wrong tokens").len(), 1);
}

#[test]
fn the_token_may_come_from_a_file_and_one_that_can_be_guessed_is_refused_unseen() {
    let folder = Folder::new();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let variables = Variables::working(seaweedfs(), &bucket(), NOWHERE)
        .with("STATUS_TOKEN_FILE", file.to_str().unwrap());
    let service = Service::daemon(&variables);
    service.wait_for_health("waiting");
    assert_eq!(service.get_with(TOKEN, "/metrics").0, 200);
    service.terminate();
    let ended = Service::daemon(
        &variables
            .without("STATUS_TOKEN_FILE")
            .with("STATUS_TOKEN", "canary"),
    )
    .end(LIMIT);
    assert_eq!(ended.code(), Some(2));
    let problem = ended.event("invalid configuration");
    assert_eq!(problem["variable"], "STATUS_TOKEN");
    assert!(
        problem["error"]
            .as_str()
            .unwrap()
            .contains("openssl rand -hex 24")
    );
    assert!(!ended.text().contains("canary"), "{}", ended.text());
}

#[test]
fn the_headers_let_nothing_in_and_nothing_be_kept() {
    let service = Service::daemon(&open_to(TOKEN, &bucket(), NOWHERE));
    service.wait_for_health("waiting");
    let nonce_of = |head: &str, body: &str| {
        let policy = head
            .lines()
            .find_map(|line| line.strip_prefix("content-security-policy: "))
            .unwrap()
            .to_owned();
        let nonce = policy
            .split("'nonce-")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap()
            .to_owned();
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        assert_eq!(body.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        nonce
    };
    let (_, head, body) = service.get_with(TOKEN, "/");
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(head.lines().any(|line| line == header), "{header}\n{head}");
    }
    let first = nonce_of(&head, &body);
    let (_, head, body) = service.get_with(TOKEN, "/");
    assert_ne!(first, nonce_of(&head, &body));
    assert_eq!(first.len(), 32);
    // The page holds no secret of the service, and nothing at all about the database.
    for hidden in [TOKEN, "testkey", "postgres://", "nobody"] {
        assert!(!body.contains(hidden), "{hidden}");
    }
    let (_, head, _) = service.get_with(TOKEN, "/metrics");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(head.contains("cache-control: no-store"));
    service.terminate();
}

fn backups(now: DateTime<Utc>, days: i64, left_out: &[i64]) -> Vec<Backup> {
    let prefix = Prefix::new(None, "vlvt_backup_");
    let days = (0..days).filter(|day| !left_out.contains(day));
    days.map(|day| {
        let at = now - TimeDelta::days(day) - TimeDelta::hours(7);
        let finished_at = at + TimeDelta::seconds(70 + day * 37 % 41);
        Backup {
            name: prefix.name_at(at),
            finished_at,
            aged_from: finished_at,
            size_bytes: 12_400_000 - u64::try_from(day).unwrap() * 70_000,
        }
    })
    .collect()
}

/// A state for each tone of the page. Together they show every mark of the calendar.
fn states(now: DateTime<Utc>) -> Vec<(&'static str, &'static str, Status)> {
    let mut good = Status {
        next_due_at: Some(now + TimeDelta::hours(17)),
        first_due_at: Some(now + TimeDelta::hours(17)),
        ..Status::default()
    };
    let mut waiting = good.clone();
    waiting.list(Vec::new(), now);
    good.list(backups(now, 50, &[9, 20]), now);
    good.drilled(LastDrill {
        name: good.backups[0].name.to_string(),
        outcome: DrillOutcome::Proven,
        kind: None,
        finished_at: now - TimeDelta::hours(5),
        duration_seconds: 41,
    });
    let mut bad = good.clone();
    bad.list(backups(now, 50, &[0, 1, 2, 9, 20]), now);
    bad.running = true;
    bad.ran(LastRun {
        outcome: RunOutcome::Failed,
        kind: Some(Kind::StoreUnavailable),
        finished_at: now - TimeDelta::hours(6),
    });
    bad.drilled(LastDrill {
        name: bad.backups[2].name.to_string(),
        outcome: DrillOutcome::Failed,
        kind: Some(Kind::Damaged),
        finished_at: now - TimeDelta::days(1),
        duration_seconds: 41,
    });
    let failure = |error: &str, hint: &str| {
        Some(Failure {
            name: bad.backups[2].name.to_string(),
            error: error.to_owned(),
            hint: hint.to_owned(),
        })
    };
    bad.failure = failure(
        "could not send part 2: the store answered 503 SlowDown after 8 tries",
        "the store is overloaded or out of order: wait, it is attempted again at the next due time; look at the store's status page",
    );
    bad.drill_failure = failure(
        "the object ends in the middle of a gzip member, after 3145728 of its bytes",
        "restore an older backup; make a new one at once",
    );
    let unknown = Status {
        unread: failure(
            "could not list the bucket: 403 AccessDenied",
            "the token needs the right to list this bucket; make a new one with \"Object Read & Write\"",
        ),
        ..Status::default()
    };
    vec![
        ("proven", "The newest backup is fresh and proven.", good),
        ("stale", "The newest backup is 3 days old.", bad),
        (
            "waiting",
            "There is no backup yet, and none was due.",
            waiting,
        ),
        (
            "unknown",
            "It is not known whether there is a fresh backup.",
            unknown,
        ),
    ]
}

/// Where the pictures are left for people who want to look at them.
fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"))
}

#[test]
fn it_can_be_read_by_everybody_in_both_schemes_on_a_desktop_and_on_a_phone() {
    let now: DateTime<Utc> = "2026-11-25T10:00:00Z".parse().unwrap();
    let (folder, browser) = (Folder::new(), Browser::start());
    let setting = |drills| Setting {
        schedule: Schedule::parse("0 3 * * *", Zone::utc(), now).unwrap(),
        max_age: Duration::from_secs(25 * 3600),
        bucket: "vlvt-backups".to_owned(),
        prefix: "vlvt_backup_".to_owned(),
        drills,
    };
    for (name, headline, status) in states(now) {
        let file = folder.path().join(format!("{name}.html"));
        std::fs::write(
            &file,
            page::html(&status, &setting(name == "unknown"), now, "n"),
        )
        .unwrap();
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            for (width, height) in [(1280, 900), (390, 844), (320, 568)] {
                browser.resize(width, height);
                browser.open(&format!("file://{}", file.display()));
                let what = format!("{name} {scheme} {width}");
                assert_eq!(
                    browser.run("return document.querySelector('h1').textContent"),
                    headline
                );
                let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches");
                assert_eq!(dark, scheme == "dark", "{what}");
                // The page is checked as it is at first, and with everything opened.
                for open in [
                    "",
                    "document.querySelectorAll('details').forEach((each) => { each.open = true; });",
                ] {
                    browser.run(open);
                    let verdict = browser.run(include_str!("data/accessibility.js"));
                    let broken = &verdict["broken"];
                    assert_eq!(*broken, serde_json::json!([]), "{what}: {verdict:#}");
                    if open.is_empty() && width > 320 {
                        browser.picture(&picture(&format!("{name}-{scheme}-{width}")));
                    }
                }
            }
        }
    }
}

/// `make pictures` keeps the pictures of all states for the README, on one sheet: what is seen first of each, on a desktop and on a
/// phone, in both schemes.
#[test]
fn the_contact_sheet_shows_every_state() {
    let now: DateTime<Utc> = "2026-11-25T10:00:00Z".parse().unwrap();
    let sheet = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/page.webp");
    if std::env::var_os("WRITE_PICTURES").is_some() {
        let (folder, browser) = (Folder::new(), Browser::start());
        let mut rows = String::new();
        for (name, _, _) in states(now) {
            rows.push_str("<div>");
            for (scheme, width) in [
                ("light", 1280),
                ("light", 390),
                ("dark", 390),
                ("dark", 1280),
            ] {
                let source = picture(&format!("{name}-{scheme}-{width}"));
                assert!(source.exists(), "run the test of the pictures first");
                let class = if width > 1000 { "desktop" } else { "phone" };
                rows.push_str(&format!(
                    "<img class='{class}' src='file://{}'>",
                    source.display()
                ));
            }
            rows.push_str("</div>");
        }
        let file = folder.path().join("sheet.html");
        let style = "body { margin: 0; background: #888; } div { display: flex; gap: 12px; padding: 12px 12px 0; } \
                     img { height: 500px; object-fit: cover; object-position: top; } .desktop { width: 560px; } .phone { width: 225px; }";
        std::fs::write(&file, format!("<style>{style}</style>{rows}")).unwrap();
        browser.resize(1630, 2060);
        browser.open(&format!("file://{}", file.display()));
        browser.picture_as("webp", &sheet);
    }
    let kept = std::fs::metadata(&sheet).unwrap().len();
    assert!((50_000..400_000).contains(&kept), "{kept}");
}

#[test]
fn it_keeps_itself_up_to_date_and_says_how_old_it_is_when_it_cannot() {
    let bucket = bucket();
    let old = Utc::now() - TimeDelta::days(3);
    let old = format!("vlvt_backup_{}.sql.gz", old.format("%Y-%m-%d_%H-%M-%S"));
    seaweedfs().put(&bucket, &old, &[b'x'; 500]);
    let service =
        Service::daemon(&open_to(TOKEN, &bucket, NOWHERE).with("BACKUP_CATCH_UP", "false"));
    service.wait_for_health("stale");
    let browser = Browser::start();
    browser.open(&format!(
        "http://operator:{TOKEN}@127.0.0.1:{}/",
        service.port()
    ));
    // What a browser without scripts does in its place.
    assert_eq!(
        browser.run("return [document.querySelectorAll('head noscript').length, document.querySelector('head noscript').textContent]"),
        serde_json::json!([1, "<meta http-equiv=\"refresh\" content=\"300\">"])
    );
    // A tab that is looked at again asks at once, as it does every minute.
    let looked_at = "document.dispatchEvent(new Event('visibilitychange'))";
    let shown = || {
        browser.run("return [document.querySelector('h1').textContent, document.querySelector('.hero .mark').textContent, document.querySelector('.list details').open, document.activeElement.dataset.copy ?? '', document.getElementById('outdated').textContent, document.title[0]]")
    };
    browser.run(&format!("document.querySelector('.list details').open = true; document.querySelector(\"button[data-copy='backup-0']\").focus(); document.querySelector('h1').textContent = 'of yesterday'; {looked_at}"));
    let fresh = serde_json::json!([
        "The newest backup is 3 days old.",
        "✕",
        true,
        "backup-0",
        "",
        "✕"
    ]);
    wait_until("the page to ask for itself", LIMIT, || {
        (shown() == fresh).then_some(())
    });
    // The buttons that came with it copy like the first ones.
    browser.click("button[data-copy='restore-newest']");
    let copied = wait_until("another text", LIMIT, || {
        pasted(&browser)
            .as_str()
            .map(str::to_owned)
            .filter(|text| !text.is_empty())
    });
    assert!(
        copied.starts_with("postgres-s3-backups restore vlvt_backup_"),
        "{copied}"
    );
    assert_eq!(browser.console(), Vec::<Value>::new());

    service.terminate();
    browser.run(looked_at);
    let aged = wait_until("the page to say that it is old", LIMIT, || {
        let shown = shown();
        (shown[4] != "").then_some(shown)
    });
    let told = aged[4].as_str().unwrap();
    assert!(
        told.starts_with("This page is ") && told.contains(" old: the service does not answer."),
        "{told}"
    );
    assert_eq!((&aged[1], &aged[5]), (&"?".into(), &"?".into()));
    let verdict = browser.run(include_str!("data/accessibility.js"));
    assert_eq!(verdict["broken"], serde_json::json!([]), "{verdict:#}");
}

/// The text that was copied, found out by pasting it.
fn pasted(browser: &Browser) -> Value {
    browser.run("const area = document.createElement('textarea'); area.id = 'pasted'; document.body.append(area); area.focus();");
    browser.press(&["\u{e009}", "v"]);
    browser.run("const area = document.getElementById('pasted'); area.remove(); return area.value;")
}

#[test]
fn the_copy_button_copies_the_command_of_the_log_and_the_page_breaks_no_rule_of_its_own() {
    let bucket = bucket();
    let old = Utc::now() - TimeDelta::days(3);
    let old = format!("vlvt_backup_{}.sql.gz", old.format("%Y-%m-%d_%H-%M-%S"));
    seaweedfs().put(&bucket, &old, &[b'x'; 500]);
    let url = postgres().url("postgres");
    let service = Service::daemon(&open_to(TOKEN, &bucket, &url).with("RUN_ON_STARTUP", "true"));
    let finished = service.wait_for("backup finished");
    service.wait_for_health("ok");
    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&format!(
        "http://operator:{TOKEN}@127.0.0.1:{}/",
        service.port()
    ));
    browser.picture(&picture("real"));
    assert_eq!(
        browser.run("return document.querySelector('h1').textContent"),
        "The newest backup is fresh."
    );
    let verdict = browser.run(include_str!("data/accessibility.js"));
    assert_eq!(verdict["broken"], serde_json::json!([]), "{verdict:#}");
    // With the keyboard, the first stop is the link past the header, and each stop is visible.
    browser.press(&["\u{e004}"]);
    let stop = browser.run("const at = document.activeElement; return [at.textContent, getComputedStyle(at).outlineStyle, at.getBoundingClientRect().width > 20]");
    assert_eq!(
        stop,
        serde_json::json!(["Skip to the status", "solid", true])
    );

    let button = "button[data-copy='restore-newest']";
    // The link past the header takes its room back when it loses the focus, and would move the button away under the pointer.
    browser.run("document.activeElement.blur()");
    browser.click(button);
    let words = || {
        browser.run(&format!("return [document.querySelector(\"{button}\").textContent, document.getElementById('copied').textContent]"))
    };
    wait_until("the word of the button", LIMIT, || {
        (words()[0] == "Copied").then_some(())
    });
    assert_eq!(words()[1], "The command was copied.");
    assert_eq!(pasted(&browser), finished["restore"]);
    // The second entry of the list is the older backup. It can be copied with the keyboard too.
    browser.run("document.querySelector(\"button[data-copy='backup-1']\").focus()");
    browser.press(&["\u{e007}"]);
    let second = wait_until("another text", LIMIT, || {
        Some(pasted(&browser)).filter(|text| *text != finished["restore"])
    });
    let name = finished["name"].as_str().unwrap();
    let expected = finished["restore"].as_str().unwrap().replace(name, &old);
    assert_eq!(second, expected);
    // A browser may have no clipboard to write to, for example over plain http.
    browser.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})");
    browser.click(button);
    let third = wait_until("another text", LIMIT, || {
        Some(pasted(&browser)).filter(|text| *text != second)
    });
    assert_eq!(third, finished["restore"]);
    // The page requested nothing from other hosts, and its own policy refused nothing.
    let asked =
        browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)");
    assert_eq!(asked, serde_json::json!([]));
    assert_eq!(browser.console(), Vec::<Value>::new());

    // Without scripts there are no buttons that do nothing, and the command can be selected. The browser's driver uses a
    // script of its own to notice the end of loading, so scripts can be on again before the page's script is read. In that
    // case the page is loaded once more.
    let without_scripts = |disabled: bool| {
        browser.devtools(
            "Emulation.setScriptExecutionDisabled",
            &serde_json::json!({ "value": disabled }),
        );
    };
    wait_until("a page without scripts", LIMIT, || {
        without_scripts(true);
        browser.open(&format!(
            "http://operator:{TOKEN}@127.0.0.1:{}/",
            service.port()
        ));
        without_scripts(false);
        let bare = browser.run("return [document.querySelectorAll('button:not([hidden])').length, getComputedStyle(document.getElementById('restore-newest')).userSelect]");
        (bare == serde_json::json!([0, "auto"])).then_some(())
    });
    service.terminate();
}
