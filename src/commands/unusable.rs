//! Variables and arguments with which a command can't begin.

use crate::config::{Findings, Problem};
use crate::postgres::DatabaseUrl;

/// A variable or an argument is wrong, so the command did nothing. The exit code is 2.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Variables, and all that is wrong with them.
    #[error("the configuration is invalid")]
    Variables(Findings),
    /// An argument, and all that is wrong with it.
    #[error("{argument} is invalid")]
    Argument {
        /// Its name.
        argument: &'static str,
        /// A sentence for each thing that is wrong.
        problems: Vec<String>,
    },
}

impl From<Findings> for Unusable {
    fn from(findings: Findings) -> Self {
        Self::Variables(findings)
    }
}

impl Unusable {
    pub(super) fn argument(argument: &'static str, problem: &str) -> Self {
        Self::Argument {
            argument,
            problems: vec![problem.to_owned()],
        }
    }

    /// Logs everything that is wrong.
    pub fn log(&self) {
        match self {
            Self::Variables(findings) => {
                log_warnings(&findings.warnings);
                for problem in &findings.problems {
                    tracing::error!(variable = problem.variable, error = %problem, "invalid configuration");
                }
            }
            Self::Argument { argument, problems } => {
                for error in problems {
                    tracing::error!(argument, error, "invalid usage");
                }
            }
        }
    }
}

/// A database's URL from the command line. What is odd about it is logged.
pub(super) fn url_argument(argument: &'static str, text: &str) -> Result<DatabaseUrl, Unusable> {
    match DatabaseUrl::parse(text) {
        Ok((url, warnings)) => {
            for warning in warnings {
                tracing::warn!(argument, warning = format!("{argument} {warning}"), "usage");
            }
            Ok(url)
        }
        Err(problems) => {
            let problems = problems
                .iter()
                .map(|problem| format!("{argument} {problem}"));
            Err(Unusable::Argument {
                argument,
                problems: problems.collect(),
            })
        }
    }
}

/// Logs what is odd about the variables, though they can be used.
pub(super) fn log_warnings(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!(variable = warning.variable, warning = %warning, "configuration");
    }
}
