//! Links to objects of the local store, which the service itself serves: a key, until when, and a signature over both.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::key::is_key;
use crate::config::Secret;

/// Longest that a link may be good for, whatever its signature says.
const MAX_SECONDS: i64 = 7 * 86_400;

/// The link has expired or was not signed here. One response to both, so that a client cannot find out which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid, or not any more")]
pub struct InvalidLink;

/// Signs and checks. Clones share nothing that changes.
#[derive(Clone)]
pub(super) struct Links {
    secret: Secret,
    /// Accepted too where there is one, while the secret is being replaced.
    previous: Option<Secret>,
    /// Without a slash at its end.
    base: String,
}

impl Links {
    pub(super) fn new(secret: Secret, previous: Secret, public_url: &str) -> Self {
        let previous = (!previous.is_empty()).then_some(previous);
        Self { secret, previous, base: public_url.trim_end_matches('/').to_owned() }
    }

    /// The URL that gives access to the object until `expires`.
    pub(super) fn url(&self, key: &str, expires: DateTime<Utc>) -> Option<String> {
        let expires = expires.timestamp();
        let signature = URL_SAFE_NO_PAD.encode(mac(&self.secret, key, expires)?.finalize().into_bytes());
        // A key has no character that a URL would need encoded.
        Some(format!("{}/analytics/v1/downloads/{key}?expires={expires}&signature={signature}", self.base))
    }

    pub(super) fn verify(
        &self,
        key: &str,
        expires: i64,
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<(), InvalidLink> {
        let given = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidLink)?;
        // Takes as long for a first wrong byte as for a last one.
        let signed_by = |secret: &Secret| mac(secret, key, expires).is_some_and(|mac| mac.verify_slice(&given).is_ok());
        if !signed_by(&self.secret) && !self.previous.as_ref().is_some_and(signed_by) {
            return Err(InvalidLink);
        }
        let left = expires.saturating_sub(now.timestamp());
        if is_key(key) && (1..=MAX_SECONDS).contains(&left) { Ok(()) } else { Err(InvalidLink) }
    }
}

/// The text has the number of its form in front, so that another form's signatures are never good for this one.
fn mac(secret: &Secret, key: &str, expires: i64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(format!("download 1\n{expires}\n{key}").as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const KEY: &str = "analytics/exports/org/job.csv";

    fn links(secret: &str) -> Links {
        Links::new(Secret::new(secret), Secret::default(), "https://api.example.org/")
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    /// A link of ours, as a handler takes it apart.
    fn made(until: DateTime<Utc>) -> (i64, String) {
        let url = links("a secret of thirty-two bytes, yes").url(KEY, until).unwrap();
        let query = url.strip_prefix("https://api.example.org/analytics/v1/downloads/analytics/exports/org/job.csv?");
        let (expires, signature) = query.unwrap().split_once('&').unwrap();
        let expires = expires.strip_prefix("expires=").unwrap().parse().unwrap();
        (expires, signature.strip_prefix("signature=").unwrap().to_owned())
    }

    #[test]
    fn a_link_expires_and_is_for_one_object() {
        let links = links("a secret of thirty-two bytes, yes");
        let until = now() + TimeDelta::hours(24);
        let (expires, signature) = made(until);
        let verify = |at| links.verify(KEY, expires, &signature, at);
        assert_eq!(verify(now()), Ok(()));
        assert_eq!(verify(until - TimeDelta::seconds(1)), Ok(()));
        assert_eq!(verify(until), Err(InvalidLink));
        assert_eq!(verify(until + TimeDelta::days(400)), Err(InvalidLink));
    }

    #[test]
    fn nothing_of_a_link_can_be_changed() {
        let links = links("a secret of thirty-two bytes, yes");
        let (expires, signature) = made(now() + TimeDelta::hours(24));
        assert_eq!(links.verify(KEY, expires + 1, &signature, now()), Err(InvalidLink), "later");
        for key in
            ["analytics/exports/org/job.cs", "analytics/exports/org2/job.csv", "analytics/exports/org/JOB.csv", ""]
        {
            assert_eq!(links.verify(key, expires, &signature, now()), Err(InvalidLink), "{key}");
        }
        for at in 0..signature.len() {
            let mut changed = signature.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(links.verify(KEY, expires, &changed, now()), Err(InvalidLink), "character {at}");
        }
        for wrong in ["", &signature[1..], &format!("{signature}A"), "ä", "===="] {
            assert_eq!(links.verify(KEY, expires, wrong, now()), Err(InvalidLink), "{wrong}");
        }
        let other = self::links("another secret of thirty-two bytes");
        assert_eq!(other.verify(KEY, expires, &signature, now()), Err(InvalidLink), "another secret");
    }

    #[test]
    fn links_of_the_previous_secret_stay_good() {
        let (expires, signature) = made(now() + TimeDelta::hours(24));
        let replaced = Links::new(
            Secret::new("another secret of thirty-two bytes"),
            Secret::new("a secret of thirty-two bytes, yes"),
            "",
        );
        assert_eq!(replaced.verify(KEY, expires, &signature, now()), Ok(()));
        assert_eq!(replaced.verify(KEY, expires + 1, &signature, now()), Err(InvalidLink));
        let url = replaced.url(KEY, now() + TimeDelta::hours(24)).unwrap();
        assert!(!url.contains(&signature), "it signs with its own");
    }

    #[test]
    fn a_signature_validates_no_wrong_key() {
        let links = links("a secret of thirty-two bytes, yes");
        let signed = |key: &str, expires| {
            URL_SAFE_NO_PAD.encode(mac(&links.secret, key, expires).unwrap().finalize().into_bytes())
        };
        let soon = now().timestamp() + 60;
        let path = "../../etc/passwd";
        assert_eq!(links.verify(path, soon, &signed(path, soon), now()), Err(InvalidLink));
        let never = i64::MAX;
        assert_eq!(links.verify(KEY, never, &signed(KEY, never), now()), Err(InvalidLink));
        assert_eq!(links.verify(KEY, soon, &signed(KEY, soon), now()), Ok(()));
    }
}
