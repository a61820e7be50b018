//! The alarm waits for the due times of a schedule, one at a time, and notices when the wall clock jumps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{Clock, Schedule, std_duration};
use crate::format::utc;
use crate::schedule::bells::Bell;

/// The longest uninterrupted sleep. The monotonic clock stands still while a machine is suspended, and does not show that
/// the wall clock was set. So each of these can be noticed this much too late.
const HOP: Duration = Duration::from_secs(30);

/// If the wall clock gains or loses this much between two looks, it was set, or the machine was suspended. The corrections
/// of time servers are smaller, and don't matter to a schedule.
const JUMP: TimeDelta = TimeDelta::seconds(60);

/// How many missed due times are kept: enough to see what happened. If the clock jumps by a year and the schedule counts
/// minutes, they must not fill the memory or the log.
const MOST_MISSED: usize = 100;

/// Waits for due times, one at a time, and notices when the wall clock jumps.
#[derive(Debug)]
pub(crate) struct Alarm {
    schedule: Schedule,
    clock: Clock,
    next_due: DateTime<Utc>,
    /// The last look at both clocks. A jump is measured from here.
    looked_at: Look,
    bell: Bell,
}

/// The wall clock and the monotonic clock, read together.
type Look = (DateTime<Utc>, Instant);

/// Why a wait ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wake {
    /// The due time to run now. It is `None` after a jump that passed no due time; then [`Alarm::next_due`] has to be read
    /// again.
    pub due: Option<DateTime<Utc>>,
    /// Due times that passed and are not run. At most the first hundred are kept.
    pub missed: Vec<DateTime<Utc>>,
    /// If the wall clock jumped, the difference between its movement and the time that really passed.
    pub clock_jumped: Option<TimeDelta>,
}

impl Wake {
    /// Logs the due times that were missed, and why. They are not made up for one by one: the run that follows, or has just
    /// ended, is newer than all of them.
    pub(crate) fn log(&self, reason: &str) {
        if let Some(jump) = self.clock_jumped {
            tracing::warn!(seconds = jump.num_seconds(), "clock jumped");
        }
        if let (Some(first), Some(last)) = (self.missed.first(), self.missed.last()) {
            tracing::warn!(
                due_at = utc(*first),
                last_due_at = utc(*last),
                count = self.missed.len(),
                reason,
                "due time missed"
            );
        }
    }
}

impl Alarm {
    /// Sets the alarm to the first due time after now.
    #[must_use]
    pub(crate) fn new(schedule: Schedule, clock: Clock, bell: Bell) -> Self {
        let now = clock();
        Self {
            next_due: schedule.next_after(now),
            schedule,
            clock,
            looked_at: (now, Instant::now()),
            bell,
        }
    }

    /// The due time that it is set to.
    #[must_use]
    pub(crate) const fn next_due(&self) -> DateTime<Utc> {
        self.next_due
    }

    /// Waits until something is due or the clock has jumped. Dropping this future loses nothing.
    ///
    /// It sleeps until the due time, or for one hop if that is further away, and then looks at the clock. The bell only
    /// makes it look earlier: what a look finds depends on the schedule and the clocks and never on why it was taken.
    pub(crate) async fn wait(&mut self) -> Wake {
        loop {
            let (step, looked_at) = self.look();
            self.looked_at = looked_at;
            let time = match step {
                Step::Sleep(time) => time,
                Step::Wake(wake, next_due) => {
                    self.next_due = next_due;
                    return wake;
                }
            };
            let mut until = looked_at.1 + time;
            loop {
                self.bell.set(self.next_due);
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    () = self.bell.rung() => {}
                }
                // `looked_at` is not changed, so that a jump is measured from the last hop, however often the bell rings.
                match self.look().0 {
                    Step::Sleep(time) => until = until.min(Instant::now() + time),
                    Step::Wake(..) => break,
                }
            }
        }
    }

    /// Skips the due times that passed while the caller was busy with a run, so that one run does not directly follow
    /// another.
    pub(crate) fn skip_passed(&mut self) -> Wake {
        let (step, looked_at) = self.look();
        self.looked_at = looked_at;
        match step {
            Step::Sleep(_) => Wake::default(),
            Step::Wake(mut wake, next_due) => {
                self.next_due = next_due;
                wake.missed.extend(wake.due.take());
                wake
            }
        }
    }

    /// Looks at both clocks. Returns what to do now, and what the clocks show.
    fn look(&self) -> (Step, Look) {
        let (now, instant) = ((self.clock)(), Instant::now());
        let (then, then_instant) = self.looked_at;
        let passed = TimeDelta::from_std(instant - then_instant).unwrap_or(TimeDelta::MAX);
        let gained = (now - then).checked_sub(&passed).unwrap_or_default();
        let step = step(&self.schedule, self.next_due, now, gained);
        (step, (now, instant))
    }
}

/// What to do after a look at the clock.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Sleep(Duration),
    /// Wake the caller. The due time is the one that the alarm is set to from now on.
    Wake(Wake, DateTime<Utc>),
}

/// Decides what to do. `gained` is how far the wall clock ran ahead of real time, or fell behind it, since the last look.
///
/// If several due times passed, only the last one is run, because a backup made now serves them all. If the clock is set
/// back far, earlier times become due again, since it may have been wrong before; the names in the bucket show whether one
/// of them was done. If it is set back a little, they do not.
fn step(
    schedule: &Schedule,
    next_due: DateTime<Utc>,
    now: DateTime<Utc>,
    gained: TimeDelta,
) -> Step {
    let clock_jumped = (gained.abs() >= JUMP).then_some(gained);
    if now >= next_due {
        let due = schedule
            .last_at_or_before(now)
            .map_or(next_due, |due| due.max(next_due));
        let passed = std::iter::successors(Some(next_due), |due| Some(schedule.next_after(*due)));
        let missed = passed
            .take_while(|passed| *passed < due)
            .take(MOST_MISSED)
            .collect();
        return Step::Wake(
            Wake {
                due: Some(due),
                missed,
                clock_jumped,
            },
            schedule.next_after(now),
        );
    }
    if clock_jumped.is_none() {
        return Step::Sleep(std_duration(next_due - now).min(HOP));
    }
    let next_due = if gained < TimeDelta::zero() {
        schedule.next_after(now)
    } else {
        next_due
    };
    Step::Wake(
        Wake {
            clock_jumped,
            ..Wake::default()
        },
        next_due,
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;

    use super::super::bells::{Bells, Order};
    use super::super::tests::{at, schedule};
    use super::*;

    #[test]
    fn each_look_at_the_clock_has_one_answer() {
        let (daily, hourly) = (schedule("0 3 * * *", "UTC"), schedule("0 * * * *", "UTC"));
        let sleep = |seconds| Step::Sleep(Duration::from_secs_f64(seconds));
        let wake = |due: Option<&str>, missed: &[&str], jumped: Option<i64>, next: &str| {
            let missed = missed.iter().map(|missed| at(missed)).collect();
            Step::Wake(
                Wake {
                    due: due.map(at),
                    missed,
                    clock_jumped: jumped.map(TimeDelta::seconds),
                },
                at(next),
            )
        };
        let (day, hour) = (86400, 3600);
        for (what, schedule, armed, now, gained, expected) in [
            (
                "far away",
                &daily,
                "2026-01-25 03:00",
                "2026-01-24 03:00",
                0,
                sleep(30.0),
            ),
            (
                "the last hop",
                &daily,
                "2026-01-25 03:00",
                "2026-01-25 02:59:47.5",
                0,
                sleep(12.5),
            ),
            (
                "almost",
                &daily,
                "2026-01-25 03:00",
                "2026-01-25 02:59:59.999",
                0,
                sleep(0.001),
            ),
            (
                "due",
                &daily,
                "2026-01-25 03:00",
                "2026-01-25 03:00",
                0,
                wake(Some("2026-01-25 03:00"), &[], None, "2026-01-26 03:00"),
            ),
            (
                "a little late",
                &daily,
                "2026-01-25 03:00",
                "2026-01-25 03:00:20.1",
                0,
                wake(Some("2026-01-25 03:00"), &[], None, "2026-01-26 03:00"),
            ),
            (
                "stopped over three",
                &hourly,
                "2026-01-25 03:00",
                "2026-01-25 05:10",
                0,
                wake(
                    Some("2026-01-25 05:00"),
                    &["2026-01-25 03:00", "2026-01-25 04:00"],
                    None,
                    "2026-01-25 06:00",
                ),
            ),
            (
                "an hour ahead, none due",
                &daily,
                "2026-01-25 03:00",
                "2026-01-24 04:00",
                hour,
                wake(None, &[], Some(hour), "2026-01-25 03:00"),
            ),
            (
                "25 hours ahead",
                &daily,
                "2026-01-25 03:00",
                "2026-01-26 03:30",
                25 * hour,
                wake(
                    Some("2026-01-26 03:00"),
                    &["2026-01-25 03:00"],
                    Some(25 * hour),
                    "2026-01-27 03:00",
                ),
            ),
            (
                "an hour back",
                &daily,
                "2026-01-25 03:00",
                "2026-01-24 23:00",
                -hour,
                wake(None, &[], Some(-hour), "2026-01-25 03:00"),
            ),
            (
                "a day back",
                &daily,
                "2026-01-26 03:00",
                "2026-01-24 03:30",
                -day,
                wake(None, &[], Some(-day), "2026-01-25 03:00"),
            ),
            (
                "back right after a run",
                &daily,
                "2026-01-26 03:00",
                "2026-01-25 02:59:30",
                -31,
                sleep(30.0),
            ),
            (
                "slewed",
                &daily,
                "2026-01-26 03:00",
                "2026-01-25 12:00",
                1,
                sleep(30.0),
            ),
        ] {
            assert_eq!(
                step(schedule, at(armed), at(now), TimeDelta::seconds(gained)),
                expected,
                "{what}"
            );
        }
        let year = step(
            &schedule("@secondly", "UTC"),
            at("2026-01-25 03:00"),
            at("2027-01-25 03:00"),
            TimeDelta::days(365),
        );
        assert!(
            matches!(year, Step::Wake(wake, _) if wake.missed.len() == MOST_MISSED && wake.due == Some(at("2027-01-25 03:00")))
        );
    }

    thread_local! {
        /// This is added to the time that passes on tokio's paused clock.
        static OFFSET: Cell<TimeDelta> = const { Cell::new(TimeDelta::zero()) };
        static START: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    fn clock() -> DateTime<Utc> {
        let start = START.get().unwrap_or_else(|| {
            START.set(Some(Instant::now()));
            Instant::now()
        });
        at("2026-01-25 02:00") + TimeDelta::from_std(start.elapsed()).unwrap() + OFFSET.get()
    }

    /// What happens to the rings that an alarm asks for.
    #[derive(Debug, Clone, Copy)]
    enum Rings {
        Lost,
        /// The bell rings again and again, mostly long before anything is due.
        Early,
        Late,
        Doubled,
        /// The scheduler was shut down after the first order.
        ShutDown,
    }

    const RINGS: [Rings; 5] = [
        Rings::Lost,
        Rings::Early,
        Rings::Late,
        Rings::Doubled,
        Rings::ShutDown,
    ];

    /// A bell whose rings are disturbed on purpose.
    fn bell(rings: Rings, ringers: &mut JoinSet<()>) -> Bell {
        let (bells, mut ringer) = Bells::new(clock);
        let bell = bells.bell("backups");
        ringers.spawn(async move {
            if matches!(rings, Rings::ShutDown) {
                let stop = CancellationToken::new();
                let shut_down = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    stop.cancel();
                };
                tokio::join!(ringer.run(stop.clone()), shut_down);
                return;
            }
            while let Some(order) = ringer.next().await {
                let until_due = |order: &Order| (order.due - clock()).to_std().unwrap_or_default();
                match rings {
                    Rings::Lost | Rings::ShutDown => {}
                    Rings::Early => {
                        tokio::time::sleep(until_due(&order) / 3 + Duration::from_secs(1)).await;
                        order.ring();
                    }
                    Rings::Late => {
                        tokio::time::sleep(until_due(&order) + Duration::from_secs(7)).await;
                        order.ring();
                    }
                    Rings::Doubled => {
                        tokio::time::sleep(until_due(&order)).await;
                        order.ring();
                        order.ring();
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        order.ring();
                    }
                }
            }
        });
        bell
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_goes_off_once_for_each_due_time() {
        for rings in RINGS {
            START.set(None);
            goes_off_once_for_each_due_time(rings).await;
        }
    }

    async fn goes_off_once_for_each_due_time(rings: Rings) {
        let mut ringers = JoinSet::new();
        let mut alarm = Alarm::new(
            schedule("0 3 * * *", "UTC"),
            clock,
            bell(rings, &mut ringers),
        );
        for day in 25..31 {
            let due = at(&format!("2026-01-{day} 03:00"));
            assert_eq!(alarm.next_due(), due);
            assert_eq!(
                alarm.wait().await,
                Wake {
                    due: Some(due),
                    ..Wake::default()
                }
            );
            assert!(
                clock() - due < TimeDelta::milliseconds(5),
                "{} late",
                clock() - due
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_notices_a_clock_that_was_set() {
        for rings in RINGS {
            START.set(None);
            notices_a_clock_that_was_set(rings).await;
        }
    }

    async fn notices_a_clock_that_was_set(rings: Rings) {
        let mut ringers = JoinSet::new();
        let mut alarm = Alarm::new(
            schedule("0 3 * * *", "UTC"),
            clock,
            bell(rings, &mut ringers),
        );
        tokio::select! {
            wake = alarm.wait() => panic!("{wake:?}"),
            () = tokio::time::sleep(Duration::from_secs(700)) => {}
        }
        OFFSET.set(TimeDelta::hours(25));
        let wake = alarm.wait().await;
        assert_eq!(
            (wake.due, wake.missed),
            (Some(at("2026-01-26 03:00")), vec![at("2026-01-25 03:00")])
        );
        assert_eq!(wake.clock_jumped.unwrap().num_minutes(), 25 * 60);
        OFFSET.set(TimeDelta::zero());
        let wake = alarm.wait().await;
        assert_eq!(
            (
                wake.due,
                wake.missed.len(),
                wake.clock_jumped.unwrap().num_minutes()
            ),
            (None, 0, -25 * 60)
        );
        assert_eq!(alarm.next_due(), at("2026-01-25 03:00"));
        assert_eq!(alarm.wait().await.due, Some(at("2026-01-25 03:00")));
        // Two nights pass during a run that does not end.
        tokio::time::advance(Duration::from_secs(49 * 3600)).await;
        let wake = alarm.skip_passed();
        assert_eq!(
            (wake.due, wake.missed),
            (None, vec![at("2026-01-26 03:00"), at("2026-01-27 03:00")])
        );
        assert_eq!(alarm.skip_passed(), Wake::default());
        assert_eq!(alarm.next_due(), at("2026-01-28 03:00"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_makes_the_alarm_see_at_once_that_the_clock_was_set() {
        let (bells, mut ringer) = Bells::new(clock);
        let bell = bells.bell("backups");
        let mut alarm = Alarm::new(schedule("0 3 * * *", "UTC"), clock, bell);
        let began = Instant::now();
        let set = async {
            let order = ringer.next().await.unwrap();
            assert_eq!(
                (order.name.as_str(), order.due),
                ("backups", at("2026-01-25 03:00"))
            );
            OFFSET.set(TimeDelta::hours(25));
            order.ring();
        };
        let (wake, ()) = tokio::join!(alarm.wait(), set);
        assert_eq!(wake.due, Some(at("2026-01-26 03:00")));
        assert_eq!(began.elapsed(), Duration::ZERO, "no hop had to end first");
    }

    #[tokio::test(start_paused = true)]
    async fn no_number_of_rings_hides_a_clock_that_is_set_step_by_step() {
        let (bells, mut ringer) = Bells::new(clock);
        let mut alarm = Alarm::new(schedule("0 3 * * *", "UTC"), clock, bells.bell("backups"));
        let set = async {
            for _ in 0..20 {
                let order = ringer.next().await.unwrap();
                // Each step alone is a correction. All of them together, within one hop, are a jump.
                OFFSET.set(OFFSET.get() - TimeDelta::seconds(40));
                order.ring();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let wake = tokio::select! {
            wake = alarm.wait() => wake,
            () = set => Wake::default(),
        };
        assert!(wake.clock_jumped.unwrap() <= -JUMP, "{wake:?}");
    }
}
