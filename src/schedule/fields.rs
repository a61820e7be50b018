//! Checks the fields of an expression one by one, and writes them as croner reads them.

use super::{MOST_SHOWN, ScheduleError};
use crate::format::text::{shortened, visible};

/// One of the fields of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Field {
    /// Its name in an error.
    const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    const fn least(self) -> u16 {
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::DayOfWeek => 0,
            Self::DayOfMonth | Self::Month => 1,
        }
    }

    const fn most(self) -> u16 {
        match self {
            Self::Second | Self::Minute => 59,
            Self::Hour => 23,
            Self::DayOfMonth => 31,
            Self::Month => 12,
            // Sunday is 0 and 7.
            Self::DayOfWeek => 7,
        }
    }

    /// The names that can stand for its values, beginning with the smallest value.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &DAYS,
            Self::Second | Self::Minute | Self::Hour | Self::DayOfMonth => &[],
        }
    }

    /// Checks a field, and writes it as croner reads it.
    ///
    /// Croner replaces names in every field, so that `SUN 3 * * *` means minute 0. It skips empty items of a list, does not
    /// accept `*` as an item, takes `7L` for a day that never comes, and does not say which field is wrong.
    pub(super) fn normalise(self, text: &str) -> Result<String, ScheduleError> {
        let items: Vec<&str> = text.split(',').collect();
        let alone = items.len() == 1;
        let items: Result<Vec<String>, String> = items
            .into_iter()
            .map(|item| self.item(item, alone))
            .collect();
        items
            .map(|items| items.join(","))
            .map_err(|problem| ScheduleError::Field {
                field: self.name(),
                text: shortened(&visible(text), MOST_SHOWN),
                problem,
            })
    }

    fn item(self, item: &str, alone: bool) -> Result<String, String> {
        if let Some((base, step)) = item.split_once('/') {
            let Some(steps) = number(step).filter(|steps| *steps > 0) else {
                return Err("a step is a number above 0".to_owned());
            };
            // Only the first value would remain: */90 would be due every hour.
            if steps > self.round() {
                return Err(format!(
                    "a step of {steps} goes beyond the field, which has {} values; list the times, or put the step into the next larger field (0 */2 * * * is every two hours)",
                    self.round()
                ));
            }
            let base = if base == "*" {
                base.to_owned()
            } else {
                self.range(base)?
            };
            return Ok(format!("{base}/{step}"));
        }
        match item {
            "*" if alone => Ok(item.to_owned()),
            "?" if alone && self.has_days() => Ok("*".to_owned()),
            "*" => Ok(format!("{}-{}", self.least(), self.most())),
            "L" | "l" if self == Self::DayOfMonth => Ok("L".to_owned()),
            _ => self.special(item).unwrap_or_else(|| self.range(item)),
        }
    }

    /// Reads `15W` in the day of the month, and `5L` and `5#2` in the day of the week.
    fn special(self, item: &str) -> Option<Result<String, String>> {
        if self == Self::DayOfMonth {
            let day = item.strip_suffix(['W', 'w'])?;
            return Some(self.value(day).map(|day| format!("{day}W")));
        }
        if self == Self::DayOfWeek {
            let (day, rest) = match (item.split_once('#'), item.strip_suffix(['L', 'l'])) {
                (Some((day, nth)), _) if number(nth).is_some_and(|nth| (1..=5).contains(&nth)) => {
                    (day, format!("#{nth}"))
                }
                (Some(_), _) => return Some(Err("# is followed by 1 to 5".to_owned())),
                (None, Some(day)) => (day, "L".to_owned()),
                (None, None) => return None,
            };
            return Some(self.value(day).map(|day| format!("{}{rest}", day % 7)));
        }
        None
    }

    fn range(self, text: &str) -> Result<String, String> {
        let Some((first, last)) = text.split_once('-') else {
            return self.value(text).map(|value| value.to_string());
        };
        let (first, mut last) = (self.value(first)?, self.value(last)?);
        if self == Self::DayOfWeek && last == 0 && first > 0 {
            last = 7;
        }
        if first > last {
            return Err("the range runs backwards".to_owned());
        }
        Ok(format!("{first}-{last}"))
    }

    fn value(self, text: &str) -> Result<u16, String> {
        if let Some(place) = self
            .words()
            .iter()
            .position(|word| word.eq_ignore_ascii_case(text))
        {
            return u16::try_from(place)
                .map(|place| place + self.least())
                .map_err(|error| error.to_string());
        }
        match number(text) {
            Some(value) if (self.least()..=self.most()).contains(&value) => Ok(value),
            Some(value) => Err(format!(
                "{value} is not between {} and {}",
                self.least(),
                self.most()
            )),
            None if text.is_empty() => Err("a value is missing".to_owned()),
            None => Err(if self.words().is_empty() {
                "not a number"
            } else {
                "neither a number nor a name"
            }
            .to_owned()),
        }
    }

    /// How many values it has before it begins again.
    fn round(self) -> u16 {
        if self == Self::DayOfWeek {
            7
        } else {
            self.most() - self.least() + 1
        }
    }

    fn has_days(self) -> bool {
        matches!(self, Self::DayOfMonth | Self::DayOfWeek)
    }
}

fn number(text: &str) -> Option<u16> {
    // `parse` alone would accept a leading plus sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}
