//! How the values of variables are written: each function reads one kind of value (pure).

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use stream::level::{self, Level};

use crate::board::anomaly::Factor;
use crate::drill;
use crate::fault::Wrong;
use crate::schedule::zone::{NoSuchZone, Zone};
use crate::secret::Secret;
use crate::telemetry::LogFormat;

/// A text that is judged later, with the other variables that it belongs to.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all of these functions have one form, by which the table calls them"
)]
pub(super) fn text(text: &str) -> Result<String, Wrong> {
    Ok(text.to_owned())
}

/// A secret that is judged later, with the other variables that it belongs to.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all of these functions have one form, by which the table calls them"
)]
pub(super) fn secret(text: &str) -> Result<Secret, Wrong> {
    Ok(Secret::new(text.to_owned()))
}

/// `true`, `off` and the like, in any case.
pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Ok(true),
        "false" | "f" | "0" | "no" | "off" => Ok(false),
        _ => Err(Wrong::new(
            "is neither true nor false",
            "use true, t, 1, yes, on or false, f, 0, no, off",
        )),
    }
}

/// `90s`, `15m`, `25h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    const LONGEST: u64 = 3650 * 86_400;
    let seconds = || {
        let unit = match text.chars().next_back()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let digits = text.get(..text.len().checked_sub(1)?)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse::<u64>().ok()?.checked_mul(unit)
    };
    seconds()
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            "is not a duration such as 90s, 15m, 25h or 7d (more than zero, at most 3650d)".into()
        })
}

/// A whole number between two others.
pub(super) fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: &RangeInclusive<T>,
) -> Result<T, Wrong> {
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("is not a number from {} to {}", range.start(), range.end()).into()),
    }
}

/// A level of compression, or `auto`.
pub(super) fn compression(text: &str) -> Result<Level, Wrong> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Level::Auto);
    }
    number(text, &(level::FASTEST..=level::HARDEST))
        .map(Level::Fixed)
        .map_err(|_| "is neither auto nor a number from 1 to 9".into())
}

/// A time zone.
pub(super) fn zone(text: &str) -> Result<Zone, Wrong> {
    text.parse().map_err(|NoSuchZone| {
        "is not a time zone of the IANA database such as UTC or Europe/Berlin".into()
    })
}

/// A fraction of the usual amount, or `off`.
pub(super) fn below(text: &str) -> Result<Option<Factor>, Wrong> {
    factor(
        text,
        |factor| factor > Factor::ZERO && factor < Factor::ONE,
        "is neither off nor a number between 0 and 1 such as 0.5, with at most three digits after the point",
    )
}

/// A multiple of the usual amount, or `off`.
pub(super) fn above(text: &str) -> Result<Option<Factor>, Wrong> {
    factor(
        text,
        |factor| factor > Factor::ONE,
        "is neither off nor a number above 1 such as 3, with at most three digits after the point",
    )
}

fn factor(
    text: &str,
    is_good: impl Fn(Factor) -> bool,
    wrong: &'static str,
) -> Result<Option<Factor>, Wrong> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    Factor::parse(text)
        .filter(|factor| is_good(*factor))
        .map(Some)
        .ok_or_else(|| wrong.into())
}

/// SQL statements that can be joined with others.
pub(super) fn statements(text: &str) -> Result<String, Wrong> {
    if drill::ends_in_a_quote(text) {
        return Err("ends inside a quote or a comment".into());
    }
    Ok(text.to_owned())
}

/// A token that is hard to guess.
pub(super) fn token(text: &str) -> Result<Secret, Wrong> {
    const LEAST: usize = 16;
    const REMEDY: &str = "make one with: openssl rand -hex 24";
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Wrong::new(
            "holds a blank or a character that is not ASCII",
            REMEDY,
        ));
    }
    let different: BTreeSet<u8> = text.bytes().collect();
    if text.len() < LEAST || different.len() < LEAST / 2 {
        return Err(Wrong::new(
            format!("can be guessed: it needs {LEAST} characters or more, not always the same"),
            REMEDY,
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

/// The format of the log.
pub(super) fn log_format(text: &str) -> Result<LogFormat, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("is neither json nor text".into()),
    }
}

/// Log levels, for everything or for single targets. A bare word that is not a level would be taken for a target:
/// `RUST_LOG=verbose` would silence every line of this service, including the failures.
pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_good = |word: &str| match word.split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(word),
    };
    if text.split(',').map(str::trim).all(is_good) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            "is not a list of level or target=level",
            "use error, warn, info or debug",
        ))
    }
}
