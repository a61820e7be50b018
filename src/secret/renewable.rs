//! A value that can be replaced while the service runs: a secret from a file, when the file is read again.

use std::sync::{Arc, PoisonError, RwLock};

/// The value. Clones share it.
#[derive(Debug, Default)]
pub struct Renewable<T>(Arc<RwLock<T>>);

impl<T> Clone for Renewable<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Renewable<T> {
    /// Makes one with this value.
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

    /// Replaces the value, for all clones.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
