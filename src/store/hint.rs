//! What to do about a failure of a store: one action, with the variable or the statement to use, and where this provider's
//! customers find it.

use std::borrow::Cow;

use super::addressing::Addressing;
use super::cause::Cause;
use super::provider::Provider;
use crate::network::tls::Distrust;

/// The remedy for a cause. `region` is the right one, if the store named it.
pub(super) fn hint(
    cause: Cause,
    addressing: &Addressing,
    region: Option<&str>,
) -> Cow<'static, str> {
    match cause {
        Cause::Unresolved if addressing.is_virtual() && addressing.provider != Provider::Aws => {
            Cow::Borrowed(
                "the host is the bucket's name before that of AWS_S3_ENDPOINT, and has no address; set AWS_S3_FORCE_PATH_STYLE=true, or correct AWS_S3_BUCKET and AWS_S3_ENDPOINT",
            )
        }
        Cause::Distrusted(Distrust::OtherName) if addressing.is_virtual() => Cow::Borrowed(
            "the store's certificate is not valid for the bucket's name before the host of AWS_S3_ENDPOINT, as with a bucket that has dots in its name; set AWS_S3_FORCE_PATH_STYLE=true",
        ),
        Cause::Unresolved | Cause::Distrusted(Distrust::OtherName | Distrust::Disagreed) => {
            Cow::Borrowed(host(addressing.provider))
        }
        Cause::Distrusted(distrust) => Cow::Borrowed(distrusted(distrust)),
        Cause::Denied => denied(addressing),
        Cause::UnknownKey => Cow::Borrowed(unknown_key(addressing.provider)),
        Cause::WrongSecret => Cow::Borrowed(wrong_secret(addressing.provider)),
        Cause::NoBucket => no_bucket(addressing),
        Cause::Addressing => Cow::Owned(format!(
            "the store takes the bucket's name from another place in the request (its path or its host); set AWS_S3_FORCE_PATH_STYLE={}",
            !addressing.path_style
        )),
        Cause::Region => self::region(addressing, region),
        Cause::Account => Cow::Borrowed(account(addressing.provider)),
        Cause::Quota => Cow::Borrowed(quota(addressing.provider)),
        _ => Cow::Borrowed(everywhere(cause)),
    }
}

/// The remedies that are the same for every provider.
pub(super) const fn everywhere(cause: Cause) -> &'static str {
    match cause {
        Cause::Unreachable => "nothing answers at AWS_S3_ENDPOINT; check its host and port",
        Cause::Broken => {
            "the connection to the store broke off; the next attempt starts from the beginning"
        }
        Cause::Timeout => {
            "the store behind AWS_S3_ENDPOINT or the network to it hangs; the next attempt starts from the beginning"
        }
        Cause::Busy => {
            "the store is overloaded or out of order; the next attempt starts from the beginning"
        }
        Cause::Changed | Cause::Mismatch => {
            "the store lost or changed bytes; the next attempt starts from the beginning"
        }
        Cause::Unreadable | Cause::NotS3 => {
            "what answers at AWS_S3_ENDPOINT does not answer as S3 does; check that the endpoint is an S3 API, and look for a proxy in between"
        }
        Cause::NoRole => {
            "AWS_CREDENTIALS=chain found no role: on EKS annotate the service account with eks.amazonaws.com/role-arn, on ECS give the task a task role, on EC2 give the instance a profile (in a container with a hop limit of 2); or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        Cause::RoleRefused | Cause::RoleTimeout => {
            "the service that hands out the role's keys (STS, the container's or the instance's metadata service, SSO) does not answer, or refuses: check the role's trust policy, the network to that service, and for SSO that you are logged in"
        }
        Cause::NotHttp => {
            "what answers at AWS_S3_ENDPOINT does not speak HTTP; check the host and the port, and look for a proxy in between"
        }
        Cause::Replaced => "a lifecycle rule or a person removed it; choose another backup",
        Cause::Conflict => {
            "another container wrote or removed the same backup at the same time; run one replica of this service for each prefix"
        }
        Cause::Expired => {
            "the keys are temporary and have expired, or do not belong together; copy AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN again, or use a key that does not expire and remove AWS_SESSION_TOKEN"
        }
        Cause::Clock => {
            "the clock of this container's host differs too much from the store's; set the clock (NTP)"
        }
        Cause::Redirected => {
            "redirects are not followed; set AWS_S3_ENDPOINT to the address that the store has now (often https:// in place of http://)"
        }
        Cause::WantsTls => {
            "AWS_S3_ENDPOINT begins with http://, and what answers there seems to speak TLS only; begin it with https://"
        }
        Cause::Encryption => {
            "the key that encrypts the bucket can't be used; enable it, and allow the owner of AWS_ACCESS_KEY_ID to use it (kms:GenerateDataKey and kms:Decrypt), or change the bucket's default encryption"
        }
        Cause::Archived => {
            "the object is in an archive class; restore it in the store's console first, and keep the bucket's lifecycle rule from archiving backups"
        }
        Cause::TooLarge => {
            "the store behind AWS_S3_ENDPOINT, or a proxy in front of it, refuses bodies as long as a part of a backup; raise its limit (client_max_body_size in nginx)"
        }
        Cause::NoLength => {
            "the store behind AWS_S3_ENDPOINT, or a proxy in front of it, insists on a length for each request; connect to the store without the proxy, or report this"
        }
        Cause::Method => {
            "S3 requests are not allowed at this address; check that AWS_S3_ENDPOINT is the S3 API's own, not a web site or a console"
        }
        Cause::NotImplemented => {
            "the store behind AWS_S3_ENDPOINT does not know this request; update the store, or use another"
        }
        _ => {
            "the store behind AWS_S3_ENDPOINT does not accept this request; check that the endpoint is an S3 API and AWS_S3_REGION fits it"
        }
    }
}

const fn host(provider: Provider) -> &'static str {
    match provider {
        Provider::R2 => {
            "check the host in AWS_S3_ENDPOINT: https://ACCOUNT_ID.r2.cloudflarestorage.com with your own account id and nothing before it"
        }
        Provider::Aws => {
            "check AWS_S3_REGION, which is part of the host, and AWS_S3_ENDPOINT, which AWS does not need"
        }
        Provider::Railway => {
            "copy AWS_S3_ENDPOINT again from the variable ENDPOINT in the bucket's Credentials on Railway"
        }
        Provider::Backblaze | Provider::Other => {
            "check the host in AWS_S3_ENDPOINT, and compare it with the store's console"
        }
    }
}

const fn distrusted(distrust: Distrust) -> &'static str {
    match distrust {
        Distrust::Expired => {
            "the certificate of the store behind AWS_S3_ENDPOINT has expired; renew it, or set the clock of this container's host if that is wrong"
        }
        Distrust::NotYetValid => {
            "the certificate of the store behind AWS_S3_ENDPOINT is not valid yet; set the clock of this container's host if that is wrong, or renew the certificate"
        }
        Distrust::UnknownIssuer => {
            "the certificate of the store behind AWS_S3_ENDPOINT is signed by an authority that is not known here; for a store of your own, mount the authority's certificate and set SSL_CERT_FILE to its path; for a provider's store, check the host: somebody else answers"
        }
        Distrust::NotTls => {
            "what answers at AWS_S3_ENDPOINT does not speak TLS; check the port, or begin AWS_S3_ENDPOINT with http:// for a store of your own without TLS"
        }
        Distrust::Certificate | Distrust::OtherName | Distrust::Disagreed => {
            "the certificate of the store behind AWS_S3_ENDPOINT can't be accepted; check the host in AWS_S3_ENDPOINT, or renew the certificate"
        }
    }
}

fn denied(addressing: &Addressing) -> Cow<'static, str> {
    Cow::Borrowed(match addressing.provider {
        Provider::R2 => {
            "compare AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_BUCKET and AWS_S3_ENDPOINT with the R2 console; the API token needs the permission Object Read & Write for this bucket"
        }
        Provider::Aws => {
            "allow the owner of AWS_ACCESS_KEY_ID in IAM s3:ListBucket and s3:ListBucketMultipartUploads on the bucket AWS_S3_BUCKET, s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on its objects, and kms:GenerateDataKey and kms:Decrypt if a KMS key encrypts it"
        }
        Provider::Railway if addressing.path_style => {
            "set AWS_S3_FORCE_PATH_STYLE=false, as Railway's buckets want it, and copy AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_S3_BUCKET again from the bucket's Credentials on Railway"
        }
        Provider::Railway => {
            "copy AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_BUCKET and AWS_S3_ENDPOINT again from the bucket's Credentials on Railway"
        }
        Provider::Backblaze => {
            "compare AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_BUCKET and AWS_S3_ENDPOINT with the Backblaze console; the application key needs Read and Write for this bucket, and no cap of the account may be reached"
        }
        Provider::Other => {
            "compare AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_BUCKET and AWS_S3_ENDPOINT with the store's console; the key must be allowed to list, read and write in this bucket"
        }
    })
}

const fn unknown_key(provider: Provider) -> &'static str {
    match provider {
        Provider::R2 => {
            "AWS_ACCESS_KEY_ID is not the access key id of a valid R2 API token: 32 characters, not the secret, not another provider's key, no blank"
        }
        Provider::Aws => {
            "AWS_ACCESS_KEY_ID is not an active key of AWS; copy it again from IAM, and set AWS_SESSION_TOKEN if it begins with ASIA"
        }
        Provider::Railway => {
            "copy AWS_ACCESS_KEY_ID again from the variable ACCESS_KEY_ID in the bucket's Credentials on Railway"
        }
        Provider::Backblaze => {
            "AWS_ACCESS_KEY_ID must be the keyID of an application key of Backblaze, not its name and not the account's master key"
        }
        Provider::Other => {
            "AWS_ACCESS_KEY_ID is not a key that the store behind AWS_S3_ENDPOINT knows; copy it again from the store's console: not the secret, not another provider's key, no blank"
        }
    }
}

const fn wrong_secret(provider: Provider) -> &'static str {
    match provider {
        Provider::R2 => {
            "re-copy AWS_SECRET_ACCESS_KEY from the R2 dashboard; it belongs to the token of AWS_ACCESS_KEY_ID"
        }
        Provider::Railway => {
            "re-copy AWS_SECRET_ACCESS_KEY from the variable SECRET_ACCESS_KEY in the bucket's Credentials on Railway; it belongs to AWS_ACCESS_KEY_ID"
        }
        Provider::Aws | Provider::Backblaze => {
            "re-copy AWS_SECRET_ACCESS_KEY, or make a new key; it belongs to AWS_ACCESS_KEY_ID"
        }
        Provider::Other => {
            "re-copy AWS_SECRET_ACCESS_KEY from the store's console; it belongs to AWS_ACCESS_KEY_ID. If it is right, a proxy in front of the store changes the Host header or the path"
        }
    }
}

fn no_bucket(addressing: &Addressing) -> Cow<'static, str> {
    Cow::Borrowed(match addressing.provider {
        Provider::R2 => {
            "AWS_S3_BUCKET must name an existing bucket, and AWS_S3_ENDPOINT must hold the id of the account that owns it: https://ACCOUNT_ID.r2.cloudflarestorage.com, with the jurisdiction before .r2. (such as .eu.r2.cloudflarestorage.com) for a bucket that has one"
        }
        Provider::Aws => "AWS_S3_BUCKET must name an existing bucket in the region AWS_S3_REGION",
        Provider::Railway if addressing.path_style => {
            "set AWS_S3_FORCE_PATH_STYLE=false, as Railway's buckets want it, and AWS_S3_BUCKET to the variable BUCKET in the bucket's Credentials on Railway, which is not the name on the canvas"
        }
        Provider::Railway => {
            "set AWS_S3_BUCKET to the variable BUCKET in the bucket's Credentials on Railway, which is not the name on the canvas"
        }
        Provider::Backblaze | Provider::Other if !addressing.path_style => {
            "AWS_S3_BUCKET must name an existing bucket of the account behind AWS_S3_ENDPOINT; if it does, set AWS_S3_FORCE_PATH_STYLE=true"
        }
        Provider::Backblaze | Provider::Other => {
            "AWS_S3_BUCKET must name an existing bucket of the account behind AWS_S3_ENDPOINT"
        }
    })
}

fn region(addressing: &Addressing, region: Option<&str>) -> Cow<'static, str> {
    match (addressing.provider, region) {
        (Provider::Aws, Some(region)) if addressing.has_endpoint => Cow::Owned(format!(
            "set AWS_S3_REGION to {region}, and remove AWS_S3_ENDPOINT, which AWS does not need, or set it to the endpoint of that region"
        )),
        (_, Some(region)) => Cow::Owned(format!("set AWS_S3_REGION to {region}")),
        (Provider::R2, None) => Cow::Borrowed("set AWS_S3_REGION to auto"),
        (Provider::Railway, None) => Cow::Borrowed(
            "set AWS_S3_REGION to the variable REGION in the bucket's Credentials on Railway",
        ),
        (_, None) => Cow::Borrowed(
            "set AWS_S3_REGION to the bucket's own region, and AWS_S3_ENDPOINT to the endpoint of that region",
        ),
    }
}

const fn account(provider: Provider) -> &'static str {
    match provider {
        Provider::R2 => {
            "the account is closed or unpaid; look at Billing in the Cloudflare dashboard"
        }
        Provider::Aws => "the account is closed or unpaid; look at Billing in the AWS console",
        Provider::Railway => "the account is closed or unpaid; look at Usage on Railway",
        Provider::Backblaze | Provider::Other => {
            "the account behind AWS_ACCESS_KEY_ID is closed, suspended or unpaid; look at its billing in the store's console"
        }
    }
}

const fn quota(provider: Provider) -> &'static str {
    match provider {
        Provider::Backblaze => {
            "a cap of the account is reached; raise it on the page Caps & Alerts of the Backblaze console"
        }
        _ => {
            "the store has no room left for this bucket or account; raise its quota, or let a lifecycle rule remove backups earlier"
        }
    }
}

impl Addressing {
    /// Whether the user chose to have the bucket's name in the host.
    fn is_virtual(&self) -> bool {
        !self.path_style && self.provider != Provider::Railway
    }
}
