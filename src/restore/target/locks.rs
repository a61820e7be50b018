//! Whether the target's server has room for the locks of a restore in one transaction, which keeps each of them to its end
//! (pure).

use serde::Deserialize;

use super::{Permits, Survey};
use crate::dump::label::Relations;
use crate::reader::Summary;

/// What the target's settings make room for.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Room {
    /// `max_locks_per_transaction`
    each: u64,
    /// How many sessions, prepared transactions and processes of the server it is multiplied by.
    processes: u64,
    /// Whether the server's memory is in huge pages, in the rest of which there is room for more.
    huge_pages: bool,
}

/// More locks than a server has room for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    /// About how many locks the restore takes.
    pub(super) locks: u64,
    /// About how many there is room for at most.
    pub(super) room: u64,
    /// The value of `max_locks_per_transaction` that is enough.
    pub(super) enough: u64,
    /// How many large objects are among what is locked.
    pub(super) large_objects: u64,
}

impl Shortage {
    /// Compares what the backup's head counts with the settings. Without a head nothing is known.
    pub(super) fn of(backup: &Summary, target: &Survey, permits: Permits) -> Option<Self> {
        let relations = backup.head.as_ref()?.origin.relations.as_ref()?;
        let locks = locks(relations, target.major(), permits.no_owner);
        let room = target.lock_room.most()?;
        (locks > room).then(|| Self {
            locks,
            room,
            // As if there were no reserve, and a tenth more.
            enough: locks
                .saturating_add(locks / 10)
                .div_ceil(target.lock_room.processes.max(1)),
            large_objects: relations.large_objects,
        })
    }
}

impl Room {
    /// What there is room for at most. A server keeps a reserve for its other tables in shared memory, which the locks may
    /// use up: 1.55 times the product of the settings and 1,000 were measured on 14 and 17. A little more is allowed for here,
    /// because a restore that would have worked must not be refused. None if the settings are not known.
    fn most(self) -> Option<u64> {
        /// In the rest of one huge page.
        const REST: u64 = 8000;
        let product = self.each.checked_mul(self.processes)?;
        let more = if self.huge_pages { REST } else { 0 };
        (product > 0).then(|| {
            product
                .saturating_mul(8)
                .div_euclid(5)
                .saturating_add(1300)
                .saturating_add(more)
        })
    }
}

/// How many locks it takes to make these in one transaction, as measured. From 15 on a relation is locked in two modes.
fn locks(relations: &Relations, major: u16, no_owner: bool) -> u64 {
    let modes = if major < 15 { 1 } else { 2 };
    let owned = if no_owner {
        // These are locked only to give them to their owner.
        0
    } else {
        relations.functions.saturating_add(relations.large_objects)
    };
    let in_two_modes = relations
        .tables
        .saturating_add(relations.views)
        .saturating_add(relations.key_indexes);
    in_two_modes
        .saturating_mul(modes)
        .saturating_add(relations.toasts.saturating_mul(2))
        .saturating_add(relations.indexes)
        .saturating_add(relations.sequences)
        .saturating_add(owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_fits_and_a_tenth_more_does_not() {
        // Tables with a serial key and a text column on a server with its usual settings.
        let room = |processes| Room {
            each: 64,
            processes,
            huge_pages: false,
        };
        for (major, tables, processes) in [(14, 2560, 121), (17, 1858, 121)] {
            let with = |tables| Relations {
                tables,
                toasts: tables,
                key_indexes: tables,
                sequences: tables,
                ..Relations::default()
            };
            let most = room(processes).most().unwrap();
            assert!(locks(&with(tables), major, true) <= most, "{major}");
            assert!(
                locks(&with(tables * 11 / 10), major, true) > most,
                "{major}"
            );
        }
        assert_eq!(Room::default().most(), None);
    }

    #[test]
    fn large_objects_count_where_they_get_an_owner() {
        let relations = Relations {
            large_objects: 20_000,
            ..Relations::default()
        };
        assert_eq!(locks(&relations, 17, false), 20_000);
        assert_eq!(locks(&relations, 17, true), 0);
    }
}
