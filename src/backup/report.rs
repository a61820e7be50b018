//! The lines of the log about a backup that exists, and the command that restores it.

use super::{Made, Outcome};
use crate::catalog::{Backup, BackupName};
use crate::format::seconds;
use crate::postgres::{Client, Server};
use stream::gzip;

pub(super) fn skipped(backup: Backup) -> Outcome {
    tracing::info!(name = %backup.name, size_bytes = backup.size_bytes, "backup skipped: it exists already");
    Outcome::Skipped(backup)
}

pub(super) fn log_finished(made: &Made, server: &Server, client: &Client) {
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
        fastest_compressor = gzip::FASTEST_COMPRESSOR,
        waited_for_dump_seconds = seconds(timings.dump_waited),
        waited_for_compression_seconds = seconds(timings.compressor_waited),
        waited_for_upload_seconds = seconds(timings.upload_waited),
        server_version = server.version,
        client_version = client.version,
        restore = restore_command(&backup.name),
        "backup finished"
    );
}

/// How much smaller the object is, to two digits.
fn ratio(uncompressed: u64, compressed: u64) -> f64 {
    let hundredths = uncompressed.saturating_mul(100) / compressed.max(1);
    u32::try_from(hundredths).map_or(f64::MAX, |hundredths| f64::from(hundredths) / 100.0)
}

/// The command that restores it into a new database, whatever else is on that server. It is read in logs and on the page, and pasted
/// from there, so no character of it needs quotes in a shell or an escape in JSON.
pub(crate) fn restore_command(name: &BackupName) -> String {
    format!(
        "postgres-s3-backups restore {} --create=restored",
        name.word()
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
        for (folder, word) in [
            (None, "vlvt_backup_2026-01-25_03-00-00.sql.gz"),
            (Some("a b"), "2026-01-25_03-00-00"),
        ] {
            let name = Prefix::new(folder, "vlvt_backup_").name_at(at);
            assert_eq!(
                restore_command(&name),
                format!("postgres-s3-backups restore {word} --create=restored")
            );
        }
    }

    #[test]
    fn the_ratio_has_two_digits() {
        assert!((ratio(1000, 333) - 3.0).abs() < f64::EPSILON);
        assert!((ratio(0, 20) - 0.0).abs() < f64::EPSILON);
        assert!((ratio(10, 0) - 10.0).abs() < f64::EPSILON);
    }
}
