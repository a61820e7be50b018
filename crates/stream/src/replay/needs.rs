//! What a dump needs of the server that it is restored into: roles, extensions, schemas, tablespaces.

use std::collections::BTreeSet;

/// The most names that are kept of roles, and of extensions: more than a server is likely to have, and a few megabytes at most.
pub(super) const NAMES: usize = 20_000;

/// The longest name that is kept. PostgreSQL's have at most 63 bytes, and so have those of encodings.
pub(super) const NAME_BYTES: usize = 256;

/// What a dump needs of the server that it is restored into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Roles that own something or are granted something.
    pub roles: BTreeSet<String>,
    /// Roles that are named by something other than an owner or a grant, such as a policy.
    pub named_roles: BTreeSet<String>,
    /// Extensions it creates.
    pub extensions: BTreeSet<String>,
    /// The encoding of the database it came from.
    pub encoding: Option<String>,
    /// Whether there were more names than are kept.
    pub has_more: bool,
    /// Whether the dump has letters beyond ASCII, as far as it was read.
    pub has_letters_beyond_ascii: bool,
    /// Roles that own something, or for whom default privileges are set.
    pub owners: BTreeSet<String>,
    /// Roles that are named by grants, whether they grant or are granted something.
    pub granted: BTreeSet<String>,
    /// Roles on whose behalf something is granted: in default privileges, or in grants that somebody other than the owner made.
    pub granters: BTreeSet<String>,
    /// Event triggers it creates.
    pub event_triggers: BTreeSet<String>,
    /// Publications it creates.
    pub publications: BTreeSet<String>,
    /// The publications that are for all tables, or for all tables of a schema.
    pub wide_publications: BTreeSet<String>,
    /// Subscriptions it creates.
    pub subscriptions: BTreeSet<String>,
    /// Schemas it creates.
    pub schemas: BTreeSet<String>,
    /// Tablespaces that it names.
    pub tablespaces: BTreeSet<String>,
    /// Whether it takes the right to create in the schema `public` from everybody.
    pub public_revoked: bool,
}

/// Which of the names a name is one of.
pub(super) type Which = fn(&mut Needs) -> &mut BTreeSet<String>;

pub(super) const ROLES: Which = |needs| &mut needs.roles;
pub(super) const NAMED_ROLES: Which = |needs| &mut needs.named_roles;
pub(super) const EXTENSIONS: Which = |needs| &mut needs.extensions;
pub(super) const OWNERS: Which = |needs| &mut needs.owners;
pub(super) const GRANTED: Which = |needs| &mut needs.granted;
pub(super) const GRANTERS: Which = |needs| &mut needs.granters;
pub(super) const EVENT_TRIGGERS: Which = |needs| &mut needs.event_triggers;
pub(super) const PUBLICATIONS: Which = |needs| &mut needs.publications;
pub(super) const WIDE_PUBLICATIONS: Which = |needs| &mut needs.wide_publications;
pub(super) const SUBSCRIPTIONS: Which = |needs| &mut needs.subscriptions;
pub(super) const SCHEMAS: Which = |needs| &mut needs.schemas;
pub(super) const TABLESPACES: Which = |needs| &mut needs.tablespaces;

/// A name without the quotes of a text; none if it is empty.
pub(super) fn unquoted(name: &str) -> Option<&str> {
    Some(name.trim_matches('\'')).filter(|name| !name.is_empty())
}

/// Notes what would have been created, so that it can be told.
pub(super) fn note_skipped(words: &[&str], needs: &mut Needs) {
    if words.first() == Some(&"CREATE") {
        note_names(words, needs);
    }
}

/// Notes the roles of a `GRANT`, `REVOKE` or `ALTER DEFAULT PRIVILEGES`.
pub(super) fn note_grantees(words: &[&str], needs: &mut Needs) {
    let after = |keyword: &str| {
        words
            .iter()
            .rposition(|word| *word == keyword)
            .and_then(|at| words.get(at.saturating_add(1)..))
            .unwrap_or_default()
    };
    let grantees = after(if words.contains(&"TO") { "TO" } else { "FROM" });
    let grantees = grantees
        .iter()
        .take_while(|word| !["WITH", "GRANTED", ";", "CASCADE"].contains(word));
    let by = after("BY").first();
    let for_role = words
        .windows(3)
        .find(|three| matches!(three, ["FOR", "ROLE", _]))
        .and_then(|three| three.last());
    for role in grantees.chain(by).chain(for_role) {
        note(role, needs, ROLES);
        note(role, needs, GRANTED);
    }
    if let Some(role) = for_role {
        note(role, needs, GRANTERS);
    }
}

/// Notes the extension or the roles of another statement.
pub(super) fn note_names(words: &[&str], needs: &mut Needs) {
    match words {
        ["CREATE", "EXTENSION", "IF", "NOT", "EXISTS", name, ..]
        | ["CREATE", "EXTENSION", name, ..] => note(name, needs, EXTENSIONS),
        ["CREATE", "POLICY", ..] => {
            let roles = words
                .iter()
                .skip_while(|word| **word != "TO")
                .skip(1)
                .take_while(|word| !["USING", "WITH", ";"].contains(word));
            roles.for_each(|role| note(role, needs, NAMED_ROLES));
        }
        ["CREATE", "USER", "MAPPING", "FOR", role, ..] => note(role, needs, NAMED_ROLES),
        ["CREATE", "EVENT", "TRIGGER", name, ..] => note(name, needs, EVENT_TRIGGERS),
        ["CREATE", "PUBLICATION", name, rest @ ..] => {
            note(name, needs, PUBLICATIONS);
            if rest.starts_with(&["FOR", "ALL"]) {
                note(name, needs, WIDE_PUBLICATIONS);
            }
        }
        [
            "ALTER",
            "PUBLICATION",
            name,
            "ADD",
            "TABLES",
            "IN",
            "SCHEMA",
            ..,
        ] => {
            note(name, needs, WIDE_PUBLICATIONS);
        }
        ["CREATE", "SUBSCRIPTION", name, ..] => note(name, needs, SUBSCRIPTIONS),
        ["CREATE", "SCHEMA", name, ..] => note(name, needs, SCHEMAS),
        _ => {}
    }
}

pub(super) fn note(name: &str, needs: &mut Needs, which: Which) {
    let is_nobody = ["PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"].contains(&name);
    if is_nobody || name == "public" {
        return;
    }
    let name = plain(name);
    let names = which(needs);
    if names.contains(&name) {
        return;
    }
    if names.len() < NAMES && name.len() <= NAME_BYTES {
        names.insert(name);
    } else {
        needs.has_more = true;
    }
}

/// A name as it is, from how SQL spells it.
pub(super) fn plain(name: &str) -> String {
    let quoted = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    quoted.map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\""))
}
