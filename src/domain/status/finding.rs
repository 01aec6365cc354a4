//! Things that are not well, each with why it matters and what to do about it.

use serde::Serialize;

use crate::domain::named::named;

named! {
    /// What is not well. Those that have an alert are named after it.
    pub enum Trouble {
        NoProcess = "no_process",
        PartitionParked = "partition_parked",
        PartitionWithoutOwner = "partition_without_owner",
        EventsLate = "events_late",
        WatermarkAhead = "watermark_ahead",
        MessagesUnread = "messages_unread",
        StreamGap = "stream_gap",
        RollupPendingOld = "rollup_pending_old",
        AttributionPendingOld = "attribution_pending_old",
        CorrectionsWaiting = "corrections_waiting",
        ExportsWaiting = "exports_waiting",
        ExportsFailing = "exports_failing",
        VerifyFoundDifference = "verify_found_difference",
        VerifyOld = "verify_old",
        MaintenanceOverdue = "maintenance_overdue",
        BackgroundJobWaiting = "background_job_waiting",
        SwitchUnfinished = "switch_unfinished",
        DependencyDown = "dependency_down",
        ActorParked = "actor_parked",
        ProcessUnfit = "process_unfit",
        ProcessSilent = "process_silent",
    }
}

named! {
    /// As that of alerts.
    pub enum Severity {
        /// Wakes somebody up.
        Page = "page",
        /// Can wait until the morning.
        Ticket = "ticket",
    }
}

impl Trouble {
    /// Why it matters, after "what: ".
    pub const fn why(self) -> &'static str {
        match self {
            Self::NoProcess => "nothing is read, and the API does not respond",
            Self::PartitionParked => "its messages wait in the stream until the cause is fixed",
            Self::PartitionWithoutOwner => "nobody reads it, and its messages wait in the stream",
            Self::EventsLate => "responses lack its latest events, and say so",
            Self::WatermarkAhead => "how complete its responses are is unknown until the clock has caught up",
            Self::MessagesUnread => "they are missing, and nothing after them is final until they are acknowledged",
            Self::StreamGap => "they are lost, and count in no total",
            Self::RollupPendingOld => "its events are stored, and missing in responses that read rollups",
            Self::AttributionPendingOld => "who spent it is not known of the latest events, and responses say so",
            Self::CorrectionsWaiting => "corrected events count in no total until they are in the stream",
            Self::ExportsWaiting => "nobody generates exports, or they cannot be stored",
            Self::ExportsFailing => "who requested them gets no file",
            Self::VerifyFoundDifference => "some totals may be wrong",
            Self::VerifyOld => "whether totals are right is not being checked",
            Self::MaintenanceOverdue => "old data stays, or chunks of the next days are missing",
            Self::BackgroundJobWaiting => "responses stay right, and become slower",
            Self::SwitchUnfinished => "totals are right, and both engines cost their work",
            Self::DependencyDown => "what needs it waits or is refused",
            Self::ActorParked => "what it does is left undone; ingest and the API continue",
            Self::ProcessUnfit => "it takes no traffic",
            Self::ProcessSilent => "it is gone, hangs or cannot be reached",
        }
    }

    /// The page that says what to do.
    pub const fn page(self) -> &'static str {
        match self {
            Self::NoProcess | Self::ProcessSilent => "docs/runbooks/AnalyticsTargetGone.md",
            Self::PartitionParked | Self::ActorParked => "docs/runbooks/AnalyticsPartitionParked.md",
            Self::PartitionWithoutOwner => "docs/runbooks/AnalyticsPartitionWithoutOwner.md",
            Self::EventsLate => "docs/runbooks/AnalyticsEventsLate.md",
            Self::WatermarkAhead => "docs/runbooks/AnalyticsWatermarkAhead.md",
            Self::MessagesUnread => "docs/runbooks/AnalyticsMessagesUnread.md",
            Self::StreamGap => "docs/runbooks/AnalyticsStreamGap.md",
            Self::RollupPendingOld => "docs/runbooks/AnalyticsRollupPendingOld.md",
            Self::AttributionPendingOld => "docs/runbooks/AnalyticsAttributionPendingOld.md",
            Self::CorrectionsWaiting => "docs/runbooks/AnalyticsCorrectionsWaiting.md",
            Self::ExportsWaiting => "docs/runbooks/AnalyticsExportsWaiting.md",
            Self::ExportsFailing => "docs/runbooks/AnalyticsExportsFailing.md",
            Self::VerifyFoundDifference => "docs/runbooks/AnalyticsVerifyFoundDifference.md",
            Self::VerifyOld => "docs/runbooks/AnalyticsVerifyOld.md",
            Self::MaintenanceOverdue => "docs/runbooks/AnalyticsMaintenanceOverdue.md",
            Self::BackgroundJobWaiting => "docs/runbooks/AnalyticsBackgroundJobWaiting.md",
            Self::SwitchUnfinished => "docs/data-life.md",
            Self::DependencyDown => "docs/runbooks/AnalyticsDependencyDown.md",
            Self::ProcessUnfit => "docs/failure-modes.md",
        }
    }
}

/// One thing that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusFinding {
    pub kind: Trouble,
    pub severity: Severity,
    /// With its numbers; of one line.
    pub what: String,
    pub why: &'static str,
    /// A command of this binary to begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What to read.
    pub page: &'static str,
}

impl StatusFinding {
    pub fn new(kind: Trouble, severity: Severity, what: impl Into<String>) -> Self {
        Self { kind, severity, what: what.into(), why: kind.why(), command: None, page: kind.page() }
    }

    #[must_use]
    pub fn command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_a_page() {
        for trouble in Trouble::ALL {
            assert!(std::fs::exists(trouble.page()).unwrap(), "{trouble}");
        }
    }
}
