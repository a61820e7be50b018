//! STUB until the real one lands.
use chrono::{DateTime, Utc};
use std::time::Duration;
use chrono_tz::Tz;

/// The wall clock, given by `main`.
pub type Clock = fn() -> DateTime<Utc>;

/// A schedule.
#[derive(Debug, Clone)]
pub struct Schedule { cron: croner::Cron, zone: Tz }
/// Why not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

impl Schedule {
    /// x
    pub fn parse(expression: &str, zone: Tz, now: DateTime<Utc>) -> Result<Self, ScheduleError> {
        let cron = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build().parse(expression).map_err(|e| ScheduleError(e.to_string()))?;
        cron.find_next_occurrence(&now.with_timezone(&zone), false).map_err(|e| ScheduleError(e.to_string()))?;
        Ok(Self { cron, zone })
    }
    /// x
    pub fn next_after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.cron.find_next_occurrence(&now.with_timezone(&self.zone), false).map(|t| t.with_timezone(&Utc)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
    /// x
    pub fn last_at_or_before(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.find_previous_occurrence(&now.with_timezone(&self.zone), true).ok().map(|t| t.with_timezone(&Utc))
    }
    /// x
    pub fn upcoming(&self, now: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
        let mut v = vec![]; let mut t = now;
        for _ in 0..n { t = self.next_after(t); v.push(t); }
        v
    }
    /// x
    pub fn expression(&self) -> &'static str { "stub" }
    /// x
    pub fn zone(&self) -> Tz { self.zone }
    /// x
    pub fn longest_gap(&self, _now: DateTime<Utc>) -> Duration { Duration::from_secs(86400) }
    /// x
    pub fn shortest_gap(&self, _now: DateTime<Utc>) -> Duration { Duration::from_secs(86400) }
}
/// Wake.
#[derive(Debug)]
pub struct Wake { 
 /// due
 pub due: DateTime<Utc> }
/// Waits until the next due time.
pub async fn wait(schedule: &Schedule, clock: Clock) -> Wake {
    let due = schedule.next_after(clock());
    loop {
        let left = due.signed_duration_since(clock()).to_std().unwrap_or_default();
        if left.is_zero() { return Wake { due }; }
        tokio::time::sleep(left.min(Duration::from_secs(30))).await;
    }
}
