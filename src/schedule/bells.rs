//! The bells: one scheduler that holds a job for each clock by name, and rings when the job's time has come.
//!
//! A ring says which clock rang, and nothing else. The [`Schedule`] alone decides whether something is due, each time that
//! an [`Alarm`] looks at the clock. So a ring that is early, late, lost or doubled changes nothing. A ring is useful because
//! `tokio-cron-scheduler` compares the wall clock twice a second: when a machine wakes up, or a clock is set ahead past a
//! due time, that is noticed at once, and not only after the alarm's sleep of up to 30 s.
//!
//! [`Alarm`]: crate::schedule::alarm::Alarm
//! [`Schedule`]: crate::schedule::Schedule

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use super::{Clock, std_duration};

/// The furthest time that a job is set to. If the ring then comes too early, that does no harm, and another one is asked
/// for.
const FURTHEST: Duration = Duration::from_secs(366 * 86400);

/// How many messages can wait between the parts of the scheduler. Each ring takes a few, and each clock rings seldom.
const CHANNEL_SIZE: usize = 64;

/// The source of the bells, one for each clock.
#[derive(Debug, Clone)]
pub(crate) struct Bells(UnboundedSender<Order>);

/// The bell of one clock.
#[derive(Debug)]
pub struct Bell {
    name: String,
    ringer: UnboundedSender<Order>,
    rings: Arc<Notify>,
    /// What it was last set to, until it rings.
    set_to: Option<DateTime<Utc>>,
}

/// The time at which a clock wants its bell to ring. It replaces the time that the clock named before.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) due: DateTime<Utc>,
    rings: Arc<Notify>,
}

/// The task that owns the scheduler and rings the bells.
#[derive(Debug)]
pub(crate) struct Ringer {
    orders: UnboundedReceiver<Order>,
    clock: Clock,
}

impl Bells {
    /// The bells, and the task that rings them once it runs.
    #[must_use]
    pub(crate) fn new(clock: Clock) -> (Self, Ringer) {
        let (sender, orders) = unbounded_channel();
        (Self(sender), Ringer { orders, clock })
    }

    /// The bell of the clock with this name.
    #[must_use]
    pub(crate) fn bell(&self, name: impl Into<String>) -> Bell {
        Bell {
            name: name.into(),
            ringer: self.0.clone(),
            rings: Arc::default(),
            set_to: None,
        }
    }
}

impl Bell {
    /// Asks for a ring at this time. It replaces the time that was asked for before.
    pub(super) fn set(&mut self, due: DateTime<Utc>) {
        if self.set_to.replace(due) == Some(due) {
            return;
        }
        let order = Order {
            name: self.name.clone(),
            due,
            rings: Arc::clone(&self.rings),
        };
        if self.ringer.send(order).is_err() {
            tracing::debug!(clock = self.name, "nobody rings the bells any more");
        }
    }

    /// Waits for a ring. Dropping this future loses none.
    pub(super) async fn rung(&mut self) {
        self.rings.notified().await;
        self.set_to = None;
    }
}

impl Order {
    /// Rings the bell.
    pub(super) fn ring(&self) {
        self.rings.notify_one();
    }
}

impl Ringer {
    /// Rings the bells until it is told to stop. If it fails, the alarms work as before.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        if let Err(error) = self.ring(&stop).await {
            tracing::debug!(%error, "the bells can't be rung");
        }
        stop.cancelled().await;
    }

    async fn ring(&mut self, stop: &CancellationToken) -> Result<(), JobSchedulerError> {
        let mut scheduler = JobScheduler::new_with_channel_size(CHANNEL_SIZE).await?;
        scheduler.start().await?;
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.follow_orders(&scheduler) => ended,
        };
        scheduler.shutdown().await?;
        ended
    }

    async fn follow_orders(&mut self, scheduler: &JobScheduler) -> Result<(), JobSchedulerError> {
        let mut jobs = HashMap::new();
        while let Some(order) = self.next().await {
            let wait = whole_seconds(std_duration(order.due - (self.clock)())).min(FURTHEST);
            let name = order.name.clone();
            let job = Job::new_one_shot(wait, move |_, _| order.ring())?;
            let job = scheduler.add(job).await?;
            if let Some(before) = jobs.insert(name, job) {
                scheduler.remove(&before).await?;
            }
        }
        Ok(())
    }

    /// The next order. Dropping this future loses none.
    pub(super) async fn next(&mut self) -> Option<Order> {
        self.orders.recv().await
    }
}

/// The scheduler counts in whole seconds and rounds down. The time is rounded up here, so that a ring comes at its time or
/// after it.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use chrono::{SubsecRound, TimeDelta};
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the scheduler compares the real clock"
    )]
    async fn each_clock_hears_its_own_bell_and_only_for_what_it_was_last_set_to() {
        let clock: Clock = Utc::now;
        let (bells, ringer) = Bells::new(clock);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(ringer.run(stop.clone()));
        let [mut backups, mut drills, mut pruning] =
            ["backups", "drills", "pruning"].map(|name| bells.bell(name));
        // Like every due time, this is a whole second.
        let due = clock().trunc_subsecs(0) + TimeDelta::seconds(2);
        drills.set(due);
        drills.set(due + TimeDelta::hours(1));
        pruning.set(due + TimeDelta::days(4000));
        backups.set(due);
        backups.rung().await;
        assert!(
            clock() >= due,
            "the scheduler has been asked for no ring before that"
        );
        // After each ring it is set again, and rings again. If it is set to a time that has passed, it rings soon.
        backups.set(due);
        tokio::select! {
            biased;
            () = drills.rung() => panic!("the ring that was asked for first was taken back"),
            () = pruning.rung() => panic!("in eleven years"),
            () = backups.rung() => {}
        }
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
        // The task has ended, so there are no more rings. Asking for one does not fail.
        backups.set(due);
        assert_eq!(backups.set_to, Some(due));
    }

    #[test]
    fn a_ring_is_asked_for_in_whole_seconds_and_not_before_its_time() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
            let time = Duration::from_millis(milliseconds);
            assert_eq!(whole_seconds(time), Duration::from_secs(seconds));
        }
    }
}
