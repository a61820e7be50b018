//! The tasks of a daemon. Each has a name, so that the log can say which one died.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// Tasks that run until they are told to stop.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// A task that ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) name: String,
    /// How it died, if it did not end by itself.
    pub(super) error: Option<String>,
}

impl Tasks {
    /// Starts a task of that name.
    pub(super) fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits for the next task that ends. Returns `None` if there is no task left. Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let (id, error) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        Some(Ended {
            name: self.names.remove(&id).unwrap_or_default(),
            error,
        })
    }

    /// Waits until all of them have ended, and logs which of them died.
    pub async fn all(&mut self) {
        while let Some(ended) = self.next().await {
            if let Some(error) = ended.error {
                tracing::error!(
                    task = ended.name,
                    error,
                    "a task died while the service was stopping"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_dies_is_told_by_its_name_with_what_it_said() {
        let mut tasks = Tasks::default();
        tasks.spawn("http", std::future::pending());
        tasks.spawn("drills", async { panic!("no such day") });
        let ended = tasks.next().await.unwrap();
        assert_eq!(ended.name, "drills");
        assert!(ended.error.unwrap().contains("no such day"));
        tasks.spawn("backups", async {});
        let ended = Ended {
            name: "backups".to_owned(),
            error: None,
        };
        assert_eq!(tasks.next().await, Some(ended));
        tasks.running.abort_all();
        tasks.all().await;
        assert_eq!(tasks.next().await, None);
    }
}
