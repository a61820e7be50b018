//! What has to be known before everything else, whatever is wrong with the other variables.

use std::ffi::OsString;

use super::problem::Findings;
use super::values::present;
use super::variables::Settings;
use crate::telemetry::LogFormat;

/// How lines are to be written, found out before anything else so that the other problems can be told.
#[must_use]
pub fn log_settings(variables: &[(OsString, OsString)], terminal: bool) -> (LogFormat, String) {
    let settings = alone(variables);
    let by_default = if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    (
        settings.log_format.unwrap_or(by_default),
        settings.rust_log.unwrap_or_default(),
    )
}

/// `PORT`, for the probe of a running daemon, which needs nothing else.
#[must_use]
pub fn port(variables: &[(OsString, OsString)]) -> u16 {
    // The table has a default for it, which counts in the place of a wrong value too.
    alone(variables).port.unwrap_or_default()
}

/// The variables, each by itself and without those that come from files; what is wrong is told of later.
fn alone(variables: &[(OsString, OsString)]) -> Settings {
    let mut untold = Findings::default();
    let present = present(variables, |_| Err(String::new()), &mut untold);
    Settings::read(present, &mut untold)
}
