//! The edge: arguments, environment, clock and logging turned into values, and an exit code made of the outcome.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Parser;
use postgres_s3_backups::cli::{Arguments, Command};
use postgres_s3_backups::commands::{self, Surroundings, Unusable};
use postgres_s3_backups::config::{self, Sources};
use postgres_s3_backups::format::screen::Screen;
use postgres_s3_backups::format::text;
use postgres_s3_backups::process::Ending;
use postgres_s3_backups::process::confine;
use postgres_s3_backups::process::shell;
use postgres_s3_backups::process::signals::Signals;
use postgres_s3_backups::progress::Terminal;
use postgres_s3_backups::telemetry::{self, Channel, Lines};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Wrong usage or configuration.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if shell::is_meant(words.next().as_ref()) {
        let error = shell::run(&words.collect::<Vec<_>>());
        drop(writeln!(std::io::stderr(), "sh: {error}"));
        return ExitCode::from(shell::NOT_RUN);
    }
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if arguments.help_env {
        // Whoever closed the pipe has read enough.
        drop(std::io::stdout().write_all(config::help::text().as_bytes()));
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Confined(confined)) = &arguments.command {
        let error = if confined.watches() {
            match confine::watch(confined) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => error,
            }
        } else {
            confine::enter(confined)
        };
        // Whoever started this reads what the program would have said.
        drop(writeln!(
            std::io::stderr(),
            "could not start confined: {error}"
        ));
        return ExitCode::from(UNUSABLE);
    }
    match work(arguments.command) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Err(error) => {
            if let Some(unusable) = error.downcast_ref::<Unusable>() {
                unusable.log();
                return ExitCode::from(UNUSABLE);
            }
            // What belongs to none of the kinds: the outermost context first, then each cause.
            tracing::error!(error = format!("{error:#}"), "could not go on");
            ExitCode::FAILURE
        }
    }
}

/// Makes values of what is around this process, and carries out the command with them.
fn work(command: Option<Command>) -> anyhow::Result<Ending> {
    // Another process of the same user could read the keys out of this one's environment and memory.
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let (format, filter) = config::log_settings(&variables, std::io::stdout().is_terminal());
    let channel = match command {
        Some(Command::List(_) | Command::Check(_)) => Channel::Stderr,
        _ => Channel::Stdout,
    };
    let colours = has_colours(&variables);
    let screen = screen(&std::io::stdout(), colours);
    let log_screen = match channel {
        Channel::Stdout => screen,
        Channel::Stderr => self::screen(&std::io::stderr(), colours),
    };
    let draws = std::io::stderr().is_terminal();
    let terminal = Terminal::new(draws);
    let sources = Sources::new(&variables, read_secret);
    telemetry::start(
        Lines::new(format, log_screen),
        &filter,
        channel,
        &terminal,
        sources.redactor(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start the threads of this process")?;
    // Before anything that takes time: until they are caught, a signal kills the process, and process 1 of a container would
    // not even receive it. The other commands have nothing to clean up before they begin, and a signal may kill them.
    let signals = matches!(command, None | Some(Command::Backup)).then(|| {
        let _context = runtime.enter();
        Signals::new()
    });
    let signals = signals
        .transpose()
        .context("could not listen for signals")?;
    if let Err(error) = closed {
        tracing::warn!(%error, "other processes of this user can look into this one");
    }
    let around = Surroundings {
        variables,
        read_file: read_secret,
        clock: now,
        sources,
        temporary: std::env::temp_dir(),
        terminal,
        screen,
        can_ask: draws && std::io::stdin().is_terminal(),
    };
    let ending = runtime.block_on(commands::run(command, signals, &around));
    // A thread that waits for a piece to be taken must not hold the exit up.
    runtime.shutdown_background();
    ending
}

/// The command line; or the exit code, after its help or what is wrong with it was printed.
fn arguments() -> Result<Arguments, ExitCode> {
    let given: Vec<OsString> = std::env::args_os().collect();
    Arguments::try_parse_from(&given).map_err(|error| {
        // The text repeats arguments, which can hold anything. Escaped they are as wrong as they were, and can be shown;
        // but for a URL, which may hold a password.
        let shown = given.iter().map(|argument| {
            let argument = argument.to_string_lossy();
            if argument.contains("://") {
                "[URL]".to_owned()
            } else {
                text::visible(&argument).into_owned()
            }
        });
        let error = Arguments::try_parse_from(shown).err().unwrap_or(error);
        // Nobody may be there to read it; the exit code says it too.
        drop(error.print());
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(UNUSABLE))
    })
}

/// What a stream is written to.
fn screen(stream: &(impl IsTerminal + AsFd), has_colours: bool) -> Screen {
    if !stream.is_terminal() {
        return Screen::default();
    }
    // Some terminals do not say how wide they are.
    let columns = rustix::termios::tcgetwinsize(stream).map_or(0, |size| size.ws_col);
    Screen::terminal(if columns == 0 { 80 } else { columns }, has_colours)
}

/// Whether a person wants colours: <https://no-color.org>.
fn has_colours(variables: &[(OsString, OsString)]) -> bool {
    let value = |wanted: &str| {
        let mut all = variables.iter();
        all.find(|(name, value)| name == wanted && !value.is_empty())
    };
    value("NO_COLOR").is_none() && value("TERM").is_some_and(|(_, term)| term != "dumb")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the clock is read"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Why a file could not be read, without its path or content.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        other => other.to_string(),
    }
}

/// Reads the file of a `NAME_FILE` variable: a plain one (or a link to it, as Kubernetes mounts them), and a small one.
fn read_secret(path: &str) -> Result<String, String> {
    const MOST_BYTES: u64 = 64 * 1024;
    let metadata = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = String::new();
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    file.take(MOST_BYTES + 1)
        .read_to_string(&mut content)
        .map_err(|error| reason(&error))?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err("it is larger than 64 KiB".to_owned());
    }
    Ok(content)
}
