//! Bearer tokens: checked by the secret or a key of the key set, and signed for the `token` command.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation, errors::ErrorKind, get_current_timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Caller, Credential,
    jwks::CheckingKey,
    key_ring::{KeyRing, NoKey},
};
use crate::config::Auth;

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
    #[error("the API key is not known, or was revoked, or has expired, or its secret is wrong")]
    Key,
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

/// Checks bearer tokens against the configured keys, issuer and audience. Clones see the same key set.
#[derive(Clone)]
pub struct Verifier {
    secret: Option<CheckingKey>,
    key_set: Option<KeyRing>,
    /// How long after its source was read last the key set counts.
    stale: Duration,
    validation: Validation,
}

impl Verifier {
    /// Says once when no key is configured: the service runs, and answers 401.
    pub fn new(settings: &Auth) -> Self {
        let secret = settings.hs256_secret.expose();
        let secret = (!secret.is_empty()).then(|| CheckingKey::secret(secret.as_bytes()));
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
        Self { secret, key_set, stale: settings.jwks_stale(), validation }
    }

    /// Where the keys of the key set are put in; none where none is configured.
    pub fn key_ring(&self) -> Option<&KeyRing> {
        self.key_set.as_ref()
    }

    /// Checks a token and says whose it is. Roles that are not known are ignored.
    ///
    /// # Errors
    /// `UnknownKey` and `KeysAway` may be mended by reading the key set's source again.
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
        let CheckingKey { key, algorithm, .. } = self.key_for(header.kid.as_deref())?;
        // The algorithm is the key's: a token that names another is refused before its signature is looked at.
        let validation = Validation { algorithms: vec![algorithm], ..self.validation.clone() };
        let data = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|e| refusal(e.kind()))?;
        let Claims { sub, org_ids, roles, .. } = data.claims;
        if sub.is_empty() {
            return Err(Refusal::Claims);
        }
        let roles = roles.iter().filter_map(|role| role.parse().ok()).collect();
        Ok(Caller { subject: sub, org_ids, roles, credential: Credential::Token })
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
    use crate::{
        auth::{
            Role,
            fixtures::{Signer, ec, ed, key_set, rsa_of, sign},
            jwks::KeySet,
        },
        config::Secret,
    };

    const SECRET: &str = "a secret of the tests, thirty-two bytes or more";

    fn settings() -> Auth {
        Auth {
            hs256_secret: Secret::new(SECRET),
            issuer: "issuer".into(),
            audience: "audience".into(),
            leeway_seconds: 30,
            jwks_stale_seconds: 60,
            ..Auth::default()
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
        let caller = Caller {
            subject: "ann".into(),
            org_ids: vec![Uuid::from_u128(7)],
            roles: vec![Role::Finance],
            credential: Credential::Token,
        };
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

    const ORG: Uuid = Uuid::from_u128(1);

    /// Has read this key set.
    fn with_keys(settings: &Auth, keys: &[Value]) -> Verifier {
        let verifier = Verifier::new(&Auth { jwks_file: "keys.json".into(), ..settings.clone() });
        verifier.key_ring().unwrap().put(KeySet::read(key_set(keys).as_bytes()).unwrap());
        verifier
    }

    fn without_a_secret() -> Auth {
        Auth { hs256_secret: Secret::default(), ..settings() }
    }

    #[test]
    fn a_key_of_the_set_checks_the_tokens_that_name_it() {
        let signers = [("r", rsa_of(2048)), ("e", ec(1)), ("d", ed(1))];
        let keys: Vec<Value> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
        for settings in [settings(), without_a_secret()] {
            let verifier = with_keys(&settings, &keys);
            for (kid, signer) in &signers {
                let caller = verifier.verify(&signer.token(Some(kid), ORG)).unwrap();
                assert_eq!((caller.subject.as_str(), caller.org_ids.as_slice()), ("ann", &[ORG][..]), "{kid}");
                for (other, _) in signers.iter().filter(|(other, _)| other != kid) {
                    let refused = verifier.verify(&signer.token(Some(other), ORG));
                    assert_eq!(refused, Err(Refusal::Algorithm), "{kid}'s token names {other}");
                }
                assert_eq!(verifier.verify(&signer.token(Some("nobody"), ORG)), Err(Refusal::UnknownKey));
            }
            let forged = ec(9).token(Some("e"), ORG);
            assert_eq!(verifier.verify(&forged), Err(Refusal::Signature));
        }
    }

    #[test]
    fn a_public_key_is_no_secret_in_whatever_form() {
        let attacked = rsa_of(2048);
        let others: [Signer; 2] = [ec(1), ed(1)];
        for settings in [settings(), without_a_secret()] {
            let verifier = with_keys(&settings, &[attacked.jwk("r"), others[0].jwk("e"), others[1].jwk("d")]);
            let kids = ["r", "e", "d"].map(Some).into_iter().chain([None]);
            for kid in kids {
                for form in attacked.forms.iter().chain(others.iter().flat_map(|other| &other.forms)) {
                    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
                        let forged = sign(&header, &EncodingKey::from_secret(form), ORG, |_| ());
                        assert!(verifier.verify(&forged).is_err(), "{algorithm:?} {kid:?}");
                    }
                }
            }
        }
        // Alone, it is the key of tokens that name none.
        let verifier = with_keys(&without_a_secret(), &[attacked.jwk("r")]);
        let forged = sign(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(&attacked.forms[0]), ORG, |_| ());
        assert_eq!(verifier.verify(&forged), Err(Refusal::Algorithm));
    }

    #[test]
    fn a_token_that_names_no_key_is_the_secrets_or_else_the_only_keys() {
        let (ours, one) = (signed(&Header::new(Algorithm::HS256), |_| ()), ec(1));
        let both = with_keys(&settings(), &[one.jwk("e")]);
        assert!(both.verify(&ours).is_ok());
        assert_eq!(both.verify(&one.token(None, ORG)), Err(Refusal::Algorithm));
        let named = Header { kid: Some("e".into()), ..Header::new(Algorithm::HS256) };
        assert_eq!(both.verify(&signed(&named, |_| ())), Err(Refusal::Algorithm));
        assert!(with_keys(&without_a_secret(), &[one.jwk("e")]).verify(&one.token(None, ORG)).is_ok());
        let two = with_keys(&without_a_secret(), &[one.jwk("e"), ed(1).jwk("d")]);
        assert_eq!(two.verify(&one.token(None, ORG)), Err(Refusal::UnknownKey));
        assert!(Verifier::new(&settings()).verify(&signed(&named, |_| ())).is_ok(), "there is no set to name a key of");
    }

    #[test]
    fn claims_are_checked_whatever_the_key() {
        let (now, signer) = (get_current_timestamp(), ed(1));
        let verifier = with_keys(&settings(), &[signer.jwk("d")]);
        for (name, value, refusal) in [
            ("exp", json!(now - 31), Refusal::Expired),
            ("nbf", json!(now + 60), Refusal::NotYet),
            ("iss", json!("other"), Refusal::Issuer),
            ("aud", json!("other"), Refusal::Audience),
        ] {
            let token = signer.token_with(Some("d"), ORG, |claims| claims[name] = value.clone());
            assert_eq!(verifier.verify(&token), Err(refusal), "{name}");
        }
    }

    #[test]
    fn a_key_that_was_removed_or_is_too_old_checks_nothing() {
        let signer = ec(1);
        let verifier = with_keys(&settings(), &[signer.jwk("e")]);
        let token = signer.token(Some("e"), ORG);
        assert!(verifier.verify(&token).is_ok());
        verifier.key_ring().unwrap().put(KeySet::default());
        assert_eq!(verifier.verify(&token), Err(Refusal::UnknownKey));
        let impatient = with_keys(&Auth { jwks_stale_seconds: 0, ..settings() }, &[signer.jwk("e")]);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(impatient.verify(&token), Err(Refusal::KeysAway));
        let unread = Verifier::new(&Auth { jwks_file: "keys.json".into(), ..settings() });
        assert_eq!(unread.verify(&token), Err(Refusal::KeysAway));
    }
}
