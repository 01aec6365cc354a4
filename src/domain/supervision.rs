//! The supervision log: what happened to the actors, for operators.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::named::named;

named! {
    /// What happened.
    #[derive(Hash, Deserialize)]
    pub enum SupervisionKind {
        /// For the first time in this process.
        Started = "started",
        Restarted = "restarted",
        /// It ended by itself; the cause says why.
        Failed = "failed",
        /// It was at work for longer than its deadline without any progress, and is being ended.
        Stalled = "stalled",
        /// Another process has the partition, an operator started a new incarnation of it, or the database lost its last commits.
        Fenced = "fenced",
        /// Out of restarts, or wrong in a way that restarting does not fix: it rests until an operator restarts it, or for
        /// a long pause. The others go on.
        Parked = "parked",
        /// Out of restarts, and the process cannot do without it: the process ends.
        Escalated = "escalated",
        RestartRequested = "restart_requested",
        /// An operator's drill made it fail on purpose.
        Drilled = "drilled",
        /// It ended in order.
        Stopped = "stopped",
        /// This process took the partition's lease, or gave it back.
        Taken = "taken",
        Released = "released",
        /// The stream had dropped messages that were not read yet.
        Gap = "gap",
        /// The broker left messages out, or fails at them: they are not read.
        Unread = "unread",
        /// An operator passed over what cannot be read.
        Skipped = "skipped",
        /// An operator started a new incarnation of a partition.
        Reset = "reset",
    } else UnknownWhat
}

impl SupervisionKind {
    /// Whether an operator should look at it.
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Failed | Self::Stalled | Self::Parked | Self::Escalated | Self::Gap | Self::Unread)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no kind of supervision event")]
pub struct UnknownWhat;

/// An entry of the log, as the operations API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisionEvent {
    /// Version 7: in the order of time.
    pub event_id: Uuid,
    /// By the process's clock.
    pub occurred_at: DateTime<Utc>,
    /// Host and process number.
    pub process: String,
    pub actor: String,
    /// How often the actor was started in its process.
    pub generation: u64,
    pub what: SupervisionKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The operator who requested it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_whom: Option<String>,
}

/// Which events of the log to read, newest first.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    pub actor: Option<String>,
    /// Only events before this one.
    pub before: Option<Uuid>,
    /// Only events after this one.
    pub after: Option<Uuid>,
    pub limit: i64,
}

/// Who works on a partition, and how far it is, as the database has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    pub partition: u16,
    pub stream: String,
    pub incarnation: i32,
    pub epoch: i64,
    /// Next offset to commit.
    pub next_offset: i64,
    /// The process that has it; none where it is free.
    pub owner: Option<Uuid>,
    /// Host and process number of the owner.
    pub owner_name: Option<String>,
    /// Whether the owner's lease is valid.
    pub leased: bool,
    pub watermark: Option<DateTime<Utc>>,
    /// By the database's clock.
    pub lag_seconds: Option<f64>,
    pub ledger: PartitionLedger,
}

/// What became of a partition's messages lately. `received` is what the others add up to: the database accepts no row for which it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionLedger {
    /// From when on batches are counted, by their commits.
    pub since: DateTime<Utc>,
    pub received: i64,
    pub stored: i64,
    pub duplicates: i64,
    pub rejected: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_explain_every_kind() {
        let page = std::fs::read_to_string("docs/observe.md").unwrap();
        let (_, table) = page.split_once("| what | meaning |\n").unwrap();
        let rows = table.lines().skip(1).take_while(|line| line.starts_with("| "));
        let cells = rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next());
        let mut explained: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let mut kinds = SupervisionKind::ALL.map(SupervisionKind::as_str);
        explained.sort_unstable();
        kinds.sort_unstable();
        assert_eq!(explained, kinds);
    }
}
