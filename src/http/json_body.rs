//! The body of a POST: JSON, and said to be.

use std::pin::Pin;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ContentEncoding},
    web,
};

use super::{Api, error::Problem, gatekeeper::Gatekeeper, in_flight::Tenant, params::Argument};

/// A body as it was sent, of the media type `application/json`, not compressed, and within `http.max_body_bytes`.
pub struct JsonBody(pub web::Bytes);

impl Argument for JsonBody {}

impl FromRequest for JsonBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Compressed, a small body could grow beyond every limit.
        let plain =
            request.headers().get(CONTENT_ENCODING).is_none_or(|coding| coding == ContentEncoding::Identity.as_str());
        if !plain || !request.content_type().eq_ignore_ascii_case("application/json") {
            return Box::pin(async { Err(Problem::MediaType) });
        }
        if let Err(problem) = reserve(request) {
            return Box::pin(async { Err(problem) });
        }
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let body = body.await.map_err(|error| Problem::of_status(error.as_response_error().status_code()))?;
            Ok(Self(body))
        })
    }
}

/// Counts the body as its tenant's until the request is done.
fn reserve(request: &HttpRequest) -> Result<(), Problem> {
    let (Some(gatekeeper), Some(api)) =
        (request.app_data::<web::Data<Gatekeeper>>(), request.app_data::<web::Data<Api>>())
    else {
        return Ok(());
    };
    let Some(tenant) = request.extensions().get::<Tenant>().copied() else { return Ok(()) };
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = announced.unwrap_or(api.max_body_bytes).min(api.max_body_bytes);
    let reserved = gatekeeper.limits.in_flight.reserve(tenant, bytes)?;
    request.extensions_mut().insert(reserved);
    Ok(())
}
