//! What was found out about one thing, and how findings are shown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::format::screen::{Colour, Screen};
use crate::format::text::{visible, visible_json};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warning,
    /// Backups cannot be made, or not of everything.
    Failed,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The thing; of a closed set, for scripts.
    pub name: &'static str,
    /// How it stands with it.
    pub outcome: Outcome,
    /// What was found.
    pub text: String,
    /// What to do; none if all is well.
    pub hint: Option<String>,
}

pub(super) fn ok(name: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        name,
        outcome: Outcome::Ok,
        text: text.into(),
        hint: None,
    }
}

pub(super) fn warning(
    name: &'static str,
    text: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    Finding {
        outcome: Outcome::Warning,
        hint: Some(hint.into()),
        ..ok(name, text)
    }
}

pub(super) fn failed(
    name: &'static str,
    text: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    Finding {
        outcome: Outcome::Failed,
        ..warning(name, text, hint)
    }
}

/// The findings as JSON, or for a person: one line each, with the remedy on a line of its own where lines are limited, and at last how
/// many there are of which kind.
#[must_use]
pub(crate) fn report(findings: &[Finding], json: bool, screen: Screen) -> String {
    if json {
        let json = serde_json::to_string_pretty(findings).unwrap_or_default();
        return visible_json(&json).into_owned() + "\n";
    }
    let width = findings.iter().map(|finding| finding.name.len()).max();
    let width = width.unwrap_or_default();
    // The mark, two blanks beside the name.
    let column = width + 4;
    let apart = match screen.width() {
        Some(_) => format!("\n{}", " ".repeat(column)),
        None => " ".to_owned(),
    };
    let mut text = String::new();
    for finding in findings {
        let (mark, colour) = match finding.outcome {
            Outcome::Ok => ("✓", Colour::Good),
            Outcome::Warning => ("!", Colour::Odd),
            Outcome::Failed => ("✗", Colour::Bad),
        };
        let remedy = finding.hint.as_deref().map(visible);
        let remedy = remedy.map_or_else(String::new, |remedy| {
            format!("{apart}→ {}", screen.wrapped(&remedy, column + 2))
        });
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "{} {:width$}  {}{remedy}",
            screen.painted(colour, mark),
            finding.name,
            screen.wrapped(&visible(&finding.text), column),
        );
    }
    let [good, warnings, failures] = counts(findings);
    let _ok = writeln!(
        text,
        "{good} well, {warnings} worth knowing, {failures} broken"
    );
    text
}

/// How many are well, worth knowing, and broken.
fn counts(findings: &[Finding]) -> [usize; 3] {
    [Outcome::Ok, Outcome::Warning, Outcome::Failed].map(|outcome| {
        let of_it = findings.iter().filter(|finding| finding.outcome == outcome);
        of_it.count()
    })
}

/// The findings as lines of the daemon's log. A failure is no ERROR there: no backup has failed yet.
pub(crate) fn log(findings: &[Finding]) {
    for finding in findings {
        let (check, found) = (finding.name, &finding.text);
        match &finding.hint {
            None => tracing::debug!(check, found, "check ok"),
            Some(hint) if finding.outcome == Outcome::Warning => {
                tracing::warn!(check, found, hint, "check warning");
            }
            Some(hint) => tracing::warn!(check, found, hint, "check failed"),
        }
    }
    let [good, warnings, failures] = counts(findings);
    tracing::info!(ok = good, warnings, failed = failures, "check finished");
}

/// Holds a finding against what it should be: its outcome, and a piece of its text or its hint.
#[cfg(test)]
#[track_caller]
pub(super) fn is(finding: &Finding, outcome: Outcome, piece: &str) {
    assert_eq!(finding.outcome, outcome, "{finding:?}");
    assert_eq!(finding.hint.is_none(), outcome == Outcome::Ok);
    let hint = finding.hint.as_deref().unwrap_or_default();
    let whole = format!("{} {hint}", finding.text);
    assert!(whole.contains(piece), "{piece}: {whole}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_one_line_a_thing_and_a_script_an_array() {
        let findings = [
            ok("tls", "TLSv1.3"),
            warning("clock", "is off", "set it"),
            failed("bucket", "gone", "make it"),
        ];
        assert_eq!(
            report(&findings, false, Screen::default()),
            "✓ tls     TLSv1.3\n! clock   is off → set it\n✗ bucket  gone → make it\n1 well, 1 worth knowing, 1 broken\n"
        );
        let long = [warning(
            "clock",
            "is off by more than a person would believe",
            "set it as the hosts of this kind are set",
        )];
        assert_eq!(
            report(&long, false, Screen::terminal(40, false)),
            "! clock  is off by more than a person\n         would believe\n         → set it as the hosts of this\n           kind are set\n0 well, 1 worth knowing, 0 broken\n"
        );
        let coloured = report(&findings, false, Screen::terminal(80, true));
        for mark in [
            "\u{1b}[32m✓\u{1b}[0m tls",
            "\u{1b}[33m!\u{1b}[0m clock",
            "\u{1b}[31m✗\u{1b}[0m bucket",
        ] {
            assert!(coloured.contains(mark), "{coloured}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&report(&findings, true, Screen::default())).unwrap();
        assert_eq!(
            json[1],
            serde_json::json!({"name": "clock", "outcome": "warning", "text": "is off", "hint": "set it"})
        );
        assert_eq!(json[0]["hint"], serde_json::Value::Null);
        assert_eq!(json[2]["outcome"], "failed");
    }
}
