//! What the documents say is true: their commands are run as they are written, and each promise and each symptom has a test.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres_s3_backups::fault::Kind;

use crate::common::postgres::{PASSWORD, Postgres};
use crate::common::process::{Folder, LIMIT, Process, tools, wait_until};
use crate::common::service::{Service, Variables, after_the_last_run, gunzip};
use crate::common::{authority, seaweedfs, unique};
use postgres_s3_backups::config::VARIABLES;

const README: &str = "README.md";
const RAILWAY: &str = "docs/railway.md";
const CONTAINER: &str = "docs/container.md";
const BUCKET: &str = "vlvt-backups";
const BACKUP: &str = "vlvt_backup_2026-01-25_03-00-00.sql.gz";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a page in one language. If a block is part of a list, its indentation is removed.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    let text = read(page);
    let mut pieces = text.split(open.as_str());
    let mut before = pieces.next().unwrap();
    let mut found = Vec::new();
    for piece in pieces {
        let margin = before.rsplit('\n').next().unwrap();
        let block = piece.split_once("```").unwrap().0.trim_end_matches(' ');
        let lines = block.lines().map(|line| line.strip_prefix(margin));
        found.push(
            lines
                .map(|line| format!("{}\n", line.unwrap_or_default()))
                .collect(),
        );
        before = piece;
    }
    found
}

/// Every block of commands that a reader may paste, by words that it alone holds.
const BLOCKS: &[(&str, &str, &str)] = &[
    (README, "bash", "gunzip backup.sql.gz"),
    (README, "bash", ":0.1.0 check"),
    (README, "bash", "docker run -d"),
    (README, "bash", "restore latest --create=restored"),
    (README, "bash", "target/release/postgres-s3-backups check"),
    (RAILWAY, "bash", "verify latest"),
    (RAILWAY, "bash", "restore latest --create=restored"),
    (RAILWAY, "bash", "export BACKUP_DATABASE_URL"),
    (RAILWAY, "bash", "BACKUP_FILE_PREFIX=backup"),
    (RAILWAY, "bash", "pg_restore --exit-on-error"),
    (CONTAINER, "bash", "docker run -d"),
    (CONTAINER, "bash", ":0.1.0 backup"),
    (CONTAINER, "bash", "restore latest --create=restored"),
    (OPERATIONS, "bash", "postgres-s3-backups list"),
    (BY_HAND, "bash", "aws s3 ls s3:"),
    (BY_HAND, "bash", "pg_dump --data-only"),
    (BY_HAND, "bash", "grep -m1 '^SET client_encoding'"),
    (OPERATIONS, "bash", "put-bucket-lifecycle-configuration"),
    (OPERATIONS, "bash", "list-objects-v2"),
    (OPERATIONS, "sql", "CREATE ROLE backup"),
];

/// The commands that no test can run, because they need Railway or the registry of a release.
const NOT_RUN: &[(&str, &str)] = &[
    (RAILWAY, "railway config plan"),
    (CONTAINER, "cosign verify"),
];

/// The block that holds these words, for a test that runs it.
fn block(words: &str) -> String {
    let (page, ..) = BLOCKS.iter().find(|block| block.2 == words).unwrap();
    block_of(page, words)
}

/// The same for one page, if several pages have such a block.
fn block_of(page: &str, words: &str) -> String {
    let known = BLOCKS
        .iter()
        .find(|block| block.0 == page && block.2 == words);
    let mut found = blocks(page, known.unwrap().1);
    found.retain(|block| block.contains(words));
    assert_eq!(found.len(), 1, "blocks of {page} with {words:?}");
    found.remove(0)
}

#[test]
fn every_block_of_commands_is_run_by_a_test() {
    let own = read("tests/docs.rs");
    for (_, _, words) in BLOCKS {
        assert!(
            own.split(&format!("\"{words}\"")).count() > 2,
            "{words}: listed and not run"
        );
    }
    for page in [
        README,
        RAILWAY,
        CONTAINER,
        OPERATIONS,
        BY_HAND,
        TROUBLESHOOTING,
        "docs/configuration.md",
        "docs/cost.md",
        "docs/log.md",
        "docs/restore.md",
    ] {
        for language in ["bash", "sql", "sh", "shell", "console"] {
            for text in blocks(page, language) {
                let known = BLOCKS
                    .iter()
                    .map(|block| (block.0, block.2))
                    .chain(NOT_RUN.iter().copied())
                    .filter(|(of, words)| *of == page && text.contains(words));
                assert_eq!(
                    known.count(),
                    1,
                    "no test runs this block of {page}:\n{text}"
                );
            }
        }
    }
}

/// A command in a line of text or of a table. It is found by its beginning and by another text in it.
fn inline(page: &str, begins: &str, holds: &str) -> String {
    let text = read(page);
    let mut found: Vec<String> = text
        .lines()
        .flat_map(|line| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|code| code.starts_with(begins) && code.contains(holds))
        .collect();
    found.dedup();
    assert_eq!(
        found.len(),
        1,
        "code of {page} that begins with {begins:?}: {found:?}"
    );
    // In a table, a pipe is escaped.
    found.remove(0).replace("\\|", "|")
}

/// The operator's machine: a folder, a shell, the AWS CLI and the clients of one major.
struct Operator {
    folder: Folder,
    path: String,
    variables: BTreeMap<&'static str, String>,
    bucket: String,
    backup: String,
    /// The URL of the database in the examples.
    database: String,
    /// The port on which the examples reach the service.
    port: u16,
}

/// The part of `docker run` that the pages use. It reads `--env-file` as Docker does, every line unchanged, and gives the
/// program nothing else except what its image would. The image itself is run by `tests/image.rs`.
const DOCKER: &str = r#"#!/bin/bash
set -euo pipefail
[ "$1" = run ] || { echo "docker $1: not known here" >&2; exit 64; }
shift
variables=()
while :; do
  case $1 in
    --rm | -d | --read-only | --cap-drop=* | --security-opt=*) shift ;;
    --name | --restart | --memory) shift 2 ;;
    -p) address=${2#*:}; variables+=("PORT=${address%%:*}"); shift 2 ;;
    -e)
      case $2 in *=*) variables+=("$2") ;; *) [ -z "${!2+set}" ] || variables+=("$2=${!2}") ;; esac
      shift 2 ;;
    --env-file)
      while IFS= read -r line || [ -n "$line" ]; do
        line=${line#"${line%%[![:space:]]*}"}
        case $line in '' | '#'*) ;; *=*) variables+=("$line") ;; *) [ -z "${!line+set}" ] || variables+=("$line=${!line}") ;; esac
      done <"$2"
      shift 2 ;;
    -*) echo "docker run $1: not known here" >&2; exit 64 ;;
    *) break ;;
  esac
done
[ "$1" = "IMAGE" ] || { echo "no such image: $1" >&2; exit 65; }
shift
exec env -i "PATH=CLIENTS" "SSL_CERT_FILE=$SSL_CERT_FILE" "${variables[@]}" "PROGRAM" "$@"
"#;

/// The name of a release's image in the pages.
const IMAGE: &str = concat!(
    "ghcr.io/OWNER/postgres-s3-backups:",
    env!("CARGO_PKG_VERSION")
);

impl Operator {
    fn new(major: u16, bucket: &str, backup: &str) -> Self {
        let tools = tools(&["aws", "jq", &format!("pg:{major}")]);
        let path = format!(
            "{}:{}:/usr/bin:/bin",
            tools.join("venv/bin").display(),
            Postgres::bin(major).display()
        );
        let variables = BTreeMap::from([
            ("ENDPOINT", seaweedfs().endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", seaweedfs().access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", seaweedfs().secret_key.to_owned()),
            ("AWS_DEFAULT_REGION", "auto".to_owned()),
            ("AWS_CA_BUNDLE", authority()),
            ("SSL_CERT_FILE", authority()),
        ]);
        let folder = Folder::new();
        let docker = folder.path().join("docker");
        let clients = Postgres::bin(major);
        let script = DOCKER
            .replace("IMAGE", IMAGE)
            .replace("CLIENTS", clients.to_str().unwrap())
            .replace("PROGRAM", crate::common::service::BINARY);
        std::fs::write(&docker, script).unwrap();
        std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            path: format!("{}:{path}", folder.path().display()),
            folder,
            variables,
            bucket: bucket.to_owned(),
            backup: backup.to_owned(),
            database: String::new(),
            port: crate::common::process::free_port(),
        }
    }

    /// Uses this database in place of those in the examples.
    fn on(mut self, url: &str) -> Self {
        url.clone_into(&mut self.database);
        self
    }

    /// Writes the file `.env` that a page tells the reader to write, with the reader's own values.
    fn write_env(&self, page: &str, nth: usize) {
        let text = self.own_names(&blocks(page, "dotenv")[nth]);
        assert!(
            !text.contains('…') && !text.contains("ACCOUNT_ID"),
            "{text}"
        );
        std::fs::write(self.file(".env"), text).unwrap();
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the names in the examples with those of the reader.
    fn own_names(&self, text: &str) -> String {
        text.replace(BUCKET, &self.bucket)
            .replace(BACKUP, &self.backup)
            .replace(
                "AWS_ACCESS_KEY_ID=…",
                &format!("AWS_ACCESS_KEY_ID={}", seaweedfs().access_key),
            )
            .replace(
                "AWS_SECRET_ACCESS_KEY=…",
                &format!("AWS_SECRET_ACCESS_KEY={}", seaweedfs().secret_key),
            )
            .replace(
                "https://ACCOUNT_ID.r2.cloudflarestorage.com",
                &seaweedfs().endpoint,
            )
            .replace(
                "postgres://USER:PASSWORD@HOST:5432/DATABASE",
                &self.database,
            )
            .replace(
                "postgresql://postgres:PASSWORD@HOST.proxy.rlwy.net:12345/railway",
                &self.database,
            )
            .replace("${{Postgres.DATABASE_URL}}", &self.database)
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.port))
    }

    /// Runs commands as they are written, except for the names. `Err` is everything that they wrote.
    fn try_run(&self, commands: &str) -> Result<String, String> {
        let commands = self.own_names(commands);
        let output = self.shell(Command::new("/bin/bash"), &commands).output();
        let output = output.unwrap();
        let (out, error) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        if output.status.success() {
            Ok(out)
        } else {
            Err(format!("{commands}\n{}\n{out}{error}", output.status))
        }
    }

    fn shell(&self, mut bash: Command, commands: &str) -> Command {
        bash.args(["-euo", "pipefail", "-c", commands])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.folder.path())
            .envs(&self.variables);
        bash
    }

    /// Starts a command that keeps running.
    fn start(&self, command: &str) -> Process {
        let command = format!("exec {}", self.own_names(command));
        Process::spawn(self.shell(Process::command("/bin/bash"), &command))
    }

    fn run(&self, commands: &str) -> String {
        self.try_run(commands)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn fails(&self, commands: &str, words: &str) {
        let error = self.try_run(commands).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
}

const OPERATIONS: &str = "docs/operations.md";
const BY_HAND: &str = "docs/restore-by-hand.md";
const TROUBLESHOOTING: &str = "docs/troubleshooting.md";

/// Makes the database `app` of the page's examples on a server, and a backup of it in a bucket of its own.
fn backed_up(server: &Postgres) -> (String, String) {
    server.create_database("app", "");
    server.psql("app", "CREATE TABLE public.teams (id serial PRIMARY KEY, name text);
        CREATE TABLE public.users (id serial PRIMARY KEY, team integer REFERENCES public.teams, name text NOT NULL);
        CREATE TABLE public.users_of_old (id integer, name text);
        INSERT INTO public.teams (name) VALUES ('red'), ('blue');
        INSERT INTO public.users (team, name) SELECT 1 + g % 2, E'user \\\\. ' || g || E'\\n\\\\.\\nü' FROM generate_series(1, 500) g;
        INSERT INTO public.users_of_old VALUES (1, 'x');
        ALTER TABLE public.users ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON public.users USING (false);");
    // The role in the page has the rights to read everything, and no others.
    let role = block("CREATE ROLE backup").replace('…', PASSWORD);
    server.psql("app", &role);
    let bucket = unique("docs");
    seaweedfs().create_bucket(&bucket);
    let url = server.url_as("backup", PASSWORD, "app");
    let ended = Service::backup(&Variables::working(seaweedfs(), &bucket, &url));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let backup = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    // The commands of the pages make the next one.
    after_the_last_run(&bucket);
    (bucket, backup)
}

#[test]
fn the_commands_that_restore_a_database_and_a_table_do_so() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let operator = Operator::new(17, &bucket, &backup)
        .with("DATABASE_URL", &server.url("app"))
        .with("RESTORE_URL", &server.url("restored"));

    let said = operator.run(&block("aws s3 ls s3:"));
    assert!(said.contains(&backup), "the list names it: {said}");
    assert_eq!(said.lines().last(), Some("restored"));
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("restored"));

    // The second time, it stops at the first table that already exists.
    operator.fails(
        r#"psql -X -v ON_ERROR_STOP=1 "$RESTORE_URL" -f backup.sql"#,
        "already exists",
    );

    // One table is lost and brought back. Its row security and foreign keys are as before.
    let rows = "SELECT count(*) || md5(string_agg(u::text, ',' ORDER BY id)) FROM public.users u";
    let before = server.psql("app", rows);
    for commands in [
        block("pg_dump --data-only"),
        block("grep -m1 '^SET client_encoding'"),
    ] {
        server.psql("app", "TRUNCATE public.users");
        operator.run(&commands);
        assert_eq!(server.psql("app", rows), before, "{commands}");
    }
    // The same with sed, and the sequence.
    let rows_by_sed = operator.run(&inline(BY_HAND, "sed -n '/^COPY", "public"));
    let by_awk = std::fs::read_to_string(operator.file("users.sql")).unwrap();
    assert_eq!(by_awk.split_once('\n').unwrap().1, rows_by_sed);
    server.psql("app", "SELECT setval('public.users_id_seq', 1)");
    let line = operator.run(&inline(BY_HAND, "grep \"setval('public.users_id_seq'", ""));
    server.psql("app", &line);
    assert_eq!(
        server.psql("app", "SELECT last_value FROM public.users_id_seq"),
        "500"
    );
}

#[test]
fn the_three_commands_of_the_first_screen_restore() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    server.create_database("fresh", "");
    let operator = Operator::new(17, &bucket, &backup).with("DATABASE_URL", &server.url("fresh"));
    operator.run(&block("gunzip backup.sql.gz"));
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("fresh"));
}

#[test]
fn the_services_own_commands_restore() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let service = Path::new(crate::common::service::BINARY).parent().unwrap();
    let mut operator = Operator::new(17, &bucket, &backup)
        .with("DATABASE_URL", &server.url("postgres"))
        .with("RESTORE_DATABASE_URL", &server.url("app"))
        .with("BACKUP_DATABASE_URL", &server.url("app"))
        .with("AWS_S3_BUCKET", &bucket)
        .with("AWS_S3_ENDPOINT", &seaweedfs().endpoint);
    operator.path = format!("{}:{}", service.display(), operator.path);
    operator.run(&block("postgres-s3-backups list"));
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("restored"));
}

/// The beginning of the README, from the file of variables to the restored database. The program knows only that file.
#[test]
fn the_readme_leads_from_five_variables_to_a_restored_database() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let operator = Operator::new(17, &bucket, &backup).on(&server.url("app"));
    operator.write_env(README, 0);
    let checked = operator.run(&block(":0.1.0 check"));
    assert!(checked.contains(&backup), "{checked}");
    let service = operator.start(&block("docker run -d"));
    service.wait_for_line("backup finished", LIMIT);
    let health = inline(README, "curl -i", "/health");
    let answer = wait_until("/health", LIMIT, || {
        let answer = operator.run(&health);
        answer.contains("\"status\":\"ok\"").then_some(answer)
    });
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(service);
    let said = operator.run(&block_of(README, "restore latest --create=restored"));
    assert!(said.contains(&backup), "{said}");
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("restored"));

    // For a build from source, a shell reads the same file.
    let built = operator.file("target/release");
    std::fs::create_dir_all(built.parent().unwrap()).unwrap();
    let folder = Path::new(crate::common::service::BINARY).parent().unwrap();
    std::os::unix::fs::symlink(folder, built).unwrap();
    let again = operator.run(&block("target/release/postgres-s3-backups check"));
    assert!(again.contains("2 backups, the newest is"), "{again}");
}

/// The commands on the page about the container. The image itself is run by `tests/image.rs`.
#[test]
fn the_containers_commands_do_what_the_page_says() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let operator = Operator::new(17, &bucket, &backup).on(&server.url("app"));
    operator.write_env(README, 0);
    let service = operator.start(&block_of(CONTAINER, "docker run -d"));
    service.wait_for_line("next backup", LIMIT);
    drop(service);
    let said = operator.run(&block(":0.1.0 backup"));
    for words in [&backup, "backup finished", "verify finished"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    operator.run(&block_of(CONTAINER, "restore latest --create=restored"));
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("restored"));
}

/// A restore on a machine that knows nothing of the service except what the operator kept: the four values of the store.
#[test]
fn the_way_back_from_a_laptop_needs_nothing_of_railway() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let operator = Operator::new(17, &bucket, &backup).on(&server.url("app"));
    operator.write_env(RAILWAY, 1);
    let said = operator.run(&block("verify latest"));
    assert!(
        said.contains(&backup) && said.contains("backup whole"),
        "{said}"
    );
    operator.run(&block_of(RAILWAY, "restore latest --create=restored"));
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("restored"));
    let checked = operator.run(&block("export BACKUP_DATABASE_URL"));
    assert!(checked.contains(&backup), "{checked}");

    // An archive that Railway's template left behind.
    let old = "backup-2026-01-25T05-00-00-000Z.tar.gz";
    operator.run(&format!(
        "pg_dump --format=tar --no-owner '{}' | gzip >old.tar.gz",
        server.url("app")
    ));
    let body = std::fs::read(operator.file("old.tar.gz")).unwrap();
    seaweedfs().put(&bucket, old, &body);
    let said = operator.run(&block("BACKUP_FILE_PREFIX=backup"));
    assert!(
        said.contains(old) && said.contains("archive of the old template whole"),
        "{said}"
    );
    server.create_database("old", "");
    let operator = operator.with("DATABASE_URL", &server.url("old"));
    operator.run(&block("pg_restore --exit-on-error"));
    assert_eq!(
        server.psql("old", "SELECT count(*) FROM public.users"),
        "500"
    );
}

/// Railway runs a start command without a shell, in place of the entry point, with the service's variables and no others.
#[test]
fn each_start_command_of_the_railway_page_works_with_the_variables_it_lists() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let operator = Operator::new(17, &bucket, &backup).on(&server.url("app"));
    operator.write_env(RAILWAY, 2);
    let file = std::fs::read_to_string(operator.file(".env")).unwrap();
    let before = server.digest("app");
    let mut commands = 0;
    for line in section(RAILWAY, "### On Railway") {
        let Some((_, cell)) = line
            .trim()
            .split_once("| `/usr/local/bin/postgres-s3-backups ")
        else {
            continue;
        };
        let arguments: Vec<&str> = cell.trim_end_matches("` |").split(' ').collect();
        let mut command = Command::new(crate::common::service::BINARY);
        let clients = Postgres::bin(17);
        command.args(&arguments).env_clear().env("PATH", clients);
        command.env("SSL_CERT_FILE", authority());
        command.envs(file.lines().map(|line| line.split_once('=').unwrap()));
        let output = command.output().unwrap();
        let said = format!(
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{said}");
        match arguments[..] {
            ["list" | "check"] => assert!(said.contains(&backup), "{said}"),
            ["verify", ..] => assert!(said.contains("verify finished"), "{said}"),
            ["restore", .., "--create=restored"] => {
                assert!(said.contains("restore finished"), "{said}");
                pretty_assertions::assert_eq!(before, server.digest("restored"));
            }
            _ => {
                assert!(said.contains("restore finished"), "{said}");
                let kept = "SELECT count(*) FROM pg_database WHERE datname LIKE 'app\\_before\\_%'";
                assert_eq!(server.psql("postgres", kept), "1");
                pretty_assertions::assert_eq!(before, server.digest("app"));
            }
        }
        commands += 1;
    }
    assert_eq!(commands, 5);
}

/// The name of the image is the same everywhere, one place explains `OWNER` and the other pages link to it, and the version
/// is the current one.
#[test]
fn the_image_has_one_name_and_owner_is_explained_once() {
    let prefix = IMAGE.split_once(':').unwrap().0;
    let explains = "in the place of `OWNER`";
    let head = read(README).split_once("\n## ").unwrap().0.to_owned();
    assert!(
        head.contains(explains) && head.contains("make image"),
        "{head}"
    );
    for page in [README, RAILWAY, CONTAINER, ".railway/railway.ts"] {
        let text = read(page);
        let pages = usize::from(!page.starts_with('.'));
        assert_eq!(text.matches(explains).count(), pages, "{page}");
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let tag = rest.split(['`', ' ', '\n', '/', '"']).next();
            assert_eq!(tag, Some(concat!(":", env!("CARGO_PKG_VERSION"))), "{page}");
        }
    }
}

#[test]
fn the_readme_has_the_five_needed_variables_first_and_each_variable_in_one_row() {
    let rows: Vec<String> = section(README, "## Configuration")
        .iter()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let five = blocks(README, "dotenv").remove(0);
    let five: Vec<&str> = five
        .lines()
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    assert_eq!(rows[..5], five);
    let mut sorted = rows.clone();
    sorted.sort();
    let mut known: Vec<&str> = VARIABLES.iter().map(|known| known.name).collect();
    known.sort_unstable();
    pretty_assertions::assert_eq!(sorted, known);
}

#[test]
fn the_readme_names_the_rust_that_it_needs_and_where_clients_are_looked_for() {
    let text = read(README);
    let rust = read("Cargo.toml");
    let version = rust
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""));
    let version = version.unwrap().trim_end_matches('"');
    assert!(text.contains(&format!("Rust {version} or newer")));
    let source = read("src/postgres/client.rs");
    for (folder, shown) in [
        (
            "(\"/usr/lib/postgresql\", \"\", \"bin\")",
            "`/usr/lib/postgresql/N/bin`",
        ),
        (
            "(\"/usr/libexec\", \"postgresql\", \"\")",
            "`/usr/libexec/postgresqlN`",
        ),
    ] {
        assert!(source.contains(folder) && text.contains(shown), "{shown}");
    }
}

#[test]
fn a_restore_that_fails_is_mended_by_what_the_page_says() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE ROLE \"Own er\"; CREATE ROLE reader; CREATE ROLE plain LOGIN CREATEDB PASSWORD 'testpass'");
    server.create_database("app", "");
    server.psql("app", "CREATE EXTENSION hstore; CREATE TABLE t (a integer); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO \"Own er\"; GRANT SELECT ON t TO reader");
    let bucket = unique("mend");
    seaweedfs().create_bucket(&bucket);
    let ended = Service::backup(&Variables::working(
        seaweedfs(),
        &bucket,
        &server.url("app"),
    ));
    let backup = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = gunzip(&seaweedfs().get(&bucket, &backup));
    let restore = r#"psql -X -v ON_ERROR_STOP=1 -1 "$RESTORE_URL" -f backup.sql"#;

    // A backup holds no roles. The command on the page lists the owners.
    let stranger = Postgres::start(17);
    let fresh = |server: &Postgres| {
        let name = unique("fresh").replace('-', "_");
        server.create_database(&name, "");
        name
    };
    let operator = |server: &Postgres, database: &str| {
        let operator =
            Operator::new(17, &bucket, &backup).with("RESTORE_URL", &server.url(database));
        std::fs::write(operator.file("backup.sql"), &text).unwrap();
        operator
    };
    let there = operator(&stranger, &fresh(&stranger));
    there.fails(restore, "role \"Own er\" does not exist");
    let owners = there.run(&inline(
        BY_HAND,
        "grep -aE '^ALTER .* OWNER TO '",
        "sort -u",
    ));
    assert_eq!(owners, "\"Own er\";\n");
    stranger.psql("postgres", &format!("CREATE ROLE {owners}"));
    there.fails(restore, "role \"reader\" does not exist");
    stranger.psql("postgres", "CREATE ROLE reader");
    there.run(restore);

    // The server lacks one extension, and only a superuser may create the other one.
    let there = operator(&server, &fresh(&server));
    std::fs::write(there.file("backup.sql"), text.replace("hstore", "hstorf")).unwrap();
    there.fails(restore, "extension \"hstorf\" is not available");
    std::fs::write(there.file("backup.sql"), text.replace("hstore", "file_fdw")).unwrap();
    let database = fresh(&server);
    server.psql(
        "postgres",
        &format!("ALTER DATABASE {database} OWNER TO plain"),
    );
    let plain = server.url_as("plain", "testpass", &database);
    there.with("RESTORE_URL", &plain).fails(
        restore,
        "permission denied to create extension \"file_fdw\"",
    );

    // A dump by a newer client is restored on an older server.
    let older = Postgres::start(16);
    older.psql("postgres", "CREATE ROLE \"Own er\"; CREATE ROLE reader");
    let there = operator(&older, &fresh(&older));
    there.fails(
        restore,
        "unrecognized configuration parameter \"transaction_timeout\"",
    );
    there.run(&inline(BY_HAND, "sed -i '1,40", "transaction_timeout"));
    there.run(restore);

    // A psql from before August 2025 does not know two of the lines.
    let there = operator(&server, &fresh(&server));
    there.run(&inline(BY_HAND, "sed -i -E", "restrict"));
    let mended = std::fs::read_to_string(there.file("backup.sql")).unwrap();
    assert_eq!(text.lines().count() - mended.lines().count(), 2);
    assert!(!mended.contains("restrict"));
    there.run(restore);

    // A download that was cut off does not pass step 3.
    let object = seaweedfs().get(&bucket, &backup);
    let there = Operator::new(17, &bucket, &backup);
    std::fs::write(there.file("backup.sql.gz"), &object[..object.len() - 9]).unwrap();
    there.fails("gunzip backup.sql.gz", "unexpected end of file");
}

#[test]
fn the_lifecycle_rules_of_the_page_are_taken_and_read_back() {
    let bucket = unique("lifecycle");
    seaweedfs().create_bucket(&bucket);
    let operator = Operator::new(17, &bucket, BACKUP);
    let said = operator.run(&block("put-bucket-lifecycle-configuration"));
    let rules: serde_json::Value = serde_json::from_str(&said).unwrap();
    let rules = rules["Rules"].as_array().unwrap();
    let of = |id: &str| rules.iter().find(|rule| rule["ID"] == id).unwrap();
    assert_eq!(of("backups-30-days")["Expiration"]["Days"], 30);
    assert_eq!(of("backups-30-days")["Filter"]["Prefix"], "vlvt_backup_");
}

#[test]
fn the_script_that_watches_the_bucket_tells_good_from_bad() {
    let bucket = unique("watch");
    seaweedfs().create_bucket(&bucket);
    let operator = Operator::new(17, &bucket, BACKUP)
        .with("AWS_ACCESS_KEY_ID", seaweedfs().read_only_access_key)
        .with("AWS_SECRET_ACCESS_KEY", seaweedfs().read_only_secret_key);
    let script = block("list-objects-v2");
    operator.fails(&script, "false");
    let put = |day: u32, bytes: usize| {
        // The time in the answer has whole seconds, and the script relies on it.
        let newest = || seaweedfs().list(&bucket).len();
        let before = newest();
        seaweedfs().put(
            &bucket,
            &format!("vlvt_backup_2026-01-{day}_03-00-00.sql.gz"),
            &vec![b'x'; bytes],
        );
        assert_eq!(newest(), before + 1);
        let second = chrono::Utc::now().timestamp();
        wait_until("the next second", LIMIT, || {
            (chrono::Utc::now().timestamp() > second).then_some(())
        });
    };
    put(10, 1000);
    operator.run(&script);
    put(11, 900);
    operator.run(&script);
    put(12, 100);
    operator.fails(&script, "false");
    put(13, 110);
    operator.run(&script);
    // An object can't be made old here, so the limit is changed instead.
    let strict = script.replace("25*3600", "0");
    assert_ne!(strict, script);
    operator.fails(&strict, "false");
}

/// The Rust files below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Whether there is a test `module::name`. A module of `src` may be named without its folders.
fn there_is(test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let file = format!("{}.rs", module.replace("::", "/"));
    let function = format!("fn {name}(");
    let folders = ["tests", "src", "crates/stream/src"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = folders
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)));
    files.filter(|path| path.ends_with(&file)).any(|path| {
        std::fs::read_to_string(path).is_ok_and(|text| {
            text.split(&function).next().is_some_and(|before| {
                text.contains(&function)
                    && ["#[test]", "#[tokio::test]\n    async"]
                        .iter()
                        .any(|mark| before.trim_end().ends_with(mark))
            })
        })
    })
}

#[test]
fn each_test_that_the_security_page_names_is_there() {
    let text = read("docs/security.md");
    let names: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("::") && !code.contains(' '))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(there_is(name), "{name}");
    }
}

#[test]
fn each_file_that_the_page_for_contributors_names_is_there() {
    let text = read("CONTRIBUTING.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_path = |code: &&str| {
        code.contains(['/', '.'])
            && !code.starts_with('/')
            && code
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    let paths: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_path).collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "{path}");
    }
}

/// The lines of a page between a heading and the next of the same or a higher level.
fn section(page: &str, heading: &str) -> Vec<String> {
    let level = heading.split(' ').next().unwrap().len();
    let text = read(page);
    let lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let ends =
        |line: &&str| line.starts_with('#') && line.split(' ').next().unwrap().len() <= level;
    let found: Vec<String> = lines
        .take_while(|line| !ends(line))
        .map(str::to_owned)
        .collect();
    assert!(!found.is_empty(), "{page}: {heading}");
    found
}

/// The first cells of the only table in a section.
fn first_cells(page: &str, heading: &str) -> Vec<String> {
    first_cells_of(&section(page, heading))
}

/// The first cells of all tables in these lines, without the headings.
fn first_cells_of(lines: &[String]) -> Vec<String> {
    let pairs = lines
        .iter()
        .zip(lines.iter().skip(1).map(Some).chain([None]));
    pairs
        .filter(|(line, _)| line.starts_with("| "))
        .filter(|(_, next)| !next.is_some_and(|next| next.starts_with("|---")))
        .map(|(row, _)| row.split('|').nth(1).unwrap().trim().to_owned())
        .collect()
}

/// The symptoms that the page lists, kind by kind.
fn symptoms() -> Vec<String> {
    let text = read(TROUBLESHOOTING);
    let (kinds, _) = text.split_once("\n## What is attempted again\n").unwrap();
    let lines: Vec<String> = kinds.lines().map(str::to_owned).collect();
    first_cells_of(&lines)
}

/// Compares the sentences of a page with a list of sentences and the tests for each.
fn held(page: &str, sentences: &[String], tests: &[(&str, &[&str])]) {
    for (_, names) in tests {
        for name in *names {
            assert!(
                there_is(name),
                "{page} is held by {name}, which is not there"
            );
        }
    }
    let listed: Vec<&str> = tests.iter().map(|(sentence, _)| *sentence).collect();
    let written: Vec<&str> = sentences.iter().map(String::as_str).collect();
    pretty_assertions::assert_eq!(
        written,
        listed,
        "{page}: each of these needs a test that is named here"
    );
}

/// The same if the order does not matter.
fn held_in_any_order(page: &str, mut sentences: Vec<String>, tests: &[(&str, &[&str])]) {
    let mut tests = tests.to_vec();
    tests.sort_unstable();
    sentences.sort_unstable();
    held(page, &sentences, &tests);
}

#[test]
fn each_symptom_of_the_troubleshooting_table_has_a_test() {
    held_in_any_order(
        TROUBLESHOOTING,
        symptoms(),
        &[
            (
                "`AccessDenied`",
                &[
                    "troubleshooting::access_denied_names_the_variables_to_compare_and_the_permission",
                    "store::a_token_that_may_only_read_is_refused_before_a_byte_is_dumped",
                ],
            ),
            (
                "`SignatureDoesNotMatch`",
                &["troubleshooting::signature_does_not_match_says_to_copy_the_secret_again"],
            ),
            (
                "`Unauthorized`, `InvalidAccessKeyId`, `Credential access key has length …, should be 32`",
                &[
                    "store::keys_that_are_not_r2s_name_the_key",
                    "troubleshooting::an_unknown_key_names_the_key",
                    "config::each_variable_that_is_wrong_is_named",
                ],
            ),
            (
                "`NoSuchBucket` (\"bucket not found\")",
                &["troubleshooting::bucket_not_found_names_the_bucket_and_the_endpoint"],
            ),
            (
                "`the answer is not what S3 sends`, `the list says that there is more of it`, `the answer is longer than 8 MiB`",
                &[
                    "bounds::a_list_that_contradicts_itself_or_is_none_is_an_error_and_never_an_empty_bucket",
                    "bounds::answers_without_end_cost_no_memory",
                ],
            ),
            (
                "`invalid HTTP version parsed`",
                &[
                    "connections::what_does_not_speak_http_is_named_and_the_log_holds_our_own_words_only",
                ],
            ),
            (
                "`the answer breaks off in the middle`",
                &[
                    "bounds::a_list_that_is_cut_anywhere_is_asked_for_again_and_never_taken_for_whole",
                ],
            ),
            (
                "`AuthorizationHeaderMalformed`, `PermanentRedirect`, `IllegalLocationConstraintException`, `InvalidRegionName`",
                &["remedies::a_bucket_in_another_region_names_the_region"],
            ),
            (
                "`NoSuchBucket` for another name than `AWS_S3_BUCKET`, or the bucket's name before the host does not resolve",
                &["remedies::a_bucket_that_is_asked_for_in_the_wrong_place_names_the_path_style"],
            ),
            (
                "`ExpiredToken`, `InvalidToken`, `TokenRefreshRequired`",
                &["remedies::each_code_has_its_own_remedy_whatever_the_words_are"],
            ),
            (
                "`AccountProblem`, `AllAccessDisabled`",
                &["remedies::each_code_has_its_own_remedy_whatever_the_words_are"],
            ),
            (
                "`QuotaExceeded`, `XMinioStorageFull`, HTTP 507",
                &[
                    "remedies::each_code_has_its_own_remedy_whatever_the_words_are",
                    "remedies::a_status_alone_is_told_with_what_there_is_and_with_who_answered",
                ],
            ),
            (
                "`KMS.…`",
                &["remedies::each_code_has_its_own_remedy_whatever_the_words_are"],
            ),
            (
                "`InvalidObjectState`",
                &["remedies::each_code_has_its_own_remedy_whatever_the_words_are"],
            ),
            (
                "HTTP 413, `EntityTooLarge`",
                &[
                    "remedies::a_proxys_limit_on_bodies_is_found_by_the_check_and_named_by_a_run",
                    "remedies::each_code_has_its_own_remedy_whatever_the_words_are",
                ],
            ),
            (
                "HTTP 301, 302, 307 or 308; HTTP 400 without a code",
                &[
                    "remedies::a_redirect_says_where_to_and_keeps_the_key",
                    "remedies::a_proxys_limit_on_bodies_is_found_by_the_check_and_named_by_a_run",
                ],
            ),
            (
                "Another request is refused (HTTP 4xx, 501), such as `MethodNotAllowed`, `MissingContentLength`, `NotImplemented`",
                &[
                    "troubleshooting::an_endpoint_that_is_no_s3_names_the_endpoint_and_the_region",
                    "store::a_complete_refused_for_good_leaves_nothing",
                ],
            ),
            (
                "The store's host does not resolve, or refuses the connection",
                &[
                    "troubleshooting::a_host_that_does_not_resolve_names_the_endpoint",
                    "troubleshooting::a_store_that_refuses_connections_names_the_endpoint",
                ],
            ),
            (
                "HTTP 429 or 5xx from the store",
                &["troubleshooting::a_store_that_is_overloaded_for_good_is_unavailable"],
            ),
            (
                "No answer from the store",
                &[
                    "troubleshooting::a_store_that_does_not_answer_is_a_timeout",
                    "cut::a_cut_connection_to_the_store_costs_retries_and_nothing_else",
                ],
            ),
            (
                "The ETag or the size differs, `BadDigest`",
                &[
                    "troubleshooting::bytes_that_are_changed_on_the_way_for_good_are_a_mismatch",
                    "store::an_object_of_another_size_is_no_success",
                ],
            ),
            (
                "`an object of that name exists already`, HTTP 409 or 412",
                &[
                    "name::a_manual_run_whose_name_is_taken_is_an_error_at_once_and_overwrites_nothing",
                    "store::a_name_that_another_container_took_meanwhile_is_not_overwritten",
                ],
            ),
            (
                "TLS handshake with the store fails, `certificate not valid for name`",
                &[
                    "troubleshooting::a_tls_handshake_that_fails_names_the_endpoint",
                    "tls::a_certificate_for_another_host_names_the_host_and_the_endpoint",
                ],
            ),
            (
                "`certificate expired`",
                &[
                    "tls::an_expired_certificate_of_the_store_is_named_with_the_clock_as_the_other_cause",
                ],
            ),
            (
                "`invalid peer certificate: UnknownIssuer`",
                &["tls::an_unknown_authority_of_the_store_says_how_to_make_it_known"],
            ),
            (
                "`RequestTimeTooSkewed`, `RequestExpired`, or a refusal whose own date is more than 15 minutes off",
                &[
                    "store::a_clock_that_is_off_is_named",
                    "remedies::a_clock_that_is_off_is_known_by_the_date_of_the_refusal",
                ],
            ),
            (
                "`server does not support SSL`, `SSL connection is required`",
                &[
                    "tls::a_database_without_tls_is_named_where_the_url_insists_on_it",
                    "tls::the_databases_certificate_is_checked_as_sslmode_says",
                ],
            ),
            (
                "`root certificate file … does not exist`, `certificate verify failed`, `does not match host name`",
                &[
                    "tls::the_databases_certificate_is_checked_as_sslmode_says",
                    "causes::tls_has_a_remedy_for_each_of_its_causes",
                ],
            ),
            (
                "`private key file … has group or world access`",
                &["causes::tls_has_a_remedy_for_each_of_its_causes"],
            ),
            (
                "`Connection refused`, `timeout expired`, no route",
                &[
                    "troubleshooting::a_refused_connection_is_waited_for_two_minutes_and_then_names_the_project_and_the_private_url",
                    "troubleshooting::a_server_that_never_answers_is_a_timeout_that_names_the_project",
                    "cut::a_cut_connection_to_the_database_ends_the_attempt_and_gives_the_locks_up",
                ],
            ),
            (
                "`could not translate host name`",
                &["troubleshooting::a_host_that_does_not_resolve_names_the_private_url"],
            ),
            (
                "`too many clients`, `remaining connection slots`",
                &[
                    "troubleshooting::too_many_connections_says_where_to_get_one",
                    "troubleshooting::a_server_without_a_free_connection_says_so_too",
                ],
            ),
            (
                "`password authentication failed`, `role \"x\" does not exist`",
                &[
                    "troubleshooting::a_wrong_password_names_the_url",
                    "troubleshooting::a_role_that_does_not_exist_names_the_url",
                ],
            ),
            (
                "`database \"x\" does not exist`",
                &["troubleshooting::a_missing_database_names_the_url"],
            ),
            (
                "`role \"x\" is not permitted to log in`, `database \"x\" is not currently accepting connections`, `permission denied for database \"x\"`",
                &["causes::the_statement_in_a_hint_lets_a_role_in"],
            ),
            (
                "Words in another language with `(SQLSTATE …)` behind them",
                &[
                    "causes::a_server_that_speaks_german_is_understood_by_its_codes",
                    "causes::a_refusal_in_any_language_has_its_remedy_over_tls_too",
                ],
            ),
            (
                "`Tenant or user not found`, `(ENOTFOUND) tenant/user …`, `Invalid Username specified`, `no such database: x`",
                &["causes::a_refusal_in_any_language_has_its_remedy_over_tls_too"],
            ),
            (
                "`no more connections allowed`, `Max client connections reached`, `server login has been failing`",
                &[
                    "causes::a_refusal_in_any_language_has_its_remedy_over_tls_too",
                    "causes::pgbouncers_own_refusals_have_theirs",
                ],
            ),
            (
                "`SSL connection has been closed unexpectedly`, `SSL SYSCALL error: EOF detected`, `server closed the connection unexpectedly`, `terminating connection due to administrator command`",
                &[
                    "causes::a_dump_that_loses_its_session_is_tried_again_over_tls_too",
                    "causes::a_front_that_agrees_to_tls_and_closes_is_waited_for",
                ],
            ),
            (
                "`no pg_hba.conf entry`, `pg_hba.conf rejects`",
                &["troubleshooting::pg_hba_names_the_servers_file"],
            ),
            (
                "`permission denied for table x`",
                &["troubleshooting::permission_denied_for_a_table_says_what_to_grant"],
            ),
            (
                "`permission denied for large object 16385`",
                &["causes::the_statement_in_a_hint_lets_a_role_in"],
            ),
            (
                "`query would be affected by row-level security policy`",
                &["troubleshooting::permission_denied_for_a_table_says_what_to_grant"],
            ),
            (
                "Version mismatch: `pg_dump cannot dump a server newer than itself`",
                &["versions::only_older_clients_are_an_error_that_names_both_and_leaves_nothing"],
            ),
            (
                "`canceling statement due to statement timeout`",
                &["dump::a_lock_held_by_another_session_ends_the_attempt_after_a_minute"],
            ),
            (
                "`canceling statement due to conflict with recovery`",
                &["causes::a_standby_says_what_it_could_not_wait_for_and_what_it_lacks"],
            ),
            (
                "`out of shared memory`",
                &["causes::more_tables_than_locks_are_foreseen_and_not_tried_again"],
            ),
            (
                "`invalid memory alloc request size`, `string buffer exceeds maximum allowed length`, `Cannot enlarge string buffer`",
                &["causes::what_no_attempt_can_dump_is_not_tried_again"],
            ),
            (
                "`could not access file \"$libdir/…\"`",
                &["causes::what_no_attempt_can_dump_is_not_tried_again"],
            ),
            (
                "Empty or missing backup; `pg_dump exited with status 1`",
                &[
                    "troubleshooting::a_dump_that_fails_shows_pg_dumps_own_words_and_stores_no_empty_file",
                    "dump::a_backend_terminated_in_the_middle_of_a_table_leaves_nothing",
                ],
            ),
            (
                "`pg_dump was ended by signal 9`",
                &["dump::a_killed_pg_dump_leaves_nothing"],
            ),
            (
                "`pg_dump wrote nothing for 600s`, or it does not exit",
                &[
                    "network::a_backend_that_is_stopped_ends_the_attempt_when_no_byte_came_for_too_long",
                    "dump::a_pg_dump_that_closes_its_output_and_stays_is_ended",
                ],
            ),
            (
                "`its output does not end like a whole dump`",
                &[
                    "dump::a_pg_dump_that_ends_well_with_short_output_is_no_backup",
                    "dump::a_pg_dump_that_ends_well_without_a_byte_is_no_backup",
                ],
            ),
            // No test can make the compressor fail.
            ("`compress the dump: …`", &[]),
            (
                "`took longer than BACKUP_TIMEOUT`",
                &[
                    "network::the_deadline_ends_a_run_whose_server_is_stopped",
                    "dump::a_pg_dump_that_ignores_sigterm_is_killed_at_the_deadline",
                ],
            ),
            (
                "`the service was told to stop`",
                &["lifecycle::sigterm_in_a_run_aborts_it_and_exits_0"],
            ),
            (
                "`could not start …/pg_dump`, `could not run psql`, `could not read the output of pg_dump`",
                &["dump::a_pg_dump_that_cannot_be_started_leaves_nothing"],
            ),
            (
                "`its compressed data is damaged`, `it is cut off`, `the dump in it has no end`",
                &["verify::no_damage_is_silent_and_none_is_restored"],
            ),
            (
                "`backup could not be read`, `drill could not be carried out`",
                &[
                    "verify::a_backup_that_could_not_be_read_is_not_called_damaged",
                    "verify::a_drill_that_could_not_be_carried_out_accuses_no_backup",
                ],
            ),
            (
                "`restore refused`",
                &[
                    "restore::a_target_that_holds_something_is_refused_and_left_alone",
                    "restore::the_source_is_refused_under_any_name",
                    "restore::missing_roles_and_extensions_are_named_before_anything_is_done",
                ],
            ),
            (
                "`restore failed` with `psql`'s words",
                &["restore::a_full_disk_on_the_target_is_named"],
            ),
            (
                "`this backup can't be proven there: …`",
                &[
                    "drill::an_extension_that_the_drills_server_lacks_makes_no_backup_bad",
                    "drill::a_right_that_the_drills_user_lacks_makes_no_backup_bad",
                ],
            ),
            (
                "`restored, but not what was dumped`, `VERIFY_SQL: statement …`",
                &[
                    "verify::a_drill_notices_what_a_restore_alone_does_not",
                    "verify::the_users_own_check_decides_too",
                ],
            ),
            (
                "Backup not running",
                &[
                    "troubleshooting::a_schedule_that_is_misread_is_refused_and_a_good_one_shows_its_next_five_due_times",
                ],
            ),
            (
                "A backup is `dated ahead`, in `list`, `check`, on the page or in the log",
                &["name::a_name_that_cannot_be_true_is_shown_and_never_taken_for_the_newest"],
            ),
            (
                "`/health` is `unknown`, and the log says that the newest was stored ahead of this clock",
                &["name::a_store_whose_clock_is_ahead_makes_no_backup_fresh"],
            ),
            (
                "No alert arrives; `alert not delivered`, `heartbeat not delivered`",
                &[
                    "alert::a_receiver_that_hangs_or_is_down_delays_neither_a_backup_nor_the_end",
                    "alert::what_a_receiver_does_not_want_is_said_once_and_not_tried_again",
                    "alert::a_redirect_is_followed_nowhere",
                ],
            ),
            (
                "An alert `anomaly` each night",
                &[
                    "anomaly::rows_are_held_against_the_previous_run",
                    "alert::a_size_unlike_those_in_the_bucket_is_told_also_by_a_single_shot",
                ],
            ),
            (
                "The service ends at once with exit code 2",
                &[
                    "config::each_variable_that_is_wrong_is_named",
                    "config::all_problems_come_at_once_and_two_in_one_variable_are_two_lines",
                ],
            ),
            (
                "`/health` is 503 and the log is quiet",
                &["http::health_is_503_when_the_newest_backup_is_too_old_except_for_railways_gate"],
            ),
        ],
    );
}

#[test]
fn each_promise_of_the_readme_has_a_test() {
    let promises: Vec<String> = section("README.md", "## What it promises")
        .iter()
        .filter_map(|line| Some(line.strip_prefix("- **")?.split_once("**")?.0.to_owned()))
        .collect();
    held(
        "README.md",
        &promises,
        &[
            (
                "An object that is there is complete.",
                &[
                    "dump::a_whole_dump_followed_by_a_failure_is_no_backup_and_the_password_is_redacted",
                    "dump::a_whole_dump_followed_by_a_signal_is_no_backup",
                    "dump::a_pg_dump_that_ends_well_with_short_output_is_no_backup",
                    "dump::output_that_is_no_dump_is_no_backup",
                    "store::a_part_refused_for_good_leaves_nothing",
                    "store::a_byte_flipped_on_the_way_is_noticed_and_sent_again",
                    "store::killed_at_any_moment_there_is_a_whole_object_or_none",
                ],
            ),
            (
                "Nothing is written to disk.",
                &["dump::not_a_byte_is_written_to_a_file"],
            ),
            (
                "SIGKILL leaves nothing visible.",
                &[
                    "lifecycle::sigkill_leaves_no_object_no_dump_and_an_upload_that_the_next_run_aborts",
                    "store::old_uploads_of_ours_are_swept_by_a_run_and_young_or_foreign_ones_are_not",
                ],
            ),
            (
                "A failed backup never ends the daemon.",
                &[
                    "clock::a_backup_that_fails_ends_neither_the_daemon_nor_its_schedule",
                    "store::a_failed_attempt_is_followed_by_another_from_the_start",
                ],
            ),
            (
                "No secret in logs, command lines or HTTP answers.",
                &[
                    "lifecycle::the_password_is_in_no_command_line",
                    "http::health_is_503_when_a_run_failed_after_its_retries_and_names_only_the_kind",
                    "config::children_get_our_environment_only_whatever_was_inherited",
                    "config::each_variable_that_is_wrong_is_named",
                    "restore::the_target_can_come_from_a_variable_and_never_shows_its_password",
                ],
            ),
            (
                "A restore is all or nothing, and never goes over data unasked.",
                &[
                    "restore::whatever_dies_in_the_middle_leaves_the_target_as_it_was",
                    "restore::a_target_that_holds_something_is_refused_and_left_alone",
                    "restore::the_source_is_refused_under_any_name",
                    "verify::no_damage_is_silent_and_none_is_restored",
                ],
            ),
            (
                "What comes back is a stranger's.",
                &[
                    "trust::what_a_database_holds_is_never_run_on_14",
                    "trust::crafted_backups_reach_nothing_on_17",
                    "trust::the_code_in_a_backup_reaches_nothing_of_ours_in_an_embedded_drill",
                    "trust::an_answer_of_any_length_takes_no_memory",
                ],
            ),
            (
                "A backup can be proven.",
                &[
                    "verify::a_drill_proves_the_awkward_database_on_a_server_and_on_a_throwaway_one",
                    "verify::the_daemon_drills_on_schedule_and_health_tells",
                ],
            ),
        ],
    );
    held(
        "README.md",
        &first_cells("README.md", "## Watching it"),
        &[
            (
                "`ok`",
                &["http::health_waits_then_is_ok_after_the_first_backup"],
            ),
            (
                "`waiting`",
                &["http::health_waits_then_is_ok_after_the_first_backup"],
            ),
            (
                "`running`",
                &["http::health_is_running_while_a_backup_is_made_and_nothing_is_overdue"],
            ),
            (
                "`stale`",
                &[
                    "http::health_is_503_when_the_newest_backup_is_too_old_except_for_railways_gate",
                    "health::the_verdict_is_a_table",
                ],
            ),
            (
                "`failing`",
                &[
                    "http::health_is_503_when_a_run_failed_after_its_retries_and_names_only_the_kind",
                ],
            ),
            (
                "`unproven`",
                &[
                    "verify::the_daemon_drills_on_schedule_and_health_tells",
                    "verify::a_drill_that_could_not_be_carried_out_accuses_no_backup",
                ],
            ),
            (
                "`unprovable`",
                &["drill::an_extension_that_the_drills_server_lacks_makes_no_backup_bad"],
            ),
            (
                "`unknown`",
                &[
                    "http::health_answers_before_the_bucket_does_and_says_unknown",
                    "name::a_store_whose_clock_is_ahead_makes_no_backup_fresh",
                ],
            ),
        ],
    );
    // Other sentences that promise something, anywhere on the page.
    let text = read("README.md")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let sentences: &[(&str, &[&str])] = &[
        (
            "uploads it as one object that `gunzip` and `psql` can restore",
            &[
                "docs::the_three_commands_of_the_first_screen_restore",
                "round_trip::every_awkward_thing_comes_back_from_18",
            ],
        ),
        (
            "All problems are reported together at start, by variable and without their values, and the process ends with exit code 2",
            &["config::all_problems_come_at_once_and_two_in_one_variable_are_two_lines"],
        ),
        (
            "An empty value counts as not set",
            &[
                "config::blank_is_unset_values_are_trimmed_and_strange_variables_of_others_do_no_harm",
            ],
        ),
        (
            "add `_FILE` to the name",
            &["config::secrets_come_from_files_too_but_not_from_both"],
        ),
        (
            "each trouble (`failing`, `stale`, `unproven`, `undrilled`, `unprovable`, `anomaly`) is told once while it lasts, and its end always",
            &[
                "alert::each_state_is_told_once_and_its_end_always",
                "alert::a_failing_schedule_is_told_once_and_its_recovery_always",
                "alert::a_newest_backup_that_grows_too_old_is_told_once_by_time_alone",
                "alert::a_drill_that_fails_is_told_once_and_so_is_the_next_that_does_not",
                "alert::a_table_that_was_emptied_is_named_in_the_log_and_the_alert_and_flagged_in_health",
            ],
        ),
        (
            "which alarms when it hears nothing at all. Neither can delay a backup",
            &[
                "alert::a_receiver_that_hangs_or_is_down_delays_neither_a_backup_nor_the_end",
                "alert::uptime_kuma_is_told_in_its_own_way",
            ],
        ),
        (
            "Calls with the host name `healthcheck.railway.app`",
            &["http::health_is_503_when_the_newest_backup_is_too_old_except_for_railways_gate"],
        ),
        (
            "`GET /live` is 200 as long as the process answers",
            &["http::both_answer_within_100_ms_before_the_first_listing_is_back"],
        ),
        (
            "ends with 0 (done), 1 (it did not work) or 2 (configuration)",
            &[
                "config::single_shot_mode_exits_by_itself_and_opens_no_port",
                "troubleshooting::a_wrong_password_names_the_url",
            ],
        ),
    ];
    for (sentence, tests) in sentences {
        assert!(
            text.contains(sentence),
            "README.md no longer says: {sentence}"
        );
        assert!(tests.iter().all(|test| there_is(test)), "{tests:?}");
    }
}

#[test]
fn the_fields_of_the_finished_line_are_those_the_readme_names() {
    let bucket = unique("fields");
    seaweedfs().create_bucket(&bucket);
    let url = crate::common::postgres().url("postgres");
    let finished =
        Service::backup(&Variables::working(seaweedfs(), &bucket, &url)).event("backup finished");
    let fields = "`name`, `size_bytes`, `uncompressed_bytes`, `ratio`, `rows`, `tables`, `parts`, `duration_seconds`, `compression_level`, `fastest_compressor`, `waited_for_dump_seconds`, `waited_for_compression_seconds`, `waited_for_upload_seconds`, `server_version`, `client_version` and `restore`";
    let text = read("README.md")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(text.contains(&format!("`backup finished` holds {fields}")));
    let named: std::collections::BTreeSet<&str> = fields.split('`').skip(1).step_by(2).collect();
    let written: std::collections::BTreeSet<&str> = finished
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let missing: Vec<_> = named.difference(&written).collect();
    assert!(missing.is_empty(), "{missing:?}: {finished}");
}

#[test]
fn what_is_attempted_again_is_what_the_page_says() {
    let row = section(TROUBLESHOOTING, "## What is attempted again")
        .into_iter()
        .find(|line| line.starts_with("| `"))
        .unwrap();
    let cells: Vec<Vec<String>> = row
        .split('|')
        .skip(1)
        .take(2)
        .map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        })
        .collect();
    for kind in Kind::ALL {
        let name = kind.as_str().to_owned();
        let again = kind.is_retryable();
        if again {
            assert!(
                cells[0].contains(&name) && !cells[1].contains(&name),
                "{name}"
            );
        } else {
            assert!(!cells[0].contains(&name), "{name}");
        }
    }
}
