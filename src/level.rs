//! How hard to compress, decided block by block from what waits for what.

use std::cmp::Ordering;

/// `BACKUP_COMPRESSION`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As hard as the time at hand allows.
    Auto,
    /// Always this one, from 1 to 9.
    Fixed(u8),
}

/// The range of levels, gzip's own.
pub const FASTEST: u8 = 1;
/// The hardest level.
pub const HARDEST: u8 = 9;

/// Above it, a tenth of a percent of size costs as much processor time as the whole rest. That is worth it only while the
/// upload is what everything waits for.
const HARDEST_FOR_THE_DUMP: u8 = 6;

/// This many blocks waiting for a thread mean that the compressor holds the dump up. There is room for three.
const QUEUE: usize = 2;

/// Steps down are quick, because the source database waits; steps up are slow, so that a pause of the dump is not taken
/// for leisure.
const BEFORE_DOWN: u8 = 2;
const BEFORE_UP: u8 = 8;

/// What waits for what when a thread takes a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Blocks that were read and that no thread has taken.
    pub waiting: usize,
    /// Whether compressed bytes wait for the upload.
    pub upload_waits: bool,
}

/// The level at hand and how often in a row the same wish was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    level: u8,
    /// Adjusted at all?
    fixed: bool,
    wish: Ordering,
    seen: u8,
}

impl Effort {
    /// Begins at the hardest level a dump can keep up with: most databases are so small that they are done before a
    /// step.
    #[must_use]
    pub fn new(level: Level) -> Self {
        let (level, fixed) = match level {
            Level::Auto => (HARDEST_FOR_THE_DUMP, false),
            Level::Fixed(level) => (level.clamp(FASTEST, HARDEST), true),
        };
        Self {
            level,
            fixed,
            wish: Ordering::Equal,
            seen: 0,
        }
    }

    /// The level for the next block.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// What follows from the pressure at the next block.
    #[must_use]
    pub fn after(self, pressure: Pressure) -> Self {
        if self.fixed {
            return self;
        }
        let wish = self.wish(pressure);
        let seen = if wish == self.wish {
            self.seen.saturating_add(1)
        } else {
            1
        };
        let level = match wish {
            Ordering::Less if seen >= BEFORE_DOWN => self.level.saturating_sub(1).max(FASTEST),
            Ordering::Greater if seen >= BEFORE_UP => self.level.saturating_add(1).min(HARDEST),
            _ => return Self { wish, seen, ..self },
        };
        Self {
            level,
            wish,
            seen: 0,
            ..self
        }
    }

    const fn wish(self, pressure: Pressure) -> Ordering {
        if pressure.upload_waits {
            // Blocks wait too then, but not for the compressor. Smaller parts are what helps.
            Ordering::Greater
        } else if pressure.waiting >= QUEUE || self.level > HARDEST_FOR_THE_DUMP {
            Ordering::Less
        } else if pressure.waiting == 0 && self.level < HARDEST_FOR_THE_DUMP {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Pressure = Pressure {
        waiting: 0,
        upload_waits: false,
    };
    const EVEN: Pressure = Pressure {
        waiting: 1,
        upload_waits: false,
    };
    const BUSY: Pressure = Pressure {
        waiting: 2,
        upload_waits: false,
    };
    const SLOW_UPLOAD: Pressure = Pressure {
        waiting: 3,
        upload_waits: true,
    };

    fn at(level: u8) -> Effort {
        Effort {
            level,
            ..Effort::new(Level::Auto)
        }
    }

    #[test]
    fn the_level_follows_what_waits() {
        for (from, pressures, to) in [
            // A step down takes two blocks, a step up eight.
            (6, &[(BUSY, 1)][..], 6),
            (6, &[(BUSY, 2)], 5),
            (6, &[(BUSY, 10)], 1),
            (1, &[(BUSY, 9)], 1),
            (1, &[(IDLE, 7)], 1),
            (1, &[(IDLE, 8)], 2),
            (1, &[(IDLE, 40)], 6),
            (6, &[(IDLE, 100)], 6),
            // Whatever is not the same wish in a row begins anew.
            (4, &[(IDLE, 7), (EVEN, 1), (IDLE, 7)], 4),
            (4, &[(IDLE, 7), (BUSY, 1), (IDLE, 7)], 4),
            (
                4,
                &[(BUSY, 1), (EVEN, 1), (BUSY, 1), (IDLE, 1), (BUSY, 1)],
                4,
            ),
            (4, &[(EVEN, 100)], 4),
            // A slow upload is worth more than the dump could use, and only as long as it is slow.
            (1, &[(SLOW_UPLOAD, 8)], 2),
            (6, &[(SLOW_UPLOAD, 24)], 9),
            (9, &[(SLOW_UPLOAD, 100)], 9),
            (9, &[(IDLE, 6)], 6),
            (9, &[(EVEN, 6)], 6),
            (9, &[(IDLE, 100)], 6),
        ] {
            let mut effort = at(from);
            for (pressure, times) in pressures {
                for _ in 0..*times {
                    effort = effort.after(*pressure);
                }
            }
            assert_eq!(effort.level(), to, "{from} {pressures:?}");
        }
    }

    #[test]
    fn a_chosen_level_stays() {
        for level in FASTEST..=HARDEST {
            let mut effort = Effort::new(Level::Fixed(level));
            for pressure in [IDLE, BUSY, SLOW_UPLOAD] {
                for _ in 0..50 {
                    effort = effort.after(pressure);
                    assert_eq!(effort.level(), level);
                }
            }
        }
    }
}
