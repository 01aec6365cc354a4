//! `Idempotency-Key`: by what a request that is sent again is known to be the same.

use actix_web::{HttpRequest, http::header::HeaderName};

use super::error::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_BYTES: usize = 200;

/// The key of the request, where it has one.
///
/// # Errors
/// 400 where there are several, or it is none.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut keys = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(key) = keys.next() else { return Ok(None) };
    let fits = |text: &&str| (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match key.to_str().ok().filter(fits) {
        Some(key) if keys.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::field("Idempotency-Key", "must be given once and have 1 to 200 visible ASCII characters")),
    }
}
