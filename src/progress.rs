//! Shows the progress of a long command: a bar on a terminal, elsewhere a log line every 30 seconds.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::format::text::{shortened, visible};
use crate::reader::{Meter, Pass, Progress};

/// The terminal of this process. It is shared by everything that draws, asks or logs there, and has at most one bar.
#[derive(Debug, Clone, Default)]
pub struct Terminal {
    /// Whether a bar can be drawn.
    draws: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    /// The reading that the bar is about.
    pass: Pass,
    /// Whether a person is being asked something, and the bar must stay away.
    is_paused: bool,
}

impl Terminal {
    /// One on which a bar can be drawn, or not.
    #[must_use]
    pub fn new(draws: bool) -> Self {
        Self {
            draws,
            state: Arc::default(),
        }
    }

    /// Takes the bar away while a person is being asked something.
    pub async fn paused<T>(&self, asking: impl Future<Output = T>) -> T {
        self.pause(true);
        let answer = asking.await;
        self.pause(false);
        answer
    }

    fn pause(&self, is_paused: bool) {
        let mut state = self.state();
        state.is_paused = is_paused;
        state.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, size: u64, now: &Progress) {
        // Each reading has a rate and a time left of its own.
        if self.pass != now.pass {
            self.clear();
            self.pass = now.pass;
        }
        let bar = self.bar.get_or_insert_with(|| new_bar(size));
        bar.set_prefix(phase(now, size));
        bar.set_position(now.object_bytes);
        bar.set_message(describe(now));
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} {bar:16} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left, {wide_msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

/// Takes the bar away when the work is done or given up.
struct ClearedAtTheEnd<'a>(&'a Terminal);

impl Drop for ClearedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.state().clear();
    }
}

/// Shows the progress of a reading. It never ends by itself: whoever called it drops it.
pub async fn show(meter: &Meter, size: u64, terminal: &Terminal) {
    if terminal.draws {
        let _cleared = ClearedAtTheEnd(terminal);
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut state = terminal.state();
            if !state.is_paused {
                state.draw(size, &meter.show());
            }
        }
    }
    let mut before = Progress::default();
    loop {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let now = meter.show();
        if now != before {
            tracing::info!(
                phase = phase(&now, size),
                object_bytes = now.object_bytes,
                size_bytes = size,
                uncompressed_bytes = now.plain_bytes,
                rows = now.rows,
                table = now.table,
                "progress"
            );
        }
        before = now;
    }
}

/// What is being done, in one word.
const fn phase(now: &Progress, size: u64) -> &'static str {
    match now.pass {
        Pass { number: 0, .. } => "Beginning",
        Pass {
            restores: false, ..
        } => "Reading",
        // Everything was handed to the server, which is still working on it.
        Pass { restores: true, .. } if now.object_bytes >= size => "Finishing",
        Pass { restores: true, .. } => "Restoring",
    }
}

fn describe(progress: &Progress) -> String {
    /// The bar cuts off what does not fit into the terminal's width.
    const MOST_CHARACTERS: usize = 200;
    if progress.table.is_empty() {
        format!("{} rows", progress.rows)
    } else {
        let table = shortened(&visible(&progress.table), MOST_CHARACTERS);
        format!("{} rows, {table}", progress.rows)
    }
}

/// Standard output for log lines. While a line is written, the bar is out of the way.
#[derive(Debug)]
pub struct Stdout(Terminal);

impl Stdout {
    /// That of the process whose terminal this is.
    #[must_use]
    pub const fn beside(terminal: Terminal) -> Self {
        Self(terminal)
    }
}

impl Write for Stdout {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &self.0.state().bar {
            Some(bar) => bar.suspend(|| io::stdout().write(buffer)),
            None => io::stdout().write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
