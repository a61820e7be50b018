//! What is wrong with a variable, or odd about it: its name, the cause and the remedy.

use std::borrow::Cow;
use std::fmt;

use super::variables::{ForReaders, Variable};

/// What is wrong with a value. No part of it repeats the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The rest of a sentence that begins with the variable's name.
    pub cause: Cow<'static, str>,
    /// What to do about it; empty where the cause says that already.
    pub remedy: Cow<'static, str>,
}

impl Wrong {
    /// A cause, and what to do about it.
    pub fn new(cause: impl Into<Cow<'static, str>>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }
}

impl From<&'static str> for Wrong {
    fn from(cause: &'static str) -> Self {
        Self::new(cause, "")
    }
}

impl From<String> for Wrong {
    fn from(cause: String) -> Self {
        Self::new(cause, "")
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if self.remedy.is_empty() {
            return Ok(());
        }
        write!(f, "; {}", self.remedy)
    }
}

/// Something about one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name; that of the form with `_FILE` where the file is meant.
    pub variable: String,
    /// What is wrong with it, or odd about it.
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
    /// What makes the configuration unusable, in the order of the table of variables.
    pub problems: Vec<Problem>,
    /// What is odd: a misspelt name among them, which may be why another is "not set".
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// Puts the problems into the order of the table; first come those of variables that are not in it.
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

    /// Keeps what matters to the commands that read backups. What they would use, but for being wrong, becomes a warning.
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

    /// Refuses a variable that must be set and is not. One that was refused already is not "not set" as well.
    pub(super) fn require(&mut self, variable: &Variable, is_set: bool, remedy: &'static str) {
        if !is_set && !self.has_refused(variable) {
            self.refuse(variable.name, Wrong::new("is not set", remedy));
        }
    }
}
