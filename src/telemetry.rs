//! The tracing subscriber: one line an event, on stdout, fields at the top level.
//!
//! Railway reads `message` and `level` at the top level of a JSON line and marks everything on stderr as an error.

use std::fmt::Debug;

use serde::Serialize;
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person at a terminal.
    Text,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// To standard output, as everything that this service says.
    Stdout,
    /// To standard error, because standard output carries the answer of a command.
    Stderr,
}

/// Starts logging for the process. Called once, first thing; a second call is ignored.
pub fn start(format: LogFormat, filter: &str, channel: Channel) {
    let writer = move || -> Box<dyn std::io::Write> {
        match channel {
            Channel::Stdout => Box::new(crate::progress::Stdout),
            Channel::Stderr => Box::new(std::io::stderr()),
        }
    };
    // Targets and levels are all there is to choose from, since nothing here opens spans: `EnvFilter` would bring a whole
    // regular expression engine for them.
    let filter = filter
        .parse::<Targets>()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // The libraries below print whole requests at debug and trace, signatures and all: they are held at info whatever
    // RUST_LOG says.
    let filter = filter.and(filter_fn(|metadata| {
        metadata.target().starts_with("postgres_s3_backups") || *metadata.level() <= Level::INFO
    }));
    let layer = match format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_target(false)
            .with_writer(writer)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(false)
            .with_writer(writer)
            .boxed(),
    };
    if tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .is_err()
    {
        tracing::debug!("logging was started before");
    }
}
