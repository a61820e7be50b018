//! The code, the documents and the example agree with each other, and keep the rules of the project.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres_s3_backups::config::VARIABLES;
use postgres_s3_backups::fault::Kind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The name of every variable, including the `_FILE` forms of the secrets.
fn variables() -> BTreeSet<String> {
    let plain = VARIABLES.iter().map(|variable| variable.name.to_owned());
    let files = VARIABLES.iter().filter_map(|variable| variable.file_name());
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

/// The lines of the example as a user fills them in: every variable is set, to its default or to another value. `--env-file`
/// reads each line unchanged. A shell that sources the file must read the same, except for the only default with spaces.
#[test]
fn the_example_means_the_same_for_env_file_and_for_a_shell() {
    let file = |skip: &str| -> String {
        let lines = read(".env.example");
        let lines = lines.lines().map(|line| {
            let Some((name, value)) = line.trim_start_matches('#').split_once('=') else {
                return line.to_owned();
            };
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            match value {
                _ if name.is_empty() || !name.chars().all(is_name) => line.to_owned(),
                _ if name == skip => String::new(),
                "" if name.ends_with("_URL") => {
                    format!(
                        "{name}=postgres://a%20b:p%24%26%23%27w@host:5432/d%22b?sslmode=require"
                    )
                }
                "" => format!("{name}=/run/secrets/Value-1.2+3,4:5@6%7"),
                value => format!("{name}={value}"),
            }
        });
        lines.map(|line| line + "\n").collect()
    };
    let as_docker = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| line.contains('='))
            .map(str::to_owned)
            .collect()
    };
    let folder = crate::common::process::Folder::new();
    let path = folder.path().join(".env");
    let as_shell = |text: &str| -> BTreeSet<String> {
        fs::write(&path, text).unwrap();
        let script = "set -ea; . ./.env; exec env -0";
        let output = Command::new("/bin/bash")
            .args(["-c", script])
            .current_dir(folder.path())
            .env_clear()
            .output();
        let output = String::from_utf8(output.unwrap().stdout).unwrap();
        let known = variables();
        let is_ours = |line: &&str| {
            line.split_once('=')
                .is_some_and(|(name, _)| known.contains(name))
        };
        output
            .split_terminator('\0')
            .filter(is_ours)
            .map(str::to_owned)
            .collect()
    };
    let text = file("BACKUP_CRON_SCHEDULE");
    pretty_assertions::assert_eq!(as_shell(&text), as_docker(&text));
    let text = file("");
    let all: BTreeSet<String> = as_docker(&text)
        .iter()
        .map(|line| line.split_once('=').unwrap().0.to_owned())
        .collect();
    assert_eq!(all, variables());
    assert_ne!(
        as_shell(&text),
        as_docker(&text),
        "the example says that a shell can't read the schedule"
    );
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
    for variable in VARIABLES {
        let name = variable.name;
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

/// Railway's template editor asks for the text and the value of each variable. The table has all of them, with the defaults
/// of the example.
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
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    pretty_assertions::assert_eq!(listed, known);
    let example = read(".env.example");
    for (name, default, description) in rows {
        assert!(description.len() > 10, "{name}: {description}");
        let shown = example
            .lines()
            .find_map(|line| line.strip_prefix(&format!("#{name}=")));
        // The examples of these two are their values with a daily schedule and on a small machine.
        let derived = ["BACKUP_MAX_AGE", "BACKUP_COMPRESSION_THREADS"].contains(&name);
        if let Some(shown) = shown.filter(|_| !derived) {
            assert_eq!(default, shown, "{name}");
        }
    }
}

#[test]
fn every_kind_has_a_section_of_the_troubleshooting_page() {
    let page = read("docs/troubleshooting.md");
    for kind in Kind::ALL {
        let name = kind.as_str();
        let heading = format!("### `{name}`");
        assert!(page.lines().any(|line| line == heading), "{name}");
        assert!(page.contains(&format!("[`{name}`](#{name})")), "{name}");
    }
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["src", "crates/stream/src"] {
        walk(&root().join(folder), &mut found);
    }
    found
}

/// The string literals of Rust code, from this place to the bracket that closes the current one.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut rest, mut depth) = (code, 0_i32);
    while let Some(c) = rest.chars().next() {
        if let Some(raw) = rest.strip_prefix("r#\"") {
            let (text, after) = raw.split_once("\"#").unwrap();
            found.push(text.to_owned());
            rest = after;
            continue;
        }
        if let Some(raw) = rest.strip_prefix("r\"") {
            let (text, after) = raw.split_once('"').unwrap();
            found.push(text.to_owned());
            rest = after;
            continue;
        }
        if let Some(plain) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = plain.char_indices();
            loop {
                match characters.next().unwrap() {
                    (at, '"') => {
                        rest = &plain[at + 1..];
                        break;
                    }
                    (_, '\\') => match characters.next().unwrap().1 {
                        'n' => text.push('\n'),
                        other => text.push(other),
                    },
                    (_, other) => text.push(other),
                }
            }
            found.push(text);
            continue;
        }
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            break;
        }
        rest = &rest[c.len_utf8()..];
    }
    found
}

/// The words, operators and brackets of SQL, without literals, quoted names, comments and the tags of dollar quotes.
fn tokens(sql: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_operator = |c: char| "+-*/<>=~!@#%^&|`?:".contains(c);
        let taken = match c {
            '\'' | '"' => rest[1..].find(c).map_or(rest.len(), |end| end + 2),
            '$' => rest[1..].find('$').map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ if is_operator(c) => rest.find(|c| !is_operator(c)).unwrap_or(rest.len()),
            _ => c.len_utf8(),
        };
        let token = &rest[..taken];
        if !token.starts_with(['\'', '"', '$'])
            && !token.starts_with("--")
            && !token.trim().is_empty()
        {
            tokens.push(token.to_owned());
        }
        rest = &rest[taken..];
    }
    tokens
}

/// The names in a piece of SQL that PostgreSQL would look up in the search path.
fn unqualified(sql: &str) -> Vec<String> {
    const BEFORE_BRACKETS: &[&str] = &[
        "ALL", "AND", "ANY", "AS", "BY", "COALESCE", "DISTINCT", "ELSE", "EXISTS", "FILTER",
        "FROM", "JOIN", "NOT", "ON", "OPERATOR", "OR", "SELECT", "SET", "THEN", "VALUES", "WHEN",
        "WHERE", "WITH",
    ];
    const TYPES: &[&str] = &["integer", "bigint", "boolean"];
    let tokens = tokens(sql);
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    let before = |index: usize, back: usize| index.checked_sub(back).map_or("", at);
    let made_here: Vec<&str> = (0..tokens.len())
        .filter(|index| at(index + 1) == "AS" && at(index + 2) == "(")
        .map(at)
        .collect();
    let mut found = Vec::new();
    let mut setting = false;
    for (index, token) in tokens.iter().enumerate() {
        let word = token
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let qualified =
            before(index, 1) == "." && ["pg_catalog", "pg_temp"].contains(&before(index, 2));
        match token.as_str() {
            "SET" => setting = true,
            ";" => setting = false,
            _ => {}
        }
        let complaint = if word {
            // This is the alias of a table, with or without names of columns, as in FROM (…) AS v (at, name).
            let is_alias = before(index, 1) == "AS";
            let function = at(index + 1) == "(" && !BEFORE_BRACKETS.contains(&token.as_str());
            let relation = ["FROM", "JOIN"].contains(&before(index, 1));
            function && !qualified && !is_alias
                || relation && at(index + 1) != "." && !made_here.contains(&token.as_str())
                || [
                    "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "NULLIF", "CAST", "NATURAL", "USING",
                ]
                .contains(&token.as_str())
                || token == "IN" && at(index + 1) == "("
                || token == "DISTINCT" && before(index, 1) == "IS"
                || token == "CASE" && at(index + 1) != "WHEN"
        } else if token == "::" {
            at(index + 1) != "pg_catalog" && !TYPES.contains(&at(index + 1))
        } else if token.contains(|c| "+-*/<>=~!@#%^&|`?:".contains(c)) {
            let inside = before(index, 1) == "."
                && before(index, 2) == "pg_catalog"
                && before(index, 3) == "("
                && before(index, 4) == "OPERATOR";
            let all = token == "*" && before(index, 1) == "(" && at(index + 1) == ")";
            !(inside || all || token == "=" && setting)
        } else {
            false
        };
        if complaint {
            let context: Vec<&str> = (index.saturating_sub(3)..index + 3).map(at).collect();
            found.push(format!("{token} in: {}", context.join(" ")));
        }
    }
    found
}

/// The owner of a database can put functions and operators of any name into its schemas, and names without a schema may be
/// looked up there first.
#[test]
fn our_own_sql_names_everything_with_its_schema() {
    for wrong in [
        "SELECT count(*);",
        "SELECT a = b;",
        "SELECT a !~ 'x';",
        "SELECT a::text;",
        "SELECT a LIKE 'x';",
        "SELECT a IN (1);",
        "SELECT CASE a WHEN 1 THEN 2 END;",
        "SELECT a || b;",
        "SELECT * FROM pg_class;",
        "SELECT a IS DISTINCT FROM b;",
        "SELECT public.f();",
        "SELECT a OPERATOR(public.=) b;",
        "WITH a AS (SELECT 1) SELECT 1 FROM b;",
    ] {
        assert!(!unqualified(wrong).is_empty(), "{wrong}");
    }
    let mut pieces = 0;
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        // Tests may use any SQL.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for beginning in [
            "Sql::new(",
            ".sql(",
            "const READ_ONLY: &str = ",
            "const READ_WRITE: &str = ",
        ] {
            for (at, _) in code.match_indices(beginning) {
                let rest = &code[at + beginning.len()..];
                let end = if beginning.starts_with("const") {
                    rest.find(";\n").unwrap()
                } else {
                    rest.len()
                };
                for sql in literals(&rest[..end]) {
                    pieces += 1;
                    let found = unqualified(&sql);
                    assert!(found.is_empty(), "{}: {found:#?}", path.display());
                }
            }
        }
        // Sessions only accept SQL of this type, and are made in one place. A restore has one for the text of a backup.
        let makes_sessions = code.contains("(\"psql\", ") || code.contains(".command(\"psql\"");
        let homes = ["postgres/database.rs", "restore/psql.rs"];
        assert!(
            !makes_sessions || homes.iter().any(|home| path.ends_with(home)),
            "{} opens sessions of its own",
            path.display()
        );
    }
    assert!(pieces > 50, "{pieces}");
}

/// The arguments of a call. `code` begins after its opening bracket.
fn arguments(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut from, mut in_text) = (0_u32, 0, false);
    let mut characters = code.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' if in_text => {
                characters.next();
            }
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => {
                found.push(code[from..at].trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(code[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

/// The texts that a name in a message can stand for: those of a `let` before it, or those that the callers of the function
/// pass.
fn values(code: &str, at: usize, name: &str, sources: &[(PathBuf, String)]) -> Vec<String> {
    let begins = code[..at].rfind("fn ").unwrap();
    let function = &code[begins + 3..at];
    if let Some((_, value)) = function.rsplit_once(&format!("let {name} = ")) {
        return literals(value.split_once(";\n").unwrap().0);
    }
    let (called, signature) = function.split_once('(').unwrap();
    let called = called.split('<').next().unwrap();
    let parameters = arguments(signature);
    let index = parameters
        .iter()
        .position(|parameter| parameter.starts_with(&format!("{name}:")));
    let index = index.unwrap_or_else(|| panic!("{called}: where does {name} come from?"));
    let call = format!("{called}(");
    let mut found = Vec::new();
    for (_, code) in sources {
        for (at, _) in code.match_indices(&call) {
            let is_another = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if !is_another && !code[..at].ends_with("fn ") {
                let given = arguments(&code[at + call.len()..])[index];
                found.extend(texts(code, at, given));
            }
        }
    }
    found
}

/// The texts that an argument at this place can be. It can be a text itself, the name of a constant, or a parameter that is
/// passed in the same file.
fn texts(code: &str, at: usize, argument: &str) -> Vec<String> {
    let found = literals(argument);
    if !found.is_empty() {
        return found;
    }
    let constant = format!("const {argument}: &str = ");
    match code.split_once(&constant) {
        Some((_, value)) => literals(value.split_once(";\n").unwrap().0),
        None => values(code, at, argument, &[(PathBuf::new(), code.to_owned())]),
    }
}

/// A line that the service can log.
#[derive(Debug)]
struct Event {
    level: String,
    message: String,
    fields: Vec<String>,
    source: PathBuf,
}

/// All lines, with each text that a variable part can be.
fn events() -> Vec<Event> {
    let sources: Vec<(PathBuf, String)> = sources()
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code = code.split("#[cfg(test)]\npub(crate) mod ").next();
            (path, code.unwrap().to_owned())
        })
        .collect();
    let mut found = Vec::new();
    for (path, code) in &sources {
        for level in ["debug", "info", "warn", "error"] {
            let calls = [format!("tracing::{level}!("), "log_failure!(".to_owned()];
            let calls = calls.iter().flat_map(|beginning| {
                code.match_indices(beginning)
                    .map(|(at, call)| (at, arguments(&code[at + call.len()..])))
            });
            for (at, mut arguments) in calls {
                // In the macro for failures, the level and the failure come first. The failure becomes three fields.
                if code[at..].starts_with("log_failure!(") {
                    if arguments.first() != Some(&level) {
                        continue;
                    }
                    arguments.splice(..2, ["kind", "error", "hint"]);
                }
                let (texts, fields): (Vec<&str>, Vec<&str>) =
                    arguments.iter().partition(|it| it.starts_with('"'));
                let place = format!("{}: {arguments:?}", path.display());
                assert_eq!(texts.len(), 1, "{place}");
                let text = literals(texts[0]).remove(0);
                let messages = match text.split_once('{') {
                    None => vec![text],
                    Some((before, rest)) => {
                        let (name, after) = rest.split_once('}').unwrap();
                        assert!(!after.contains('{'), "{place}");
                        let values = values(code, at, name, &sources);
                        assert!(!values.is_empty(), "{place}");
                        values
                            .iter()
                            .map(|value| format!("{before}{value}{after}"))
                            .collect()
                    }
                };
                let fields = fields.iter().map(|field| {
                    let name = field.split('=').next().unwrap().trim();
                    name.trim_start_matches(['%', '?']).to_owned()
                });
                let fields: Vec<String> = fields.collect();
                found.extend(messages.into_iter().map(|message| Event {
                    level: level.to_uppercase(),
                    message,
                    fields: fields.clone(),
                    source: path.clone(),
                }));
            }
        }
    }
    found
}

/// The page has every line of the log, with its level and all of its fields. Lines that are only logged at debug level may
/// be left out, because they are for people who read the sources. And no row of the page is about a line that does not exist
/// any more.
#[test]
fn every_event_of_the_log_is_in_the_operators_page() {
    let page = read("docs/log.md");
    let code_of = |cell: &str| -> Vec<String> {
        let code = cell.split('`').skip(1).step_by(2);
        code.map(str::to_owned).collect()
    };
    let rows: Vec<(Vec<String>, &str, Vec<String>)> = page
        .split("\n| `message` | Level |")
        .skip(1)
        .flat_map(|table| table.lines().skip(2).take_while(|row| row.starts_with('|')))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            assert_eq!(cells.len(), 5, "{row}");
            (code_of(cells[1]), cells[2], code_of(cells[3]))
        })
        .collect();
    let events = events();
    let mut wrong = Vec::new();
    for event in &events {
        let mut found = rows
            .iter()
            .filter(|(messages, ..)| messages.contains(&event.message))
            .peekable();
        if found.peek().is_none() && event.level != "DEBUG" {
            wrong.push(format!("not in the page: {event:?}"));
        }
        for (_, levels, fields) in found {
            if !levels.contains(&event.level) {
                wrong.push(format!("{levels} is not its level: {event:?}"));
            }
            for field in event.fields.iter().filter(|field| !fields.contains(field)) {
                wrong.push(format!("without the field {field}: {event:?}"));
            }
        }
    }
    let listed: Vec<&String> = rows.iter().flat_map(|(messages, ..)| messages).collect();
    for (at, message) in listed.iter().enumerate() {
        if !events.iter().any(|event| event.message == **message) {
            wrong.push(format!("no such line is logged: {message}"));
        }
        if listed[..at].contains(message) {
            wrong.push(format!("twice in the page: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let shown = events.iter().filter(|event| event.level != "DEBUG").count();
    assert!(shown > 150, "{shown}");
}

#[test]
fn two_packages_alone_may_hold_unsafe_code() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"));
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let forbids = manifest.contains("\n[lints]\nworkspace = true\n");
        assert_eq!(
            forbids,
            !["igzip", "inflate"].contains(&name.as_str()),
            "{name}"
        );
    }
    assert!(manifest.contains("\n[lints]\nworkspace = true\n"));
}

#[test]
fn one_file_names_the_sdk_and_one_the_compressor() {
    for (words, home) in [
        (&["aws_sdk_s3", "aws_smithy"][..], "src/store.rs"),
        (
            &["async_compression", "libdeflater", "igzip", "inflate::"],
            "crates/stream/src/gzip.rs",
        ),
    ] {
        for path in sources() {
            let text = fs::read_to_string(&path).unwrap();
            let names_it = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| words.iter().any(|word| line.contains(word)));
            let folder = root().join(home.trim_end_matches(".rs"));
            assert!(
                !names_it || path.ends_with(home) || path.starts_with(folder),
                "{} names {words:?}",
                path.display()
            );
        }
    }
}

/// Which part of the program may use which: each may use those that come after it in this list, and none before it. A part
/// is a folder of `src` with the file of its name.
const PARTS: &[&str] = &[
    "main",
    "commands",
    "cli",
    "daemon",
    "check",
    "config",
    "web",
    "watch",
    "board",
    "drill",
    "restore",
    "verify",
    "globals",
    "backup",
    "telemetry",
    "progress",
    "reader",
    "catalog",
    "store",
    "dump",
    "postgres",
    "schedule",
    "process",
    "network",
    "secret",
    "format",
    "fault",
];

/// The parts that a piece of code names, by `crate::…` or, in `main`, by the library's name.
fn used(code: &str) -> BTreeSet<&str> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| {
            ["crate::", "postgres_s3_backups::"]
                .into_iter()
                .flat_map(|root| line.split(root).skip(1))
        })
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
        })
        .collect()
}

/// The parts that `part` uses although they come before it in the list.
fn upward<'a>(part: &str, code: &'a str) -> Vec<&'a str> {
    let place = |name: &str| PARTS.iter().position(|part| *part == name);
    let own = place(part).unwrap_or_else(|| panic!("{part} is not in the list"));
    used(code)
        .into_iter()
        .filter(|name| place(name).is_none_or(|other| other < own))
        .collect()
}

#[test]
fn the_architecture_page_has_the_parts_in_their_order() {
    let page = read("docs/architecture.md");
    let (_, section) = page.split_once("\n## Parts\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| {
        let (part, about) = line.strip_prefix("| `")?.split_once("` | ")?;
        assert!(about.len() > 20, "{line}");
        Some(part)
    });
    pretty_assertions::assert_eq!(rows.collect::<Vec<_>>(), PARTS);
}

#[test]
fn no_part_of_the_program_uses_one_above_it() {
    assert_eq!(upward("store", "use crate::backup::Made;"), ["backup"]);
    assert_eq!(upward("store", "use crate::unheard::Of;"), ["unheard"]);
    assert!(upward("backup", "use crate::store::Store;").is_empty());
    for path in sources() {
        let Ok(inside) = path.strip_prefix(root().join("src")) else {
            // `crates/stream` can't use this package, because it doesn't depend on it.
            continue;
        };
        let first = inside.components().next().unwrap();
        let part = Path::new(first.as_os_str()).file_stem().unwrap();
        let part = part.to_str().unwrap();
        if part == "lib" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let found = upward(part, code);
        assert!(found.is_empty(), "{} uses {found:?}", path.display());
    }
}

/// Every page of the documentation.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"));
    let mut pages: Vec<String> = docs.collect();
    pages.extend(["README.md", "CONTRIBUTING.md"].map(str::to_owned));
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn relative_links_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        let folder = root().join(&page).parent().unwrap().to_owned();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|target| !target.contains("://"))
        {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() {
                root().join(&page)
            } else {
                folder.join(file)
            };
            assert!(linked.exists(), "{page}: {target}");
            if !anchor.is_empty() {
                let linked = fs::read_to_string(linked).unwrap();
                assert!(anchors(&linked).contains(anchor), "{page}: {target}");
            }
        }
    }
}

#[test]
fn the_pages_are_finished() {
    for page in pages().into_iter().chain(["Dockerfile".to_owned()]) {
        let text = read(&page);
        for word in text.split(|c: char| !c.is_ascii_alphabetic()) {
            assert!(!["TODO", "FIXME", "XXX"].contains(&word), "{page}: {word}");
        }
    }
}

/// A line that is wider than a screen is hard to read and to compare. Rows of a table and code can't be wrapped.
#[test]
fn the_lines_of_the_pages_are_not_too_long() {
    // Pages that are not wrapped yet.
    let wide = [
        "configuration.md",
        "container.md",
        "performance.md",
        "railway.md",
        "README.md",
        "CONTRIBUTING.md",
    ];
    for page in pages() {
        if wide.iter().any(|name| page.ends_with(name)) {
            continue;
        }
        let text = read(&page);
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            let length = line.chars().count();
            assert!(
                is_code || line.starts_with('|') || length <= 160,
                "{page}:{}: {length} characters",
                number + 1
            );
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
    // The names are put together here, because otherwise this file would contain them.
    let folders = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut count = 0;
    for name in names.split_terminator('\0') {
        // A listed file may have been removed a moment ago, and a compressed file is not text.
        let Ok(text) = fs::read_to_string(root().join(name)) else {
            continue;
        };
        count += 1;
        for folder in &folders {
            for (number, line) in text.lines().enumerate() {
                // The same word as a part of a longer path or URL is not that folder.
                let named = line.match_indices(folder.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.~".contains(c))
                });
                assert!(!named, "{name}:{}: {folder}", number + 1);
            }
        }
    }
    assert!(count > 30, "{count}");
}
