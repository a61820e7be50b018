//! What an answer that refuses a request says besides its code and its words: in its headers, and in the elements of its body.

use aws_sdk_s3::config::http::HttpResponse;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::addressing::Addressing;
use crate::store::answer;

/// S3 refuses requests that were signed longer ago than this, or as far in the future.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(15);

/// The most characters in a region's name.
const MOST_REGION: usize = 32;

/// The codes whose answers name the right region. For other codes it means nothing: some stores name their region in every
/// answer.
const OF_REGION: [&str; 6] = [
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
    "InvalidRegionName",
    "InvalidRegion",
];

/// When a request was signed, by this machine's clock. It is kept with the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedAt(DateTime<Utc>);

impl SignedAt {
    /// Reads the header `x-amz-date`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let time = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
        Some(Self(time.and_utc()))
    }
}

/// What the answer said. Each value is trusted only as far as the field's description says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AnswerDetails {
    /// The right region, if it differs from the one that was asked. It has the form of a region's name.
    pub(super) region: Option<String>,
    /// Whether the store looked for a bucket with another name than the one that was meant.
    pub(super) other_bucket: bool,
    /// Whether a request without TLS was refused without a code, as by a server that accepts TLS only.
    pub(super) wants_tls: bool,
    /// How far the store's clock is ahead of this one.
    pub(super) skew: Option<TimeDelta>,
    /// Headers that say more than the code, with the store's own text.
    pub(super) headers: Vec<(&'static str, String)>,
}

impl AnswerDetails {
    pub(super) fn by(
        answer: &HttpResponse,
        code: Option<&str>,
        message: &str,
        addressing: &Addressing,
    ) -> Self {
        let status = answer.status().as_u16();
        let header = |name: &'static str| answer.headers().try_get(name)?.ok();
        let element = |name: &str| answer::element(answer.body().bytes()?, name);
        let asked_of_region = code.is_some_and(|code| OF_REGION.contains(&code));
        // AWS names a region in all of its answers. In this header it is the bucket's.
        let mut regions: Vec<String> = Vec::new();
        if asked_of_region || matches!(status, 300..=400 | 403) {
            regions.extend(header("x-amz-bucket-region").map(str::to_owned));
        }
        if asked_of_region {
            regions.extend(element("Region"));
            regions.extend(element("Endpoint").and_then(|endpoint| region_of(&endpoint)));
            regions.extend(expected(message));
        }
        let region = regions.into_iter().find(|region| is_region(region));
        let at = header("date").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        // An answer from a cache has an old date.
        let at = at.filter(|_| header("age").is_none());
        let signed_at = answer.extension::<SignedAt>();
        // A refusal with a code needs nothing more. For one without a code, it matters who answered.
        let names: &[&str] = match (status, code) {
            (300..=399, _) => &["location", "x-amz-bucket-region", "server"],
            (_, None) => &["location", "x-amz-bucket-region", "server"],
            (_, Some(_)) => &["location", "x-amz-bucket-region"],
        };
        Self {
            region: region.filter(|region| *region != addressing.region),
            wants_tls: addressing.is_plain && matches!(status, 400 | 426) && code.is_none(),
            other_bucket: element("BucketName").is_some_and(|name| name != addressing.bucket),
            skew: at
                .zip(signed_at)
                .map(|(at, signed)| at.to_utc().signed_duration_since(signed.0)),
            headers: HEADERS
                .into_iter()
                .filter(|name| names.contains(name))
                .filter_map(|name| Some((name, header(name)?.to_owned())))
                .collect(),
        }
    }

    /// Whether the two clocks differ by more than S3 allows.
    pub(super) fn is_skewed(&self) -> bool {
        self.skew.is_some_and(|skew| skew.abs() > MOST_SKEW)
    }
}

const HEADERS: [&str; 3] = ["location", "x-amz-bucket-region", "server"];

/// Whether the text has the form of a region's name, so that it can be given as advice.
fn is_region(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_REGION).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The region in the host `BUCKET.s3.REGION.amazonaws.com`, or in its older form `BUCKET.s3-REGION.amazonaws.com`.
fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint
        .strip_suffix(".amazonaws.com")
        .or_else(|| endpoint.strip_suffix(".amazonaws.com.cn"))?;
    let (before, last) = host.rsplit_once('.').unwrap_or(("", host));
    let region = match last.strip_prefix("s3-") {
        Some(region) => region,
        None if before
            .rsplit('.')
            .next()
            .is_some_and(|label| ["s3", "s3-fips"].contains(&label)) =>
        {
            last
        }
        None if before == "dualstack" || before.ends_with(".dualstack") => last,
        None => return None,
    };
    Some(region.to_owned())
}

/// The region in `…; expecting 'REGION'`, with which AWS, MinIO and others end the explanation of a malformed header.
fn expected(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_taken_from_where_stores_tell_it() {
        for (endpoint, region) in [
            ("b.s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("b.c.s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("b.s3.dualstack.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("b.s3.amazonaws.com", None),
            ("s3x.s3.amazonaws.com", None),
            ("example.com", None),
        ] {
            assert_eq!(region_of(endpoint).as_deref(), region, "{endpoint}");
        }
        let said = "The authorization header is malformed; the region 'auto' is wrong; expecting 'eu-central-1'";
        assert_eq!(expected(said).as_deref(), Some("eu-central-1"));
        assert_eq!(expected("expecting '"), None);
        for (text, plausible) in [
            ("eu-central-1", true),
            ("auto", true),
            ("", false),
            ("EU", false),
            ("a b", false),
            ("a;rm -rf /", false),
            ("x123456789012345678901234567890123", false),
        ] {
            assert_eq!(is_region(text), plausible, "{text}");
        }
    }

    #[test]
    fn a_signing_time_is_read_as_it_is_sent() {
        let at = SignedAt::read("20260125T030000Z").unwrap().0;
        assert_eq!(at.to_rfc3339(), "2026-01-25T03:00:00+00:00");
        assert!(SignedAt::read("yesterday").is_none());
    }
}
