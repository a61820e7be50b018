//! `backup`: one backup now.

use super::Surroundings;
use crate::daemon;
use crate::process::Ending;
use crate::process::signals::Signals;

pub(super) async fn run(around: &Surroundings, signals: Signals) -> anyhow::Result<Ending> {
    let config = around.config()?;
    let (sources, path) = (around.sources(), around.path());
    Ok(daemon::once(config, sources, path, around.clock, signals).await)
}
