//! Packed forms: the first byte is the version of the form, since rows outlive the build that wrote them.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// Packed bytes that cannot be read, or a value that cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct PackedError {
    what: &'static str,
    why: String,
}

/// A form in one version.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What is packed, for errors.
    pub what: &'static str,
    pub version: u8,
}

impl Form {
    /// The bytes behind the version.
    pub fn body<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8], PackedError> {
        match bytes.split_first() {
            Some((version, body)) if *version == self.version => Ok(body),
            Some((version, _)) => Err(self.error(format_args!("version {version} is not known here"))),
            None => Err(self.error("it is empty")),
        }
    }

    pub fn unpack<'b, T: Deserialize<'b>>(&self, bytes: &'b [u8]) -> Result<T, PackedError> {
        postcard::from_bytes(self.body(bytes)?).map_err(|error| self.error(error))
    }

    /// Reads one value, and returns what is behind it.
    pub fn take<'b, T: Deserialize<'b>>(&self, bytes: &'b [u8]) -> Result<(T, &'b [u8]), PackedError> {
        postcard::take_from_bytes(bytes).map_err(|error| self.error(error))
    }

    pub fn pack(&self, value: &impl Serialize) -> Result<Vec<u8>, PackedError> {
        self.extend(self.empty(), value)
    }

    /// What all packed bytes begin with.
    pub fn empty(&self) -> Vec<u8> {
        vec![self.version]
    }

    /// Packs a value behind others.
    pub fn extend(&self, bytes: Vec<u8>, value: &impl Serialize) -> Result<Vec<u8>, PackedError> {
        postcard::to_extend(value, bytes).map_err(|error| self.error(error))
    }

    pub fn error(&self, why: impl Display) -> PackedError {
        PackedError { what: self.what, why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form { what: "a sum", version: 3 };

    #[test]
    fn an_error_says_what_is_packed_and_why_not() {
        let packed = FORM.pack(&(7_u32, "a")).unwrap();
        assert_eq!(FORM.unpack::<(u32, &str)>(&packed), Ok((7, "a")));
        let text = |bytes: &[u8]| FORM.unpack::<(u32, &str)>(bytes).unwrap_err().to_string();
        assert_eq!(text(&[]), "a sum: it is empty");
        assert_eq!(text(&[4, 7]), "a sum: version 4 is not known here");
        assert!(text(&packed[..2]).starts_with("a sum: "));
    }
}
