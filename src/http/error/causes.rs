//! What the client sees of an actor's error.

use actix::MailboxError;
use chrono::SecondsFormat;

use super::Problem;
use crate::{
    actors::serving::error::QueryError,
    domain::floor::{Gone, Missing},
};

/// The actor is too slow, or gone.
impl From<MailboxError> for Problem {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Timeout => Self::TooSlow,
            MailboxError::Closed => Self::Unavailable,
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Busy => Self::Busy,
            QueryError::Unavailable => Self::Unavailable,
            QueryError::TooSlow => Self::TooSlow,
            QueryError::TooLarge => {
                Self::field("end", "must leave fewer rows in the response: request a shorter range or fewer models")
            }
            QueryError::Gone(gone) => Self::field("start", kept_from(gone)),
            QueryError::Lacks | QueryError::Broken => Self::Internal,
        }
    }
}

fn kept_from(gone: Gone) -> String {
    let (start, what) = (gone.start.to_rfc3339_opts(SecondsFormat::AutoSi, true), gone.what.as_str());
    let zone = match gone.what {
        Missing::RawEventsOfSplitHours => ", and days of this zone begin within an hour of UTC",
        _ => "",
    };
    format!("must be at or after {start} here: {what} from before are not kept any more{zone}")
}
