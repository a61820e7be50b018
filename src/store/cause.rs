//! Why a request to a store failed: one closed list, made from codes, statuses and types, and what each of them means.
//!
//! A store's words decide nothing, with one exception: some known stores use one code for several failures. There the beginning
//! of a fixed sentence is compared, a part in which no name can stand.

use std::error::Error;
use std::io;

use aws_sdk_s3::error::ConnectorError;
use aws_smithy_runtime_api::client::dns::ResolveDnsError;

use super::details::AnswerDetails;
use crate::fault::Kind;
use crate::fault::chain;
use crate::network::tls::Distrust;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    // There was no answer.
    /// The host has no address.
    Unresolved,
    /// Nothing accepts connections there.
    Unreachable,
    /// The connection or the answer broke off.
    Broken,
    /// No answer came in time.
    Timeout,
    /// TLS could not be agreed on, or the certificate was not accepted.
    Distrusted(Distrust),
    /// The request could not be made.
    Unsendable,
    /// There is no role whose keys could sign it.
    NoRole,
    /// The service that hands out the role's keys refuses, or fails.
    RoleRefused,
    /// The service that hands out the role's keys does not answer.
    RoleTimeout,

    // There was an answer that can't be used.
    /// It can't be read, though its status is that of a success.
    Unreadable,
    /// The answer is not even HTTP.
    NotHttp,
    /// Something other than S3 answers, or it breaks the rules of S3.
    NotS3,
    /// The store holds other bytes than were sent.
    Mismatch,
    /// The object was removed or replaced while it was being read.
    Replaced,

    // The answer is a refusal.
    /// The store is overloaded or out of order.
    Busy,
    /// The bytes arrived changed.
    Changed,
    /// Somebody else took the name, or ended the upload.
    Conflict,
    /// The key has no right to do this.
    Denied,
    /// The store does not know the access key.
    UnknownKey,
    /// The secret does not belong to the key.
    WrongSecret,
    /// The temporary keys have expired.
    Expired,
    /// The account is closed, suspended or unpaid.
    Account,
    /// Our clock and the store's differ.
    Clock,
    /// There is no such bucket.
    NoBucket,
    /// The store looked for a bucket of another name, because it takes the name from another place in the request.
    Addressing,
    /// The bucket is in another region.
    Region,
    /// The server redirects to another address.
    Redirected,
    /// A request without TLS was refused with no answer in S3's form: the server may accept TLS only.
    WantsTls,
    /// There is no room left.
    Quota,
    /// The key that encrypts the bucket can't be used.
    Encryption,
    /// The object is in an archive.
    Archived,
    /// A body is too long for the store or for something in front of it.
    TooLarge,
    /// A request has no length where one is wanted.
    NoLength,
    /// S3 requests are not allowed at this address.
    Method,
    /// The store does not know this request.
    NotImplemented,
    /// The request was refused for some other reason.
    Rejected,
}

/// What the codes of S3, of R2 and of the stores that speak S3 mean. A code is looked up without `Exception` at its end.
const CODES: [(&str, Cause); 87] = [
    ("SlowDown", Cause::Busy),
    ("SlowDownRead", Cause::Busy),
    ("SlowDownWrite", Cause::Busy),
    ("TooManyRequests", Cause::Busy),
    ("Throttling", Cause::Busy),
    ("ThrottledRequest", Cause::Busy),
    ("RequestThrottled", Cause::Busy),
    ("RequestLimitExceeded", Cause::Busy),
    ("BandwidthLimitExceeded", Cause::Busy),
    ("ServerBusy", Cause::Busy),
    ("ServiceUnavailable", Cause::Busy),
    ("InternalError", Cause::Busy),
    ("InternalServerError", Cause::Busy),
    ("InternalFailure", Cause::Busy),
    ("OperationAborted", Cause::Busy),
    ("XMinioServerNotInitialized", Cause::Busy),
    ("KMS.Throttling", Cause::Busy),
    ("KMS.Internal", Cause::Busy),
    ("KMS.DependencyTimeout", Cause::Busy),
    ("RequestTimeout", Cause::Broken),
    ("IncompleteBody", Cause::Broken),
    ("ClientDisconnect", Cause::Broken),
    ("BadDigest", Cause::Changed),
    ("XAmzContentSHA256Mismatch", Cause::Changed),
    ("XAmzContentChecksumMismatch", Cause::Changed),
    ("PreconditionFailed", Cause::Conflict),
    ("ConditionalRequestConflict", Cause::Conflict),
    ("NoSuchUpload", Cause::Conflict),
    ("AccessDenied", Cause::Denied),
    ("AccessForbidden", Cause::Denied),
    ("Forbidden", Cause::Denied),
    ("UnauthorizedAccess", Cause::Denied),
    ("InvalidAccessKeyId", Cause::UnknownKey),
    ("Unauthorized", Cause::UnknownKey),
    ("InvalidSecurity", Cause::UnknownKey),
    ("SignatureDoesNotMatch", Cause::WrongSecret),
    ("InvalidSignature", Cause::WrongSecret),
    ("ExpiredToken", Cause::Expired),
    ("TokenRefreshRequired", Cause::Expired),
    ("InvalidToken", Cause::Expired),
    ("InvalidClientTokenId", Cause::UnknownKey),
    ("AccountProblem", Cause::Account),
    ("AllAccessDisabled", Cause::Account),
    ("NotSignedUp", Cause::Account),
    ("InvalidPayer", Cause::Account),
    ("UserSuspended", Cause::Account),
    ("AccountDisabled", Cause::Account),
    ("AccountSuspended", Cause::Account),
    ("RequestTimeTooSkewed", Cause::Clock),
    ("RequestExpired", Cause::Clock),
    ("RequestInTheFuture", Cause::Clock),
    ("RequestNotYetValid", Cause::Clock),
    ("NoSuchBucket", Cause::NoBucket),
    ("InvalidBucketName", Cause::NoBucket),
    // Alibaba's, Huawei's and Tencent's stores want the bucket in the host.
    ("SecondLevelDomainForbidden", Cause::Addressing),
    ("VirtualHostDomainRequired", Cause::Addressing),
    ("PathStyleDomainForbidden", Cause::Addressing),
    ("PermanentRedirect", Cause::Region),
    ("TemporaryRedirect", Cause::Region),
    ("Redirect", Cause::Region),
    ("IllegalLocationConstraint", Cause::Region),
    ("InvalidLocationConstraint", Cause::Region),
    ("InvalidRegionName", Cause::Region),
    ("InvalidRegion", Cause::Region),
    ("QuotaExceeded", Cause::Quota),
    ("StorageQuotaExceeded", Cause::Quota),
    ("ServiceQuotaExceeded", Cause::Quota),
    ("InsufficientStorage", Cause::Quota),
    ("InsufficientStorageSpace", Cause::Quota),
    ("InsufficientCapacity", Cause::Quota),
    ("StorageFull", Cause::Quota),
    ("XMinioStorageFull", Cause::Quota),
    ("XMinioAdminBucketQuotaExceeded", Cause::Quota),
    ("XRustfsStorageFull", Cause::Quota),
    (
        "ServerSideEncryptionConfigurationNotFound",
        Cause::Encryption,
    ),
    (
        "ServerSideEncryptionConfigurationNotFoundError",
        Cause::Encryption,
    ),
    ("InvalidEncryptionAlgorithmError", Cause::Encryption),
    ("KMSKeyNotFound", Cause::Encryption),
    ("XMinioKMSKeyNotFound", Cause::Encryption),
    ("InvalidObjectState", Cause::Archived),
    ("EntityTooLarge", Cause::TooLarge),
    ("MaxMessageLengthExceeded", Cause::TooLarge),
    ("RequestEntityTooLarge", Cause::TooLarge),
    ("MissingContentLength", Cause::NoLength),
    ("MethodNotAllowed", Cause::Method),
    ("NotImplemented", Cause::NotImplemented),
    ("XNotImplemented", Cause::NotImplemented),
];

/// What a status means if there is no code that says more. Any other status of 4xx is a refusal for good, and any other of 5xx
/// means that the store is out of order.
const STATUSES: [(u16, Cause); 19] = [
    (401, Cause::UnknownKey),
    (402, Cause::Account),
    (403, Cause::Denied),
    (405, Cause::Method),
    (408, Cause::Broken),
    (409, Cause::Conflict),
    (411, Cause::NoLength),
    (412, Cause::Conflict),
    (413, Cause::TooLarge),
    (425, Cause::Busy),
    (429, Cause::Busy),
    (499, Cause::Broken),
    (501, Cause::NotImplemented),
    (505, Cause::Rejected),
    (506, Cause::Rejected),
    (507, Cause::Quota),
    (508, Cause::Rejected),
    (510, Cause::Rejected),
    (511, Cause::NotS3),
];

/// The beginnings of sentences by which a known store explains a code that it uses for several failures.
const SENTENCES: [(&str, &str, Cause); 5] = [
    // R2
    (
        "InvalidArgument",
        "Credential access key has length ",
        Cause::UnknownKey,
    ),
    // AWS, about a request that was signed long ago
    ("AccessDenied", "Request has expired", Cause::Clock),
    // Backblaze
    (
        "AccessDenied",
        "Cannot upload files, storage cap exceeded.",
        Cause::Quota,
    ),
    ("AccessDenied", "Storage cap exceeded", Cause::Quota),
    ("AccessDenied", "Transaction cap exceeded", Cause::Quota),
];

impl Cause {
    /// The cause if a connection gave no answer at all.
    pub(super) fn of_connection(error: &(dyn Error + 'static)) -> Self {
        if let Some(distrust) = Distrust::among(error) {
            return Self::Distrusted(distrust);
        }
        if chain::find::<ResolveDnsError>(error).is_some() {
            return Self::Unresolved;
        }
        if chain::find(error).is_some_and(ConnectorError::is_timeout) {
            return Self::Timeout;
        }
        if chain::find(error).is_some_and(hyper::Error::is_parse) {
            return Self::NotHttp;
        }
        let kinds = || {
            chain::causes(error).filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()))
        };
        if kinds().any(|kind| kind == io::ErrorKind::TimedOut) {
            return Self::Timeout;
        }
        let is_away = |kind| {
            matches!(
                kind,
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            )
        };
        if kinds().any(is_away) {
            Self::Unreachable
        } else {
            Self::Broken
        }
    }

    /// The cause behind an answer that refuses the request.
    pub(super) fn of_answer(
        status: u16,
        code: Option<&str>,
        message: &str,
        details: &AnswerDetails,
    ) -> Self {
        let may_be_the_clock = match (status, code) {
            (401 | 403, _) => true,
            // Some stores use these codes for a signature whose date they do not accept.
            (400, Some(code)) => ["AuthorizationHeaderMalformed", "InvalidRequest"].contains(&code),
            _ => false,
        };
        if may_be_the_clock && details.is_skewed() {
            return Self::Clock;
        }
        if details.region.is_some() {
            return Self::Region;
        }
        if details.wants_tls {
            return Self::WantsTls;
        }
        if let Some(code) = code {
            let sentence = SENTENCES
                .iter()
                .find(|(of, beginning, _)| *of == code && message.starts_with(beginning));
            if let Some((.., cause)) = sentence {
                return *cause;
            }
            if code == "NoSuchBucket" && details.other_bucket {
                return Self::Addressing;
            }
            if let Some(cause) = Self::of_code(code) {
                return cause;
            }
        }
        Self::of_status(status)
    }

    fn of_code(code: &str) -> Option<Self> {
        let code = code.strip_suffix("Exception").unwrap_or(code);
        let known = CODES.iter().find(|(known, _)| *known == code);
        known
            .map(|(_, cause)| *cause)
            .or_else(|| code.starts_with("KMS.").then_some(Self::Encryption))
    }

    fn of_status(status: u16) -> Self {
        if let Some((_, cause)) = STATUSES.iter().find(|(known, _)| *known == status) {
            return *cause;
        }
        match status {
            300..=399 => Self::Redirected,
            // If an answer begins as a success and its body holds an error, the store itself failed.
            200..=299 | 500.. => Self::Busy,
            _ => Self::Rejected,
        }
    }

    /// The kind of the failure, and whether the same request may succeed a moment later.
    const fn row(self) -> (Kind, bool) {
        match self {
            Self::Unresolved
            | Self::Unreachable
            | Self::Broken
            | Self::Busy
            | Self::Unreadable
            | Self::NotHttp
            | Self::RoleRefused => (Kind::StoreUnavailable, true),
            Self::Timeout | Self::RoleTimeout => (Kind::StoreTimeout, true),
            Self::Changed | Self::Mismatch => (Kind::StoreMismatch, true),
            Self::Distrusted(_) => (Kind::Tls, false),
            Self::Conflict | Self::Replaced => (Kind::StoreConflict, false),
            Self::NoRole
            | Self::Denied
            | Self::UnknownKey
            | Self::WrongSecret
            | Self::Expired
            | Self::Account => (Kind::StoreDenied, false),
            Self::Clock => (Kind::Clock, false),
            Self::Unsendable
            | Self::NotS3
            | Self::NoBucket
            | Self::Addressing
            | Self::Region
            | Self::Redirected
            | Self::WantsTls
            | Self::Quota
            | Self::Encryption
            | Self::Archived
            | Self::TooLarge
            | Self::NoLength
            | Self::Method
            | Self::NotImplemented
            | Self::Rejected => (Kind::StoreRejected, false),
        }
    }

    pub(super) const fn kind(self) -> Kind {
        self.row().0
    }

    pub(super) const fn is_transient(self) -> bool {
        self.row().1
    }
}
