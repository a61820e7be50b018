//! What keeps a backup's text inside the one transaction of its restore, and away from `psql`'s own commands.
//!
//! The text is a stranger's: whoever can write to the bucket, or to the database that was backed up, may have written it.
//! No reading of it could tell for sure what `psql` and the server make of it, so nothing here depends on reading it:
//!
//! 1. `\restrict` with a key that the text can't know comes first. After it `psql` takes no command of its own until the
//!    key is given, which is just before the commit.
//! 2. A row in a temporary table has a deferred trigger that fails unless a secret was set, which happens just before the
//!    commit. A `COMMIT` within the text finds no secret, and becomes a rollback.
//! 3. A `ROLLBACK` within the text takes the second wall along. So `psql` commits nothing by itself, every transaction but
//!    this one is read-only unless the text says otherwise, and the commit is sent only within the transaction that began.
//!
//! A text that knows all this can take it down, with the rights of the target's user. What it can't do is to make this
//! service tell that all is well: what became of the transaction is asked of the server.

use std::io;

use sha2::{Digest, Sha256};

use crate::postgres::{Session, Sql, random_key};

/// The secrets of one restore.
pub(super) struct Walls {
    /// Opens `\restrict`.
    key: String,
    /// What the trigger wants to see before a commit.
    secret: String,
    /// What the walls say when they stop the text. The text can find this one out.
    alarm: String,
    /// Begins the line that holds the transaction's number.
    first: String,
    /// Begins the line that holds what became of it. It is sent when all of the text is done, so nothing in that can write
    /// such a line.
    last: String,
}

impl Walls {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            key: random_key()?,
            secret: random_key()?,
            alarm: random_key()?,
            first: random_key()?,
            last: random_key()?,
        })
    }

    /// What comes before the text. The answer is the transaction's number.
    pub(super) fn before(&self, session: Session) -> Vec<u8> {
        let digest = Sha256::digest(self.secret.as_bytes());
        let read_only = match session {
            // It was set as the session was opened.
            Session::Guarded => Sql::new(""),
            Session::Plain => Sql::new("SET default_transaction_read_only TO on;\nCOMMIT;\n"),
        };
        let begin = Sql::new("BEGIN READ WRITE;\nCREATE FUNCTION pg_temp.psb_wall() RETURNS pg_catalog.trigger LANGUAGE plpgsql AS $wall$\nBEGIN\n    IF pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.current_setting('psb.secret', true), 'SQL_ASCII')) OPERATOR(pg_catalog.=) pg_catalog.decode(")
            .hex(&digest)
            .sql(", 'hex') THEN\n        RETURN NULL;\n    END IF;\n    RAISE EXCEPTION ")
            .text(&self.alarm)
            .sql(";\nEND\n$wall$;\nCREATE TEMPORARY TABLE pg_temp.psb_wall (stands boolean) ON COMMIT DROP;\nCREATE CONSTRAINT TRIGGER psb_wall AFTER INSERT ON pg_temp.psb_wall DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.psb_wall();\nINSERT INTO pg_temp.psb_wall VALUES (true);\nSELECT ")
            .text(&self.first)
            .sql(", pg_catalog.txid_current();\n");
        [
            format!("\\restrict {}\n", self.key).as_bytes(),
            read_only.as_bytes(),
            begin.as_bytes(),
        ]
        .concat()
    }

    /// What comes after the text: it commits if this is still the transaction of that number. The last answer is what became
    /// of it.
    pub(super) fn after(&self, session: Session, transaction: u64) -> Vec<u8> {
        let commit = Sql::new("SELECT pg_catalog.set_config('psb.secret', CASE WHEN pg_catalog.txid_current() OPERATOR(pg_catalog.=) ")
            .number(transaction)
            .sql(" THEN ")
            .text(&self.secret)
            .sql(" ELSE NULL END, true);\nDO $wall$\nBEGIN\n    IF pg_catalog.txid_current() OPERATOR(pg_catalog.<>) ")
            .number(transaction)
            .sql(" THEN\n        RAISE EXCEPTION ")
            .text(&self.alarm)
            .sql(";\n    END IF;\nEND\n$wall$;\nCOMMIT;\nSELECT ")
            .text(&self.last)
            .sql(", pg_catalog.txid_status(")
            .number(transaction)
            .sql(");\nCOMMIT;\n");
        let reset = match session {
            Session::Guarded => Sql::new(""),
            // Behind a pooler the next user of this session may be somebody else.
            Session::Plain => Sql::new("RESET default_transaction_read_only;\nCOMMIT;\n"),
        };
        [
            format!("\n\\unrestrict {}\n", self.key).as_bytes(),
            commit.as_bytes(),
            reset.as_bytes(),
        ]
        .concat()
    }

    /// The transaction's number, from the line that holds it.
    pub(super) fn number(&self, line: &str) -> Option<u64> {
        let answer = line.strip_prefix(&self.first)?.strip_prefix('\t')?;
        answer.parse().ok()
    }

    /// Whether the line says that the transaction was committed.
    pub(super) fn is_committed(&self, line: &str) -> bool {
        line.strip_prefix(&self.last) == Some("\tcommitted")
    }

    /// Whether the walls themselves stopped the text: the error that they raise is the alarm and nothing else.
    pub(super) fn stopped(&self, said: &str) -> bool {
        said.lines().any(|line| line.ends_with(&self.alarm))
    }
}
