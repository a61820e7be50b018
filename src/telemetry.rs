//! The tracing subscriber. It writes each event as one line on stdout, with its fields at the top level.
//!
//! Railway reads `message` and `level` at the top level of a JSON line, and marks everything on stderr as an error.
//!
//! Values often come from strangers: names in a database, answers of servers. That is why both formats are written here, and
//! not at the many places that log. Whatever a value holds, an event stays one line, its fields stay those that were logged,
//! and every character can be seen.

use std::fmt::{self, Debug, Write};
use std::panic::PanicHookInfo;

use serde::Serialize;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::format::screen::{Colour, Screen};
use crate::format::text::{visible, visible_json};
use crate::progress::{Stdout, Terminal};
use crate::secret::Redactor;
use crate::secret::renewable::Renewable;
use crate::store::HTTP_CLIENT;

/// A longer value is cut, so that no name and no error can fill the log.
const MOST_BYTES: usize = 16 * 1024;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person at a terminal.
    Text,
}

/// How a line is written, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    format: LogFormat,
    screen: Screen,
}

impl Lines {
    /// Lines in that format. On a terminal, text has colours, and an event that does not fit into a line has lines of its own for its
    /// fields.
    #[must_use]
    pub const fn new(format: LogFormat, screen: Screen) -> Self {
        Self { format, screen }
    }
}

/// The field that holds a command to paste. On a terminal it has a line of its own, without quotes, at the end.
const COMMAND: &str = "restore";

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output, where the daemon writes everything.
    Stdout,
    /// Standard error, because standard output holds the result of a command.
    Stderr,
}

/// Starts logging for the process. `terminal` may show a progress bar, and `secrets` redacts the words of a panic. It is called
/// once, before anything else; a second call is ignored.
pub fn start(
    lines: Lines,
    filter: &str,
    channel: Channel,
    terminal: &Terminal,
    secrets: Renewable<Redactor>,
) {
    let terminal = terminal.clone();
    let writer = move || -> Box<dyn std::io::Write> {
        match channel {
            Channel::Stdout => Box::new(Stdout::beside(terminal.clone())),
            Channel::Stderr => Box::new(std::io::stderr()),
        }
    };
    // Only targets and levels can be filtered, since nothing here opens spans. For spans, `EnvFilter` would bring a whole
    // regular expression engine.
    let filter = filter
        .parse::<Targets>()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // At debug and trace, these libraries print whole requests, including signatures. So they stay at info, whatever
    // RUST_LOG says. The HTTP client logs each answer that is not HTTP, which this service logs itself.
    let filter = filter.and(filter_fn(|metadata| {
        let most = match metadata.target() {
            ours if ours.starts_with("postgres_s3_backups") => Level::TRACE,
            client if client.starts_with(HTTP_CLIENT) => Level::ERROR,
            // The scheduler logs each job and each lost ring, which change nothing.
            bells if bells.starts_with("tokio_cron_scheduler") => return false,
            _ => Level::INFO,
        };
        *metadata.level() <= most
    }));
    let layer = layer().event_format(lines).with_writer(writer);
    if tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .is_err()
    {
        tracing::debug!("logging was started before");
        return;
    }
    std::panic::set_hook(Box::new(move |panic| tell_panic(panic, &secrets.get())));
}

tokio::task_local! {
    /// The name of the series that a task works for.
    static SERIES: String;
}

/// Runs a task whose lines carry the name of a series, if it has one.
pub async fn within<T>(series: Option<String>, task: impl Future<Output = T>) -> T {
    match series {
        Some(name) => SERIES.scope(name, task).await,
        None => task.await,
    }
}

/// Logs a panic as a line like any other. Otherwise it would be bare text on standard error. Its words can hold any value that
/// the program was at work on; those of errors are redacted where the errors are made.
fn tell_panic(panic: &PanicHookInfo<'_>, redactor: &Redactor) {
    let message = redactor.redact(panic.payload_as_str().unwrap_or("not a text"));
    let at = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(
        panic = message,
        at,
        thread = thread.name(),
        hint = "this is a defect of the program; report it with this line",
        "a part of the program panicked"
    );
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Lines of a task that was spawned by another one lack it: few, and those say whose they are by the name of the backup.
        if let Ok(name) = SERIES.try_with(|name| bounded(name)) {
            fields.others.push(("series", name.into()));
        }
        let level = *event.metadata().level();
        let line = match self.format {
            LogFormat::Json => json(&time, level, fields),
            LogFormat::Text if self.screen.width().is_none() => {
                text(&time, level, fields, self.screen)
            }
            LogFormat::Text => {
                let command = fields.take(COMMAND);
                let command =
                    command.map(|command| format!("\nTo restore it:\n{}", visible(&command)));
                text(&time, level, fields, self.screen) + &command.unwrap_or_default()
            }
        };
        writeln!(writer, "{line}")
    }
}

/// The fields that were logged with an event, in the order of the call.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        let name = field.name();
        self.others
            .push((name.strip_prefix("r#").unwrap_or(name), value));
    }

    /// Takes the text of this field out.
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.others.iter().position(|(other, _)| *other == name)?;
        match self.others.remove(at) {
            (_, Value::String(text)) => Some(text),
            (_, other) => Some(other.to_string()),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = bounded(value);
        if field.name() == "message" {
            self.message = value;
        } else {
            self.add(field, value.into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

fn bounded(value: &str) -> String {
    if value.len() <= MOST_BYTES {
        return value.to_owned();
    }
    let kept = value.get(..value.floor_char_boundary(MOST_BYTES));
    let kept = kept.unwrap_or_default();
    format!("{kept}… [cut off: it has {} bytes]", value.len())
}

fn json(time: &str, level: Level, fields: Fields) -> String {
    let first = [
        ("timestamp", time.into()),
        ("level", level.as_str().into()),
        ("message", fields.message.into()),
    ];
    let mut line = String::from("{");
    for (name, value) in first.into_iter().chain(fields.others) {
        if line.len() > 1 {
            line.push(',');
        }
        // Writing to a String cannot fail.
        let _ok = write!(line, "{}:{value}", Value::from(name));
    }
    line.push('}');
    visible_json(&line).into_owned()
}

fn text(time: &str, level: Level, fields: Fields, screen: Screen) -> String {
    let is_phrase = fields.message.chars().all(|c| c == ' ' || is_bare(c));
    let message = if is_phrase {
        fields.message
    } else {
        quoted(&fields.message)
    };
    let level = format!("{level:>5}");
    let used = time.len() + level.len() + message.chars().count() + 2;
    let colour = match level.trim_start() {
        "ERROR" => Colour::Bad,
        "WARN" => Colour::Odd,
        "INFO" => Colour::Good,
        _ => Colour::Calm,
    };
    let level = screen.painted(colour, &level);
    let line = format!("{time} {level} {message}");
    let fields = fields.others.into_iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) if !text.is_empty() && text.chars().all(is_bare) => text,
            Value::String(text) => quoted(&text),
            number => number.to_string(),
        };
        format!("{name}={value}")
    });
    let fields: Vec<String> = fields.collect();
    line + &laid_out(&fields, used, screen)
}

/// The fields behind a beginning of that length: in the same line where they fit, else in lines of their own, each as full as it can
/// be. Such a line begins with blanks, which no event does. A field is never cut in two, so that it can be copied.
fn laid_out(fields: &[String], used: usize, screen: Screen) -> String {
    const INDENT: &str = "    ";
    let length = |field: &String| field.chars().count() + 1;
    let whole: usize = fields.iter().map(length).sum();
    let width = screen.width().filter(|width| used + whole > *width);
    let Some(width) = width else {
        return fields.iter().map(|field| format!(" {field}")).collect();
    };
    let (mut lines, mut column) = (String::new(), width);
    for field in fields {
        if column + length(field) > width {
            lines.push('\n');
            lines.push_str(INDENT);
            column = INDENT.len();
        } else {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(field);
        column += field.chars().count();
    }
    lines
}

/// Whether a value with this character needs no quotes, because it is still clear where the value ends.
const fn is_bare(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=')
}

/// The value in quotes. Quotes and backslashes in it are escaped, so that its end and each escape are unmistakable.
fn quoted(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{}\"", visible(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::tests::{HOSTILE, harmful};

    /// What is written when such a value is logged in every way there is.
    fn lines(format: LogFormat, value: &str) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Written {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let written = Written::default();
        let into = written.clone();
        let layer = layer()
            .event_format(Lines::new(format, Screen::default()))
            .with_writer(move || into.clone());
        let error = std::io::Error::other(value.to_owned());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(value, "a message");
            tracing::info!(value = %value, "a message");
            tracing::info!(value = ?value, "a message");
            let error: &dyn std::error::Error = &error;
            tracing::info!(value = error, "a message");
            tracing::warn!(name: "n", "{value}");
            let _entered = tracing::error_span!("a span", value).entered();
            tracing::error!(
                rows = 1,
                ratio = 2.5,
                good = true,
                none = Option::<u64>::None,
                "inside"
            );
        });
        let written = written.0.lock().unwrap().clone();
        let text = String::from_utf8(written).unwrap();
        let text = text.strip_suffix('\n').unwrap();
        text.split('\n').map(str::to_owned).collect()
    }

    #[test]
    fn whatever_is_logged_each_event_is_one_line_of_visible_text() {
        let values = harmful()
            .map(|c| format!("a{c}b"))
            .chain([HOSTILE.to_owned()]);
        for value in values {
            for format in [LogFormat::Json, LogFormat::Text] {
                let lines = lines(format, &value);
                assert_eq!(lines.len(), 6, "{lines:?}");
                for line in lines {
                    assert_eq!(visible(&line), line);
                }
            }
        }
    }

    #[test]
    fn json_says_what_was_logged() {
        for value in ["plain", "", HOSTILE, "ä😀", "\u{2028}\u{e0041}"] {
            let lines: Vec<Value> = lines(LogFormat::Json, value)
                .iter()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            for (line, said) in lines
                .iter()
                .zip([value, value, &format!("{value:?}"), value])
            {
                assert_eq!(line["value"], said);
                assert_eq!(
                    (&line["message"], &line["level"]),
                    (&"a message".into(), &"INFO".into())
                );
            }
            assert_eq!(lines[4]["message"], value);
            let mut last = lines[5].clone();
            last.as_object_mut().unwrap().remove("timestamp");
            assert_eq!(
                last,
                serde_json::json!({"level": "ERROR", "message": "inside", "rows": 1, "ratio": 2.5, "good": true})
            );
        }
    }

    #[test]
    fn in_text_no_value_can_be_taken_for_another_field_or_for_the_end_of_its_own() {
        let said = |value: &str| {
            let line = lines(LogFormat::Text, value).swap_remove(1);
            line.split_once(" value=").unwrap().1.to_owned()
        };
        for (value, shown) in [
            (
                "vlvt_backup_2026-01-25_03-00-00.sql.gz",
                "vlvt_backup_2026-01-25_03-00-00.sql.gz",
            ),
            ("a b", r#""a b""#),
            ("", r#""""#),
            ("1 kind=tls", r#""1 kind=tls""#),
            ("a=b", r#""a=b""#),
            (r#"a" kind="tls"#, r#""a\" kind=\"tls""#),
            (r#"a\" kind=tls"#, r#""a\\\" kind=tls""#),
            (r"a\nb", r#""a\\nb""#),
            ("a\nb", r#""a\nb""#),
            ("a\u{a0}b", "\"a\u{a0}b\""),
            ("tabelle_ä", "\"tabelle_ä\""),
        ] {
            assert_eq!(said(value), shown, "{value:?}");
        }
        let message = |value| lines(LogFormat::Text, value).swap_remove(4);
        assert!(message("plain words").ends_with("  WARN plain words"));
        assert!(message("a kind=tls").ends_with(r#"  WARN "a kind=tls""#));
        let last = lines(LogFormat::Text, "").swap_remove(5);
        assert!(
            last.ends_with(" ERROR inside rows=1 ratio=2.5 good=true"),
            "{last}"
        );
    }

    #[test]
    fn on_a_terminal_fields_that_do_not_fit_have_lines_of_their_own() {
        let logged = |screen, value: &str| {
            let fields = Fields {
                message: "backup finished".to_owned(),
                others: vec![
                    ("name", "b_2026-01-26_03-00-00.sql.gz".into()),
                    ("rows", 12.into()),
                    ("told", value.into()),
                    ("hint", "x".into()),
                ],
            };
            text("2026-01-26T03:00:41.123456Z", Level::INFO, fields, screen)
        };
        let begin = "2026-01-26T03:00:41.123456Z  INFO backup finished";
        let narrow = Screen::terminal(80, false);
        let long = "word ".repeat(30);
        assert_eq!(
            logged(narrow, "x"),
            format!("{begin}\n    name=b_2026-01-26_03-00-00.sql.gz rows=12 told=x hint=x")
        );
        assert_eq!(
            logged(narrow, &long),
            format!(
                "{begin}\n    name=b_2026-01-26_03-00-00.sql.gz rows=12\n    told=\"{long}\"\n    hint=x"
            )
        );
        // Whoever reads a file searches it by lines.
        let file = logged(Screen::default(), &long);
        assert!(file.starts_with(&format!("{begin} name=b_")) && !file.contains('\n'));
        // Nothing that a value holds begins a line, and so passes for another event.
        let forged = logged(
            narrow,
            &format!(
                "{HOSTILE}{}",
                " 2026-01-26T03:00:00.000000Z  INFO backup finished".repeat(3)
            ),
        );
        for line in forged.lines().skip(1) {
            assert!(line.starts_with("    "), "{forged}");
        }
        let coloured = logged(Screen::terminal(80, true), "x");
        assert!(
            coloured.starts_with(
                "2026-01-26T03:00:41.123456Z \u{1b}[32m INFO\u{1b}[0m backup finished\n"
            ),
            "{coloured}"
        );
    }

    #[test]
    fn a_value_without_end_is_cut_and_says_so() {
        let endless = "é\u{1b}".repeat(1_000_000);
        for format in [LogFormat::Json, LogFormat::Text] {
            for line in lines(format, &endless).iter().take(5) {
                assert!(line.len() < 10 * MOST_BYTES, "{}", line.len());
                assert!(line.contains("… [cut off: it has "), "{}", line.len());
            }
        }
        let most = "x".repeat(MOST_BYTES);
        let line = lines(LogFormat::Json, &most).swap_remove(0);
        assert!(line.contains(&format!("\"{most}\"")));
    }
}
