//! The level of compression, chosen for each block: harder while the upload is the slowest part, faster while the dump has to
//! wait.

use std::cmp::Ordering;

/// `BACKUP_COMPRESSION`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As hard as it is possible without slowing the backup down.
    Auto,
    /// Always this level, from 1 to 9.
    Fixed(u8),
}

/// The fastest level. The levels are those of gzip.
pub const FASTEST: u8 = 1;
/// The hardest level.
pub const HARDEST: u8 = 9;

/// The hardest level that is used while the upload keeps up. Above it, a tenth of a percent of the size costs as much processor
/// time as everything else. That is only worth it while everything waits for the upload.
const HARDEST_FOR_THE_DUMP: u8 = 6;

/// If this many blocks wait for a thread, compression holds the dump up. There is room for three.
const QUEUE: usize = 2;

/// How often in a row the same change must be wished for before it is made. The level goes down quickly, because the source
/// database waits. It goes up slowly, because a short pause of the dump does not mean that there is time to spare.
const BEFORE_DOWN: u8 = 2;
const BEFORE_UP: u8 = 8;

/// The same at the fastest level, where each return to it doubles the number. The levels above take more than twice the processor
/// time. If there is time for them in one block out of ten, they make the object hardly smaller.
const MOST_BEFORE_LEAVING: u8 = 64;

/// Above this level, there is so much time to spare that the returns to the fastest level are forgotten.
const LEFT_FOR_GOOD: u8 = 3;

/// What is waiting at the moment when a thread takes a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Blocks that were read and not yet taken by a thread.
    pub waiting: usize,
    /// How far the upload is behind.
    pub upload: Lag,
}

/// How far the upload is behind what was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// It keeps up.
    None,
    /// It keeps up now, but did not a few parts ago: it is about as fast as the rest.
    Lately,
    /// Compressed bytes wait for it.
    Now,
}

/// The current level, and what led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    level: u8,
    /// Whether the level never changes.
    fixed: bool,
    /// The last wish, and how often in a row it was the same.
    wish: Ordering,
    seen: u8,
    /// How often in a row it must be wished for that the fastest level is left.
    before_leaving: u8,
}

impl Effort {
    /// Begins at the hardest level that keeps up with a dump: most databases are so small that the backup is done before the
    /// level changes.
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
            before_leaving: BEFORE_UP,
        }
    }

    /// The level for the next block.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The level and its history after the next block, from what is waiting.
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
        // While the upload is about as fast as the compressor, quick steps down would undo within one part what the slow steps
        // up had gained.
        let before_down = match pressure.upload {
            Lag::None => BEFORE_DOWN,
            Lag::Lately | Lag::Now => BEFORE_UP,
        };
        let before_up = match pressure.upload {
            Lag::None if self.level == FASTEST => self.before_leaving,
            Lag::None | Lag::Lately | Lag::Now => BEFORE_UP,
        };
        let level = match wish {
            Ordering::Less if seen >= before_down => self.level.saturating_sub(1).max(FASTEST),
            Ordering::Greater if seen >= before_up => self.level.saturating_add(1).min(HARDEST),
            _ => return Self { wish, seen, ..self },
        };
        let before_leaving = match level {
            FASTEST if self.level > FASTEST => self
                .before_leaving
                .saturating_mul(2)
                .min(MOST_BEFORE_LEAVING),
            ..=LEFT_FOR_GOOD => self.before_leaving,
            _ => BEFORE_UP,
        };
        Self {
            level,
            wish,
            seen: 0,
            before_leaving,
            ..self
        }
    }

    const fn wish(self, pressure: Pressure) -> Ordering {
        if matches!(pressure.upload, Lag::Now) {
            // Blocks wait in this case too, but for the upload. Harder compression helps.
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
        upload: Lag::None,
    };
    const EVEN: Pressure = Pressure {
        waiting: 1,
        upload: Lag::None,
    };
    const BUSY: Pressure = Pressure {
        waiting: 2,
        upload: Lag::None,
    };
    const SLOW_UPLOAD: Pressure = Pressure {
        waiting: 3,
        upload: Lag::Now,
    };

    const BUSY_AFTER_SLOW: Pressure = Pressure {
        waiting: 2,
        upload: Lag::Lately,
    };
    const IDLE_AFTER_SLOW: Pressure = Pressure {
        waiting: 0,
        upload: Lag::Lately,
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
            // Each return to the fastest level makes it twice as long to the next attempt, unless there was time for hard levels.
            (2, &[(BUSY, 2), (IDLE, 15)], 1),
            (2, &[(BUSY, 2), (IDLE, 16)], 2),
            (2, &[(BUSY, 2), (IDLE, 16), (BUSY, 2), (IDLE, 31)], 1),
            (2, &[(BUSY, 2), (IDLE, 16), (BUSY, 2), (IDLE, 32)], 2),
            (2, &[(BUSY, 2), (IDLE, 24), (BUSY, 4), (IDLE, 31)], 1),
            (2, &[(BUSY, 2), (IDLE, 32), (BUSY, 6), (IDLE, 15)], 1),
            (2, &[(BUSY, 2), (IDLE, 32), (BUSY, 6), (IDLE, 16)], 2),
            (2, &[(BUSY, 2), (SLOW_UPLOAD, 8)], 2),
            // A slow upload is worth more than the dump could use, and only as long as it is slow.
            (1, &[(SLOW_UPLOAD, 8)], 2),
            (6, &[(SLOW_UPLOAD, 24)], 9),
            (9, &[(SLOW_UPLOAD, 100)], 9),
            (9, &[(IDLE, 6)], 6),
            (9, &[(EVEN, 6)], 6),
            (9, &[(IDLE, 100)], 6),
            // An upload that was slow a moment ago may soon be so again.
            (9, &[(BUSY_AFTER_SLOW, 7)], 9),
            (9, &[(BUSY_AFTER_SLOW, 24)], 6),
            (9, &[(IDLE_AFTER_SLOW, 8)], 8),
            (4, &[(BUSY_AFTER_SLOW, 8), (SLOW_UPLOAD, 16)], 5),
            (4, &[(IDLE_AFTER_SLOW, 8)], 5),
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
    fn the_attempts_to_leave_the_fastest_level_go_on() {
        let mut effort = at(1);
        let mut waited = Vec::new();
        for _ in 0..6 {
            let mut blocks = 0;
            while effort.level() == FASTEST {
                effort = effort.after(IDLE);
                blocks += 1;
            }
            waited.push(blocks);
            effort = effort.after(BUSY).after(BUSY);
        }
        assert_eq!(waited, [8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn a_chosen_level_stays() {
        for level in FASTEST..=HARDEST {
            let mut effort = Effort::new(Level::Fixed(level));
            for pressure in [IDLE, BUSY, SLOW_UPLOAD, BUSY_AFTER_SLOW] {
                for _ in 0..50 {
                    effort = effort.after(pressure);
                    assert_eq!(effort.level(), level);
                }
            }
        }
    }
}
