//! Who may call, and how often.

use std::{path::PathBuf, time::Duration};

use super::{Secret, check::has_scheme, declare::section};

section! {
    #[derive(Default)]
    pub struct Auth in auth {
        /// Secret of HS256 bearer tokens. Empty: none are accepted. Never logged.
        hs256_secret: Secret = "", must("have at least 32 bytes", of => of.hs256_secret.is_long_enough());
        /// A second secret whose tokens are accepted too, while hs256_secret is being replaced. Nothing is signed with it. Never logged.
        hs256_previous_secret: Secret = "",
            must("have at least 32 bytes, and be empty unless auth.hs256_secret is set",
                of => of.hs256_previous_secret.is_long_enough() && (of.hs256_previous_secret.is_empty() || !of.hs256_secret.is_empty()));
        /// Where the public keys of an issuer's tokens are read, a JSON Web Key Set: a URL, or a file, or neither. RSA keys of 2048
        /// to 4096 bits (RS256), P-256 (ES256) and Ed25519 (EdDSA) are used, others ignored. A token that names a key by `kid` is
        /// checked by that key; one that names none by the secret, or without a secret by the set's only key. A URL may hold a
        /// password: never logged.
        jwks_url: Secret = "",
            must("be an https:// URL (http:// only with auth.jwks_allow_http) or empty", of => of.jwks_url.is_empty() || of.is_allowed(of.jwks_url.expose()));
        /// The key set's file.
        jwks_file: PathBuf = "",
            must("be empty where auth.jwks_url is set", of => of.jwks_url.is_empty() || of.jwks_file.as_os_str().is_empty());
        /// Whether jwks_url may be http://: an attacker who can change the response on its way can then sign tokens of anybody.
        jwks_allow_http: bool = false;
        /// How often the URL is read, seconds. A file is read when it changes. A token that names an unknown key has the source
        /// read at once, at most every 10 seconds.
        jwks_refresh_seconds: u64 = 300, from(1..=86_400);
        /// How long keys are used whose source cannot be read any more, seconds.
        jwks_stale_seconds: u64 = 86400,
            within("jwks_refresh_seconds to 2_592_000", of => of.jwks_refresh_seconds..=2_592_000);
        /// The issuer that a token has to name.
        issuer: String = "analytics-platform", must("not be empty", of => !of.issuer.is_empty());
        /// The audience that a token has to name.
        audience: String = "analytics-service", must("not be empty", of => !of.audience.is_empty());
        /// Tolerated difference of clocks when a token's times are checked, seconds.
        leeway_seconds: u64 = 30, from(0..=300);
        /// How long what the database said of an API key counts, seconds. A key that is revoked in another process works for so
        /// long here.
        api_key_cache_seconds: u64 = 10, from(1..=300);
        /// API keys of one org that are neither revoked nor expired. One more is 409.
        api_keys_per_org: u32 = 200, from(1..=100_000);
    }
}

impl Auth {
    pub fn api_key_cache(&self) -> Duration {
        Duration::from_secs(self.api_key_cache_seconds)
    }

    pub fn has_key_set(&self) -> bool {
        !self.jwks_url.is_empty() || !self.jwks_file.as_os_str().is_empty()
    }

    pub fn jwks_refresh(&self) -> Duration {
        Duration::from_secs(self.jwks_refresh_seconds)
    }

    pub fn jwks_stale(&self) -> Duration {
        Duration::from_secs(self.jwks_stale_seconds)
    }

    fn is_allowed(&self, url: &str) -> bool {
        has_scheme(url, if self.jwks_allow_http { &["https", "http"] } else { &["https"] })
    }
}

section! {
    #[derive(Copy)]
    pub struct RateLimit in rate_limit {
        /// Requests about one org, by all clients together, that one process accepts each second, on average. One more is 429 with
        /// Retry-After. 0 a second: no limit.
        org_per_second: u32 = 100, from(0..=1_000_000);
        /// Requests about one org that are accepted at once after a pause.
        org_burst: u32 = 200, from(1..=1_000_000);
        /// Requests by each credential, about any org; 0 a second: no limit.
        credential_per_second: u32 = 50, from(0..=1_000_000);
        /// Those by one credential that are accepted at once after a pause.
        credential_burst: u32 = 100, from(1..=1_000_000);
        /// Requests without a good credential, by address (or IPv6 network of 64 bits; where trusted_proxies name it, the
        /// client's); 0 a second: no limit. One more is 429; a good credential is accepted all the same, an API key only where it
        /// was used lately.
        refused_per_second: u32 = 5, from(0..=1_000_000);
        /// Those of one address that are accepted at once after a pause.
        refused_burst: u32 = 100, from(1..=1_000_000);
    }
}

/// So many requests a second on average, and so many at once; none a second: as many as come.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl RateLimit {
    pub fn org(&self) -> Rate {
        Rate { per_second: self.org_per_second, burst: self.org_burst }
    }

    pub fn credential(&self) -> Rate {
        Rate { per_second: self.credential_per_second, burst: self.credential_burst }
    }

    /// Of credentials that are not accepted, by address.
    pub fn refused(&self) -> Rate {
        Rate { per_second: self.refused_per_second, burst: self.refused_burst }
    }
}
