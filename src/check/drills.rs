//! Where backups are proven, and what the code in a backup can reach there.

use super::finding::{Finding, failed, ok, warning};
use super::{Check, LIMIT};
use crate::config::Drilling;
use crate::drill::DrillServer;
use crate::postgres::{self, Database, PostgresError, Sql};
use crate::process::confine;

impl Check {
    pub(super) async fn look_at_drills(&self, drilling: &Drilling) -> Finding {
        let url = match &drilling.server {
            DrillServer::Embedded => {
                return embedded_drills(confine::is_possible(), drilling.may_be_unconfined);
            }
            DrillServer::At(url) => url,
        };
        let asked = async {
            let client = self.clients.newest()?;
            let superuser = Sql::new(
                "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER;",
            );
            let server = postgres::probe(client, url).await?;
            let url = server.url(url);
            let database = Database {
                client,
                url: &url,
                session: server.session,
            };
            let superuser = database.ask(&superuser, LIMIT).await?;
            let there = postgres::identity(&database).await?;
            // If the source does not answer, another finding says so.
            let source = postgres::identity_at(client, &self.database).await;
            let same_server = source.is_ok_and(|source| there.is_on_server_of(&source));
            Ok::<_, PostgresError>((superuser.trim() == "t", same_server))
        };
        let (superuser, same_server) = match asked.await {
            Ok(asked) => asked,
            Err(error) => return failed("drills", error.text, error.hint),
        };
        drills_by_url(superuser, same_server)
    }
}

/// Whether the code in a backup is kept from this service's keys while it is proven here.
fn embedded_drills(possible: bool, may_be_unconfined: bool) -> Finding {
    const REMEDY: &str = "set VERIFY_DATABASE_URL to the URL of a server";
    match (possible, may_be_unconfined) {
        (true, _) => ok(
            "drills",
            "embedded; the kernel confines what they run (Landlock)",
        ),
        (false, false) => failed(
            "drills",
            "embedded drills are refused: this kernel can't confine what they run (it has no Landlock)",
            format!(
                "{REMEDY}; or, if you trust whoever can write to the database and to the bucket, set VERIFY_UNCONFINED=true"
            ),
        ),
        (false, true) => warning(
            "drills",
            "embedded and not confined, as VERIFY_UNCONFINED allows: the code in a backup can read this service's keys",
            format!("{REMEDY}, and unset VERIFY_UNCONFINED"),
        ),
    }
}

/// What the code in a backup can reach while it is proven on another server.
fn drills_by_url(superuser: bool, same_server: bool) -> Finding {
    let mut reach = Vec::new();
    if superuser {
        reach.push(
            "its user is a superuser there, so the code in a backup can do anything on that server",
        );
    }
    if same_server {
        reach.push("it is the server that is backed up, which a drill loads");
    }
    if reach.is_empty() {
        return ok(
            "drills",
            "on a server of their own, by a user without superuser rights",
        );
    }
    warning(
        "drills",
        format!("the server of VERIFY_DATABASE_URL: {}", reach.join("; ")),
        "use a server of its own for drills, with a role that has CREATEDB and is no superuser; or set VERIFY_DATABASE_URL=embedded",
    )
}
