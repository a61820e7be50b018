//! Where the backups go: the store, the keys for it, the bucket, and how the names begin.

use super::Given;
use super::problem::Findings;
use super::variables::{
    AWS_ACCESS_KEY_ID, AWS_CREDENTIALS, AWS_S3_BUCKET, AWS_S3_ENDPOINT, AWS_S3_FORCE_PATH_STYLE,
    AWS_S3_REGION, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, BACKUP_FILE_PREFIX, BUCKET_SUBFOLDER,
    Settings, Variable,
};
use crate::catalog::Prefix;
use crate::fault::Wrong;
use crate::secret::Secret;
use crate::store::endpoint::Endpoint;
use crate::store::{Credentials, Keys, StoreSettings};

/// The variables that every connection to the store uses together.
pub(super) const CONNECTION: [&Variable; 8] = [
    &AWS_ACCESS_KEY_ID,
    &AWS_SECRET_ACCESS_KEY,
    &AWS_SESSION_TOKEN,
    &AWS_CREDENTIALS,
    &AWS_S3_BUCKET,
    &AWS_S3_ENDPOINT,
    &AWS_S3_REGION,
    &AWS_S3_FORCE_PATH_STYLE,
];

/// All variables that begin with `AWS_`, put together.
pub(super) fn settings(given: &Given, findings: &mut Findings) -> Option<StoreSettings> {
    let settings = &given.settings;
    let uses_chain = uses_chain(settings, findings);
    let credentials = if uses_chain {
        Some(Credentials::Chain)
    } else {
        keys(settings, findings)
    };
    bucket(settings, findings);
    let endpoint = endpoint(settings, findings);
    let is_r2 = endpoint.as_ref().is_some_and(Endpoint::is_r2);
    if is_r2 && !uses_chain {
        lengths_at_r2(settings, findings);
    }
    region(settings, findings, uses_chain, endpoint.as_ref());
    let is_plain = endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.url.starts_with("http://"));
    // If the host began with the bucket's name, the store answers under that host. R2's certificates are not always valid
    // for such a host.
    let path_style = is_r2 || !endpoint.as_ref().is_some_and(|found| found.named_bucket);
    Some(StoreSettings {
        credentials: credentials?,
        bucket: settings.aws_s3_bucket.clone()?,
        proxy: given.proxies.of_scheme(is_plain),
        endpoint: endpoint.map(|endpoint| endpoint.url),
        region: settings.aws_s3_region.clone()?,
        path_style: settings.aws_s3_force_path_style.unwrap_or(path_style),
    })
}

/// Whether the keys are those of a role, which AWS hands out. This has to be set explicitly, because the keys are then
/// requested over the network.
fn uses_chain(settings: &Settings, findings: &mut Findings) -> bool {
    let Some(word) = settings.aws_credentials.as_deref() else {
        return false;
    };
    if !word.eq_ignore_ascii_case("chain") {
        findings.refuse(
            AWS_CREDENTIALS.name,
            Wrong::new(
                "is not chain, the only value there is",
                "remove it where AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set",
            ),
        );
        return false;
    }
    let set = each_key(settings)
        .into_iter()
        .find(|(_, value)| value.is_some());
    if let Some((key, _)) = set {
        findings.refuse(
            AWS_CREDENTIALS.name,
            Wrong::new(
                format!("is chain, but {} is set as well", key.name),
                "remove one of the two",
            ),
        );
    }
    set.is_none()
}

fn each_key(settings: &Settings) -> [(&'static Variable, Option<&Secret>); 3] {
    [
        (&AWS_ACCESS_KEY_ID, settings.aws_access_key_id.as_ref()),
        (
            &AWS_SECRET_ACCESS_KEY,
            settings.aws_secret_access_key.as_ref(),
        ),
        (&AWS_SESSION_TOKEN, settings.aws_session_token.as_ref()),
    ]
}

/// The keys that were given.
fn keys(settings: &Settings, findings: &mut Findings) -> Option<Credentials> {
    const REMEDY: &str = "create an R2 API token (R2, Manage API tokens) and copy it; for a role of AWS set AWS_CREDENTIALS=chain";
    for (variable, value) in each_key(settings) {
        let is_good = |value: &Secret| value.expose().bytes().all(|b| b.is_ascii_graphic());
        if variable.default == super::Unset::Required {
            findings.require(variable, value.is_some(), REMEDY);
        }
        if value.is_some_and(|value| !is_good(value)) {
            findings.refuse(
                variable.name,
                Wrong::new(
                    "holds a blank or a character that no key has",
                    "copy it again",
                ),
            );
        }
    }
    Some(Credentials::Keys(Keys {
        access_key_id: settings.aws_access_key_id.clone()?,
        secret_access_key: settings.aws_secret_access_key.clone()?,
        session_token: settings.aws_session_token.clone(),
    }))
}

/// R2's two keys have fixed lengths, which differ, so swapped keys can be recognized.
fn lengths_at_r2(settings: &Settings, findings: &mut Findings) {
    const ID: usize = 32;
    const SECRET: usize = 64;
    let length = |key: Option<&Secret>, usual| key.map_or(usual, |key| key.expose().len());
    let id = length(settings.aws_access_key_id.as_ref(), ID);
    let secret = length(settings.aws_secret_access_key.as_ref(), SECRET);
    if id == SECRET && secret == ID {
        findings.refuse(AWS_ACCESS_KEY_ID.name, "and AWS_SECRET_ACCESS_KEY are swapped: R2's access key id has 32 characters, its secret 64");
    } else if id != ID {
        findings.refuse(
            AWS_ACCESS_KEY_ID.name,
            Wrong::new(format!("has {id} characters"), "an R2 access key id has 32"),
        );
    }
}

fn bucket(settings: &Settings, findings: &mut Findings) {
    let bucket = settings.aws_s3_bucket.as_deref();
    findings.require(
        &AWS_S3_BUCKET,
        bucket.is_some(),
        "name the bucket for the backups",
    );
    let Some(bucket) = bucket else { return };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bucket.contains('/') {
        findings.refuse(
            AWS_S3_BUCKET.name,
            Wrong::new(
                "holds a /",
                "give the bare name of the bucket, and the folder in BUCKET_SUBFOLDER",
            ),
        );
    } else if !bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !bucket.bytes().all(is_plain)
    {
        findings.refuse(
            AWS_S3_BUCKET.name,
            Wrong::new(
                "holds a character that no bucket's name has there",
                "copy the name from the store's console",
            ),
        );
    }
}

/// The endpoint, without anything that does not belong to it.
fn endpoint(settings: &Settings, findings: &mut Findings) -> Option<Endpoint> {
    let text = settings.aws_s3_endpoint.as_deref()?;
    match Endpoint::parse(text, settings.aws_s3_bucket.as_deref()) {
        Ok(endpoint) => {
            for warning in &endpoint.warnings {
                findings.warn(AWS_S3_ENDPOINT.name, warning.clone());
            }
            Some(endpoint)
        }
        Err(wrong) => {
            findings.refuse(AWS_S3_ENDPOINT.name, wrong);
            None
        }
    }
}

/// The region, if this store can have it. Also checks that the store accepts the keys of a role.
fn region(
    settings: &Settings,
    findings: &mut Findings,
    uses_chain: bool,
    endpoint: Option<&Endpoint>,
) {
    let region = settings.aws_s3_region.as_deref().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !region.bytes().all(is_plain) {
        findings.refuse(
            AWS_S3_REGION.name,
            Wrong::new(
                "holds a character that no region's name has",
                "for R2 remove the variable or set it to auto",
            ),
        );
    }
    let is_aws = endpoint.is_none_or(Endpoint::is_aws);
    if uses_chain && !is_aws {
        findings.refuse(
            AWS_CREDENTIALS.name,
            Wrong::new(
                "is chain, but AWS_S3_ENDPOINT is not AWS's: no other store takes the keys of AWS's roles",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
        );
    }
    // An endpoint that was refused does not show which store it is.
    if findings.has_refused(&AWS_S3_ENDPOINT) {
        return;
    }
    if endpoint.is_none()
        && (has_key_of_r2(settings) || (region == "auto" && !is_for_aws(settings, uses_chain)))
    {
        findings.refuse(
            AWS_S3_ENDPOINT.name,
            Wrong::new(
                "is not set",
                "for R2 set it to https://ACCOUNT_ID.r2.cloudflarestorage.com, as the bucket's settings show it; AWS S3 alone needs no endpoint: for it, set AWS_S3_REGION to the bucket's region",
            ),
        );
    } else if region == "auto" && is_aws {
        findings.refuse(
            AWS_S3_REGION.name,
            Wrong::new(
                "is auto, which AWS does not know",
                "name the bucket's region such as eu-central-1, or set AWS_S3_ENDPOINT to your R2 endpoint",
            ),
        );
    }
}

/// Whether the ID of the key is one of R2's: 32 digits of a hexadecimal number. AWS's begin with a capital A and have 20 characters.
fn has_key_of_r2(settings: &Settings) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    settings.aws_access_key_id.as_ref().is_some_and(|id| {
        let id = id.expose();
        id.len() == 32 && id.bytes().all(is_digit)
    })
}

/// Whether something says that AWS S3 itself is meant.
fn is_for_aws(settings: &Settings, uses_chain: bool) -> bool {
    let id = settings.aws_access_key_id.as_ref();
    uses_chain
        || id.is_some_and(|id| {
            ["AKIA", "ASIA"]
                .iter()
                .any(|of_aws| id.expose().starts_with(of_aws))
        })
}

/// `BUCKET_SUBFOLDER` and `BACKUP_FILE_PREFIX`, put together.
pub(super) fn prefix(settings: &Settings, findings: &mut Findings) -> Option<Prefix> {
    let folder = settings.bucket_subfolder.as_deref();
    let beginning = settings.backup_file_prefix.as_deref()?;
    // Both are checked, even if the first one is wrong.
    let are_usable = [
        is_usable_in_key(&BACKUP_FILE_PREFIX, beginning, findings),
        is_usable_in_key(
            &BUCKET_SUBFOLDER,
            folder.unwrap_or_default().trim_matches('/'),
            findings,
        ),
    ];
    if are_usable.contains(&false) {
        return None;
    }
    let prefix = Prefix::new(folder, beginning);
    if prefix.as_str().len() > 990 {
        findings.refuse(
            BUCKET_SUBFOLDER.name,
            "and BACKUP_FILE_PREFIX together make a key longer than 1,024 bytes",
        );
        return None;
    }
    Some(prefix)
}

fn is_usable_in_key(variable: &Variable, text: &str, findings: &mut Findings) -> bool {
    let mut is_usable = true;
    let mut refuse = |wrong: Wrong| {
        findings.refuse(variable.name, wrong);
        is_usable = false;
    };
    if text.chars().any(char::is_control) {
        refuse("holds a control character".into());
    }
    let is_odd = |segment: &str| segment == "." || segment == "..";
    if text.starts_with('/') || text.contains("//") || text.split('/').any(is_odd) {
        refuse(Wrong::new(
            "has an empty, . or .. segment, which stores read in different ways",
            "remove it",
        ));
    }
    if text.len() > 900 {
        refuse(Wrong::new(
            "is longer than 900 bytes",
            "a key has at most 1,024",
        ));
    }
    is_usable
}
