//! Where the requests go, as far as the remedy for an error depends on it.

use super::StoreSettings;
use super::provider::Provider;

/// A bucket, and how requests address it.
#[derive(Debug, Clone, Default)]
pub(super) struct Addressing {
    pub(super) provider: Provider,
    pub(super) bucket: String,
    pub(super) region: String,
    /// Whether `AWS_S3_ENDPOINT` is set.
    pub(super) has_endpoint: bool,
    pub(super) path_style: bool,
    /// Whether the requests go without TLS.
    pub(super) is_plain: bool,
}

impl Addressing {
    pub(super) fn of(settings: &StoreSettings) -> Self {
        Self {
            provider: Provider::of(settings.endpoint.as_deref()),
            bucket: settings.bucket.clone(),
            region: settings.region.clone(),
            has_endpoint: settings.endpoint.is_some(),
            path_style: settings.path_style,
            is_plain: settings
                .endpoint
                .as_deref()
                .is_some_and(|endpoint| endpoint.starts_with("http://")),
        }
    }
}
