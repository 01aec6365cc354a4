//! `Idempotency-Key`: by what a request that is sent again is known to be the same.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::HeaderName};
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::{
    error::Problem,
    params::{Argument, parameter, text},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_BYTES: usize = 200;

/// The key of a request, where it has one.
pub struct IdempotencyKey(pub Option<String>);

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// 400 where there are several, or it is none.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut keys = request.headers().get_all(IDEMPOTENCY_KEY);
        let Some(key) = keys.next() else { return ready(Ok(Self(None))) };
        let fits = |text: &&str| (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        ready(match key.to_str().ok().filter(fits) {
            Some(key) if keys.next().is_none() => Ok(Self(Some(key.to_owned()))),
            _ => {
                Err(Problem::field("Idempotency-Key", "must be given once and have 1 to 200 visible ASCII characters"))
            }
        })
    }
}

impl Argument for IdempotencyKey {
    fn parameters() -> Vec<Parameter> {
        let form = "1 to 200 visible ASCII characters, of the caller's choice";
        vec![parameter(ParameterIn::Header, "Idempotency-Key", form, text()).build()]
    }
}
