//! Why a file is not generated, and whether another attempt may be.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    domain::attribution::NoSet,
    objects::ObjectError,
    store::{
        StoreError,
        exports::groups::BeginError,
        read::{MAX_ROWS, ReadError},
    },
};

/// Why there is no file. Its text is for the caller: what of it is for the log alone is its source.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("what it is made of is kept from {} on: request a later start", .0.to_rfc3339_opts(SecondsFormat::AutoSi, true))]
    Gone(DateTime<Utc>),
    #[error("reading took longer than exports.statement_timeout_ms")]
    TooSlow,
    #[error(
        "a bucket has more groups than a file can have, {MAX_ROWS}: request fewer dimensions, fewer models, or shorter buckets"
    )]
    TooManyGroups,
    #[error("{0}")]
    NoSet(NoSet),
    #[error("{}", of_the_database(.0))]
    Store(#[from] StoreError),
    #[error("the file cannot be written")]
    Written(#[from] std::io::Error),
    #[error("its versions in the object store do not end")]
    Strays,
    #[error("the job is another's")]
    Lost,
    #[error("it is not wanted any more")]
    Cancelled,
}

fn of_the_database(error: &StoreError) -> &'static str {
    match error {
        error if error.is_transient() => "the database does not respond",
        StoreError::Lacks(_) => "the database lacks what a file needs",
        _ => "the database has what cannot be",
    }
}

impl GenerateError {
    /// Whether another attempt may come off.
    pub fn may_pass(&self) -> bool {
        match self {
            // Exists: what an earlier attempt had sent has come late. The next one clears it away.
            Self::Object(error) => error.is_transient() || matches!(error, ObjectError::Exists),
            Self::Store(error) => error.is_transient(),
            Self::TooSlow => true,
            Self::Gone(_) | Self::TooManyGroups | Self::NoSet(_) => false,
            Self::Written(_) | Self::Strays | Self::Lost | Self::Cancelled => false,
        }
    }
}

impl From<ReadError> for GenerateError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone(gone) => Self::Gone(gone.start),
            ReadError::TooSlow => Self::TooSlow,
            ReadError::Store(error) => error.into(),
            // Rows by model are streamed: only groups are too many.
            ReadError::TooLarge => Self::TooManyGroups,
        }
    }
}

impl From<BeginError> for GenerateError {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Read(error) => error.into(),
            BeginError::NoSet(no_set) => Self::NoSet(no_set),
        }
    }
}
