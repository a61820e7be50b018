//! The pages about the variables agree with their table. `make variables` writes them again.

use std::fs;
use std::path::Path;
use std::process::Command;

use postgres_s3_backups::config::help::{default, plain};
use postgres_s3_backups::config::{Group, Unset, VARIABLES, Variable};

use crate::common::service::BINARY;

/// The marks before and after the part of a page that is written from the table.
const BEGIN: &str = "<!-- From here on written by `make variables`, from the table in src/config/variables.rs. -->\n";
const END: &str = "<!-- Up to here. -->\n";

/// A variable of Railway itself, which its template sets in addition.
const DRAINING: &str = "| `RAILWAY_DEPLOYMENT_DRAINING_SECONDS` | `10` | The time to abort an upload when the service is replaced |\n";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Each group with its variables.
fn grouped() -> impl Iterator<Item = (Group, Vec<&'static Variable>)> {
    Group::ALL.into_iter().map(|group| {
        let of_group = VARIABLES.iter().filter(|known| known.group == group);
        (group, of_group.copied().collect())
    })
}

/// The page, with the part between the marks replaced.
fn between_the_marks(page: &str, part: &str) -> String {
    let text = read(page);
    let (before, rest) = text.split_once(BEGIN).expect(page);
    let (_, after) = rest.split_once(END).expect(page);
    format!("{before}{BEGIN}{part}{END}{after}")
}

fn readme() -> String {
    let mut part = String::new();
    for (group, variables) in grouped() {
        part += &format!(
            "\n**{}**\n\n| Variable | Default | Meaning |\n|---|---|---|\n",
            group.title()
        );
        for variable in variables {
            let default = default(variable.default);
            part += &format!("| `{}` | {default} | {} |\n", variable.name, variable.about);
        }
    }
    let secrets = VARIABLES.iter().filter(|variable| variable.secret);
    let mut secrets: Vec<String> = secrets.map(|known| format!("`{}`", known.name)).collect();
    let last = secrets.pop().unwrap();
    part += &format!(
        "\nThe secrets ({} and {last}) can be read from a file instead: add `_FILE` to the name and give the path.\n\n",
        secrets.join(", ")
    );
    between_the_marks("README.md", &part)
}

fn railway() -> String {
    let mut part = String::from("\n| Variable | Default | Text |\n|---|---|---|\n");
    for (group, variables) in grouped() {
        for variable in variables {
            let (value, before, after) = match variable.default {
                Unset::Required => ("", "Required. ".to_owned(), String::new()),
                Unset::RequiredBut(but) => {
                    ("", format!("Required, but for {but}. "), String::new())
                }
                Unset::Is(value) | Unset::Usually(value, _) => {
                    (value, String::new(), String::new())
                }
                Unset::Depends(meaning, _) | Unset::Means(meaning) => {
                    ("", String::new(), format!(". Empty: {meaning}"))
                }
                Unset::None => ("", String::new(), String::new()),
            };
            let value = match (variable.name, value) {
                ("BACKUP_DATABASE_URL", _) => "`${{Postgres.DATABASE_URL}}` ".to_owned(),
                (_, "") => String::new(),
                (_, value) => format!("`{value}` "),
            };
            part += &format!(
                "| `{}` | {value}| {before}{}{after} |\n",
                variable.name, variable.about
            );
        }
        if group == Group::Needed {
            part += DRAINING;
        }
    }
    part.push('\n');
    between_the_marks("docs/railway.md", &part)
}

/// The example. The text before the first variable is written by hand.
fn example() -> String {
    let text = read(".env.example");
    let (head, _) = text.split_once("\n\n").unwrap();
    let mut text = format!("{head}\n");
    for (group, variables) in grouped() {
        text += &format!("\n# --- {} ---\n\n", group.title());
        for variable in variables {
            let about = plain(variable.about);
            let (before, after) = match variable.default {
                Unset::Required => ("Required. ".to_owned(), String::new()),
                Unset::RequiredBut(but) => (format!("Required, but for {but}. "), String::new()),
                Unset::Is(_) | Unset::None => Default::default(),
                Unset::Usually(..) | Unset::Depends(..) => {
                    let default = plain(&default(variable.default));
                    (String::new(), format!(" Default: {default}."))
                }
                Unset::Means(meaning) => (String::new(), format!(" Not set: {meaning}.")),
            };
            let mark = match variable.default {
                Unset::Required | Unset::RequiredBut(_) => "",
                _ => "#",
            };
            let shown = match variable.default {
                Unset::Is(value) | Unset::Usually(value, _) | Unset::Depends(_, value) => value,
                _ => "",
            };
            text += &format!(
                "# {before}{about}.{after}\n{mark}{}={shown}\n",
                variable.name
            );
            if let Some(name) = variable.file_name() {
                text += &format!(
                    "# Instead of the value itself: the path of a file that holds it.\n#{name}=\n"
                );
            }
        }
    }
    text
}

/// The page of the configuration. Its sections are written by hand. A missing one is begun.
fn configuration() -> String {
    let mut text = read("docs/configuration.md");
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
    let mut end_of_last = text.find("\n## `").unwrap() + 1;
    for variable in VARIABLES {
        let heading = format!("## `{}`\n", variable.name);
        if !text.contains(&heading) {
            let said = match variable.default {
                Unset::Required => "Required".to_owned(),
                other => format!("Default: {}", default(other)),
            };
            let mut section = format!("{heading}\n{}.\n\n- {said}.\n", variable.about);
            if let Some(name) = variable.file_name() {
                section += &format!(
                    "- May come from a file, as `{name}`.\n\n## `{name}`\n\nThe path of a file that holds `{}`. Not set by default; see *Secrets from files* above.\n",
                    variable.name
                );
            }
            text.insert_str(end_of_last, &format!("{section}\n"));
        }
        let last = variable
            .file_name()
            .unwrap_or_else(|| variable.name.to_owned());
        let begin = text.find(&format!("## `{last}`\n")).expect(&last);
        let next = text[begin + 1..].find("\n## `");
        end_of_last = next.map_or(text.len(), |next| begin + 1 + next + 1);
    }
    text.trim_end().to_owned() + "\n"
}

#[test]
fn the_pages_say_of_the_variables_what_their_table_says() {
    let write = std::env::var_os("WRITE_VARIABLES").is_some();
    let mut differ = Vec::new();
    for (page, written) in [
        ("README.md", readme()),
        ("docs/railway.md", railway()),
        (".env.example", example()),
        ("docs/configuration.md", configuration()),
    ] {
        if written == read(page) {
            continue;
        }
        if write {
            fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(page), written).unwrap();
            continue;
        }
        let now = read(page);
        let lines = written.lines().zip(now.lines());
        let first = lines.into_iter().find(|(written, now)| written != now);
        differ.push(format!("{page}: {first:#?}"));
    }
    assert!(
        differ.is_empty(),
        "not what src/config/variables.rs says; write it again with: make variables\n{}",
        differ.join("\n")
    );
}

/// The sections of the configuration's page are written by hand, but begin with the facts of the table.
#[test]
fn each_section_of_the_configuration_page_has_the_default_of_the_table() {
    let text = read("docs/configuration.md");
    for variable in VARIABLES {
        let heading = format!("\n## `{}`\n", variable.name);
        let (_, rest) = text.split_once(&heading).expect(variable.name);
        let section = rest.split("\n## ").next().unwrap();
        let beginning = match variable.default {
            Unset::Required => "- Required.".to_owned(),
            Unset::Is(value) | Unset::Usually(value, _) => format!("- Default: `{value}`"),
            Unset::Depends(on, value) => {
                // The page may say more than the table.
                let on = on.split(',').next().unwrap();
                assert!(
                    section.contains(on) || section.contains(value),
                    "{}",
                    variable.name
                );
                "- Default: ".to_owned()
            }
            Unset::RequiredBut(_) | Unset::None | Unset::Means(_) => {
                "- Default: not set".to_owned()
            }
        };
        let has = |beginning: &str| section.lines().any(|line| line.starts_with(beginning));
        assert!(has(&beginning), "{}: {beginning}", variable.name);
        let file = format!("- May come from a file, as `{}_FILE`.", variable.name);
        assert_eq!(has(&file), variable.secret, "{}", variable.name);
    }
}

#[test]
fn the_program_prints_the_table_whatever_is_set() {
    let output = Command::new(BINARY)
        .arg("--help-env")
        .env_clear()
        .env("PORT", "wrong")
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let place = |name: &str| {
        let beginning = format!("  {name} (");
        lines
            .iter()
            .position(|line| line.starts_with(&beginning))
            .expect(name)
    };
    for variable in VARIABLES {
        assert!(
            !lines[place(variable.name) + 1].is_empty(),
            "{}",
            variable.name
        );
    }
    let needed = grouped().next().unwrap().1;
    let needed: Vec<usize> = needed.iter().map(|known| place(known.name)).collect();
    assert!(VARIABLES.iter().all(|variable| {
        variable.group == Group::Needed || needed.iter().all(|at| *at < place(variable.name))
    }));
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("  BACKUP_RETRIES (3)\n"));
    assert!(text.contains("  STATUS_TOKEN (not set: closed, secret)\n"));
}
