//! Child processes, folders and ports of the tests. Nothing of it outlives the test process, however that ends.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fs::{OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a condition on a busy machine, even if it usually comes true within a second.
pub const LIMIT: Duration = Duration::from_secs(180);

/// The folder of `tests/tools.sh`, after asking that script once for each of `parts` (`weed`, `pg:17`, `aws`, ...).
pub fn tools(parts: &[&str]) -> PathBuf {
    static THERE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    // The lock is held while the script runs, because only one such script works at a time anyway. If a test failed in here,
    // the others can go on.
    let mut there = THERE.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !there.contains(*part))
        .collect();
    if !missing.is_empty() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools.sh");
        let output = Command::new(script)
            .args(&missing)
            .output()
            .expect("start tests/tools.sh");
        assert!(
            output.status.success(),
            "tests/tools.sh {missing:?}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        there.extend(missing.into_iter().map(str::to_owned));
    }
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::var_os("PSB_TOOLS").filter(|folder| !folder.is_empty());
        let folder = folder.map_or_else(
            || "/var/tmp/postgres-s3-backups-tools".into(),
            PathBuf::from,
        );
        folder.canonicalize().expect("the script made it")
    });
    folder.clone()
}

/// Calls `condition` until it returns a value. Panics with `what` when `limit` has passed.
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A child that is killed and reaped when dropped, and killed by the kernel when the test process dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// How many of its two output streams are open. A child of its own may keep them open.
    open: Arc<AtomicUsize>,
}

impl Process {
    /// A command whose process gets SIGKILL when the test process dies. `program` must be an absolute path if the
    /// environment is cleared.
    pub fn command(program: impl AsRef<OsStr>) -> Command {
        Self::command_with(&["--pdeathsig", "KILL"], program)
    }

    /// The same with other options of `setpriv`.
    pub fn command_with(options: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(options).arg("--").arg(program);
        command
    }

    /// Starts `command`, reading its standard output and standard error into the log.
    pub fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn_from_lasting_thread(command);
        let (log, open) = (Arc::default(), Arc::new(AtomicUsize::new(2)));
        collect(child.stdout.take().expect("piped"), &log, &open);
        collect(child.stderr.take().expect("piped"), &log, &open);
        Self { child, log, open }
    }

    /// Whether everything that it and its children wrote is in the log.
    pub fn silent(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// The process id; the same before and after `setpriv` has become the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Every line written so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic while it is held").clone()
    }

    /// The first line that holds `text`. Panics with the log if there is none within `limit`.
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(
                began.elapsed() < limit,
                "no line with {text:?} within {limit:?}:\n{}",
                log.join("\n")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it has not ended yet.
    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_none()
    }

    /// Sends a signal by its short name, such as `TERM` or `STOP`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end. Panics if it runs for longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let id = self.id();
        wait_until(&format!("end of process {id}"), limit, || {
            self.child.try_wait().expect("wait for a child")
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal by its short name to a process that may have ended.
pub fn signal(id: u32, name: &str) {
    // In the shell, kill is built in. The program is in a package that a small system may not have.
    let id = id.to_string();
    let sent = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$0\" \"$1\" 2>/dev/null", name, &id])
        .status();
    sent.expect("start sh");
}

fn collect(
    stream: impl Read + Send + 'static,
    log: &Arc<Mutex<Vec<String>>>,
    open: &Arc<AtomicUsize>,
) {
    let (log, open) = (Arc::clone(log), Arc::clone(open));
    thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|bytes| bytes > 0)
        {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .to_owned();
            log.lock().expect("no panic while it is held").push(text);
            line.clear();
        }
        open.fetch_sub(1, Ordering::Release);
    });
}

/// The kernel sends the parent-death signal when the *thread* that started the child ends, and each test is a thread. A
/// server that several tests share would end with the first of them. So one permanent thread starts all children.
fn spawn_from_lasting_thread(mut command: Command) -> Child {
    type Job = Box<dyn FnOnce() + Send>;
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Job>();
        thread::spawn(move || receiver.into_iter().for_each(|job| job()));
        sender
    });
    let (answer, reply) = mpsc::channel();
    jobs.send(Box::new(move || {
        let started = command
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"));
        drop(answer.send(started));
    }))
    .expect("the thread lasts");
    reply
        .recv()
        .expect("the thread lasts")
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A folder that every user may enter. It is removed when this is dropped or when the test process dies.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder of its own.
    pub fn new() -> Self {
        Self::below(&folders().on_disk)
    }

    /// The same for the many files of a server. It is in memory if there is enough, because creating and removing thousands
    /// of files on a disk takes long. Programs may not be executable there.
    pub fn in_memory() -> Self {
        let folders = folders();
        Self::below(folders.in_memory.as_ref().unwrap_or(&folders.on_disk))
    }

    fn below(parent: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let path = parent.join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        create_enterable(&path);
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If a process that is just ending still writes there, the watcher of `folders` removes that.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Makes sure that a file of a child is removed when the test process ends.
pub fn remove_at_end(path: &str) {
    let list = OpenOptions::new()
        .append(true)
        .open(folders().on_disk.join(REMOVE_AT_END));
    list.and_then(|mut list| list.write_all(format!("{path}\n").as_bytes()))
        .expect("write to a folder of our own");
}

const REMOVE_AT_END: &str = "remove-at-end";

/// The parents of all folders.
struct Folders {
    on_disk: PathBuf,
    in_memory: Option<PathBuf>,
    _watcher: Child,
}

/// Statics are not dropped, and a killed process drops nothing. So a shell watches a pipe, and removes the folders when this
/// process ends and the pipe closes.
fn folders() -> &'static Folders {
    static FOLDERS: OnceLock<Folders> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let name = format!("psb-{}-{:x}", std::process::id(), random());
        let on_disk = std::env::temp_dir().join(&name);
        let in_memory = roomy_memory().map(|memory| memory.join(&name));
        create_enterable(&on_disk);
        in_memory.iter().for_each(|path| create_enterable(path));
        std::fs::write(on_disk.join(REMOVE_AT_END), "").expect("write to a folder of our own");
        let watch = format!(
            r#"trap '' INT TERM HUP
            cat
            while read -r file; do rm -f "$file"; done <"$0/{REMOVE_AT_END}"
            for i in $(seq 100); do rm -rf "$0" "$@" && exit; sleep 0.1; done"#
        );
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(watch).arg(&on_disk).args(&in_memory);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let watcher = command.spawn().expect("start sh");
        Folders {
            on_disk,
            in_memory,
            _watcher: watcher,
        }
    })
}

/// Linux's folder in memory, unless the user chose a folder or it could become too full: the servers of one run have needed
/// 2 GB at the same time.
fn roomy_memory() -> Option<PathBuf> {
    const ROOM: u64 = 10 << 30;
    let path = PathBuf::from("/dev/shm");
    if std::env::var_os("TMPDIR").is_some() {
        return None;
    }
    let output = Command::new("df")
        .args(["--output=fstype,avail", "--block-size=1"])
        .arg(&path)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let room = text.lines().nth(1)?.trim().strip_prefix("tmpfs")?;
    let room = room.trim().parse::<u64>().ok()?;
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let memory = memory.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10;
    // A container may have less memory than its machine.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let limit = limit.trim().parse::<u64>().unwrap_or(u64::MAX);
    (room.min(memory).min(limit) >= ROOM).then_some(path)
}

fn create_enterable(path: &Path) {
    std::fs::create_dir(path).expect("create a folder");
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("open a folder to others");
}

/// A number that differs from call to call and from process to process.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn free_port() -> u16 {
    free_ports(&[0])
}

/// A port for which it plus each of `offsets` (at most 10,003) is free on 127.0.0.1. All are below the range that the kernel
/// uses for outgoing connections, so only another test process can take one before the server does. In that case, try again.
///
/// No port is returned twice, or even tried again. While one test tries a port by listening on it, another test whose server
/// is about to listen there could connect to it, and lose that connection at once.
pub fn free_ports(offsets: &[u16]) -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no panic while it is held");
    for _ in 0..1000 {
        let port = 10_000 + u16::try_from(random() % 12_000).expect("below 12,000");
        let ports = offsets.iter().map(|offset| port + offset);
        let is_free =
            |port: u16| !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok();
        if ports.clone().all(is_free) {
            given.extend(ports);
            return port;
        }
    }
    panic!("no free ports at {offsets:?}");
}
