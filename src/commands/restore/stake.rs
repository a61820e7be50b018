//! What a person is told before a restore replaces a database: which one it is, whether it lives, and which backup comes (pure).
//!
//! The name of a database says little: every database of a provider can have the same one. So the question shows all that tells
//! one database from another.

use chrono::{DateTime, Utc};

use crate::catalog;
use crate::format::text::{shortened, visible};
use crate::format::{count, size, span};
use crate::postgres::DatabaseUrl;
use crate::restore::target::Activity;
use crate::restore::{Source, Stake};

/// The backup, as the question shows it.
pub(super) struct Backup {
    name: String,
    taken: String,
}

impl Backup {
    pub(super) fn of(backup: &catalog::Backup, now: DateTime<Utc>) -> Self {
        let age = match backup.age(now).filter(|_| !backup.is_dated_ahead(now)) {
            Some(age) => format!("{} ago", span(age)),
            None => "at a time that can't be true".to_owned(),
        };
        let at = backup.name.at().format("%Y-%m-%d %H:%M:%S UTC");
        Self {
            name: shown(&backup.name.to_string()),
            taken: format!("{at}, {age}; {}", size(backup.size_bytes)),
        }
    }
}

/// The question before the content of a database is replaced.
pub(super) fn clean(target: &DatabaseUrl, stake: &Stake, backup: &Backup) -> String {
    let survey = &stake.survey;
    let mut lines = vec!["Everything in this database will be replaced:".to_owned()];
    let server = format!("{} (PostgreSQL {})", target.servers(), survey.version);
    lines.push(line("server", &server));
    lines.push(line("user", survey.user()));
    lines.push(line("database", target.database()));
    let objects = usize::try_from(survey.objects).unwrap_or(usize::MAX);
    let objects = count(objects, "object");
    let examples = survey.examples.join(", ");
    let more = if survey.objects > 3 { ", …" } else { "" };
    let size = stake.activity.as_ref().and_then(Activity::size);
    let size = size.map_or_else(String::new, |size| format!("; {size}"));
    lines.push(line(
        "holds",
        &format!("{objects} ({examples}{more}){size}"),
    ));
    lines.extend(used(stake.activity.as_ref()));
    match &stake.source {
        Source::Another => {}
        Source::Same => lines.push(line(
            "beware",
            "this is the database that is backed up (BACKUP_DATABASE_URL)",
        )),
        Source::Origin => lines.push(line(
            "beware",
            "this is the database that the backup was made of",
        )),
        Source::Unknown(reason) => lines.push(line(
            "beware",
            &format!("this may be the database that is backed up: {reason}"),
        )),
    }
    lines.extend(comes(backup));
    let but = match survey.rights.stays() {
        Some((number, _)) => format!(", but for {number} that its user may not drop"),
        None => String::new(),
    };
    lines.push(format!("Replace everything in it{but}? [yes/no] "));
    lines.join("\n")
}

/// The question before another database takes the name of one.
pub(super) fn swap(
    target: &DatabaseUrl,
    name: &str,
    activity: Option<&Activity>,
    backup: &Backup,
) -> String {
    let mut lines = vec![
        "A new database will take the place of this one, which stays under another name:"
            .to_owned(),
    ];
    lines.push(line("server", &target.servers()));
    lines.push(line("user", target.user()));
    lines.push(line("database", name));
    if let Some(size) = activity.and_then(Activity::size) {
        lines.push(line("holds", &size));
    }
    lines.extend(used(activity));
    lines.extend(comes(backup));
    lines.push(format!(
        "Put the new database in the place of {}? [yes/no] ",
        shown(name)
    ));
    lines.join("\n")
}

fn used(activity: Option<&Activity>) -> Vec<String> {
    let Some(activity) = activity else {
        return vec![line("in use", "not known")];
    };
    let now = line("in use", &activity.sessions());
    let past = activity.past().map(|past| line("before", &past));
    [Some(now), past].into_iter().flatten().collect()
}

fn comes(backup: &Backup) -> [String; 3] {
    [
        "This backup comes in its place:".to_owned(),
        line("name", &backup.name),
        line("taken", &backup.taken),
    ]
}

fn line(what: &str, value: &str) -> String {
    format!("  {what:<9} {}", shown(value))
}

/// Words of somebody else's in a question.
fn shown(words: &str) -> String {
    const MOST_CHARACTERS: usize = 400;
    shortened(&visible(words), MOST_CHARACTERS)
}
