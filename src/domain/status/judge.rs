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
        Some("failed") => format!("{} failed {} ago", run.task, span(age)),
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
mod tests {
    use super::*;
    use crate::domain::status::installation::{
        AsOf, Component, DeadLetters, Exports, PartitionEvent, Process, ReasonCount, Replays, Rollups, Versions,
    };

    const LIMITS: Limits = Limits {
        freshness: Thresholds { fresh_ms: 300_000, stale_ms: 600_000 },
        late_after: TimeDelta::seconds(3600),
        purge_every: TimeDelta::seconds(86_400),
        maintain_every: TimeDelta::seconds(3600),
    };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn ago(seconds: i64) -> Option<DateTime<Utc>> {
        Some(now() - TimeDelta::seconds(seconds))
    }

    fn partition(lag: i64) -> Partition {
        Partition {
            partition: 0,
            owner: Some("host/1".to_owned()),
            leased: true,
            next_offset: 7,
            watermark: ago(lag),
            lag: Some(TimeDelta::seconds(lag)),
            as_of: AsOf { at: None, status: None },
            unread: 0,
            gaps: 0,
            last_event: None,
        }
    }

    /// One where all is well, with what is no trouble.
    fn installation() -> Installation {
        let run = |task: &str| MaintenanceRun {
            task: task.to_owned(),
            process: "host/1".to_owned(),
            started_at: now(),
            finished_at: Some(now()),
            outcome: Some("done".to_owned()),
        };
        Installation {
            looked_at: now(),
            installed_at: ago(90 * 86_400),
            stream: "s".to_owned(),
            processes: vec![Process {
                name: "host/1".to_owned(),
                started_at: now(),
                leased: true,
                partitions: vec![0],
            }],
            partitions: vec![partition(300)],
            pending: Waiting { count: 2, since: ago(600) },
            corrections: Waiting { count: 1, since: ago(900) },
            dead_letters: DeadLetters {
                open: 5000,
                last_day: 4000,
                reasons: vec![ReasonCount { reason: "is no JSON".to_owned(), count: 4000 }],
            },
            exports: Exports {
                waiting: Waiting { count: 1, since: ago(1800) },
                running: 3,
                failed_last_hour: 0,
                failed_last_day: 1,
            },
            replays: Replays { open: Waiting { count: 1, since: ago(9000) }, failed_last_day: 1 },
            verify: Verify { at: ago(2 * 86_400), differences: Some(0) },
            maintenance: vec![run("purge"), run("sweep"), run("maintain"), run("refresh")],
            rollups: Rollups {
                engine: "continuous".to_owned(),
                cut: ago(3600),
                switching: false,
                materialisation_lag: Some(TimeDelta::hours(3)),
                jobs: vec![Job {
                    job: "refresh".to_owned(),
                    scheduled: true,
                    every_seconds: 900,
                    succeeded_at: None,
                    waits_seconds: Some(2700),
                }],
            },
            versions: Versions {
                command: "1".to_owned(),
                schema: 1,
                postgresql: "17".to_owned(),
                timescaledb: "2".to_owned(),
                edition: "community",
            },
        }
    }

    /// What is found when that is changed.
    fn found(change: impl FnOnce(&mut Installation)) -> Vec<(Trouble, Severity)> {
        let mut installation = installation();
        change(&mut installation);
        let findings = judge(Some(&installation), &[], &LIMITS);
        findings.iter().map(|finding| (finding.kind, finding.severity)).collect()
    }

    #[test]
    fn nothing_is_found_up_to_each_limit() {
        assert_eq!(found(|_| ()), []);
    }

    #[test]
    fn each_limit_is_one_trouble() {
        use Severity::{Page, Ticket};
        let one = |trouble, severity, change: fn(&mut Installation)| {
            assert_eq!(found(change), [(trouble, severity)], "{trouble}");
        };
        one(Trouble::EventsLate, Ticket, |known| known.partitions = vec![partition(301)]);
        one(Trouble::EventsLate, Page, |known| known.partitions = vec![partition(601)]);
        one(Trouble::WatermarkAhead, Ticket, |known| known.partitions = vec![partition(-6)]);
        one(Trouble::MessagesUnread, Page, |known| known.partitions[0].unread = 3);
        one(Trouble::StreamGap, Page, |known| known.partitions[0].gaps = 1);
        one(Trouble::RollupPendingOld, Page, |known| known.pending.since = ago(601));
        one(Trouble::CorrectionsWaiting, Ticket, |known| known.corrections.since = ago(901));
        one(Trouble::ExportsWaiting, Ticket, |known| known.exports.waiting.since = ago(1801));
        one(Trouble::ExportsFailing, Ticket, |known| known.exports.failed_last_hour = 1);
        one(Trouble::VerifyFoundDifference, Page, |known| known.verify.differences = Some(1));
        one(Trouble::VerifyOld, Ticket, |known| known.verify.at = ago(2 * 86_400 + 1));
        one(Trouble::VerifyOld, Ticket, |known| known.verify = Verify::default());
        one(Trouble::MaintenanceOverdue, Ticket, |known| known.maintenance[0].finished_at = ago(2 * 86_400 + 1));
        one(Trouble::MaintenanceOverdue, Ticket, |known| known.maintenance[1].outcome = Some("failed".to_owned()));
        one(Trouble::MaintenanceOverdue, Ticket, |known| known.maintenance[2].finished_at = ago(7201));
        one(Trouble::BackgroundJobWaiting, Ticket, |known| known.rollups.jobs[0].waits_seconds = Some(2701));
        one(Trouble::BackgroundJobWaiting, Ticket, |known| {
            known.rollups.materialisation_lag = Some(TimeDelta::seconds(3 * 3600 + 1))
        });
        one(Trouble::SwitchUnfinished, Ticket, |known| known.rollups.switching = true);
    }

    #[test]
    fn a_new_installation_needs_no_verify_yet() {
        let change = |known: &mut Installation| (known.verify, known.installed_at) = (Verify::default(), ago(3600));
        assert_eq!(found(change), []);
    }

    #[test]
    fn a_partition_has_one_cause() {
        let event =
            |what: &str| Some(PartitionEvent { what: what.to_owned(), at: now(), cause: Some("refused".to_owned()) });
        let late = || Partition { last_event: event("parked"), ..partition(9000) };
        assert_eq!(found(|known| known.partitions = vec![late()]), [(Trouble::PartitionParked, Severity::Page)]);
        let failed = Partition { last_event: event("failed"), ..partition(0) };
        assert_eq!(found(|known| known.partitions = vec![failed]), [], "it starts again by itself");
        let free = [Partition { owner: None, leased: false, ..late() }, Partition { leased: false, ..late() }];
        for free in free {
            let change = |known: &mut Installation| known.partitions = vec![free.clone()];
            assert_eq!(found(change), [(Trouble::PartitionWithoutOwner, Severity::Page)]);
            let alone = |known: &mut Installation| {
                known.partitions = vec![free];
                known.processes[0].leased = false;
            };
            assert_eq!(found(alone), [(Trouble::NoProcess, Severity::Page)], "one trouble, not one a partition");
        }
    }

    #[test]
    fn a_process_says_what_only_it_knows() {
        let component = |name: &str, state: &str, is_dependency, parked| Component {
            name: name.to_owned(),
            state: state.to_owned(),
            cause: "refused".to_owned(),
            is_dependency,
            parked,
        };
        let port = OperationsPort {
            url: "http://pod-1:8081".to_owned(),
            down: vec![
                component("cache", "down", true, false),
                component("broker", "down", true, false),
                component("partition/0", "down", false, true),
                component("maintenance", "down", false, true),
                component("query/0", "down", false, false),
                component("api", "unfit", false, false),
            ],
            ..OperationsPort::default()
        };
        let away = OperationsPort { error: Some("refused".to_owned()), ..OperationsPort::default() };
        let found = |known: Option<&Installation>| {
            let findings = judge(known, &[port.clone(), away.clone()], &LIMITS);
            findings.into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
        };
        let (dependency, unfit, actor) = (Trouble::DependencyDown, Trouble::ProcessUnfit, Trouble::ActorParked);
        assert_eq!(found(Some(&installation())), [dependency, unfit, dependency, actor], "pages first");
        let parked = Trouble::PartitionParked;
        assert_eq!(found(None), [dependency, parked, unfit, dependency, actor], "nobody else says it");
    }

    #[test]
    fn the_numbers_are_those_of_the_alerts() {
        for (trouble, number) in [
            (Trouble::EventsLate, "> 300"),
            (Trouble::EventsLate, "> 600"),
            (Trouble::RollupPendingOld, "> 600"),
            (Trouble::CorrectionsWaiting, "> 900"),
            (Trouble::ExportsWaiting, "> 1800"),
            (Trouble::ExportsFailing, "[1h]"),
            (Trouble::VerifyOld, "> 2 * 86400"),
            (Trouble::WatermarkAhead, "> 5"),
            (Trouble::StreamGap, "[1h]"),
            (Trouble::MaintenanceOverdue, "> 2 * 86400"),
            (Trouble::MaintenanceOverdue, "> 2 * 3600"),
            (Trouble::BackgroundJobWaiting, "> 3 * 15 * 60"),
            (Trouble::BackgroundJobWaiting, "> 3600 + 2 * 3600"),
        ] {
            let alert = trouble.page().trim_start_matches("docs/runbooks/").trim_end_matches(".md");
            let rule = std::fs::read_to_string(format!("deploy/prometheus/alerts/{alert}.yaml")).unwrap();
            assert!(rule.contains(number), "{alert} has no {number}");
        }
    }
}
