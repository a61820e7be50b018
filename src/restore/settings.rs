//! The settings of the database that was backed up, which a dump does not hold (`ALTER DATABASE … SET`).
//!
//! They come from the backup's head and are a stranger's: each name and value is quoted, and a list is taken apart as the
//! server itself does it, or `search_path` would become one schema with commas in its name.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::dump::label::Setting;
use crate::format::identifier;
use crate::postgres::{Database, Sql};
use crate::reader::Summary;

/// More of them are not said one by one.
const TOLD: usize = 100;

/// How long the question about them may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The settings that are lists of quoted names. `pg_dumpall` has the same list (`variable_is_guc_list_quote`).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The settings that a server with these roles can have, and how many name a role that it lacks.
pub(super) fn wanted<'a>(
    summary: &'a Summary,
    roles: &BTreeSet<String>,
) -> (Vec<&'a Setting>, usize) {
    let all = summary
        .head
        .as_ref()
        .and_then(|head| head.origin.settings.as_deref())
        .unwrap_or_default();
    let (here, elsewhere): (Vec<&Setting>, Vec<&Setting>) = all.iter().partition(|setting| {
        let role = setting.role.as_ref();
        role.is_none_or(|role| roles.contains(role))
    });
    (here, elsewhere.len())
}

/// The statement that gives a database a setting.
pub(super) fn statement(setting: &Setting, database: &str) -> Sql {
    let of = match &setting.role {
        Some(role) => Sql::new("ALTER ROLE ")
            .name(role)
            .sql(" IN DATABASE ")
            .name(database),
        None => Sql::new("ALTER DATABASE ").name(database),
    };
    of.sql(" SET ").piece(&assignment(setting)).sql(";")
}

fn assignment(setting: &Setting) -> Sql {
    let mut assignment = Sql::new("").name(&setting.name).sql(" TO ");
    for (at, value) in values(setting).iter().enumerate() {
        assignment = assignment.sql(if at > 0 { ", " } else { "" }).text(value);
    }
    assignment
}

/// The same for a person, who may paste it.
pub(super) fn shown(setting: &Setting, database: &str) -> String {
    let values: Vec<String> = values(setting).iter().map(|value| literal(value)).collect();
    let (database, name) = (identifier(database), identifier(&setting.name));
    let values = values.join(", ");
    match &setting.role {
        Some(role) => format!(
            "ALTER ROLE {} IN DATABASE {database} SET {name} TO {values};",
            identifier(role)
        ),
        None => format!("ALTER DATABASE {database} SET {name} TO {values};"),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The values behind `TO`. The empty list is spelled as one empty name, which stands for nothing.
fn values(setting: &Setting) -> Vec<String> {
    let is_list = LISTS
        .iter()
        .any(|name| setting.name.eq_ignore_ascii_case(name));
    match is_list.then(|| listed(&setting.value)).flatten() {
        Some(names) if names.is_empty() => vec![String::new()],
        Some(names) => names,
        None => vec![setting.value.clone()],
    }
}

/// Takes a list of names apart as the server keeps it: names in double quotes, or without, and commas between them. None
/// if it is not one.
fn listed(value: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = value.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        (name, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let (name, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                let name = name.trim_end();
                if name.is_empty() {
                    return None;
                }
                (name.to_owned(), rest)
            }
        };
        names.push(name);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// A name up to its closing quote, and what is behind that.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (piece, behind) = rest.split_once('"')?;
        name.push_str(piece);
        match behind.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                rest = behind;
            }
            None => return Some((name, behind)),
        }
    }
}

/// Gives the database of this session the settings, within its transaction. One that this user may not set, or that the
/// server does not know, is left out; what was set is looked at afterwards.
pub(super) fn within(settings: &[&Setting]) -> Sql {
    let mut script = Sql::new("SET standard_conforming_strings TO on;\n");
    for setting in settings {
        script = script
            .sql("DO $psb$\nBEGIN\n    EXECUTE pg_catalog.format(")
            .sql(if setting.role.is_some() {
                "'ALTER ROLE %2$I IN DATABASE %1$I SET '"
            } else {
                "'ALTER DATABASE %1$I SET '"
            })
            .sql(", pg_catalog.current_database(), ")
            .text(setting.role.as_deref().unwrap_or_default())
            .sql(") OPERATOR(pg_catalog.||) ")
            .text(&String::from_utf8_lossy(assignment(setting).as_bytes()))
            .sql(";\nEXCEPTION WHEN OTHERS THEN\n    NULL;\nEND\n$psb$;\n");
    }
    script
}

/// Says which settings the database has now, and which it has not, each with the statement that gives it. `shown_as` is
/// the name that the database has by the time somebody reads this.
pub(super) async fn tell(
    database: &Database<'_>,
    name: &str,
    shown_as: &str,
    summary: &Summary,
    roles: &BTreeSet<String>,
    no_settings: bool,
) {
    let (wanted, of_missing_roles) = wanted(summary, roles);
    if wanted.is_empty() && of_missing_roles == 0 {
        return;
    }
    let (mut missing, mut applied) = (wanted.clone(), 0_usize);
    if !no_settings {
        match database.ask(&question(name), LIMIT).await {
            Ok(answer) => {
                let there: BTreeSet<(Option<String>, String, String)> =
                    serde_json::from_str(answer.trim()).unwrap_or_default();
                missing.retain(|setting| {
                    let key = (
                        setting.role.clone(),
                        setting.name.to_lowercase(),
                        setting.value.clone(),
                    );
                    !there.contains(&key)
                });
                applied = wanted.len().saturating_sub(missing.len());
            }
            Err(error) => {
                tracing::warn!(error = %error, "could not look at the settings of the database");
            }
        }
    }
    if applied > 0 {
        tracing::info!(database = shown_as, settings = applied, "settings applied");
    }
    for setting in missing.iter().take(TOLD) {
        let statement = shown(setting, shown_as);
        if no_settings {
            tracing::info!(statement, "setting not applied");
        } else {
            tracing::warn!(
                statement,
                hint = "this user may not set it, or the server does not know it; have an administrator run the statement if it is still wanted",
                "setting not applied"
            );
        }
    }
    let untold = missing.len().saturating_sub(TOLD);
    if untold > 0 || of_missing_roles > 0 {
        tracing::warn!(
            untold,
            of_missing_roles,
            hint = "the head of the backup, its first line, holds all of them",
            "further settings not applied"
        );
    }
}

/// Asks which settings a database has: as many triples of a role, or null, a name and a value as there are.
fn question(database: &str) -> Sql {
    Sql::new("SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(rolname, pg_catalog.lower(pg_catalog.split_part(setting, '=', 1)), pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') OPERATOR(pg_catalog.+) 1))), '[]') FROM pg_catalog.pg_database d, pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) setrole, pg_catalog.unnest(setconfig) AS c (setting) WHERE d.oid OPERATOR(pg_catalog.=) setdatabase AND datname OPERATOR(pg_catalog.=) ")
        .text(database)
        .sql(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(role: Option<&str>, name: &str, value: &str) -> Setting {
        Setting {
            role: role.map(str::to_owned),
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_list_is_taken_apart_and_another_value_is_not() {
        for (name, value, expected) in [
            (
                "search_path",
                "app, \"$user\", public",
                "'app', '$user', 'public'",
            ),
            ("Search_Path", "\"a\"\"b, c\",d", "'a\"b, c', 'd'"),
            ("search_path", "", "''"),
            ("search_path", "\"\"", "''"),
            // Not a list after all: as it is.
            ("search_path", "a,,b", "'a,,b'"),
            ("search_path", "\"a", "'\"a'"),
            ("datestyle", "ISO, DMY", "'ISO, DMY'"),
            ("app.motto", "it's \\ \"so\"", "'it''s \\ \"so\"'"),
        ] {
            let shown = shown(&setting(None, name, value), "shop");
            assert!(shown.ends_with(&format!(" TO {expected};")), "{shown}");
        }
    }

    #[test]
    fn nothing_leaves_its_quotes() {
        let hostile = setting(Some("r\"x"), "a'b", "'; DROP TABLE t; --");
        assert_eq!(
            shown(&hostile, "s\"p"),
            "ALTER ROLE \"r\"\"x\" IN DATABASE \"s\"\"p\" SET \"a'b\" TO '''; DROP TABLE t; --';"
        );
        let sql = statement(&hostile, "s\"p");
        let sql = String::from_utf8_lossy(sql.as_bytes()).into_owned();
        assert!(!sql.contains("DROP TABLE"), "{sql}");
    }

    #[test]
    fn a_setting_of_a_role_needs_the_role() {
        let head = crate::dump::label::Head {
            origin: crate::dump::label::Origin {
                settings: Some(vec![
                    setting(None, "a.b", "1"),
                    setting(Some("here"), "a.b", "2"),
                    setting(Some("away"), "a.b", "3"),
                ]),
                ..Default::default()
            },
            ..Default::default()
        };
        let summary = Summary {
            head: Some(std::sync::Arc::new(head)),
            ..Default::default()
        };
        let (here, elsewhere) = wanted(&summary, &BTreeSet::from(["here".to_owned()]));
        assert_eq!((here.len(), elsewhere), (2, 1));
    }
}
