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

use crate::postgres::{Sql, random_key};

/// A transaction as the server knows it. Names can be changed by what runs in it, and these can't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) number: u64,
    /// The server's process that has it.
    pub(super) process: u64,
    /// Since when that process serves this session, as the server writes it: another one can get the same number.
    pub(super) since: String,
}

/// Takes away what is set for the role, the database or the server and would end a long session of ours; which of them
/// there are depends on the server's version. Behind a pooler it can't be done when the session is opened.
pub(super) fn no_limits() -> Sql {
    Sql::new(
        "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) ANY ('{statement_timeout,lock_timeout,transaction_timeout,idle_in_transaction_session_timeout,idle_session_timeout}');\n",
    )
}

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
    /// Begins the line that holds what became of it. It is sent when all of the text is done.
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

    /// What comes before the text. The answer is the transaction's number, and the server process that has it.
    pub(super) fn before(&self) -> Vec<u8> {
        let digest = Sha256::digest(self.secret.as_bytes());
        let begin = no_limits().sql("SET default_transaction_read_only TO on;\nCOMMIT;\nBEGIN READ WRITE;\nCREATE FUNCTION pg_temp.psb_wall() RETURNS pg_catalog.trigger LANGUAGE plpgsql AS $wall$\nBEGIN\n    IF pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.current_setting('psb.secret', true), 'SQL_ASCII')) OPERATOR(pg_catalog.=) pg_catalog.decode(")
            .hex(&digest)
            .sql(", 'hex') THEN\n        RETURN NULL;\n    END IF;\n    RAISE EXCEPTION ")
            .text(&self.alarm)
            .sql(";\nEND\n$wall$;\nCREATE TEMPORARY TABLE pg_temp.psb_wall (stands boolean) ON COMMIT DROP;\nCREATE CONSTRAINT TRIGGER psb_wall AFTER INSERT ON pg_temp.psb_wall DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.psb_wall();\nALTER TABLE pg_temp.psb_wall ENABLE ALWAYS TRIGGER psb_wall;\nINSERT INTO pg_temp.psb_wall VALUES (true);\nSELECT ")
            .text(&self.first)
            .sql(", pg_catalog.txid_current(), pid, pg_catalog.date_part('epoch', backend_start) FROM pg_catalog.pg_stat_activity WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid();\n");
        [
            format!("\\restrict {}\n", self.key).as_bytes(),
            begin.as_bytes(),
        ]
        .concat()
    }

    /// What comes after the text: it commits if this is still the transaction of that number. The last answer is what became
    /// of it.
    pub(super) fn after(&self, transaction: u64) -> Vec<u8> {
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
        // Behind a pooler the next user of this session may be somebody else.
        let reset = Sql::new("RESET default_transaction_read_only;\nCOMMIT;\n");
        [
            format!("\n\\unrestrict {}\n", self.key).as_bytes(),
            commit.as_bytes(),
            reset.as_bytes(),
        ]
        .concat()
    }

    /// The transaction, from the line that tells which it is.
    pub(super) fn begun(&self, line: &str) -> Option<Transaction> {
        let answer = line.strip_prefix(&self.first)?.strip_prefix('\t')?;
        let mut fields = answer.split('\t');
        Some(Transaction {
            number: fields.next()?.parse().ok()?,
            process: fields.next()?.parse().ok()?,
            since: fields.next()?.to_owned(),
        })
    }

    /// Whether the line shows that the service's own part began while the transaction was still open.
    pub(super) fn is_asked(&self, line: &str) -> bool {
        line == self.secret
    }

    /// Whether the line says that the transaction was committed. The server is asked all the same: a text that swallows what
    /// comes after it can print it.
    pub(super) fn is_committed(&self, line: &str) -> bool {
        line.strip_prefix(&self.last) == Some("\tcommitted")
    }

    /// Whether the walls themselves stopped the text: the error that they raise is the alarm and nothing else.
    pub(super) fn stopped(&self, said: &str) -> bool {
        said.lines().any(|line| line.ends_with(&self.alarm))
    }
}
