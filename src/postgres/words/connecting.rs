//! The words of libpq, of servers and of poolers about a connection that was not made, or broke off.

use super::Row;
use super::Words::{self, Around, Begins, Tls};
use crate::postgres::Cause;

/// libpq's own words about a connection that broke off.
pub(super) const LOST: &[Words] = &[
    Begins("server closed the connection unexpectedly"),
    Begins("SSL connection has been closed unexpectedly"),
    Begins("SSL SYSCALL error: "),
    Begins("SSL error: unexpected eof while reading"),
    Begins("could not receive data from server: "),
    Begins("could not send data to server: "),
    Begins("could not send startup packet: "),
    Begins("could not send SSL negotiation packet: "),
    Begins("could not send GSSAPI negotiation packet: "),
    Begins("connection not open"),
    Begins("no connection to the server"),
    Begins("connection to server was lost"),
];

/// libpq's own words while it connects. Only these say that a certificate or a password is wrong.
pub(super) const CONNECTING: &[Row] = &[
    (Cause::ConnectionLost, LOST),
    (
        Cause::HostUnknown,
        &[
            Begins("could not translate host name "),
            Begins("could not parse network address "),
        ],
    ),
    (
        Cause::Unreachable,
        &[
            Begins("Connection refused"),
            Begins("timeout expired"),
            Begins("Connection timed out"),
            Begins("No route to host"),
            Begins("Host is unreachable"),
            Begins("Network is unreachable"),
            Begins("Network unreachable"),
            Begins("Operation timed out"),
            Begins("No such file or directory"),
        ],
    ),
    (
        Cause::NotPostgres,
        &[
            Begins("received invalid response to SSL negotiation"),
            Begins("received invalid response to GSSAPI negotiation"),
            Begins("expected authentication request from server"),
            Begins("received unencrypted data after SSL response"),
        ],
    ),
    (
        Cause::WrongRole,
        &[
            Begins("session is read-only"),
            Begins("session is not read-only"),
            Begins("server is in hot standby mode"),
            Begins("server is not in hot standby mode"),
        ],
    ),
    (
        Cause::Parameter,
        &[
            Begins("invalid sslmode value: "),
            Begins("invalid sslnegotiation value: "),
            Begins("invalid sslcertmode value: "),
            Begins("invalid \"sslmode\" value: "),
            Begins("invalid \"ssl_min_protocol_version\" value: "),
            Begins("invalid \"ssl_max_protocol_version\" value: "),
            Begins("invalid ssl_min_protocol_version value: "),
            Begins("invalid ssl_max_protocol_version value: "),
            Begins("invalid SSL protocol version range"),
            Begins("invalid channel_binding value: "),
            Begins("invalid gssencmode value: "),
            Begins("invalid target_session_attrs value: "),
            Begins("invalid load_balance_hosts value: "),
            Begins("invalid require_auth value: "),
            Begins("invalid require_auth method: "),
            Begins("invalid min_protocol_version value: "),
            Begins("invalid max_protocol_version value: "),
            Begins("invalid integer value "),
            Begins("invalid port number: "),
            Begins("invalid connection option "),
            Begins("invalid URI query parameter: "),
            Begins("could not match "),
            Begins("weak sslmode "),
        ],
    ),
    (
        Cause::Requirement,
        &[
            Begins("authentication method requirement "),
            Begins("channel binding "),
        ],
    ),
    (
        Cause::NoTls,
        &[
            Begins("server does not support SSL"),
            Begins("sslmode value \"require\" invalid when SSL support is not compiled in"),
        ],
    ),
    (
        Cause::NoRoot,
        &[
            Begins("root certificate file "),
            Begins("could not read root certificate file "),
            Begins("could not get home directory to locate root certificate file"),
            Begins("could not load system root certificate paths"),
        ],
    ),
    (
        Cause::Untrusted,
        &[Begins("SSL error: certificate verify failed")],
    ),
    (
        Cause::OtherName,
        &[
            Begins("server certificate for "),
            Begins("could not get server's host name from server certificate"),
            Begins("host name must be specified for a verified SSL connection"),
        ],
    ),
    (
        Cause::KeyOpen,
        &[
            Around(
                "private key file \"",
                "\" has group or world access; file must have permissions u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root",
            ),
            Around(
                "private key file \"",
                "\" has group or world access; permissions should be u=rw (0600) or less",
            ),
            Around(
                "private key file \"",
                "\" must be owned by the current user or root",
            ),
        ],
    ),
    (
        Cause::ClientCertificate,
        &[
            Begins("private key file "),
            Begins("certificate present, but not private key file "),
            Begins("certificate does not match private key file "),
            Begins("could not open certificate file "),
            Begins("could not read certificate file "),
            Begins("could not load private key file "),
            Begins("could not stat private key file "),
            Begins("sslcertmode value \"require\""),
            Begins("server did not request an SSL certificate"),
            Begins("server accepted connection without a valid SSL certificate"),
        ],
    ),
    (
        Cause::TlsMismatch,
        &[
            Tls("protocol version"),
            Tls("handshake failure"),
            Tls("insufficient security"),
            Tls("unknown ca"),
            Tls("bad certificate"),
            Tls("certificate "),
            Tls("unsupported certificate"),
            Tls("access denied"),
            Tls("unrecognized name"),
            Tls("no application protocol"),
            Tls("unsupported protocol"),
            Tls("no protocols available"),
            Tls("no ciphers available"),
            Tls("no shared cipher"),
            Tls("wrong version number"),
            Tls("wrong ssl version"),
            Tls("dh key too small"),
            Tls("ee key too small"),
            Tls("ca key too small"),
            Tls("ca md too weak"),
        ],
    ),
    (
        Cause::Password,
        &[
            Begins("fe_sendauth: no password supplied"),
            Begins("no password supplied"),
        ],
    ),
];

/// The words with which a server, or a pooler in front of it, refuses a connection. Poolers and vendors give no useful code,
/// and libpq does not show it.
pub(super) const REFUSED: &[Row] = &[
    (
        Cause::Password,
        &[
            Begins("password authentication failed for user "),
            Begins("password authentication failed"),
            Begins("Peer authentication failed for user "),
            Begins("Ident authentication failed for user "),
            Begins("LDAP authentication failed for user "),
            Begins("PAM authentication failed for user "),
            Begins("RADIUS authentication failed for user "),
            Begins("GSSAPI authentication failed for user "),
            Begins("OAuth bearer authentication failed for user "),
            Begins("certificate authentication failed for user "),
            Begins("authentication failed for user "),
            Begins("empty password returned by client"),
            Begins("SASL authentication failed"),
            Begins("SCRAM authentication failed"),
            Begins("Wrong password"),
        ],
    ),
    (Cause::NoRole, &[Around("role \"", "\" does not exist")]),
    (
        Cause::NoLogin,
        &[Around("role \"", "\" is not permitted to log in")],
    ),
    (
        Cause::Hba,
        &[
            Begins("no pg_hba.conf entry for "),
            Begins("pg_hba.conf rejects "),
        ],
    ),
    (
        Cause::ClientCertificate,
        &[
            Begins("connection requires a valid client certificate"),
            Begins("SSL certificate required"),
        ],
    ),
    (
        Cause::TlsWanted,
        &[
            Begins("SSL connection is required"),
            Begins("SSL required"),
            Begins("connection is insecure (try using `sslmode=require`)"),
        ],
    ),
    (
        Cause::NoDatabase,
        &[Around("database \"", "\" does not exist")],
    ),
    (
        Cause::ConnectionsForbidden,
        &[Around(
            "database \"",
            "\" is not currently accepting connections",
        )],
    ),
    (
        Cause::NoConnectRight,
        &[Begins("permission denied for database ")],
    ),
    (
        Cause::TooManyConnections,
        &[
            Begins("too many connections for role "),
            Begins("too many connections for database "),
            Begins("sorry, too many clients already"),
            Begins("remaining connection slots are reserved"),
        ],
    ),
    (
        Cause::Starting,
        &[
            Begins("the database system is "),
            Begins("terminating connection due to administrator command"),
            Begins("terminating connection because of crash of another server process"),
        ],
    ),
    (
        Cause::StartupOptions,
        &[
            Begins("unsupported startup parameter"),
            Begins("unrecognized configuration parameter "),
            Begins("permission denied to set parameter "),
            Begins("invalid command-line argument for server process: "),
            Begins("invalid value for parameter "),
            Around("parameter \"", "\" cannot be changed"),
            Around("parameter \"", "\" cannot be changed now"),
            Around(
                "parameter \"",
                "\" cannot be changed without restarting the server",
            ),
        ],
    ),
    (
        Cause::Tenant,
        &[
            Begins("Tenant or user not found"),
            Begins("(ENOTFOUND) tenant/user "),
            Begins("(ENOTFOUND) "),
            Begins("no tenant identifier provided"),
            Begins("There is no user "),
        ],
    ),
    (
        Cause::AzureUser,
        &[
            Begins("Invalid Username specified"),
            Begins("Invalid username specified"),
        ],
    ),
    (
        Cause::Endpoint,
        &[
            Begins("The endpoint ID is not specified"),
            Begins("Endpoint ID is not specified"),
            Begins("The requested endpoint could not be found"),
        ],
    ),
    (
        Cause::PoolerUnknown,
        &[
            Begins("no such database"),
            Begins("no such user"),
            Around("database \"", "\" is disabled"),
        ],
    ),
    (
        Cause::PoolerFull,
        &[
            Begins("no more connections allowed"),
            Begins("MaxClientsInSessionMode"),
            Begins("Max client connections reached"),
            Begins("(EMAXCONN"),
        ],
    ),
    (
        Cause::PoolerServer,
        &[
            Begins("server login has been failing"),
            Begins("server login failed"),
            Begins("pgbouncer cannot connect to server"),
            Begins("client_login_timeout"),
            Begins("query_wait_timeout"),
            Begins("server conn crashed?"),
            Begins("bouncer config error"),
            Begins("Couldn't connect to compute node"),
        ],
    ),
];
