//! The connections to a store. With HTTP/2 all requests share one connection. If it hangs, the client would send every retry
//! into the same connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The client that holds the connections, and how another one is made.
#[derive(Clone)]
pub(super) struct Connections {
    current: Arc<Mutex<Current>>,
    make: Arc<dyn Fn() -> SharedHttpClient + Send + Sync>,
}

#[derive(Debug, Default)]
struct Current {
    /// `None` until the next request needs a client.
    client: Option<SharedHttpClient>,
    /// How many clients were abandoned.
    left: u64,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(make: impl Fn() -> SharedHttpClient + Send + Sync + 'static) -> Self {
        Self {
            current: Arc::default(),
            make: Arc::new(make),
        }
    }

    /// The client for the next request.
    pub(super) fn client(&self) -> SharedHttpClient {
        let mut current = self.lock();
        current.client.get_or_insert_with(&*self.make).clone()
    }

    /// Notes that a request begins. If the result is dropped before [`Unanswered::end`], the connections are abandoned.
    pub(super) fn begin(&self) -> Unanswered {
        Unanswered {
            left: self.lock().left,
            connections: self.clone(),
            answered: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Unanswered {
    connections: Connections,
    left: u64,
    answered: bool,
}

impl Unanswered {
    /// Notes that the request has an answer, or that its connection failed: the client abandons a failed connection by itself.
    pub(super) fn end(mut self) {
        self.answered = true;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut current = self.connections.lock();
        // Requests that share a connection are given up together. The first of them has already abandoned it for all.
        if !self.answered && current.left == self.left {
            current.client = None;
            current.left += 1;
        }
    }
}
