//! `check`: what can be found out before a backup is due.

use std::sync::Arc;

use super::{Surroundings, Unusable, attended, print};
use crate::check::{self, Check, Outcome};
use crate::cli;
use crate::process::Ending;
use crate::progress::Terminal;

pub(super) async fn run(around: &Surroundings, options: &cli::Check) -> anyhow::Result<Ending> {
    let config = match around.config() {
        Ok(config) => config,
        Err(unusable) => {
            // A program that reads the answer gets one, whatever is wrong.
            if let (Unusable::Variables(found), true) = (&unusable, options.json) {
                let findings = check::unusable(&found.problems, &found.warnings);
                print(&check::report(&findings, true, around.screen))?;
            }
            return Err(unusable.into());
        }
    };
    let clients = around.clients().await;
    let check = Check::of_all(&config, clients, around.clock).on(around.railway());
    // There is no bar: nothing is read whose size is known.
    let (meter, terminal) = (Arc::default(), Terminal::default());
    // Boxed: the compiler has a limit for how deep futures lie in each other.
    let looked = attended(&meter, 0, &terminal, async |stop| {
        Box::pin(check.run(stop)).await
    });
    let Some(findings) = looked.await else {
        return Ok(Ending::Failed);
    };
    print(&check::report(&findings, options.json, around.screen))?;
    let failed = findings
        .iter()
        .any(|finding| finding.outcome == Outcome::Failed);
    Ok(if failed { Ending::Failed } else { Ending::Done })
}
