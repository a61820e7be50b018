//! The way of a dump into an upload: read, compressed, cut into parts and sent.

use std::future::ready;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stream::part::{Buffers, Cutter};
use stream::pipeline::{Around, Compression, Ended, Pipeline, Timings};
use tokio::time::Instant;

use super::{BackupError, Job};
use crate::dump::DumpOutput;
use crate::dump::envelope::Enveloped;
use crate::store::upload::{self, Upload};

/// Begins the upload. If the run ends while the request is under way, its answer is waited for a moment, so that an
/// upload the store just opened is not left behind.
pub(crate) async fn begin(
    job: &Job,
    key: &str,
    part_size: usize,
    mark: &str,
    early: impl Future<Output = BackupError>,
) -> Result<Upload, BackupError> {
    let mut request = Box::pin(Upload::begin(job.catalog.store(), key, part_size, mark));
    tokio::select! {
        begun = &mut request => Ok(begun?),
        error = early => {
            tokio::select! {
                begun = request => if let Ok(upload) = begun { upload.abort(ready(())).await },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            Err(error)
        }
    }
}

/// Reads the dump to its end, compresses it on threads of its own and sends it, between its head and its tail. Says how many
/// bytes of text all of that was. Back-pressure reaches `pg_dump`.
pub(crate) async fn stream(
    output: DumpOutput,
    head: Vec<u8>,
    compression: Compression,
    part_size: usize,
    upload: &mut Upload,
) -> Result<(DumpOutput, u64, Timings), BackupError> {
    const PROGRESS: Duration = Duration::from_secs(60);
    let output = Enveloped::new(output, &head);
    let around = Around {
        before: head,
        after: Enveloped::tail,
    };
    let (read, pause) = (output.counter(), output.pause());
    let buffers = Buffers::new(part_size, upload::buffers(part_size));
    let (cutter, mut parts) = Cutter::new(&buffers);
    let pipeline = Pipeline::start(output, pause, around, compression, &buffers, cutter);
    let mut progress = tokio::time::interval_at(Instant::now() + PROGRESS, PROGRESS);
    let mut sent: u64 = 0;
    loop {
        tokio::select! {
            part = parts.recv() => match part {
                Some(part) => {
                    sent = sent.saturating_add(u64::try_from(part.body.len()).unwrap_or(0));
                    upload.send(part).await?;
                }
                None => break,
            },
            _ = progress.tick() => {
                tracing::info!(uncompressed_bytes = read.load(Ordering::Relaxed), size_bytes = sent, "backup progress");
            }
        }
    }
    let Ended {
        reader,
        mut timings,
        at,
    } = pipeline.finish().await?;
    upload.settle().await?;
    timings.upload_waited = timings.upload_waited.saturating_add(at.elapsed());
    let (output, text_bytes) = reader.into_parts();
    Ok((output, text_bytes, timings))
}
