//! Texts that must not be printed.

use std::fmt;

use serde::Deserialize;

/// A text that must not be printed: a secret, or a URL that holds one.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the one place that needs it, never for a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Empty, or of as many bytes as the hash has that it is for, SHA-256 (RFC 7518, section 3.2).
    pub(super) fn is_long_enough(&self) -> bool {
        self.0.is_empty() || self.0.len() >= 32
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(unset)" } else { "(hidden)" })
    }
}
