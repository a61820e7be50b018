//! What the answers over HTTP are made from: one series of backups, as others see it.

use chrono::{DateTime, Utc};

use crate::board::Board;
use crate::board::health::Health;
use crate::store::PartCounts;
use crate::web::page::Setting;

/// A series, as the answers over HTTP show it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What tells it from the others, if there are any.
    pub name: String,
    /// What is known of it.
    pub board: Board,
    /// What the page says of it besides.
    pub setting: Setting,
    /// The parts that were sent for it.
    pub sent: PartCounts,
}

impl Shown {
    /// How it is, at a time.
    #[must_use]
    pub fn health(&self, now: DateTime<Utc>) -> Health {
        self.board
            .read(|status| Health::at(status, self.setting.max_age, now))
    }
}
