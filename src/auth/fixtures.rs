//! Keys of issuers, for tests: private keys that sign, and what a key set says of them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use p256::pkcs8::EncodePrivateKey;
use rsa::{
    pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey},
    pkcs8::EncodePublicKey,
    traits::PublicKeyParts,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// A key that signs, and its public part.
pub struct Signer {
    pub algorithm: Algorithm,
    pub key: EncodingKey,
    /// Without its `kid`.
    public: Value,
    /// The public key in the forms that an attacker may take for a secret.
    pub forms: Vec<Vec<u8>>,
}

impl Signer {
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(kid);
        jwk
    }

    /// A token of a viewer of an org.
    pub fn token(&self, kid: Option<&str>, org_id: Uuid) -> String {
        self.token_with(kid, org_id, |_| ())
    }

    pub fn token_with(&self, kid: Option<&str>, org_id: Uuid, change: impl FnOnce(&mut Value)) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        sign(&header, &self.key, org_id, change)
    }
}

pub fn sign(header: &Header, key: &EncodingKey, org_id: Uuid, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "iss": "issuer", "aud": "audience", "sub": "ann", "exp": get_current_timestamp() + 60,
        "org_ids": [org_id], "roles": ["org_viewer"],
    });
    change(&mut claims);
    jsonwebtoken::encode(header, &claims, key).unwrap()
}

/// A key set's text.
pub fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn rsa_of(bits: usize) -> Signer {
    let mut random = rsa::rand_core::OsRng;
    let private = rsa::RsaPrivateKey::new(&mut random, bits).unwrap();
    let public = private.to_public_key();
    let pem = public.to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    let jwk = json!({"kty": "RSA", "n": text(&public.n().to_bytes_be()), "e": text(&public.e().to_bytes_be())});
    Signer {
        algorithm: Algorithm::RS256,
        key: EncodingKey::from_rsa_der(private.to_pkcs1_der().unwrap().as_bytes()),
        forms: vec![
            pem.trim_end().as_bytes().to_vec(),
            pem.into_bytes(),
            public.to_public_key_der().unwrap().as_bytes().to_vec(),
            public.to_pkcs1_der().unwrap().as_bytes().to_vec(),
            public.n().to_bytes_be(),
            jwk["n"].as_str().unwrap().as_bytes().to_vec(),
            jwk.to_string().into_bytes(),
        ],
        public: jwk,
    }
}

/// The same one for the same seed.
pub fn ec(seed: u8) -> Signer {
    let private = p256::SecretKey::from_slice(&[seed.max(1); 32]).unwrap();
    let point = p256::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(&private.public_key(), false);
    Signer {
        algorithm: Algorithm::ES256,
        key: EncodingKey::from_ec_der(private.to_pkcs8_der().unwrap().as_bytes()),
        forms: vec![point.as_bytes().to_vec()],
        public: json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
            "x": text(point.x().unwrap()), "y": text(point.y().unwrap())}),
    }
}

/// The same one for the same seed.
pub fn ed(seed: u8) -> Signer {
    let private = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let public = private.verifying_key().to_bytes();
    Signer {
        algorithm: Algorithm::EdDSA,
        key: EncodingKey::from_ed_der(private.to_pkcs8_der().unwrap().as_bytes()),
        forms: vec![public.to_vec()],
        public: json!({"kty": "OKP", "crv": "Ed25519", "x": text(&public)}),
    }
}
