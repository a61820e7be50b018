//! Who runs the store, as far as its host shows. The remedies name the places in that provider's console.

/// Who runs the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// Cloudflare.
    R2,
    /// Amazon.
    Aws,
    /// A bucket of a project on Railway.
    Railway,
    /// Backblaze B2.
    Backblaze,
    /// Somebody else, or a store that the user runs.
    #[default]
    Other,
}

impl Provider {
    /// The provider, by the endpoint's host; without an endpoint it is AWS.
    #[must_use]
    pub fn of(endpoint: Option<&str>) -> Self {
        const HOSTS: [(&str, Provider); 6] = [
            ("r2.cloudflarestorage.com", Provider::R2),
            ("amazonaws.com", Provider::Aws),
            ("amazonaws.com.cn", Provider::Aws),
            ("storageapi.dev", Provider::Railway),
            ("storage.railway.app", Provider::Railway),
            ("backblazeb2.com", Provider::Backblaze),
        ];
        let Some(endpoint) = endpoint else {
            return Self::Aws;
        };
        let host = host(endpoint).to_ascii_lowercase();
        let is_of = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        HOSTS
            .into_iter()
            .find_map(|(domain, provider)| is_of(domain).then_some(provider))
            .unwrap_or_default()
    }

    /// Whether this service talks to the store directly, with no proxy in between that could refuse requests which the store
    /// would accept.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::R2 | Self::Aws)
    }
}

/// The host of an endpoint, without scheme, port and path.
fn host(endpoint: &str) -> &str {
    let authority = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(authority, |(host, _)| host)
        .trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tells_the_provider() {
        assert_eq!(Provider::of(None), Provider::Aws);
        for (endpoint, provider) in [
            ("https://0123.r2.cloudflarestorage.com", Provider::R2),
            ("https://0123.eu.r2.cloudflarestorage.com:443", Provider::R2),
            ("HTTPS://0123.US.R2.CloudflareStorage.com", Provider::R2),
            ("https://s3.eu-central-1.amazonaws.com", Provider::Aws),
            ("https://s3.cn-north-1.amazonaws.com.cn/", Provider::Aws),
            ("https://t3.storageapi.dev", Provider::Railway),
            ("https://storage.railway.app", Provider::Railway),
            (
                "https://s3.us-west-004.backblazeb2.com",
                Provider::Backblaze,
            ),
            ("https://amazonaws.com.example.com", Provider::Other),
            ("https://notamazonaws.com", Provider::Other),
            ("https://example.com/amazonaws.com", Provider::Other),
            ("http://[::1]:9000", Provider::Other),
            ("http://127.0.0.1:9000", Provider::Other),
        ] {
            assert_eq!(Provider::of(Some(endpoint)), provider, "{endpoint}");
        }
    }
}
