//! JSON Web Key Sets (RFC 7517): which keys of one are ours to use, and for which algorithm.
//!
//! A key says by its type what it is for: an RSA key for RS256, P-256 for ES256, Ed25519 for EdDSA. Nothing that a token
//! says changes that.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// RFC 7518, section 3.3: a key of 2048 bits or larger. The upper bound is the cryptography's own.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Of a coordinate of P-256, and of an Ed25519 key.
const CURVE_BYTES: usize = 32;

/// What was read is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no JSON Web Key Set")]
pub struct NoKeySet;

/// A key that checks signatures, and the one algorithm that it is for.
#[derive(Clone)]
pub struct CheckingKey {
    pub algorithm: Algorithm,
    pub key: DecodingKey,
    id: Option<String>,
}

impl CheckingKey {
    /// The key of HS256, which has no name.
    pub fn secret(secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret), id: None }
    }

    /// Whether it is a secret: no key of a key set is.
    pub fn is_secret(&self) -> bool {
        self.algorithm == Algorithm::HS256
    }
}

/// The usable keys of a set.
#[derive(Clone, Default)]
pub struct KeySet(Vec<CheckingKey>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Takes the keys that can be used; each other one is ignored with a log line, so that one odd key does not cost the
    /// rest.
    pub fn read(json: &[u8]) -> Result<Self, NoKeySet> {
        let document: Document = serde_json::from_slice(json).map_err(|_| NoKeySet)?;
        let mut keys: Vec<CheckingKey> = Vec::new();
        for (place, value) in document.keys.into_iter().enumerate() {
            match usable(value) {
                Ok(key) if key.id.is_some() && keys.iter().any(|other| other.id == key.id) => {
                    tracing::warn!(place, reason = "an earlier one has its kid", "a key of the key set is ignored");
                }
                Ok(key) => keys.push(key),
                Err(reason) => tracing::warn!(place, reason, "a key of the key set is ignored"),
            }
        }
        Ok(Self(keys))
    }

    pub fn named(&self, kid: &str) -> Option<&CheckingKey> {
        self.0.iter().find(|key| key.id.as_deref() == Some(kid))
    }

    /// The one key, where there is no other.
    pub fn only(&self) -> Option<&CheckingKey> {
        match self.0.as_slice() {
            [key] => Some(key),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The key, or why it is none of ours.
fn usable(value: Value) -> Result<CheckingKey, &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it cannot be read")?;
    if jwk.r#use.as_deref().is_some_and(|r#use| r#use != "sig") {
        return Err("it is not for signatures");
    }
    if jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return Err("it is not for verifying");
    }
    let (algorithm, names, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => (Algorithm::RS256, &["RS256"][..], rsa(&jwk)?),
        ("EC", Some("P-256")) => (Algorithm::ES256, &["ES256"][..], p256(&jwk)?),
        // RFC 9864 has a name of its own for EdDSA with this curve.
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, &["EdDSA", "Ed25519"][..], ed25519(&jwk)?),
        ("EC" | "OKP", _) => return Err("its curve is not P-256 or Ed25519"),
        // A secret has no place in what everybody may read.
        ("oct", _) => return Err("it is a secret"),
        _ => return Err("its type is not RSA, EC or OKP"),
    };
    if jwk.alg.is_some_and(|alg| !names.contains(&alg.as_str())) {
        return Err("its algorithm is not RS256, ES256 or EdDSA, or not of its type");
    }
    Ok(CheckingKey { algorithm, key, id: jwk.kid })
}

fn rsa(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    let (n, e) = (number(jwk.n.as_deref())?, number(jwk.e.as_deref())?);
    let unused = n.first().map_or(0, |byte| byte.leading_zeros()) as usize;
    if !RSA_BITS.contains(&(n.len() * 8 - unused)) {
        return Err("its modulus is not of 2048 to 4096 bits");
    }
    // Even, or of one: no exponent at all.
    if e.len() > 4 || e == [1] || e.last().is_none_or(|byte| byte % 2 == 0) {
        return Err("its exponent cannot be used");
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn p256(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    let (x, y) = (jwk.x.as_deref(), jwk.y.as_deref());
    if bytes(x)?.len() != CURVE_BYTES || bytes(y)?.len() != CURVE_BYTES {
        return Err("its coordinates have another length");
    }
    let (x, y) = x.zip(y).ok_or(UNREADABLE)?;
    DecodingKey::from_ec_components(x, y).map_err(|_| UNREADABLE)
}

fn ed25519(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    let x = bytes(jwk.x.as_deref())?;
    if x.len() != CURVE_BYTES {
        return Err("it has another length");
    }
    // What the library calls DER here are the plain bytes.
    Ok(DecodingKey::from_ed_der(&x))
}

const UNREADABLE: &str = "a part of it is missing or cannot be read";

fn bytes(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(text.ok_or(UNREADABLE)?).map_err(|_| UNREADABLE)
}

/// Without leading zeros, which some issuers write.
fn number(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    Ok(bytes(text)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::fixtures::{ec, ed, rsa_of};

    fn kept(key: &Value) -> usize {
        KeySet::read(json!({ "keys": [key] }).to_string().as_bytes()).unwrap().len()
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn each_key_type_allows_its_own_algorithm() {
        let keys = json!({ "keys": [rsa_of(2048).jwk("r"), ec(1).jwk("e"), ed(1).jwk("d")] }).to_string();
        let set = KeySet::read(keys.as_bytes()).unwrap();
        for (kid, algorithm) in [("r", Algorithm::RS256), ("e", Algorithm::ES256), ("d", Algorithm::EdDSA)] {
            assert_eq!(set.named(kid).map(|key| key.algorithm), Some(algorithm));
        }
        assert!(set.named("R").is_none() && set.only().is_none());
    }

    #[test]
    fn useless_or_dangerous_keys_are_ignored() {
        let (rsa, ec, ed) = (rsa_of(2048).jwk("r"), ec(1).jwk("e"), ed(1).jwk("d"));
        for good in [&rsa, &ec, &ed] {
            assert_eq!(kept(good), 1, "{good}");
        }
        for (what, key) in [
            ("a secret", json!({"kty": "oct", "kid": "o", "k": "c2VjcmV0", "alg": "HS256"})),
            ("a short RSA key", rsa_of(1024).jwk("s")),
            ("for encryption", with(rsa.clone(), "use", json!("enc"))),
            ("for signing alone", with(rsa.clone(), "key_ops", json!(["sign"]))),
            ("another algorithm", with(rsa.clone(), "alg", json!("PS256"))),
            ("a secret's algorithm", with(rsa.clone(), "alg", json!("HS256"))),
            ("another type's algorithm", with(ec.clone(), "alg", json!("RS256"))),
            ("an exponent of one", with(rsa.clone(), "e", json!("AQ"))),
            ("an even exponent", with(rsa.clone(), "e", json!("Ag"))),
            ("no exponent", with(rsa.clone(), "e", json!(null))),
            ("an unknown curve", with(ec.clone(), "crv", json!("secp256k1"))),
            ("a larger curve", with(ec.clone(), "crv", json!("P-384"))),
            ("half a point", with(ec.clone(), "y", json!("AQ"))),
            ("Ed448", with(ed.clone(), "crv", json!("Ed448"))),
            ("no kind", json!({"kid": "x"})),
            ("no key", json!("key")),
        ] {
            assert_eq!(kept(&key), 0, "{what}");
        }
    }

    #[test]
    fn an_odd_key_does_not_affect_the_others() {
        let keys = json!({ "keys": [null, ec(1).jwk("a"), ed(1).jwk("a"), {"kty": "oct"}, ed(1).jwk("b")] });
        let set = KeySet::read(keys.to_string().as_bytes()).unwrap();
        assert_eq!(set.len(), 2);
        assert_eq!(set.named("a").unwrap().algorithm, Algorithm::ES256);
    }

    #[test]
    fn an_empty_key_set_is_valid() {
        assert!(KeySet::read(br#"{"keys": []}"#).unwrap().is_empty());
        for text in ["", "{}", "[]", "<html>", r#"{"keys": {}}"#] {
            assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
