//! Without a command: the process stays and makes a backup at each due time, or makes one and ends where `SINGLE_SHOT_MODE` says so.

use super::Surroundings;
use crate::daemon;
use crate::process::Ending;
use crate::process::signals::Signals;

pub(super) async fn run(around: &Surroundings, signals: Signals) -> anyhow::Result<Ending> {
    let config = around.config()?;
    let (sources, path) = (around.sources(), around.path());
    let (temporary, clock) = (around.temporary.clone(), around.clock);
    Ok(if config.single_shot {
        daemon::once(config, sources, path, clock, signals).await
    } else {
        let railway = around.railway();
        daemon::run(config, sources, path, temporary, railway, clock, signals).await
    })
}
