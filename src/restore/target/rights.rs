//! What the user may do in the target, as far as it decides what of a backup can be restored there (pure, but for the question).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use super::clean;
use super::{Permits, Refusals};
use crate::format::identifier;
use crate::postgres::Sql;
use stream::replay::{Needs, Omit, Skip, skip};

/// How many names of one kind are shown.
const SHOWN: usize = 20;

/// What the user may do.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Rights {
    user: String,
    is_superuser: bool,
    /// Whether it is the one that a provider gives in place of a superuser. Such users may do more than the catalogs say.
    is_providers: bool,
    /// The roles that the user can take, and whose rights it has.
    own_roles: BTreeSet<String>,
    has_public: bool,
    owns_public: bool,
    /// The tablespaces that it may use.
    tablespaces: BTreeSet<String>,
    /// Extensions that only a superuser may create here, and that are not here yet.
    guarded_extensions: BTreeSet<String>,
    may_subscribe: bool,
    stays: Stays,
}

/// What a user without the right to drop it can't replace.
#[derive(Debug, Clone, Default, Deserialize)]
struct Stays {
    count: u64,
    /// Each with its kind, as `schema auth`.
    names: Vec<String>,
}

impl Rights {
    /// How many things `--clean` leaves where they are, and some of them; nothing where it can drop them all.
    #[must_use]
    pub fn stays(&self) -> Option<(u64, String)> {
        (self.stays.count > 0).then(|| (self.stays.count, some(&self.stays.names)))
    }

    /// What of a backup is left out here.
    #[must_use]
    pub fn omit(&self, permits: Permits, major: u16) -> Omit {
        Omit {
            owners: permits.no_owner,
            privileges: permits.no_privileges,
            transaction_timeout: major < 17,
            skip: permits.skip,
            public_schema: self.has_public || permits.clean,
            public_comment: self.has_public && !self.owns_public,
            tablespaces: Some(Arc::new(self.tablespaces.clone())),
            ..Omit::default()
        }
    }

    /// The same permits for a drill, in whose scratch database nobody asks who owns what: whatever the user may not do there is
    /// left out.
    #[must_use]
    pub fn for_drill(&self, needs: &Needs, roles: &BTreeSet<String>) -> Permits {
        let owns_all = needs.owners.iter().all(|role| *role == self.user);
        let may = self.is_superuser || owns_all && needs.granters.is_subset(&needs.owners);
        let strangers = !may || !needs.roles.is_subset(roles);
        Permits {
            no_owner: strangers,
            no_privileges: strangers,
            skip: self
                .refused_kinds(needs)
                .into_iter()
                .map(|(kind, _)| kind)
                .filter(|kind| *kind != skip::ObjectKind::Extensions)
                .collect(),
            ..Permits::default()
        }
    }

    /// The kinds of which the backup creates some that the user may not create here, and their names.
    fn refused_kinds<'a>(&'a self, needs: &'a Needs) -> Vec<(skip::ObjectKind, Vec<&'a str>)> {
        if self.is_superuser || self.is_providers {
            return Vec::new();
        }
        let subscriptions = if self.may_subscribe {
            Vec::new()
        } else {
            names(&needs.subscriptions)
        };
        let extensions = needs.extensions.intersection(&self.guarded_extensions);
        [
            (
                skip::ObjectKind::EventTriggers,
                names(&needs.event_triggers),
            ),
            (
                skip::ObjectKind::Publications,
                names(&needs.wide_publications),
            ),
            (skip::ObjectKind::Subscriptions, subscriptions),
            (
                skip::ObjectKind::Extensions,
                extensions.map(String::as_str).collect(),
            ),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .collect()
    }

    /// Adds what the user may not do.
    pub(crate) fn refuse(
        &self,
        needs: &Needs,
        roles: &BTreeSet<String>,
        permits: Permits,
        refusals: &mut Refusals,
    ) {
        self.refuse_roles(needs, roles, permits, refusals);
        for (kind, names) in self.refused_kinds(needs) {
            if permits.skip.holds(kind) {
                continue;
            }
            let (what, hint) = match kind {
                skip::ObjectKind::EventTriggers => (
                    "event triggers",
                    "restore as a superuser, or pass --skip event-triggers to leave them out",
                ),
                skip::ObjectKind::Publications => (
                    "publications of all tables, or of all tables of a schema",
                    "restore as a superuser, or pass --skip publications to leave all publications out",
                ),
                skip::ObjectKind::Subscriptions => (
                    "subscriptions",
                    "restore as a superuser or as a member of pg_create_subscription, or pass --skip subscriptions to leave them out",
                ),
                skip::ObjectKind::Extensions => (
                    "these extensions",
                    "have a superuser create them in the target first (CREATE EXTENSION), or pass --skip extensions to leave all extensions out",
                ),
            };
            refusals.add(
                format!(
                    "the user {} may not create {what}: {}",
                    self.user,
                    some(&names)
                ),
                hint,
            );
        }
        if permits.clean {
            let staying = |schema: &&String| {
                let named =
                    |name: &String| name.strip_prefix("schema ") == Some(&identifier(schema));
                self.stays.names.iter().any(named)
            };
            let staying: Vec<&String> = needs.schemas.iter().filter(staying).collect();
            if !staying.is_empty() {
                refusals.add(
                    format!(
                        "the backup creates schemas that the target has and the user {} may not drop: {}",
                        self.user,
                        some(&staying)
                    ),
                    "restore as their owner or a superuser, or into a new database; or make a backup without them (BACKUP_OPTIONS=--exclude-schema=NAME)",
                );
            }
        }
    }

    /// Owners and grants that the user can't set.
    fn refuse_roles(
        &self,
        needs: &Needs,
        there: &BTreeSet<String>,
        permits: Permits,
        refusals: &mut Refusals,
    ) {
        if self.is_superuser {
            return;
        }
        let mut beyond = BTreeSet::new();
        if !permits.no_owner {
            beyond.extend(needs.owners.difference(&self.own_roles));
        }
        if !permits.no_privileges {
            beyond.extend(needs.granters.difference(&self.own_roles));
        }
        // Those that are not there at all are named elsewhere.
        beyond.retain(|role| there.contains(*role));
        if beyond.is_empty() {
            return;
        }
        let hint = match (permits.no_owner, permits.no_privileges) {
            (true, _) => {
                "restore as a superuser, or pass --no-privileges too, to leave grants out as well"
            }
            (false, true) => {
                "restore as a superuser, or pass --no-owner too: then everything belongs to the target's user"
            }
            (false, false) => {
                "restore as a superuser, or pass --no-owner --no-privileges to leave owners and grants out"
            }
        };
        let beyond: Vec<&String> = beyond.into_iter().collect();
        refusals.add(
            format!(
                "the user {} may neither hand objects to these roles nor grant anything in their place: {}",
                self.user,
                some(&beyond)
            ),
            hint,
        );
    }
}

/// What was left out of a backup because the target lacks it or because it was told so: each kind and its names.
#[must_use]
pub fn left_out(needs: &Needs, omit: &Omit) -> Vec<(&'static str, Vec<String>)> {
    let skipped = |is_skipped: bool, names: &BTreeSet<String>| {
        let names = names.iter().filter(|_| is_skipped);
        names.cloned().collect::<Vec<_>>()
    };
    let Skip {
        event_triggers,
        publications,
        subscriptions,
        extensions,
    } = omit.skip;
    let missing = omit.tablespaces.as_ref().map(|there| {
        let missing = needs.tablespaces.difference(there);
        missing.cloned().collect()
    });
    [
        (
            "event triggers",
            skipped(event_triggers, &needs.event_triggers),
        ),
        ("publications", skipped(publications, &needs.publications)),
        (
            "subscriptions",
            skipped(subscriptions, &needs.subscriptions),
        ),
        ("extensions", skipped(extensions, &needs.extensions)),
        ("tablespaces", missing.unwrap_or_default()),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .collect()
}

/// Some names, and how many more there are.
#[must_use]
pub fn some(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

fn names(names: &BTreeSet<String>) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The question to which [`Rights`] are the answer.
///
/// To take a role is `SET` since 16, and before that a matter of being its member. The roles of providers are known by their
/// names: their servers let members of these create what the catalogs reserve for superusers.
pub(super) fn question() -> Sql {
    Sql::new(
        r"
SELECT pg_catalog.json_build_object(
    'user', CURRENT_USER,
    'is_superuser', (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER),
    'is_providers', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE
        rolname OPERATOR(pg_catalog.=) ANY ('{rds_superuser,neon_superuser,cloudsqlsuperuser,alloydbsuperuser,azure_pg_admin,supabase_privileged_role}') AND pg_catalog.pg_has_role(oid, 'MEMBER')
        OR rolname OPERATOR(pg_catalog.=) 'supabase_admin' AND CURRENT_USER::pg_catalog.text OPERATOR(pg_catalog.=) 'postgres'),
    'own_roles', (SELECT COALESCE(pg_catalog.json_agg(rolname), '[]') FROM pg_catalog.pg_roles
        WHERE pg_catalog.pg_has_role(oid, 'USAGE') AND pg_catalog.pg_has_role(oid, CASE WHEN pg_catalog.current_setting('server_version_num')::integer OPERATOR(pg_catalog.<) 160000 THEN 'MEMBER' ELSE 'SET' END)),
    'has_public', EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'public'),
    'owns_public', EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'public' AND pg_catalog.pg_has_role(nspowner, 'USAGE')),
    'tablespaces', (SELECT COALESCE(pg_catalog.json_agg(spcname), '[]') FROM pg_catalog.pg_tablespace t
        WHERE pg_catalog.has_tablespace_privilege(t.oid, 'CREATE') OR EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.dattablespace OPERATOR(pg_catalog.=) t.oid AND datname OPERATOR(pg_catalog.=) pg_catalog.current_database())),
    'guarded_extensions', (SELECT COALESCE(pg_catalog.json_agg(name), '[]') FROM (
        SELECT name FROM pg_catalog.pg_available_extension_versions v WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) v.name)
        GROUP BY name HAVING pg_catalog.bool_and(superuser AND COALESCE(pg_catalog.to_jsonb(v) OPERATOR(pg_catalog.->>) 'trusted', 'false') OPERATOR(pg_catalog.<>) 'true')) guarded),
    'may_subscribe', COALESCE((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER), false)
        OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'pg_create_subscription' AND pg_catalog.pg_has_role(oid, 'USAGE')),
    'stays', (",
    )
    .piece(&clean::stays())
    .sql("));")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Rights {
        pub(in crate::restore::target) fn of_a_superuser() -> Self {
            Self {
                is_superuser: true,
                ..Self::default()
            }
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn user() -> Rights {
        Rights {
            user: "me".to_owned(),
            own_roles: set(&["me", "app"]),
            guarded_extensions: set(&["vector"]),
            ..Rights::default()
        }
    }

    fn needs() -> Needs {
        Needs {
            roles: set(&["me", "app", "boss", "guest"]),
            owners: set(&["me", "app", "boss"]),
            granted: set(&["guest", "maker"]),
            granters: set(&["maker"]),
            event_triggers: set(&["e"]),
            publications: set(&["all", "some"]),
            wide_publications: set(&["all"]),
            subscriptions: set(&["s"]),
            extensions: set(&["hstore", "vector"]),
            ..Needs::default()
        }
    }

    fn check(rights: &Rights, permits: Permits, expected: &[&str]) {
        let there = set(&["me", "app", "boss", "guest", "maker"]);
        let mut refusals = Refusals::default();
        rights.refuse(&needs(), &there, permits, &mut refusals);
        let found: Vec<String> = refusals
            .each()
            .map(|(text, hint)| format!("{text} / {hint}"))
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, piece) in found.iter().zip(expected) {
            assert!(line.contains(piece), "{piece} in {line}");
        }
    }

    #[test]
    fn no_hint_names_a_flag_that_is_given() {
        let kinds = [
            "event triggers: e",
            "schema: all",
            "subscriptions: s",
            "extensions: vector",
        ];
        let all = [
            &["place: boss, maker / restore as a superuser, or pass --no-owner --no-privileges"],
            &kinds[..],
        ]
        .concat();
        check(&user(), Permits::default(), &all);
        let no_owner = Permits {
            no_owner: true,
            ..Permits::default()
        };
        let all = [
            &["place: maker / restore as a superuser, or pass --no-privileges too"],
            &kinds[..],
        ]
        .concat();
        check(&user(), no_owner, &all);
        let no_privileges = Permits {
            no_privileges: true,
            ..Permits::default()
        };
        let all = [
            &["place: boss / restore as a superuser, or pass --no-owner too"],
            &kinds[..],
        ]
        .concat();
        check(&user(), no_privileges, &all);
        let both = Permits {
            no_owner: true,
            no_privileges: true,
            skip: Skip::default().and(skip::ObjectKind::Extensions),
            ..Permits::default()
        };
        check(&user(), both, &kinds[..3]);
        check(&Rights::of_a_superuser(), Permits::default(), &[]);
        // Who knows what a provider lets its own users do.
        let provided = Rights {
            is_providers: true,
            ..user()
        };
        check(&provided, both, &[]);
        let subscriber = Rights {
            may_subscribe: true,
            ..user()
        };
        check(&subscriber, both, &kinds[..2]);
    }

    #[test]
    fn a_drill_leaves_out_what_its_user_may_not_set() {
        let there = needs().roles;
        let all = Rights::of_a_superuser().for_drill(&needs(), &there);
        assert!(!all.no_owner && !all.no_privileges && all.skip == Skip::default());
        let none = Rights::of_a_superuser().for_drill(&needs(), &set(&["me"]));
        assert!(none.no_owner && none.no_privileges);
        let few = user().for_drill(&needs(), &there);
        assert!(few.no_owner && few.no_privileges);
        let kinds = [
            skip::ObjectKind::EventTriggers,
            skip::ObjectKind::Publications,
            skip::ObjectKind::Subscriptions,
        ];
        assert_eq!(few.skip, kinds.into_iter().collect());
        let own = Needs {
            roles: set(&["me", "guest"]),
            owners: set(&["me"]),
            granted: set(&["guest"]),
            ..Needs::default()
        };
        let own = user().for_drill(&own, &there);
        assert!(!own.no_owner && !own.no_privileges && own.skip == Skip::default());
    }

    #[test]
    fn of_many_names_not_all_are_told() {
        assert_eq!(some(&["a", "b"]), "a, b");
        assert!(some(&["x"; 30]).ends_with("x, and 10 more"));
    }
}
