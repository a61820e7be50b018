//! How far reading has come, written by the thread that reads and read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stream::replay::Replay;
use stream::script::TableName;

/// How far reading has come, for a bar or a log line.
#[derive(Debug, Default)]
pub struct Meter {
    pass: Mutex<Pass>,
    object_bytes: AtomicU64,
    plain_bytes: AtomicU64,
    rows: AtomicU64,
    table: Mutex<Option<TableName>>,
}

/// One of the times that an object is read in a command: before a restore, and for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Which one it is; 0 before the first.
    pub number: u32,
    /// Whether what is read goes into a database.
    pub restores: bool,
}

/// What a [`Meter`] shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which reading it is.
    pub pass: Pass,
    /// Bytes of the object that were read.
    pub object_bytes: u64,
    /// Bytes of text they held.
    pub plain_bytes: u64,
    /// Rows so far.
    pub rows: u64,
    /// The table whose rows are passing; empty outside of tables.
    pub table: String,
}

impl Meter {
    /// How far it is now.
    #[must_use]
    pub fn show(&self) -> Progress {
        Progress {
            pass: *self.pass.lock().unwrap_or_else(PoisonError::into_inner),
            object_bytes: self.object_bytes.load(Ordering::Relaxed),
            plain_bytes: self.plain_bytes.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            table: self
                .table
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }

    /// The object is read from its beginning.
    pub(super) fn begin(&self, restores: bool) {
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        pass.number = pass.number.saturating_add(1);
        pass.restores = restores;
        for count in [&self.object_bytes, &self.plain_bytes, &self.rows] {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn set(&self, object_bytes: u64, replay: &Replay) {
        let (bytes, rows) = replay.script().position();
        self.object_bytes.store(object_bytes, Ordering::Relaxed);
        self.plain_bytes.store(bytes, Ordering::Relaxed);
        self.rows.store(rows, Ordering::Relaxed);
        let now = replay.script().copying();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.as_ref() != now {
            *table = now.cloned();
        }
    }
}
