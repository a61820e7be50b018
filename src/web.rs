//! What the service answers over HTTP: `/health`, the metrics, and the page for people.

pub mod gate;
pub mod http;
pub mod metrics;
pub mod page;
pub mod places;
pub mod shown;
