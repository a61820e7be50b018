//! Refusals of a store: each has its kind and its own remedy, whatever words come with it.

use std::time::Duration;

use postgres_s3_backups::fault::{Diagnosed, Kind};
use postgres_s3_backups::secret::Secret;
use postgres_s3_backups::store::{
    Credentials, Keys, Store, StoreError, StorePatience, StoreSettings,
};

use crate::common::nginx::Nginx;
use crate::common::process::LIMIT;
use crate::common::r2::{Action, Operation, R2};
use crate::common::service::{Service, Variables};
use crate::common::{job, postgres, unique};

/// Names of tables and other words that say nothing about the failure.
const HOSTILE: &str = "public.certificates: tls alert handshake failure, UnknownIssuer, certificate expired, dns error, timed out, Zertifikat abgelaufen, 証明書 access key SlowDown QuotaExceeded";

/// How often a request is made that may succeed a moment later.
const TRIES: u32 = 3;

fn patience() -> StorePatience {
    StorePatience {
        tries: TRIES,
        first_wait: Duration::from_millis(1),
        ..StorePatience::default()
    }
}

fn list(store: &Store) -> StoreError {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listed = runtime.block_on(store.list("vlvt_backup_", |_| {}));
    listed.unwrap_err()
}

/// The error if a store always answers lists in this way, and how often it was asked.
fn told(action: Action) -> (StoreError, usize) {
    let r2 = R2::start_plain();
    let fault = r2.fail(Operation::ListObjects, 0, usize::MAX, action);
    let error = list(&job::store(&r2, patience()));
    for secret in [&r2.access_key, &r2.secret_key] {
        assert!(!error.to_string().contains(secret.as_str()), "{error}");
    }
    (error, fault.struck())
}

fn says(found: &(StoreError, usize), kind: Kind, asked: usize, error: &[&str], hint: &[&str]) {
    let (told, times) = found;
    assert_eq!((told.kind(), *times), (kind, asked), "{told}");
    for words in error {
        assert!(told.to_string().contains(words), "{words}: {told}");
    }
    for words in hint {
        assert!(told.hint().contains(words), "{words}: {}", told.hint());
    }
    assert!(!told.to_string().contains("names no cause"), "{told}");
}

#[test]
fn each_code_has_its_own_remedy_whatever_the_words_are() {
    let again = usize::try_from(TRIES).unwrap();
    for (status, code, kind, asked, hint) in [
        (
            403,
            "AccessDenied",
            Kind::StoreDenied,
            1,
            "list, read and write",
        ),
        (
            403,
            "InvalidAccessKeyId",
            Kind::StoreDenied,
            1,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            Kind::StoreDenied,
            1,
            "re-copy AWS_SECRET_ACCESS_KEY",
        ),
        (
            400,
            "ExpiredToken",
            Kind::StoreDenied,
            1,
            "AWS_SESSION_TOKEN",
        ),
        (
            400,
            "TokenRefreshRequired",
            Kind::StoreDenied,
            1,
            "AWS_SESSION_TOKEN",
        ),
        (
            400,
            "InvalidToken",
            Kind::StoreDenied,
            1,
            "AWS_SESSION_TOKEN",
        ),
        (403, "AccountProblem", Kind::StoreDenied, 1, "billing"),
        (403, "AllAccessDisabled", Kind::StoreDenied, 1, "billing"),
        (403, "RequestTimeTooSkewed", Kind::Clock, 1, "NTP"),
        (403, "RequestExpired", Kind::Clock, 1, "NTP"),
        (404, "NoSuchBucket", Kind::StoreRejected, 1, "AWS_S3_BUCKET"),
        (403, "QuotaExceeded", Kind::StoreRejected, 1, "quota"),
        (507, "XMinioStorageFull", Kind::StoreRejected, 1, "quota"),
        (
            400,
            "KMS.DisabledException",
            Kind::StoreRejected,
            1,
            "kms:GenerateDataKey",
        ),
        (403, "InvalidObjectState", Kind::StoreRejected, 1, "archive"),
        (
            405,
            "MethodNotAllowed",
            Kind::StoreRejected,
            1,
            "AWS_S3_ENDPOINT",
        ),
        (
            400,
            "EntityTooLarge",
            Kind::StoreRejected,
            1,
            "client_max_body_size",
        ),
        (
            411,
            "MissingContentLength",
            Kind::StoreRejected,
            1,
            "length",
        ),
        (
            501,
            "NotImplemented",
            Kind::StoreRejected,
            1,
            "does not know",
        ),
        (
            400,
            "SomethingNew",
            Kind::StoreRejected,
            1,
            "AWS_S3_ENDPOINT",
        ),
        (503, "SlowDown", Kind::StoreUnavailable, again, "overloaded"),
        (
            500,
            "InternalError",
            Kind::StoreUnavailable,
            again,
            "overloaded",
        ),
        (
            503,
            "SomethingNew",
            Kind::StoreUnavailable,
            again,
            "overloaded",
        ),
        (
            400,
            "RequestTimeout",
            Kind::StoreUnavailable,
            again,
            "broke off",
        ),
    ] {
        let found = told(Action::Say(status, code, HOSTILE.to_owned()));
        let error = format!("{code} (HTTP {status}): public.certificates");
        says(&found, kind, asked, &[&error], &[hint]);
        assert!(!found.0.hint().contains("R2"), "{}", found.0.hint());
    }
}

#[test]
fn a_status_alone_is_told_with_what_there_is_and_with_who_answered() {
    let server = &[("server", "nginx/1.22.1")];
    let again = usize::try_from(TRIES).unwrap();
    for (status, kind, asked, hint) in [
        // The store is asked without TLS.
        (400, Kind::StoreRejected, 1, "https://"),
        (401, Kind::StoreDenied, 1, "AWS_ACCESS_KEY_ID"),
        (403, Kind::StoreDenied, 1, "AWS_S3_BUCKET"),
        (404, Kind::StoreRejected, 1, "AWS_S3_ENDPOINT"),
        (405, Kind::StoreRejected, 1, "AWS_S3_ENDPOINT"),
        (411, Kind::StoreRejected, 1, "length"),
        (413, Kind::StoreRejected, 1, "client_max_body_size"),
        (501, Kind::StoreRejected, 1, "does not know"),
        (507, Kind::StoreRejected, 1, "quota"),
        (408, Kind::StoreUnavailable, again, "broke off"),
        (425, Kind::StoreUnavailable, again, "overloaded"),
        (429, Kind::StoreUnavailable, again, "overloaded"),
        (500, Kind::StoreUnavailable, again, "overloaded"),
        (502, Kind::StoreUnavailable, again, "overloaded"),
        (503, Kind::StoreUnavailable, again, "overloaded"),
        (504, Kind::StoreUnavailable, again, "overloaded"),
        (522, Kind::StoreUnavailable, again, "overloaded"),
    ] {
        for body in [
            "",
            "<html><h1>certificate expired</h1>",
            "{\"tls\": \"alert\"}",
        ] {
            let found = told(Action::Told(status, server, body.to_owned()));
            let error = format!("HTTP {status}: ");
            says(
                &found,
                kind,
                asked,
                &[&error, "server: nginx/1.22.1"],
                &[hint],
            );
        }
    }
}

#[test]
fn a_bucket_in_another_region_names_the_region() {
    const MALFORMED: &str = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region 'auto' is wrong; expecting 'eu-central-1'</Message>";
    const REDIRECT: &str = "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be addressed using the specified endpoint.</Message>";
    let header = &[("x-amz-bucket-region", "eu-central-1")];
    for (status, headers, body) in [
        (
            400,
            &[][..],
            format!("{MALFORMED}<Region>eu-central-1</Region></Error>"),
        ),
        (400, &[], format!("{MALFORMED}</Error>")),
        (301, header, format!("{REDIRECT}</Error>")),
        (
            301,
            &[],
            format!("{REDIRECT}<Endpoint>b.s3.eu-central-1.amazonaws.com</Endpoint></Error>"),
        ),
        (
            307,
            header,
            "<Error><Code>TemporaryRedirect</Code></Error>".to_owned(),
        ),
        (
            400,
            header,
            "<Error><Code>IllegalLocationConstraintException</Code></Error>".to_owned(),
        ),
        (400, header, String::new()),
    ] {
        let found = told(Action::Told(status, headers, body));
        says(
            &found,
            Kind::StoreRejected,
            1,
            &[],
            &["set AWS_S3_REGION to eu-central-1"],
        );
        if !headers.is_empty() {
            says(
                &found,
                Kind::StoreRejected,
                1,
                &["x-amz-bucket-region: eu-central-1"],
                &[],
            );
        }
    }
    // A text that can't be the name of a region is not shown as advice.
    let strange =
        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>a b; rm -rf</Region></Error>";
    let (error, _) = told(Action::Told(400, &[], strange.to_owned()));
    assert!(!error.hint().contains("rm -rf"), "{}", error.hint());
}

#[test]
fn a_redirect_says_where_to_and_keeps_the_key() {
    let r2 = R2::start_plain();
    let location = &[(
        "location",
        "https://elsewhere.example.com/?X-Amz-Credential=0123456789abcdef0123456789abcdef",
    )];
    assert!(location[0].1.ends_with(&r2.access_key));
    for status in [301, 302, 307, 308] {
        let found = told(Action::Told(status, location, String::new()));
        let words = "location: https://elsewhere.example.com/";
        says(
            &found,
            Kind::StoreRejected,
            1,
            &[words],
            &["AWS_S3_ENDPOINT", "https://"],
        );
    }
}

#[test]
fn a_clock_that_is_off_is_known_by_the_date_of_the_refusal() {
    let date = &[("date", "Thu, 01 Jan 2026 00:00:00 GMT")];
    let refusal = "<Error><Code>AccessDenied</Code><Message>Zugriff verweigert</Message></Error>";
    for body in [refusal, ""] {
        let found = told(Action::Told(403, date, body.to_owned()));
        says(
            &found,
            Kind::Clock,
            1,
            &["the store's clock is", "behind"],
            &["NTP"],
        );
    }
}

#[test]
fn a_bucket_that_is_asked_for_in_the_wrong_place_names_the_path_style() {
    let body = "<Error><Code>NoSuchBucket</Code><BucketName>s3</BucketName></Error>";
    let found = told(Action::Told(404, &[], body.to_owned()));
    says(
        &found,
        Kind::StoreRejected,
        1,
        &[],
        &["AWS_S3_FORCE_PATH_STYLE=false"],
    );
    let settings = StoreSettings {
        credentials: Credentials::Keys(Keys {
            access_key_id: Secret::new("key".to_owned()),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: None,
        }),
        bucket: "backups".to_owned(),
        endpoint: Some("http://no-such-host.invalid".to_owned()),
        region: "auto".to_owned(),
        path_style: false,
        proxy: None,
    };
    let error = list(&Store::new(&settings, patience()));
    assert_eq!(error.kind(), Kind::StoreUnavailable, "{error}");
    let hint = error.hint();
    assert!(hint.contains("AWS_S3_FORCE_PATH_STYLE=true"), "{hint}");
}

#[test]
fn a_stores_words_are_escaped_once() {
    let r2 = R2::start();
    let said = "no\u{202e}\tno".to_owned();
    r2.fail(
        Operation::ListObjects,
        0,
        usize::MAX,
        Action::Say(403, "AccessDenied", said.clone()),
    );
    let ended = Service::backup(&Variables::on_r2(&r2, &postgres().url("postgres")));
    let failure = ended.failure();
    assert!(
        failure["error"].as_str().unwrap().contains(&said),
        "{failure}"
    );
    assert!(!ended.text().contains('\u{202e}'), "{failure}");
}

#[test]
fn a_proxys_limit_on_bodies_is_found_by_the_check_and_named_by_a_run() {
    let database = unique("limit").replace('-', "_");
    postgres().create_database(&database, "");
    // This is more than nginx accepts, even when it is compressed.
    postgres().psql(
        &database,
        "CREATE TABLE notes AS SELECT md5(random()::text) FROM generate_series(1, 100000)",
    );
    let r2 = R2::start();
    let through = |settings: &str| {
        let proxy = Nginx::in_front_of(&r2.endpoint, settings);
        let variables = Variables::on_r2(&r2, &postgres().url(&database))
            .with("AWS_S3_ENDPOINT", &proxy.endpoint);
        (proxy, variables)
    };
    let check = |variables: &Variables| Service::start(variables, &["check"]).end(LIMIT);
    let (proxy, variables) = through("");
    let ended = check(&variables);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let line = ended.lines.iter().find(|line| line.starts_with("✗ upload"));
    let line = line.unwrap_or_else(|| panic!("{}", ended.text()));
    for words in [
        "HTTP 413",
        "server: nginx/",
        "client_max_body_size",
        "8 MiB",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    let ended = Service::backup(&variables.clone().with("RUST_LOG", "debug"));
    let failure = ended.failure();
    assert_eq!(failure["kind"], "store_rejected", "{failure}");
    assert!(
        failure["error"].as_str().unwrap().contains("HTTP 413"),
        "{failure}"
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(
        hint.contains("client_max_body_size") && hint.contains("MiB"),
        "{hint}"
    );
    assert!(
        ended.events("store request retried").is_empty(),
        "{}",
        ended.text()
    );
    assert_eq!((r2.keys().len(), r2.uploads().len()), (0, 0));
    let plain = proxy.endpoint.replace("https:", "http:");
    let ended = Service::backup(&variables.with("AWS_S3_ENDPOINT", &plain));
    let hint = ended.failure()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("begin it with https://"), "{hint}");
    drop(proxy);
    // The hint is right.
    let (_proxy, variables) = through("client_max_body_size 8m;");
    let ended = check(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(Service::backup(&variables).code(), Some(0));
    assert_eq!(r2.keys().len(), 1);
}
