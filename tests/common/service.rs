//! The real program, its variables and its log.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::authority;
use super::postgres::Postgres;
use super::process::{LIMIT, Process, free_port, wait_until};
use super::r2::R2;
use super::seaweedfs::SeaweedFs;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_postgres-s3-backups");

/// The variables of one start. The environment holds nothing else.
#[derive(Debug, Clone)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Only a PATH, with the clients of these major versions.
    pub fn bare(majors: &[u16]) -> Self {
        let mut folders: Vec<String> = majors
            .iter()
            .map(|major| Postgres::bin(*major).display().to_string())
            .collect();
        folders.push("/usr/bin:/bin".to_owned());
        Self(BTreeMap::from([("PATH".to_owned(), folders.join(":"))]))
    }

    /// The variables of a working service, with this bucket of this store, this database, and the clients of 14 to 18.
    pub fn working(store: &SeaweedFs, bucket: &str, database_url: &str) -> Self {
        Self::bare(&[14, 15, 16, 17, 18])
            .with("AWS_ACCESS_KEY_ID", store.access_key)
            .with("AWS_SECRET_ACCESS_KEY", store.secret_key)
            .with("AWS_S3_BUCKET", bucket)
            .with("AWS_S3_ENDPOINT", &store.endpoint)
            .with("SSL_CERT_FILE", &authority())
            .with("BACKUP_DATABASE_URL", database_url)
            .with("BACKUP_RETRIES", "0")
            .with("PORT", &free_port().to_string())
    }

    /// The variables of a working service with the strict server.
    pub fn on_r2(store: &R2, database_url: &str) -> Self {
        Self::bare(&[17])
            .with("AWS_ACCESS_KEY_ID", &store.access_key)
            .with("AWS_SECRET_ACCESS_KEY", &store.secret_key)
            .with("AWS_S3_BUCKET", store.bucket)
            .with("AWS_S3_ENDPOINT", &store.endpoint)
            .with("SSL_CERT_FILE", &authority())
            .with("BACKUP_DATABASE_URL", database_url)
            .with("BACKUP_RETRIES", "0")
            .with("PORT", &free_port().to_string())
    }

    /// Sets a variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Every one with its value.
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The value of one that is set.
    pub fn value(&self, name: &str) -> &str {
        &self.0[name]
    }
}

/// The current time.
fn unix_seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// The second in which the last run of [`Service::backup`] ended, by bucket.
static ENDED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Waits for the second after the last run in this bucket. A manual run is named after the second in which it starts.
pub fn after_the_last_run(bucket: &str) {
    let last = ENDED.lock().unwrap().get(bucket).copied();
    wait_until("the next second", LIMIT, || {
        (last < Some(unix_seconds())).then_some(())
    });
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    process: Process,
    port: u16,
}

/// A service that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Every line it wrote.
    pub lines: Vec<String>,
}

impl Service {
    /// Starts it with arguments.
    pub fn start(variables: &Variables, arguments: &[&str]) -> Self {
        Self::start_by(Process::command(BINARY), variables, arguments)
    }

    /// Starts it through another command that runs the program (`faketime`, a namespace).
    pub fn start_by(mut command: Command, variables: &Variables, arguments: &[&str]) -> Self {
        command.args(arguments).env_clear().envs(&variables.0);
        let port = variables
            .0
            .get("PORT")
            .and_then(|port| port.parse().ok())
            .unwrap_or(8080);
        Self {
            process: Process::spawn(command),
            port,
        }
    }

    /// Starts it with a terminal of so many columns for its input and output.
    pub fn on_a_terminal(variables: &Variables, arguments: &str, columns: usize) -> Self {
        let mut command = Process::command("/usr/bin/script");
        let line = format!("stty rows 50 cols {columns}; exec {BINARY} {arguments}");
        command.args(["-qec", &line, "/dev/null"]);
        let variables = variables
            .clone()
            .with("TERM", "xterm")
            .with("SHELL", "/bin/sh");
        Self::start_by(command, &variables, &[])
    }

    /// Starts the daemon. If it runs at once, it waits for the second after the last run in the same bucket, as
    /// [`Service::backup`] does.
    pub fn daemon(variables: &Variables) -> Self {
        if variables.0.contains_key("RUN_ON_STARTUP") {
            after_the_last_run(variables.value("AWS_S3_BUCKET"));
        }
        Self::start(variables, &[])
    }

    /// Runs `backup` to its end. A manual run is named after the second in which it starts. So a second run in the same
    /// bucket waits for the next second.
    pub fn backup(variables: &Variables) -> Ended {
        let bucket = variables.0.get("AWS_S3_BUCKET").cloned();
        let bucket = bucket.unwrap_or_default();
        after_the_last_run(&bucket);
        let ended = Self::start(variables, &["backup"]).end(Duration::from_secs(300));
        ENDED.lock().unwrap().insert(bucket, unix_seconds());
        ended
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The most memory that it had so far, without the pages of the program itself, which is large without optimisation.
    /// `None` if it has ended.
    pub fn peak_kib(&self) -> Option<u64> {
        let status = self.status()?;
        let most = memory_kib(&status, "VmHWM:")?;
        most.checked_sub(memory_kib(&status, "RssFile:")?)
    }

    /// The memory that it has now and that belongs to no file.
    pub fn resident_kib(&self) -> Option<u64> {
        memory_kib(&self.status()?, "RssAnon:")
    }

    /// What the system says of it, at one moment: two looks at a program that is still being loaded would contradict each other.
    fn status(&self) -> Option<String> {
        let path = Path::new("/proc")
            .join(self.id().to_string())
            .join("status");
        std::fs::read_to_string(path).ok()
    }

    /// Waits for its end, and returns it with the most memory that was observed.
    pub fn end_with_peak(mut self, limit: Duration) -> (Ended, u64) {
        let mut peak = 0;
        wait_until("its end", limit, || {
            peak = self.peak_kib().unwrap_or(0).max(peak);
            (!self.running()).then_some(())
        });
        (self.end(limit), peak)
    }

    /// Its HTTP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends it a signal by its short name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Whether it has not ended.
    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.process.log()
    }

    /// Every event with this message so far.
    pub fn events(&self, message: &str) -> Vec<Value> {
        events(&self.lines(), message)
    }

    /// The first event with this message.
    pub fn wait_for(&self, message: &str) -> Value {
        self.wait_for_nth(message, 1)
    }

    /// The n-th event with this message, counted from 1.
    pub fn wait_for_nth(&self, message: &str, n: usize) -> Value {
        let began = Instant::now();
        loop {
            if let Some(event) = self.events(message).into_iter().nth(n - 1) {
                return event;
            }
            assert!(
                began.elapsed() < LIMIT,
                "no {n}. {message:?} within {LIMIT:?}:\n{}",
                self.lines().join("\n")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end.
    pub fn end(mut self, limit: Duration) -> Ended {
        let status = self.process.wait(limit);
        // The readers of its output see the end of the pipes a moment after the process ended, unless a child of its own
        // keeps them open. Such a child writes nothing that matters.
        let began = Instant::now();
        while !self.process.silent() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let lines = self.lines();
        Ended { status, lines }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> Ended {
        self.signal("TERM");
        self.end(LIMIT)
    }

    /// GETs a path, and returns status and body. It waits until the port is open.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.get_as("localhost", path)
    }

    /// GETs a path with this host name.
    pub fn get_as(&self, host: &str, path: &str) -> (u16, String) {
        let answer = self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ));
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default();
        (status, body)
    }

    /// Sends bytes and reads the answer to its end.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = wait_until("open port", LIMIT, || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut answer = Vec::new();
        let read = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_end(&mut answer));
        if let Err(error) = read {
            panic!("{error} after {answer:?}; its log: {:#?}", self.lines());
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// GETs a path with a token, and returns status, headers and body.
    pub fn get_with(&self, token: &str, path: &str) -> (u16, String, String) {
        let answer = self.raw(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("HTTP"), head.to_owned(), body.to_owned())
    }

    /// `/health`: HTTP status and JSON.
    pub fn health(&self) -> (u16, Value) {
        let (status, body) = self.get("/health");
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body:?}")),
        )
    }

    /// Waits until `/health` says this status.
    pub fn wait_for_health(&self, status: &str) -> (u16, Value) {
        wait_until(&format!("health {status}"), LIMIT, || {
            Some(self.health()).filter(|(_, json)| json["status"] == status)
        })
    }
}

impl Ended {
    /// Every event with this message.
    pub fn events(&self, message: &str) -> Vec<Value> {
        events(&self.lines, message)
    }

    /// The one event with this message.
    pub fn event(&self, message: &str) -> Value {
        let mut found = self.events(message);
        assert_eq!(found.len(), 1, "{message:?} in:\n{}", self.text());
        found.remove(0)
    }

    /// The only ERROR line of a backup that failed. Checks that the exit code was 1.
    pub fn failure(&self) -> Value {
        assert_eq!(self.code(), Some(1), "{}", self.text());
        let failure = self.event("backup failed");
        assert_eq!(
            self.errors(),
            std::slice::from_ref(&failure),
            "{}",
            self.text()
        );
        failure
    }

    /// Every event of level ERROR.
    pub fn errors(&self) -> Vec<Value> {
        let parsed = self
            .lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        parsed.filter(|event| event["level"] == "ERROR").collect()
    }

    /// Checks that it ended within five seconds of the signal, by the times in its own log. A run can use up all of this
    /// time, so delays outside of it, on a busy machine, must not count.
    pub fn within_five_seconds(&self) {
        let time = |event: &Value| -> chrono::DateTime<chrono::Utc> {
            event["timestamp"].as_str().unwrap().parse().unwrap()
        };
        let last = serde_json::from_str(self.lines.last().unwrap()).unwrap();
        let took = time(&last) - time(&self.event("shutting down"));
        assert!(took < chrono::TimeDelta::seconds(5), "{}", self.text());
    }

    /// The whole output.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The exit code.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A size in a text of `/proc/*/status`.
fn memory_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn events(lines: &[String], message: &str) -> Vec<Value> {
    let parsed = lines.iter().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not a JSON line: {line}"))
    });
    parsed.filter(|event| event["message"] == message).collect()
}

/// The content of a backup as `gunzip` gives it.
pub fn gunzip(body: &[u8]) -> String {
    let mut child = Command::new("gunzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = body.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&body).unwrap());
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    text
}

/// The processes whose command line holds `text`.
pub fn processes_with(text: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        std::fs::read(Path::new("/proc").join(id.to_string()).join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    })
    .collect()
}
