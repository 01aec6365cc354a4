//! Metadata of an event, in the form in which it is stored.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

/// Strings by name: compact JSON with the names in order, so that the same content is the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(Box<str>);

impl Metadata {
    /// As it is stored.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Values by their names.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        // It was written from such pairs.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Of text that is in this form already.
    pub(super) fn from_compact(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&BTreeMap<String, String>> for Metadata {
    fn from(pairs: &BTreeMap<String, String>) -> Self {
        // Writing strings to memory cannot fail.
        Self(serde_json::to_string(pairs).unwrap_or_default().into())
    }
}

impl<const N: usize> From<[(String, String); N]> for Metadata {
    fn from(pairs: [(String, String); N]) -> Self {
        Self::from(&BTreeMap::from(pairs))
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}
