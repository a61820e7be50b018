//! `health`: whether the daemon on this machine answers.

use super::{Surroundings, print};
use crate::daemon;
use crate::process::Ending;

pub(super) async fn run(around: &Surroundings) -> anyhow::Result<Ending> {
    let port = around.port();
    let (word, ending) = if daemon::probe(port).await {
        ("running", Ending::Done)
    } else {
        ("not running", Ending::Failed)
    };
    print(&format!("The daemon on port {port} is {word}.\n"))?;
    Ok(ending)
}
