//! Which roles are missing on a server, and with which of their rights they are made (pure). Roles that already exist are never
//! changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::statement::{Globals, Membership, Role};
use crate::postgres::Sql;

/// Since this major version a membership says whether rights are inherited, and whether the member may use `SET ROLE`.
const MEMBERSHIPS_WITH_OPTIONS: u16 = 16;

/// Settings that make a session of the role load code, or find it.
const LOADING: [&str; 5] = [
    "session_preload_libraries",
    "local_preload_libraries",
    "dynamic_library_path",
    "extension_control_path",
    "jit_provider",
];

/// The server that roles are to be made on, and what this user may do there.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Server {
    version_number: u32,
    pub(super) user: String,
    superuser: bool,
    create_role: bool,
    create_db: bool,
    roles: BTreeSet<String>,
    /// Roles with rights over the whole server, including the server's own.
    powerful: BTreeSet<String>,
}

impl Server {
    /// Whether this user may create roles at all.
    pub(super) const fn may_create_roles(&self) -> bool {
        self.superuser || self.create_role
    }

    fn major(&self) -> u16 {
        u16::try_from(self.version_number / 10_000).unwrap_or(u16::MAX)
    }

    /// The question that reads all this from the server.
    pub(super) fn question() -> Sql {
        Sql::new(
            "SELECT pg_catalog.json_build_object('version_number', pg_catalog.current_setting('server_version_num')::pg_catalog.int4, 'user', rolname, 'superuser', rolsuper, 'create_role', rolcreaterole, 'create_db', rolcreatedb, 'roles', (SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles), 'powerful', (SELECT COALESCE(pg_catalog.json_agg(rolname), '[]') FROM pg_catalog.pg_roles WHERE rolsuper OR rolreplication OR rolbypassrls OR pg_catalog.starts_with(rolname, 'pg_'))) FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER;",
        )
    }
}

/// What will be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The roles that are made, with the rights that this user may give.
    pub(super) create: BTreeMap<String, Role>,
    /// Those of the roles that will have rights over the whole server, by themselves or as members of others.
    pub(super) powerful: BTreeSet<String>,
    /// Those of the roles that will lack a right which they had.
    pub(super) weakened: BTreeSet<String>,
    /// Those of the roles that may log in and have no password.
    pub(super) without_password: BTreeSet<String>,
    memberships: Vec<Membership>,
    settings: Vec<(String, String, Vec<String>)>,
    /// Settings that are left out because they make a session load code.
    pub(super) unsafe_settings: BTreeSet<String>,
    /// How many of the roles already exist.
    pub(super) there: usize,
    /// How many memberships are left out, because this user may not grant them or one of the two roles does not exist.
    pub(super) memberships_left_out: usize,
    major: u16,
}

/// Whether this name is reserved on every server.
fn is_reserved(name: &str) -> bool {
    name.starts_with("pg_") || name == "public" || name == "none"
}

/// Decides which of the dumped roles, memberships and settings are made.
pub(super) fn plan(globals: Globals, server: &Server) -> Plan {
    let mut plan = Plan {
        major: server.major(),
        ..Plan::default()
    };
    for (name, mut role) in globals.roles {
        if server.roles.contains(&name) {
            plan.there = plan.there.saturating_add(1);
            continue;
        }
        if is_reserved(&name) {
            continue;
        }
        if !server.superuser {
            let lost =
                role.is_powerful() || (role.create_db && !server.create_db && plan.major >= 16);
            if lost {
                plan.weakened.insert(name.clone());
            }
            (role.superuser, role.replication, role.bypass_rls) = (false, false, false);
            role.create_db &= server.create_db || plan.major < 16;
        }
        if role.is_powerful() {
            plan.powerful.insert(name.clone());
        }
        if role.login && role.password.is_none() {
            plan.without_password.insert(name.clone());
        }
        for (setting, values) in std::mem::take(&mut role.settings) {
            if LOADING.contains(&setting.to_ascii_lowercase().as_str()) {
                plan.unsafe_settings.insert(format!("{name}: {setting}"));
            } else {
                plan.settings.push((name.clone(), setting, values));
            }
        }
        plan.create.insert(name, role);
    }
    for membership in globals.memberships {
        let Membership { role, member, .. } = &membership;
        // A role that was there before keeps the memberships that it has.
        if server.roles.contains(member) {
            continue;
        }
        let is_new = plan.create.contains_key(role);
        let is_known = is_new || (server.superuser && server.roles.contains(role));
        if !is_known || !plan.create.contains_key(member) {
            plan.memberships_left_out = plan.memberships_left_out.saturating_add(1);
            continue;
        }
        plan.memberships.push(membership);
    }
    plan.spread_power(server);
    plan
}

impl Plan {
    /// Adds to the powerful roles whoever is a member of one, directly or through any number of others.
    fn spread_power(&mut self, server: &Server) {
        let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Membership { role, member, .. } in &self.memberships {
            members.entry(role).or_default().push(member);
        }
        let mut reached = self.powerful.clone();
        let mut waiting: Vec<&str> = members
            .keys()
            .copied()
            .filter(|role| server.powerful.contains(*role) || self.powerful.contains(*role))
            .collect();
        while let Some(role) = waiting.pop() {
            for member in members.get(role).into_iter().flatten() {
                if reached.insert((*member).to_owned()) {
                    waiting.push(member);
                }
            }
        }
        self.powerful = reached;
    }

    /// How many memberships will be made.
    pub(super) const fn memberships(&self) -> usize {
        self.memberships.len()
    }

    /// The statements that make the roles and their memberships, written anew from what was understood.
    pub(super) fn roles_sql(&self) -> Sql {
        let mut sql = Sql::default();
        for (name, role) in &self.create {
            sql = created(sql.sql("CREATE ROLE ").name(name), role).sql(";\n");
        }
        for membership in &self.memberships {
            sql = self.granted(sql, membership);
        }
        sql
    }

    fn granted(&self, sql: Sql, membership: &Membership) -> Sql {
        let mut sql = sql
            .sql("GRANT ")
            .name(&membership.role)
            .sql(" TO ")
            .name(&membership.member);
        let mut separator = " WITH ";
        if membership.admin {
            sql = sql.sql(separator).sql("ADMIN OPTION");
            separator = ", ";
        }
        if self.major >= MEMBERSHIPS_WITH_OPTIONS {
            let truth = |given: bool| if given { "TRUE" } else { "FALSE" };
            if let Some(inherit) = membership.inherit {
                sql = sql.sql(separator).sql("INHERIT ").sql(truth(inherit));
                separator = ", ";
            }
            if let Some(set) = membership.set {
                sql = sql.sql(separator).sql("SET ").sql(truth(set));
            }
        }
        sql.sql(";\n")
    }

    /// Each setting, with its role.
    pub(super) fn settings(&self) -> impl ExactSizeIterator<Item = (&str, &str, Sql)> {
        self.settings.iter().map(|(role, setting, values)| {
            let mut sql = Sql::new("ALTER ROLE ")
                .name(role)
                .sql(" SET ")
                .name(setting)
                .sql(" TO ");
            for (at, value) in values.iter().enumerate() {
                sql = sql.sql(if at > 0 { ", " } else { "" }).text(value);
            }
            (role.as_str(), setting.as_str(), sql.sql(";\n"))
        })
    }
}

fn created(mut sql: Sql, role: &Role) -> Sql {
    for (given, word) in [
        (role.superuser, " SUPERUSER"),
        (!role.inherit, " NOINHERIT"),
        (role.create_role, " CREATEROLE"),
        (role.create_db, " CREATEDB"),
        (role.login, " LOGIN"),
        (role.replication, " REPLICATION"),
        (role.bypass_rls, " BYPASSRLS"),
    ] {
        if given {
            sql = sql.sql(word);
        }
    }
    if let Some(limit) = role.connection_limit {
        sql = sql.sql(" CONNECTION LIMIT ").number(limit);
    }
    if let Some(hash) = &role.password {
        sql = sql.sql(" PASSWORD ").text(hash);
    }
    if let Some(time) = &role.valid_until {
        sql = sql.sql(" VALID UNTIL ").text(time);
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::super::statement::Reader;
    use super::*;

    fn of(text: &str, server: &Server) -> Plan {
        let mut reader = Reader::default();
        reader.read(text.as_bytes());
        plan(reader.finish(), server)
    }

    fn server(superuser: bool) -> Server {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Server {
            version_number: 170_004,
            user: "me".to_owned(),
            superuser,
            create_role: true,
            create_db: false,
            roles: names(&["me", "postgres", "pg_monitor", "old"]),
            powerful: names(&["postgres", "pg_monitor"]),
        }
    }

    fn sql(plan: &Plan) -> String {
        String::from_utf8(plan.roles_sql().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_is_there_is_not_touched_and_what_is_missing_is_made() {
        let text = "CREATE ROLE postgres;
            ALTER ROLE postgres WITH NOSUPERUSER PASSWORD 'md5739440c5d87b2b8095b909f9d2a1bbf9';
            ALTER ROLE postgres SET search_path TO 'evil';
            CREATE ROLE pg_evil; CREATE ROLE public; CREATE ROLE none;
            CREATE ROLE \"a\"\"b\"; ALTER ROLE \"a\"\"b\" WITH LOGIN NOINHERIT CONNECTION LIMIT 3;
            ALTER ROLE \"a\"\"b\" SET work_mem TO '1MB'; ALTER ROLE \"a\"\"b\" SET Session_preload_libraries TO 'x';
            ALTER ROLE \"a\"\"b\" SET session_preload_libraries TO 'x';
            CREATE ROLE c;
            GRANT c TO \"a\"\"b\" WITH ADMIN OPTION, INHERIT FALSE; GRANT c TO old; GRANT postgres TO old; GRANT gone TO c; GRANT c TO gone;";
        let plan = of(text, &server(true));
        assert_eq!((plan.there, plan.memberships_left_out), (1, 2));
        assert_eq!(
            sql(&plan),
            "CREATE ROLE U&\"a\\0022b\" NOINHERIT LOGIN CONNECTION LIMIT 3;\nCREATE ROLE \"c\";\nGRANT \"c\" TO U&\"a\\0022b\" WITH ADMIN OPTION, INHERIT FALSE;\n"
        );
        let settings: Vec<_> = plan.settings().map(|(_, setting, _)| setting).collect();
        assert_eq!(settings, ["work_mem"]);
        assert_eq!(plan.unsafe_settings.len(), 1);
        assert_eq!(plan.powerful, BTreeSet::new());
        assert_eq!(plan.without_password.len(), 1);
    }

    #[test]
    fn rights_over_the_whole_server_are_given_by_a_superuser_only_and_named() {
        let text = "CREATE ROLE su; ALTER ROLE su WITH SUPERUSER CREATEDB;
            CREATE ROLE re; ALTER ROLE re WITH REPLICATION BYPASSRLS;
            CREATE ROLE a; CREATE ROLE b; CREATE ROLE c; CREATE ROLE d;
            GRANT su TO a; GRANT a TO b; GRANT pg_monitor TO c; GRANT old TO d;";
        let plan = of(text, &server(true));
        let powerful: Vec<&str> = plan.powerful.iter().map(String::as_str).collect();
        assert_eq!(powerful, ["a", "b", "c", "re", "su"]);
        assert_eq!((plan.memberships(), plan.weakened.len()), (4, 0));

        let plan = of(text, &server(false));
        assert_eq!(
            sql(&plan),
            "CREATE ROLE \"a\";\nCREATE ROLE \"b\";\nCREATE ROLE \"c\";\nCREATE ROLE \"d\";\nCREATE ROLE \"re\";\nCREATE ROLE \"su\";\nGRANT \"su\" TO \"a\";\nGRANT \"a\" TO \"b\";\n"
        );
        assert_eq!(plan.powerful, BTreeSet::new());
        assert_eq!((plan.weakened.len(), plan.memberships_left_out), (2, 2));
    }
}
