//! Bearer tokens: checked by the secret or a key of the key set, and signed for the `token` command.

use std::time::Duration;

use chrono::DateTime;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation, errors::ErrorKind, get_current_timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Caller, Credential,
    jwks::CheckingKey,
    key_ring::{KeyRing, NoKey},
};
use crate::config::{Auth, Secret};

/// Longest token that is looked at. A real one is under a kilobyte; checking a signature costs by the byte.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a credential was refused, for the log. Constant texts: nothing of the token is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no credential")]
    Missing,
    #[error("more than one credential, or one of another scheme")]
    Ambiguous,
    #[error("no key is configured (auth.hs256_secret, auth.jwks_url or auth.jwks_file)")]
    NoKey,
    #[error("the key set could not be read, or not for longer than auth.jwks_stale_seconds")]
    KeysAway,
    #[error("the key set has no such key")]
    UnknownKey,
    #[error("the API key cannot be read")]
    KeyForm,
    #[error("an API key was sent as a bearer token")]
    KeyAsToken,
    #[error("a bearer token was sent as an API key")]
    TokenAsKey,
    #[error("the API key is not known, or its secret is wrong")]
    Key,
    #[error("the console's cookie cannot be read, or is there twice")]
    SessionForm,
    #[error("the console's cookie was sent by a page that is none of the console's")]
    NotOfPage,
    #[error("the console has no such session, or it has ended")]
    Session,
    #[error("the link to the console is not known, was used, is for the other port or has expired")]
    Link,
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    #[error("the token cannot be read")]
    Malformed,
    #[error("the token's algorithm is not the key's")]
    Algorithm,
    #[error("the token names critical extensions, and none is known")]
    CriticalExtension,
    #[error("the signature is wrong")]
    Signature,
    #[error("a required claim is missing or has the wrong form")]
    Claims,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the issuer is not ours")]
    Issuer,
    #[error("the audience is not ours")]
    Audience,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// The library would take a list of issuers too; RFC 7519 has one string.
    #[serde(rename = "iss")]
    _iss: String,
    /// Checked by the library; RFC 7519 allows for fractions.
    exp: Value,
    #[serde(default)]
    org_ids: Vec<Uuid>,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    org_ids: &'a [Uuid],
    roles: Vec<&'static str>,
    iat: u64,
    exp: u64,
}

/// Checks bearer tokens against the configured keys, issuer and audience. Clones see the same key set.
#[derive(Clone)]
pub struct Verifier {
    secret: Option<CheckingKey>,
    /// Accepted in place of the secret, while that is being replaced.
    previous: Option<CheckingKey>,
    key_set: Option<KeyRing>,
    /// How long after its source was read last the key set counts.
    stale: Duration,
    validation: Validation,
}

impl Verifier {
    /// Says once when no key is configured: the service runs, and refuses with 401.
    pub fn new(settings: &Auth) -> Self {
        let of = |secret: &Secret| (!secret.is_empty()).then(|| CheckingKey::secret(secret.expose().as_bytes()));
        let (secret, previous) = (of(&settings.hs256_secret), of(&settings.hs256_previous_secret));
        let key_set = settings.has_key_set().then(KeyRing::default);
        if secret.is_none() && key_set.is_none() {
            tracing::warn!("{}: every token is refused", Refusal::NoKey);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.validate_nbf = true;
        validation.leeway = settings.leeway_seconds;
        Self { secret, previous, key_set, stale: settings.jwks_stale(), validation }
    }

    /// Where the keys of the key set are put in; none where none is configured.
    pub fn key_ring(&self) -> Option<&KeyRing> {
        self.key_set.as_ref()
    }

    /// Checks a token and says whose it is. Roles that are not known are ignored.
    ///
    /// # Errors
    /// `UnknownKey` and `KeysAway` may pass when the key set's source is read again.
    pub fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        if self.secret.is_none() && self.key_set.is_none() {
            return Err(Refusal::NoKey);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|e| refusal(e.kind()))?;
        // RFC 7515, section 4.1.11: an extension that is not understood must be refused.
        if header.crit.is_some() {
            return Err(Refusal::CriticalExtension);
        }
        let key = self.key_for(header.kid.as_deref())?;
        let claims = match (self.claims(token, &key), &self.previous) {
            (Err(Refusal::Signature), Some(previous)) if key.is_secret() => self.claims(token, previous),
            (claims, _) => claims,
        };
        let Claims { sub, exp, org_ids, roles, .. } = claims?;
        if sub.is_empty() {
            return Err(Refusal::Claims);
        }
        let roles = roles.iter().filter_map(|role| role.parse().ok()).collect();
        #[expect(clippy::cast_possible_truncation, reason = "seconds; a time that is out of bounds is none")]
        let expires_at = exp.as_f64().and_then(|exp| DateTime::from_timestamp(exp as i64, 0));
        Ok(Caller { subject: sub, org_ids, roles, credential: Credential::Token, expires_at })
    }

    /// The algorithm is the key's: a token that names another is refused before its signature is looked at.
    fn claims(&self, token: &str, key: &CheckingKey) -> Result<Claims, Refusal> {
        let validation = Validation { algorithms: vec![key.algorithm], ..self.validation.clone() };
        let data = jsonwebtoken::decode(token, &key.key, &validation).map_err(|e| refusal(e.kind()))?;
        Ok(data.claims)
    }

    /// A key that is named is one of the key set; without a name it is the secret, else the key set's only key. Where
    /// there is no key set the secret is for all.
    fn key_for(&self, kid: Option<&str>) -> Result<CheckingKey, Refusal> {
        match (&self.secret, &self.key_set) {
            (Some(secret), Some(_)) if kid.is_none() => Ok(secret.clone()),
            (_, Some(key_set)) => key_set.find(kid, self.stale).map_err(|error| match error {
                NoKey::Away => Refusal::KeysAway,
                NoKey::Unknown => Refusal::UnknownKey,
            }),
            (Some(secret), None) => Ok(secret.clone()),
            (None, None) => Err(Refusal::NoKey),
        }
    }
}

/// What the library says of a token.
pub(super) fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            Refusal::Algorithm
        }
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Refusal::Claims,
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::NotYet,
        ErrorKind::InvalidIssuer => Refusal::Issuer,
        ErrorKind::InvalidAudience => Refusal::Audience,
        _ => Refusal::Malformed,
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("auth.hs256_secret is not set")]
    NoKey,
    #[error("the token could not be signed")]
    Unsigned,
}

/// Signs a token for a caller, valid from now for `lifetime`.
pub fn issue(settings: &Auth, caller: &Caller, lifetime: Duration) -> Result<String, IssueError> {
    if settings.hs256_secret.is_empty() {
        return Err(IssueError::NoKey);
    }
    let now = get_current_timestamp();
    let claims = NewClaims {
        iss: &settings.issuer,
        aud: &settings.audience,
        sub: &caller.subject,
        org_ids: &caller.org_ids,
        roles: caller.roles.iter().map(|role| role.as_str()).collect(),
        iat: now,
        exp: now.saturating_add(lifetime.as_secs()),
    };
    let key = EncodingKey::from_secret(settings.hs256_secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|_| IssueError::Unsigned)
}

#[cfg(test)]
mod tests;
