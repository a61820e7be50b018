//! An upload that is begun, gets one part, and is aborted.

use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};
use stream::part::mapped;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError, upload};

/// As many bytes as a part of this database's backup has: a proxy in front of a store may refuse what is that long.
pub(super) fn whole_part(database_bytes: u64) -> Bytes {
    // Longer ones are those of databases above 300 GiB; whoever takes this much takes them too.
    const MOST_BYTES: usize = 64 * 1024 * 1024;
    // Pages of zeros that are only read take no memory.
    let zeros = mapped(MOST_BYTES).freeze();
    zeros.slice(..upload::part_size(database_bytes).min(MOST_BYTES))
}

/// Begins an upload, sends a part and aborts it: all that a backup needs but the object. Once begun it is aborted, whatever
/// happens in between.
pub(super) async fn try_upload(
    store: &Store,
    key: &str,
    body: Bytes,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    if stop.is_cancelled() {
        return Ok(());
    }
    let mut begin = Box::pin(store.create_upload(key, "check"));
    let id = tokio::select! {
        begun = &mut begin => begun?,
        () = stop.cancelled() => tokio::select! {
            begun = begin => begun?,
            () = tokio::time::sleep(Duration::from_secs(1)) => return Ok(()),
        }
    };
    let md5 = Md5::digest(&body).into();
    let sent = stop
        .run_until_cancelled(store.upload_part(key, &id, 1, &body, &md5))
        .await;
    let aborted = store.abort_upload(key, &id).await;
    sent.transpose()?;
    aborted
}
