//! How a request gets to the store and its answer back, below the SDK.

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, HttpClient, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ConnectorError};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use chrono::{DateTime, Utc};

use super::connections::Connections;
use super::details::SignedAt;
use crate::store::answer;

/// Remembers the time in an answer's `Date` header, which the SDK does not pass on.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerTime(Arc<OnceLock<DateTime<Utc>>>);

impl AnswerTime {
    /// The time that the answer gave.
    pub(super) fn get(&self) -> Option<DateTime<Utc>> {
        self.0.get().copied()
    }
}

impl Intercept for AnswerTime {
    fn name(&self) -> &'static str {
        "AnswerTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(at) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            // The first answer counts.
            let _first = self.0.get_or_init(|| at.to_utc());
        }
        Ok(())
    }
}

/// A client whose answers are read whole, and checked, before the SDK sees them.
#[derive(Debug)]
pub(super) struct Bounded(pub(super) Connections);

impl HttpClient for Bounded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.0.client().http_connector(settings, components);
        SharedHttpConnector::new(Connector(connector, self.0.clone()))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.0.client(), components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.0.client(), components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.client().connector_metadata()
    }
}

#[derive(Debug)]
struct Connector(SharedHttpConnector, Connections);

impl HttpConnector for Connector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        // The SDK sends a length only with a body. Google answers 411 to a POST without a length.
        if request.method() == "POST" && request.body().content_length() == Some(0) {
            request.headers_mut().insert("content-length", "0");
        }
        // Only requests for an object's bytes have a range. `get` reads those, and knows how many there must be.
        let of_object = request.headers().contains_key("range");
        let signed_at = request.headers().get("x-amz-date").and_then(SignedAt::read);
        let (answered, unanswered) = (self.0.call(request), self.1.begin());
        HttpConnectorFuture::new(async move {
            let answer = Self::read(answered, of_object, signed_at).await;
            unanswered.end();
            answer
        })
    }
}

impl Connector {
    /// Waits for an answer, and reads it to its end unless it holds an object's bytes.
    async fn read(
        answered: HttpConnectorFuture,
        of_object: bool,
        signed_at: Option<SignedAt>,
    ) -> Result<HttpResponse, ConnectorError> {
        let mut answer = answered.await?;
        let failed = !answer.status().is_success();
        if let Some(signed_at) = signed_at {
            answer.add_extension(signed_at);
        }
        if of_object && !failed {
            return Ok(answer);
        }
        let body = answer::read(answer.take_body(), failed).await;
        let body = body.map_err(|error| ConnectorError::other(error.into(), None))?;
        // The SDK compares the header with the body's length. In an answer to HEAD the header is about another body.
        if !body.is_empty() && answer.headers().contains_key("content-length") {
            let length = body.len().to_string();
            answer.headers_mut().insert("content-length", length);
        }
        *answer.body_mut() = SdkBody::from(body);
        Ok(answer)
    }
}

/// The system's own name resolution. Its failures have a type, unlike those of the SDK's default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolver;

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            found
                .map(|found| found.map(|address| address.ip()).collect())
                .map_err(ResolveDnsError::new)
        })
    }
}
