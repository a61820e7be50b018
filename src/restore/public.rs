//! The right of everybody to create in the schema `public`, which 15 took away from new databases.
//!
//! A dump holds what differs from the server's own defaults, so a database of 14 loses this right on its way into 15
//! without a word.

use std::time::Duration;

use crate::postgres::{Database, Sql};
use crate::reader::Summary;
use crate::restore::target::Permits;

const LIMIT: Duration = Duration::from_secs(60);

/// The first major whose new databases do not have it.
const WITHOUT: u16 = 15;

/// Whether the database that was backed up had the right by default, and one of this major does not.
fn is_lost(summary: &Summary, major: u16) -> bool {
    major >= WITHOUT
        && summary.server_major().is_some_and(|from| from < WITHOUT)
        && !summary.needs.public_revoked
}

/// Gives the right back, if that was asked for and the user may. Whether it is there is looked at afterwards.
pub(super) fn grant(permits: Permits, summary: &Summary, major: u16) -> Option<Sql> {
    let grants = permits.public_create && is_lost(summary, major);
    grants.then(|| {
        Sql::new("DO $psb$\nBEGIN\n    GRANT CREATE ON SCHEMA public TO PUBLIC;\nEXCEPTION WHEN OTHERS THEN\n    NULL;\nEND\n$psb$;\n")
    })
}

/// Says that the right is lost, or that it was given back.
pub(super) async fn tell(database: &Database<'_>, permits: Permits, summary: &Summary, major: u16) {
    if !is_lost(summary, major) {
        return;
    }
    let question = Sql::new(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(nspacl) a WHERE nspname OPERATOR(pg_catalog.=) 'public' AND a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE';",
    );
    match database.ask(&question, LIMIT).await {
        Ok(count) if count.trim() == "0" => {
            let hint = if permits.public_create {
                "this user may not grant it; have the owner of the database run GRANT CREATE ON SCHEMA public TO PUBLIC in it"
            } else {
                "nothing has to be done if only owners create tables; else run GRANT CREATE ON SCHEMA public TO PUBLIC in it, which restore does itself with --public-create"
            };
            tracing::warn!(
                dumped_from = summary.dumped_from,
                hint,
                "everybody could create in the schema public before, and only the owner can now"
            );
        }
        Ok(_) if permits.public_create => {
            tracing::info!("everybody can create in the schema public, as before");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(error = %error, "could not look at the rights in the schema public");
        }
    }
}
