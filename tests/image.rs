//! The image, run as its users run it. `make image-test` builds it and starts these tests. The containers share the
//! machine's network, so that they reach the servers of the tests on 127.0.0.1.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    reason = "tests fail by panicking, read their own environment and say what they measured"
)]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use common::postgres::Postgres;
use common::process::{Folder, LIMIT, Process, random, tools, wait_until};
use common::seaweedfs::SeaweedFs;
use common::service::{Ended, Service, Variables};
use common::unique;
use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/container.sh");
const PROGRAM: &str = "/usr/local/bin/postgres-s3-backups";

/// The options with which every image should be run. The image does not need them, but must work with them.
const HARDENED: [&str; 3] = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
];

/// A store without TLS: no container has the file of the tests' authority.
fn seaweedfs() -> &'static SeaweedFs {
    static SERVER: OnceLock<SeaweedFs> = OnceLock::new();
    SERVER.get_or_init(SeaweedFs::start_plain)
}

/// A database server without TLS, for the same reason.
fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start_plain(17, &[("max_connections", "100")]))
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn image() -> String {
    variable("PSB_IMAGE", "postgres-s3-backups:local")
}

fn image_with_server() -> String {
    variable(
        "PSB_IMAGE_WITH_SERVER",
        "postgres-s3-backups:local-with-server",
    )
}

/// Runs a command of the engine, which may fail.
fn try_engine(arguments: &[&str]) -> std::process::Output {
    Command::new(SCRIPT)
        .arg("engine")
        .args(arguments)
        .output()
        .unwrap()
}

fn engine(arguments: &[&str]) -> String {
    let output = try_engine(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn inspect(what: &str) -> Value {
    let mut found: Value = serde_json::from_str(&engine(&["inspect", what])).unwrap();
    found[0].take()
}

fn podman() -> bool {
    let output = Command::new(SCRIPT).arg("kind").output().unwrap();
    output.stdout == b"podman\n"
}

/// A container in the foreground.
struct Container {
    service: Service,
    name: Name,
}

/// Removes the container when it is dropped. If this process is killed, `tests/image.sh` does that.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        drop(try_engine(&["rm", "--force", &self.0]));
    }
}

impl Container {
    fn start(variables: &Variables, options: &[&str], arguments: &[&str]) -> Self {
        Self::start_image(&image(), variables, options, arguments)
    }

    fn start_image(
        image: &str,
        variables: &Variables,
        options: &[&str],
        arguments: &[&str],
    ) -> Self {
        let name = Name(unique("psb-image-test"));
        let mut command = Process::command("/usr/bin/env");
        for kept in ["PSB_ENGINE", "PSB_IMAGES", "DOCKER_HOST", "HOME"] {
            if let Ok(value) = std::env::var(kept) {
                command.arg(format!("{kept}={value}"));
            }
        }
        command.args([SCRIPT, "run", "--rm", "--name", &name.0, "--label"]);
        command.arg(format!("psb-image-test={}", variable("PSB_IMAGE_TEST", "")));
        // Only the names are passed. The engine takes the values from the environment, so that no secret is in a command
        // line.
        for variable in variables.names().filter(|variable| *variable != "PATH") {
            command.args(["-e", variable]);
        }
        command.args(options).arg(image);
        Self {
            service: Service::start_by(command, variables, arguments),
            name,
        }
    }

    fn signal(&self, signal: &str) {
        engine(&["kill", "--signal", signal, &self.name.0]);
    }

    /// The exit code and output of a program started in the container.
    fn exec(&self, command: &[&str]) -> (Option<i32>, String) {
        let output = try_engine(&[&["exec", &self.name.0], command].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    /// Waits for its end.
    fn finish(self) -> Ended {
        self.finish_within(Duration::from_secs(300))
    }

    fn finish_within(self, limit: Duration) -> Ended {
        self.service.end(limit)
    }
}

fn bucket(what: &str) -> String {
    let bucket = unique(what);
    seaweedfs().create_bucket(&bucket);
    bucket
}

fn variables(bucket: &str, database: &str) -> Variables {
    Variables::working(seaweedfs(), bucket, &postgres().url(database)).without("SSL_CERT_FILE")
}

/// A database whose dump waits for a lock, so that it takes as long as a test wants.
struct Locked {
    name: String,
    session: std::process::Child,
}

impl Locked {
    fn new() -> Self {
        let name = unique("locked").replace('-', "_");
        postgres().create_database(&name, "");
        postgres().psql(&name, "CREATE TABLE t AS SELECT 1 AS a");
        let mut command = Command::new(Postgres::bin(17).join("psql"));
        command.args(["-Xqd", &postgres().url(&name), "-c"]);
        command.arg("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)");
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let session = command.spawn().unwrap();
        postgres().wait_for(&name, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 't'::regclass", "1");
        Self { name, session }
    }

    fn sessions(&self, state: &str) -> String {
        postgres().psql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-s3-backups' AND datname = '{}' AND {state}", self.name))
    }

    fn wait_for_dump(&self) {
        wait_until("the dump", LIMIT, || {
            (self.sessions("wait_event_type = 'Lock'") == "1").then_some(())
        });
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        postgres().psql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'BEGIN; LOCK%'", self.name));
        drop(self.session.kill());
        drop(self.session.wait());
    }
}

/// A database of many kinds of rows.
fn sample() -> String {
    let name = unique("sample").replace('-', "_");
    postgres().create_database(&name, "");
    postgres().psql(&name, "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS text, now() AS at FROM generate_series(1, 20000) g");
    name
}

/// Makes a backup with the command `backup`, in a container with these options. It must succeed.
fn backs_up(options: &[&str]) {
    let database = sample();
    let bucket = bucket("options");
    let container = Container::start(&variables(&bucket, &database), options, &["backup"]);
    let ended = container.finish();
    assert_eq!(ended.code(), Some(0), "{options:?}: {}", ended.text());
    assert_eq!(ended.event("backup finished")["rows"], 20000);
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
}

#[test]
#[ignore = "needs the image: make image-test"]
fn the_image_says_what_it_is_and_runs_as_nobody() {
    for name in [image(), image_with_server()] {
        let found = inspect(&name);
        let config = &found["Config"];
        let labels = &config["Labels"];
        assert_eq!(
            labels["org.opencontainers.image.version"],
            env!("CARGO_PKG_VERSION")
        );
        for label in ["title", "description", "licenses", "revision"] {
            let text = labels[format!("org.opencontainers.image.{label}")].as_str();
            assert!(
                text.is_some_and(|text| !text.is_empty()),
                "{label}: {labels}"
            );
        }
        assert_eq!(config["User"], "65532:65532");
        let entry = serde_json::json!(["/usr/bin/tini", "-s", "--", PROGRAM]);
        assert_eq!(config["Entrypoint"], entry);
        let check = config["Healthcheck"]
            .as_object()
            .or_else(|| found["Healthcheck"].as_object())
            .unwrap_or_else(|| panic!("no health check: {found}"));
        assert_eq!(check["Test"], serde_json::json!(["CMD", PROGRAM, "health"]));
    }
}

/// Every path in an image, without a slash at the beginning.
fn paths(image: &str) -> BTreeSet<String> {
    let name = unique("psb-image-test");
    engine(&["create", "--name", &name, image]);
    let folder = Folder::new();
    let archive = folder.path().join("image.tar");
    engine(&["export", "--output", archive.to_str().unwrap(), &name]);
    engine(&["rm", &name]);
    let listed = Command::new("tar")
        .arg("tf")
        .arg(&archive)
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the image: make image-test"]
fn there_is_nothing_in_it_that_a_backup_does_not_need() {
    let paths = paths(&image());
    let programs: Vec<&str> = paths
        .iter()
        .map(String::as_str)
        .filter(|path| path.contains("bin/") && !path.ends_with('/'))
        .collect();
    for program in &programs {
        let known = [
            "usr/bin/tini",
            "usr/local/bin/postgres-s3-backups",
            "/pg_dump",
            "/pg_dumpall",
            "usr/bin/sh",
            "/pg_restore",
            "/psql",
        ];
        assert!(known.iter().any(|end| program.ends_with(end)), "{program}");
    }
    assert!(programs.len() >= 5, "{programs:?}");
    for gone in ["perl", "var/lib/apt", "usr/share/man", "locale"] {
        let found = paths.iter().find(|path| path.contains(gone));
        assert_eq!(found, None, "{gone}");
    }
    // Scanners read these files in an image that has no package manager.
    for package in [
        "libc6",
        "libssl3t64",
        "libpq5",
        "libisal2",
        "ca-certificates",
        "tini",
    ] {
        let entry = format!("var/lib/dpkg/status.d/{package}");
        assert!(paths.contains(&entry), "{entry} in {paths:?}");
    }
}

#[test]
#[ignore = "needs the image: make image-test"]
fn the_daemon_backs_up_answers_and_stops_when_told() {
    let database = sample();
    let bucket = bucket("daemon");
    let variables = variables(&bucket, &database)
        .with("RUN_ON_STARTUP", "true")
        .with("BACKUP_GLOBALS", "true");
    let container = Container::start(&variables, &HARDENED, &[]);
    container.service.wait_for("backup finished");
    container.service.wait_for("globals stored");
    // The program with the name of a shell is not a shell.
    assert_eq!(container.exec(&["/bin/sh", "-c", "id"]).0, Some(127));
    let (status, health) = container.service.wait_for_health("ok");
    assert_eq!(status, 200);
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(container.service.get("/live").0, 200);
    assert_eq!(seaweedfs().list(&bucket).len(), 2);

    // HEALTHCHECK runs this command. It can fail: nobody answers on port 1.
    let check = [PROGRAM, "health"];
    assert_eq!(container.exec(&check).0, Some(0));
    // The page calls the program by its name alone.
    let (code, list) = container.exec(&["postgres-s3-backups", "list"]);
    assert!(code == Some(0) && list.contains(".sql.gz"), "{list}");
    let port = ["exec", "--env", "PORT=1", &container.name.0];
    let elsewhere = try_engine(&[&port[..], &check].concat());
    assert_eq!(elsewhere.status.code(), Some(1));

    container.signal("TERM");
    let ended = container.finish_within(Duration::from_secs(30));
    let took = stopping(&ended);
    assert!(took < Duration::from_secs(5), "{took:?}: {}", ended.text());
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

#[test]
#[ignore = "needs the image: make image-test"]
fn the_object_restores() {
    let database = sample();
    let bucket = bucket("restores");
    let ended = Container::start(&variables(&bucket, &database), &HARDENED, &["backup"]).finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let folder = Folder::new();
    let file = folder.path().join("backup.sql.gz");
    let key = &seaweedfs().list(&bucket)[0].0;
    std::fs::write(&file, seaweedfs().get(&bucket, key)).unwrap();
    let unpacked = Command::new("gunzip").arg(&file).status().unwrap();
    assert!(unpacked.success());
    let restored = format!("{database}_restored");
    postgres().create_database(&restored, "");
    postgres().psql_file(&restored, folder.path().join("backup.sql"));
    assert_eq!(postgres().digest(&database), postgres().digest(&restored));
}

/// The time from the arrival of the signal to the last line. On a busy machine, the engine itself takes seconds to deliver a
/// signal and to report the end.
fn stopping(ended: &Ended) -> Duration {
    let at = |message: &str| {
        let event = ended.event(message);
        let text = event["timestamp"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(text).unwrap()
    };
    (at("stopped") - at("shutting down")).to_std().unwrap()
}

/// Sends SIGTERM during a dump: with the image's init, with the daemon as process 1, and with the engine's init before both.
fn stopped_in_a_run(options: &[&str]) {
    let locked = Locked::new();
    let bucket = bucket("stop");
    let variables = variables(&bucket, &locked.name).with("RUN_ON_STARTUP", "true");
    let container = Container::start(&variables, &[&HARDENED, options].concat(), &[]);
    locked.wait_for_dump();
    assert_eq!(seaweedfs().backups_begun(&bucket), 1, "the upload is begun");
    container.signal("TERM");
    let ended = container.finish_within(Duration::from_secs(30));
    let took = stopping(&ended);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(took < Duration::from_secs(5), "{took:?}: {}", ended.text());
    assert_eq!(ended.event("backup cancelled")["kind"], "cancelled");
    assert_eq!(seaweedfs().uploads(&bucket), [], "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket), []);
    eprintln!("SIGTERM in a run, {options:?}: ended after {took:.1?}");
}

#[test]
#[ignore = "needs the image: make image-test"]
fn sigterm_in_a_run_aborts_it() {
    stopped_in_a_run(&[]);
}

#[test]
#[ignore = "needs the image: make image-test"]
fn sigterm_reaches_the_daemon_without_an_init() {
    stopped_in_a_run(&["--entrypoint", PROGRAM]);
}

#[test]
#[ignore = "needs the image: make image-test"]
fn sigterm_reaches_the_daemon_behind_another_init() {
    stopped_in_a_run(&["--init"]);
}

#[test]
#[ignore = "needs the image: make image-test"]
fn sigkill_leaves_no_object_and_no_process() {
    let locked = Locked::new();
    let bucket = bucket("kill");
    let container = Container::start(&variables(&bucket, &locked.name), &HARDENED, &["backup"]);
    locked.wait_for_dump();
    container.signal("KILL");
    let ended = container.finish_within(LIMIT);
    assert_eq!(ended.code(), Some(137), "{}", ended.text());
    assert_eq!(seaweedfs().list(&bucket), []);
    assert_eq!(
        seaweedfs().uploads(&bucket).len(),
        1,
        "nobody could abort it"
    );
    // pg_dump ended with its container. Its session ends when the lock that it waits for is released, or earlier.
    let dumps = common::service::processes_with("--lock-wait-timeout");
    let of_it = dumps.into_iter().filter(|id| {
        std::fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains(&locked.name))
    });
    assert_eq!(of_it.count(), 0);
}

/// The state of each process in a container. The image has no program for this, so a shell of this machine is made available
/// in it.
fn states(container: &Container) -> Vec<String> {
    let script = "for file in /proc/[0-9]*/stat; do read -r line <$file && echo \"$line\"; done";
    let (code, text) = container.exec(&["/lent-shell", "-c", script]);
    assert_eq!(code, Some(0), "{text}");
    let lines = text.lines().filter(|line| !line.contains("(lent-shell)"));
    lines
        .map(|line| {
            let (name, rest) = line.rsplit_once(") ").unwrap();
            let name = name.split_once('(').unwrap().1;
            format!("{name} {}", rest.split(' ').next().unwrap())
        })
        .collect()
}

fn orphan(entrypoint: &[&str]) -> (Container, Vec<String>) {
    let shell = std::fs::canonicalize("/usr/bin/dash").unwrap();
    let lent = format!("{}:/lent-shell:ro", shell.display());
    let bucket = bucket("orphan");
    let options = [&HARDENED[..], &["-v", &lent], entrypoint].concat();
    let container = Container::start(&variables(&bucket, "postgres"), &options, &[]);
    container.service.wait_for("next backup");
    // It ends after its parent, so process 1 inherits it.
    let script = format!("{PROGRAM} --version >/dev/null & exit 0");
    assert_eq!(container.exec(&["/lent-shell", "-c", &script]).0, Some(0));
    wait_until("the end of the orphan", LIMIT, || {
        let states = states(&container);
        let alive = states
            .iter()
            .filter(|state| state.starts_with("postgres-s3-bac ") && !state.ends_with('Z'));
        (alive.count() == 1).then_some(())
    });
    let left = states(&container);
    (container, left)
}

#[test]
#[ignore = "needs the image: make image-test"]
fn orphans_are_reaped_by_the_image_s_init() {
    let (container, _) = orphan(&[]);
    wait_until("no zombie", LIMIT, || {
        let zombies = states(&container)
            .into_iter()
            .filter(|state| state.ends_with('Z'));
        (zombies.count() == 0).then_some(())
    });
}

/// Shows what the init is for, and proves that the test above would notice a zombie.
#[test]
#[ignore = "needs the image: make image-test"]
fn without_an_init_an_orphan_stays_a_zombie() {
    let (_container, left) = orphan(&["--entrypoint", PROGRAM]);
    assert!(left.iter().any(|state| state.ends_with('Z')), "{left:?}");
}

#[test]
#[ignore = "needs the image: make image-test"]
fn it_works_with_nothing_but_its_rights() {
    backs_up(&HARDENED);
}

#[test]
#[ignore = "needs the image: make image-test"]
fn it_works_as_a_user_that_nobody_has_heard_of() {
    // Podman would add an entry for the user.
    let unknown: &[&str] = if podman() { &["--passwd=false"] } else { &[] };
    for user in ["12345:0", "1000700000:1000700000", "0:0"] {
        backs_up(&[&HARDENED[..], &["--user", user], unknown].concat());
    }
}

#[test]
#[ignore = "needs the image: make image-test"]
fn it_works_without_any_account() {
    // An empty file replaces the list of accounts.
    let folder = Folder::new();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let passwd = format!("{}:/etc/passwd:ro", empty.display());
    backs_up(&[&HARDENED[..], &["-v", &passwd]].concat());
}

#[test]
#[ignore = "needs the image: make image-test"]
fn secrets_come_from_files() {
    let database = sample();
    let bucket = bucket("files");
    let folder = Folder::new();
    let working = variables(&bucket, &database);
    let mut with_files = working.clone();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "BACKUP_DATABASE_URL",
    ] {
        std::fs::write(folder.path().join(name), working.value(name)).unwrap();
        with_files = with_files
            .without(name)
            .with(&format!("{name}_FILE"), &format!("/secrets/{name}"));
    }
    let mount = format!("{}:/secrets:ro", folder.path().display());
    let options = [&HARDENED[..], &["-v", &mount]].concat();
    let ended = Container::start(&with_files, &options, &["backup"]).finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

/// The commands of the pages, with this image in place of a release: `docker run` with a file of variables, and what Railway
/// does with a start command.
#[test]
#[ignore = "needs the image: make image-test"]
fn the_commands_of_the_pages_do_what_they_say() {
    let database = sample();
    let before = postgres().digest(&database);
    let url = postgres().url(&database);
    let bucket = bucket("pages");
    let working = variables(&bucket, &database);
    let ended = Container::start(&working, &HARDENED, &["backup"]).finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());

    let folder = Folder::new();
    let file = folder.path().join(".env");
    let names = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_S3_BUCKET",
        "AWS_S3_ENDPOINT",
        "BACKUP_DATABASE_URL",
    ];
    let lines = names.map(|name| format!("{name}={}\n", working.value(name)));
    std::fs::write(&file, lines.concat()).unwrap();
    let docker = folder.path().join("docker");
    let script = format!(
        "#!/bin/bash\nshift\nexec {SCRIPT} run \"${{@/#ghcr.io*/{}}}\"\n",
        image().replace('/', "\\/")
    );
    std::fs::write(&docker, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&docker, executable).unwrap();
    let path = format!(
        "{}:{}",
        folder.path().display(),
        variable("PATH", "/usr/bin:/bin")
    );
    let run = |command: &str| {
        let output = Command::new("/bin/bash")
            .args(["-euc", command])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("RESTORE_DATABASE_URL", &url)
            .env("BACKUP_DATABASE_URL", &url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        if command.contains("--create=restored") {
            assert_eq!(postgres().digest("restored"), before, "{command}");
            postgres().psql("postgres", "DROP DATABASE restored");
        }
    };
    let mut seen = BTreeSet::new();
    for page in ["README.md", "docs/container.md", "docs/railway.md"] {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for line in text.lines().map(str::trim) {
            // There is nothing under the prefix of Railway's template here.
            if line.starts_with("docker run --rm ")
                && !line.contains("BACKUP_FILE_PREFIX")
                && seen.insert(line.to_owned())
            {
                run(line);
            }
            if let Some((_, start)) = line.split_once(&format!("| `{PROGRAM} ")) {
                let arguments = start.trim_end_matches("` |");
                run(&format!(
                    "docker run --rm --entrypoint {PROGRAM} --env-file .env -e RESTORE_DATABASE_URL ghcr.io {arguments}"
                ));
                assert!(seen.insert(arguments.to_owned()));
            }
        }
    }
    assert!(seen.len() > 8, "{seen:?}");
    // The last command replaced the old database with the restored one.
    assert_eq!(postgres().digest(&database), before);
    let kept =
        format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{database}\\_before\\_%'");
    assert_eq!(postgres().psql("postgres", &kept), "1");
}

#[test]
#[ignore = "needs the image: make image-test"]
fn a_wrong_configuration_ends_it_with_2() {
    let none = Variables::bare(&[]);
    let ended = Container::start(&none, &HARDENED, &[]).finish();
    assert_eq!(ended.code(), Some(2), "{}", ended.text());
    assert!(ended.text().contains("AWS_S3_BUCKET"));
}

/// Backs up far more data than there is memory. The size of the database is in MiB.
#[test]
#[ignore = "needs the image: make image-test"]
fn a_large_database_fits_through_64_mib_of_memory() {
    let mebibytes: u64 = variable("PSB_IMAGE_TEST_MIB", "2048").parse().unwrap();
    let database = unique("large").replace('-', "_");
    postgres().create_database(&database, "");
    // A row has 6 * 32 bytes and a header: 4,700 rows are a MiB.
    let rows = mebibytes * 4_700;
    postgres().psql(&database, &format!("CREATE UNLOGGED TABLE large AS SELECT g AS id, repeat(md5(g::text), 6) AS text FROM generate_series(1, {rows}) g"));
    let size: u64 = postgres()
        .psql(
            "postgres",
            &format!("SELECT pg_database_size('{database}')"),
        )
        .parse()
        .unwrap();
    assert!(size >= mebibytes * 1024 * 1024, "{size}");
    let bucket = bucket("large");
    let shell = std::fs::canonicalize("/usr/bin/dash").unwrap();
    let lent = format!("{}:/lent-shell:ro", shell.display());
    let options = [
        &HARDENED[..],
        &["--memory", "64m", "--memory-swap", "64m", "-v", &lent],
    ]
    .concat();
    let variables = variables(&bucket, &database).with("RUN_ON_STARTUP", "true");
    let container = Container::start(&variables, &options, &[]);
    let finished = wait_until("the end of the run", Duration::from_secs(600), || {
        let failed = container.service.events("backup failed");
        assert!(failed.is_empty(), "{failed:?}");
        container
            .service
            .events("backup finished")
            .into_iter()
            .next()
    });
    assert_eq!(finished["rows"], rows);
    let script = r#"for process in /proc/[0-9]*; do
        name= peak=
        while read -r key value unit; do
            case $key in Name:) name=$value ;; VmHWM:) peak="$value $unit" ;; esac
        done <"$process/status"
        [ "$name" != postgres-s3-bac ] || echo "$peak"
    done"#;
    let (_, peak) = container.exec(&["/lent-shell", "-c", script]);
    let state = inspect(&container.name.0);
    assert_eq!(state["State"]["OOMKilled"], false);
    eprintln!(
        "{} MiB of database through 64 MiB of memory: {} s, daemon's peak {}, object {} bytes",
        size / 1024 / 1024,
        finished["duration_seconds"],
        peak.trim(),
        finished["size_bytes"]
    );
    container.signal("TERM");
    assert_eq!(container.finish().code(), Some(0));
    postgres().psql("postgres", &format!("DROP DATABASE {database}"));
}

/// A scheduler starts two containers in the same second of their clock: both dump, one object is stored, and neither fails.
#[test]
#[ignore = "needs the image: make image-test"]
fn two_single_shots_of_one_second_commit_once() {
    let locked = Locked::new();
    let bucket = bucket("twins");
    let library = tools(&["faketime"]).join("faketime/libfaketime.so.1");
    let library = format!("{}:/libfaketime.so.1:ro", library.display());
    let now = Command::new("date")
        .args(["-u", "+%F %T"])
        .output()
        .unwrap();
    let now = String::from_utf8(now.stdout).unwrap();
    // The clock stands still, so that both begin in the same second, however slowly they start.
    let stopped_clock = format!("FAKETIME={}", now.trim());
    let variables = variables(&bucket, &locked.name).with("SINGLE_SHOT_MODE", "true");
    let faked = [
        "-v",
        &library,
        "-e",
        "LD_PRELOAD=/libfaketime.so.1",
        "-e",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "-e",
        &stopped_clock,
    ];
    let options = [&HARDENED[..], &faked].concat();
    let twins = [(); 2].map(|()| Container::start(&variables, &options, &[]));
    wait_until("both dumps", LIMIT, || {
        (locked.sessions("wait_event_type = 'Lock'") == "2").then_some(())
    });
    drop(locked);
    let ended = twins.map(Container::finish);
    for one in &ended {
        assert_eq!(one.code(), Some(0), "{}", one.text());
    }
    let finished: usize = ended
        .iter()
        .map(|one| one.events("backup finished").len())
        .sum();
    assert_eq!(finished, 1, "{}\n{}", ended[0].text(), ended[1].text());
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
    assert_eq!(seaweedfs().uploads(&bucket), []);
}

/// A network without IPv4, as private networks can be. It has its own addresses, and its own server for names.
struct Ipv6Only {
    space: String,
    link: String,
    host: Ipv6Addr,
    guest: Ipv6Addr,
}

impl Ipv6Only {
    fn new() -> Self {
        let number = random();
        let [.., a, b, c, d] = number.to_be_bytes();
        let segment = |left: u8, right: u8| u16::from_be_bytes([left, right]);
        let address = |last| Ipv6Addr::new(0xfd5b, segment(a, b), segment(c, d), 0, 0, 0, 0, last);
        let network = Self {
            space: format!("psb-{:08x}", number & 0xffff_ffff),
            link: format!("psb{:08x}", number & 0xffff_ffff),
            host: address(1),
            guest: address(2),
        };
        let Self { space, link, .. } = &network;
        let peer = format!("{link}p");
        ip(&["netns", "add", space]);
        ip(&["link", "add", link, "type", "veth", "peer", "name", &peer]);
        ip(&["link", "set", &peer, "netns", space]);
        let host = format!("{}/64", network.host);
        let guest = format!("{}/64", network.guest);
        ip(&["-6", "addr", "add", &host, "dev", link, "nodad"]);
        ip(&["link", "set", link, "up"]);
        ip(&[
            "-n", space, "-6", "addr", "add", &guest, "dev", &peer, "nodad",
        ]);
        ip(&["-n", space, "link", "set", &peer, "up"]);
        ip(&["-n", space, "link", "set", "lo", "up"]);
        ip(&["-n", space, "-4", "addr", "flush", "dev", "lo"]);
        network
    }

    /// Accepts connections on the host's side, and passes them on to a port of 127.0.0.1.
    fn forward(&self, port: u16) {
        let listener = TcpListener::bind((self.host, port)).unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        drop(std::io::copy(&mut from, &mut to));
                        drop(to.shutdown(std::net::Shutdown::Write));
                    });
                }
            }
        });
    }

    /// Answers every question for an IPv6 address with the host's address, and every other question with nothing.
    fn serve_names(&self) {
        let socket = UdpSocket::bind((self.host, 53)).unwrap();
        let address = self.host.octets();
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                // The header has 12 bytes. The name ends with an empty label, and the type follows it.
                let name = packet[12..length]
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap();
                let question = 12 + name + 5;
                let wants_ipv6 = packet[12 + name + 1..12 + name + 3] == [0, 28];
                let mut answer = packet[..question].to_vec();
                answer[2..12].copy_from_slice(&[
                    0x81,
                    0x80,
                    0,
                    1,
                    0,
                    u8::from(wants_ipv6),
                    0,
                    0,
                    0,
                    0,
                ]);
                if wants_ipv6 {
                    answer.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
                    answer.extend(address);
                }
                drop(socket.send_to(&answer, client));
            }
        });
    }
}

impl Drop for Ipv6Only {
    fn drop(&mut self) {
        drop(
            Command::new("ip")
                .args(["link", "delete", &self.link])
                .output(),
        );
        drop(
            Command::new("ip")
                .args(["netns", "delete", &self.space])
                .output(),
        );
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {said}");
}

#[test]
#[ignore = "needs the image: make image-test"]
fn it_works_where_there_is_no_ipv4() {
    if !podman() {
        eprintln!("not run: joining a network made by hand needs podman");
        return;
    }
    let network = Ipv6Only::new();
    let store = seaweedfs().endpoint.rsplit_once(':').unwrap().1;
    network.forward(postgres().port());
    network.forward(store.parse().unwrap());
    network.serve_names();
    let database = sample();
    let bucket = bucket("ipv6");
    let url = postgres().url(&database);
    assert!(url.contains("127.0.0.1"), "{url}");
    let variables = variables(&bucket, &database)
        .with(
            "BACKUP_DATABASE_URL",
            &url.replace("127.0.0.1", "postgres.railway.internal"),
        )
        .with(
            "AWS_S3_ENDPOINT",
            &format!("http://store.railway.internal:{store}"),
        )
        .with("RUN_ON_STARTUP", "true");
    let space = format!("ns:/run/netns/{}", network.space);
    let names = format!("{}", network.host);
    let options = [&HARDENED[..], &["--network", &space, "--dns", &names]].concat();
    let container = Container::start(&variables, &options, &[]);
    container.service.wait_for("backup finished");
    assert_eq!(seaweedfs().list(&bucket).len(), 1);
    let address = SocketAddr::from((network.guest, container.service.port()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(container.exec(&[PROGRAM, "health"]).0, Some(0));
}

/// A server inside the container, started by hand in the way that the program does for a drill.
#[test]
#[ignore = "needs the image: make image-test"]
fn the_larger_image_runs_a_server_of_its_own() {
    let script = r#"
        set -eu
        PATH=$(echo /usr/lib/postgresql/*/bin/initdb); PATH=${PATH%/initdb}
        if ! [ "$1" = known ]; then
            echo "postgres:x:$1:0::/tmp:/bin/sh" >/tmp/passwd
            export LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD=/tmp/passwd NSS_WRAPPER_GROUP=/etc/group
        fi
        initdb -D /tmp/data -U postgres -A trust -E UTF8 --no-locale --no-sync >/tmp/initdb.log
        pg_ctl -D /tmp/data -s -w -l /tmp/server.log -o "-k /tmp -c listen_addresses=" start
        export PGHOST=/tmp PGUSER=postgres PGDATABASE=postgres
        for name in vector pg_trgm hstore uuid-ossp pgcrypto postgres_fdw pg_stat_statements; do psql -Xqc "CREATE EXTENSION \"$name\""; done
        psql -XAtc "SELECT '2026-07-01 12:00+00'::timestamptz AT TIME ZONE 'Europe/Berlin', '[1,2]'::vector <-> '[1,3]', 'ä' < 'b' COLLATE \"de-x-icu\""
        psql -XAtc "SELECT sum(g) FROM generate_series(1, 3000000) g"
        pg_ctl -D /tmp/data -s -m immediate stop
    "#;
    for user in ["known", "12345"] {
        let owner = if user == "known" { "65532" } else { user };
        let mut options = [
            &HARDENED[..],
            &[
                "--user",
                owner,
                "--tmpfs",
                "/tmp:rw,mode=1777",
                "--entrypoint",
                "/bin/sh",
            ],
        ]
        .concat();
        if podman() {
            options.push("--passwd=false");
        }
        let container = Container::start_image(
            &image_with_server(),
            &Variables::bare(&[]),
            &options,
            &["-c", script, "server", user],
        );
        let ended = container.finish();
        assert_eq!(ended.code(), Some(0), "{user}: {}", ended.text());
        assert!(
            ended
                .text()
                .contains("2026-07-01 14:00:00|1|t\n4500001500000"),
            "{}",
            ended.text()
        );
    }
}

/// The larger image makes a backup, and proves it on a server inside the container.
#[test]
#[ignore = "needs the image: make image-test"]
fn the_larger_image_proves_a_backup_by_restoring_it() {
    let database = sample();
    // The restore runs this code, which reports what it can reach of the service beside it.
    postgres().psql(&database, "CREATE FUNCTION public.ok(i int) RETURNS boolean LANGUAGE plpgsql AS $ok$
        BEGIN
            BEGIN PERFORM pg_catalog.pg_read_file('/proc/1/environ'); RAISE WARNING 'REACHED process 1'; EXCEPTION WHEN OTHERS THEN RAISE WARNING 'kept from process 1: %', sqlerrm; END;
            BEGIN PERFORM pg_catalog.pg_ls_dir('/proc'); RAISE WARNING 'REACHED /proc'; EXCEPTION WHEN OTHERS THEN RAISE WARNING 'kept from /proc: %', sqlerrm; END;
            BEGIN COPY (SELECT 1) TO PROGRAM 'cat > /tmp/written'; RAISE WARNING 'REACHED /tmp'; EXCEPTION WHEN OTHERS THEN RAISE WARNING 'kept from /tmp: %', sqlerrm; END;
            RETURN true;
        END $ok$;
        CREATE TABLE c (i int); INSERT INTO c VALUES (1); ALTER TABLE c ADD CHECK (public.ok(i)) NOT VALID;
        UPDATE pg_constraint SET convalidated = true WHERE conrelid = 'c'::regclass");
    let bucket = bucket("larger");
    let variables = variables(&bucket, &database);
    let is_confined = |ended: &Ended| {
        let text = ended.text();
        assert!(!text.contains("REACHED"), "{text}");
        for place in ["process 1", "/proc", "/tmp"] {
            assert!(
                text.contains(&format!("kept from {place}")),
                "{place}: {text}"
            );
        }
    };
    let run = |options: &[&str], arguments: &[&str]| {
        let options = [&HARDENED[..], &["--tmpfs", "/tmp:rw,mode=1777"], options].concat();
        Container::start_image(&image_with_server(), &variables, &options, arguments).finish()
    };
    let ended = run(&[], &["backup"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let prove = ["verify", "latest", "--into", "embedded"];
    let ended = run(&[], &prove);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    is_confined(&ended);
    // PostgreSQL asks for the name of its user, but platforms start containers as users without a name.
    if podman() {
        let ended = run(&["--user", "12345:0", "--passwd=false"], &prove);
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        is_confined(&ended);
    }
}
