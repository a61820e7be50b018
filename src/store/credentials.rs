//! The credentials of the requests: keys that were given, or those of a role, which AWS hands out.

use std::error::Error;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{
    IdentityCache, ProvideCredentials, Region, SharedCredentialsProvider, SharedHttpClient,
    SharedIdentityCache,
};
use aws_sdk_s3::error::SdkError;
use tokio::sync::OnceCell;

use super::StoreError;
use super::cause::Cause;
use super::error::{MOST_WORDS, shown};
use crate::fault::chain;
use crate::secret::Secret;

/// How long to wait for the service that hands out a role's keys.
const LIMIT: Duration = Duration::from_secs(20);

/// The credentials of the requests.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Keys that were given.
    Keys(Keys),
    /// The keys that AWS's own programs would find: those of a web identity (EKS), a container (ECS), an instance (EC2) or a
    /// profile. They expire, and are fetched again as long as the daemon runs.
    Chain,
}

/// Keys that were given.
#[derive(Debug, Clone)]
pub struct Keys {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Secret,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Secret>,
}

impl Credentials {
    /// The provider that the SDK asks for keys.
    pub(super) fn provider(
        &self,
        region: &str,
        http_client: SharedHttpClient,
    ) -> SharedCredentialsProvider {
        match self {
            Self::Keys(keys) => {
                SharedCredentialsProvider::new(aws_sdk_s3::config::Credentials::new(
                    keys.access_key_id.expose(),
                    keys.secret_access_key.expose(),
                    keys.session_token
                        .as_ref()
                        .map(|token| token.expose().to_owned()),
                    None,
                    "environment",
                ))
            }
            Self::Chain => SharedCredentialsProvider::new(Chain {
                region: Region::new(region.to_owned()),
                http_client,
                found: OnceCell::new(),
            }),
        }
    }

    /// The values that must not appear in any text.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let keys = match self {
            Self::Keys(keys) => [
                Some(&keys.access_key_id),
                Some(&keys.secret_access_key),
                keys.session_token.as_ref(),
            ],
            Self::Chain => [None; 3],
        };
        keys.into_iter().flatten()
    }
}

/// Keeps the keys of a role until shortly before they expire.
pub(super) fn cache() -> SharedIdentityCache {
    // The chain's own, shorter limit comes first, and its error says what did not answer.
    IdentityCache::lazy().load_timeout(LIMIT * 2).build()
}

/// The search for keys as AWS's own programs do it, set up when it is first needed.
#[derive(Debug)]
struct Chain {
    region: Region,
    http_client: SharedHttpClient,
    found: OnceCell<DefaultCredentialsChain>,
}

impl Chain {
    async fn search(&self) -> &DefaultCredentialsChain {
        self.found
            .get_or_init(|| {
                let config = ProviderConfig::without_region()
                    .with_region(Some(self.region.clone()))
                    .with_http_client(self.http_client.clone());
                DefaultCredentialsChain::builder()
                    .region(self.region.clone())
                    .configure(config)
                    .build()
            })
            .await
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            tokio::select! {
                found = async { self.search().await.provide_credentials().await } => found,
                () = tokio::time::sleep(LIMIT) => Err(CredentialsError::provider_timed_out(LIMIT)),
            }
        })
    }
}

/// The error of a request that was not sent, because there are no keys to sign it with.
pub(super) fn missing<E>(action: &'static str, key: &str, error: &SdkError<E>) -> Option<StoreError>
where
    E: Error + 'static,
{
    let found: &CredentialsError = chain::find(error)?;
    let cause = match found {
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
            Cause::NoRole
        }
        CredentialsError::ProviderTimedOut(_) => Cause::RoleTimeout,
        _ => Cause::RoleRefused,
    };
    let message = format!("no credentials: {}", chain::words(found));
    Some(StoreError::known(
        action,
        key,
        cause,
        shown(&message, MOST_WORDS),
    ))
}
