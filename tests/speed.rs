//! Every gunzip reads the members, memory does not grow, and a store may be slow or ask for fewer requests.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::common::halted::Halted;
use crate::common::process::{Folder, LIMIT, tools, wait_until};
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, unique};

/// The promise of docs/performance.md, which is 64 MiB, without the pages of the program.
pub const MOST_RSS_KIB: u64 = 58 * 1024;

/// A database whose dump has about forty megabytes that can hardly be compressed.
fn large() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let database = unique("large").replace('-', "_");
        postgres().create_database(&database, "");
        postgres().psql(&database, "CREATE TABLE t AS SELECT md5(g::text) || md5((-g)::text) AS a FROM generate_series(1, 1500000) g");
        postgres().url(&database)
    })
}

fn peak_kib(service: &Service) -> u64 {
    service.peak_kib().unwrap()
}

/// The link of each open file of a process, by its number.
fn open_files(process: u32) -> HashMap<String, PathBuf> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().into_string().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect()
}

#[test]
fn what_pg_dump_writes_wakes_nobody_up_while_there_is_more_to_be_read() {
    // Linux wakes up whoever asks for events of a pipe at each write to it. Without that, only a write to an empty pipe does it.
    let halted = Halted::new(postgres(), 1000, 1000);
    let r2 = R2::start();
    let variables = halted.variables(Variables::on_r2(&r2, &halted.url()));
    let service = Service::start(&variables, &["backup"]);
    halted.wait();
    let child = fs::read_dir(format!("/proc/{}/task", service.id()))
        .unwrap()
        .find_map(|thread| {
            let children = fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
            children.split_whitespace().next()?.parse().ok()
        })
        .unwrap();
    let pipe = &open_files(child)["1"];
    let files = open_files(service.id());
    let (ours, _) = files.iter().find(|(_, link)| *link == pipe).unwrap();
    let watched: Vec<String> = files
        .keys()
        .filter_map(|file| fs::read_to_string(format!("/proc/{}/fdinfo/{file}", service.id())).ok())
        .flat_map(|text| {
            let targets = text.lines().filter_map(|line| line.strip_prefix("tfd:"));
            let numbers = targets.filter_map(|line| line.split_whitespace().next());
            numbers.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    // The pipe of its standard error is watched.
    assert!(!watched.is_empty());
    assert!(!watched.contains(ours), "{ours} of {watched:?}");
    halted.release();
    assert_eq!(service.end(LIMIT).code(), Some(0));
}

/// The output of a command that gets a file on its standard input.
fn through(command: &[&str], file: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let file = file.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&file).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

#[test]
fn every_gunzip_reads_all_of_a_backup() {
    tools(&["gunzips"]);
    for level in ["auto", "1", "9"] {
        let r2 = R2::start();
        let ended =
            Service::backup(&Variables::on_r2(&r2, large()).with("BACKUP_COMPRESSION", level));
        assert_eq!(ended.code(), Some(0), "{}", ended.text());
        let finished = ended.event("backup finished");
        if let Ok(level) = level.parse::<f64>() {
            assert_eq!(finished["compression_level"], level);
        }
        let fastest = if cfg!(feature = "isal") {
            "ISA-L"
        } else {
            "libdeflate"
        };
        assert_eq!(finished["fastest_compressor"], fastest);
        let file = r2.objects().into_values().next().unwrap();
        let text = through(&["gunzip", "-c"], &file);
        assert_eq!(finished["uncompressed_bytes"], text.len());
        assert!(text.ends_with(b"]]\n") && text.len() > 90_000_000);
        for command in [
            &["zcat"][..],
            &["pigz", "-dc"],
            &["bsdcat"],
            &[
                "python3",
                "-c",
                "import gzip, shutil, sys; shutil.copyfileobj(gzip.open(sys.stdin.buffer), sys.stdout.buffer)",
            ],
        ] {
            assert!(through(command, &file) == text, "{command:?}");
        }
        let folder = Folder::new();
        let path = folder.path().join("backup.sql.gz");
        fs::write(&path, &file).unwrap();
        let tested = Command::new("gzip").arg("-t").arg(&path).status().unwrap();
        assert!(tested.success());
    }
}

#[test]
fn a_store_that_asks_for_less_gets_less_and_then_all() {
    let r2 = R2::start();
    let refused = r2.fail(
        Operation::UploadPart,
        1,
        2,
        Action::Answer(429, "TooManyRequests"),
    );
    let ended = Service::backup(&Variables::on_r2(&r2, large()));
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(refused.struck(), 2);
    let told = ended.events("the store asked for fewer requests: sending fewer parts at a time");
    assert!(!told.is_empty(), "{}", ended.text());
    assert_eq!(told[0]["parts_in_flight"], 1);
}

#[test]
fn a_slow_store_costs_no_memory_and_is_named_as_the_reason() {
    // With a slower store, the other work of a busy machine is a smaller share of the time, but a wait that is not reported
    // is a larger share.
    for slow in [3, 15, 75] {
        let (finished, named) = beside_a_slow_store(slow);
        if named {
            return;
        }
        assert!(slow < 75, "{finished}");
    }
}

/// Makes a backup with a store that answers each part after this number of seconds. Returns the event, and whether it names
/// the upload as what it waited for.
fn beside_a_slow_store(seconds: u32) -> (serde_json::Value, bool) {
    let r2 = R2::start();
    let delay = Duration::from_secs(seconds.into());
    r2.fail(Operation::UploadPart, 0, usize::MAX, Action::Delay(delay));
    let service = Service::daemon(&Variables::on_r2(&r2, large()).with("RUN_ON_STARTUP", "true"));
    wait_until("the backup's end", 5 * LIMIT, || {
        let ended = service.events("backup finished").len();
        (ended == 1).then_some(())
    });
    let finished = service.wait_for("backup finished");
    let peak = peak_kib(&service);
    assert!(peak <= MOST_RSS_KIB, "{peak} KiB: {finished}");
    // The five buffers of 8 MiB were all in use, and an idle daemon has no need for them.
    wait_until("the buffers' memory to be given back", LIMIT, || {
        let kept = service.resident_kib().unwrap();
        (peak - kept >= 30 * 1024).then_some(())
    });
    assert_eq!(service.terminate().code(), Some(0));
    let number = |name: &str| finished[name].as_f64().unwrap();
    // It waits that long for the last part alone.
    let waited = number("waited_for_upload_seconds");
    // It also waits for each earlier part that was not sent yet when the whole dump had been read. Each such wait must be
    // reported.
    let said = ["dump", "compression", "upload"]
        .map(|what| number(&format!("waited_for_{what}_seconds")))
        .iter()
        .sum::<f64>();
    let named = waited > 0.8 * f64::from(seconds) && said / number("duration_seconds") > 0.6;
    (finished, named)
}

#[test]
fn the_later_backups_of_a_daemon_take_little_more_memory_than_the_first() {
    // The compressors are still made in heaps, which may grow by this much. The blocks and buffers would add 4 MiB.
    const MORE_KIB: u64 = 2 * 1024;
    let r2 = R2::start();
    let delay = Duration::from_secs(1);
    r2.fail(Operation::UploadPart, 0, usize::MAX, Action::Delay(delay));
    let variables = Variables::on_r2(&r2, large())
        .with("RUN_ON_STARTUP", "true")
        .with("BACKUP_CRON_SCHEDULE", "* * * * * *");
    let service = Service::daemon(&variables);
    wait_until("four backups", 5 * LIMIT, || {
        let finished = service.events("backup finished").len();
        (finished >= 4).then_some(())
    });
    let peak = peak_kib(&service);
    assert!(peak <= MOST_RSS_KIB + MORE_KIB, "{peak} KiB");
    assert_eq!(service.terminate().code(), Some(0));
}

#[test]
fn a_row_of_200_megabytes_costs_no_memory() {
    let database = unique("one_row").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(&database, "CREATE TABLE t AS SELECT string_agg(md5(g::text), '') AS a FROM generate_series(1, 6250000) g");
    let r2 = R2::start();
    let service = Service::daemon(
        &Variables::on_r2(&r2, &postgres().url(&database)).with("RUN_ON_STARTUP", "true"),
    );
    let finished = service.wait_for("backup finished");
    assert!(finished["uncompressed_bytes"].as_u64().unwrap() > 200_000_000);
    assert_eq!(finished["rows"], 1);
    let peak = peak_kib(&service);
    assert!(peak <= MOST_RSS_KIB, "{peak} KiB: {finished}");
    assert_eq!(service.terminate().code(), Some(0));
}
