//! Why a request to an actor got no response: what all that serve HTTP have in common.

use crate::domain::floor::Gone;

/// What the caller gets in place of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("too many queries at once")]
    Busy,
    #[error("the database does not answer")]
    Unavailable,
    #[error("the answer took too long")]
    TooSlow,
    #[error("the answer is too large")]
    TooLarge,
    #[error("{} are kept from {} on", .0.what.as_str(), .0.start)]
    Gone(Gone),
    #[error("the database answered what cannot be")]
    Broken,
}
