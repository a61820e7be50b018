//! A question to the person at the terminal.

use std::io::{self, Write};

use anyhow::Context;

use crate::progress::Terminal;

/// Puts a question to the person at the terminal, with the bar out of the way. Anything but yes is no, and so is a terminal that can't
/// be read.
pub(super) async fn ask(terminal: &Terminal, question: String) -> bool {
    let answer = terminal.paused(async {
        // This begins at once, so not before the bar is out of the way.
        let asking = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            io::stderr().write_all(question.as_bytes())?;
            io::stdin().read_line(&mut answer)?;
            Ok::<bool, io::Error>(answer.trim().eq_ignore_ascii_case("yes"))
        });
        let answered = asking.await.context("the question was given up")?;
        answered.context("could not ask at the terminal")
    });
    match answer.await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "nobody answered, which counts as no"
            );
            false
        }
    }
}
