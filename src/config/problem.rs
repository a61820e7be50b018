//! What is wrong or unusual about a variable: its name, the cause and the remedy.

use std::fmt;

use super::variables::{ForReaders, Variable};
use crate::fault::Wrong;

/// Something about one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name of the variable, with `_FILE` at its end if the problem is in the file.
    pub variable: String,
    /// What is wrong or unusual about it.
    pub wrong: Wrong,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.wrong)
    }
}

/// What is found while the variables are read.
#[derive(Debug, Default)]
pub struct Findings {
    /// The problems that make the configuration unusable, in the order of the table of variables.
    pub problems: Vec<Problem>,
    /// What is unusual but does not make it unusable. A misspelt name is among these, and may explain why another variable
    /// is "not set".
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// Puts the problems into the order of the table. Problems of variables that are not in it come first.
    pub(super) fn sort(&mut self) {
        self.problems
            .sort_by_key(|problem| Variable::place_of(&problem.variable));
    }

    pub(super) fn refuse(&mut self, variable: &str, wrong: impl Into<Wrong>) {
        self.problems.push(Problem {
            variable: variable.to_owned(),
            wrong: wrong.into(),
        });
    }

    pub(super) fn warn(&mut self, variable: &str, wrong: impl Into<Wrong>) {
        self.warnings.push(Problem {
            variable: variable.to_owned(),
            wrong: wrong.into(),
        });
    }

    /// Keeps the problems that matter to the commands that read backups. Where these commands can do without a variable, its
    /// problem becomes a warning.
    pub(super) fn keep_for_readers(&mut self) {
        for problem in std::mem::take(&mut self.problems) {
            let known = Variable::called(&problem.variable);
            match known.map_or(ForReaders::Stops, |known| known.wrong_for_readers) {
                ForReaders::Stops => self.problems.push(problem),
                ForReaders::IsNotUsed => {
                    let cause = format!("{}; it is not used", problem.wrong);
                    self.warn(&problem.variable, cause);
                }
                ForReaders::Nothing => {}
            }
        }
    }

    /// Whether a variable, or the file that it comes from, was refused.
    pub(super) fn has_refused(&self, variable: &Variable) -> bool {
        self.problems
            .iter()
            .any(|problem| variable.is_called(&problem.variable))
    }

    /// Reports a required variable that is not set, unless it was refused already.
    pub(super) fn require(&mut self, variable: &Variable, is_set: bool, remedy: &'static str) {
        if !is_set && !self.has_refused(variable) {
            self.refuse(variable.name, Wrong::new("is not set", remedy));
        }
    }
}
