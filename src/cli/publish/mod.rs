//! `publish`: puts a recorded trace or synthetic load on the stream and says exactly what it put there.

mod args;
mod base_date;
mod report;
mod sender;
mod source;

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::Utc;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    broker::publisher::Outgoing,
    config::Settings,
    domain::{partition::home_partition, workload::tally::Tally},
};

pub use args::Args;
use report::Report;
use sender::Sender;
use source::Source;

/// How often progress is written where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Messages between two looks at the clock for progress.
const LOOK_EVERY: u64 = 512;

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    if let Some(problem) = args.problem() {
        eprintln!("error: {problem}\n\nFor more information, try '--help'.");
        return Ok(ExitCode::from(2));
    }
    let mut broker = settings.broker.clone();
    broker.partitions = args.partitions.unwrap_or(broker.partitions);
    let mut source = Source::open(&args, &settings.events)?;
    let interrupted = interrupted_by_ctrl_c();
    let mut sender = Sender::connect(broker.clone(), Arc::clone(&interrupted)).await?;
    let mut tally = Tally::default();
    let started = Instant::now();
    let outcome = send_all(&args, &mut source, &mut sender, &mut tally, broker.partitions, &interrupted).await;
    // Whatever happened, what was published is said.
    let flushed = sender.flush().await;
    let unconfirmed = flushed.as_ref().err().or(outcome.as_ref().err()).map_or(0, sender::Stopped::unconfirmed);
    let report = Report::new(report::Parts {
        source: source.name(),
        seed: args.seed,
        base_date: source.base_date(),
        stream: &broker.stream,
        partitions: broker.partitions,
        resent: sender.handed_over().saturating_sub(tally.counts().sent),
        unconfirmed,
        elapsed: started.elapsed(),
        tally: &tally,
    });
    sender.close().await;
    report.write(args.json, args.report.as_deref())?;
    outcome.and(flushed).context("publishing")?;
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
) -> Result<(), sender::Stopped> {
    let mut progress = Progress::new(source.expected());
    let mut round_robin = 0;
    let started = Instant::now();
    let mut body = Vec::new();
    loop {
        let sent = tally.counts().sent;
        if sent.is_multiple_of(LOOK_EVERY) || args.rate.is_some() {
            progress.tell(sent, sender.confirmed());
        }
        if let Some(rate) = args.rate {
            pace(started, sent, rate, sender).await?;
        }
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
        sender.send(Outgoing { partition, body: Arc::new(std::mem::take(&mut body)) }).await?;
    }
    progress.end(tally.counts().sent, sender.confirmed());
    Ok(())
}

/// Waits until message number `sent` is due. A late one is followed by the next at once, so the rate holds on average.
async fn pace(started: Instant, sent: u64, rate: f64, sender: &mut Sender) -> Result<(), sender::Stopped> {
    #[expect(clippy::cast_precision_loss, reason = "a message is a microsecond off after 2^52 of them")]
    let due = started + Duration::from_secs_f64(sent as f64 / rate);
    let wait = due.saturating_duration_since(Instant::now());
    if !wait.is_zero() {
        sender.check().await?;
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

fn interrupted_by_ctrl_c() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&interrupted);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            set.store(true, Ordering::Relaxed);
            tracing::info!("interrupted: waiting for the confirms of what was sent");
        }
    });
    interrupted
}

/// A bar on a terminal, log lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    told: Instant,
}

impl Progress {
    fn new(expected: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = expected.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let template = "{bar:40} {human_pos}/{human_len} events, {per_sec}, {elapsed} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, started: Instant::now(), told: Instant::now() }
    }

    fn tell(&mut self, sent: u64, confirmed: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(sent);
        } else if self.told.elapsed() >= LOG_EVERY {
            self.told = Instant::now();
            tracing::info!(sent, confirmed, seconds = self.started.elapsed().as_secs(), "publishing");
        }
    }

    fn end(&mut self, sent: u64, confirmed: u64) {
        if let Some(bar) = self.bar.take() {
            bar.set_position(sent);
            bar.finish_with_message("sent");
        }
        tracing::debug!(sent, confirmed, "all sent");
    }
}
