//! `health`: whether the daemon on this machine answers.

use super::Surroundings;
use crate::daemon;
use crate::process::Ending;

pub(super) async fn run(around: &Surroundings) -> Ending {
    if daemon::probe(around.port()).await {
        Ending::Done
    } else {
        Ending::Failed
    }
}
