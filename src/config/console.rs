//! The console: pages for people, on both ports.

use std::time::Duration;

use super::{Secret, check::has_scheme, declare::section, http::is_origin};

section! {
    pub struct Console in console {
        /// Whether both ports serve the console, at /console/.
        enabled: bool = true;
        /// Longest time without use before somebody is signed out, seconds. What open pages request by themselves is no use.
        idle_timeout_seconds: u64 = 1800, from(60..=604_800);
        /// Longest time that somebody stays signed in, seconds. A token or an API key that expires sooner ends it sooner.
        session_timeout_seconds: u64 = 43200, within("idle_timeout_seconds to 2_592_000", of => of.idle_timeout_seconds..=2_592_000);
        /// Where browsers find the console of the API's port: a scheme and a host, such as https://analytics.example.org. Empty: at
        /// http.address. An issuer sends browsers back to /console/sign-in/callback below it, and links to the console lead there.
        public_url: String = "", must("be an origin such as https://analytics.example.org, or empty", of => is_base(&of.public_url));
        /// The same of the operations port.
        operations_url: String = "", must("be an origin such as https://operations.example.org, or empty", of => is_base(&of.operations_url));
        /// The issuer that people sign in by (OpenID Connect's code flow with PKCE): its URL, below which it publishes
        /// .well-known/openid-configuration. Empty: none. Its ID tokens need the claims of tokens, org_ids and roles.
        oidc_issuer: String = "",
            must("be an https:// URL (http:// only with console.oidc_allow_http) or empty, and need console.oidc_client_id", of => of.has_usable_issuer());
        /// What people call it, on the page where they sign in. Empty: its host.
        oidc_name: String = "";
        /// What the issuer knows this service as.
        oidc_client_id: String = "";
        /// The client's secret; empty for a client that has none. Never logged.
        oidc_client_secret: Secret = "";
        /// What is requested of it, separated by spaces; openid among it.
        oidc_scopes: String = "openid", must("have openid among them", of => of.oidc_scopes.split(' ').any(|scope| scope == "openid"));
        /// Whether the issuer may be http://: an attacker on the way to it can then sign in as anybody.
        oidc_allow_http: bool = false;
        /// The currency of costs, as ISO 4217 names it (USD), for the console alone. Empty: it shows cents of no currency.
        currency: String = "", must("be three capital letters or empty", of => is_currency(&of.currency));
    }
}

impl Console {
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }

    pub fn session_timeout(&self) -> Duration {
        Duration::from_secs(self.session_timeout_seconds)
    }

    fn has_usable_issuer(&self) -> bool {
        let schemes: &[&str] = if self.oidc_allow_http { &["https", "http"] } else { &["https"] };
        self.oidc_issuer.is_empty() || (has_scheme(&self.oidc_issuer, schemes) && !self.oidc_client_id.is_empty())
    }

    /// The issuer as people know it; none: there is none.
    pub fn issuer_name(&self) -> Option<&str> {
        let host = self.oidc_issuer.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest))?;
        Some(if self.oidc_name.is_empty() { host } else { &self.oidc_name })
    }
}

/// Empty, or an origin that paths can be put behind.
fn is_base(text: &str) -> bool {
    text.is_empty() || is_origin(text)
}

fn is_currency(text: &str) -> bool {
    text.is_empty() || (text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()))
}
