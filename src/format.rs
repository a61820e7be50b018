//! How times, durations, sizes and counts are written, for people and for programs.

pub mod screen;
pub mod text;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// A time as logs write it.
pub(crate) fn utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same, for serde.
pub(crate) fn serialize_utc<S: serde::Serializer>(
    time: &DateTime<Utc>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*time))
}

/// A duration in seconds, to the millisecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration
        .as_millis()
        .try_into()
        .map_or(f64::MAX, |ms: u32| f64::from(ms) / 1000.0)
}

/// `3 d`, `5 h`, `12 min`: the largest unit of which there are at least two.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        172_800.. => format!("{} d", seconds / 86_400),
        7200.. => format!("{} h", seconds / 3600),
        120.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// `3 days`, `1 day 1 hour`, `12 minutes`: the largest unit, and beside it the next smaller one while there are fewer than three
/// of the largest, since a minute more or less says something about one minute and nothing about twenty.
pub(crate) fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = duration.as_secs();
    let words =
        |number: u64, noun: &str| count(usize::try_from(number).unwrap_or(usize::MAX), noun);
    let mut units = UNITS.iter().skip_while(|(unit, _)| seconds < *unit);
    let Some((unit, noun)) = units.next() else {
        return "less than a second".to_owned();
    };
    let largest = words(seconds / unit, noun);
    match units.next() {
        Some((next, noun)) if seconds / unit < 3 && seconds % unit >= *next => {
            format!("{largest} {}", words(seconds % unit / next, noun))
        }
        _ => largest,
    }
}

/// A number of bytes in the unit that a person would choose, in powers of ten as stores bill them, rounded to one digit after the
/// point.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let tenths = |unit: u128| (u128::from(bytes) * 10 + unit / 2) / unit;
    let (tenths, name) = [(tenths(1000), "kB"), (tenths(1_000_000), "MB")]
        .into_iter()
        .find(|(tenths, _)| *tenths < 10_000)
        .unwrap_or_else(|| (tenths(1_000_000_000), "GB"));
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// How much larger the second number is than the first, in percent, with one digit after the point.
pub(crate) fn change_percent(before: u64, after: u64) -> Option<f64> {
    let per_mille = u128::from(after)
        .saturating_mul(1000)
        .checked_div(u128::from(before))?;
    let per_mille = u32::try_from(per_mille).unwrap_or(u32::MAX);
    Some((f64::from(per_mille) - 1000.0) / 10.0)
}

/// `1 table`, `1,234 tables`
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    let number = grouped(u64::try_from(number).unwrap_or(u64::MAX));
    format!("{number} {noun}{plural}")
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Lower-case hexadecimal, as ETags are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name as SQL spells it, in quotes if it needs them. Keywords are not quoted: people read and paste these names, which
/// are names of schemas, and hardly any schema has the name of a keyword.
pub(crate) fn identifier(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_a_tenth_of_the_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1049, "1.0 kB"),
            (1050, "1.1 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (1_097_995, "1.1 MB"),
            (999_949_999, "999.9 MB"),
            (999_950_000, "1.0 GB"),
            (5_000_000_000_000, "5000.0 GB"),
            (u64::MAX, "18446744073.7 GB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn names_are_in_quotes_only_where_sql_needs_them() {
        assert_eq!(
            ["auth", "_a1", "1a", "A", "a b", "a\"b", ""].map(identifier),
            [
                "auth",
                "_a1",
                "\"1a\"",
                "\"A\"",
                "\"a b\"",
                "\"a\"\"b\"",
                "\"\""
            ]
        );
    }
}
