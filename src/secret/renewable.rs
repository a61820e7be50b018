//! A value that may be another one later: a secret that came from a file, which was read again.

use std::sync::{Arc, PoisonError, RwLock};

/// Clones share the value.
#[derive(Debug, Default)]
pub struct Renewable<T>(Arc<RwLock<T>>);

impl<T> Clone for Renewable<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Renewable<T> {
    /// Begins with this value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }

    /// The value as it is now.
    #[must_use]
    pub fn get(&self) -> T {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on it is this one.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
