//! The lines of the log about a backup that exists, and the command that restores it.

use super::{Job, Made, Outcome};
use crate::catalog::{Backup, BackupName};
use crate::format::{quoted, seconds};
use crate::postgres::{Client, Server};

pub(super) fn skipped(backup: Backup) -> Outcome {
    tracing::info!(name = %backup.name, size_bytes = backup.size_bytes, "backup skipped: it exists already");
    Outcome::Skipped(backup)
}

pub(super) fn log_finished(job: &Job, made: &Made, server: &Server, client: &Client) {
    let Made {
        backup,
        contents,
        timings,
        parts,
        took,
    } = made;
    tracing::info!(
        name = %backup.name,
        size_bytes = backup.size_bytes,
        uncompressed_bytes = contents.bytes,
        ratio = ratio(contents.bytes, backup.size_bytes),
        rows = contents.rows,
        tables = contents.tables.len(),
        parts,
        duration_seconds = seconds(*took),
        compression_level = timings.mean_level(),
        waited_for_dump_seconds = seconds(timings.dump_waited),
        waited_for_compression_seconds = seconds(timings.compressor_waited),
        waited_for_upload_seconds = seconds(timings.upload_waited),
        server_version = server.version,
        client_version = client.version,
        restore = restore_command(job.catalog.store().bucket(), &backup.name, &job.endpoint_option),
        "backup finished"
    );
}

/// How much smaller the object is, to two digits.
fn ratio(uncompressed: u64, compressed: u64) -> f64 {
    let hundredths = uncompressed.saturating_mul(100) / compressed.max(1);
    u32::try_from(hundredths).map_or(f64::MAX, |hundredths| f64::from(hundredths) / 100.0)
}

/// The runbook's three steps in one line. They are joined by `&&`, not by pipes: psql would commit what came through a
/// pipe before the download broke off.
pub(crate) fn restore_command(bucket: &str, name: &BackupName, endpoint_option: &str) -> String {
    let name = name.to_string();
    let file = name.rsplit('/').next().unwrap_or(&name);
    let plain = file.trim_end_matches(".gz");
    let (url, file, plain) = (
        quoted(&format!("s3://{bucket}/{name}")),
        quoted(&format!("./{file}")),
        quoted(&format!("./{plain}")),
    );
    format!(
        "aws s3 cp {url} {file}{endpoint_option} && gunzip {file} && psql -X -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -f {plain}"
    )
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;
    use crate::catalog::Prefix;

    #[test]
    fn the_restore_command_can_be_pasted() {
        let at = Utc.with_ymd_and_hms(2026, 1, 25, 3, 0, 0).unwrap();
        let name = Prefix::new(Some("a b"), "vlvt_backup_").name_at(at);
        assert_eq!(
            restore_command("vlvt-backups", &name, " --endpoint-url https://x"),
            "aws s3 cp 's3://vlvt-backups/a b/vlvt_backup_2026-01-25_03-00-00.sql.gz' ./vlvt_backup_2026-01-25_03-00-00.sql.gz --endpoint-url https://x \
             && gunzip ./vlvt_backup_2026-01-25_03-00-00.sql.gz && psql -X -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -f ./vlvt_backup_2026-01-25_03-00-00.sql"
        );
    }

    #[test]
    fn the_ratio_has_two_digits() {
        assert!((ratio(1000, 333) - 3.0).abs() < f64::EPSILON);
        assert!((ratio(0, 20) - 0.0).abs() < f64::EPSILON);
        assert!((ratio(10, 0) - 10.0).abs() < f64::EPSILON);
    }
}
