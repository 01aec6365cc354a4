//! A batch on its way into the database, as the steps of its transaction share it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::partitions::Claim;
use crate::domain::{attribution::Dimension, batch::Batch, ledger::Fate, trace::TraceParent};

/// What a batch is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The partition's progress.
    Live,
    /// A range that is read again.
    Replay(Uuid),
}

/// How a batch is stored, beside its content.
#[derive(Clone, Debug)]
pub struct CommitRules {
    pub kind: Kind,
    pub window: TimeDelta,
    /// More refusals than this mean that not the events are wrong but the deployment.
    pub max_refused: usize,
    pub retries: i32,
    pub started_at: DateTime<Utc>,
    /// The batch's, which the merge that folds it links to.
    pub span: Option<TraceParent>,
    /// Dimensions that its partials for attribution carry; none: it leaves no partials.
    pub carried: Arc<[Dimension]>,
}

/// A batch on its way into the database.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub claim: &'a Claim,
    pub batch: &'a Batch,
    pub rules: &'a CommitRules,
}

/// Why each event is stored or not, as far as it is decided; indexes are those of the messages.
pub(super) struct Fates(Vec<Option<Fate>>);

impl Fates {
    pub fn of(batch: &Batch) -> Self {
        Self(vec![None; batch.raw.messages.len()])
    }

    pub fn get(&self, message: usize) -> Option<Fate> {
        self.0.get(message).copied().flatten()
    }

    pub fn insert(&mut self, message: usize, fate: Fate) {
        if let Some(known) = self.0.get_mut(message) {
            *known = Some(fate);
        }
    }

    pub fn extend(&mut self, fates: impl IntoIterator<Item = (usize, Fate)>) {
        for (message, fate) in fates {
            self.insert(message, fate);
        }
    }

    /// Messages of events that end so.
    pub fn of_kind(&self, is: impl Fn(Fate) -> bool) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(move |(_, fate)| fate.is_some_and(&is)).map(|(message, _)| message)
    }
}

/// SQLSTATE of an error that an event's data is to blame for: class 22 (data exception) or 23 (constraint).
pub(super) fn data_error(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    (code.starts_with("22") || code.starts_with("23")).then(|| code.into_owned())
}
