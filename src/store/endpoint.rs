//! `AWS_S3_ENDPOINT` as consoles show it and people paste it, understood whole (pure).

use crate::fault::Wrong;
use crate::network::address::{host, is_authority, is_local};

/// Where a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `scheme://host[:port][/path]`, without the bucket and without a slash at its end.
    pub url: String,
    /// Whether the bucket's name stood before the host. The store is known to answer there then.
    pub named_bucket: bool,
    /// What was unusual about it.
    pub warnings: Vec<Wrong>,
}

/// Cloudflare's domain for R2.
const R2: &str = ".r2.cloudflarestorage.com";

/// The domains of AWS, China and the European Sovereign Cloud included.
const AWS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"];

/// The other stores whose hosts are known: those put a bucket's name before the host, and know no path but the bucket. A dot in
/// front means that a region, or the like, stands before the domain.
const OTHERS: [&str; 15] = [
    ".backblazeb2.com",
    ".cloud.ovh.net",
    ".contabostorage.com",
    ".digitaloceanspaces.com",
    ".exo.io",
    ".linodeobjects.com",
    ".scw.cloud",
    ".vultrobjects.com",
    ".wasabisys.com",
    ".your-objectstorage.com",
    "fly.storage.tigris.dev",
    "storage.googleapis.com",
    "storage.railway.app",
    "t3.storage.dev",
    "t3.storageapi.dev",
];

/// The path of Supabase's storage, which is the same for all of its projects.
const SUPABASE: &str = "storage/v1/s3";

impl Endpoint {
    /// Reads an endpoint. Consoles show it with the bucket at its end or before the host; left there, objects would silently
    /// land under `bucket/`.
    ///
    /// # Errors
    /// Why it can't be used.
    pub(crate) fn parse(text: &str, bucket: Option<&str>) -> Result<Self, Wrong> {
        let (scheme, rest) = text
            .split_once("://")
            .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
            .filter(|(scheme, _)| ["http", "https"].contains(&scheme.as_str()))
            .ok_or_else(|| {
                Wrong::new(
                    "is not a URL that begins with https://",
                    "for R2 it is https://ACCOUNT_ID.r2.cloudflarestorage.com",
                )
            })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(Wrong::new(
                "holds a user or password",
                "credentials go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        }
        let authority = authority.to_ascii_lowercase();
        if !is_authority(&authority)
            || rest.contains(['?', '#'])
            || text.parse::<axum::http::Uri>().is_err()
        {
            return Err(Wrong::new(
                "is not a plain https://host URL",
                "replace placeholders such as {ACCOUNT_ID}, and remove ? and #, and a port that is not a number",
            ));
        }
        let mut warnings = Vec::new();
        let before = bucket.and_then(|bucket| before_host(host(&authority), bucket));
        let authority = match before {
            Some(BeforeHost::Bucket(length)) => {
                warnings.push("begins with the bucket's name; the name was left out".into());
                authority.get(length..).unwrap_or_default().to_owned()
            }
            Some(BeforeHost::Perhaps) => {
                warnings.push(Wrong::new(
                    "begins with the bucket's name",
                    "if the store's host has another name, leave the bucket's out",
                ));
                authority
            }
            None => authority,
        };
        let host = host(&authority);
        if let Some(account) = host.strip_suffix(R2)
            && !is_account(account)
        {
            return Err(Wrong::new(
                "does not hold an account id",
                "the host must be the 32 hexadecimal digits of the account id, then .r2.cloudflarestorage.com, with nothing before them; a jurisdiction such as eu stands between the two",
            ));
        }
        let mut path = path.trim_matches('/');
        if let Some(without) = bucket.and_then(|bucket| path.strip_suffix(bucket))
            && (without.is_empty() || without.ends_with('/'))
            && path != SUPABASE
        {
            warnings.push(
                "ends in the bucket's name, as R2's dashboard shows it; the name was left out"
                    .into(),
            );
            path = without.trim_end_matches('/');
        }
        if !path.is_empty() {
            if is_known(host) {
                return Err(Wrong::new(
                    "holds a path",
                    "give the host only, and the folder in BUCKET_SUBFOLDER",
                ));
            }
            if !path.split('/').all(is_segment) {
                return Err("holds a path with an empty, . or .. segment, or a character other than letters, digits and - . _ ~".into());
            }
        }
        if scheme == "http" && !is_local(host) {
            warnings.push(Wrong::new(
                "begins with http://, so the whole database travels unencrypted",
                "use https:// if the store has it",
            ));
        }
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Self {
            url: format!("{scheme}://{authority}{slash}{path}"),
            named_bucket: matches!(before, Some(BeforeHost::Bucket(_))),
            warnings,
        })
    }

    /// Whether it is Cloudflare R2.
    #[must_use]
    pub(crate) fn is_r2(&self) -> bool {
        host(&self.url).ends_with(R2)
    }

    /// Whether it is AWS itself.
    #[must_use]
    pub(crate) fn is_aws(&self) -> bool {
        is_aws(host(&self.url))
    }
}

/// What stands before a store's host.
#[derive(Debug, Clone, Copy)]
enum BeforeHost {
    /// The bucket's name, in so many bytes with its dot.
    Bucket(usize),
    /// The bucket's name, or a host that happens to be called so.
    Perhaps,
}

fn before_host(host: &str, bucket: &str) -> Option<BeforeHost> {
    // S3's shortest name has three characters; a shorter one may be a part of the host's own name.
    let bucket = Some(bucket.to_ascii_lowercase()).filter(|bucket| bucket.len() >= 3)?;
    let rest = host.strip_prefix(&bucket)?.strip_prefix('.')?;
    let is_s3 = rest.starts_with("s3.") || rest.starts_with("s3-");
    let is_host = if is_aws(rest) {
        is_s3 || rest.starts_with("bucket.vpce-")
    } else {
        is_s3 || is_known(rest)
    };
    Some(if is_host {
        BeforeHost::Bucket(bucket.len().saturating_add(1))
    } else {
        BeforeHost::Perhaps
    })
    // A name of one label more than a top-level domain is a host, whatever the bucket is called.
    .filter(|_| rest.contains('.'))
}

fn is_aws(host: &str) -> bool {
    AWS.iter().any(|domain| host.ends_with(domain))
}

fn is_known(host: &str) -> bool {
    host.ends_with(R2)
        || is_aws(host)
        || OTHERS
            .iter()
            .any(|domain| host == *domain || domain.starts_with('.') && host.ends_with(domain))
}

/// The id of an account, and at most one jurisdiction after it: `eu`, `fedramp` and `us` are known, and more may come.
fn is_account(text: &str) -> bool {
    let (account, jurisdiction) = text.split_once('.').unwrap_or((text, "x"));
    account.len() == 32
        && account.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !jurisdiction.is_empty()
        && jurisdiction
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_segment(segment: &str) -> bool {
    !["", ".", ".."].contains(&segment)
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_bucket_before_the_host_or_at_the_end_is_left_out() {
        const BEGINS: &str = "begins with the bucket's name; the name was left out";
        const ENDS: &str = "ends in the bucket's name";
        let r2 = format!("https://{ACCOUNT}.r2.cloudflarestorage.com");
        let behind = |host: &str| format!("https://my-backups.{host}");
        for (text, url, warnings, named) in [
            (r2.clone(), r2.clone(), vec![], false),
            (r2.to_ascii_uppercase(), r2.clone(), vec![], false),
            (
                format!("HTTPS://my-backups.{ACCOUNT}.eu.r2.cloudflarestorage.com/"),
                r2.replace(".r2", ".eu.r2"),
                vec![BEGINS],
                true,
            ),
            (
                behind("s3.eu-central-1.amazonaws.com"),
                "https://s3.eu-central-1.amazonaws.com".to_owned(),
                vec![BEGINS],
                true,
            ),
            (
                behind("s3-fips.us-gov-west-1.amazonaws.com"),
                "https://s3-fips.us-gov-west-1.amazonaws.com".to_owned(),
                vec![BEGINS],
                true,
            ),
            (
                behind("fra1.digitaloceanspaces.com"),
                "https://fra1.digitaloceanspaces.com".to_owned(),
                vec![BEGINS],
                true,
            ),
            (
                behind("storage.railway.app"),
                "https://storage.railway.app".to_owned(),
                vec![BEGINS],
                true,
            ),
            (
                behind("s3.example.com:9000"),
                "https://s3.example.com:9000".to_owned(),
                vec![BEGINS],
                true,
            ),
            (
                behind("example.com"),
                "https://my-backups.example.com".to_owned(),
                vec!["if the store's host has another name"],
                false,
            ),
            (
                "https://storage.googleapis.com/my-backups".to_owned(),
                "https://storage.googleapis.com".to_owned(),
                vec![ENDS],
                false,
            ),
            (
                "https://x.storage.supabase.co/storage/v1/s3/".to_owned(),
                "https://x.storage.supabase.co/storage/v1/s3".to_owned(),
                vec![],
                false,
            ),
            (
                "https://x.supabase.co/storage/v1/s3/my-backups".to_owned(),
                "https://x.supabase.co/storage/v1/s3".to_owned(),
                vec![ENDS],
                false,
            ),
            (
                "https://files.example.com/s3".to_owned(),
                "https://files.example.com/s3".to_owned(),
                vec![],
                false,
            ),
        ] {
            let found = Endpoint::parse(&text, Some("my-backups")).unwrap();
            assert_eq!((found.url, found.named_bucket), (url, named), "{text}");
            assert_eq!(found.warnings.len(), warnings.len(), "{text}");
            for (warning, piece) in found.warnings.iter().zip(warnings) {
                assert!(warning.to_string().contains(piece), "{text}: {warning}");
            }
        }
    }

    #[test]
    fn a_host_that_happens_to_begin_like_the_bucket_is_a_host() {
        for (text, bucket) in [
            ("https://s3.eu-central-1.amazonaws.com", "s3"),
            ("https://fra1.digitaloceanspaces.com", "fra1"),
            ("https://storage.googleapis.com", "storage"),
            ("https://x.storage.supabase.co/storage/v1/s3", "s3"),
            ("http://minio:9000", "minio"),
            ("https://minio.internal", "minio"),
            (
                "https://bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com",
                "other",
            ),
        ] {
            let found = Endpoint::parse(text, Some(bucket)).unwrap();
            assert_eq!((found.url.as_str(), found.named_bucket), (text, false));
        }
        let found = Endpoint::parse(
            "https://bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com",
            Some("bucket"),
        );
        assert!(!found.unwrap().named_bucket);
    }

    #[test]
    fn any_jurisdiction_stands_between_the_account_and_r2() {
        for label in ["", ".eu", ".fedramp", ".us", ".new-one"] {
            let text = format!("https://{ACCOUNT}{label}.r2.cloudflarestorage.com");
            let found = Endpoint::parse(&text, Some("b")).unwrap();
            assert!(found.is_r2() && found.url == text && found.warnings.is_empty());
        }
        for host in [
            format!("{ACCOUNT}..r2.cloudflarestorage.com"),
            format!("{ACCOUNT}.a.b.r2.cloudflarestorage.com"),
            format!("eu.{ACCOUNT}.r2.cloudflarestorage.com"),
            format!("other.{ACCOUNT}.r2.cloudflarestorage.com"),
        ] {
            let found = Endpoint::parse(&format!("https://{host}"), Some("backups"));
            assert!(found.unwrap_err().cause.contains("account id"), "{host}");
        }
    }

    #[test]
    fn a_path_that_no_request_could_keep_is_refused() {
        for path in ["a//b", "a/../b", "a/./b", "a%20b", "a+b"] {
            let found = Endpoint::parse(&format!("https://s3.example.com/{path}"), None);
            assert!(found.is_err(), "{path}");
        }
        let found = Endpoint::parse("https://s3.eu-central-1.amazonaws.com/folder", Some("b"));
        assert!(found.unwrap_err().remedy.contains("BUCKET_SUBFOLDER"));
    }
}
