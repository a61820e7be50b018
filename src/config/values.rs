//! The values of variables as dashboards and files hand them over. They are cleaned, and all of them are checked against the
//! same rules.
//!
//! A value that cannot have been intended is refused here, before anything asks what it means: quotes that belong to the
//! syntax of a file, a reference that was not resolved, a comment, or an invisible character.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::problem::Findings;
use super::variables::{BACKUP_OPTIONS, FAMILIES, VARIABLES, VERIFY_SQL, Variable};
use crate::fault::Wrong;

/// In SQL, operators can look like comments, and braces and blanks are normal. So only its quotes are checked against the
/// rules.
fn is_sql(name: &str) -> bool {
    name == VERIFY_SQL.name
}

/// Whether the value is read as a shell would, where quotes protect what they enclose.
fn is_of_shell(name: &str) -> bool {
    name == BACKUP_OPTIONS.name
}

/// The variables of this service: trimmed, with the content of the `_FILE` ones, and without those that are empty or
/// refused.
pub(super) fn present(
    variables: &[(OsString, OsString)],
    read_file: impl Fn(&str) -> Result<String, String>,
    findings: &mut Findings,
) -> Vec<(String, String)> {
    let mut ours: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        if Variable::called(name).is_none() {
            if FAMILIES.iter().any(|family| name.starts_with(family))
                && !is_injected(name, value.to_str())
            {
                findings.warn(
                    name,
                    Wrong::new(
                        "is not a variable of this service and is not read",
                        "look for a misspelling",
                    ),
                );
            }
            continue;
        }
        match value.to_str().map(trimmed) {
            None => findings.refuse(name, "is not UTF-8 text"),
            Some("") => {}
            Some(text) => {
                ours.insert(name.to_owned(), text.to_owned());
            }
        }
    }
    // The path of a file is checked like any other value.
    refuse_accidents(&mut ours, findings);
    for variable in VARIABLES {
        let name = variable.name;
        let Some(file_name) = variable.file_name() else {
            continue;
        };
        let Some(path) = ours.remove(&file_name) else {
            continue;
        };
        if ours.remove(name).is_some() {
            let cause = format!("and {file_name} are both set");
            findings.refuse(name, Wrong::new(cause, "remove one"));
            continue;
        }
        match read_file(&path).map(|content| trimmed(&content).to_owned()) {
            Ok(content) if content.is_empty() => findings.refuse(&file_name, "names an empty file"),
            Ok(content) => match accident(name, &content) {
                Some(wrong) => {
                    let cause = format!("names a file whose text {}", wrong.cause);
                    findings.refuse(&file_name, Wrong::new(cause, wrong.remedy));
                }
                None => {
                    ours.insert(name.to_owned(), content);
                }
            },
            Err(reason) => findings.refuse(
                &file_name,
                format!("names a file that can't be used: {reason}"),
            ),
        }
    }
    ours.into_iter().collect()
}

fn refuse_accidents(ours: &mut BTreeMap<String, String>, findings: &mut Findings) {
    ours.retain(|name, value| match accident(name, value) {
        Some(wrong) => {
            findings.refuse(name, wrong);
            false
        }
        None => true,
    });
}

/// Removes blanks, line ends and invisible characters around a text, such as the byte order mark that editors on Windows put
/// before a file's text.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// Characters that have no width, and no meaning in any variable of this service.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Looks for signs that a value is not the intended one.
fn accident(name: &str, value: &str) -> Option<Wrong> {
    if is_quoted(name, value) {
        return Some(Wrong::new("has quotes around its value", "remove them"));
    }
    let assigned = value.strip_prefix("export ").unwrap_or(value).trim_start();
    if assigned
        .strip_prefix(name)
        .is_some_and(|rest| rest.trim_start().starts_with('='))
    {
        return Some(Wrong::new(
            "holds its own name",
            "set it only to what follows the = in the file",
        ));
    }
    if is_sql(name) {
        return None;
    }
    if is_reference(value) {
        return Some(Wrong::new(
            "holds a reference that was not resolved: on Railway it is ${{Service.VARIABLE}}, where the part before the dot is the name of the service that has the variable",
            "elsewhere write the value itself",
        ));
    }
    if has_comment(name, value) {
        return Some(Wrong::new(
            "holds a comment: a # after a blank, with what follows it, would become part of the value",
            "remove it",
        ));
    }
    value
        .chars()
        .any(|c| is_invisible(c) || c.is_whitespace() && !c.is_ascii())
        .then(|| {
            Wrong::new(
                "holds an invisible character, such as a no-break or zero-width space",
                "type it instead of copying it",
            )
        })
}

/// Whether there are quotes around the whole value. `docker --env-file` and some dashboards keep them.
fn is_quoted(name: &str, value: &str) -> bool {
    const PAIRS: [(char, char); 7] = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('“', '”'),
        ('„', '“'),
        ('‘', '’'),
        ('«', '»'),
    ];
    PAIRS.iter().any(|(opening, closing)| {
        let inner = value
            .strip_prefix(*opening)
            .and_then(|rest| rest.strip_suffix(*closing));
        // Each word of a shell may have quotes of its own: "-t a" "-t b".
        inner.is_some_and(|inner| !is_of_shell(name) || !has_unescaped(inner, *closing))
    })
}

fn has_unescaped(text: &str, quote: char) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let found = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        found
    })
}

/// Whether the value still holds a reference to another variable, in the syntax of some platform.
fn is_reference(value: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    // Kubernetes leaves $(NAME) as it is if it knows no variable NAME.
    let in_parentheses = value.split("$(").skip(1).any(|after| {
        after
            .split_once(')')
            .is_some_and(|(name, _)| is_name(name) && name.len() > 1)
    });
    let is_shells = value.strip_prefix('$').is_some_and(|name| {
        is_name(name) && name.contains('_') && !name.contains(|c: char| c.is_ascii_lowercase())
    });
    let is_template = value.starts_with("{{") && value.ends_with("}}");
    value.contains("${") || in_parentheses || is_shells || is_template
}

/// Whether there is a `#` after a blank, or a `#` at the beginning with a blank after it, outside a shell's quotes.
fn has_comment(name: &str, value: &str) -> bool {
    let mut before = None;
    let mut quote = None;
    let mut escaped = false;
    if value.strip_prefix('#').is_some_and(|rest| {
        rest.is_empty() || is_of_shell(name) || rest.starts_with(char::is_whitespace)
    }) {
        return true;
    }
    value.chars().any(|c| {
        let found = c == '#' && quote.is_none() && before.is_some_and(char::is_whitespace);
        if is_of_shell(name) && !escaped {
            match quote {
                Some(open) if c == open => quote = None,
                None if c == '"' || c == '\'' => quote = Some(c),
                _ => {}
            }
        }
        escaped = c == '\\' && !escaped && quote != Some('\'');
        before = Some(c);
        found
    })
}

/// Whether Kubernetes or Docker made the variable, because a service has such a name: for a service `backup` they set
/// `BACKUP_SERVICE_HOST`, `BACKUP_PORT=tcp://…` and `BACKUP_PORT_80_TCP_ADDR`.
fn is_injected(name: &str, value: Option<&str>) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let of_port = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| {
        let mut words = rest.split('_');
        let is_number = words
            .next()
            .is_some_and(|number| number.parse::<u16>().is_ok());
        is_number && words.next().is_some_and(|word| PROTOCOLS.contains(&word))
    }) || name.split_once("_PORT_").is_some_and(|(_, rest)| {
        // BACKUP_PORT_80_TCP_PORT
        PROTOCOLS
            .iter()
            .any(|protocol| rest.ends_with(&format!("_{protocol}_PORT")))
    });
    let is_address = value.is_some_and(|value| {
        ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT") && is_address
        || of_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_meant_is_refused_and_what_may_be_meant_is_not() {
        for (name, value, piece) in [
            (
                "BACKUP_OPTIONS",
                "\"--exclude-table-data=logs --no-owner\"",
                "quotes",
            ),
            ("BACKUP_OPTIONS", "'--no-owner'", "quotes"),
            (
                "BACKUP_OPTIONS",
                r#""--table=\"My Table\" --no-owner""#,
                "quotes",
            ),
            ("BUCKET_SUBFOLDER", "“nightly”", "quotes"),
            ("VERIFY_SQL", "\"SELECT true\"", "quotes"),
            ("BUCKET_SUBFOLDER", "nightly # folder", "comment"),
            ("BUCKET_SUBFOLDER", "# none", "comment"),
            ("BACKUP_FILE_PREFIX", "x\t#y", "comment"),
            ("BACKUP_OPTIONS", "--no-owner # why", "comment"),
            ("BACKUP_OPTIONS", "-t 'a b' #why", "comment"),
            ("BACKUP_OPTIONS", "#-t a", "comment"),
            ("BACKUP_CRON_SCHEDULE", "0 3 * * * # nightly", "comment"),
            ("RUST_LOG", "info # all", "comment"),
            ("BUCKET_SUBFOLDER", "${{shared.FOLDER}}", "reference"),
            ("BACKUP_FILE_PREFIX", "a-${NAME}-b", "reference"),
            ("AWS_S3_BUCKET", "$(BUCKET)", "reference"),
            (
                "BACKUP_DATABASE_URL",
                "postgres://$(DB_USER):x@h/d",
                "reference",
            ),
            ("BACKUP_DATABASE_URL", "$DATABASE_URL", "reference"),
            ("TZ", "{{ .Values.zone }}", "reference"),
            (
                "AWS_S3_REGION",
                "eu\u{200b}-central-1",
                "invisible character",
            ),
            (
                "BACKUP_OPTIONS",
                "--no-owner\u{a0}--no-acl",
                "invisible character",
            ),
            ("TZ", "TZ=Europe/Berlin", "its own name"),
            ("PORT", "export PORT = 80", "its own name"),
        ] {
            let told = accident(name, value);
            assert!(
                told.as_ref()
                    .is_some_and(|wrong| wrong.cause.contains(piece)),
                "{name}={value}: {told:?}"
            );
        }
        for (name, value) in [
            ("BACKUP_OPTIONS", "\"-t a\" \"-t b\""),
            ("BACKUP_OPTIONS", "'--table=a #1' --no-owner"),
            ("BACKUP_OPTIONS", r#"--table=\"a -t "b #c""#),
            ("BACKUP_OPTIONS", "--role '$(touch x);`id`'"),
            ("BUCKET_SUBFOLDER", "a#b"),
            ("STATUS_TOKEN", "#0123456789$abcdef"),
            ("STATUS_TOKEN", "$0123456789abcdef"),
            ("STATUS_TOKEN", "\"0123456789abcdef"),
            ("VERIFY_SQL", "SELECT data #> '{a}' = '${{x}}' # 3"),
            ("HEARTBEAT_URL", "https://h/$x"),
            ("BACKUP_FILE_PREFIX", "ä b"),
        ] {
            assert_eq!(accident(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn what_kubernetes_injects_is_no_misspelling() {
        for (name, value) in [
            ("BACKUP_SERVICE_HOST", "10.0.0.1"),
            ("BACKUP_SERVICE_PORT", "80"),
            ("BACKUP_SERVICE_PORT_HTTP", "80"),
            ("VERIFY_PORT", "tcp://10.0.0.1:80"),
            ("BACKUP_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("BACKUP_PORT_80_TCP_PROTO", "tcp"),
            ("BACKUP_PORT_80_TCP_PORT", "80"),
            ("ALERT_RELAY_PORT_53_UDP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_injected(name, Some(value)), "{name}");
        }
        for (name, value) in [
            ("BACKUP_PORT", "8080"),
            ("BACKUP_HOST", "10.0.0.1"),
            ("BACKUP_PORT_HTTP", "80"),
            ("BACKUP_CRON_SCHEDUL", "tcp://x"),
        ] {
            assert!(!is_injected(name, Some(value)), "{name}");
        }
    }
}
