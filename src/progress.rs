//! How far a long command has come: a bar on a terminal, a log line every 30 seconds elsewhere.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::format::text::{shortened, visible};
use crate::reader::{Meter, Progress};

/// The bar on this process's terminal, if one is drawn. There is one terminal, so there is one bar.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Whether a person is being asked something: the terminal is the question's then.
static PAUSED: AtomicBool = AtomicBool::new(false);

/// Shows how far a reading has come until it is dropped; it never ends by itself.
pub async fn show(meter: &Meter, size: u64, terminal: bool) {
    if terminal {
        let _gone_at_the_end = Bar;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if PAUSED.load(Ordering::Relaxed) {
                continue;
            }
            Bar::draw(size);
            let now = meter.show();
            with_bar(|bar| {
                bar.set_position(now.object_bytes);
                bar.set_message(describe(&now));
            });
        }
    }
    let mut before = Progress::default();
    loop {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let now = meter.show();
        if now != before {
            tracing::info!(
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

fn describe(progress: &Progress) -> String {
    /// The bar itself cuts what goes beyond the terminal's width.
    const MOST_CHARACTERS: usize = 200;
    if progress.table.is_empty() {
        format!("{} rows", progress.rows)
    } else {
        let table = shortened(&visible(&progress.table), MOST_CHARACTERS);
        format!("{} rows, {table}", progress.rows)
    }
}

/// Takes the bar away when the work is done or given up.
struct Bar;

impl Bar {
    fn draw(size: u64) {
        let mut bar_or_none = BAR.lock().unwrap_or_else(PoisonError::into_inner);
        if bar_or_none.is_some() {
            return;
        }
        let style = ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {wide_msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
        bar.set_style(style);
        *bar_or_none = Some(bar);
    }

    fn clear() {
        if let Some(bar) = BAR.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        Self::clear();
    }
}

/// Takes the bar away while a person is being asked something.
pub async fn paused<T>(asking: impl Future<Output = T>) -> T {
    PAUSED.store(true, Ordering::Relaxed);
    Bar::clear();
    let answer = asking.await;
    PAUSED.store(false, Ordering::Relaxed);
    answer
}

fn with_bar(draw: impl FnOnce(&ProgressBar)) {
    if let Some(bar) = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        draw(bar);
    }
}

/// Standard output for log lines, which lift the bar out of their way.
#[derive(Debug, Default)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner);
        match bar.as_ref() {
            Some(bar) => bar.suspend(|| io::stdout().write(buffer)),
            None => io::stdout().write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
