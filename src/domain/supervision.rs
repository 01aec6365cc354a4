//! The supervision log: what happened to the actors, for operators.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisionKind {
    /// For the first time in this process.
    Started,
    Restarted,
    /// It ended by itself; the cause says why.
    Failed,
    /// It was at work for longer than its deadline without any progress, and is being ended.
    Stalled,
    /// Another process has the partition, an operator started a new incarnation of it, or the database lost its last commits.
    Fenced,
    /// Out of restarts, or wrong in a way that restarting does not fix: it rests until an operator restarts it, or for
    /// a long pause. The others go on.
    Parked,
    /// Out of restarts, and the process cannot do without it: the process ends.
    Escalated,
    RestartRequested,
    /// An operator's drill made it fail on purpose.
    Drilled,
    /// It ended in order.
    Stopped,
    /// This process took the partition's lease, or gave it back.
    Taken,
    Released,
    /// The stream had dropped messages that were not read yet.
    Gap,
    /// The broker left messages out, or fails at them: they are not read.
    Unread,
    /// An operator passed over what cannot be read.
    Skipped,
    /// An operator started a new incarnation of a partition.
    Reset,
}

impl SupervisionKind {
    pub const ALL: [Self; 16] = [
        Self::Started,
        Self::Restarted,
        Self::Failed,
        Self::Stalled,
        Self::Fenced,
        Self::Parked,
        Self::Escalated,
        Self::RestartRequested,
        Self::Drilled,
        Self::Stopped,
        Self::Taken,
        Self::Released,
        Self::Gap,
        Self::Unread,
        Self::Skipped,
        Self::Reset,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Restarted => "restarted",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Fenced => "fenced",
            Self::Parked => "parked",
            Self::Escalated => "escalated",
            Self::RestartRequested => "restart_requested",
            Self::Drilled => "drilled",
            Self::Stopped => "stopped",
            Self::Taken => "taken",
            Self::Released => "released",
            Self::Gap => "gap",
            Self::Unread => "unread",
            Self::Skipped => "skipped",
            Self::Reset => "reset",
        }
    }

    /// Whether an operator should look at it.
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Failed | Self::Stalled | Self::Parked | Self::Escalated | Self::Gap | Self::Unread)
    }
}

impl fmt::Display for SupervisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no kind of supervision event")]
pub struct UnknownWhat;

impl FromStr for SupervisionKind {
    type Err = UnknownWhat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|what| what.as_str() == text).ok_or(UnknownWhat)
    }
}

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for what in SupervisionKind::ALL {
            assert_eq!(what.as_str().parse::<SupervisionKind>().ok(), Some(what));
            assert_eq!(serde_json::to_value(what).unwrap(), what.as_str());
        }
        assert!("gone".parse::<SupervisionKind>().is_err());
    }

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
