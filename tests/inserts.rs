//! Dumps with `INSERT` instead of `COPY`: their rows are counted like those of any other dump, and a drill compares them.

use std::path::Path;
use std::time::Duration;

use crate::common::postgres::Postgres;
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs};
use crate::restore::{dump, gzip, on_bucket, one_error, restore, source};

const LONG: Duration = Duration::from_secs(300);

/// The options of `pg_dump` that write rows so, each way of counting once.
const OPTIONS: [&str; 4] = [
    "--inserts",
    "--column-inserts",
    "--rows-per-insert=7 --on-conflict-do-nothing",
    "--column-inserts --rows-per-insert=1000",
];

/// Makes a backup with these options. Returns what it says about its rows and tables, and the variables.
fn counted(variables: &Variables, options: &str) -> (serde_json::Value, Variables) {
    let variables = variables.clone().with("BACKUP_OPTIONS", options);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{options}: {}", ended.text());
    (ended.event("backup finished"), variables)
}

#[test]
fn rows_of_every_kind_are_counted_and_come_back() {
    for (major, options) in [
        (14, [OPTIONS[0], OPTIONS[3]]),
        (18, [OPTIONS[1], OPTIONS[2]]),
    ] {
        let server = Postgres::start(major);
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        server.create_database("awkward", "");
        server.psql_file("awkward", data.join("awkward.sql"));
        // pg_dump writes a negative zero as the number -0, which is 0.
        server.psql(
            "awkward",
            "UPDATE awkward.numbers SET f4 = 0, f8 = 0 WHERE id = 6",
        );
        // These are rows without columns, and values that only the server may set.
        server.psql(
            "awkward",
            "CREATE TABLE public.\"no columns (\" (); INSERT INTO public.\"no columns (\" DEFAULT VALUES; INSERT INTO public.\"no columns (\" DEFAULT VALUES;
             CREATE TABLE public.\"VALUES (\"\"\" (id int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (id * 2) STORED, \") VALUES (\" text); INSERT INTO public.\"VALUES (\"\"\" (\") VALUES (\") SELECT E'), (\\n' || i FROM generate_series(1, 23) i",
        );
        let (_, variables) = on_bucket(&server, "awkward");
        let (copied, _) = counted(&variables, "");
        let source = server.digest("awkward");
        for (at, options) in options.into_iter().enumerate() {
            let (finished, variables) = counted(&variables, options);
            assert_eq!(finished["rows"], copied["rows"], "{major}, {options}");
            assert_eq!(finished["large_objects"], copied["large_objects"]);
            let target = format!("restored_{at}");
            server.create_database(&target, "");
            let ended = restore(&variables, &["latest", "--to", &server.url(&target)]);
            assert_eq!(ended.code(), Some(0), "{options}: {}", ended.text());
            assert_eq!(ended.event("restore finished")["rows"], copied["rows"]);
            pretty_assertions::assert_eq!(source, server.digest(&target));
        }
    }
}

#[test]
fn a_drill_counts_the_rows_of_inserts() {
    let (database, _) = source();
    let (bucket, variables) = on_bucket(postgres(), &database);
    for options in OPTIONS {
        let (finished, variables) = counted(&variables, options);
        assert_eq!(
            (&finished["tables"], &finished["rows"]),
            (&2.into(), &7000.into())
        );
        let place = postgres().url("postgres");
        let ended = Service::start(&variables, &["verify", "--into", &place]).end(LONG);
        assert_eq!(ended.code(), Some(0), "{options}: {}", ended.text());
        let proven = ended.event("backup proven");
        assert_eq!(proven["tables_compared"], 2, "{options}: {proven}");
    }
    // One row is lost while it is loaded.
    let (finished, variables) = counted(&variables, "--rows-per-insert=100");
    let name = finished["name"].as_str().unwrap();
    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, name))).unwrap();
    let trigger = "CREATE FUNCTION public.none() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 4000 THEN RETURN NULL; END IF; RETURN NEW; END';\nCREATE TRIGGER none BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.none();\n";
    let insert = "INSERT INTO public.users VALUES";
    let changed = text.replacen(insert, &format!("{trigger}{insert}"), 1);
    assert_ne!(text, changed);
    seaweedfs().put(&bucket, name, &gzip(changed.as_bytes()));
    let place = postgres().url("postgres");
    let ended = Service::start(&variables, &["verify", name, "--into", &place]).end(LONG);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    let said = "public.users holds 4999 rows, 5000 were dumped";
    assert!(error["error"].as_str().unwrap().contains(said), "{error}");
}
