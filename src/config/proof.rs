//! When, where and how backups are proven.

use chrono::{DateTime, Utc};

use super::problem::Findings;
use super::timing::not_a_schedule;
use super::variables::{VERIFY_DATABASE_URL, VERIFY_SCHEDULE};
use super::{Given, database};
use crate::drill::DrillServer;
use crate::fault::Wrong;
use crate::postgres::Inherited;
use crate::schedule::Schedule;

/// Where backups are proven, and how.
#[derive(Debug, Clone)]
pub struct Drilling {
    /// `VERIFY_DATABASE_URL`
    pub server: DrillServer,
    /// `VERIFY_SQL`
    pub sql: Option<String>,
    /// `VERIFY_UNCONFINED`
    pub may_be_unconfined: bool,
}

/// `VERIFY_SCHEDULE` and the variables that belong to it.
pub(super) fn drills(
    given: &Given,
    findings: &mut Findings,
    now: DateTime<Utc>,
) -> Option<(Schedule, Drilling)> {
    let server = server(given, findings);
    let settings = &given.settings;
    let expression = settings.verify_schedule.as_deref()?;
    let schedule = match Schedule::parse(expression, settings.tz.clone().unwrap_or_default(), now) {
        Ok(schedule) => schedule,
        Err(error) => {
            findings.refuse(VERIFY_SCHEDULE.name, not_a_schedule(&error));
            return None;
        }
    };
    if settings.verify_database_url.is_none() && !findings.has_refused(&VERIFY_DATABASE_URL) {
        findings.refuse(
            VERIFY_DATABASE_URL.name,
            Wrong::new(
                "is not set, but VERIFY_SCHEDULE is",
                "set it to embedded, or to the URL of a server where scratch databases may be created",
            ),
        );
    }
    Some((
        schedule,
        Drilling {
            server: server?,
            sql: settings.verify_sql.clone(),
            may_be_unconfined: settings.verify_unconfined?,
        },
    ))
}

/// `VERIFY_DATABASE_URL`
pub(super) fn server(given: &Given, findings: &mut Findings) -> Option<DrillServer> {
    match given.settings.verify_database_url.as_ref() {
        Some(word) if word.expose().eq_ignore_ascii_case("embedded") => Some(DrillServer::Embedded),
        url => database(&VERIFY_DATABASE_URL, url, &Inherited::default(), findings)
            .map(DrillServer::At),
    }
}
