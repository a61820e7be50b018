//! The headers of a tar: names, sizes and checksums.

use super::{BEGINNING, Defect};

/// A member's name and size; `None` if this is not a header.
pub(super) fn parse_header(block: &[u8]) -> Option<(String, u64)> {
    magic(block)?;
    let field = block.get(148..156)?;
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = field.iter().map(|byte| u64::from(*byte)).sum();
    // The checksum's own field counts as eight spaces.
    let expected = sum.saturating_sub(own).saturating_add(8 * 0x20);
    if number(field)? != expected {
        return None;
    }
    let name = block.get(..100)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some((
        String::from_utf8_lossy(name).into_owned(),
        number(block.get(124..136)?)?,
    ))
}

/// POSIX's magic and version, GNU's, or that of `pg_dump` before 9.3.
pub(super) fn magic(block: &[u8]) -> Option<&[u8]> {
    let magic = block.get(257..265)?;
    let known: [&[u8]; 3] = [b"ustar\x0000", b"ustar  \0", b"ustar00\0"];
    known.contains(&magic).then_some(magic)
}

/// An octal number, or from 8 GiB on one of base 256, whose first bit is set.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        return rest.iter().try_fold(0_u64, |sum, byte| {
            sum.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let text = field
        .trim_ascii_start()
        .split(|byte| matches!(byte, 0 | b' '))
        .next()?;
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// Whether a damaged block was once a header of a tar.
pub(super) fn is_named_tar(block: &[u8]) -> bool {
    magic(block).is_some() || block.starts_with(b"toc.dat\0")
}

pub(super) fn not_tar(block: &[u8]) -> Defect {
    let what = if is_named_tar(block) || b"toc.dat\0".starts_with(block) {
        return Defect::CutAfter(BEGINNING.to_owned());
    } else if block.starts_with(b"PGDMP") {
        "it is pg_dump's custom format, which pg_restore reads"
    } else if block.starts_with(b"--\n-- PostgreSQL database") {
        "it is plain SQL, which psql reads"
    } else if block.starts_with(b"\x1f\x8b") {
        "it is compressed once more"
    } else {
        "its first bytes are no header of a tar"
    };
    Defect::NotTar(what)
}
