//! The edge: arguments, environment, clock and logging turned into values, and an exit code made of the outcome.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Parser;
use postgres_s3_backups::check::{Check, Railway};
use postgres_s3_backups::cli::{Arguments, Command};
use postgres_s3_backups::commands::{self, Surroundings};
use postgres_s3_backups::config::{self, Access, Config, Findings, Sources};
use postgres_s3_backups::daemon;
use postgres_s3_backups::drill::DrillServer;
use postgres_s3_backups::format::text;
use postgres_s3_backups::postgres::{Clients, DatabaseUrl, client_directories};
use postgres_s3_backups::process::Ending;
use postgres_s3_backups::process::confine;
use postgres_s3_backups::process::shell;
use postgres_s3_backups::process::signals::Signals;
use postgres_s3_backups::restore::create;
use postgres_s3_backups::telemetry::{self, Channel, LogFormat};
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
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            telemetry::start(LogFormat::Json, "info", Channel::Stdout);
            tracing::error!(%error, "could not start");
            return ExitCode::FAILURE;
        }
    };
    // Before anything that takes time: until they are caught, a signal kills the process, and as process 1 of a container it
    // would not even hear it. The other commands have nothing to clean up before they begin, and a signal may kill them.
    let signals = matches!(arguments.command, None | Some(Command::Backup)).then(|| {
        let _context = runtime.enter();
        Signals::new()
    });
    // Another process of the same user could read the keys out of this one's environment and memory.
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let (format, filter) = config::log_settings(&variables, std::io::stdout().is_terminal());
    let channel = match arguments.command {
        Some(Command::List(_) | Command::Check(_)) => Channel::Stderr,
        _ => Channel::Stdout,
    };
    telemetry::start(format, &filter, channel);
    if let Err(error) = closed {
        tracing::warn!(%error, "other processes of this user can look into this one");
    }
    let signals = match signals.transpose() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "could not listen for signals");
            return ExitCode::FAILURE;
        }
    };
    let ending = runtime.block_on(run(arguments.command, &variables, signals));
    // A thread that waits for a piece to be taken must not hold the exit up.
    runtime.shutdown_background();
    match ending {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Err(Unusable) => ExitCode::from(UNUSABLE),
    }
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

/// The arguments or the variables can't be used, which was logged.
struct Unusable;

impl From<Findings> for Unusable {
    fn from(findings: Findings) -> Self {
        log_warnings(&findings.warnings);
        for problem in &findings.problems {
            tracing::error!(variable = problem.variable, error = %problem, "invalid configuration");
        }
        Self
    }
}

async fn run(
    command: Option<Command>,
    variables: &[(OsString, OsString)],
    signals: Option<Signals>,
) -> Result<Ending, Unusable> {
    let path = variables
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value);
    match (command, signals) {
        (command @ (None | Some(Command::Backup)), Some(signals)) => {
            let config = Config::from_variables(variables, read_secret, now())?;
            log_warnings(&config.warnings);
            let sources = Sources::new(variables, read_secret);
            Ok(if command.is_some() || config.single_shot {
                daemon::once(config, sources, path, now, signals).await
            } else {
                let railway = Railway::from_variables(variables);
                let temporary = std::env::temp_dir();
                daemon::run(config, sources, path, &temporary, railway, now, signals).await
            })
        }
        (Some(Command::Check(options)), _) => {
            let config = Config::from_variables(variables, read_secret, now())?;
            let clients = Clients::discover(&client_directories(path)).await;
            let railway = Railway::from_variables(variables);
            let check = Check::new(&config, clients, railway, now);
            Ok(commands::check(&check, &options).await)
        }
        // The one was carried out before anything else, and for the others the signals were asked for.
        (Some(Command::Confined(_)), _) | (None | Some(Command::Backup), None) => {
            Ok(Ending::Failed)
        }
        (Some(Command::Health), _) => Ok(if daemon::probe(config::port(variables)).await {
            Ending::Done
        } else {
            Ending::Failed
        }),
        (Some(Command::List(options)), _) => {
            Ok(commands::list(&access(variables)?, &options, now()).await)
        }
        (Some(Command::Restore(options)), _) => {
            let mut access = access(variables)?;
            let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
            let target = match &options.to {
                Some(url) => Some(url_argument("--to", url)?.from_variable("RESTORE_DATABASE_URL")),
                None => access.target.take(),
            };
            let Some(target) = target else {
                return Err(unusable(
                    "--to",
                    "name the database to restore into with --to URL, or set RESTORE_DATABASE_URL",
                ));
            };
            if options.clean && !options.yes && !terminal {
                return Err(unusable(
                    "--clean",
                    "replaces everything in the target and nobody can be asked here; pass --yes too if that is what you want",
                ));
            }
            if options.swap && !options.yes && !terminal {
                return Err(unusable(
                    "--swap",
                    "puts another database in the place of this one and nobody can be asked here; pass --yes too if that is what you want",
                ));
            }
            if let Some(Some(name)) = &options.create
                && (name.is_empty() || name.len() > create::NAME_BYTES)
            {
                return Err(unusable(
                    "--create",
                    "the name of a database has 1 to 63 bytes",
                ));
            }
            let surroundings = surroundings(path).await;
            Ok(commands::restore(access, &options, target, surroundings, ask).await)
        }
        (Some(Command::Verify(options)), _) => {
            let access = access(variables)?;
            let server = match options.into.as_deref() {
                None => None,
                Some(word) if word.eq_ignore_ascii_case("embedded") => Some(DrillServer::Embedded),
                Some(url) => Some(DrillServer::At(
                    url_argument("--into", url)?.from_variable("VERIFY_DATABASE_URL"),
                )),
            };
            Ok(commands::verify(access, &options, server, surroundings(path).await).await)
        }
    }
}

fn access(variables: &[(OsString, OsString)]) -> Result<Access, Unusable> {
    let access = Access::from_variables(variables, read_secret)?;
    log_warnings(&access.warnings);
    Ok(access)
}

async fn surroundings(path: Option<&OsString>) -> Surroundings {
    Surroundings {
        clients: Clients::discover(&client_directories(path)).await,
        terminal: std::io::stderr().is_terminal(),
        temporary: std::env::temp_dir(),
        clock: now,
    }
}

/// A database's URL from the command line.
fn url_argument(argument: &str, text: &str) -> Result<DatabaseUrl, Unusable> {
    match DatabaseUrl::parse(text) {
        Ok((url, warnings)) => {
            for warning in warnings {
                tracing::warn!(argument, warning = format!("{argument} {warning}"), "usage");
            }
            Ok(url)
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!(
                    argument,
                    error = format!("{argument} {problem}"),
                    "invalid usage"
                );
            }
            Err(Unusable)
        }
    }
}

fn unusable(argument: &str, error: &str) -> Unusable {
    tracing::error!(argument, error, "invalid usage");
    Unusable
}

/// Puts a question to the person at the terminal; anything but yes is no.
async fn ask(question: String) -> bool {
    let answered = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        std::io::stderr().write_all(question.as_bytes())?;
        std::io::stdin().read_line(&mut answer)?;
        Ok::<bool, std::io::Error>(answer.trim().eq_ignore_ascii_case("yes"))
    });
    matches!(answered.await, Ok(Ok(true)))
}

fn log_warnings(warnings: &[config::Problem]) {
    for warning in warnings {
        tracing::warn!(variable = warning.variable, warning = %warning, "configuration");
    }
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
