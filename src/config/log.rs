//! What has to be known first, whatever is wrong with the other variables.

use std::ffi::OsString;

use super::problem::Findings;
use super::values::present;
use super::variables::Settings;
use crate::telemetry::LogFormat;

/// How log lines are written. This is read first, so that the other problems can be logged.
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

/// `PORT`, which is all that the probe of a running daemon needs.
#[must_use]
pub fn port(variables: &[(OsString, OsString)]) -> u16 {
    // The default of the table is also used in place of a wrong value.
    alone(variables).port.unwrap_or_default()
}

/// The variables, each by itself, without those that come from files. Problems are dropped here, because they are reported
/// later.
fn alone(variables: &[(OsString, OsString)]) -> Settings {
    let mut untold = Findings::default();
    let present = present(variables, |_| Err(String::new()), &mut untold);
    Settings::read(present, &mut untold)
}
