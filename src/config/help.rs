//! What `--help-env` prints: the table of variables for a person at a terminal.

use super::variables::{Group, Unset, VARIABLES, Variable};

/// The longest line, in characters.
const WIDTH: usize = 80;

/// How far the sentences are indented.
const INDENT: usize = 6;

/// All variables. Those that are needed come first.
#[must_use]
pub fn text() -> String {
    let mut text = String::from(
        "Everything is set by environment variables. An empty value counts as not set.\n",
    );
    for group in Group::ALL {
        text.push_str(&format!("\n{}:\n", group.title()));
        for variable in VARIABLES {
            if variable.group == group {
                push(&mut text, variable);
            }
        }
    }
    text.push('\n');
    wrap(
        &mut text,
        "A secret can be read from a file instead: add _FILE to the name, and give the path. Details of each variable are in docs/configuration.md.",
        0,
    );
    text
}

fn push(text: &mut String, variable: &Variable) {
    let secret = if variable.secret { ", secret" } else { "" };
    let default = plain(&default(variable.default));
    text.push('\n');
    wrap(text, &format!("{} ({default}{secret})", variable.name), 2);
    wrap(text, &format!("{}.", plain(variable.about)), INDENT);
}

/// What applies when a variable is not set, in a few words of Markdown.
#[must_use]
pub fn default(default: Unset) -> String {
    match default {
        Unset::Required => "required".to_owned(),
        Unset::RequiredBut(but) => format!("required, but for {but}"),
        Unset::Is(value) => format!("`{value}`"),
        Unset::Usually(value, but) => format!("`{value}`; {but}"),
        Unset::Depends(on, _) => on.to_owned(),
        Unset::None => "not set".to_owned(),
        Unset::Means(meaning) => format!("not set: {meaning}"),
    }
}

/// Removes the marks of Markdown from a text that will not be rendered.
#[must_use]
pub fn plain(markdown: &str) -> String {
    markdown.replace('`', "")
}

/// Adds a sentence, wrapped at [`WIDTH`] characters, with each line indented.
fn wrap(text: &mut String, sentence: &str, indent: usize) {
    let mut line = String::new();
    for word in sentence.split(' ') {
        let length = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            text.push_str(&format!("{:indent$}{line}\n", ""));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&format!("{:indent$}{line}\n", ""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_is_named_once_and_no_line_is_too_long() {
        let text = text();
        for variable in VARIABLES {
            let heading = format!("\n  {} (", variable.name);
            assert_eq!(text.matches(&heading).count(), 1, "{}", variable.name);
            let about = plain(variable.about).replace(' ', "");
            let joined: String = text.split_whitespace().collect();
            assert!(joined.contains(&about), "{}", variable.name);
        }
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        let first = text.find("AWS_ACCESS_KEY_ID").unwrap();
        assert!(first < text.find("BACKUP_CRON_SCHEDULE").unwrap());
    }
}
