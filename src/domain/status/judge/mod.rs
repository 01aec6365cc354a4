//! What of the installation is not well. The numbers are those of the alerts (deploy/prometheus/alerts), and the settings where
//! they have them.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    finding::{Severity, StatusFinding, Trouble},
    installation::{Installation, Job, MaintenanceRun, OperationsPort, Partition, Verify, Waiting},
};
use crate::domain::freshness::Thresholds;

/// How long a committed batch may wait for its merge.
const MERGED_WITHIN: TimeDelta = TimeDelta::seconds(600);
/// How long a committed batch may wait until it is folded into attribution, and a day until it is counted again.
const FOLDED_WITHIN: TimeDelta = TimeDelta::seconds(1800);
const COUNTED_WITHIN: TimeDelta = TimeDelta::seconds(6 * 3600);
/// How long a correction may wait to be published.
const PUBLISHED_WITHIN: TimeDelta = TimeDelta::seconds(900);
/// How long an export may wait to be begun.
const EXPORT_BEGUN_WITHIN: TimeDelta = TimeDelta::seconds(1800);
/// How old the last `verify` may be.
const VERIFIED_WITHIN: TimeDelta = TimeDelta::seconds(2 * 86_400);
/// How far a watermark may be ahead of the clock.
const AHEAD: TimeDelta = TimeDelta::seconds(5);
/// Intervals that a maintenance task may take from one end to the next.
const MAINTENANCE_INTERVALS: i32 = 2;
/// Intervals that a job of the database may leave something undone.
const JOB_INTERVALS: i64 = 3;
/// How far continuous aggregates may be behind beyond `events.late_after_seconds`.
const MATERIALISED_WITHIN: TimeDelta = TimeDelta::seconds(2 * 3600);
/// Dependencies without which nothing is read or stored.
const VITAL: [&str; 2] = ["database", "broker"];

/// What the settings say of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub freshness: Thresholds,
    pub late_after: TimeDelta,
    pub purge_every: TimeDelta,
    pub maintain_every: TimeDelta,
}

/// All that is not well, what wakes somebody up first.
pub fn judge(known: Option<&Installation>, ports: &[OperationsPort], limits: &Limits) -> Vec<StatusFinding> {
    let mut findings = known.map_or_else(Vec::new, |installation| of_database(installation, limits));
    for port in ports {
        findings.extend(of_port(port, known.is_some()));
    }
    findings.sort_by_key(|finding| finding.severity != Severity::Page);
    findings
}

fn of_database(known: &Installation, limits: &Limits) -> Vec<StatusFinding> {
    let now = known.looked_at;
    let mut findings = Vec::new();
    let lives = known.processes.iter().any(|process| process.leased);
    if !lives {
        let what = format!("no process works on {}", known.stream);
        findings.push(StatusFinding::new(Trouble::NoProcess, Severity::Page, what).command("serve"));
    }
    for partition in &known.partitions {
        findings.extend(of_partition(partition, lives, limits));
    }
    let old = |waiting: &Waiting, within| waiting.since.map(|since| now - since).filter(|age| *age > within);
    if let Some(age) = old(&known.pending, MERGED_WITHIN) {
        let what = format!("{} committed batches wait to be merged, the first for {}", known.pending.count, span(age));
        findings.push(StatusFinding::new(Trouble::RollupPendingOld, Severity::Page, what).command("verify"));
    }
    for (waiting, within, what) in [
        (&known.attribution.batches, FOLDED_WITHIN, "committed batches wait for attribution"),
        (&known.attribution.days, COUNTED_WITHIN, "days wait to be counted again for attribution"),
    ] {
        if let Some(age) = old(waiting, within) {
            let what = format!("{} {what}, the first for {}", waiting.count, span(age));
            let finding = StatusFinding::new(Trouble::AttributionPendingOld, Severity::Ticket, what);
            findings.push(finding.command("actors log --actor attributor"));
        }
    }
    if let Some(age) = old(&known.corrections, PUBLISHED_WITHIN) {
        let what = format!("{} corrections wait to be published, the first for {}", known.corrections.count, span(age));
        findings.push(StatusFinding::new(Trouble::CorrectionsWaiting, Severity::Ticket, what).command("healthcheck"));
    }
    let waiting = &known.exports.waiting;
    if let Some(age) = old(waiting, EXPORT_BEGUN_WITHIN) {
        let what = format!("{} exports wait to be generated, the first for {}", waiting.count, span(age));
        findings.push(StatusFinding::new(Trouble::ExportsWaiting, Severity::Ticket, what).command("actors list"));
    }
    if known.exports.failed_last_hour > 0 {
        let what = format!("{} exports failed within an hour", known.exports.failed_last_hour);
        findings.push(StatusFinding::new(Trouble::ExportsFailing, Severity::Ticket, what).command("healthcheck"));
    }
    findings.extend(of_verify(&known.verify, known.installed_at, now));
    findings.extend(known.maintenance.iter().filter_map(|run| of_maintenance(run, now, limits)));
    findings.extend(known.rollups.jobs.iter().filter_map(of_job));
    let behind = known.rollups.materialisation_lag.filter(|lag| *lag > limits.late_after + MATERIALISED_WITHIN);
    if let Some(lag) = behind {
        let what = format!("continuous aggregates are {} behind", span(lag));
        let finding = StatusFinding::new(Trouble::BackgroundJobWaiting, Severity::Ticket, what);
        findings.push(finding.command("refresh --late"));
    }
    if known.rollups.switching {
        let what = format!("a switch of the engine ({} now) has begun and not ended", known.rollups.engine);
        let finding = StatusFinding::new(Trouble::SwitchUnfinished, Severity::Ticket, what);
        findings.push(finding.command("rollups show"));
    }
    findings
}

/// What lies deepest: of a partition that nobody reads it is no news that it is late.
fn of_partition(partition: &Partition, lives: bool, limits: &Limits) -> Vec<StatusFinding> {
    let name = format!("partition {}", partition.partition);
    let mut findings = Vec::new();
    let owned = partition.owner.is_some() && partition.leased;
    let parked = partition.last_event.as_ref().filter(|event| owned && event.what == "parked");
    if let Some(event) = parked {
        let cause = event.cause.as_deref().unwrap_or("the supervision log says why");
        let finding =
            StatusFinding::new(Trouble::PartitionParked, Severity::Page, format!("{name} is parked ({cause})"));
        findings.push(finding.command(format!("actors log --actor partition/{}", partition.partition)));
    } else if !owned && lives {
        let finding =
            StatusFinding::new(Trouble::PartitionWithoutOwner, Severity::Page, format!("{name} has no owner"));
        findings.push(finding.command("actors log"));
    } else if let Some(lag) = partition.lag.filter(|_| owned) {
        let thresholds = &limits.freshness;
        let late = |severity| {
            let what = format!("{name} is {} behind", span(lag));
            StatusFinding::new(Trouble::EventsLate, severity, what).command("actors list")
        };
        match lag.num_milliseconds() {
            lag if lag > thresholds.stale_ms => findings.push(late(Severity::Page)),
            lag if lag > thresholds.fresh_ms => findings.push(late(Severity::Ticket)),
            _ => {}
        }
    }
    if let Some(ahead) = partition.lag.map(|lag| -lag).filter(|ahead| *ahead > AHEAD) {
        let what = format!("{name}: the watermark is {} ahead of the clock", span(ahead));
        findings.push(StatusFinding::new(Trouble::WatermarkAhead, Severity::Ticket, what));
    }
    if partition.unread > 0 {
        let what = format!("{name}: {} offsets were left unread", partition.unread);
        let finding = StatusFinding::new(Trouble::MessagesUnread, Severity::Page, what);
        findings.push(finding.command("partitions unread"));
    }
    if partition.gaps > 0 {
        let what = format!(
            "{name}: the stream dropped messages before they were read, {} times within an hour",
            partition.gaps
        );
        let finding = StatusFinding::new(Trouble::StreamGap, Severity::Page, what);
        findings.push(finding.command(format!("actors log --actor partition/{}", partition.partition)));
    }
    findings
}

fn of_verify(verify: &Verify, installed_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Vec<StatusFinding> {
    let mut findings = Vec::new();
    if let Some(differences) = verify.differences.filter(|found| *found > 0) {
        let what = format!("verify found {differences} differences");
        findings.push(StatusFinding::new(Trouble::VerifyFoundDifference, Severity::Page, what).command("verify"));
    }
    // One that never ran has had since the installation to do so.
    if verify.at.or(installed_at).is_some_and(|since| now - since > VERIFIED_WITHIN) {
        let what = match verify.at {
            Some(at) => format!("verify last ran {} ago", span(now - at)),
            None => "verify has never run".to_owned(),
        };
        findings.push(StatusFinding::new(Trouble::VerifyOld, Severity::Ticket, what).command("verify"));
    }
    findings
}

/// Of a task that never ran nothing is said, as the alert says nothing.
fn of_maintenance(run: &MaintenanceRun, now: DateTime<Utc>, limits: &Limits) -> Option<StatusFinding> {
    let (every, command) = match run.task.as_str() {
        "purge" => (limits.purge_every, "purge"),
        // Files of exports are swept with each purge.
        "sweep" => (limits.purge_every, "actors list"),
        "maintain" => (limits.maintain_every, "maintain"),
        _ => return None,
    };
    let age = now - run.finished_at.unwrap_or(run.started_at);
    let overdue = age > every * MAINTENANCE_INTERVALS;
    let what = match run.outcome.as_deref() {
        Some("failed") => {
            let why = run.error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
            let last = run.last_done_at.map_or("never".to_owned(), |at| format!("{} ago", span(now - at)));
            format!("{} failed {} ago{why} and was last done {last}", run.task, span(age))
        }
        None if overdue => format!("{} was begun {} ago and has not ended", run.task, span(age)),
        _ if overdue => format!("{} was last done {} ago", run.task, span(age)),
        _ => return None,
    };
    Some(StatusFinding::new(Trouble::MaintenanceOverdue, Severity::Ticket, what).command(command))
}

fn of_job(job: &Job) -> Option<StatusFinding> {
    let waits = job.waits_seconds.filter(|waits| *waits > JOB_INTERVALS * job.every_seconds)?;
    let what = format!("background job {} has waited {}", job.job, span(TimeDelta::seconds(waits)));
    Some(StatusFinding::new(Trouble::BackgroundJobWaiting, Severity::Ticket, what).command("rollups show"))
}

/// What only the process knows. Its partitions are the database's to say, where that is read.
fn of_port(port: &OperationsPort, database_read: bool) -> Vec<StatusFinding> {
    let mut findings = Vec::new();
    if let Some(error) = port.error.as_ref().filter(|_| port.expected) {
        let what = format!("{} does not respond ({error})", port.url);
        findings.push(StatusFinding::new(Trouble::ProcessSilent, Severity::Ticket, what));
    }
    for component in &port.down {
        let (name, cause, url) = (&component.name, &component.cause, &port.url);
        let partition = name.starts_with("partition/");
        let finding = if component.state == "unfit" {
            let what = format!("{url} is unfit: {name} ({cause})");
            StatusFinding::new(Trouble::ProcessUnfit, Severity::Page, what).command("healthcheck")
        } else if component.parked && !(partition && database_read) {
            let (kind, severity) = match partition {
                true => (Trouble::PartitionParked, Severity::Page),
                false => (Trouble::ActorParked, Severity::Ticket),
            };
            let what = format!("{name} of {url} is parked ({cause})");
            StatusFinding::new(kind, severity, what).command(format!("actors restart {name} --url {url}"))
        } else if component.is_dependency {
            let severity = if VITAL.contains(&name.as_str()) { Severity::Page } else { Severity::Ticket };
            StatusFinding::new(Trouble::DependencyDown, severity, format!("{url} does not reach {name} ({cause})"))
        } else {
            // It starts again by itself.
            continue;
        };
        findings.push(finding);
    }
    findings
}

/// In its largest unit.
fn span(span: TimeDelta) -> String {
    match span.num_seconds() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
