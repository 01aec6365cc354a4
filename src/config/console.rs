//! The console: pages for people, on both ports.

use std::time::Duration;

use super::declare::section;

section! {
    pub struct Console in console {
        /// Whether both ports serve the console, at /console/.
        enabled: bool = true;
        /// Longest time without use before somebody is signed out, seconds. What open pages request by themselves is no use.
        idle_timeout_seconds: u64 = 1800, from(60..=604_800);
        /// Longest time that somebody stays signed in, seconds. A token or an API key that expires sooner ends it sooner.
        session_timeout_seconds: u64 = 43200, within("idle_timeout_seconds to 2_592_000", of => of.idle_timeout_seconds..=2_592_000);
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
}

fn is_currency(text: &str) -> bool {
    text.is_empty() || (text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()))
}
