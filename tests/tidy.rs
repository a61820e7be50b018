//! What the code, the documents and the example say about each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres_s3_backups::config::VARIABLES;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every name that is read, with the `_FILE` forms of the secrets.
fn variables() -> BTreeSet<String> {
    let plain = VARIABLES.iter().map(|(name, _)| (*name).to_owned());
    let files = VARIABLES
        .iter()
        .filter(|(_, secret)| *secret)
        .map(|(name, _)| format!("{name}_FILE"));
    plain.chain(files).collect()
}

#[test]
fn the_example_lists_exactly_the_variables_that_are_read_each_with_a_comment() {
    let text = read(".env.example");
    let lines: Vec<&str> = text.lines().collect();
    let mut listed = BTreeSet::new();
    let assignment = |line: &str| {
        let name = line.strip_prefix('#').unwrap_or(line).split_once('=')?.0;
        (!name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .then(|| name.to_owned())
    };
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = assignment(line) else {
            continue;
        };
        let above = lines[..number]
            .iter()
            .rev()
            .find(|above| assignment(above).is_none())
            .unwrap_or(&"");
        assert!(above.starts_with("# "), "{name} has no comment");
        assert!(listed.insert(name.clone()), "{name} is listed twice");
    }
    pretty_assertions::assert_eq!(listed, variables());
}

#[test]
fn the_configuration_page_has_a_section_for_each_variable() {
    let text = read("docs/configuration.md");
    let sections: BTreeSet<String> = text
        .lines()
        .filter_map(|line| {
            Some(
                line.trim_start_matches('#')
                    .trim()
                    .strip_prefix('`')?
                    .strip_suffix('`')?
                    .to_owned(),
            )
        })
        .collect();
    pretty_assertions::assert_eq!(sections, variables());
}

#[test]
fn the_readme_names_every_variable() {
    let text = read("README.md");
    for (name, _) in VARIABLES {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

/// Railway's template editor wants each variable's text and value: the table has them all, with the defaults that the
/// example shows.
#[test]
fn the_railway_page_has_each_variable_with_its_default() {
    let text = read("docs/railway.md");
    let (_, section) = text.split_once("\n## As a template of your own\n").unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.strip_suffix('`')?;
        Some((name, cells.next()?.trim_matches('`'), cells.next()?))
    });
    let rows: Vec<(&str, &str, &str)> = rows.collect();
    let listed: BTreeSet<&str> = rows
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| !name.starts_with("RAILWAY_"))
        .collect();
    let known: BTreeSet<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
    pretty_assertions::assert_eq!(listed, known);
    let example = read(".env.example");
    for (name, default, description) in rows {
        assert!(description.len() > 10, "{name}: {description}");
        let shown = example
            .lines()
            .find_map(|line| line.strip_prefix(&format!("#{name}=")));
        // The examples of these two are what a daily schedule and a small machine make of them.
        let derived = ["BACKUP_MAX_AGE", "BACKUP_COMPRESSION_THREADS"].contains(&name);
        if let Some(shown) = shown.filter(|_| !derived) {
            assert_eq!(default, shown, "{name}");
        }
    }
}

#[test]
fn every_kind_is_in_the_operators_page() {
    let operations = read("docs/operations.md");
    let kinds = read("src/kind.rs");
    let names = kinds.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("Self::")?
            .split_once("=> \"")?
            .1
            .strip_suffix("\",")
    });
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(operations.contains(&format!("`{name}`")), "{name}");
    }
}

fn sources() -> Vec<PathBuf> {
    fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn one_file_names_the_sdk_and_one_the_compressor() {
    for (words, home) in [
        (["aws_sdk_s3", "aws_smithy"], "store.rs"),
        (["async_compression", "libdeflater"], "gzip.rs"),
    ] {
        for path in sources() {
            let text = fs::read_to_string(&path).unwrap();
            let names_it = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| words.iter().any(|word| line.contains(word)));
            assert!(
                !names_it || path.ends_with(home),
                "{} names {words:?}",
                path.display()
            );
        }
    }
}

#[test]
fn relative_links_lead_somewhere() {
    for page in [
        "README.md",
        "docs/operations.md",
        "docs/architecture.md",
        "docs/configuration.md",
        "docs/testing.md",
        "docs/changelog.md",
        "docs/container.md",
        "docs/metrics.md",
        "docs/railway.md",
        "CONTRIBUTING.md",
    ] {
        let text = read(page);
        let folder = root().join(page).parent().unwrap().to_owned();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap();
            if !target.contains("://") && !file.is_empty() {
                assert!(folder.join(file).exists(), "{page}: {target}");
            }
        }
    }
}

#[test]
fn the_pages_are_finished() {
    for page in [
        "README.md",
        "docs/operations.md",
        "docs/architecture.md",
        "docs/configuration.md",
        "docs/testing.md",
        "docs/container.md",
        "docs/metrics.md",
        "docs/railway.md",
        "Dockerfile",
    ] {
        let text = read(page);
        for word in ["TODO", "FIXME", "XXX"] {
            assert!(!text.contains(word), "{page}: {word}");
        }
    }
}

#[test]
fn the_lints_that_keep_the_clock_and_the_environment_in_main_are_on() {
    let text = read(".clippy.toml");
    let (_, list) = text.split_once("disallowed-methods = [").unwrap();
    for path in [
        "std::env::var",
        "std::env::vars",
        "std::process::exit",
        "std::time::SystemTime::now",
        "chrono::Utc::now",
        "tokio::spawn",
    ] {
        assert!(list.contains(&format!("path = \"{path}\"")), "{path}");
    }
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    // An unpacked archive has no list of its files.
    if !root().join(".git").exists() {
        return;
    }
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let names = String::from_utf8(listed.stdout).unwrap();
    // Put together here, or this file would be the first to name them.
    let folders = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut count = 0;
    for name in names.split_terminator('\0') {
        // A name may be listed whose file was removed a moment ago, and a compressed file is no text.
        let Ok(text) = fs::read_to_string(root().join(name)) else {
            continue;
        };
        count += 1;
        for folder in &folders {
            for (number, line) in text.lines().enumerate() {
                // The same word as a step of a longer path or URL is not that folder.
                let named = line.match_indices(folder.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.~".contains(c))
                });
                assert!(!named, "{name}:{}: {folder}", number + 1);
            }
        }
    }
    assert!(count > 30, "{count}");
}
