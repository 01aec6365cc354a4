//! Partition: supervises one partition's pipeline, one for all.
//! In: Exited from its children; Drain. Out: Fatal to the composition root.
//! Failure: any child's end → all end, and after a delay all start anew from the committed offset. Database away at
//!          the start → waits in place. Fenced → the process must not go on.
//! Bound: one pipeline at a time.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    actors::{
        consumer::{Consumer, ConsumerParts, Drain},
        dedupe::{Dedupe, DedupeParts, DedupeSettings},
        freshness::Merged,
        rollup::{Rollup, RollupParts},
        supervision::{
            backoff::Backoff,
            exit::{Cause, ExitGuard, Exited, Stop},
            progress::Progress,
        },
        writer::{Outlets, Refusals, Writer, WriterParts},
    },
    config::Settings,
    store::{
        self, StoreError,
        clock::DatabaseClock,
        partitions::{self, Claim},
    },
    telemetry::{
        metrics::Metrics,
        readiness::{DATABASE, Readiness},
    },
};

/// The process cannot go on; the text says why.
pub struct Fatal(pub String);

pub struct Partition {
    parts: PartitionParts,
    progress: Progress,
    refusals: Refusals,
    backoff: Backoff,
    generation: u64,
    failures: u32,
    started_at: Instant,
    children: Option<Children>,
    /// Roles of the current generation that have not ended.
    alive: BTreeSet<&'static str>,
    /// Why the first of them ended.
    failed: Option<(&'static str, Cause)>,
    draining: bool,
}

pub struct PartitionParts {
    pub settings: Settings,
    pub partition: u16,
    /// This process.
    pub owner: Uuid,
    pub threads: Threads,
    pub freshness: Recipient<Merged>,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub fatal: mpsc::UnboundedSender<Fatal>,
    /// Never sent on: closed when the last partition has ended.
    pub alive: mpsc::Sender<()>,
}

/// Where the children run: receiving and decoding beside each other; storing and merging each by itself, so that
/// computing for the one does not delay the other.
#[derive(Clone)]
pub struct Threads {
    pub intake: ArbiterHandle,
    pub writer: ArbiterHandle,
    pub rollup: ArbiterHandle,
}

/// The addresses that the supervisor needs of a running pipeline.
struct Children {
    consumer: Addr<Consumer>,
    dedupe: Addr<Dedupe>,
    writer: Addr<Writer>,
    rollup: Addr<Rollup>,
}

impl Children {
    fn stop(&self) {
        self.consumer.do_send(Stop);
        self.dedupe.do_send(Stop);
        self.writer.do_send(Stop);
        self.rollup.do_send(Stop);
    }
}

impl Partition {
    pub fn new(parts: PartitionParts) -> Self {
        let supervision = &parts.settings.supervision;
        Self {
            backoff: Backoff {
                initial: Duration::from_millis(supervision.backoff_initial_ms),
                max: Duration::from_millis(supervision.backoff_max_ms),
            },
            progress: Progress::default(),
            refusals: Refusals::default(),
            generation: 0,
            failures: 0,
            started_at: Instant::now(),
            children: None,
            alive: BTreeSet::new(),
            failed: None,
            draining: false,
            parts,
        }
    }

    fn name(&self) -> String {
        format!("partition/{}", self.parts.partition)
    }

    /// Claims the partition, waiting for the database as long as it takes, then starts the pipeline.
    fn start_pipeline(&mut self, ctx: &mut Context<Self>) {
        let claiming =
            claim(self.parts.settings.clone(), self.parts.partition, self.parts.owner, self.parts.readiness.clone());
        ctx.spawn(claiming.into_actor(self).map(|claimed, actor, ctx| match claimed {
            Ok(_) if actor.draining => ctx.stop(),
            Ok(claim) => actor.start_children(claim, ctx),
            Err(error) => {
                tracing::error!(actor = actor.name(), %error, "the partition cannot be claimed");
                actor.schedule_restart(ctx, &error.to_string());
            }
        }));
    }

    /// The pipeline on one screen, the last stage first since each needs the next one's address.
    fn start_children(&mut self, claim: Claim, ctx: &mut Context<Self>) {
        self.generation += 1;
        self.started_at = Instant::now();
        self.progress.restarted(claim.next_offset);
        tracing::info!(
            actor = self.name(),
            generation = self.generation,
            offset = claim.next_offset,
            epoch = claim.epoch,
            "started"
        );
        let PartitionParts { settings, partition, threads, freshness, metrics, readiness, .. } = &self.parts;
        let clock = DatabaseClock::new(claim.now);
        let (generation, supervisor) = (self.generation, ctx.address().recipient());
        let exit = |role| ExitGuard::new(role, generation, supervisor.clone());
        let rollup = RollupParts {
            database: settings.database.clone(),
            settings: settings.rollup,
            claim: claim.clone(),
            progress: self.progress.clone(),
            metrics: metrics.clone(),
            freshness: freshness.clone(),
            exit: exit("rollup"),
        };
        let rollup = Rollup::start_in_arbiter(&threads.rollup, move |_| Rollup::new(rollup));

        // Consumer, dedupe and writer send to each other in a circle: their mailboxes come first, then they themselves.
        let (consumer_tx, consumer_rx) = actix::dev::channel::channel(MAILBOX);
        let (dedupe_tx, dedupe_rx) = actix::dev::channel::channel(MAILBOX);
        let (consumer, dedupe) = (Addr::<Consumer>::new(consumer_tx), Addr::<Dedupe>::new(dedupe_tx));
        let writer = WriterParts {
            database: settings.database.clone(),
            dedupe: settings.dedupe,
            claim: claim.clone(),
            clock: clock.clone(),
            progress: self.progress.clone(),
            metrics: metrics.clone(),
            refusals: self.refusals.clone(),
            outlets: Outlets {
                consumer: consumer.clone().recipient(),
                rollup: rollup.clone().recipient(),
                dedupe: dedupe.clone().recipient(),
            },
            exit: exit("writer"),
        };
        let writer = Writer::start_in_arbiter(&threads.writer, move |_| Writer::new(writer));
        let from_offset = claim.next_offset;
        let parts = DedupeParts {
            settings: DedupeSettings::of(settings),
            claim,
            clock,
            writer: writer.clone().recipient(),
            exit: exit("dedupe"),
        };
        threads.intake.spawn_fn(move || {
            Context::with_receiver(dedupe_rx).run(Dedupe::new(parts));
        });
        let parts = ConsumerParts {
            broker: settings.broker.clone(),
            batch: settings.batch,
            partition: *partition,
            from_offset,
            progress: self.progress.clone(),
            readiness: readiness.clone(),
            dedupe: dedupe.clone().recipient(),
            exit: exit("consumer"),
        };
        threads.intake.spawn_fn(move || {
            Context::with_receiver(consumer_rx).run(Consumer::new(parts));
        });
        self.alive = BTreeSet::from(["consumer", "dedupe", "writer", "rollup"]);
        self.parts.metrics.actor_up(&self.name(), true);
        self.parts.readiness.up(&self.name());
        self.children = Some(Children { consumer, dedupe, writer, rollup });
    }

    fn schedule_restart(&mut self, ctx: &mut Context<Self>, cause: &str) {
        let delay = self.backoff.delay(self.failures);
        self.failures += 1;
        self.parts.metrics.actor_restarted(&self.name());
        self.parts.readiness.down(&self.name(), cause);
        tracing::error!(actor = self.name(), generation = self.generation, cause, ?delay, "failed, starting again");
        ctx.run_later(delay, |actor, ctx| if actor.draining { ctx.stop() } else { actor.start_pipeline(ctx) });
    }

    /// The next step of an orderly end: when the consumer has ended nothing is in flight, and only merging is left.
    fn drain_on(&mut self, ended: &'static str, ctx: &mut Context<Self>) {
        if let Some(children) = &self.children {
            match ended {
                "consumer" => children.rollup.do_send(Drain),
                "rollup" => children.stop(),
                _ => {}
            }
        }
        if self.alive.is_empty() {
            ctx.stop();
        }
    }
}

/// Waits for the database as long as it takes: a dependency that is away is no failure of ours.
async fn claim(settings: Settings, partition: u16, owner: Uuid, readiness: Readiness) -> Result<Claim, StoreError> {
    let mut attempt = 0;
    loop {
        let claimed = async {
            let mut conn = store::connect(&settings.database.url, settings.database.connect_timeout()).await?;
            partitions::claim(&mut conn, settings.broker.topology(), partition, owner).await
        };
        match claimed.await {
            Err(error) if error.is_transient() => {
                readiness.down(DATABASE, error.to_string());
                let delay = Backoff::DEPENDENCY.delay(attempt);
                tracing::warn!(partition, %error, ?delay, "claiming waits for the database");
                tokio::time::sleep(delay).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Slots of a mailbox; no bound, see the module's own.
const MAILBOX: usize = 16;

impl Actor for Partition {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.start_pipeline(ctx);
    }
}

impl Handler<Exited> for Partition {
    type Result = ();

    fn handle(&mut self, exited: Exited, ctx: &mut Self::Context) {
        if exited.generation != self.generation || !self.alive.remove(exited.role) {
            return;
        }
        tracing::debug!(actor = self.name(), role = exited.role, cause = %exited.cause, "ended");
        if self.draining {
            self.drain_on(exited.role, ctx);
            return;
        }
        // The first end is the cause; the others are asked to end.
        if let Some(children) = self.children.take() {
            children.stop();
            self.parts.metrics.actor_up(&self.name(), false);
            if self.started_at.elapsed() >= Duration::from_millis(self.parts.settings.supervision.backoff_reset_ms) {
                self.failures = 0;
            }
            if let Cause::Fenced(why) = &exited.cause {
                // The composition root may be gone already, on its own way out.
                let _ = self.parts.fatal.send(Fatal(why.clone()));
            }
            self.failed = Some((exited.role, exited.cause));
        }
        if self.alive.is_empty() {
            match self.failed.take() {
                // Claiming again would only fence the process that took over.
                Some((_, Cause::Fenced(_))) | None => {}
                Some((role, cause)) => self.schedule_restart(ctx, &format!("{role}: {cause}")),
            }
        }
    }
}

/// Ends the pipeline in order: stop reading, store what is in flight, merge what is pending. The actor then ends.
impl Handler<Drain> for Partition {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        match &self.children {
            Some(children) => children.consumer.do_send(Drain),
            // Waiting for a restart, or for the last children of a failed pipeline: nothing can be finished.
            None => ctx.stop(),
        }
    }
}
