//! Why a request to an actor got no response: what all that serve HTTP have in common.
//!
//! Whatever a layer below says becomes a [`QueryError`] here: what the caller may know. The cause is for the log alone. What the client
//! sees of it is `http::error`'s.

use std::error::Error;

use crate::{
    actors::export_generator::error::GenerateError,
    domain::floor::Gone,
    objects::ObjectError,
    store::{StoreError, read::ReadError},
    telemetry::log::in_full,
};

/// What the caller gets in place of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("too many queries at once")]
    Busy,
    #[error("the database does not respond")]
    Unavailable,
    #[error("the response took too long")]
    TooSlow,
    #[error("the response is too large")]
    TooLarge,
    #[error("{} are kept from {} on", .0.what.as_str(), .0.start)]
    Gone(Gone),
    #[error("the database lacks what the query needs")]
    Lacks,
    #[error("the database returned what cannot be")]
    Broken,
}

/// Logs what could not be done, and why, unless that is the request itself.
pub fn refuse<'e, E: Error + 'static>(error: &'e E, what: &str) -> QueryError
where
    QueryError: From<&'e E>,
{
    let refusal = QueryError::from(error);
    if !matches!(refusal, QueryError::TooLarge | QueryError::Gone(_)) {
        tracing::warn!(error = %in_full(error), "{what}");
    }
    refusal
}

impl From<&StoreError> for QueryError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Lacks(_) => Self::Lacks,
            error if error.is_transient() => Self::Unavailable,
            _ => Self::Broken,
        }
    }
}

impl From<&ReadError> for QueryError {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::TooSlow => Self::TooSlow,
            ReadError::TooLarge => Self::TooLarge,
            ReadError::Gone(gone) => Self::Gone(*gone),
            ReadError::Store(error) => error.into(),
        }
    }
}

/// A file that cannot be read now: whatever the store says, it may be there later.
impl From<&ObjectError> for QueryError {
    fn from(_: &ObjectError) -> Self {
        Self::Unavailable
    }
}

impl From<&GenerateError> for QueryError {
    fn from(error: &GenerateError) -> Self {
        match error {
            GenerateError::Store(error) => error.into(),
            GenerateError::TooSlow => Self::TooSlow,
            error if error.may_pass() => Self::Unavailable,
            _ => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cause_is_not_disclosed() {
        let secret = StoreError::Permanent("10.0.0.7 refused".into());
        assert_eq!(refuse(&secret, "a query").to_string(), "the database returned what cannot be");
        let lacks = refuse(&StoreError::Lacks("relation analytics.usage_events".into()), "a query").to_string();
        assert!(!lacks.contains("usage_events"), "{lacks}");
    }

    #[test]
    fn an_error_is_the_same_by_every_way() {
        for (error, refusal) in [
            ((|| StoreError::Timeout(Duration::ZERO)) as fn() -> StoreError, QueryError::Unavailable),
            (|| StoreError::Lacks(String::new()), QueryError::Lacks),
            (|| StoreError::Permanent(String::new()), QueryError::Broken),
            (|| StoreError::Unfit(String::new()), QueryError::Broken),
        ] {
            assert_eq!(QueryError::from(&error()), refusal);
            assert_eq!(QueryError::from(&ReadError::Store(error())), refusal);
            assert_eq!(QueryError::from(&GenerateError::Store(error())), refusal);
        }
    }

    #[test]
    fn a_file_that_may_come_is_unavailable() {
        let denied = || ObjectError::Permanent("access denied".into());
        assert_eq!(QueryError::from(&denied()), QueryError::Unavailable);
        assert_eq!(QueryError::from(&GenerateError::Object(denied())), QueryError::Broken);
        assert_eq!(QueryError::from(&GenerateError::Object(ObjectError::Exists)), QueryError::Unavailable);
    }
}
