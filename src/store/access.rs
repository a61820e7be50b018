//! The SDK's client of a store, with the keys that it signs with. Other keys make another client.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::StoreSettings;
use super::connections::Connections;
use super::connector::{Bounded, Resolver};
use super::credentials;
use crate::secret::{Redactor, Secret};

/// A client with the keys that it signs with.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) client: aws_sdk_s3::Client,
    pub(super) redactor: Redactor,
    keys: Vec<Secret>,
}

impl Access {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        let connections = Connections::new(|| {
            aws_smithy_http_client::Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build_with_resolver(Resolver)
        });
        let of_roles = connections.client();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(Bounded(connections))
            .region(Region::new(settings.region.clone()))
            .credentials_provider(settings.credentials.provider(&settings.region, of_roles))
            .identity_cache(credentials::cache())
            .force_path_style(settings.path_style)
            // R2 answers 501 to the SDK's default checksums on parts; Content-MD5 is what every vendor takes.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // The SDK does not retry R2's 429 and has one retry budget for the process: `retrying` does it instead.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(10))
                    .build(),
            )
            // It misfires on slow links, and does not see a dead connection under an in-memory part.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(settings.endpoint.clone());
        let keys: Vec<Secret> = settings.credentials.secrets().cloned().collect();
        Self {
            client: aws_sdk_s3::Client::from_conf(config.build()),
            redactor: Redactor::new(&keys),
            keys,
        }
    }

    /// One with the keys of these settings, if they are others. The keys from before stay secret.
    pub(super) fn renewed(&self, settings: &StoreSettings) -> Option<Self> {
        let access = Self::new(settings);
        if access.keys == self.keys {
            return None;
        }
        let redactor = Redactor::new(access.keys.iter().chain(&self.keys));
        Some(Self { redactor, ..access })
    }
}
