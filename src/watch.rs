//! What tells people: alerts when something is wrong, and a ping to a monitor at each run.

pub mod alert;
pub mod heartbeat;
pub mod webhook;
