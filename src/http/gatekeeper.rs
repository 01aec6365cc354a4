//! Who is let in: what every gate asks, on both ports.

use std::time::Duration;

use actix_web::{HttpRequest, http::header::AUTHORIZATION, web};

use super::error::Problem;
use crate::{
    actors::{jwks::Refresh, supervision::line::Line},
    auth::{Caller, Refusal, Verifier},
};

/// Longest that a request waits for the key set to be read again, when it names a key that is not there.
const WAIT_FOR_KEYS: Duration = Duration::from_millis(500);

/// Clones are the same one.
#[derive(Clone)]
pub struct Gatekeeper {
    pub verifier: Verifier,
    pub jwks: Line<Refresh>,
}

impl Gatekeeper {
    /// The one of the application that was asked.
    pub fn of(request: &HttpRequest) -> Result<web::Data<Self>, Problem> {
        request.app_data::<web::Data<Self>>().cloned().ok_or(Problem::Internal)
    }

    /// Whose credential the request carries.
    ///
    /// # Errors
    /// 401 where there is none that is good.
    pub async fn caller(&self, request: &HttpRequest) -> Result<Caller, Problem> {
        self.authenticate(request).await.map_err(|refusal| {
            tracing::info!(reason = %refusal, "a credential was refused");
            Problem::Unauthorized { presented: refusal != Refusal::Missing }
        })
    }

    async fn authenticate(&self, request: &HttpRequest) -> Result<Caller, Refusal> {
        let token = bearer(request)?;
        match self.verifier.verify(token) {
            // The issuer may have a new key since.
            Err(Refusal::UnknownKey | Refusal::KeysAway) => {
                if let Some(jwks) = self.jwks.get() {
                    // In time or not: the keys that there are then decide.
                    let _ = jwks.send(Refresh).timeout(WAIT_FOR_KEYS).await;
                }
                self.verifier.verify(token)
            }
            known => known,
        }
    }
}

/// The token, where there is one credential and it is a bearer token.
fn bearer(request: &HttpRequest) -> Result<&str, Refusal> {
    let mut credentials = request.headers().get_all(AUTHORIZATION);
    let credential = credentials.next().ok_or(Refusal::Missing)?;
    if credentials.next().is_some() {
        return Err(Refusal::Ambiguous);
    }
    let text = credential.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Ambiguous);
    }
    Ok(token.trim())
}
