//! The structure of what `psql` and `pg_dump` print: which words are theirs, which are the server's, and with which code.
//!
//! Their messages hold names, and a name can hold any words and even line ends. So nothing is looked for in the middle of a
//! text: a message is recognised by its first words, at a place where only the program itself can begin a message. Statements
//! that `pg_dump` repeats are cut off.

/// One message that a program printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// Its own words, or those of libpq. They are English, because the programs run with `LC_ALL=C`.
    Client(&'a str),
    /// The server's words that follow the severity. They are in the server's language.
    Server(&'a str),
}

impl<'a> Message<'a> {
    /// Tells the two apart. libpq writes a server's message as `FATAL:  sorry, …`, with two spaces, and none of its own
    /// messages looks like that.
    fn new(text: &'a str) -> Self {
        /// The longest severity. `ÖLÜMCÜL (FATAL)` is one of the longest in any language.
        const SEVERITY_BYTES: usize = 40;
        let server = text.split_once(":  ").filter(|(severity, _)| {
            severity.len() <= SEVERITY_BYTES && !severity.contains(['\n', '"', ':'])
        });
        server.map_or(Self::Client(text), |(_, text)| Self::Server(text))
    }
}

/// What `psql` or `pg_dump` says while it has no session yet: one message for each address and method that libpq tried. `None`
/// if the text is something else.
pub(super) fn while_connecting<'a>(said: &'a str, program: &str) -> Option<Vec<Message<'a>>> {
    let text = said.strip_prefix(program)?.strip_prefix(": error: ")?;
    let starts = text.match_indices(ATTEMPT).map(|(at, _)| at);
    let starts: Vec<usize> = starts
        .filter(|at| {
            text.get(..*at)
                .is_some_and(|t| t.is_empty() || t.ends_with('\n'))
        })
        .collect();
    if starts.is_empty() {
        return Some(vec![Message::new(text)]);
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let attempts = starts.iter().zip(ends).filter_map(|(start, end)| {
        let attempt = text.get(*start..end)?;
        attempt
            .split_once(" failed: ")
            .map(|(_, why)| Message::new(why))
    });
    Some(attempts.collect())
}

/// The first words of libpq's message about an attempt to connect.
const ATTEMPT: &str = "connection to server ";

/// Whether libpq tried to reach a server, as far as the first line shows.
pub(super) fn is_attempt(said: &str, program: &str) -> bool {
    said.strip_prefix(program)
        .and_then(|text| text.strip_prefix(": error: "))
        .is_some_and(|text| text.starts_with(ATTEMPT))
}

/// What `pg_dump` says about the error that ended it. It repeats names and statements, and a name can begin a line that looks
/// like a message: then more than one message is returned.
pub(super) fn of_pg_dump(said: &str) -> Vec<Message<'_>> {
    const ERROR: &str = "pg_dump: error: ";
    const DETAIL: &str = "pg_dump: detail: ";
    // The words before a statement that pg_dump repeats. Version 14 begins such a line with `error`, later ones with `detail`.
    const STATEMENT: [&str; 4] = [
        "Query was: ",
        "Command was: ",
        "query was: ",
        "The command was: ",
    ];
    let mut messages = Vec::new();
    let mut rest = said;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let message = line
            .strip_prefix(ERROR)
            .or_else(|| line.strip_prefix(DETAIL));
        if let Some(message) = message {
            if STATEMENT
                .iter()
                .any(|statement| message.starts_with(statement))
            {
                break;
            }
            // The lines that follow belong to it, and the second may say more.
            let text = rest
                .get(line.len().saturating_sub(message.len())..)
                .unwrap_or_default();
            if let Some(text) = text
                .strip_prefix("query failed: ")
                .or_else(|| text.strip_prefix("Error message from server: "))
            {
                messages.push(Message::new(text));
            } else if let Some(text) = after_large_object(text) {
                messages.push(Message::new(text));
            } else if line.starts_with(ERROR) && !text.starts_with("Dumping the contents of table ")
            {
                messages.push(Message::Client(text));
            }
        }
        rest = after;
    }
    messages
}

/// What follows `could not open large object 16385: `.
fn after_large_object(text: &str) -> Option<&str> {
    let text = text
        .strip_prefix("could not open large object ")
        .or_else(|| text.strip_prefix("error reading large object "))?;
    let text = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.strip_prefix(": ")
}

/// A line of `psql` in its verbose form, cut into three at the error's code: `psql:<stdin>:34: ERROR:  ` `53100` `could not …`.
fn cut_at_code(line: &str) -> Option<(&str, &str, &str)> {
    let rest = line.strip_prefix("psql:<stdin>:")?;
    let (number, rest) = rest.split_once(": ")?;
    let (severity, rest) = rest.split_once(":  ")?;
    let (code, text) = rest.split_once(": ")?;
    let is_code = code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let is_line =
        number.bytes().all(|byte| byte.is_ascii_digit()) && !severity.contains(['"', ':']);
    let before = line.len().checked_sub(rest.len())?;
    (is_code && is_line).then_some((line.get(..before)?, code, text))
}

/// The code of the last error that the server reported, and its message.
pub(crate) fn last_error(said: &str) -> Option<(&str, &str)> {
    said.lines()
        .filter_map(cut_at_code)
        .map(|(_, code, text)| (code, text))
        // Codes of these classes belong to warnings and notices.
        .rfind(|(code, _)| !code.starts_with("00") && !code.starts_with("01"))
}

/// What `psql` said, in its usual form: without codes, and without the places in the server's source code.
pub(crate) fn without_codes(said: &str) -> String {
    said.lines()
        .filter(|line| !line.starts_with("LOCATION:  "))
        .map(|line| match cut_at_code(line) {
            Some((before, _, text)) => format!("{before}{text}"),
            None => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_error_is_told_from_its_words() {
        let said = "psql:<stdin>:12: WARNING:  01000: 53100: no space\nLOCATION:  exec_stmt_raise, pl_exec.c:3923\npsql:<stdin>:34: ERROR:  53100: could not extend file \"x: 22012: y\"\nHINT:  Check free disk space.\nLOCATION:  mdextend, md.c:500";
        assert_eq!(
            last_error(said),
            Some(("53100", "could not extend file \"x: 22012: y\""))
        );
        assert_eq!(
            without_codes(said),
            "psql:<stdin>:12: WARNING:  53100: no space\npsql:<stdin>:34: ERROR:  could not extend file \"x: 22012: y\"\nHINT:  Check free disk space."
        );
        for other in [
            "psql:<stdin>:33: error: backslash commands are restricted",
            "psql: error: connection to server failed: FATAL:  53300: x",
            "HINT:  53100: x",
            "",
        ] {
            assert_eq!(last_error(other), None, "{other}");
            assert_eq!(without_codes(other), other);
        }
    }
}
