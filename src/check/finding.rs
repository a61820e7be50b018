//! What was found out about one thing, and how findings are shown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::format::text::{visible, visible_json};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warning,
    /// Backups cannot be made, or not of everything.
    Failed,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
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

/// The findings as JSON, or one line each for a person.
#[must_use]
pub fn report(findings: &[Finding], json: bool) -> String {
    if json {
        let json = serde_json::to_string_pretty(findings).unwrap_or_default();
        return visible_json(&json).into_owned() + "\n";
    }
    let width = findings.iter().map(|finding| finding.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.outcome {
            Outcome::Ok => '✓',
            Outcome::Warning => '!',
            Outcome::Failed => '✗',
        };
        let hint = finding.hint.as_deref().map(visible);
        let remedy = hint.iter().map(|hint| format!(" → {hint}"));
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "{mark} {:width$}  {}{}",
            finding.name,
            visible(&finding.text),
            remedy.collect::<String>()
        );
    }
    text
}

/// The findings as lines of the daemon's log. A failure is no ERROR there: no backup has failed yet.
pub fn log(findings: &[Finding]) {
    let mut counts = [0_usize; 3];
    for finding in findings {
        let [good, warnings, failures] = &mut counts;
        let count = match finding.outcome {
            Outcome::Ok => good,
            Outcome::Warning => warnings,
            Outcome::Failed => failures,
        };
        *count = count.saturating_add(1);
        let (check, found) = (finding.name, &finding.text);
        match &finding.hint {
            None => tracing::debug!(check, found, "check ok"),
            Some(hint) if finding.outcome == Outcome::Warning => {
                tracing::warn!(check, found, hint, "check warning");
            }
            Some(hint) => tracing::warn!(check, found, hint, "check failed"),
        }
    }
    let [good, warnings, failures] = counts;
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
            report(&findings, false),
            "✓ tls     TLSv1.3\n! clock   is off → set it\n✗ bucket  gone → make it\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report(&findings, true)).unwrap();
        assert_eq!(
            json[1],
            serde_json::json!({"name": "clock", "outcome": "warning", "text": "is off", "hint": "set it"})
        );
        assert_eq!(json[0]["hint"], serde_json::Value::Null);
        assert_eq!(json[2]["outcome"], "failed");
    }
}
