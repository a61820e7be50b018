//! Why something went wrong between this service and a database: one closed list of causes.
//!
//! `words.rs` finds out the cause; `cause/meaning.rs` says what each of them means.

mod meaning;

use self::meaning::Named;
use super::DatabaseUrl;
use crate::fault::Kind;

/// Why a database can't be reached, asked or dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The host's name has no address.
    HostUnknown,
    /// Nothing answers there.
    Unreachable,
    /// Something other than PostgreSQL answers there.
    NotPostgres,
    /// A connection was made, and broke off before or while it was used.
    ConnectionLost,
    /// The server is not what `target_session_attrs` asks for, such as a primary.
    WrongRole,
    /// libpq does not accept a parameter's value.
    Parameter,
    /// The server, or what is in front of it, does not accept the options of the session.
    StartupOptions,
    /// `channel_binding` or `require_auth` asks for a login that the server does not offer.
    Requirement,
    /// The server has no TLS.
    NoTls,
    /// The server wants TLS.
    TlsWanted,
    /// Client and server have no version or cipher in common, or the server did not accept the client's certificate.
    TlsMismatch,
    /// The file with the certificates of the authorities is missing.
    NoRoot,
    /// The server's certificate is not signed by an authority that is known here.
    Untrusted,
    /// The server's certificate is for another name.
    OtherName,
    /// Other users may read the file with the client's key.
    KeyOpen,
    /// The client's certificate or key is missing or does not fit.
    ClientCertificate,
    /// The user or the password is wrong.
    Password,
    /// There is no such role.
    NoRole,
    /// The role may not log in.
    NoLogin,
    /// The server refuses this user and does not say why.
    NotAdmitted,
    /// The server's `pg_hba.conf` does not admit this connection.
    Hba,
    /// There is no such database.
    NoDatabase,
    /// The database accepts no connections.
    ConnectionsForbidden,
    /// The role may not connect to the database.
    NoConnectRight,
    /// The server has no free connection.
    TooManyConnections,
    /// The server is starting, stopping or recovering.
    Starting,
    /// Supavisor does not know the project or the user.
    Tenant,
    /// Azure wants the server's name in the user's.
    AzureUser,
    /// Neon can't tell which endpoint is meant.
    Endpoint,
    /// The pooler does not know the database or the user.
    PoolerUnknown,
    /// The pooler has no free connection.
    PoolerFull,
    /// The pooler can't reach its server.
    PoolerServer,
    /// The server refuses the connection, and neither its message nor its code is known.
    Refused,
    /// `pg_dump` is older than the server.
    Version,
    /// `pg_dump` does not understand its options.
    Options,
    /// The options name something that the database does not have.
    NothingMatches,
    /// The role may not read everything.
    Permission,
    /// The role may not read a large object.
    LargeObject,
    /// The role may not read a sequence, or the sequence was dropped in the meantime.
    Sequence,
    /// Row level security would hide rows.
    RowSecurity,
    /// Another session held a lock for too long.
    Locked,
    /// Somebody cancelled the statement.
    Cancelled,
    /// The server ended the session.
    Terminated,
    /// The standby could not wait for the dump any longer.
    Standby,
    /// The server has no memory left for more locks.
    LocksExhausted,
    /// The same, because its settings are too small for this database.
    LocksTooFew,
    /// A value is larger than the protocol can carry as text.
    TooLarge,
    /// A library that a type or a function needs is missing.
    Library,
    /// The server is out of memory.
    ServerMemory,
    /// `pg_dump` or `psql` is out of memory.
    ClientMemory,
    /// The server's disk is full.
    DiskFull,
    /// The server's files are damaged.
    DamagedFiles,
    /// Something was dropped while the dump was reading the catalogs.
    Dropped,
    /// None of the above.
    Other,
}

impl Cause {
    /// Every cause, in the order above.
    pub const ALL: [Self; 54] = [
        Self::HostUnknown,
        Self::Unreachable,
        Self::NotPostgres,
        Self::ConnectionLost,
        Self::WrongRole,
        Self::Parameter,
        Self::StartupOptions,
        Self::Requirement,
        Self::NoTls,
        Self::TlsWanted,
        Self::TlsMismatch,
        Self::NoRoot,
        Self::Untrusted,
        Self::OtherName,
        Self::KeyOpen,
        Self::ClientCertificate,
        Self::Password,
        Self::NoRole,
        Self::NoLogin,
        Self::NotAdmitted,
        Self::Hba,
        Self::NoDatabase,
        Self::ConnectionsForbidden,
        Self::NoConnectRight,
        Self::TooManyConnections,
        Self::Starting,
        Self::Tenant,
        Self::AzureUser,
        Self::Endpoint,
        Self::PoolerUnknown,
        Self::PoolerFull,
        Self::PoolerServer,
        Self::Refused,
        Self::Version,
        Self::Options,
        Self::NothingMatches,
        Self::Permission,
        Self::LargeObject,
        Self::Sequence,
        Self::RowSecurity,
        Self::Locked,
        Self::Cancelled,
        Self::Terminated,
        Self::Standby,
        Self::LocksExhausted,
        Self::LocksTooFew,
        Self::TooLarge,
        Self::Library,
        Self::ServerMemory,
        Self::ClientMemory,
        Self::DiskFull,
        Self::DamagedFiles,
        Self::Dropped,
        Self::Other,
    ];

    /// What to do about it, with the names that belong to this URL.
    #[must_use]
    pub fn hint(self, url: &DatabaseUrl) -> String {
        (self.meaning().hint)(&Named::of(url))
    }

    /// Whether another attempt would fail too, whatever the kind says.
    #[must_use]
    pub const fn is_hopeless(self) -> bool {
        self.meaning().hopeless
    }

    /// The kind of the failure; `otherwise` if this cause has no kind of its own.
    #[must_use]
    pub const fn kind(self, otherwise: Kind) -> Kind {
        match self.meaning().kind {
            Some(kind) => kind,
            None => otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_the_list_of_all() {
        let written = include_str!("cause/meaning.rs").lines().filter_map(|line| {
            let name = line.trim().strip_prefix("Self::")?.split_once(" => ")?.0;
            name.chars()
                .all(char::is_alphabetic)
                .then(|| name.to_owned())
        });
        let all = Cause::ALL.iter().map(|cause| format!("{cause:?}"));
        assert_eq!(all.collect::<Vec<_>>(), written.collect::<Vec<_>>());
    }
}
