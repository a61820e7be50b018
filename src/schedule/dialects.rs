//! How other programs write a schedule. A form that means the same here is accepted. For any other form, the error says why,
//! and shows the form that is right here.

use super::zone::Zone;

use super::{NICKNAMES, ScheduleError};

/// The fields of an expression in cron's form: five, or six with leading seconds.
///
/// In Quartz and at AWS, Sunday is weekday 1; here it is 0. So numbers of weekdays are refused in their forms.
pub(super) fn fields(expression: &str) -> Result<String, ScheduleError> {
    let expression = expression.trim();
    let lower = expression.to_ascii_lowercase();
    if let Some(rest) = ["tz=", "cron_tz="]
        .iter()
        .find_map(|name| lower.strip_prefix(name))
    {
        return Err(foreign(zoned(expression, rest)));
    }
    if let Some(inner) = call(expression, "cron") {
        return aws(inner);
    }
    if let Some(inner) = call(expression, "rate") {
        return Err(every("rate(…)", inner));
    }
    if let Some(interval) = lower.strip_prefix("@every") {
        return Err(every("@every", interval));
    }
    if expression.starts_with('@') {
        return nickname(expression);
    }
    if expression.contains("*-*") {
        return Err(foreign(
            "this is the calendar form of systemd; 03:00 every day is 0 3 * * * here".to_owned(),
        ));
    }
    let words: Vec<&str> = expression.split_whitespace().collect();
    if let [word] = *words.as_slice()
        && NICKNAMES
            .iter()
            .any(|(known, _)| known.trim_start_matches('@').eq_ignore_ascii_case(word))
    {
        let word = word.to_ascii_lowercase();
        return Err(foreign(format!("write @{word}")));
    }
    if words.len() >= 5
        && words
            .iter()
            .take(6)
            .any(|word| *word == "H" || word.starts_with("H/") || word.starts_with("H("))
    {
        return Err(foreign(
            "H is a letter of Jenkins; write a number in its place".to_owned(),
        ));
    }
    match *words.as_slice() {
        [second, minute, hour, day, month, weekday, year] => {
            let six = [second, minute, hour, day, month, weekday];
            if year != "*" && year != "?" {
                return Err(ScheduleError::Year);
            }
            if has_numbered_day(weekday) {
                return Err(numbered_day());
            }
            Ok(six.join(" "))
        }
        [_, _, _, day, _, weekday]
            if (day == "?" || weekday == "?") && has_numbered_day(weekday) =>
        {
            Err(numbered_day())
        }
        _ => Ok(expression.to_owned()),
    }
}

fn foreign(text: String) -> ScheduleError {
    ScheduleError::Foreign(text)
}

/// The text in the parentheses of `name(…)`.
fn call<'a>(expression: &'a str, name: &str) -> Option<&'a str> {
    let (word, rest) = expression.split_once('(')?;
    let inner = rest.trim_end().strip_suffix(')')?;
    word.trim().eq_ignore_ascii_case(name).then(|| inner.trim())
}

/// The error for `TZ=Europe/Berlin 0 3 * * *`. `rest` is what follows `TZ=`. The zone is repeated only if it is one.
fn zoned(expression: &str, rest: &str) -> String {
    let given = expression
        .get(expression.len() - rest.len()..)
        .unwrap_or_default();
    let (zone, fields) = given.split_once(char::is_whitespace).unwrap_or((given, ""));
    let zone = zone.trim_matches(['"', '\'']).parse::<Zone>().map_or_else(
        |_| "the zone's name".to_owned(),
        |zone| zone.name().to_owned(),
    );
    let fields = fields.split_whitespace().collect::<Vec<_>>().join(" ");
    if is_plain(&fields) && !fields.is_empty() {
        format!(
            "the time zone has a variable of its own; set TZ to {zone}, and here write only {fields}"
        )
    } else {
        format!(
            "the time zone has a variable of its own; set TZ to {zone}, and here write only the fields"
        )
    }
}

/// Whether a text consists only of characters that occur in fields, so that an error may repeat it.
fn is_plain(text: &str) -> bool {
    text.len() <= 60
        && text.split_whitespace().all(|word| {
            word.len() <= 12
                && word
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"*/,-?".contains(&b))
        })
}

/// AWS's fields are minute, hour, day, month, weekday and year.
fn aws(inner: &str) -> Result<String, ScheduleError> {
    let words: Vec<&str> = inner.split_whitespace().collect();
    let [minute, hour, day, month, weekday, year] = *words.as_slice() else {
        return Err(foreign(
            "cron(…) of AWS has six fields, the last a year; write only five: minute, hour, day of month, month, day of week".to_owned(),
        ));
    };
    if year != "*" && year != "?" {
        return Err(ScheduleError::Year);
    }
    if has_numbered_day(weekday) {
        return Err(numbered_day());
    }
    Ok([minute, hour, day, month, weekday].join(" "))
}

fn has_numbered_day(weekday: &str) -> bool {
    // The number after # or / is not a weekday.
    weekday.split([',', '-']).any(|item| {
        let day = item.split(['/', '#']).next().unwrap_or_default();
        day.starts_with(|c: char| c.is_ascii_digit())
    })
}

fn numbered_day() -> ScheduleError {
    foreign("in this form a number for the day of week means another day to other programs (1 is Sunday to Quartz and AWS); write names such as MON or MON-FRI".to_owned())
}

fn nickname(expression: &str) -> Result<String, ScheduleError> {
    if expression.eq_ignore_ascii_case("@reboot") {
        return Err(foreign(
            "@reboot is no time; for a backup at each start set RUN_ON_STARTUP=true".to_owned(),
        ));
    }
    NICKNAMES
        .iter()
        .find(|(nickname, _)| nickname.eq_ignore_ascii_case(expression))
        .map(|(_, fields)| (*fields).to_owned())
        .ok_or(ScheduleError::Nickname)
}

/// An interval has no time of day: it would begin again at each start.
fn every(form: &str, interval: &str) -> ScheduleError {
    let advice = minutes(interval).and_then(fields_of).map_or_else(
        || "write the times of day, such as 0 3 * * * (03:00 every day) or 0 */6 * * * (every six hours)".to_owned(),
        |fields| format!("write {fields}"),
    );
    foreign(format!(
        "{form} counts from the start of a process, so that each deploy would move it; {advice}"
    ))
}

/// Reads `24h`, `1h30m`, `1 day`, `12 hours`, `90m`, as minutes.
fn minutes(text: &str) -> Option<u32> {
    let text: String = text.split_whitespace().collect();
    let mut rest = text.as_str();
    let mut sum: u32 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let each = match unit {
            "s" | "second" | "seconds" if number.parse() == Ok(0_u32) => 0,
            "m" | "min" | "minute" | "minutes" => 1,
            "h" | "hour" | "hours" => 60,
            "d" | "day" | "days" => 24 * 60,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u32>().ok()?.checked_mul(each)?)?;
        rest = after;
    }
    Some(sum)
}

/// Cron fields that are due equally often, if there are any.
fn fields_of(minutes: u32) -> Option<String> {
    let hours = minutes / 60;
    match minutes {
        0 => None,
        1 => Some("* * * * *".to_owned()),
        60 => Some("0 * * * *".to_owned()),
        1440 => Some("0 3 * * * (03:00 every day)".to_owned()),
        10_080 => Some("0 3 * * 0 (03:00 every Sunday)".to_owned()),
        _ if minutes < 60 && 60 % minutes == 0 => Some(format!("*/{minutes} * * * *")),
        _ if minutes.is_multiple_of(60) && hours < 24 && 24 % hours == 0 => {
            Some(format!("0 */{hours} * * *"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_here_is_read() {
        for (text, expected) in [
            ("0 0 3 ? * * *", "0 0 3 ? * *"),
            ("0 0 3 * * ? *", "0 0 3 * * ?"),
            ("0 0 3 ? * MON-FRI *", "0 0 3 ? * MON-FRI"),
            ("cron(0 3 * * ? *)", "0 3 * * ?"),
            ("CRON( 0 3 ? * SUN#1 * )", "0 3 ? * SUN#1"),
            ("@Daily", "0 0 * * *"),
            ("0 3 ? * 5", "0 3 ? * 5"),
            ("0 0 3 * * 5", "0 0 3 * * 5"),
        ] {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_gets_its_word() {
        for (text, piece) in [
            (
                "TZ=Europe/Berlin 0 3 * * *",
                "set TZ to Europe/Berlin, and here write only 0 3 * * *",
            ),
            (
                "CRON_TZ=Asia/Tokyo 0 3 * * MON",
                "set TZ to Asia/Tokyo, and here write only the fields",
            ),
            ("TZ=secret-zone secret-text", "set TZ to the zone's name"),
            ("0 0 3 ? * 2-6 *", "1 is Sunday to Quartz"),
            ("0 0 3 ? * 2", "1 is Sunday to Quartz"),
            ("0 0 3 ? * FRI,7 *", "1 is Sunday to Quartz"),
            ("0 0 3 * * * 2027", "a year is not supported"),
            ("cron(0 3 ? * 2 *)", "1 is Sunday to Quartz"),
            ("cron(0 3 * * ? 2027)", "a year is not supported"),
            ("cron(0 3 * * *)", "write only five"),
            ("rate(1 day)", "write 0 3 * * *"),
            ("rate(12 hours)", "write 0 */12 * * *"),
            ("@every 6h", "write 0 */6 * * *"),
            ("@every 1h30m0s", "write the times of day"),
            ("@every 30m", "write */30 * * * *"),
            ("@every", "write the times of day"),
            ("@every secret", "write the times of day"),
            ("@reboot", "RUN_ON_STARTUP"),
            ("daily", "write @daily"),
            ("*-*-* 03:00:00", "systemd"),
            ("H 3 * * *", "Jenkins"),
        ] {
            let told = fields(text).unwrap_err().to_string();
            assert!(
                told.contains(piece) && !told.contains("secret"),
                "{text}: {told}"
            );
        }
    }
}
