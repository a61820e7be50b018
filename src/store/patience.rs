//! How long the service waits for a store, and how often it asks again.

use std::time::Duration;

/// How patient the service is with the store; tests shorten it.
#[derive(Debug, Clone)]
pub struct StorePatience {
    /// How many times a request is tried before it counts as failed.
    pub tries: u32,
    /// The first wait between two tries; it doubles, with jitter.
    pub first_wait: Duration,
    /// The longest wait between two tries.
    pub longest_wait: Duration,
    /// The limit of one try; a large part gets more.
    pub answer: Duration,
}

impl Default for StorePatience {
    fn default() -> Self {
        Self {
            tries: 8,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
            answer: Duration::from_secs(60),
        }
    }
}
