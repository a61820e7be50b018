//! What is wrong with a value that somebody gave, such as that of a variable.

use std::borrow::Cow;
use std::fmt;

/// What is wrong with a value. No part of it repeats the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The rest of a sentence that begins with the variable's name.
    pub cause: Cow<'static, str>,
    /// What to do about it; empty if the cause says that already.
    pub remedy: Cow<'static, str>,
}

impl Wrong {
    /// Puts a cause together with what to do about it.
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
