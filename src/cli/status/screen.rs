//! What `status` prints for people: whether it is well in the first line, what is not well, then all that is known.

use chrono::{DateTime, TimeDelta, Utc};

use super::Report;
use crate::{
    cli::print::{self, Column, absent, harmless, span, time},
    domain::{
        freshness::FreshnessStatus,
        status::{
            finding::StatusFinding,
            installation::{Installation, MOST_COUNTED, OperationsPort, Partition, Process, ReasonCount, Waiting},
        },
    },
};

/// Characters that are shown of what is not well, causes included.
const MOST_OF_A_FINDING: usize = 400;
/// Characters that are shown of a cause or reason where it is one of many.
const MOST_OF_A_CAUSE: usize = 60;
/// Moves to the upper left corner, and clears what is there.
const REDRAW: &str = "\u{1b}[H\u{1b}[2J";

pub fn redrawn(text: &str) -> String {
    format!("{REDRAW}{text}")
}

/// `now` is this machine's clock: the database's where it is read.
pub fn text(report: &Report, now: DateTime<Utc>) -> String {
    let mut parts = vec![headline(report, now)];
    if !report.findings.is_empty() {
        parts.push(report.findings.iter().map(finding).collect::<Vec<_>>().join("\n"));
    }
    if let Some(known) = &report.installation {
        if !known.processes.is_empty() {
            parts.push(processes(known, &report.operations));
        }
        if !known.partitions.is_empty() {
            parts.push(partitions(&known.partitions));
        }
        parts.push(lines(known));
    }
    parts.push(report.operations.iter().map(port).collect::<Vec<_>>().join("\n"));
    parts.join("\n\n")
}

fn headline(report: &Report, now: DateTime<Utc>) -> String {
    let things = match report.findings.len() {
        1 => "1 thing".to_owned(),
        things => format!("{things} things"),
    };
    let at = report.installation.as_ref().map_or(now, |known| known.looked_at);
    let state = match report.well {
        Some(true) => "well".to_owned(),
        Some(false) => format!("NOT WELL: {things}"),
        None => {
            let error = report.error.as_deref().unwrap_or("it was not read");
            let also = if report.findings.is_empty() { String::new() } else { format!("; {things} not well") };
            format!("NOT KNOWN: {}{also}", harmless(error, false))
        }
    };
    let stream = report.installation.as_ref().map_or_else(String::new, |known| format!(", {}", known.stream));
    format!("{state} ({}{stream})", time(at))
}

/// One line: what, why it matters, what to do.
fn finding(finding: &StatusFinding) -> String {
    let StatusFinding { severity, what, why, command, page, .. } = finding;
    let what = harmless(&shortened(what, MOST_OF_A_FINDING), false);
    let command = command.as_ref().map_or_else(String::new, |command| format!("`{}`, ", harmless(command, false)));
    format!("! {:<6}  {what}: {why}. See {command}{page}", severity.as_str())
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain("…".chars()).collect()
}

fn processes(known: &Installation, ports: &[OperationsPort]) -> String {
    let columns = [
        Column::Text("PROCESS"),
        Column::Text("VERSION"),
        Column::Number("NEWEST MIGRATION"),
        Column::Text("LEASE"),
        Column::Number("UP"),
        Column::Text("PARTITIONS"),
    ];
    let row = |process: &Process| {
        // A port does not name its process. Its partitions do, as no two processes work on the same.
        let port = ports.iter().find(|port| !port.partitions.is_empty() && port.partitions == process.partitions);
        [
            harmless(&process.name, false),
            port.and_then(|port| port.version.clone()).map_or_else(absent, |version| harmless(&version, false)),
            process.newest_migration.map_or_else(absent, |migration| migration.to_string()),
            (if process.leased { "valid" } else { "expired" }).to_owned(),
            span(known.looked_at - process.started_at),
            match process.partitions.as_slice() {
                [] => absent(),
                partitions => partitions.iter().map(u16::to_string).collect::<Vec<_>>().join(" "),
            },
        ]
    };
    print::table(columns, &known.processes.iter().map(row).collect::<Vec<_>>())
}

fn partitions(partitions: &[Partition]) -> String {
    let columns = [
        Column::Number("PARTITION"),
        Column::Text("OWNER"),
        Column::Number("OFFSET"),
        Column::Number("LAG"),
        Column::Text("WATERMARK"),
        Column::Text("AS OF"),
        Column::Number("UNREAD"),
        Column::Text("STATE"),
    ];
    let row = |partition: &Partition| {
        let cause = partition.last_event.as_ref().and_then(|event| event.cause.as_deref());
        let owned = partition.owner.is_some() && partition.leased;
        let state = match partition.last_event.as_ref().map(|event| event.what.as_str()) {
            _ if !owned => "no owner".to_owned(),
            Some("started" | "restarted") => "running".to_owned(),
            // Its cause is among what is not well.
            Some("parked") => "parked".to_owned(),
            Some(what) => [Some(what), cause].into_iter().flatten().collect::<Vec<_>>().join(": "),
            None => absent(),
        };
        [
            partition.partition.to_string(),
            partition.owner.as_deref().filter(|_| owned).map_or_else(absent, |owner| harmless(owner, false)),
            partition.next_offset.to_string(),
            print::seconds(partition.lag.map(TimeDelta::as_seconds_f64)),
            partition.watermark.map_or_else(absent, time),
            partition.as_of.status.map_or("unknown", FreshnessStatus::as_str).to_owned(),
            partition.unread.to_string(),
            harmless(&shortened(&state, MOST_OF_A_CAUSE), false),
        ]
    };
    print::table(columns, &partitions.iter().map(row).collect::<Vec<_>>())
}

/// What is no table: one line a subject.
fn lines(known: &Installation) -> String {
    let now = known.looked_at;
    let subjects = [
        ("pending", waiting(&known.pending, "batches", now)),
        ("attribution", attribution(known)),
        ("corrections", waiting(&known.corrections, "waiting", now)),
        ("dead letters", dead_letters(known)),
        ("exports", exports(known)),
        (
            "replays",
            format!("{}; {} failed in 24 h", waiting(&known.replays.open, "open", now), known.replays.failed_last_day),
        ),
        ("verify", verify(known)),
        ("maintenance", maintenance(known)),
        ("rollups", rollups(known)),
        ("versions", versions(known)),
    ];
    subjects.map(|(subject, text)| format!("{subject:<12}  {text}")).join("\n")
}

fn waiting(waiting: &Waiting, what: &str, now: DateTime<Utc>) -> String {
    match waiting.since {
        Some(since) if waiting.count > 0 => format!("{} {what}, the oldest for {}", waiting.count, span(now - since)),
        _ => format!("0 {what}"),
    }
}

fn attribution(known: &Installation) -> String {
    let (of, now) = (&known.attribution, known.looked_at);
    format!("{}; {}", waiting(&of.batches, "batches", now), waiting(&of.days, "days to count again", now))
}

fn dead_letters(known: &Installation) -> String {
    let letters = &known.dead_letters;
    let more = if letters.open >= MOST_COUNTED { " or more" } else { "" };
    let reason =
        |of: &ReasonCount| format!("{} × {}", of.count, harmless(&shortened(&of.reason, MOST_OF_A_CAUSE), false));
    let reasons: Vec<String> = letters.reasons.iter().map(reason).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
    format!("{}{more} open; {} in 24 h{reasons}", letters.open, letters.last_day)
}

fn exports(known: &Installation) -> String {
    let exports = &known.exports;
    let waits = waiting(&exports.waiting, "waiting", known.looked_at);
    format!("{waits}; {} running; {} failed in 24 h", exports.running, exports.failed_last_day)
}

fn verify(known: &Installation) -> String {
    let Some(at) = known.verify.at else { return "never".to_owned() };
    let found = match known.verify.differences {
        Some(0) => "no differences".to_owned(),
        Some(differences) => format!("{differences} differences"),
        None => "it is not known what it found".to_owned(),
    };
    format!("{} ago: {found}", span(known.looked_at - at))
}

fn maintenance(known: &Installation) -> String {
    let runs = known.maintenance.iter().map(|run| {
        let ago = span(known.looked_at - run.finished_at.unwrap_or(run.started_at));
        let task = harmless(&run.task, false);
        match run.outcome.as_deref() {
            Some("done") => format!("{task} {ago} ago"),
            Some(outcome) => {
                let error = run.error.as_deref().map(|error| harmless(&shortened(error, MOST_OF_A_CAUSE), false));
                let why = error.map_or_else(String::new, |error| format!(" ({error})"));
                format!("{task} {} {ago} ago{why}", harmless(outcome, false))
            }
            None => format!("{task} at work for {ago}"),
        }
    });
    let runs: Vec<String> = runs.collect();
    if runs.is_empty() { "never".to_owned() } else { runs.join(", ") }
}

fn rollups(known: &Installation) -> String {
    let rollups = &known.rollups;
    let mut parts = vec![rollups.engine.clone()];
    if rollups.switching {
        parts.push("a switch has not ended".to_owned());
    }
    parts.extend(rollups.cut.map(|cut| format!("materialised up to {}", time(cut))));
    parts.extend(rollups.jobs.iter().map(|job| {
        let paused = if job.scheduled { "" } else { " (paused)" };
        let last = job.succeeded_at.map_or("never".to_owned(), |at| format!("{} ago", span(known.looked_at - at)));
        format!("job {}{paused} {last}", harmless(&job.job, false))
    }));
    parts.join(", ")
}

fn versions(known: &Installation) -> String {
    let of = &known.versions;
    // What follows is the distribution's.
    let postgresql = of.postgresql.split(' ').next().unwrap_or_default();
    let edition = if of.edition == "community" { "Community" } else { "Apache" };
    format!(
        "command {}, schema {}, PostgreSQL {postgresql}, TimescaleDB {} ({edition} edition)",
        of.command, of.schema, of.timescaledb
    )
}

fn port(port: &OperationsPort) -> String {
    let url = &port.url;
    let Some(status) = &port.status else {
        let error = port.error.as_deref().unwrap_or_default();
        let harm = if port.expected { "" } else { ", which is no error here" };
        return format!("{url}  no response{harm}: {}", harmless(error, false));
    };
    let down: Vec<String> =
        port.down.iter().map(|component| format!("{} {}", component.name, component.state)).collect();
    let down = if down.is_empty() { String::new() } else { format!("; {}", down.join(", ")) };
    let version = port.version.as_deref().unwrap_or("-");
    harmless(&format!("{url}  {status}, {} groups of actors, version {version}{down}", port.actors), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::status::finding::{Severity, Trouble};

    fn report(well: Option<bool>, error: Option<&str>, findings: Vec<StatusFinding>) -> Report {
        Report { well, error: error.map(str::to_owned), findings, installation: None, operations: Vec::new() }
    }

    #[test]
    fn the_first_line_says_how_it_is() {
        let first = |report| text(&report, DateTime::UNIX_EPOCH).lines().next().unwrap().to_owned();
        assert_eq!(first(report(Some(true), None, Vec::new())), "well (1970-01-01T00:00:00Z)");
        let parked = StatusFinding::new(Trouble::ActorParked, Severity::Ticket, "maintenance is parked");
        assert_eq!(first(report(Some(false), None, vec![parked.clone()])), "NOT WELL: 1 thing (1970-01-01T00:00:00Z)");
        let away = report(None, Some("refused"), vec![parked.clone(), parked]);
        assert_eq!(first(away), "NOT KNOWN: refused; 2 things not well (1970-01-01T00:00:00Z)");
    }

    #[test]
    fn a_finding_is_one_harmless_line() {
        let cause = ["maintenance is parked (\u{1b}[2J\n", &"x".repeat(1000)].concat();
        let parked = StatusFinding::new(Trouble::ActorParked, Severity::Ticket, cause).command("actors list");
        let line = finding(&parked);
        assert!(line.starts_with("! ticket  maintenance is parked (\\u{1b}[2J\\nxx"), "{line}");
        assert!(line.ends_with("See `actors list`, docs/runbooks/AnalyticsPartitionParked.md"), "{line}");
        assert!(line.contains("x…: what it does") && line.len() < 700, "{line}");
    }
}
