use super::*;
use crate::domain::status::installation::{
    AsOf, Attribution, Component, DeadLetters, Exports, PartitionEvent, Process, ReasonCount, Replays, Rollups,
    Versions,
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
        error: None,
        last_done_at: Some(now()),
    };
    Installation {
        looked_at: now(),
        installed_at: ago(90 * 86_400),
        stream: "s".to_owned(),
        processes: vec![Process {
            name: "host/1".to_owned(),
            newest_migration: Some(1),
            started_at: now(),
            leased: true,
            partitions: vec![0],
        }],
        partitions: vec![partition(300)],
        pending: Waiting { count: 2, since: ago(600) },
        attribution: Attribution {
            batches: Waiting { count: 1, since: ago(1800) },
            days: Waiting { count: 1, since: ago(6 * 3600) },
            lag: TimeDelta::hours(9),
        },
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
    one(Trouble::AttributionPendingOld, Ticket, |known| known.attribution.batches.since = ago(1801));
    one(Trouble::AttributionPendingOld, Ticket, |known| known.attribution.days.since = ago(6 * 3600 + 1));
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
    let judged = |known: Option<&Installation>, ports: &[OperationsPort]| {
        judge(known, ports, &LIMITS).into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    let found = |known: Option<&Installation>| judged(known, &[port.clone(), away.clone()]);
    let (dependency, unfit, actor) = (Trouble::DependencyDown, Trouble::ProcessUnfit, Trouble::ActorParked);
    assert_eq!(found(Some(&installation())), [dependency, unfit, dependency, actor], "pages first");
    let parked = Trouble::PartitionParked;
    assert_eq!(found(None), [dependency, parked, unfit, dependency, actor], "nobody else says it");
    let named = OperationsPort { expected: true, ..away.clone() };
    assert_eq!(
        judged(Some(&installation()), &[away.clone(), named]),
        [Trouble::ProcessSilent],
        "only where it was named"
    );
}

#[test]
fn the_numbers_are_those_of_the_alerts() {
    for (trouble, number) in [
        (Trouble::EventsLate, "> 300"),
        (Trouble::EventsLate, "> 600"),
        (Trouble::RollupPendingOld, "> 600"),
        (Trouble::AttributionPendingOld, "> 1800"),
        (Trouble::AttributionPendingOld, "> 21600"),
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
