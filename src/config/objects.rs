//! Where exports are kept.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Secret, declare::section, one_of};

/// Further attempts at a request that failed by the store's or the network's trouble. Few: the caller that needs the object has
/// attempts of its own, with longer pauses.
pub const RETRIES: u32 = 2;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum ObjectStoreKind {
    /// A folder of this machine.
    Local,
    /// S3, or what speaks its protocol.
    S3,
}

impl TryFrom<String> for ObjectStoreKind {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        one_of(&word, &[("local", Self::Local), ("s3", Self::S3)])
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum Encryption {
    /// Nothing is requested of the store.
    None,
    /// By keys of the store's own.
    SseS3,
    /// By a key of the key management service.
    SseKms,
}

impl TryFrom<String> for Encryption {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        one_of(&word, &[("none", Self::None), ("sse-s3", Self::SseS3), ("sse-kms", Self::SseKms)])
    }
}

section! {
    pub struct Objects in objects {
        /// Where exports are kept: local (a folder) or s3 (S3, or what speaks its protocol). Credentials of S3 come from the usual
        /// places, not from here: see docs/install.md.
        store: ObjectStoreKind = "local";
        /// Whether a store may be used that is not known to encrypt what it keeps: a local folder, whose encryption is its disk's, or
        /// s3 with encryption = "none". Without it such a store is an error where exports are generated.
        allow_unencrypted: bool = false;
        /// local: the folder. Created where it does not exist.
        directory: PathBuf = "exports", must("be a folder", of => !of.is(ObjectStoreKind::Local) || !of.directory.as_os_str().is_empty());
        /// local: signs the links that the service itself serves. The same in all processes. Never logged.
        link_secret: Secret = "", must("have at least 32 bytes", of => of.link_secret.is_long_enough());
        /// local: a second secret whose links are accepted too, while link_secret is being replaced. Nothing is signed with it. Never
        /// logged.
        link_previous_secret: Secret = "", must("have at least 32 bytes", of => of.link_previous_secret.is_long_enough());
        /// local: what these links begin with, as clients that download reach the API.
        public_url: String = "http://127.0.0.1:8080", must("be an http:// or https:// URL", of => is_base(&of.public_url, true));
        /// s3: the bucket.
        bucket: String = "", must("be the name of a bucket where objects.store is s3", of => !of.is(ObjectStoreKind::S3) || is_bucket(&of.bucket));
        /// s3: further buckets that may be requested instead.
        allowed_buckets: String = "",
            must("be names of buckets, separated by commas", of => of.buckets().into_iter().all(|bucket| bucket == of.bucket || is_bucket(bucket)));
        /// s3: a compatible server; clients that download have to reach it too. Empty: that of AWS for the region.
        endpoint: String = "",
            must("be an https:// URL (http:// only with objects.allow_http) or empty", of => of.endpoint.is_empty() || is_base(&of.endpoint, of.allow_http));
        /// s3: the region. Empty: the environment's AWS_REGION, else us-east-1.
        region: String = "";
        /// s3: whether buckets are named in the path and not in the host's name.
        path_style: bool = false;
        /// s3: whether the endpoint may be http://: objects and links then go over the network in the open.
        allow_http: bool = false;
        /// s3: the encryption of objects that is requested of the store: none, sse-s3 (keys of its own) or sse-kms (a key of its key
        /// management service).
        encryption: Encryption = "sse-s3";
        /// s3: the key, or with sse-kms the store's default one where it is empty.
        kms_key_id: String = "",
            must("be empty unless objects.encryption is sse-kms", of => of.kms_key_id.is_empty() || of.encryption == Encryption::SseKms);
        /// Bytes of one part of a large upload. Each upload holds two in memory; an object has 10000 parts at most.
        part_bytes: usize = 8_388_608, from(5_242_880..=67_108_864);
        /// Longest wait for a response to one request, milliseconds. A request is attempted three times at most.
        timeout_ms: u64 = 30000, from(100..=600_000);
    }
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

    fn is(&self, store: ObjectStoreKind) -> bool {
        self.store == store
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
            (&[("LINK_PREVIOUS_SECRET", "short")], "objects.link_previous_secret must have at least 32 bytes"),
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
    fn the_buckets_are_listed_once_each() {
        let settings = with(&[("BUCKET", "exports"), ("ALLOWED_BUCKETS", " tenant-a,exports, ,tenant-b")]).unwrap();
        assert_eq!(settings.objects.buckets(), ["exports", "tenant-a", "tenant-b"]);
    }
}
