//! Pending merger: merges what is committed to partitions whose own rollup actor does not run: those that are parked or about
//! to restart here, and those that no living process holds. Otherwise their last batches would be in no response.
//! In: End. Out: Merged to freshness.
//! Failure: database away → tries again at the next look; a partition whose rows cannot be merged waits for ever longer, and
//!          `verify` names them.
//! Bound: one merge at a time, of a limited number of batches; a connection only while it looks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use actix::prelude::*;
use uuid::Uuid;

use crate::{
    actors::{
        housekeeping::freshness::Merged,
        pipeline::{
            partition::{group_name, merge_rules},
            rollup,
        },
        supervision::{
            actor_ref::ActorRef,
            backoff::Backoff,
            liveness::Working,
            registry::Registry,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    config::Settings,
    store::{
        Session, StoreError,
        rollups::merge::{self, Idle, MergeRules, PartitionName},
    },
    telemetry::{metrics::Metrics, traces::spans},
};

/// How often is looked whether a partition of this process does not run.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often to look for rows of partitions that no process holds.
const NOBODYS_EVERY: Duration = Duration::from_secs(30);
/// Pauses of a partition whose rows cannot be merged.
const RETRY: Backoff = Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(300) };

pub struct PendingMerger {
    /// Absent while it is at work.
    merger: Option<Merger>,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct PendingMergerParts {
    pub settings: Settings,
    /// This process.
    pub process: Uuid,
    pub registry: Registry,
    pub metrics: Metrics,
    pub freshness: ActorRef<Merged>,
}

impl PendingMerger {
    pub fn new(parts: PendingMergerParts, vitals: Vitals) -> Self {
        let merger = Merger {
            rules: merge_rules(&parts.settings),
            settings: parts.settings,
            process: parts.process,
            registry: parts.registry,
            metrics: parts.metrics,
            freshness: parts.freshness,
            looked_for_nobodys: None,
            failed: BTreeMap::new(),
        };
        Self { merger: Some(merger), vitals }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let work = async move |merger: &mut Merger, _: &Working| merger.look().await;
        self.begin(ctx, work, |_, looked, _| {
            if let Err(error) = looked {
                tracing::warn!(%error, "what is pending of partitions that do not run waits for the database");
            }
        });
    }
}

supervised!(PendingMerger, merger: Merger);

impl Actor for PendingMerger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |actor, ctx| actor.look(ctx));
    }
}

/// What it takes to look and to merge.
struct Merger {
    rules: MergeRules,
    settings: Settings,
    process: Uuid,
    registry: Registry,
    metrics: Metrics,
    freshness: ActorRef<Merged>,
    looked_for_nobodys: Option<Instant>,
    /// Streams whose rows cannot be merged: how often that was tried, and when it is tried again.
    failed: BTreeMap<String, (u32, Instant)>,
}

impl Merger {
    async fn look(&mut self) -> Result<(), StoreError> {
        let topology = self.settings.broker.topology();
        let mine = (0..topology.partitions).any(|n| self.registry.rests(&group_name(n)));
        if !mine && self.looked_for_nobodys.is_some_and(|at| at.elapsed() < NOBODYS_EVERY) {
            return Ok(());
        }
        self.looked_for_nobodys = Some(Instant::now());
        let mut session = Session::of_batches(self.settings.database.clone());
        let process = self.process;
        let idle = session.run(async |conn| merge::idle(conn, process).await).await?;
        self.failed.retain(|stream, _| idle.iter().any(|idle| idle.stream == *stream));
        for Idle { stream, partition, ours } in idle {
            let runs = ours && !self.registry.rests(&group_name(partition));
            let waits = self.failed.get(&stream).is_some_and(|(_, until)| Instant::now() < *until);
            if !runs && !waits {
                self.merge(&mut session, &stream, partition).await?;
            }
        }
        Ok(())
    }

    /// Merges what is pending of a partition; what is more than one merge takes is for the next look.
    async fn merge(&mut self, session: &mut Session, stream: &str, partition: u16) -> Result<(), StoreError> {
        let (topology, rules) = (self.settings.broker.topology(), self.rules);
        let name = PartitionName { stream, partition, topology: &topology };
        let span = spans::merge(partition);
        let merged = session.run(async |conn| merge::merge(conn, name, rules).await).await;
        rollup::trace(&span, &merged);
        match merged {
            Ok(merged) => {
                let batches = merged.merge.batches;
                rollup::report(merged, &self.metrics, &self.freshness);
                if batches > 0 {
                    tracing::info!(stream, partition, batches, "merged what a partition that does not run had pending");
                }
                self.failed.remove(stream);
            }
            Err(error) if error.is_transient() => {
                self.freshness.notify(Merged::Unknown);
                return Err(error);
            }
            Err(error) => {
                let (attempt, until) = self.failed.entry(stream.to_owned()).or_insert((0, Instant::now()));
                let delay = RETRY.ceiling(*attempt);
                (*attempt, *until) = (*attempt + 1, Instant::now() + delay);
                tracing::error!(stream, partition, %error, ?delay, "what is pending cannot be merged: see `verify`");
            }
        }
        Ok(())
    }
}
