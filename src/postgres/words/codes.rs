//! The codes (SQLSTATE) of servers, or their beginnings, and the cause that each of them means.

use crate::postgres::Cause;

/// The codes with which a server refuses a connection.
const REFUSAL_CODES: &[(&str, Cause)] = &[
    ("28P01", Cause::Password),
    ("28", Cause::NotAdmitted),
    ("3D000", Cause::NoDatabase),
    ("42501", Cause::NoConnectRight),
    ("42704", Cause::StartupOptions),
    ("53300", Cause::TooManyConnections),
    ("55000", Cause::ConnectionsForbidden),
    ("57P", Cause::Starting),
];

/// The codes of a statement that failed. If a code has several causes, the words decide between them, as far as the server
/// speaks English.
const STATEMENT_CODES: &[(&str, Cause)] = &[
    ("08", Cause::ConnectionLost),
    ("40001", Cause::Standby),
    ("42501", Cause::Permission),
    ("42P01", Cause::Dropped),
    ("53100", Cause::DiskFull),
    ("53200", Cause::ServerMemory),
    ("53300", Cause::TooManyConnections),
    ("54000", Cause::TooLarge),
    ("55P03", Cause::Locked),
    ("57014", Cause::Cancelled),
    ("57P", Cause::Terminated),
    ("58P01", Cause::Library),
    ("XX001", Cause::DamagedFiles),
    ("XX002", Cause::DamagedFiles),
];

fn find(rows: &[(&str, Cause)], code: &str) -> Option<Cause> {
    rows.iter()
        .find(|(beginning, _)| code.starts_with(beginning))
        .map(|(_, cause)| *cause)
}

/// The cause of a refusal with this code.
pub(super) fn of_refusal(code: &str) -> Option<Cause> {
    find(REFUSAL_CODES, code)
}

/// The cause of a failed statement with this code.
pub(super) fn of_statement(code: &str) -> Option<Cause> {
    find(STATEMENT_CODES, code)
}
