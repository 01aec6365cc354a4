//! Partition: one partition's pipeline on one screen, as the group of actors that start and end together.
//!
//! Started when this process holds the partition: a claim begins a new epoch, and all five actors are made from the
//! committed offset. The database away → the claim waits in place. The partition not ours any more → nothing is started.

use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use uuid::Uuid;

use crate::{
    actors::{
        housekeeping::freshness::Merged,
        pipeline::{
            consumer::{Consumer, ConsumerParts},
            dedupe::{Dedupe, DedupeParts, DedupeSettings},
            misrouted::MisroutedLog,
            replay::{Replay, ReplayParts},
            rollup::{Rollup, RollupParts},
            writer::{Outlets, Refusals, Writer, WriterParts},
        },
        supervision::{
            actor_ref::ActorRef,
            backoff::Backoff,
            exit::Cause,
            group::{Launch, Member, Start},
            log::SupervisionLog,
            position::PartitionPosition,
            registry::Registry,
        },
    },
    broker::streams::Streams,
    config::Settings,
    store::{
        self, StoreError,
        clock::DatabaseClock,
        ingest::partitions::{self, Claim},
        rollups::merge::MergeRules,
    },
    telemetry::{
        metrics::Metrics,
        readiness::{DATABASE, Readiness},
    },
};

/// Slots of a mailbox; no bound, see the module's own.
const MAILBOX: usize = 16;

/// What the pipelines of all partitions have in common.
#[derive(Clone)]
pub struct PartitionParts {
    pub settings: Settings,
    pub streams: Streams,
    /// This process.
    pub process: Uuid,
    pub freshness: ActorRef<Merged>,
    pub misrouted: MisroutedLog,
    pub registry: Registry,
    pub log: SupervisionLog,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

/// Where the actors run: receiving and decoding beside each other; storing and merging each by itself, so that computing
/// for the one does not delay the other.
#[derive(Clone)]
pub struct Threads {
    pub intake: ArbiterHandle,
    pub writer: ArbiterHandle,
    pub rollup: ArbiterHandle,
}

/// How pending rows are merged.
pub fn merge_rules(settings: &Settings) -> MergeRules {
    MergeRules {
        max_batches: settings.rollups.max_batches,
        late_after: settings.events.late_after(),
        freshness: settings.freshness.thresholds(),
    }
}

/// The name of a partition's group.
pub fn group_name(partition: u16) -> String {
    format!("partition/{partition}")
}

/// The factory of a partition's pipeline, for its supervisor.
pub fn factory(parts: PartitionParts, partition: u16, threads: Threads) -> Start {
    let refusals = Refusals::default();
    Box::new(move |launch| {
        let (parts, threads, refusals) = (parts.clone(), threads.clone(), refusals.clone());
        async move {
            let claim = claim(&parts, partition).await?;
            // The registry's own, whatever was there before the group was put into it.
            let shared = Shared { progress: parts.registry.progress(&group_name(partition)), refusals };
            Ok(start(&parts, claim, &threads, &shared, &launch))
        }
        .boxed_local()
    })
}

/// What outlives restarts.
struct Shared {
    progress: PartitionPosition,
    refusals: Refusals,
}

/// Begins an epoch, waiting for the database as long as it takes: a dependency that is away is no failure of ours.
async fn claim(parts: &PartitionParts, partition: u16) -> Result<Claim, Cause> {
    let database = &parts.settings.database;
    let mut attempt = 0;
    loop {
        let claimed = async {
            let mut conn = store::connect_writer(database).await?;
            let claiming = partitions::claim(&mut conn, parts.settings.broker.topology(), partition, parts.process);
            let timeout = database.write_timeout();
            tokio::time::timeout(timeout, claiming).await.unwrap_or(Err(StoreError::Timeout(timeout)))
        };
        match claimed.await {
            Ok(Some(claim)) => return Ok(claim),
            Ok(None) => return Err(Cause::Stopped),
            Err(error) if error.is_transient() => {
                parts.readiness.down(DATABASE, error.to_string());
                let delay = Backoff::DEPENDENCY.delay(attempt);
                tracing::warn!(partition, %error, ?delay, "claiming waits for the database");
                tokio::time::sleep(delay).await;
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The last stage first, since each needs the next one's address.
fn start(parts: &PartitionParts, claim: Claim, threads: &Threads, shared: &Shared, launch: &Launch) -> Vec<Member> {
    let PartitionParts { settings, streams, freshness, misrouted, log, metrics, readiness, .. } = parts;
    let Shared { progress, refusals } = shared;
    let n = claim.partition;
    progress.claimed(claim.incarnation, claim.next_offset);
    progress.complete_to(claim.watermark);
    progress.began(claim.epoch);
    metrics.partition_next_offset(n, claim.next_offset);
    metrics.foreign_writes(n, claim.foreign_writes);
    tracing::info!(partition = n, offset = claim.next_offset, epoch = claim.epoch, "claimed");
    let clock = DatabaseClock::new(claim.now);
    // What each may wait for.
    let (reading, writing) = (settings.broker.longest_subscribe(), settings.database.longest_write());
    let stage = |role, waits| launch.stage(format!("{role}/{n}"), settings.supervision.deadline(waits));

    let (rollup_stage, vitals) = stage("rollup", writing);
    let parts = RollupParts {
        database: settings.database.clone(),
        settings: settings.rollups,
        rules: merge_rules(settings),
        claim: claim.clone(),
        progress: progress.clone(),
        metrics: metrics.clone(),
        freshness: freshness.clone(),
    };
    let rollup = Rollup::start_in_arbiter(&threads.rollup, move |_| Rollup::new(parts, vitals));

    // Consumer, dedupe and writer send to each other in a circle: their mailboxes come first, then they themselves.
    let (consumer_tx, consumer_rx) = actix::dev::channel::channel(MAILBOX);
    let (dedupe_tx, dedupe_rx) = actix::dev::channel::channel(MAILBOX);
    let (consumer, dedupe) = (Addr::<Consumer>::new(consumer_tx), Addr::<Dedupe>::new(dedupe_tx));
    let (writer_stage, vitals) = stage("writer", writing);
    let parts = WriterParts {
        database: settings.database.clone(),
        dedupe: settings.dedupe,
        carried: settings.attribution.carried(),
        claim: claim.clone(),
        clock: clock.clone(),
        progress: progress.clone(),
        metrics: metrics.clone(),
        log: log.clone(),
        misrouted: misrouted.clone(),
        refusals: refusals.clone(),
        outlets: Outlets {
            consumer: consumer.clone().recipient(),
            rollup: rollup.clone().recipient(),
            dedupe: dedupe.clone().recipient(),
        },
    };
    let writer = Writer::start_in_arbiter(&threads.writer, move |_| Writer::new(parts, vitals));

    let (dedupe_stage, vitals) = stage("dedupe", Duration::ZERO);
    let parts = DedupeParts {
        settings: DedupeSettings::of(settings),
        claim: claim.clone(),
        clock: clock.clone(),
        progress: progress.clone(),
        metrics: metrics.clone(),
        writer: writer.clone().recipient(),
    };
    threads.intake.spawn_fn(move || {
        Context::with_receiver(dedupe_rx).run(Dedupe::new(parts, vitals));
    });

    let (replay_stage, vitals) = stage("replay", reading + writing);
    let parts = ReplayParts {
        settings: settings.clone(),
        streams: streams.clone(),
        claim: claim.clone(),
        clock,
        rollup: rollup.clone().recipient(),
        metrics: metrics.clone(),
    };
    let replay = Replay::start_in_arbiter(&threads.rollup, move |_| Replay::new(parts, vitals));

    let (consumer_stage, vitals) = stage("consumer", reading);
    let parts = ConsumerParts {
        streams: streams.clone(),
        batch: settings.batch,
        claim,
        progress: progress.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        log: log.clone(),
        dedupe: dedupe.clone().recipient(),
    };
    threads.intake.spawn_fn(move || {
        Context::with_receiver(consumer_rx).run(Consumer::new(parts, vitals));
    });

    // In the order of an orderly end: when the consumer has ended nothing is in flight, and only merging is left.
    vec![
        consumer_stage.drains(&consumer),
        dedupe_stage.ends(&dedupe),
        writer_stage.ends(&writer),
        rollup_stage.drains(&rollup),
        replay_stage.ends(&replay),
    ]
}
