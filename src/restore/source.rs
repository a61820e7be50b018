//! Whether the target of a restore is the database that is backed up.
//!
//! When one restores, that database often does not answer, or its address is known only where the service runs. Then nobody can
//! tell whether the target is the same database, living and under another address; so that is a third answer, and no "no".

use std::fmt;

use crate::postgres::{self, Client, DatabaseUrl, Identity};

/// What is known about the target and the database that is backed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// The target is another database, or one that the restore itself makes.
    #[default]
    Another,
    /// The target is the database that is backed up.
    Same,
    /// The target is the database that this very backup was made of, whatever `BACKUP_DATABASE_URL` names today.
    Origin,
    /// Nobody can tell.
    Unknown(Reason),
}

/// Why nobody can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// `BACKUP_DATABASE_URL` is not set.
    NotSet,
    /// That database can't be asked; these are the words of the server or of its client.
    NoAnswer(String),
    /// One of both servers does not tell its identifier.
    NoIdentifier,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => f.write_str("BACKUP_DATABASE_URL is not set"),
            Self::NoAnswer(said) => write!(
                f,
                "the database of BACKUP_DATABASE_URL can't be asked from here: {said}"
            ),
            Self::NoIdentifier => f.write_str(
                "the user of one of them may not run pg_control_system(), which tells one server from another",
            ),
        }
    }
}

impl Source {
    /// The same, with what the head of the backup says of the database that it was made of.
    #[must_use]
    pub(super) fn with_origin(self, origin: Option<&Identity>, target: &Identity) -> Self {
        let is_origin = origin.is_some_and(|origin| origin.is_the_same(target) == Some(true));
        if self == Self::Another && is_origin {
            Self::Origin
        } else {
            self
        }
    }

    /// Compares the target with the database that is backed up: by address, and, under whatever address, by the server's
    /// identifier and the number of the database.
    pub(super) async fn compare(
        client: &Client,
        source: Option<&DatabaseUrl>,
        target: &DatabaseUrl,
        identity: &Identity,
    ) -> Self {
        let Some(source) = source else {
            return Self::Unknown(Reason::NotSet);
        };
        if source.is_same_place(target) {
            return Self::Same;
        }
        match postgres::identity_at(client, source).await {
            Ok(source) => match source.is_the_same(identity) {
                Some(true) => Self::Same,
                Some(false) => Self::Another,
                None => Self::Unknown(Reason::NoIdentifier),
            },
            Err(error) => Self::Unknown(Reason::NoAnswer(error.text)),
        }
    }
}
