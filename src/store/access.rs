//! The SDK's client of a store, with the keys that it signs with. Other keys make another client.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};

use super::StoreSettings;
use super::connections::Connections;
use super::connector::{Bounded, Resolver};
use super::credentials;
use crate::network::proxy::Proxy;
use crate::secret::{Redactor, Secret};

/// The client that speaks HTTP with the store.
fn client(proxy: Option<ProxyConfig>) -> SharedHttpClient {
    let Some(proxy) = proxy else {
        return Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_with_resolver(Resolver);
    };
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder()
            .proxy_config(proxy.clone())
            .tls_provider(Provider::Rustls(CryptoMode::Ring));
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.build_with_resolver(Resolver)
    })
}

/// The SDK's form of a proxy.
fn through(proxy: &Proxy, settings: &StoreSettings) -> Option<ProxyConfig> {
    let is_plain = settings
        .endpoint
        .as_deref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    let config = if is_plain {
        ProxyConfig::http(proxy.url())
    } else {
        ProxyConfig::https(proxy.url())
    };
    // The proxy's URL was checked when the variables were read.
    let config = config.ok()?.no_proxy(proxy.except());
    Some(match proxy.user() {
        Some((name, password)) => config.with_basic_auth(name.as_str(), password.expose()),
        None => config,
    })
}

/// A client with the keys that it signs with.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) client: aws_sdk_s3::Client,
    pub(super) redactor: Redactor,
    keys: Vec<Secret>,
}

impl Access {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        let proxy = settings
            .proxy
            .as_ref()
            .and_then(|proxy| through(proxy, settings));
        let connections = Connections::new(move || client(proxy.clone()));
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
            // The SDK does not retry R2's 429, and has one retry budget for the whole process. `retrying` is used instead.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(10))
                    .build(),
            )
            // This protection misfires on slow links, and it does not notice a dead connection while a part is sent from
            // memory.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(settings.endpoint.clone());
        let keys: Vec<Secret> = settings.credentials.secrets().cloned().collect();
        Self {
            client: aws_sdk_s3::Client::from_conf(config.build()),
            redactor: Redactor::new(&keys),
            keys,
        }
    }

    /// A client with the keys of these settings, if they differ from its own. The earlier keys are still kept out of all
    /// messages.
    pub(super) fn renewed(&self, settings: &StoreSettings) -> Option<Self> {
        let access = Self::new(settings);
        if access.keys == self.keys {
            return None;
        }
        let redactor = Redactor::new(access.keys.iter().chain(&self.keys));
        Some(Self { redactor, ..access })
    }
}
