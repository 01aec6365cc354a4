//! API keys as they are written: `ak_<id>_<secret>`. The secret is 256 random bits, so its plain hash is safe to keep.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use uuid::{Uuid, fmt::Simple};

use crate::config::Secret;

const PREFIX: &str = "ak_";
const SECRET_BYTES: usize = 32;

/// What a secret is recognised by.
pub type SecretHash = [u8; 32];

/// A key that a client presents.
#[derive(Clone, Copy)]
pub struct PresentedKey {
    pub key_id: Uuid,
    pub secret_sha256: SecretHash,
}

impl PresentedKey {
    /// Whether the text is meant to be a key of ours, good or not.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// None where the text is no key of ours.
    pub fn read(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_at_checked(Simple::LENGTH)?;
        let key_id = Uuid::try_parse(id).ok()?;
        let secret = URL_SAFE_NO_PAD.decode(secret.strip_prefix('_')?).ok()?;
        (secret.len() == SECRET_BYTES).then(|| Self { key_id, secret_sha256: Sha256::digest(&secret).into() })
    }
}

/// A key that was just made: its text is shown once and kept nowhere.
pub struct FreshKey {
    pub key_id: Uuid,
    pub text: Secret,
    pub secret_sha256: SecretHash,
}

#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

impl FreshKey {
    pub fn make() -> Result<Self, NoRandomness> {
        let mut secret = [0; SECRET_BYTES];
        OsRng.try_fill_bytes(&mut secret).map_err(|_| NoRandomness)?;
        let key_id = Uuid::now_v7();
        let text = Secret::new(format!("{PREFIX}{}_{}", key_id.simple(), URL_SAFE_NO_PAD.encode(secret)));
        Ok(Self { key_id, text, secret_sha256: Sha256::digest(secret).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_matches_its_own_hash() {
        let (one, other) = (FreshKey::make().unwrap(), FreshKey::make().unwrap());
        let shown = PresentedKey::read(one.text.expose()).unwrap();
        assert_eq!((shown.key_id, shown.secret_sha256), (one.key_id, one.secret_sha256));
        assert!(one.key_id != other.key_id && one.secret_sha256 != other.secret_sha256);
        assert_eq!(one.text.expose().len(), 3 + 32 + 1 + 43);
        assert!(!format!("{:?}", one.text).contains("ak_"));
    }

    #[test]
    fn anything_else_is_no_key() {
        let good = FreshKey::make().unwrap();
        let good = good.text.expose();
        let short = &good[..good.len() - 1];
        for text in [
            "",
            "ak_",
            "ak__",
            short,
            &good[1..],
            &format!("{good}A"),
            &good.replacen('_', "-", 2),
            "ak_é",
            &"é".repeat(40),
        ] {
            assert!(PresentedKey::read(text).is_none(), "{text}");
        }
    }
}
