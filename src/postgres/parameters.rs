//! The parameters of libpq: which there are, which client knows them, and what this service does with each.
//!
//! The table is what `PQconndefaults` of the libpq of each major answers; a test asks the real ones.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::secret::Secret;

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is given to the client as it is.
    Given,
    /// It is part of the address, which is handed over as variables.
    Address,
    /// It is left out: why, as the end of a sentence, and what to do, if there is anything to do.
    LeftOut(&'static str, &'static str),
    /// The URL is refused: why, as the end of a sentence, and what to do.
    Refused(&'static str, &'static str),
}

/// One parameter of libpq.
#[derive(Debug)]
pub(super) struct Parameter {
    /// Its name in a URL.
    pub(super) name: &'static str,
    /// The variable that libpq reads where the URL says nothing; empty if there is none.
    pub(super) variable: &'static str,
    /// The first major whose client knows it.
    pub(super) since: u16,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// No client of this service is older.
const ALWAYS: u16 = 0;

const OWN_NAME: Fate = Fate::LeftOut("this service names its own session", "");
const OWN_ENCODING: Fate = Fate::LeftOut(
    "a dump is made in the database's own encoding",
    "another can be chosen with --encoding in BACKUP_OPTIONS",
);
const NO_SERVICE: Fate = Fate::LeftOut(
    "no service file is read",
    "write host, user and database into the URL",
);
const NO_OAUTH: Fate = Fate::LeftOut(
    "a login by OAuth needs a person at a browser",
    "use a user with a password",
);
const UNSHOWN: Fate = Fate::Refused(
    "it could be given to the client only where other processes can read it",
    "use the user's password",
);

const fn given(name: &'static str, variable: &'static str, since: u16) -> Parameter {
    Parameter {
        name,
        variable,
        since,
        fate: Fate::Given,
    }
}

const fn parameter(
    name: &'static str,
    variable: &'static str,
    since: u16,
    fate: Fate,
) -> Parameter {
    Parameter {
        name,
        variable,
        since,
        fate,
    }
}

pub(super) const PARAMETERS: &[Parameter] = &[
    parameter("host", "PGHOST", ALWAYS, Fate::Address),
    parameter("port", "PGPORT", ALWAYS, Fate::Address),
    parameter("user", "PGUSER", ALWAYS, Fate::Address),
    parameter("password", "PGPASSWORD", ALWAYS, Fate::Address),
    parameter("dbname", "PGDATABASE", ALWAYS, Fate::Address),
    given("hostaddr", "PGHOSTADDR", ALWAYS),
    given("passfile", "PGPASSFILE", ALWAYS),
    given("channel_binding", "PGCHANNELBINDING", ALWAYS),
    given("connect_timeout", "PGCONNECT_TIMEOUT", ALWAYS),
    given("options", "PGOPTIONS", ALWAYS),
    given("keepalives", "", ALWAYS),
    given("keepalives_idle", "", ALWAYS),
    given("keepalives_interval", "", ALWAYS),
    given("keepalives_count", "", ALWAYS),
    given("tcp_user_timeout", "", ALWAYS),
    given("sslmode", "PGSSLMODE", ALWAYS),
    given("sslnegotiation", "PGSSLNEGOTIATION", 17),
    given("sslcompression", "PGSSLCOMPRESSION", ALWAYS),
    given("sslcert", "PGSSLCERT", ALWAYS),
    given("sslkey", "PGSSLKEY", ALWAYS),
    given("sslcertmode", "PGSSLCERTMODE", 16),
    given("sslrootcert", "PGSSLROOTCERT", ALWAYS),
    given("sslcrl", "PGSSLCRL", ALWAYS),
    given("sslcrldir", "PGSSLCRLDIR", ALWAYS),
    given("sslsni", "PGSSLSNI", ALWAYS),
    given("requirepeer", "PGREQUIREPEER", ALWAYS),
    given("require_auth", "PGREQUIREAUTH", 16),
    given("min_protocol_version", "PGMINPROTOCOLVERSION", 18),
    given("max_protocol_version", "PGMAXPROTOCOLVERSION", 18),
    given(
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        ALWAYS,
    ),
    given(
        "ssl_max_protocol_version",
        "PGSSLMAXPROTOCOLVERSION",
        ALWAYS,
    ),
    given("gssencmode", "PGGSSENCMODE", ALWAYS),
    given("krbsrvname", "PGKRBSRVNAME", ALWAYS),
    given("gsslib", "PGGSSLIB", ALWAYS),
    given("gssdelegation", "PGGSSDELEGATION", 16),
    given("target_session_attrs", "PGTARGETSESSIONATTRS", ALWAYS),
    given("load_balance_hosts", "PGLOADBALANCEHOSTS", 16),
    parameter("application_name", "PGAPPNAME", ALWAYS, OWN_NAME),
    parameter("fallback_application_name", "", ALWAYS, OWN_NAME),
    parameter("client_encoding", "PGCLIENTENCODING", ALWAYS, OWN_ENCODING),
    parameter("service", "PGSERVICE", ALWAYS, NO_SERVICE),
    parameter(
        "replication",
        "",
        ALWAYS,
        Fate::LeftOut("a dump needs an ordinary session", ""),
    ),
    parameter(
        "sslkeylogfile",
        "",
        18,
        Fate::LeftOut("anybody who has that file can read the connection", ""),
    ),
    parameter("oauth_issuer", "", 18, NO_OAUTH),
    parameter("oauth_client_id", "", 18, NO_OAUTH),
    parameter("oauth_client_secret", "", 18, NO_OAUTH),
    parameter("oauth_scope", "", 18, NO_OAUTH),
    parameter(
        "sslpassword",
        "",
        ALWAYS,
        Fate::Refused(
            "it could be given to the client only where other processes can read it",
            "store the key without a password in a file that nobody else may read",
        ),
    ),
    parameter("scram_client_key", "", 18, UNSHOWN),
    parameter("scram_server_key", "", 18, UNSHOWN),
];

/// The parameter of that name, in any case: libpq would refuse `SSLMode`, whose meaning is plain.
pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// Variables of libpq that stand for no parameter but for a setting of the session.
pub(super) const SETTINGS: [&str; 2] = ["PGTZ", "PGGEQO"];

/// Variables of libpq that can't count here, and why.
const UNUSED: [(&str, &str, &str); 2] = [
    (
        "PGDATESTYLE",
        "a dump is made with the style that every server reads",
        "",
    ),
    ("PGSERVICEFILE", "no service file is read", ""),
];

/// The deprecated way to say `PGSSLMODE=require`.
const REQUIRE_SSL: &str = "PGREQUIRESSL";

/// Those variables of libpq that are set; they count under the database's URL, as they do for `psql`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited(BTreeMap<&'static str, Secret>);

impl Inherited {
    /// Takes them out of all variables. Blanks and line ends around a value are removed, an empty one counts as not set.
    #[must_use]
    pub fn from_variables(variables: &[(OsString, OsString)]) -> Self {
        let names = PARAMETERS
            .iter()
            .map(|parameter| parameter.variable)
            .filter(|name| !name.is_empty())
            .chain(SETTINGS)
            .chain(UNUSED.map(|(name, ..)| name))
            .chain([REQUIRE_SSL]);
        let mut found = BTreeMap::new();
        for name in names {
            let value = variables.iter().find(|(known, _)| known == name);
            let value = value.and_then(|(_, value)| value.to_str()).map(str::trim);
            if let Some(value) = value.filter(|value| !value.is_empty() && !value.contains('\0')) {
                found.insert(name, Secret::new(value.to_owned()));
            }
        }
        if let Some(required) = found.remove(REQUIRE_SSL)
            && required.expose().starts_with('1')
        {
            found
                .entry("PGSSLMODE")
                .or_insert_with(|| Secret::new("require".to_owned()));
        }
        Self(found)
    }

    /// The value of one that is set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }

    /// Each that is set, with its value.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.expose()))
    }

    /// Those that are set but not used, each with the reason and with what to do.
    #[must_use]
    pub fn unused(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        let of_parameters = PARAMETERS
            .iter()
            .filter_map(|parameter| match parameter.fate {
                Fate::LeftOut(reason, remedy) | Fate::Refused(reason, remedy) => {
                    Some((parameter.variable, reason, remedy))
                }
                Fate::Given | Fate::Address => None,
            });
        of_parameters
            .chain(UNUSED)
            .filter(|(name, ..)| self.0.contains_key(name))
            .collect()
    }
}

/// What libpq calls the meaning of an `sslmode`, however drivers spell it; none if nobody knows it.
pub(super) fn sslmode(text: &str) -> Option<&'static str> {
    let plain: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    Some(match plain.as_str() {
        "disable" | "disabled" => "disable",
        "allow" => "allow",
        "prefer" | "preferred" => "prefer",
        // node-postgres says no-verify for an encrypted connection whose certificate is not checked.
        "require" | "required" | "noverify" => "require",
        "verifyca" => "verify-ca",
        "verifyfull" => "verify-full",
        _ => return None,
    })
}

/// What a driver's `ssl=…` means; none if it asks for nothing.
pub(super) fn ssl(text: &str) -> Option<&'static str> {
    let off = ["false", "0", "no", "off", "f", "n", ""];
    if off.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return None;
    }
    // Whatever else stands there, an object of JSON among it, TLS is asked for.
    Some(sslmode(text).unwrap_or("require"))
}
