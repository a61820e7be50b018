//! The platform on which this process runs, as far as it can be seen from inside.

use std::ffi::OsString;

use super::finding::{Finding, ok, warning};

/// What Railway tells a service of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Railway {
    /// `RAILWAY_DEPLOYMENT_DRAINING_SECONDS`
    draining: Option<String>,
}

impl Railway {
    /// None if this is not Railway.
    #[must_use]
    pub fn from_variables(variables: &[(OsString, OsString)]) -> Option<Self> {
        let find = |name: &str| {
            let found = variables.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.to_string_lossy().trim().to_owned())
        };
        // Railway sets it in each of its containers; the draining seconds are the operator's.
        find("RAILWAY_PROJECT_ID")?;
        Some(Self {
            draining: find("RAILWAY_DEPLOYMENT_DRAINING_SECONDS"),
        })
    }
}

/// The platform's settings that can be seen from here, and those that cannot.
pub(super) fn railway(platform: &Railway) -> Finding {
    const UNSEEN: &str = "make sure that Serverless is off and there is one replica";
    let seconds: Option<u64> = platform
        .draining
        .as_ref()
        .and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds) if seconds >= 5 => ok(
            "railway",
            format!("{seconds} s to stop; not to be seen from here: {UNSEEN}"),
        ),
        _ => warning(
            "railway",
            "RAILWAY_DEPLOYMENT_DRAINING_SECONDS is not set to 5 or more: a run under way is killed at a deploy and leaves its upload behind for a while",
            format!(
                "set RAILWAY_DEPLOYMENT_DRAINING_SECONDS=10 in the service's variables, and {UNSEEN}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::{Outcome, is};

    #[test]
    fn railways_draining_time_must_be_long_enough() {
        let on = |variables: &[(&str, &str)]| {
            let own = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
            Railway::from_variables(&own.collect::<Vec<(OsString, OsString)>>())
        };
        const NAME: &str = "RAILWAY_DEPLOYMENT_DRAINING_SECONDS";
        const PROJECT: (&str, &str) = ("RAILWAY_PROJECT_ID", "p");
        assert_eq!(on(&[(NAME, "10")]), None);
        for (variables, outcome) in [
            (&[PROJECT][..], Outcome::Warning),
            (&[PROJECT, (NAME, "0")], Outcome::Warning),
            (&[PROJECT, (NAME, "x")], Outcome::Warning),
            (&[PROJECT, (NAME, " 10 ")], Outcome::Ok),
        ] {
            is(
                &railway(&on(variables).unwrap()),
                outcome,
                "Serverless is off and there is one replica",
            );
        }
    }
}
