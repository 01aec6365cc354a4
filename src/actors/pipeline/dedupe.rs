//! Dedupe: decodes and judges a batch, and separates fresh events from those that the database must judge.
//! In: Split(RawBatch, credit) from the consumer; Incomplete from the writer. Out: Write(Batch, credit) to the writer.
//! Failure: database away while the window loads → waits in place; until then more events are suspects.
//! Bound: the batch's credit; the window has a memory cap.

use std::{pin::pin, time::Duration};

use actix::prelude::*;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures_util::TryStreamExt;

use crate::{
    actors::{
        pipeline::{
            Credit,
            writer::{Incomplete, Write},
        },
        supervision::{
            backoff::Backoff,
            position::PartitionPosition,
            vitals::{Vitals, supervised},
        },
    },
    config::{self, Settings},
    domain::{
        batch::{RawBatch, SplitRules, split},
        event::{EventKey, Rules},
        partition::Topology,
        trace,
        window::Window,
    },
    store::{self, StoreError, clock::DatabaseClock, ingest::partitions::Claim},
    telemetry::{
        metrics::{FilterState, Metrics},
        traces::spans::BatchSpan,
    },
};

/// How often the filter's state is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

pub struct Dedupe {
    settings: DedupeSettings,
    claim: Claim,
    clock: DatabaseClock,
    progress: PartitionPosition,
    metrics: Metrics,
    /// The newest publish time that was read.
    reached: Option<DateTime<Utc>>,
    writer: Recipient<Write>,
    window: Window,
    /// `foreign_writes` that the window was loaded after.
    foreign_writes: i64,
    loading: Option<SpawnHandle>,
    /// Loadings begun; the last one counts.
    loadings: u64,
    vitals: Vitals,
}

pub struct DedupeParts {
    pub settings: DedupeSettings,
    pub claim: Claim,
    pub clock: DatabaseClock,
    pub progress: PartitionPosition,
    pub metrics: Metrics,
    pub writer: Recipient<Write>,
}

#[derive(Clone)]
pub struct DedupeSettings {
    events: config::Events,
    dedupe: config::Dedupe,
    database: config::Database,
}

impl DedupeSettings {
    pub fn of(settings: &Settings) -> Self {
        Self { events: settings.events, dedupe: settings.dedupe, database: settings.database.clone() }
    }

    /// What the events of a partition are judged by now.
    pub fn rules(&self, now: DateTime<Utc>, claim: &Claim) -> SplitRules {
        let events = &self.events;
        SplitRules {
            event: Rules { now, max_ahead: events.max_ahead(), retention: events.retention() },
            late_after: events.late_after(),
            reached: None,
            window: self.dedupe.window(),
            partition: claim.partition,
            partitions: claim.topology.partitions,
        }
    }

    fn cold_window(&self, now: DateTime<Utc>) -> Window {
        Window::new(self.dedupe.memory_bytes, self.dedupe.window(), now)
    }
}

impl Dedupe {
    pub fn new(parts: DedupeParts, vitals: Vitals) -> Self {
        let window = parts.settings.cold_window(parts.clock.now());
        Self {
            window,
            foreign_writes: parts.claim.foreign_writes,
            settings: parts.settings,
            claim: parts.claim,
            clock: parts.clock,
            progress: parts.progress,
            metrics: parts.metrics,
            reached: None,
            writer: parts.writer,
            loading: None,
            loadings: 0,
            vitals,
        }
    }

    fn show(&self) {
        let covered = self.window.covered(self.clock.now()).to_std().unwrap_or_default();
        let filter = FilterState { keys: self.window.len(), capacity: self.window.capacity(), covered };
        self.metrics.dedupe_filter(self.claim.partition, filter);
    }

    /// Loads the window in the background, newest first.
    fn load(&mut self, ctx: &mut Context<Self>) {
        if let Some(loading) = self.loading.take() {
            ctx.cancel_future(loading);
        }
        self.loadings += 1;
        let now = self.clock.now();
        let plan = LoadPlan {
            loading: self.loadings,
            database: self.settings.database.clone(),
            topology: self.claim.topology.clone(),
            partition: self.claim.partition,
            now,
            // Events that come late by a window's length are still distinguished from known ones.
            oldest: now - self.settings.dedupe.window() * 2,
        };
        let loading = load_all(plan, ctx.address()).into_actor(self).map(|(), _, _| ());
        self.loading = Some(ctx.spawn(loading));
    }
}

supervised!(Dedupe);

impl Actor for Dedupe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
        self.show();
        ctx.run_interval(SHOW_EVERY, |actor, _| actor.show());
    }
}

/// Judge this batch.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Split {
    pub raw: RawBatch,
    pub credit: Credit,
    /// The batch's, until it is committed.
    pub span: BatchSpan,
}

impl Handler<Split> for Dedupe {
    type Result = ();

    fn handle(&mut self, Split { raw, credit, span }: Split, _: &mut Self::Context) {
        let _working = self.vitals.work();
        let decoding = tracing::debug_span!(parent: span.span(), trace::span::DECODE, otel.kind = "internal").entered();
        let rules = self.settings.rules(self.clock.now(), &self.claim);
        let rules = SplitRules { reached: self.reached.max(self.progress.watermark()), ..rules };
        let batch = split(raw, &rules, &mut self.window, self.foreign_writes);
        self.reached = self.reached.max(batch.published_to);
        drop(decoding);
        self.writer.do_send(Write { batch, credit, span });
    }
}

impl Handler<Incomplete> for Dedupe {
    type Result = ();

    fn handle(&mut self, incomplete: Incomplete, ctx: &mut Self::Context) {
        if incomplete.foreign_writes == self.foreign_writes {
            return;
        }
        // Batches in flight are not in the database yet: what they hold is kept, but nothing counts as loaded.
        self.window.uncover();
        self.foreign_writes = incomplete.foreign_writes;
        self.load(ctx);
    }
}

/// Keys that were read by that loading, the newest hours first.
#[derive(Message)]
#[rtype(result = "bool")]
struct Load {
    loading: u64,
    keys: Vec<(EventKey, DateTime<Utc>)>,
    covered: Covered,
}

/// What is complete with the keys of a message.
enum Covered {
    Nothing,
    /// Everything from then on.
    From(DateTime<Utc>),
    Everything,
}

impl Handler<Load> for Dedupe {
    /// Whether older keys are of use.
    type Result = bool;

    fn handle(&mut self, Load { loading, keys, covered }: Load, _: &mut Self::Context) -> bool {
        // What an earlier loading read may miss what was stored since.
        if loading != self.loadings {
            return false;
        }
        for (key, at) in keys {
            self.window.load(key, at);
        }
        match covered {
            Covered::Nothing => {}
            Covered::From(from) => self.window.loaded(Some(from)),
            Covered::Everything => self.window.loaded(None),
        }
        self.window.wants_more()
    }
}

/// Nothing more will be loaded.
#[derive(Message)]
#[rtype(result = "()")]
struct Loaded {
    loading: u64,
}

impl Handler<Loaded> for Dedupe {
    type Result = ();

    fn handle(&mut self, Loaded { loading }: Loaded, _: &mut Self::Context) {
        if loading == self.loadings {
            self.window.close();
            tracing::info!(partition = self.claim.partition, keys = self.window.len(), "the dedupe window is loaded");
        }
    }
}

/// Keys that are handed over at once, so that batches are judged in between.
const KEYS_A_MESSAGE: usize = 10_000;

struct LoadPlan {
    loading: u64,
    database: config::Database,
    topology: Topology,
    partition: u16,
    now: DateTime<Utc>,
    oldest: DateTime<Utc>,
}

async fn load_all(plan: LoadPlan, dedupe: Addr<Dedupe>) {
    let mut attempt = 0;
    while let Err(error) = try_load(&plan, &dedupe).await {
        tracing::warn!(partition = plan.partition, %error, "the dedupe window cannot be loaded yet");
        tokio::time::sleep(Backoff::DEPENDENCY.delay(attempt)).await;
        attempt += 1;
    }
    dedupe.do_send(Loaded { loading: plan.loading });
}

/// Hour by hour, newest first, each on top of what covers the later ones.
async fn try_load(plan: &LoadPlan, dedupe: &Addr<Dedupe>) -> Result<(), StoreError> {
    let hour = TimeDelta::hours(1);
    let timeout = plan.database.write_timeout();
    // A closed mailbox: the actor has ended, and this with it.
    let load = async |keys, covered| dedupe.send(Load { loading: plan.loading, keys, covered }).await.unwrap_or(false);
    let mut conn = store::connect_loader(&plan.database).await?;
    let oldest_chunk = store::lifecycle::chunks::oldest(&mut conn).await?;
    // Not what the settings or the clock allow: an event may have been accepted by larger ones before.
    let newest = store::ingest::partitions::newest_event(&mut conn, plan.now).await?;
    let mut to = newest.duration_trunc(hour).unwrap_or(newest) + hour;
    loop {
        // Nothing lies before the oldest chunk: then everything is covered.
        if oldest_chunk.is_none_or(|oldest| to <= oldest) {
            load(Vec::new(), Covered::Everything).await;
            return Ok(());
        }
        if to <= plan.oldest {
            return Ok(());
        }
        let from = to - hour;
        let mut keys = Vec::new();
        let mut rows = pin!(store::ingest::partitions::keys(&mut conn, from, to));
        while let Some((key, at)) =
            tokio::time::timeout(timeout, rows.try_next()).await.map_err(|_| StoreError::Timeout(timeout))??
        {
            if plan.topology.home_of(key.org_id) == plan.partition {
                keys.push((key, at));
            }
            if keys.len() >= KEYS_A_MESSAGE && !load(std::mem::take(&mut keys), Covered::Nothing).await {
                return Ok(());
            }
        }
        if !load(keys, Covered::From(from)).await {
            return Ok(());
        }
        to = from;
    }
}
