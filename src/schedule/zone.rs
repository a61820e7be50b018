//! A time zone of the IANA database, in the form in which chrono asks for one.
//!
//! Its rules are jiff's, which brings them as the compact files that systems use. chrono-tz has a table with a pointer in each
//! of tens of thousands of rows. That is a megabyte of the program, and as much memory in each process, because the loader has to
//! fill the pointers in. Its rules are also older: they are those of the release that the crate was last published with.

use std::fmt;
use std::str::FromStr;

use chrono::{
    Datelike, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone,
    Timelike, Utc,
};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{self, AmbiguousOffset, TimeZoneDatabase};

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(tz::TimeZone);

/// What a zone's clocks differ from UTC by at some time.
#[derive(Clone)]
pub struct ZoneOffset {
    zone: Zone,
    at: Timestamp,
    offset: FixedOffset,
}

/// The error for a name that no zone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchZone;

impl Zone {
    /// Coordinated Universal Time.
    #[must_use]
    pub const fn utc() -> Self {
        Self(tz::TimeZone::UTC)
    }

    /// Whether it is UTC under that name.
    #[must_use]
    pub fn is_utc(&self) -> bool {
        *self == Self::utc()
    }

    /// The name in the database, such as `Europe/Berlin`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    fn offset(&self, at: Timestamp, offset: tz::Offset) -> ZoneOffset {
        ZoneOffset {
            zone: self.clone(),
            at,
            offset: FixedOffset::east_opt(offset.seconds()).unwrap_or(Utc.fix()),
        }
    }

    /// The same for an offset that a reading of the clock may have.
    fn offset_of(&self, reading: DateTime, offset: tz::Offset) -> ZoneOffset {
        let at = offset.to_timestamp(reading);
        self.offset(at.unwrap_or(Timestamp::MIN), offset)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl FromStr for Zone {
    type Err = NoSuchZone;

    /// Finds a zone by its name, whose case does not matter.
    fn from_str(name: &str) -> Result<Self, NoSuchZone> {
        TimeZoneDatabase::bundled()
            .get(name)
            .ok()
            // A name that stands for "not known", with the clocks of UTC.
            .filter(|zone| !zone.is_unknown())
            .map(Self)
            .ok_or(NoSuchZone)
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let reading = reading(local);
        match self.0.to_ambiguous_timestamp(reading).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                MappedLocalTime::Single(self.offset_of(reading, offset))
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => MappedLocalTime::Ambiguous(
                self.offset_of(reading, before),
                self.offset_of(reading, after),
            ),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        let seconds = utc.and_utc().timestamp();
        let at = Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        self.offset(at, self.0.to_offset(at))
    }
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.offset
    }
}

impl fmt::Display for ZoneOffset {
    /// The abbreviation that is usual at that time, such as `CET`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.zone.0.to_offset_info(self.at).abbreviation())
    }
}

impl fmt::Debug for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A reading of the clock in jiff's form. What is outside of jiff's range becomes the nearest that is inside.
fn reading(local: &NaiveDateTime) -> DateTime {
    let number = |number: u32| i8::try_from(number).unwrap_or_default();
    i16::try_from(local.year())
        .ok()
        .and_then(|year| {
            DateTime::new(
                year,
                number(local.month()),
                number(local.day()),
                number(local.hour()),
                number(local.minute()),
                number(local.second()),
                0,
            )
            .ok()
        })
        .unwrap_or(if local.year() < 0 {
            DateTime::MIN
        } else {
            DateTime::MAX
        })
}

#[cfg(test)]
mod tests {
    use chrono_tz::{TZ_VARIANTS, Tz};

    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[test]
    fn names_are_those_of_the_database() {
        assert_eq!(zone("europe/BERLIN").name(), "Europe/Berlin");
        assert!(zone("UTC").is_utc() && zone("UTC").name() == "UTC");
        assert_eq!(zone("Etc/UTC").name(), "Etc/UTC");
        for name in [
            "",
            " UTC",
            "Mars/Olympus",
            "CET-1CEST",
            "+02:00",
            "Etc/Unknown",
            "../UTC",
            ":UTC",
        ] {
            assert_eq!(name.parse::<Zone>(), Err(NoSuchZone), "{name}");
        }
    }

    fn at(seconds: i64) -> chrono::DateTime<Utc> {
        chrono::DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// What the clock shows at that time, and the abbreviation.
    fn shown<T: TimeZone<Offset: fmt::Display>>(zone: &T, seconds: i64) -> String {
        at(seconds)
            .with_timezone(zone)
            .format("%Y-%m-%d %H:%M:%S %z %Z")
            .to_string()
    }

    fn offsets<T: TimeZone>(zone: &T, reading: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        zone.offset_from_local_datetime(reading)
            .map(|offset| offset.fix())
    }

    /// The years 2000 to 2021. chrono-tz has the rules of 2025b, and what happened in later and in earlier years has been corrected since.
    const YEARS: std::ops::Range<i64> = 946_684_800..1_640_995_200;

    /// chrono-tz shares no code with jiff.
    #[test]
    fn all_zones_agree_with_chrono_tz() {
        let mut random = fastrand::Rng::with_seed(2026);
        let mut compared = 0;
        for theirs in TZ_VARIANTS {
            let ours = zone(theirs.name());
            assert_eq!(ours.name(), theirs.name());
            for _ in 0..50 {
                let seconds = random.i64(YEARS);
                assert_eq!(shown(&ours, seconds), shown(&theirs, seconds), "{theirs}");
            }
            for (before, after) in changes(theirs) {
                for seconds in [before, after] {
                    assert_eq!(shown(&ours, seconds), shown(&theirs, seconds), "{theirs}");
                }
                // The readings that are skipped or repeated, and those beside them.
                for minutes in [
                    0, 1, 29, 30, 31, 59, 60, 61, 119, 120, 121, 180, 1439, 1440, 1441,
                ] {
                    for seconds in [
                        -60 * minutes - 1,
                        -60 * minutes,
                        60 * minutes - 1,
                        60 * minutes,
                    ] {
                        let offset = theirs
                            .offset_from_utc_datetime(&at(before).naive_utc())
                            .fix();
                        let reading = at(after + seconds).naive_utc() + offset;
                        assert_eq!(
                            offsets(&ours, &reading),
                            offsets(&theirs, &reading),
                            "{theirs} {reading}"
                        );
                    }
                }
                compared += 1;
            }
        }
        assert!(compared > 5_000, "{compared}");
    }

    /// The seconds before and after each change of a zone's offset in these years.
    fn changes(zone: Tz) -> Vec<(i64, i64)> {
        const STEP: i64 = 5 * 86_400;
        let offset = |at: i64| shown(&zone, at)[20..].to_owned();
        let mut changes = Vec::new();
        let mut since = YEARS.start;
        while since < YEARS.end {
            let (mut before, mut after) = (since, since + STEP);
            if offset(before) != offset(after) {
                while after - before > 1 {
                    let middle = before + (after - before) / 2;
                    if offset(middle) == offset(since) {
                        before = middle;
                    } else {
                        after = middle;
                    }
                }
                changes.push((before, after));
            }
            since += STEP;
        }
        changes
    }

    #[test]
    fn no_time_is_out_of_range() {
        let berlin = zone("Europe/Berlin");
        for utc in [NaiveDateTime::MIN, NaiveDateTime::MAX] {
            let fixed = berlin.offset_from_utc_datetime(&utc).fix();
            assert!(fixed.local_minus_utc() < 7201, "{fixed}");
            assert!(berlin.offset_from_local_datetime(&utc).earliest().is_some());
        }
        let leap = NaiveDate::from_ymd_opt(2016, 12, 31).unwrap();
        let leap = leap.and_hms_milli_opt(23, 59, 59, 1_500).unwrap();
        let offset = berlin.offset_from_utc_datetime(&leap);
        assert_eq!(
            (offset.fix().local_minus_utc(), offset.to_string().as_str()),
            (3600, "CET")
        );
    }
}
