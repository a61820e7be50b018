//! A real PostgreSQL server of any major version from 14 to 18, on a random port of 127.0.0.1.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::certificates;
use super::process::{Folder, LIMIT, Process, free_port, random, tools, wait_until};

/// The superuser's name.
pub const USER: &str = "postgres";
/// The superuser's password.
pub const PASSWORD: &str = "testpass";

const DIGEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digest.sql");

/// The parameters of a URL that require TLS, and a certificate of the tests' authority for exactly this host.
pub fn tls() -> String {
    format!("sslmode=verify-full&sslrootcert={}", super::authority())
}

/// A server that asks for a password (SCRAM), uses TLS, and is removed with its data when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    major: u16,
    bin: PathBuf,
    port: u16,
    folder: Folder,
    account: Option<Account>,
    /// The folder of its socket, which is an abstract one. The tests' own queries use it, because they need neither TLS nor
    /// a password there.
    socket: String,
    /// An option of `prlimit` that the server runs under.
    limit: Option<String>,
    tls: bool,
    server: Option<Process>,
}

impl Postgres {
    /// Starts a server of this major version as `initdb` makes it, with encoding UTF8 and locale C.
    pub fn start(major: u16) -> Self {
        Self::start_with(major, &[])
    }

    /// The same with settings of `postgresql.conf`, such as `("max_connections", "20")`.
    pub fn start_with(major: u16, settings: &[(&str, &str)]) -> Self {
        Self::start_as(major, settings, None, true)
    }

    /// The same without TLS.
    pub fn start_plain(major: u16, settings: &[(&str, &str)]) -> Self {
        Self::start_as(major, settings, None, false)
    }

    /// The same under a limit of `prlimit`, such as `--fsize=1000000`.
    pub fn start_limited(major: u16, limit: &str) -> Self {
        Self::start_as(major, &[], Some(limit.to_owned()), true)
    }

    fn start_as(major: u16, settings: &[(&str, &str)], limit: Option<String>, tls: bool) -> Self {
        let mut postgres = Self {
            major,
            bin: Self::bin(major),
            port: 0,
            folder: Folder::in_memory(),
            account: Account::unprivileged(),
            socket: format!("@psb-{:x}", random()),
            limit,
            tls,
            server: None,
        };
        postgres.initialise(settings);
        for _ in 0..5 {
            postgres.port = free_port();
            match postgres.launch() {
                Ok(()) => return postgres,
                // Another test process took the port after it was chosen and before it was used.
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("PostgreSQL {major} did not start:\n{log}"),
            }
        }
        panic!("PostgreSQL {major} found no free port");
    }

    /// The folder with the programs of a major version. They are downloaded on first use.
    pub fn bin(major: u16) -> PathBuf {
        tools(&[&format!("pg:{major}")]).join(format!("pg/{major}/bin"))
    }

    /// Its major version.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The port that it listens on. It stays the same after `restart`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process number of the postmaster.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it was stopped").id()
    }

    /// The superuser's URL of a database.
    pub fn url(&self, database: &str) -> String {
        self.url_as(USER, PASSWORD, database)
    }

    /// Another user's URL of a database. It requires TLS if the server has it.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let url = self.bare_url_as(user, password, database);
        if self.tls {
            format!("{url}?{}", tls())
        } else {
            url
        }
    }

    /// The superuser's URL of a database, without parameters, so that the client decides whether to use TLS.
    pub fn bare_url(&self, database: &str) -> String {
        self.bare_url_as(USER, PASSWORD, database)
    }

    /// Another user's URL of a database, without parameters.
    pub fn bare_url_as(&self, user: &str, password: &str, database: &str) -> String {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let [user, password, database] = [user, password, database].map(encoded);
        format!(
            "postgresql://{user}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// What `psql -X -q -At` prints for a script, without the last line end. If it fails, this panics with its standard
    /// error.
    pub fn psql(&self, database: &str, script: &str) -> String {
        self.try_psql(database, script)
            .unwrap_or_else(|error| panic!("psql {database}: {error}\n{script}"))
    }

    /// The same, without a panic: `Err` is what it wrote to standard error.
    pub fn try_psql(&self, database: &str, script: &str) -> Result<String, String> {
        self.run_psql(database, Path::new("-"), script)
    }

    /// Runs a script file, such as a restored dump.
    pub fn psql_file(&self, database: &str, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        self.run_psql(database, path, "")
            .unwrap_or_else(|error| panic!("psql {database} {}: {error}", path.display()))
    }

    /// Creates a database. `options` is the end of the statement, such as `ENCODING 'LATIN1' TEMPLATE template0`.
    pub fn create_database(&self, name: &str, options: &str) {
        let name = name.replace('"', "\"\"");
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\" {options}"));
    }

    /// Every row and every definition of a database as text: equal for two databases that hold the same.
    pub fn digest(&self, database: &str) -> String {
        self.psql_file(database, DIGEST)
    }

    /// Puts a line before the rules that say who may connect from where.
    pub fn admit(&self, rule: &str) {
        let file = self.psql("postgres", "SHOW hba_file");
        let rules = std::fs::read_to_string(&file).expect("read pg_hba.conf");
        std::fs::write(&file, format!("{rule}\n{rules}")).expect("write pg_hba.conf");
        let loaded = "SELECT pg_conf_load_time()";
        let before = self.psql("postgres", loaded);
        self.psql("postgres", "SELECT pg_reload_conf()");
        wait_until("the new rules", LIMIT, || {
            (self.psql("postgres", loaded) != before).then_some(())
        });
    }

    /// Waits until a query prints `expected`. A query that fails is repeated.
    pub fn wait_for(&self, database: &str, query: &str, expected: &str) {
        wait_until(&format!("{query} = {expected}"), LIMIT, || {
            if self.try_psql(database, query).as_deref() == Ok(expected) {
                return Some(());
            }
            // Each query starts a program and a session, which slows other tests down.
            std::thread::sleep(Duration::from_millis(80));
            None
        });
    }

    /// Stops it as an administrator would: its sessions are ended, and nothing is lost.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal("INT");
            server.wait(LIMIT);
        }
    }

    /// Stops it and starts it again on the same port, with the same data.
    pub fn restart(&mut self) {
        self.stop();
        if let Err(log) = self.launch() {
            panic!("PostgreSQL {} did not start again:\n{log}", self.major);
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn initialise(&self, settings: &[(&str, &str)]) {
        let data = self.data();
        let copied = Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(template(self.major))
            .arg(&data)
            .status();
        assert!(copied.expect("start cp").success());
        identify(&data);

        let mut configuration = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 50\n\
             fsync = off\nfull_page_writes = off\nlc_messages = 'C'\n",
            self.socket
        );
        if self.tls {
            let further: Vec<IpAddr> = settings
                .iter()
                .filter(|(name, _)| *name == "listen_addresses")
                .flat_map(|(_, addresses)| addresses.split(','))
                .filter_map(|address| address.parse().ok())
                .filter(|address| *address != IpAddr::V4(Ipv4Addr::LOCALHOST))
                .collect();
            let certificate = if further.is_empty() {
                certificates().path("good")
            } else {
                certificates().for_addresses(&further)
            };
            certificates().give(&certificate, &data, self.account.as_ref());
            configuration.push_str("ssl = on\n");
        }
        for (name, value) in settings {
            writeln!(configuration, "{name} = '{}'", value.replace('\'', "''"))
                .expect("write to a string");
        }
        // The file is appended to, so that its owner stays the account that ran initdb.
        let path = data.join("postgresql.auto.conf");
        std::fs::write(path, configuration).expect("write the configuration");
    }

    /// A program of the server. It runs as an account that PostgreSQL accepts, and gets `signal` when the test process dies.
    fn program(&self, name: &str, signal: &str) -> Command {
        let account = self.account.as_ref();
        program(&self.bin, account, self.folder.path(), name, signal)
    }

    fn launch(&mut self) -> Result<(), String> {
        let data = self.data();
        // On an immediate shutdown (SIGQUIT) the server still removes its shared memory; after SIGKILL it can't.
        let mut command = match &self.limit {
            Some(limit) => {
                let mut command = self.program("/usr/bin/prlimit", "QUIT");
                command.arg(limit).arg(self.bin.join("postgres"));
                command
            }
            None => self.program("postgres", "QUIT"),
        };
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()]);
        let mut server = Process::spawn(command);
        let pid_file = data.join("postmaster.pid");
        let ready = wait_until("PostgreSQL's start", LIMIT, || {
            if !server.running() {
                return Some(false);
            }
            // The eighth line of the file says whether connections are accepted. A stale file has another process number.
            let file = std::fs::read_to_string(&pid_file).unwrap_or_default();
            let own = file.lines().next() == Some(server.id().to_string().as_str());
            (own && file.lines().nth(7).map(str::trim_end) == Some("ready")).then_some(true)
        });
        if !ready {
            return Err(server.log().join("\n"));
        }
        self.server = Some(server);
        Ok(())
    }

    fn run_psql(&self, database: &str, file: &Path, script: &str) -> Result<String, String> {
        let mut command = Command::new(self.bin.join("psql"));
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let own = format!(
            "postgresql://{USER}@/{}?host={}&port={}",
            encoded(database),
            encoded(&self.socket),
            self.port
        );
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").env("PGCONNECT_TIMEOUT", "15");
        command
            .args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", &own, "-f"])
            .arg(file);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start psql");
        let mut stdin = child.stdin.take().expect("piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // psql stops reading at the first error. Its exit status shows that.
                drop(stdin.write_all(script.as_bytes()));
            });
            child.wait_with_output().expect("read psql's output")
        });
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end_matches('\n')
                .to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        server.signal("CONT");
        server.signal("QUIT");
        let began = std::time::Instant::now();
        while server.running() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn program(
    bin: &Path,
    account: Option<&Account>,
    folder: &Path,
    name: &str,
    signal: &str,
) -> Command {
    let account = account.map(Account::options).unwrap_or_default();
    let mut options = vec!["--pdeathsig", signal];
    options.extend(account.iter().map(String::as_str));
    let mut command = Process::command_with(&options, bin.join(name));
    command.current_dir(folder).env("LC_ALL", "C");
    // Otherwise extensions such as postgres_fdw would find the system's libpq, which may be older.
    command.env("LD_LIBRARY_PATH", bin.with_file_name("lib"));
    command
}

/// The data folder that all servers of a major version begin with: `initdb` takes ten times as long as a copy of its result.
fn template(major: u16) -> PathBuf {
    static TEMPLATES: [OnceLock<Folder>; 5] = [const { OnceLock::new() }; 5];
    let folder = TEMPLATES[usize::from(major - 14)].get_or_init(|| {
        let folder = Folder::in_memory();
        let account = Account::unprivileged();
        let data = folder.path().join("data");
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, format!("{PASSWORD}\n")).expect("write the password");
        std::fs::create_dir(&data).expect("create the data folder");
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700))
            .expect("close the data folder");
        if let Some(account) = &account {
            chown(&data, Some(account.user), Some(account.group))
                .expect("give the data folder away");
        }
        let bin = Postgres::bin(major);
        let mut initdb = program(&bin, account.as_ref(), folder.path(), "initdb", "KILL");
        initdb
            .arg("-D")
            .arg(&data)
            .arg("--pwfile")
            .arg(&password_file);
        initdb.args([
            "-U",
            USER,
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        let output = initdb.output().expect("start initdb");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        folder
    });
    folder.path().join("data")
}

/// Gives a copied server an identifier of its own. A restore recognizes its source by the identifier, so two servers with
/// the same one would be taken for the same server. The identifier is the first number of the control file, which ends in a
/// checksum (CRC-32C), and it is also in the first header of the write-ahead log.
fn identify(data: &Path) {
    let identifier = random().to_le_bytes();
    let control = data.join("global/pg_control");
    let mut bytes = std::fs::read(&control).expect("read the control file");
    // The position of the checksum differs between major versions.
    let place = (200..512)
        .step_by(4)
        .find(|place| bytes[*place..place + 4] == checksum(&bytes[..*place]))
        .expect("a checksum");
    bytes[..8].copy_from_slice(&identifier);
    let sum = checksum(&bytes[..place]);
    bytes[place..place + 4].copy_from_slice(&sum);
    std::fs::write(control, bytes).expect("write the control file");
    let log = data.join("pg_wal/000000010000000000000001");
    let log = OpenOptions::new().write(true).open(log);
    log.and_then(|log| log.write_all_at(&identifier, 24))
        .expect("write the log's header");
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82F6_3B78 * (sum & 1));
        }
    }
    (!sum).to_le_bytes()
}

/// The account that the server runs as if this is root, which it refuses.
#[derive(Debug)]
pub struct Account {
    pub user: u32,
    pub group: u32,
}

impl Account {
    /// Such an account, or `None` if this is not root.
    pub fn unprivileged() -> Option<Self> {
        let id = Command::new("id").arg("-u").output().expect("start id");
        if id.stdout != b"0\n" {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
        let find = |name: &str| {
            let mut fields = accounts
                .lines()
                .map(|line| line.split(':'))
                .find(|line| line.clone().next() == Some(name))?;
            let user = fields.nth(2)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some(Self { user, group })
        };
        Some(
            find("postgres")
                .or_else(|| find("nobody"))
                .expect("root, and neither postgres nor nobody exists"),
        )
    }

    /// The options of `setpriv` that switch to it.
    pub fn options(&self) -> Vec<String> {
        let (user, group) = (self.user, self.group);
        vec![
            format!("--reuid={user}"),
            format!("--regid={group}"),
            "--clear-groups".to_owned(),
        ]
    }
}
