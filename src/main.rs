//! The edge: arguments, environment, clock and logging turned into values, and an exit code made of the outcome.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Parser;
use postgres_s3_backups::cli::{Arguments, Command};
use postgres_s3_backups::config::{self, Config};
use postgres_s3_backups::daemon::{self, Ending};
use postgres_s3_backups::telemetry;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let (format, filter) = config::log_settings(&variables, std::io::stdout().is_terminal());
    telemetry::start(format, &filter);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "could not start");
            return ExitCode::FAILURE;
        }
    };
    if arguments.command == Some(Command::Health) {
        return if runtime.block_on(daemon::probe(config::port(&variables))) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let config = match Config::from_variables(&variables, read_secret, now()) {
        Ok(config) => config,
        Err(findings) => {
            log_warnings(&findings.warnings);
            for problem in &findings.problems {
                tracing::error!(variable = problem.variable, error = %problem, "invalid configuration");
            }
            return ExitCode::from(2);
        }
    };
    log_warnings(&config.warnings);
    let path = variables
        .into_iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value);
    let once = arguments.command == Some(Command::Backup) || config.single_shot;
    let ending = runtime.block_on(async {
        if once {
            daemon::once(config, path.as_ref(), now).await
        } else {
            daemon::run(config, path.as_ref(), now).await
        }
    });
    // A compressor thread that waits for a part to be taken must not hold the exit up.
    runtime.shutdown_background();
    match ending {
        Ending::Done => ExitCode::SUCCESS,
        Ending::Failed => ExitCode::FAILURE,
    }
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

/// Reads the file of a `NAME_FILE` variable: a plain one (or a link to it, as Kubernetes mounts them), and a small one.
fn read_secret(path: &str) -> Result<String, String> {
    const MOST_BYTES: u64 = 64 * 1024;
    let metadata = std::fs::metadata(path).map_err(|error| error.kind().to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.kind().to_string())?;
    file.take(MOST_BYTES + 1)
        .read_to_string(&mut content)
        .map_err(|error| error.kind().to_string())?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err("it is larger than 64 KiB".to_owned());
    }
    Ok(content)
}
