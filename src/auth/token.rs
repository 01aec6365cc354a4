//! HS256 bearer tokens: checked, and signed for the `token` command.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind, get_current_timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Caller;
use crate::config::Auth;

/// Longest token that is looked at. A real one is under a kilobyte; checking a signature costs by the byte.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a credential was refused, for the log. Constant texts: nothing of the token is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no bearer token")]
    Missing,
    #[error("no key is configured (auth.hs256_secret)")]
    NoKey,
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

/// Checks bearer tokens against the configured secret, issuer and audience.
#[derive(Clone)]
pub struct Verifier {
    /// None: no secret is configured, and every token is refused.
    key: Option<DecodingKey>,
    validation: Validation,
}

impl Verifier {
    /// Says once when no key is configured: the service runs, and answers 401.
    pub fn new(settings: &Auth) -> Self {
        let secret = settings.hs256_secret.expose();
        let key = (!secret.is_empty()).then(|| DecodingKey::from_secret(secret.as_bytes()));
        if key.is_none() {
            tracing::warn!("auth.hs256_secret is not set: every request to the api is refused");
        }
        // The algorithm is the key's: a token that names another is refused before its signature is looked at.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.validate_nbf = true;
        validation.leeway = settings.leeway_seconds;
        Self { key, validation }
    }

    /// Checks a token and says whose it is. Roles that are not known are ignored.
    pub fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let key = self.key.as_ref().ok_or(Refusal::NoKey)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        let data = jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(|e| refusal(e.kind()))?;
        // RFC 7515, section 4.1.11: an extension that is not understood must be refused.
        if data.header.crit.is_some() {
            return Err(Refusal::CriticalExtension);
        }
        let Claims { sub, org_ids, roles, .. } = data.claims;
        if sub.is_empty() {
            return Err(Refusal::Claims);
        }
        let roles = roles.iter().filter_map(|role| role.parse().ok()).collect();
        Ok(Caller { subject: sub, org_ids, roles })
    }
}

fn refusal(kind: &ErrorKind) -> Refusal {
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{auth::Role, config::Secret};

    const SECRET: &str = "a secret of the tests, thirty-two bytes or more";

    fn settings() -> Auth {
        Auth {
            hs256_secret: Secret::new(SECRET),
            issuer: "issuer".into(),
            audience: "audience".into(),
            leeway_seconds: 30,
        }
    }

    fn signed(header: &Header, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": "issuer", "aud": "audience", "sub": "ann", "exp": get_current_timestamp() + 60,
            "org_ids": [Uuid::from_u128(1)], "roles": ["org_viewer", "astronaut"],
        });
        change(&mut claims);
        jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    }

    fn verified(change: impl FnOnce(&mut Value)) -> Result<Caller, Refusal> {
        Verifier::new(&settings()).verify(&signed(&Header::new(Algorithm::HS256), change))
    }

    #[test]
    fn an_issued_token_is_accepted_as_the_caller_it_was_issued_for() {
        let caller = Caller { subject: "ann".into(), org_ids: vec![Uuid::from_u128(7)], roles: vec![Role::Finance] };
        let token = issue(&settings(), &caller, Duration::from_secs(60)).unwrap();
        assert_eq!(Verifier::new(&settings()).verify(&token), Ok(caller));
    }

    #[test]
    fn unknown_roles_are_ignored() {
        assert_eq!(verified(|_| ()).unwrap().roles, [Role::OrgViewer]);
    }

    #[test]
    fn claims_are_required_and_must_be_ours() {
        for name in ["exp", "iss", "aud", "sub"] {
            let refused = verified(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
            assert!(matches!(refused, Err(Refusal::Claims | Refusal::Malformed)), "{name}: {refused:?}");
        }
        let now = get_current_timestamp();
        for (name, value, refusal) in [
            ("exp", json!(now - 31), Refusal::Expired),
            ("exp", json!("soon"), Refusal::Claims),
            ("nbf", json!(now + 60), Refusal::NotYet),
            ("nbf", json!("later"), Refusal::Claims),
            ("iss", json!("other"), Refusal::Issuer),
            ("iss", json!(["issuer"]), Refusal::Malformed),
            ("aud", json!("other"), Refusal::Audience),
            ("sub", json!(""), Refusal::Claims),
            ("org_ids", json!(["everything"]), Refusal::Malformed),
            ("org_ids", json!("*"), Refusal::Malformed),
            ("roles", json!("system_admin"), Refusal::Malformed),
        ] {
            assert_eq!(verified(|claims| claims[name] = value.clone()), Err(refusal), "{name} {value}");
        }
    }

    #[test]
    fn times_are_checked_with_the_leeway() {
        let now = get_current_timestamp();
        assert!(verified(|claims| claims["exp"] = json!(now - 20)).is_ok());
        assert!(verified(|claims| claims["nbf"] = json!(now + 20)).is_ok());
    }

    #[test]
    fn the_algorithm_is_the_keys_and_never_the_tokens() {
        let verifier = Verifier::new(&settings());
        let good = signed(&Header::new(Algorithm::HS256), |_| ());
        let (_, rest) = good.split_once('.').unwrap();
        // {"alg":"none"}, {"alg":"RS256"}
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJSUzI1NiJ9"] {
            assert!(verifier.verify(&format!("{header}.{rest}")).is_err());
            let payload = rest.split_once('.').unwrap().0;
            assert!(verifier.verify(&format!("{header}.{payload}.")).is_err());
        }
        let longer = signed(&Header::new(Algorithm::HS512), |_| ());
        assert_eq!(verifier.verify(&longer), Err(Refusal::Algorithm));
    }

    #[test]
    fn what_is_no_token_of_ours_is_refused() {
        let verifier = Verifier::new(&settings());
        let mut forged = signed(&Header::new(Algorithm::HS256), |_| ());
        let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
        forged.push(last);
        assert_eq!(verifier.verify(&forged), Err(Refusal::Signature));
        for garbage in ["", ".", "..", "a.b.c", "\u{0}", "eyJhbGciOiJIUzI1NiJ9.e30."] {
            assert!(verifier.verify(garbage).is_err(), "{garbage}");
        }
        assert_eq!(verifier.verify(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(Refusal::TooLong));
        let critical = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::HS256) };
        assert!(verifier.verify(&signed(&critical, |_| ())).is_err());
    }

    #[test]
    fn without_a_key_every_token_is_refused() {
        let verifier = Verifier::new(&Auth { hs256_secret: Secret::default(), ..settings() });
        let good = signed(&Header::new(Algorithm::HS256), |_| ());
        assert_eq!(verifier.verify(&good), Err(Refusal::NoKey));
    }
}
