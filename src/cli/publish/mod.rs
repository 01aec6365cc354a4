//! `publish`: puts a recorded trace or synthetic load on the stream and says exactly what it put there.

mod args;
mod base_date;
mod report;
mod source;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::Context;
use chrono::Utc;

use super::stream::{Pace, Progress, Sender, interruption};
use crate::{config::Settings, domain::partition::home_partition, workload::tally::Tally};
use report::Report;
use source::Source;

pub use args::Args;

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    if let Some(problem) = args.problem() {
        eprintln!("error: {problem}\n\nFor more information, try '--help'.");
        return Ok(ExitCode::from(2));
    }
    let mut broker = settings.broker.clone();
    broker.partitions = args.partitions.unwrap_or(broker.partitions);
    let mut source = Source::open(&args, &settings.events)?;
    let interrupted = interruption();
    let mut sender = Sender::connect(broker.clone(), Arc::clone(&interrupted)).await?;
    let mut tally = Tally::default();
    let started = Instant::now();
    let outcome = send_all(&args, &mut source, &mut sender, &mut tally, broker.partitions, &interrupted).await;
    // Whatever happened, what was published is said.
    let flushed = sender.flush().await;
    let report = Report::new(report::Parts {
        source: source.name(),
        seed: args.seed,
        base_date: source.base_date(),
        stream: &broker.stream,
        partitions: broker.partitions,
        resent: sender.resent(),
        unconfirmed: sender.unconfirmed(),
        elapsed: started.elapsed(),
        tally: &tally,
    });
    sender.close().await;
    report.write(args.json, args.report.as_deref())?;
    outcome.and(flushed.map_err(Into::into)).context("publishing")?;
    Ok(ExitCode::SUCCESS)
}

/// Sends until the source is empty, the time is over or the user interrupts.
async fn send_all(
    args: &Args,
    source: &mut Source,
    sender: &mut Sender,
    tally: &mut Tally,
    partitions: u16,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    let mut progress = Progress::of_messages(source.expected());
    let pace = Pace::new(args.rate);
    let mut round_robin = 0;
    let started = Instant::now();
    let mut body = Vec::new();
    loop {
        let sent = tally.counts().sent;
        let confirmed = sender.confirmed();
        progress.report(sent, |seconds| tracing::info!(sent, confirmed, seconds, "publishing"));
        pace.wait(sent, sender).await?;
        let over = args.duration.is_some_and(|duration| started.elapsed() >= duration);
        if over || interrupted.load(Ordering::Relaxed) {
            break;
        }
        let Some(note) = source.next(Utc::now(), sent, &mut body)? else { break };
        let partition = note.org_id.map_or_else(
            || {
                round_robin = (round_robin + 1) % partitions;
                round_robin
            },
            |org_id| home_partition(org_id, partitions),
        );
        tally.add(&note);
        sender.send(partition, std::mem::take(&mut body)).await?;
    }
    progress.end(tally.counts().sent);
    Ok(())
}
