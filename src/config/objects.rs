//! Where exports are kept.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Secret, check::Problems};

/// Shortest secret that links are signed with: as many bytes as the hash has.
const MIN_SECRET_BYTES: usize = 32;
/// Further attempts at a request that failed by the store's or the network's trouble. Few: the caller that needs the object has
/// attempts of its own, with longer pauses.
pub const RETRIES: u32 = 2;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ObjectStoreKind {
    /// A folder of this machine.
    Local,
    /// S3, or what speaks its protocol.
    S3,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Nothing is asked of the store.
    None,
    /// By keys of the store's own.
    SseS3,
    /// By a key of the key management service.
    SseKms,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    pub store: ObjectStoreKind,
    pub allow_unencrypted: bool,
    pub directory: PathBuf,
    pub link_secret: Secret,
    pub public_url: String,
    pub bucket: String,
    /// Separated by commas, beside `bucket`.
    pub allowed_buckets: String,
    pub endpoint: String,
    pub region: String,
    pub path_style: bool,
    pub allow_http: bool,
    pub encryption: Encryption,
    pub kms_key_id: String,
    pub part_bytes: usize,
    pub timeout_ms: u64,
}

impl Objects {
    /// All buckets that may be used, `bucket` first, each once.
    pub fn buckets(&self) -> Vec<&str> {
        let mut buckets = Vec::new();
        for bucket in std::iter::once(self.bucket.as_str()).chain(self.allowed_buckets.split(',')).map(str::trim) {
            if !bucket.is_empty() && !buckets.contains(&bucket) {
                buckets.push(bucket);
            }
        }
        buckets
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Longest that one call may take, with its attempts and the pauses between them, before it is an error. Reading
    /// takes longer where there is more to read.
    pub fn longest_call(&self) -> Duration {
        (self.timeout() + Duration::from_secs(1)) * (RETRIES + 1)
    }

    pub(super) fn problems(&self, found: &mut Problems) {
        let (local, s3) = (self.store == ObjectStoreKind::Local, self.store == ObjectStoreKind::S3);
        found.holds("objects.directory", !local || !self.directory.as_os_str().is_empty(), "be a folder");
        let secret = self.link_secret.expose();
        found.holds(
            "objects.link_secret",
            secret.is_empty() || secret.len() >= MIN_SECRET_BYTES,
            "have at least 32 bytes",
        );
        found.holds("objects.public_url", is_base(&self.public_url, true), "be an http:// or https:// URL");
        found.holds(
            "objects.bucket",
            !s3 || is_bucket(&self.bucket),
            "be the name of a bucket where objects.store is s3",
        );
        found.holds(
            "objects.allowed_buckets",
            self.buckets().into_iter().all(|bucket| bucket == self.bucket || is_bucket(bucket)),
            "be names of buckets, separated by commas",
        );
        found.holds(
            "objects.endpoint",
            self.endpoint.is_empty() || is_base(&self.endpoint, self.allow_http),
            "be an https:// URL (http:// only with objects.allow_http) or empty",
        );
        found.holds(
            "objects.kms_key_id",
            self.kms_key_id.is_empty() || self.encryption == Encryption::SseKms,
            "be empty unless objects.encryption is sse-kms",
        );
        // What S3 takes as a part; with 10,000 parts of the least, an object has 48 GiB at most.
        found.range("objects.part_bytes", self.part_bytes, 5 << 20..=64 << 20);
        found.range("objects.timeout_ms", self.timeout_ms, 100..=600_000);
    }
}

/// A scheme and a host, perhaps with a port and a path; nothing that would have a meaning of its own behind them.
fn is_base(url: &str, allow_http: bool) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://").filter(|_| allow_http));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]/".contains(&b))
    })
}

/// As S3 names buckets.
fn is_bucket(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.contains("..")
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigError, Settings};

    fn with(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let named = pairs.iter().map(|(k, v)| (format!("ANALYTICS__OBJECTS__{k}"), (*v).to_owned()));
        Settings::from_variables(named.collect())
    }

    #[test]
    fn a_store_needs_what_it_is_reached_by() {
        assert!(with(&[("STORE", "s3"), ("BUCKET", "exports")]).is_ok());
        for (pairs, setting) in [
            (&[("STORE", "s3")][..], "objects.bucket must be"),
            (&[("STORE", "s3"), ("BUCKET", "Exports")], "objects.bucket must be"),
            (&[("STORE", "ftp")], "objects.store"),
            (&[("DIRECTORY", "")], "objects.directory must be a folder"),
            (&[("ALLOWED_BUCKETS", "good-one,../bad")], "objects.allowed_buckets must be"),
            (&[("LINK_SECRET", "short")], "objects.link_secret must have at least 32 bytes"),
            (&[("PUBLIC_URL", "javascript:alert(1)")], "objects.public_url must be"),
            (&[("ENDPOINT", "http://minio:9000")], "objects.endpoint must be"),
            (&[("ENDPOINT", "https://user:secret@minio")], "objects.endpoint must be"),
            (&[("KMS_KEY_ID", "alias/exports")], "objects.kms_key_id must be empty"),
            (&[("ENCRYPTION", "rot13")], "objects.encryption"),
            (&[("PART_BYTES", "5242879")], "objects.part_bytes must be from 5242880 to"),
            (&[("TIMEOUT_MS", "1")], "objects.timeout_ms must be from 100"),
        ] {
            let error = with(pairs).unwrap_err().to_string();
            assert!(error.contains(setting) && !error.contains("secret@"), "{error}");
        }
        assert!(with(&[("ENDPOINT", "http://minio:9000"), ("ALLOW_HTTP", "true")]).is_ok());
    }

    #[test]
    fn the_buckets_are_the_own_and_the_allowed_each_once() {
        let settings = with(&[("BUCKET", "exports"), ("ALLOWED_BUCKETS", " tenant-a,exports, ,tenant-b")]).unwrap();
        assert_eq!(settings.objects.buckets(), ["exports", "tenant-a", "tenant-b"]);
    }
}
