//! Processes: those that this service starts, and itself as one.

pub mod confine;
pub(crate) mod running;
pub(crate) mod said;
pub mod shell;
pub mod signals;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0.
    Done,
    /// Exit code 1.
    Failed,
}
