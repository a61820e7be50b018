//! A real PgBouncer before a server, in transaction mode, as the platforms run it.

use super::postgres::{Account, PASSWORD, Postgres, USER, tls};
use super::process::{Folder, LIMIT, Process, free_port, tools};
use super::{authority, certificates};

/// It ends when it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    process: Process,
    folder: Folder,
}

impl PgBouncer {
    /// Starts one that pools the superuser's sessions of every database of a server.
    pub fn start(server: &Postgres) -> Self {
        let tool = tools(&["pgbouncer"]).join("pgbouncer");
        let folder = Folder::new();
        let port = free_port();
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{USER}\" \"{PASSWORD}\"\n")).expect("write the users");
        let account = Account::unprivileged();
        certificates().give(
            &certificates().path("good"),
            folder.path(),
            account.as_ref(),
        );
        let settings = folder.path().join("settings");
        std::fs::write(
            &settings,
            format!(
                "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
                 client_tls_sslmode = require\nclient_tls_cert_file = {folder}/server.crt\nclient_tls_key_file = {folder}/server.key\n\
                 server_tls_sslmode = verify-full\nserver_tls_ca_file = {}\n",
                server.port(),
                users.display(),
                authority(),
                folder = folder.path().display(),
            ),
        )
        .expect("write the settings");
        let account = account.as_ref().map(Account::options).unwrap_or_default();
        let mut options = vec!["--pdeathsig", "KILL"];
        options.extend(account.iter().map(String::as_str));
        let mut command = Process::command_with(&options, tool.join("pgbouncer"));
        command.env("LD_LIBRARY_PATH", &tool).arg(&settings);
        let process = Process::spawn(command);
        process.wait_for_line("process up", LIMIT);
        Self {
            port,
            process,
            folder,
        }
    }

    /// The superuser's URL of a database through PgBouncer. The host's name is what the service sees; the connection goes to
    /// the address.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://{USER}:{PASSWORD}@pgbouncer.internal:{}/{database}?hostaddr=127.0.0.1&{}",
            self.port,
            tls()
        )
    }
}
