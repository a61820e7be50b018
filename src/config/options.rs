//! The options of `pg_dump`, read as its `getopt_long` reads them: what they would change, and what a backup made with them
//! lacks (pure).

use std::collections::BTreeSet;

/// An option, in any of the majors 14 to 18.
#[derive(Debug)]
struct Known {
    /// Its long name.
    long: &'static str,
    /// Its letter, or a space.
    short: char,
    /// Whether it takes a value, which may be the next word.
    takes_value: bool,
    effect: Effect,
}

/// What an option does, as far as it matters to the person who restores the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Nothing that matters.
    Fine,
    /// It would change where the output goes, its format, or which database is dumped. The text says why it is refused.
    Refused(&'static str),
    Creates,
    Cleans,
    IfExists,
    /// It chooses schemas or tables.
    Selects,
    /// It chooses extensions.
    SelectsExtensions,
    /// It leaves out what it names.
    LeavesOut,
    DataOnly,
    SchemaOnly,
    StatisticsOnly,
    Section,
}

/// The part of a database that one section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Tables,
    Rows,
    Keys,
}

const PARTS: [Part; 3] = [Part::Tables, Part::Rows, Part::Keys];

const fn option(long: &'static str, short: char, effect: Effect) -> Known {
    Known {
        long,
        short,
        takes_value: false,
        effect,
    }
}

const fn with_value(long: &'static str, short: char, effect: Effect) -> Known {
    Known {
        takes_value: true,
        ..option(long, short, effect)
    }
}

const KNOWN: &[Known] = &[
    with_value(
        "file",
        'f',
        Effect::Refused("the output goes to the bucket"),
    ),
    with_value(
        "format",
        'F',
        Effect::Refused("the output is plain SQL, which gunzip and psql restore"),
    ),
    with_value("jobs", 'j', Effect::Refused("a stream has one writer")),
    with_value(
        "compress",
        'Z',
        Effect::Refused("the output is compressed by this service"),
    ),
    with_value(
        "dbname",
        'd',
        Effect::Refused("the database is that of BACKUP_DATABASE_URL"),
    ),
    with_value(
        "host",
        'h',
        Effect::Refused("the host is that of BACKUP_DATABASE_URL"),
    ),
    with_value(
        "port",
        'p',
        Effect::Refused("the port is that of BACKUP_DATABASE_URL"),
    ),
    with_value(
        "username",
        'U',
        Effect::Refused("the user is that of BACKUP_DATABASE_URL"),
    ),
    option(
        "password",
        'W',
        Effect::Refused(
            "the password is that of BACKUP_DATABASE_URL, and nobody is there to type one",
        ),
    ),
    option(
        "enable-row-security",
        ' ',
        Effect::Refused("rows would be left out silently"),
    ),
    option("help", '?', Effect::Refused("it prints no dump")),
    option("version", 'V', Effect::Refused("it prints no dump")),
    option("binary-upgrade", ' ', Effect::Fine),
    option("blobs", 'b', Effect::Fine),
    option("clean", 'c', Effect::Cleans),
    option("column-inserts", ' ', Effect::Fine),
    option("create", 'C', Effect::Creates),
    option("data-only", 'a', Effect::DataOnly),
    option("disable-dollar-quoting", ' ', Effect::Fine),
    option("disable-triggers", ' ', Effect::Fine),
    with_value("encoding", 'E', Effect::Fine),
    with_value("exclude-extension", ' ', Effect::LeavesOut),
    with_value("exclude-schema", 'N', Effect::LeavesOut),
    with_value("exclude-table", 'T', Effect::LeavesOut),
    with_value("exclude-table-and-children", ' ', Effect::LeavesOut),
    with_value("exclude-table-data", ' ', Effect::LeavesOut),
    with_value("exclude-table-data-and-children", ' ', Effect::LeavesOut),
    with_value("extension", 'e', Effect::SelectsExtensions),
    with_value("extra-float-digits", ' ', Effect::Fine),
    with_value("filter", ' ', Effect::LeavesOut),
    option("if-exists", ' ', Effect::IfExists),
    with_value("include-foreign-data", ' ', Effect::Fine),
    option("inserts", ' ', Effect::Fine),
    option("large-objects", 'b', Effect::Fine),
    option("load-via-partition-root", ' ', Effect::Fine),
    with_value("lock-wait-timeout", ' ', Effect::Fine),
    option("no-acl", 'x', Effect::Fine),
    option("no-blobs", 'B', Effect::LeavesOut),
    option("no-comments", ' ', Effect::Fine),
    option("no-data", ' ', Effect::SchemaOnly),
    option("no-large-objects", 'B', Effect::LeavesOut),
    option("no-owner", 'O', Effect::Fine),
    option("no-password", 'w', Effect::Fine),
    option("no-policies", ' ', Effect::LeavesOut),
    option("no-privileges", 'x', Effect::Fine),
    option("no-publications", ' ', Effect::Fine),
    option("no-schema", ' ', Effect::DataOnly),
    option("no-security-labels", ' ', Effect::Fine),
    option("no-statistics", ' ', Effect::Fine),
    option("no-subscriptions", ' ', Effect::Fine),
    option("no-sync", ' ', Effect::Fine),
    option("no-synchronized-snapshots", ' ', Effect::Fine),
    option("no-table-access-method", ' ', Effect::Fine),
    option("no-tablespaces", ' ', Effect::Fine),
    option("no-toast-compression", ' ', Effect::Fine),
    option("no-unlogged-table-data", ' ', Effect::LeavesOut),
    option("on-conflict-do-nothing", ' ', Effect::Fine),
    option("quote-all-identifiers", ' ', Effect::Fine),
    with_value("restrict-key", ' ', Effect::Fine),
    with_value("role", ' ', Effect::Fine),
    with_value("rows-per-insert", ' ', Effect::Fine),
    with_value("schema", 'n', Effect::Selects),
    option("schema-only", 's', Effect::SchemaOnly),
    with_value("section", ' ', Effect::Section),
    option("sequence-data", ' ', Effect::Fine),
    option("serializable-deferrable", ' ', Effect::Fine),
    with_value("snapshot", ' ', Effect::Fine),
    option("statistics", ' ', Effect::Fine),
    option("statistics-only", ' ', Effect::StatisticsOnly),
    option("strict-names", ' ', Effect::Fine),
    with_value("superuser", 'S', Effect::Fine),
    with_value("sync-method", ' ', Effect::Fine),
    with_value("table", 't', Effect::Selects),
    with_value("table-and-children", ' ', Effect::Selects),
    option("use-set-session-authorization", ' ', Effect::Fine),
    option("verbose", 'v', Effect::Fine),
];

/// Every long name with its letter, and whether it takes a value.
pub fn known() -> impl Iterator<Item = (&'static str, Option<char>, bool)> {
    KNOWN.iter().map(|known| {
        let short = (known.short != ' ').then_some(known.short);
        (known.long, short, known.takes_value)
    })
}

/// What the options of `BACKUP_OPTIONS` do.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// Why they can't be used.
    pub(super) refusals: Vec<String>,
    effects: BTreeSet<Effect>,
    sections: BTreeSet<Part>,
}

impl Options {
    pub(super) fn read(words: &[String]) -> Self {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut next = || rest.next().map(String::as_str);
            if word == "--" {
                options.refuse("must not hold --: no option may follow it");
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                options.take(
                    &named(name),
                    &|known| format!("--{}", known.long),
                    value,
                    next,
                );
            } else if let Some(cluster) =
                word.strip_prefix('-').filter(|cluster| !cluster.is_empty())
            {
                for (at, letter) in cluster.char_indices() {
                    let behind = cluster.get(at.saturating_add(letter.len_utf8())..);
                    let behind = behind.filter(|behind| !behind.is_empty());
                    let lettered = KNOWN.iter().filter(|known| known.short == letter);
                    let lettered: Vec<&Known> = lettered.take(1).collect();
                    if options.take(
                        &lettered,
                        &|known| format!("-{}", known.short),
                        behind,
                        &mut next,
                    ) {
                        break;
                    }
                }
            } else {
                options.refuse("must not hold a word that is not an option: pg_dump would take it for the name of another database");
            }
        }
        if words.iter().any(|word| word.contains('\0')) {
            options.refuse("holds a NUL character");
        }
        // Quotes around "--exclude-table-data=logs --no-owner" make it one pattern, which matches no table: nothing would be
        // left out.
        if words.iter().any(|word| holds_another(word)) {
            options.refuse("has quotes around several options together, which makes them one; give each its own quotes, or none");
        }
        options
    }

    /// Records every option that this one may stand for, with its value (attached to it, or the next word). Returns whether
    /// it takes a value.
    fn take<'a>(
        &mut self,
        candidates: &[&Known],
        spelled: &dyn Fn(&Known) -> String,
        tied: Option<&'a str>,
        next: impl FnOnce() -> Option<&'a str>,
    ) -> bool {
        for known in candidates {
            if let Effect::Refused(reason) = known.effect {
                self.refuse(format!("must not hold {}: {reason}", spelled(known)));
                break;
            }
        }
        let takes_value = candidates.iter().any(|known| known.takes_value);
        let value = if takes_value {
            tied.or_else(next)
        } else {
            None
        };
        if takes_value && value.is_none() {
            self.refuse("ends in an option whose value is missing");
        }
        for known in candidates {
            self.effects.insert(known.effect);
            if known.effect == Effect::Section {
                self.sections.extend(match value {
                    Some("pre-data") => Some(Part::Tables),
                    Some("data") => Some(Part::Rows),
                    Some("post-data") => Some(Part::Keys),
                    _ => None,
                });
            }
        }
        takes_value
    }

    fn refuse(&mut self, text: impl Into<String>) {
        self.refusals.push(text.into());
    }

    fn has(&self, effect: Effect) -> bool {
        self.effects.contains(&effect)
    }

    fn lacks(&self, part: Part) -> bool {
        let only = |effect, parts: &[Part]| self.has(effect) && !parts.contains(&part);
        only(Effect::DataOnly, &[Part::Rows])
            || only(Effect::SchemaOnly, &[Part::Tables, Part::Keys])
            || self.has(Effect::StatisticsOnly)
            || self.has(Effect::Section) && !self.sections.contains(&part)
    }

    /// Whether the options leave part of the database out.
    pub(super) fn is_partial(&self) -> bool {
        let leaving = [
            Effect::Selects,
            Effect::SelectsExtensions,
            Effect::LeavesOut,
        ];
        leaving.iter().any(|effect| self.has(*effect)) || PARTS.iter().any(|part| self.lacks(*part))
    }

    /// What the operator has to know now about restoring such a backup later.
    pub(super) fn warnings(&self) -> Vec<&'static str> {
        let keys_only_are_missing = self.lacks(Part::Keys) && !self.lacks(Part::Tables);
        [
            (self.has(Effect::Creates), "holds --create: wherever such a backup is restored, psql creates and enters a database of the original name"),
            (self.is_partial(), "leaves part of the database out: these backups do not restore all of it"),
            (
                self.has(Effect::Selects) && !self.has(Effect::SelectsExtensions),
                "chooses schemas or tables, which leaves all extensions and large objects out: what uses an extension is restored only where that extension is there already. --extension='*' and -b bring them back; or name what is not wanted with --exclude-schema and --exclude-table instead",
            ),
            (self.lacks(Part::Tables), "leaves the tables out: these backups can't be restored into an empty database, only by hand into one that has the tables"),
            (self.lacks(Part::Rows), "leaves the rows out: these backups hold no data"),
            (keys_only_are_missing, "leaves indexes, keys and triggers out"),
            (
                self.has(Effect::Cleans) && !self.has(Effect::IfExists),
                "holds --clean without --if-exists: these backups can't be restored into an empty database, where there is nothing to drop. Add --if-exists, or leave --clean out: restore --clean empties its target itself",
            ),
        ]
        .into_iter()
        .filter_map(|(holds, text)| holds.then_some(text))
        .collect()
    }
}

/// The options that a name can stand for: getopt accepts any unambiguous abbreviation, and which ones are unambiguous
/// depends on the major version.
fn named(name: &str) -> Vec<&'static Known> {
    if let Some(exact) = KNOWN.iter().find(|known| known.long == name) {
        return vec![exact];
    }
    let abbreviated = |known: &&Known| !name.is_empty() && known.long.starts_with(name);
    KNOWN.iter().filter(abbreviated).collect()
}

fn holds_another(word: &str) -> bool {
    let mut inner = word.split_whitespace().skip(1);
    word.starts_with('-')
        && inner.any(|piece| {
            piece
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginnings of the warnings about these options.
    fn warned(options: &str) -> Vec<&'static str> {
        let options = Options::read(&shell_words::split(options).unwrap());
        assert_eq!(options.refusals, [""; 0]);
        let texts = options.warnings();
        assert_eq!(
            options.is_partial(),
            texts.iter().any(|text| text.starts_with("leaves part of"))
        );
        texts
            .iter()
            .map(|text| text.split_once(':').map_or(*text, |(before, _)| before))
            .collect()
    }

    #[test]
    fn what_a_restore_will_lack_is_said() {
        const PARTIAL: &str = "leaves part of the database out";
        const SELECTS: &str =
            "chooses schemas or tables, which leaves all extensions and large objects out";
        const NO_TABLES: &str = "leaves the tables out";
        const NO_ROWS: &str = "leaves the rows out";
        const NO_KEYS: &str = "leaves indexes, keys and triggers out";
        const CLEAN: &str = "holds --clean without --if-exists";
        const CREATE: &str = "holds --create";
        for (options, texts) in [
            ("", &[][..]),
            ("--no-owner -xO --inserts --rows-per-insert=5", &[]),
            ("--exclude-table-data=logs", &[PARTIAL]),
            ("--schema=public", &[PARTIAL, SELECTS]),
            ("-npublic", &[PARTIAL, SELECTS]),
            ("-vn public", &[PARTIAL, SELECTS]),
            ("-t a -t b", &[PARTIAL, SELECTS]),
            ("--tab a", &[PARTIAL, SELECTS]),
            ("--table-and-children a", &[PARTIAL, SELECTS]),
            ("-n public -e '*' -b", &[PARTIAL]),
            ("--schema=a --ext=*", &[PARTIAL]),
            ("-a", &[PARTIAL, NO_TABLES]),
            ("--data-only", &[PARTIAL, NO_TABLES]),
            ("--data", &[PARTIAL, NO_TABLES]),
            ("--no-schema", &[PARTIAL, NO_TABLES]),
            ("--section=data", &[PARTIAL, NO_TABLES]),
            ("--sect data", &[PARTIAL, NO_TABLES]),
            ("-s", &[PARTIAL, NO_ROWS]),
            ("-vsx", &[PARTIAL, NO_ROWS]),
            ("--schema-only", &[PARTIAL, NO_ROWS]),
            ("--no-data", &[PARTIAL, NO_ROWS]),
            ("--section=pre-data", &[PARTIAL, NO_ROWS, NO_KEYS]),
            (
                "--section=pre-data --section=post-data",
                &[PARTIAL, NO_ROWS],
            ),
            ("--section=pre-data --section data", &[PARTIAL, NO_KEYS]),
            ("--section=pre-data --section=data --section=post-data", &[]),
            ("--statistics-only", &[PARTIAL, NO_TABLES, NO_ROWS]),
            ("--statistics", &[]),
            ("--clean", &[CLEAN]),
            ("-c", &[CLEAN]),
            ("-Ocx", &[CLEAN]),
            ("--cle", &[CLEAN]),
            ("--clean --if-exists", &[]),
            ("-c --if", &[]),
            ("-C", &[CREATE]),
        ] {
            assert_eq!(warned(options), texts, "{options}");
        }
        // Values are not taken for options.
        assert_eq!(warned("--role=-a -S -c --role --clean -E -s"), [""; 0]);
    }
}
