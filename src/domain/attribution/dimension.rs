//! Dimensions of attribution, and the values that they have.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use sha2::{Digest, Sha256};

/// Characters of a value as it is kept; a longer one is shortened to them and to a hash of all of it.
pub const MAX_NAME_CHARS: usize = 200;
/// Of a value that is shortened: its first characters, and bytes of its hash.
const HEAD_CHARS: usize = 180;
const HASH_BYTES: usize = 8;

/// A field of events that usage can be grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Model,
    Client,
    /// The person or service that called.
    Actor,
    Status,
    ErrorCode,
    /// A field of the metadata, by its name, which may hold any character.
    Meta(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be modelId, clientId, actorId, status, errorCode, or meta. and the name of a field of the metadata of at most {MAX_NAME_CHARS} characters"
)]
pub struct UnknownDimension;

impl Dimension {
    /// All but fields of the metadata.
    pub const FIELDS: [Self; 5] = [Self::Model, Self::Client, Self::Actor, Self::Status, Self::ErrorCode];
    /// What the name of a field of the metadata begins with.
    pub const META: &str = "meta.";

    /// As the API, the settings and the database name it; of the metadata with the field's name.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Model => "modelId".into(),
            Self::Client => "clientId".into(),
            Self::Actor => "actorId".into(),
            Self::Status => "status".into(),
            Self::ErrorCode => "errorCode".into(),
            Self::Meta(field) => format!("{}{field}", Self::META).into(),
        }
    }

    /// Whether people may give names to its values.
    pub const fn is_nameable(&self) -> bool {
        !matches!(self, Self::Status | Self::ErrorCode)
    }

    /// Whether an event beyond the cap keeps its value: there are few of them.
    pub const fn outlives_the_cap(&self) -> bool {
        matches!(self, Self::Model | Self::Status)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(name: &str) -> Result<Self, UnknownDimension> {
        if let Some(field) = Self::FIELDS.into_iter().find(|field| field.name() == name) {
            return Ok(field);
        }
        match name.strip_prefix(Self::META) {
            Some(field) if !field.is_empty() && field.chars().count() <= MAX_NAME_CHARS => Ok(Self::Meta(field.into())),
            _ => Err(UnknownDimension),
        }
    }
}

/// What events of a group have in a dimension. Texts of ids are lower case and hyphenated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Named(Arc<str>),
    /// The events do not have the field.
    Missing,
    /// Beyond the cap, or erased: the sums are exact, the name is lost.
    Lost,
}

impl Value {
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Missing | Self::Lost => None,
        }
    }
}

/// A value as it is kept. Different ones stay different.
pub fn kept(value: &str) -> Cow<'_, str> {
    // Bytes are at least as many as characters.
    if value.len() <= MAX_NAME_CHARS || value.chars().count() <= MAX_NAME_CHARS {
        return value.into();
    }
    let head: String = value.chars().take(HEAD_CHARS).collect();
    let hash: String = Sha256::digest(value).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{head}…{hash}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_is_read_as_it_is_written() {
        for name in
            ["modelId", "clientId", "actorId", "status", "errorCode", "meta.team", "meta.a.\"b\".🦀", "meta.meta."]
        {
            assert_eq!(name.parse::<Dimension>().unwrap().to_string(), name);
        }
        for name in ["", "model", "meta", "meta.", "MODELID", &format!("meta.{}", "x".repeat(201))] {
            assert_eq!(name.parse::<Dimension>(), Err(UnknownDimension), "{name}");
        }
    }

    #[test]
    fn long_values_that_differ_stay_different() {
        let long = |end: &str| format!("{}{end}", "é".repeat(8000));
        let (one, other) = (long("1"), long("2"));
        let (one, other) = (kept(&one), kept(&other));
        assert_ne!(one, other);
        assert!(one.starts_with(&"é".repeat(180)) && one.chars().nth(180) == Some('…'));
        assert_eq!(one.chars().count(), 197);
        let most = "é".repeat(200);
        assert_eq!(kept(&most), most);
        assert_eq!(kept(&one), one, "what is kept is kept as it is");
    }
}
