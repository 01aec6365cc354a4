//! Secrets of the console: what a cookie or a link has, and the hash by which it is recognised. Of 256 random bits, so that its
//! plain hash is safe to keep.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};

use super::{NoRandomness, SecretHash};
use crate::config::Secret;

const SECRET_BYTES: usize = 32;

/// A new one: its text is given to one browser and kept nowhere.
pub struct FreshSecret {
    pub text: Secret,
    pub sha256: SecretHash,
}

impl FreshSecret {
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut secret = [0; SECRET_BYTES];
        OsRng.try_fill_bytes(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self { text: Secret::new(URL_SAFE_NO_PAD.encode(secret)), sha256: Sha256::digest(secret).into() })
    }
}

/// The hash of one that is presented. None where the text is none of ours.
pub fn hash_of(text: &str) -> Option<SecretHash> {
    let secret = URL_SAFE_NO_PAD.decode(text).ok()?;
    (secret.len() == SECRET_BYTES).then(|| Sha256::digest(&secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_secret_matches_its_own_hash() {
        let (one, other) = (FreshSecret::generate().unwrap(), FreshSecret::generate().unwrap());
        assert_eq!(hash_of(one.text.expose()), Some(one.sha256));
        assert_ne!(one.sha256, other.sha256);
        assert_eq!(one.text.expose().len(), 43);
    }

    #[test]
    fn anything_else_is_no_secret() {
        let good = FreshSecret::generate().unwrap();
        let good = good.text.expose();
        for text in ["", "A", &good[1..], &format!("{good}="), &format!("{good}A"), &"é".repeat(43), &"A".repeat(4096)]
        {
            assert_eq!(hash_of(text), None, "{text}");
        }
    }
}
