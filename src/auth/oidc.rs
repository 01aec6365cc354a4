//! Signing in by an issuer: OpenID Connect's code flow with PKCE, as far as it is no transport. What an issuer signs is checked by its
//! key set, as tokens are.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Validation;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::{
    Caller, Credential, NoRandomness, Refusal,
    console::{FreshSecret, hash_of},
    jwks::KeySet,
    token::refusal,
};
use crate::config::Secret;

/// Longest ID token: the largest token that is read anywhere.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// One way through the issuer and back, of one browser. All that has to be remembered of it is one secret, which the browser keeps.
#[derive(Clone)]
pub struct Flow(Secret);

impl Flow {
    pub fn begin() -> Result<Self, NoRandomness> {
        Ok(Self(FreshSecret::generate()?.text))
    }

    /// None where the text is none of ours.
    pub fn read(text: &str) -> Option<Self> {
        hash_of(text).map(|_| Self(Secret::new(text)))
    }

    /// For the browser's cookie.
    pub fn text(&self) -> &str {
        self.0.expose()
    }

    /// Comes back with the browser: shows that this browser began it.
    pub fn state(&self) -> String {
        self.derive("state")
    }

    /// Comes back in the ID token: shows that it was made for this flow.
    pub fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// Redeems the code, which is worth nothing without it (RFC 7636).
    pub fn verifier(&self) -> String {
        self.derive("verifier")
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier()))
    }

    /// None of them shows another one or the secret.
    fn derive(&self, what: &str) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(what).chain_update([0]).chain_update(self.text()).finalize())
    }
}

/// What an issuer publishes of itself is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongDiscovery {
    #[error("is no OpenID Connect discovery document")]
    Form,
    #[error("names another issuer than console.oidc_issuer")]
    Issuer,
    #[error("names an endpoint that is no https:// URL")]
    Endpoint,
}

/// What is read of the document.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// Where an issuer is used (OpenID Connect Discovery 1.0).
#[derive(Clone, Debug)]
pub struct Discovery {
    authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub jwks_uri: Url,
}

impl Discovery {
    /// Where it is published, below the issuer.
    pub fn place(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Reads what is published there.
    pub fn read(json: &[u8], issuer: &str, allow_http: bool) -> Result<Self, WrongDiscovery> {
        let found: Document = serde_json::from_slice(json).map_err(|_| WrongDiscovery::Form)?;
        if found.issuer != issuer {
            return Err(WrongDiscovery::Issuer);
        }
        let endpoint = |text: &str| {
            let url = Url::parse(text).ok();
            let secure = |url: &Url| url.scheme() == "https" || (allow_http && url.scheme() == "http");
            url.filter(secure).ok_or(WrongDiscovery::Endpoint)
        };
        Ok(Self {
            authorization_endpoint: endpoint(&found.authorization_endpoint)?,
            token_endpoint: endpoint(&found.token_endpoint)?,
            jwks_uri: endpoint(&found.jwks_uri)?,
        })
    }

    /// Where a browser is sent.
    pub fn authorization_url(&self, client: &Client<'_>, flow: &Flow) -> String {
        let mut url = self.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client.id)
            .append_pair("redirect_uri", client.redirect_uri)
            .append_pair("scope", client.scopes)
            .append_pair("state", &flow.state())
            .append_pair("nonce", &flow.nonce())
            .append_pair("code_challenge", &flow.challenge())
            .append_pair("code_challenge_method", "S256");
        url.into()
    }
}

/// What the issuer knows this service as.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub id: &'a str,
    /// Where it sends browsers back to.
    pub redirect_uri: &'a str,
    pub scopes: &'a str,
}

#[derive(Deserialize)]
struct IdClaims {
    sub: String,
    nonce: Option<String>,
    azp: Option<String>,
    #[serde(default)]
    org_ids: Vec<Uuid>,
    #[serde(default)]
    roles: Vec<String>,
}

/// Who an ID token says that somebody is (OpenID Connect Core 1.0, section 3.1.3.7). It expires soon, as it only says who has just signed
/// in; the session that it begins does not end with it.
///
/// # Errors
/// `UnknownKey` may pass when the key set is read again.
pub fn verify_id_token(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    client_id: &str,
    nonce: &str,
    leeway_seconds: u64,
) -> Result<Caller, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|e| refusal(e.kind()))?;
    if header.crit.is_some() {
        return Err(Refusal::CriticalExtension);
    }
    let key = match header.kid.as_deref() {
        Some(kid) => keys.named(kid),
        None => keys.only(),
    };
    let key = key.ok_or(Refusal::UnknownKey)?;
    let mut validation = Validation::new(key.algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[client_id]);
    validation.validate_nbf = true;
    validation.leeway = leeway_seconds;
    let claims: IdClaims = jsonwebtoken::decode(token, &key.key, &validation).map_err(|e| refusal(e.kind()))?.claims;
    if claims.azp.is_some_and(|azp| azp != client_id) {
        return Err(Refusal::Audience);
    }
    if claims.sub.is_empty() || claims.nonce.as_deref() != Some(nonce) {
        return Err(Refusal::Claims);
    }
    Ok(Caller {
        subject: claims.sub,
        org_ids: claims.org_ids,
        roles: claims.roles.iter().filter_map(|role| role.parse().ok()).collect(),
        credential: Credential::Token,
        expires_at: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::{
        Role,
        fixtures::{ec, key_set},
    };

    const ORG: Uuid = Uuid::from_u128(1);

    fn keys() -> KeySet {
        KeySet::read(key_set(&[ec(1).jwk("a")]).as_bytes()).unwrap()
    }

    fn verified(kid: Option<&str>, change: impl FnOnce(&mut Value)) -> Result<Caller, Refusal> {
        let token = ec(1).token_with(kid, ORG, |claims| {
            claims["aud"] = json!("console");
            claims["nonce"] = json!("n");
            change(claims);
        });
        verify_id_token(&token, &keys(), "issuer", "console", "n", 0)
    }

    #[test]
    fn an_id_token_identifies_its_caller() {
        let caller = verified(Some("a"), |_| ()).unwrap();
        assert_eq!(
            (caller.subject.as_str(), &caller.org_ids[..], &caller.roles[..]),
            ("ann", &[ORG][..], &[Role::OrgViewer][..])
        );
        assert_eq!(caller.expires_at, None);
        assert!(verified(None, |claims| claims["azp"] = json!("console")).is_ok());
        assert!(verified(None, |claims| claims["aud"] = json!(["console", "other"])).is_ok());
    }

    #[test]
    fn an_id_token_for_anything_else_is_refused() {
        type Change = fn(&mut Value);
        for (what, change, expected) in [
            ("another client's", (|c| c["aud"] = json!("other")) as Change, Refusal::Audience),
            ("for another party", |c| c["azp"] = json!("other"), Refusal::Audience),
            ("another issuer's", |c| c["iss"] = json!("other"), Refusal::Issuer),
            ("of another flow", |c| c["nonce"] = json!("m"), Refusal::Claims),
            ("without a nonce", |c| drop(c.as_object_mut().unwrap().remove("nonce")), Refusal::Claims),
            ("of nobody", |c| c["sub"] = json!(""), Refusal::Claims),
            ("an expired one", |c| c["exp"] = json!(1), Refusal::Expired),
        ] {
            assert_eq!(verified(Some("a"), change), Err(expected), "{what}");
        }
        assert_eq!(verified(Some("b"), |_| ()), Err(Refusal::UnknownKey));
        let forged = ec(2).token_with(Some("a"), ORG, |claims| {
            claims["aud"] = json!("console");
            claims["nonce"] = json!("n");
        });
        assert_eq!(verify_id_token(&forged, &keys(), "issuer", "console", "n", 0), Err(Refusal::Signature));
        for text in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert!(verify_id_token(text, &keys(), "issuer", "console", "n", 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_flow_shows_none_of_its_parts_by_another() {
        let (one, other) = (Flow::begin().unwrap(), Flow::begin().unwrap());
        let parts =
            |flow: &Flow| [flow.state(), flow.nonce(), flow.verifier(), flow.challenge(), flow.text().to_owned()];
        let mut all: Vec<String> = parts(&one).into_iter().chain(parts(&other)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 10);
        assert_eq!(parts(&Flow::read(one.text()).unwrap()), parts(&one));
        assert!(one.verifier().len() == 43 && Flow::read("x").is_none());
    }

    #[test]
    fn discovery_is_of_the_issuer_and_secure() {
        let document = |issuer: &str, token: &str| {
            json!({"issuer": issuer, "authorization_endpoint": "https://issuer.test/authorize?x=1", "token_endpoint": token,
                   "jwks_uri": "https://issuer.test/keys", "scopes_supported": []})
            .to_string()
        };
        let read = |text: String, allow| Discovery::read(text.as_bytes(), "https://issuer.test", allow);
        let found = read(document("https://issuer.test", "https://issuer.test/token"), false).unwrap();
        let client =
            Client { id: "console", redirect_uri: "https://a.test/console/sign-in/callback", scopes: "openid" };
        let url = found.authorization_url(&client, &Flow::begin().unwrap());
        assert!(
            url.starts_with(
                "https://issuer.test/authorize?x=1&response_type=code&client_id=console&redirect_uri=https%3A%2F%2Fa"
            ),
            "{url}"
        );
        let wrong = |text, allow| read(text, allow).unwrap_err();
        assert_eq!(wrong(document("https://issuer.test/", "https://issuer.test/token"), false), WrongDiscovery::Issuer);
        assert_eq!(wrong(document("https://issuer.test", "http://issuer.test/token"), false), WrongDiscovery::Endpoint);
        assert!(read(document("https://issuer.test", "http://issuer.test/token"), true).is_ok());
        assert_eq!(wrong(document("https://issuer.test", "file:///etc/passwd"), true), WrongDiscovery::Endpoint);
        assert_eq!(wrong("{}".to_owned(), true), WrongDiscovery::Form);
        assert_eq!(Discovery::place("https://issuer.test/"), "https://issuer.test/.well-known/openid-configuration");
    }
}
