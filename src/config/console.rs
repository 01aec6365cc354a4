//! The console: pages for people, on both ports.

use super::declare::section;

section! {
    pub struct Console in console {
        /// Whether both ports serve the console, at /console/.
        enabled: bool = true;
        /// The currency of costs, as ISO 4217 names it (USD), for the console alone. Empty: it shows cents of no currency.
        currency: String = "", must("be three capital letters or empty", of => is_currency(&of.currency));
    }
}

fn is_currency(text: &str) -> bool {
    text.is_empty() || (text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()))
}
