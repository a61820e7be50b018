//! Makes the roles that a backup needs and a server lacks, before the restore.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::plan::{self, Plan, Server};
use super::statement::{Globals, Reader};
use crate::fault::{Diagnosed, Kind};
use crate::postgres::{self, Clients, Database, DatabaseUrl, PostgresError, Sql};
use crate::reader::{self, Found, ReadError};
use crate::store::Store;

/// How long a hundred thousand roles may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// How many roles, and how many refused settings, are logged one by one.
const TOLD: usize = 1000;

/// How many settings are tried one by one, if not all of them can be set at once.
const TRIED: usize = 200;

/// Why roles were not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum GlobalsError {
    /// There is no object with roles beside this backup.
    #[error("no roles of the server lie beside this backup ({0})")]
    Missing(String),
    /// The object can't be read, or is not whole.
    #[error("the object with the server's roles: {0}")]
    Read(ReadError),
    /// The object holds more than is read.
    #[error("the object with the server's roles holds more than is read")]
    TooMuch,
    /// The target could not be asked, or it refused.
    #[error("{0}")]
    Target(#[from] PostgresError),
    /// The target's user may not create roles.
    #[error("the target's user {0} may not create roles")]
    MayNot(String),
}

impl Diagnosed for GlobalsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) | Self::TooMuch | Self::MayNot(_) => Kind::Refused,
            Self::Read(error) => error.kind(),
            Self::Target(error) => error.kind,
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Missing(_) => {
                "backups have them since BACKUP_GLOBALS=true; the column GLOBALS of the command list shows which; without --globals, create the roles by hand or leave them out with --no-owner --no-privileges"
            }
            Self::Read(error) => error.hint(),
            Self::TooMuch => {
                "find out who wrote this object; pg_dumpall writes half a million roles into less"
            }
            Self::Target(error) => &error.hint,
            Self::MayNot(_) => {
                "name a superuser, or a role with CREATEROLE, in the URL of the target; or leave roles out with --no-owner --no-privileges instead of --globals"
            }
        }
    }
}

/// Makes the roles that the target's server lacks, with their memberships and settings. Either all of the roles are made or
/// none. Roles that already exist are not changed.
///
/// # Errors
/// When none was made.
pub(crate) async fn restore(
    store: &Store,
    key: &str,
    may_be_renamed: bool,
    target: &DatabaseUrl,
    clients: &Clients,
) -> Result<(), GlobalsError> {
    let globals = read(store, key, may_be_renamed).await?;
    let newest = clients.newest()?;
    let server = postgres::probe(newest, target).await?;
    let database = Database {
        client: clients.choose(server.major, &server.version)?,
        url: target,
        session: server.session,
    };
    let answer = database
        .ask(&Server::question(), postgres::PROBE_LIMIT)
        .await?;
    let server: Server = serde_json::from_str(answer.trim())
        .map_err(|_| postgres::not_understood(database.client))?;
    let (others, strange) = (globals.others, globals.strange);
    if strange > 0 {
        tracing::warn!(
            name = key,
            statements = strange,
            hint = "find out who wrote this object; statements that pg_dumpall does not write were left out",
            "globals hold what pg_dumpall does not write"
        );
    }
    if !globals.tablespaces.is_empty() {
        tracing::info!(
            names = some(globals.tablespaces.iter()),
            hint = "a tablespace is a folder on the server's machine: create the ones that you need by hand, before the restore",
            "tablespaces are not created"
        );
    }
    let plan = plan::plan(globals, &server);
    if !plan.create.is_empty() && !server.may_create_roles() {
        return Err(GlobalsError::MayNot(server.user));
    }
    announce(&plan);
    if !plan.create.is_empty() {
        database.change(&plan.roles_sql(), LIMIT).await?;
    }
    for (name, role) in plan.create.iter().take(TOLD) {
        let (login, password) = (role.login, role.password.is_some());
        tracing::info!(name, login, password, "role created");
    }
    let settings = set(&database, &plan).await;
    tracing::info!(
        name = key,
        roles = plan.create.len(),
        memberships = plan.memberships(),
        settings,
        there_already = plan.there,
        left_out = others,
        "globals restored"
    );
    Ok(())
}

async fn read(store: &Store, key: &str, may_be_renamed: bool) -> Result<Globals, GlobalsError> {
    let found = match Found::look_up(store, key).await {
        Ok(found) => found.perhaps_renamed(may_be_renamed),
        Err(ReadError::Missing) => return Err(GlobalsError::Missing(key.to_owned())),
        Err(error) => return Err(GlobalsError::Read(error)),
    };
    let (sender, mut pieces) = mpsc::channel::<Bytes>(2);
    let mut reader = Reader::default();
    let understanding = async {
        while let Some(piece) = pieces.recv().await {
            reader.read(&piece);
        }
    };
    let (whole, ()) = tokio::join!(reader::read_globals(store, &found, sender), understanding);
    // Nothing is used unless the whole object was read.
    let _whole = whole.map_err(GlobalsError::Read)?;
    let globals = reader.finish();
    if globals.is_cut {
        return Err(GlobalsError::TooMuch);
    }
    Ok(globals)
}

/// Logs whatever people should look at before it is done.
fn announce(plan: &Plan) {
    if !plan.powerful.is_empty() {
        tracing::warn!(
            names = some(plan.powerful.iter()),
            hint = "they had these rights on the server that was backed up; if you don't want them here, take the rights away after the restore: ALTER ROLE … NOSUPERUSER, REVOKE",
            "roles with rights over the whole server are created"
        );
    }
    if !plan.weakened.is_empty() {
        tracing::warn!(
            names = some(plan.weakened.iter()),
            hint = "the target's user may not give SUPERUSER, REPLICATION, BYPASSRLS or CREATEDB; have a superuser give them where they are needed",
            "roles are created without some of their rights"
        );
    }
    if !plan.without_password.is_empty() {
        tracing::warn!(
            names = some(plan.without_password.iter()),
            hint = "set them with ALTER ROLE … PASSWORD, or \\password in psql",
            "roles that log in are created without a password"
        );
    }
    if !plan.unsafe_settings.is_empty() {
        tracing::warn!(
            names = some(plan.unsafe_settings.iter()),
            hint =
                "they make every session of the role load code; set them by hand if you want that",
            "settings of roles are left out"
        );
    }
    if plan.memberships_left_out > 0 {
        tracing::warn!(
            count = plan.memberships_left_out,
            hint = "one of the two roles is not there, or the target's user may not grant it",
            "memberships are left out"
        );
    }
}

/// Sets all settings at once, or one by one if that fails: another version may not know a setting, or only a superuser may set
/// it. Returns how many were set.
async fn set(database: &Database<'_>, plan: &Plan) -> usize {
    let all = plan.settings();
    let count = all.len();
    let whole = all.fold(Sql::default(), |sql, (_, _, setting)| sql.piece(&setting));
    if count == 0 || database.change(&whole, LIMIT).await.is_ok() {
        return count;
    }
    let mut done: usize = 0;
    for (role, setting, sql) in plan.settings().take(TRIED) {
        match database.change(&sql, postgres::PROBE_LIMIT).await {
            Ok(_) => done = done.saturating_add(1),
            Err(error) => {
                tracing::warn!(role, setting, error = %error, hint = "set it by hand if this server should have it", "setting of a role is left out");
            }
        }
    }
    if count > TRIED {
        tracing::warn!(
            count = count.saturating_sub(TRIED),
            hint = "too many to try each by itself; set them by hand",
            "settings of roles are left out"
        );
    }
    done
}

/// The first few of these names.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let mut listed: Vec<&str> = names.take(MOST).map(String::as_str).collect();
    let and_more = format!("and {more} more");
    if more > 0 {
        listed.push(&and_more);
    }
    listed.join(", ")
}
