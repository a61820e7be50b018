//! Each cause with what follows from it, as answers and connections give it.

use std::collections::BTreeSet;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::dns::ResolveDnsError;
use aws_smithy_runtime_api::http::StatusCode;

use super::super::details::SignedAt;
use super::super::provider::Provider;
use super::*;

/// What a store can say that must not count: others' names, in any language.
const HOSTILE: &str = "public.certificates tls alert handshake UnknownIssuer certificate expired not valid yet dns error timed out access key Zertifikat abgelaufen 証明書 Request has expired SlowDown expecting '";

fn addressing(provider: Provider) -> Addressing {
    Addressing {
        provider,
        bucket: "backups".to_owned(),
        region: "auto".to_owned(),
        has_endpoint: true,
        path_style: true,
        is_plain: false,
    }
}

/// An answer as the SDK gives it to us.
fn explained(
    addressing: &Addressing,
    (status, code, message): (u16, &str, &str),
    headers: &[(&'static str, &str)],
    elements: &str,
) -> (Cause, Cow<'static, str>) {
    let body = format!("<Error><Code>{code}</Code>{elements}</Error>");
    let mut answer = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    for (name, value) in headers {
        answer.headers_mut().insert(*name, (*value).to_owned());
    }
    answer.add_extension(SignedAt::read("20260125T030000Z").unwrap());
    let code = (!code.is_empty()).then_some(code);
    let details = AnswerDetails::by(&answer, code, message, addressing);
    let cause = Cause::of_answer(status, code, message, &details);
    (cause, hint(cause, addressing, details.region.as_deref()))
}

/// Answer; cause; kind; whether it is tried again; what the hint names.
type Row = (
    (u16, &'static str, &'static str),
    Cause,
    Kind,
    bool,
    &'static [&'static str],
);

#[rustfmt::skip] // One row a line.
const ANSWERS: &[Row] = &[
    ((503, "SlowDown", ""), Cause::Busy, Kind::StoreUnavailable, true, &["overloaded"]),
    ((429, "TooManyRequests", ""), Cause::Busy, Kind::StoreUnavailable, true, &["overloaded"]),
    ((200, "InternalError", ""), Cause::Busy, Kind::StoreUnavailable, true, &["overloaded"]),
    ((200, "SomethingNew", ""), Cause::Busy, Kind::StoreUnavailable, true, &["overloaded"]),
    ((409, "OperationAborted", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((400, "ThrottlingException", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((400, "KMS.ThrottlingException", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((500, "SomethingNew", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((425, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((429, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((500, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((502, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((503, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((504, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((520, "", ""), Cause::Busy, Kind::StoreUnavailable, true, &[]),
    ((408, "", ""), Cause::Broken, Kind::StoreUnavailable, true, &["broke off"]),
    ((400, "RequestTimeout", ""), Cause::Broken, Kind::StoreUnavailable, true, &[]),
    ((400, "IncompleteBody", ""), Cause::Broken, Kind::StoreUnavailable, true, &[]),
    ((400, "BadDigest", ""), Cause::Changed, Kind::StoreMismatch, true, &["next attempt"]),
    ((412, "PreconditionFailed", ""), Cause::Conflict, Kind::StoreConflict, false, &["one replica"]),
    ((409, "", ""), Cause::Conflict, Kind::StoreConflict, false, &[]),
    ((404, "NoSuchUpload", ""), Cause::Conflict, Kind::StoreConflict, false, &[]),
    ((403, "AccessDenied", ""), Cause::Denied, Kind::StoreDenied, false, &["AWS_S3_BUCKET"]),
    ((403, "", ""), Cause::Denied, Kind::StoreDenied, false, &["AWS_S3_BUCKET"]),
    ((403, "SomethingNew", ""), Cause::Denied, Kind::StoreDenied, false, &[]),
    ((403, "InvalidAccessKeyId", ""), Cause::UnknownKey, Kind::StoreDenied, false, &["AWS_ACCESS_KEY_ID"]),
    ((401, "Unauthorized", ""), Cause::UnknownKey, Kind::StoreDenied, false, &["AWS_ACCESS_KEY_ID"]),
    ((401, "", ""), Cause::UnknownKey, Kind::StoreDenied, false, &["AWS_ACCESS_KEY_ID"]),
    ((400, "InvalidArgument", "Credential access key has length 20, should be 32"), Cause::UnknownKey, Kind::StoreDenied, false, &["AWS_ACCESS_KEY_ID"]),
    ((403, "SignatureDoesNotMatch", ""), Cause::WrongSecret, Kind::StoreDenied, false, &["re-copy AWS_SECRET_ACCESS_KEY"]),
    ((400, "ExpiredToken", ""), Cause::Expired, Kind::StoreDenied, false, &["AWS_SESSION_TOKEN"]),
    ((400, "TokenRefreshRequired", ""), Cause::Expired, Kind::StoreDenied, false, &["AWS_SESSION_TOKEN"]),
    ((400, "InvalidToken", ""), Cause::Expired, Kind::StoreDenied, false, &["AWS_SESSION_TOKEN"]),
    ((403, "ExpiredTokenException", ""), Cause::Expired, Kind::StoreDenied, false, &["AWS_SESSION_TOKEN"]),
    ((403, "AccountProblem", ""), Cause::Account, Kind::StoreDenied, false, &["unpaid"]),
    ((403, "AllAccessDisabled", ""), Cause::Account, Kind::StoreDenied, false, &["billing"]),
    ((402, "", ""), Cause::Account, Kind::StoreDenied, false, &[]),
    ((403, "RequestTimeTooSkewed", ""), Cause::Clock, Kind::Clock, false, &["NTP"]),
    ((403, "RequestExpired", ""), Cause::Clock, Kind::Clock, false, &["NTP"]),
    ((403, "AccessDenied", "Request has expired"), Cause::Clock, Kind::Clock, false, &["NTP"]),
    ((404, "NoSuchBucket", ""), Cause::NoBucket, Kind::StoreRejected, false, &["AWS_S3_BUCKET"]),
    ((403, "SecondLevelDomainForbidden", ""), Cause::Addressing, Kind::StoreRejected, false, &["AWS_S3_FORCE_PATH_STYLE=false"]),
    ((301, "PermanentRedirect", ""), Cause::Region, Kind::StoreRejected, false, &["AWS_S3_REGION"]),
    ((400, "IllegalLocationConstraintException", ""), Cause::Region, Kind::StoreRejected, false, &["AWS_S3_REGION"]),
    ((400, "InvalidRegionName", ""), Cause::Region, Kind::StoreRejected, false, &["AWS_S3_REGION"]),
    ((301, "", ""), Cause::Redirected, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
    ((308, "", ""), Cause::Redirected, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
    ((403, "QuotaExceeded", ""), Cause::Quota, Kind::StoreRejected, false, &["quota"]),
    ((507, "XMinioStorageFull", ""), Cause::Quota, Kind::StoreRejected, false, &["quota"]),
    ((507, "", ""), Cause::Quota, Kind::StoreRejected, false, &["quota"]),
    ((403, "AccessDenied", "Cannot upload files, storage cap exceeded. See the Caps & Alerts page to increase your cap."), Cause::Quota, Kind::StoreRejected, false, &["quota"]),
    ((400, "KMS.DisabledException", ""), Cause::Encryption, Kind::StoreRejected, false, &["kms:GenerateDataKey"]),
    ((404, "ServerSideEncryptionConfigurationNotFoundError", ""), Cause::Encryption, Kind::StoreRejected, false, &["encrypt"]),
    ((403, "InvalidObjectState", ""), Cause::Archived, Kind::StoreRejected, false, &["restore it"]),
    ((413, "", ""), Cause::TooLarge, Kind::StoreRejected, false, &["client_max_body_size"]),
    ((400, "EntityTooLarge", ""), Cause::TooLarge, Kind::StoreRejected, false, &["client_max_body_size"]),
    ((411, "MissingContentLength", ""), Cause::NoLength, Kind::StoreRejected, false, &["length"]),
    ((411, "", ""), Cause::NoLength, Kind::StoreRejected, false, &["length"]),
    ((405, "MethodNotAllowed", ""), Cause::Method, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
    ((405, "", ""), Cause::Method, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
    ((501, "NotImplemented", ""), Cause::NotImplemented, Kind::StoreRejected, false, &["does not know"]),
    ((501, "", ""), Cause::NotImplemented, Kind::StoreRejected, false, &["does not know"]),
    ((511, "", ""), Cause::NotS3, Kind::StoreRejected, false, &["proxy"]),
    ((400, "InvalidPart", ""), Cause::Rejected, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
    ((404, "", ""), Cause::Rejected, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
    ((418, "SomethingNew", ""), Cause::Rejected, Kind::StoreRejected, false, &["AWS_S3_ENDPOINT"]),
];

fn connections() -> Vec<(SdkError<Plain>, Cause, Kind, bool, &'static str)> {
    use crate::network::tls::Distrust;
    use rustls::{AlertDescription, CertificateError};
    let dispatch = |error: ConnectorError| SdkError::dispatch_failure(error);
    let io = |kind| dispatch(ConnectorError::io(io::Error::new(kind, HOSTILE).into()));
    let tls = |error: rustls::Error| {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        dispatch(ConnectorError::io(io::Error::other(error).into()))
    };
    let certificate = |error| tls(rustls::Error::InvalidCertificate(error));
    let (down, away, tls_kind) = (Cause::Broken, Kind::StoreUnavailable, Kind::Tls);
    vec![
        (
            io(io::ErrorKind::UnexpectedEof),
            down,
            away,
            true,
            "broke off",
        ),
        (
            io(io::ErrorKind::ConnectionReset),
            down,
            away,
            true,
            "broke off",
        ),
        (io(io::ErrorKind::BrokenPipe), down, away, true, "broke off"),
        (io(io::ErrorKind::Other), down, away, true, "broke off"),
        (
            dispatch(ConnectorError::other(HOSTILE.into(), None)),
            down,
            away,
            true,
            "broke off",
        ),
        (
            tls(rustls::Error::AlertReceived(
                AlertDescription::InternalError,
            )),
            down,
            away,
            true,
            "broke off",
        ),
        (
            tls(rustls::Error::General(HOSTILE.to_owned())),
            down,
            away,
            true,
            "broke off",
        ),
        (
            io(io::ErrorKind::ConnectionRefused),
            Cause::Unreachable,
            away,
            true,
            "AWS_S3_ENDPOINT",
        ),
        (
            io(io::ErrorKind::HostUnreachable),
            Cause::Unreachable,
            away,
            true,
            "AWS_S3_ENDPOINT",
        ),
        (
            io(io::ErrorKind::TimedOut),
            Cause::Timeout,
            Kind::StoreTimeout,
            true,
            "AWS_S3_ENDPOINT",
        ),
        (
            dispatch(ConnectorError::timeout(HOSTILE.into())),
            Cause::Timeout,
            Kind::StoreTimeout,
            true,
            "hangs",
        ),
        (
            SdkError::timeout_error(HOSTILE),
            Cause::Timeout,
            Kind::StoreTimeout,
            true,
            "hangs",
        ),
        (
            SdkError::construction_failure(HOSTILE),
            Cause::Unsendable,
            Kind::StoreRejected,
            false,
            "AWS_S3_ENDPOINT",
        ),
        (
            dispatch(ConnectorError::io(ResolveDnsError::new(HOSTILE).into())),
            Cause::Unresolved,
            away,
            true,
            "check the host in AWS_S3_ENDPOINT",
        ),
        (
            certificate(CertificateError::Expired),
            Cause::Distrusted(Distrust::Expired),
            tls_kind,
            false,
            "has expired",
        ),
        (
            certificate(CertificateError::NotValidYet),
            Cause::Distrusted(Distrust::NotYetValid),
            tls_kind,
            false,
            "clock",
        ),
        (
            certificate(CertificateError::UnknownIssuer),
            Cause::Distrusted(Distrust::UnknownIssuer),
            tls_kind,
            false,
            "SSL_CERT_FILE",
        ),
        (
            certificate(CertificateError::NotValidForName),
            Cause::Distrusted(Distrust::OtherName),
            tls_kind,
            false,
            "check the host",
        ),
        (
            tls(rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure,
            )),
            Cause::Distrusted(Distrust::Disagreed),
            tls_kind,
            false,
            "check the host",
        ),
    ]
}

#[derive(Debug, thiserror::Error)]
#[error("no error of a service")]
struct Plain;

impl ProvideErrorMetadata for Plain {
    fn meta(&self) -> &aws_sdk_s3::error::ErrorMetadata {
        static NONE: std::sync::OnceLock<aws_sdk_s3::error::ErrorMetadata> =
            std::sync::OnceLock::new();
        NONE.get_or_init(|| aws_sdk_s3::error::ErrorMetadata::builder().build())
    }
}

#[test]
fn each_cause_has_its_kind_its_retries_and_its_remedy_whatever_the_store_says() {
    let other = addressing(Provider::Other);
    let mut seen = BTreeSet::new();
    for (answer @ (status, code, message), cause, kind, transient, words) in ANSWERS {
        for said in [(*message).to_owned(), format!("{message} {HOSTILE}")] {
            let (found, hint) = explained(&other, (*status, code, &said), &[], "");
            assert_eq!(found, *cause, "{answer:?}");
            assert_eq!(
                (found.kind(), found.is_transient()),
                (*kind, *transient),
                "{answer:?}"
            );
            for word in *words {
                assert!(hint.contains(word), "{answer:?}: {hint}");
            }
            assert!(!hint.contains("R2"), "{answer:?}: {hint}");
        }
        seen.insert(format!("{cause:?}"));
    }
    for (error, cause, kind, transient, word) in connections() {
        let said = format!("{error:?}");
        let found = StoreError::of(&other, &Redactor::default(), "list", "a", error);
        assert_eq!(found.cause, cause, "{said}");
        assert_eq!(
            (found.kind(), found.is_transient()),
            (kind, transient),
            "{said}"
        );
        assert!(found.hint().contains(word), "{said}: {}", found.hint());
        let name = format!("{cause:?}");
        seen.insert(name.split('(').next().unwrap_or_default().to_owned());
    }
    // Those that the service itself finds.
    for (error, kind, transient) in [
        (
            StoreError::mismatch("read", "a", String::new()),
            Kind::StoreMismatch,
            true,
        ),
        (
            StoreError::not_s3("read", "a", String::new()),
            Kind::StoreRejected,
            false,
        ),
        (
            StoreError::replaced("read", "a"),
            Kind::StoreConflict,
            false,
        ),
        (
            StoreError::broken("read", "a", HOSTILE),
            Kind::StoreUnavailable,
            true,
        ),
        (
            StoreError::timeout("read", "a", Duration::ZERO),
            Kind::StoreTimeout,
            true,
        ),
    ] {
        assert_eq!(
            (error.kind(), error.is_transient()),
            (kind, transient),
            "{error}"
        );
        seen.insert(format!("{:?}", error.cause));
    }
    // No role whose keys could sign the request.
    for (error, kind, transient) in [
        (
            CredentialsError::not_loaded(HOSTILE),
            Kind::StoreDenied,
            false,
        ),
        (
            CredentialsError::provider_timed_out(Duration::ZERO),
            Kind::StoreTimeout,
            true,
        ),
        (
            CredentialsError::provider_error(HOSTILE),
            Kind::StoreUnavailable,
            true,
        ),
    ] {
        let error = SdkError::<Plain>::construction_failure(error);
        let error = super::super::credentials::missing("list", "a", &error).unwrap();
        assert_eq!((error.kind(), error.is_transient()), (kind, transient));
        assert!(error.hint().contains("role"), "{}", error.hint());
        seen.insert(format!("{:?}", error.cause));
    }
    // Those whose errors can't be made here: they are tried on the wire.
    seen.insert("NotHttp".to_owned());
    seen.insert("Unreadable".to_owned());
    let plain = Addressing {
        is_plain: true,
        ..addressing(Provider::Other)
    };
    let (cause, hint) = explained(&plain, (400, "", ""), &[], "");
    assert_eq!(cause, Cause::WantsTls);
    assert!(hint.contains("https://"), "{hint}");
    let refused = explained(&plain, (400, "InvalidPart", ""), &[], "").0;
    assert_eq!(refused, Cause::Rejected);
    seen.insert("WantsTls".to_owned());
    let declared = include_str!("../cause.rs")
        .split_once("pub(super) enum Cause {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map_or("", |(body, _)| body);
    let declared: BTreeSet<String> = declared
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(',') && !line.starts_with("//"))
        .map(|line| {
            line.trim_end_matches(',')
                .split('(')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(declared, seen, "a row for each cause");
}

#[test]
fn what_may_pass_in_a_moment_may_pass_in_a_minute_and_a_refusal_of_a_right_does_neither() {
    for (_, cause, ..) in ANSWERS {
        assert!(
            !cause.is_transient() || cause.kind().is_retryable(),
            "{cause:?}"
        );
    }
}

#[test]
fn a_region_is_advised_only_where_the_store_names_another_one() {
    const MALFORMED: &str = "AuthorizationHeaderMalformed";
    let expecting = "The authorization header is malformed; the region 'auto' is wrong; expecting 'eu-central-1'";
    let header = [("x-amz-bucket-region", "eu-central-1")];
    let (other, aws) = (addressing(Provider::Other), addressing(Provider::Aws));
    for (answer, headers, elements) in [
        (
            (400, MALFORMED, ""),
            &[][..],
            "<Region>eu-central-1</Region>",
        ),
        ((400, MALFORMED, expecting), &[], ""),
        ((301, "PermanentRedirect", ""), &header, ""),
        (
            (301, "PermanentRedirect", ""),
            &[],
            "<Endpoint>backups.s3.eu-central-1.amazonaws.com</Endpoint>",
        ),
        ((307, "TemporaryRedirect", ""), &header, ""),
        ((400, "IllegalLocationConstraintException", ""), &header, ""),
        // HEAD has no body.
        ((400, "", ""), &header, ""),
        ((301, "", ""), &header, ""),
        ((403, "", ""), &header, ""),
    ] {
        for (addressing, more) in [(&other, ""), (&aws, "remove AWS_S3_ENDPOINT")] {
            let (cause, hint) = explained(addressing, answer, headers, elements);
            assert_eq!(cause, Cause::Region, "{answer:?}");
            assert!(
                hint.starts_with("set AWS_S3_REGION to eu-central-1") && hint.contains(more),
                "{hint}"
            );
        }
    }
    for (answer, headers, elements, cause) in [
        // The same region is no advice, and what is no region's name is none either.
        (
            (400, MALFORMED, ""),
            &[][..],
            "<Region>auto</Region>",
            Cause::Rejected,
        ),
        (
            (400, MALFORMED, "expecting 'x; rm -rf /'"),
            &[],
            "<Region>A b</Region>",
            Cause::Rejected,
        ),
        (
            (403, "AccessDenied", ""),
            &[("x-amz-bucket-region", "auto")],
            "",
            Cause::Denied,
        ),
        // Some stores name their region always.
        (
            (403, "AccessDenied", "expecting 'eu-1'"),
            &[],
            "<Region>eu-1</Region>",
            Cause::Denied,
        ),
        ((404, "NoSuchBucket", ""), &header, "", Cause::NoBucket),
    ] {
        assert_eq!(
            explained(&other, answer, headers, elements).0,
            cause,
            "{answer:?}"
        );
    }
    let r2 = explained(
        &addressing(Provider::R2),
        (400, "InvalidRegionName", ""),
        &[],
        "",
    );
    assert_eq!(r2.1, "set AWS_S3_REGION to auto");
}

#[test]
fn a_clock_that_is_off_is_told_by_the_answers_own_date_whatever_its_code() {
    let other = addressing(Provider::Other);
    for (date, cause) in [
        ("Sun, 25 Jan 2026 03:14:00 GMT", Cause::Denied),
        ("Sun, 25 Jan 2026 03:16:00 GMT", Cause::Clock),
        ("Sun, 25 Jan 2026 02:44:00 GMT", Cause::Clock),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Cause::Clock),
        ("gestern", Cause::Denied),
    ] {
        let answer = (403, "AccessDenied", HOSTILE);
        assert_eq!(
            explained(&other, answer, &[("date", date)], "").0,
            cause,
            "{date}"
        );
        let malformed = (400, "AuthorizationHeaderMalformed", "");
        let found = explained(&other, malformed, &[("date", date)], "").0;
        assert_eq!(found == Cause::Clock, cause == Cause::Clock, "{date}");
        // Other failures say nothing of clocks.
        let busy = explained(&other, (503, "SlowDown", ""), &[("date", date)], "").0;
        assert_eq!(busy, Cause::Busy);
        let cached = [("date", date), ("age", "5000")];
        assert_eq!(
            explained(&other, answer, &cached, "").0,
            Cause::Denied,
            "{date}"
        );
    }
}

#[test]
fn a_bucket_that_is_looked_for_elsewhere_names_the_path_style() {
    for path_style in [true, false] {
        let addressing = Addressing {
            path_style,
            ..addressing(Provider::Other)
        };
        let of = |name: &str| {
            let element = format!("<BucketName>{name}</BucketName>");
            explained(&addressing, (404, "NoSuchBucket", ""), &[], &element)
        };
        let (cause, hint) = of("s3");
        assert_eq!(cause, Cause::Addressing);
        let remedy = format!("AWS_S3_FORCE_PATH_STYLE={}", !path_style);
        assert!(hint.contains(&remedy), "{hint}");
        let (cause, hint) = of("backups");
        assert_eq!(cause, Cause::NoBucket);
        assert_eq!(
            hint.contains("AWS_S3_FORCE_PATH_STYLE=true"),
            !path_style,
            "{hint}"
        );
        for cause in [
            Cause::Unresolved,
            Cause::Distrusted(crate::network::tls::Distrust::OtherName),
        ] {
            let hint = super::hint(cause, &addressing, None);
            assert_eq!(
                hint.contains("AWS_S3_FORCE_PATH_STYLE=true"),
                !path_style,
                "{hint}"
            );
        }
    }
}

#[test]
fn the_remedy_is_where_this_providers_customers_find_it() {
    let hint_of = |provider, code| explained(&addressing(provider), (403, code, ""), &[], "").1;
    for (provider, code, words) in [
        (Provider::R2, "AccessDenied", "Object Read & Write"),
        (Provider::R2, "SignatureDoesNotMatch", "R2 dashboard"),
        (Provider::R2, "InvalidAccessKeyId", "R2 API token"),
        (Provider::R2, "NoSuchBucket", ".eu.r2.cloudflarestorage.com"),
        (
            Provider::Aws,
            "AccessDenied",
            "s3:ListBucketMultipartUploads",
        ),
        (Provider::Aws, "InvalidAccessKeyId", "IAM"),
        (Provider::Aws, "NoSuchBucket", "AWS_S3_REGION"),
        (
            Provider::Railway,
            "AccessDenied",
            "AWS_S3_FORCE_PATH_STYLE=false",
        ),
        (Provider::Railway, "NoSuchBucket", "variable BUCKET"),
        (
            Provider::Railway,
            "SignatureDoesNotMatch",
            "SECRET_ACCESS_KEY",
        ),
        (Provider::Backblaze, "AccessDenied", "Backblaze"),
        (Provider::Backblaze, "QuotaExceeded", "Caps & Alerts"),
        (Provider::Other, "AccessDenied", "the store's console"),
    ] {
        let hint = hint_of(provider, code);
        assert!(hint.contains(words), "{provider:?} {code}: {hint}");
        let names_r2 = hint.to_lowercase().contains("r2");
        assert_eq!(names_r2, provider == Provider::R2, "{hint}");
    }
}

#[test]
fn a_part_that_is_too_long_tells_its_size() {
    let mut error = StoreError::mismatch("upload a part of", "a", String::new());
    assert!(!error.clone().of_body(8 << 20).hint().contains("MiB"));
    error.cause = Cause::TooLarge;
    let hint = error.of_body(8 << 20).hint().to_owned();
    assert!(
        hint.contains("client_max_body_size") && hint.contains("8 MiB"),
        "{hint}"
    );
}
