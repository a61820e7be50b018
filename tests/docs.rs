//! The documents keep their word: their commands are run as they stand, and each promise and each symptom has a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::postgres::{PASSWORD, Postgres};
use crate::common::process::{Folder, tools};
use crate::common::service::{Service, Variables, gunzip};
use crate::common::{seaweedfs, unique};

const BUCKET: &str = "vlvt-backups";
const BACKUP: &str = "vlvt_backup_2026-01-25_03-00-00.sql.gz";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    let text = read(page);
    let pieces = text.split(open.as_str()).skip(1);
    pieces
        .map(|piece| piece.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// Every block of commands that a reader may paste, by words that it alone holds.
const BLOCKS: &[(&str, &str, &str)] = &[
    ("README.md", "bash", "gunzip backup.sql.gz"),
    (OPERATIONS, "bash", "createdb --maintenance-db"),
    (OPERATIONS, "bash", "pg_dump --data-only"),
    (OPERATIONS, "bash", "grep -m1 '^SET client_encoding'"),
    (OPERATIONS, "bash", "put-bucket-lifecycle-configuration"),
    (OPERATIONS, "bash", "list-objects-v2"),
    (OPERATIONS, "sql", "CREATE ROLE backup"),
];

/// The block with these words, for a test that runs it.
fn block(words: &str) -> String {
    let (page, language, _) = BLOCKS.iter().find(|block| block.2 == words).unwrap();
    let mut found = blocks(page, language);
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
    for page in ["README.md", OPERATIONS, "docs/configuration.md"] {
        for language in ["bash", "sql", "sh", "shell", "console"] {
            for text in blocks(page, language) {
                let known = BLOCKS
                    .iter()
                    .filter(|block| block.0 == page && text.contains(block.2));
                assert_eq!(
                    known.count(),
                    1,
                    "no test runs this block of {page}:\n{text}"
                );
            }
        }
    }
}

/// A command that stands in a line of text or of a table, by how it begins and what else it holds.
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
    // In a table a pipe must be escaped.
    found.remove(0).replace("\\|", "|")
}

/// The operator's machine: a folder, a shell, the AWS CLI and the clients of one major.
struct Operator {
    folder: Folder,
    path: String,
    variables: BTreeMap<&'static str, String>,
    bucket: String,
    backup: String,
}

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
        ]);
        Self {
            folder: Folder::new(),
            path,
            variables,
            bucket: bucket.to_owned(),
            backup: backup.to_owned(),
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a reader puts in place of the examples.
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
                "https://{ACCOUNT_ID}.r2.cloudflarestorage.com",
                &seaweedfs().endpoint,
            )
    }

    /// Runs commands as they stand but for the names; `Err` is everything they wrote.
    fn try_run(&self, commands: &str) -> Result<String, String> {
        let commands = self.own_names(commands);
        let output = Command::new("/bin/bash")
            .args(["-euo", "pipefail", "-c", &commands])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.folder.path())
            .envs(&self.variables)
            .output()
            .unwrap();
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

/// A server with a database `app` that is the page's example, and a backup of it in a bucket of its own.
fn backed_up(server: &Postgres) -> (String, String) {
    server.create_database("app", "");
    server.psql("app", "CREATE TABLE public.teams (id serial PRIMARY KEY, name text);
        CREATE TABLE public.users (id serial PRIMARY KEY, team integer REFERENCES public.teams, name text NOT NULL);
        CREATE TABLE public.users_of_old (id integer, name text);
        INSERT INTO public.teams (name) VALUES ('red'), ('blue');
        INSERT INTO public.users (team, name) SELECT 1 + g % 2, E'user \\\\. ' || g || E'\\n\\\\.\\nü' FROM generate_series(1, 500) g;
        INSERT INTO public.users_of_old VALUES (1, 'x');
        ALTER TABLE public.users ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON public.users USING (false);");
    // The role of the page has the rights to read everything, and no others.
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
    (bucket, backup)
}

#[test]
fn the_commands_that_restore_a_database_and_a_table_do_so() {
    let server = Postgres::start(17);
    let (bucket, backup) = backed_up(&server);
    let operator = Operator::new(17, &bucket, &backup)
        .with("DATABASE_URL", &server.url("app"))
        .with("RESTORE_URL", &server.url("restored"));

    let said = operator.run(&block("createdb --maintenance-db"));
    assert!(said.contains(&backup), "the list names it: {said}");
    assert_eq!(said.lines().last(), Some("restored"));
    pretty_assertions::assert_eq!(server.digest("app"), server.digest("restored"));

    // A second time it stops at the first table that is there.
    operator.fails(
        r#"psql -X -v ON_ERROR_STOP=1 "$RESTORE_URL" -f backup.sql"#,
        "already exists",
    );

    // One table: it was lost, and it comes back. Row security and foreign keys are as before.
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
    let rows_by_sed = operator.run(&inline(OPERATIONS, "sed -n '/^COPY", "public"));
    let by_awk = std::fs::read_to_string(operator.file("users.sql")).unwrap();
    assert_eq!(by_awk.split_once('\n').unwrap().1, rows_by_sed);
    server.psql("app", "SELECT setval('public.users_id_seq', 1)");
    let line = operator.run(&inline(
        OPERATIONS,
        "grep \"setval('public.users_id_seq'",
        "",
    ));
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

    // Roles are not in it. The page's command lists the owners.
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
        OPERATIONS,
        "grep -aE '^ALTER .* OWNER TO '",
        "sort -u",
    ));
    assert_eq!(owners, "\"Own er\";\n");
    stranger.psql("postgres", &format!("CREATE ROLE {owners}"));
    there.fails(restore, "role \"reader\" does not exist");
    stranger.psql("postgres", "CREATE ROLE reader");
    there.run(restore);

    // An extension that the server does not have, and one that only a superuser may create.
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

    // A newer client's dump on an older server.
    let older = Postgres::start(16);
    older.psql("postgres", "CREATE ROLE \"Own er\"; CREATE ROLE reader");
    let there = operator(&older, &fresh(&older));
    there.fails(
        restore,
        "unrecognized configuration parameter \"transaction_timeout\"",
    );
    there.run(&inline(OPERATIONS, "sed -i '1,40", "transaction_timeout"));
    there.run(restore);

    // The two lines that a psql from before August 2025 does not know.
    let there = operator(&server, &fresh(&server));
    there.run(&inline(OPERATIONS, "sed -i -E", "restrict"));
    let mended = std::fs::read_to_string(there.file("backup.sql")).unwrap();
    assert_eq!(text.lines().count() - mended.lines().count(), 2);
    assert!(!mended.contains("restrict"));
    there.run(restore);

    // A download that broke off does not pass step 3.
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
        // The time in the answer has whole seconds, and the script goes by it.
        let newest = || seaweedfs().list(&bucket).len();
        let before = newest();
        seaweedfs().put(
            &bucket,
            &format!("vlvt_backup_2026-01-{day}_03-00-00.sql.gz"),
            &vec![b'x'; bytes],
        );
        assert_eq!(newest(), before + 1);
        let second = chrono::Utc::now().timestamp();
        crate::common::process::wait_until(
            "the next second",
            crate::common::process::LIMIT,
            || (chrono::Utc::now().timestamp() > second).then_some(()),
        );
    };
    put(10, 1000);
    operator.run(&script);
    put(11, 900);
    operator.run(&script);
    put(12, 100);
    operator.fails(&script, "false");
    put(13, 110);
    operator.run(&script);
    // No object can be made old here, so the limit comes to meet it.
    let strict = script.replace("25*3600", "0");
    assert_ne!(strict, script);
    operator.fails(&strict, "false");
}
