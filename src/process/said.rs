//! What a child program says on its standard error: each line is logged, and the last ones are kept for an error.

use std::collections::VecDeque;
use std::fmt;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::ChildStderr;

use crate::secret::Redactor;

/// A longer line is cut, because an error can quote data of any length.
const LINE_BYTES: usize = 2048;

/// How many lines are kept. The last lines explain an error; before them there can be any amount of other text.
const KEPT_LINES: usize = 20;

/// How many warnings are logged. A dump can raise warnings in a loop, and the log would hold nothing else.
const MOST_WARNINGS: u32 = 1000;

/// The last lines that a program wrote, in two forms: without secrets, for people, and unchanged, for decisions. If the
/// password is a word such as `database`, removing it would change the words that say what is wrong.
#[derive(Clone, Default)]
pub struct Said {
    shown: String,
    raw: String,
    /// Whether these are all the lines that it wrote.
    is_whole: bool,
}

impl Said {
    /// The lines without secrets, which may be shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The lines unchanged. They may hold a secret, and are for decisions only.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What was said from the very beginning, unless its first lines were dropped.
    #[must_use]
    pub fn whole(&self) -> Option<&str> {
        self.is_whole.then_some(&self.raw)
    }
}

#[cfg(test)]
impl Said {
    /// A text that is everything the program said, and holds no secret.
    pub(crate) fn of(said: &str) -> Self {
        Self {
            shown: said.to_owned(),
            raw: said.to_owned(),
            is_whole: true,
        }
    }

    /// The last lines of a longer text.
    pub(crate) fn cut(said: &str) -> Self {
        Self {
            is_whole: false,
            ..Self::of(said)
        }
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Said").field(&self.shown).finish()
    }
}

/// Logs a child's stderr line by line, redacted, and returns its last lines. If the child inherited this process's stderr, the
/// platform would mark each line as an error, and a line could show a secret.
pub(super) async fn relay(stderr: ChildStderr, redactor: Redactor, program: &'static str) -> Said {
    let mut warnings = Warnings::default();
    last_lines(stderr, &redactor, |line| {
        let is_warning = line.starts_with("pg_dump: warning:")
            || line.starts_with("pg_dumpall: warning:")
            || program == "psql" && line.contains("WARNING:  ");
        if is_warning && warnings.is_logged() {
            tracing::warn!(program, line, "a program said");
        } else {
            tracing::debug!(program, line, "a program said");
        }
        if is_warning && warnings.is_last() {
            tracing::warn!(
                program,
                limit = MOST_WARNINGS,
                "further warnings are logged at debug only"
            );
        }
    })
    .await
}

/// Reads a child's stderr to its end, logs none of it, and returns its last lines.
pub(super) async fn keep(stderr: ChildStderr, redactor: Redactor) -> Said {
    last_lines(stderr, &redactor, |_| {}).await
}

/// Counts the warnings of a program.
#[derive(Debug, Default)]
struct Warnings(u32);

impl Warnings {
    /// Counts one more warning, and returns whether it is logged as a warning.
    fn is_logged(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 <= MOST_WARNINGS
    }

    /// Whether the warning just counted is the last that is logged as a warning.
    const fn is_last(&self) -> bool {
        self.0 == MOST_WARNINGS
    }
}

/// Hands each line to `each`, redacted and cut to length, and returns the last ones.
async fn last_lines(
    stream: impl AsyncRead + Unpin,
    redactor: &Redactor,
    mut each: impl FnMut(&str),
) -> Said {
    // More is held than is shown, so that a secret which lies across the cut is found before the line is cut.
    let held_bytes = LINE_BYTES.saturating_add(redactor.longest());
    let mut reader = BufReader::new(stream);
    let mut kept = VecDeque::new();
    let mut is_whole = true;
    let mut line = Vec::new();
    loop {
        let (taken, ended) = match reader.fill_buf().await {
            Ok([]) => (0, true),
            Ok(piece) => {
                let end = memchr::memchr(b'\n', piece);
                let part = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
                let room = held_bytes.saturating_sub(line.len());
                line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
                (
                    end.map_or(piece.len(), |end| end.saturating_add(1)),
                    end.is_some(),
                )
            }
            Err(_) => (0, true),
        };
        reader.consume(taken);
        if ended && !line.is_empty() {
            let is_cut = line.len() == held_bytes;
            let raw = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut text = redactor.redact(&raw);
            if is_cut {
                // The text may end in the middle of a secret.
                let sure = text.len().saturating_sub(redactor.longest());
                text.truncate(text.floor_char_boundary(sure));
            }
            text.truncate(text.floor_char_boundary(LINE_BYTES));
            line.clear();
            each(&text);
            kept.push_back((text, raw));
            if kept.len() > KEPT_LINES {
                kept.pop_front();
                is_whole = false;
            }
        }
        if taken == 0 {
            let (shown, raw): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
            return Said {
                shown: shown.join("\n"),
                raw: raw.join("\n"),
                is_whole,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    async fn kept(said: &[u8]) -> String {
        let secret = Secret::new("hunter2-and-more".to_owned());
        let said = last_lines(said, &Redactor::new([&secret]), |_| {}).await;
        assert!(!format!("{said:?}").contains("hunter"));
        said.shown
    }

    #[tokio::test]
    async fn a_secret_across_the_cut_is_found_before_the_line_is_cut() {
        for before in LINE_BYTES - 20..=LINE_BYTES + 1 {
            let said = format!(
                "{}hunter2-and-more and {}",
                "x".repeat(before),
                "y".repeat(9000)
            );
            let kept = kept(said.as_bytes()).await;
            assert!(kept.len() <= LINE_BYTES, "{before}");
            assert!(!kept.contains("hun"), "{before}");
        }
    }

    #[tokio::test]
    async fn no_part_of_a_secret_moves_in_front_of_the_cut() {
        for gap in 0..20 {
            let said = format!("hunter2-and-more{}", "x".repeat(gap)).repeat(400);
            assert!(!kept(said.as_bytes()).await.contains("hunter"), "{gap}");
        }
    }

    #[tokio::test]
    async fn what_is_judged_is_what_was_said() {
        let secret = Secret::new("tinder".to_owned());
        let redactor = Redactor::new([&secret]);
        let said = last_lines(&b"FATAL:  tinder \"x\"\n"[..], &redactor, |line| {
            assert_eq!(line, "FATAL:  [redacted] \"x\"");
        });
        let said = said.await;
        assert_eq!(said.shown(), "FATAL:  [redacted] \"x\"");
        assert_eq!(said.raw(), "FATAL:  tinder \"x\"");
        assert_eq!(said.whole(), Some(said.raw()));
        let many = "x\n".repeat(KEPT_LINES + 1);
        let said = last_lines(many.as_bytes(), &redactor, |_| {}).await;
        assert_eq!(said.whole(), None);
    }

    #[test]
    fn warnings_in_a_loop_do_not_fill_the_log() {
        let mut warnings = Warnings::default();
        let mut last = 0;
        let logged = (0..MOST_WARNINGS * 3).filter(|_| {
            let logged = warnings.is_logged();
            last += u32::from(warnings.is_last());
            logged
        });
        assert_eq!(logged.count(), 1000);
        assert_eq!(last, 1);
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_whatever_comes_before() {
        let said = (0..10_000)
            .map(|n| format!("line {n}\n"))
            .collect::<String>();
        let kept = kept(said.as_bytes()).await;
        assert_eq!(kept.lines().count(), KEPT_LINES);
        assert!(kept.ends_with("line 9999"));
        assert_eq!(
            last_lines(&b"\xff\n\n"[..], &Redactor::default(), |_| {})
                .await
                .shown,
            "\u{fffd}"
        );
    }
}
