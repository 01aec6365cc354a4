//! Stream watcher: shows which messages the streams of this process's partitions still have, and how long until one is dropped
//! that is not committed. It reads by itself, so it sees that also while a pipeline is parked or the database is away.
//! In: End. Out: nothing.
//! Failure: broker away → what was seen last stays, it is tried again at the next look; out of restarts it is parked.
//! Bound: one connection, for a moment; one partition at a time, each once in LOOK_EVERY.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use actix::prelude::*;
use chrono::{DateTime, Utc};

use crate::{
    actors::{
        pipeline::partition::group_name,
        supervision::{
            liveness::Working,
            position::PartitionPosition,
            registry::Registry,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    broker::{
        BrokerError,
        glance::Glance,
        incoming::{Seen, StartAt},
        streams::Streams,
    },
    domain::headroom::Ends,
    telemetry::metrics::Metrics,
};

/// How often a partition is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often is looked for partitions that came.
const TICK: Duration = Duration::from_secs(1);

pub struct StreamWatcher {
    /// Absent while it looks.
    watch: Option<Watch>,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct StreamWatcherParts {
    pub streams: Streams,
    pub registry: Registry,
    pub metrics: Metrics,
}

impl StreamWatcher {
    pub fn new(parts: StreamWatcherParts, vitals: Vitals) -> Self {
        Self { watch: Some(Watch { parts, looked: BTreeMap::new() }), vitals }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.begin(ctx, async |watch: &mut Watch, working: &Working| watch.look(working).await, |_, (), _| {});
    }
}

supervised!(StreamWatcher, watch: Watch);

impl Actor for StreamWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, ctx| actor.look(ctx));
    }
}

/// What it takes to look.
struct Watch {
    parts: StreamWatcherParts,
    /// When each partition was looked at last.
    looked: BTreeMap<u16, Instant>,
}

impl Watch {
    async fn look(&mut self, working: &Working) {
        let Self { parts: StreamWatcherParts { streams, registry, .. }, looked } = self;
        let here: Vec<u16> = (0..streams.broker.partitions).filter(|n| registry.contains(&group_name(*n))).collect();
        looked.retain(|partition, at| here.contains(partition) && at.elapsed() < LOOK_EVERY);
        let due: Vec<u16> = here.into_iter().filter(|partition| !looked.contains_key(partition)).collect();
        if due.is_empty() {
            return;
        }
        let mut glance = None;
        for partition in due {
            working.beat();
            self.looked.insert(partition, Instant::now());
            if let Err(error) = self.look_at(partition, &mut glance).await {
                tracing::debug!(partition, %error, "the stream cannot be looked at");
                // What failed may be the connection: the next partition has a new one.
                close(glance.take()).await;
            }
        }
        close(glance).await;
    }

    async fn look_at(&self, partition: u16, glance: &mut Option<Glance>) -> Result<(), BrokerError> {
        let StreamWatcherParts { streams, registry, metrics } = &self.parts;
        let broker = &streams.broker;
        let first = first_of(glance, streams, partition, StartAt::First).await?;
        let Some(Seen { offset: first_offset, published_at: first_published_at }) = first else {
            metrics.retention_headroom(partition, None);
            return Ok(());
        };
        metrics.stream_first_offset(partition, first_offset);
        let position = registry.progress(&group_name(partition));
        if position.incarnation() == 0 {
            return Ok(());
        }
        let uncommitted_since = uncommitted_since(glance, streams, partition, &position).await?;
        let now = Utc::now();
        let ends = Ends {
            first_offset,
            first_published_at,
            uncommitted_since: uncommitted_since.unwrap_or(now).min(now),
            now,
        };
        let headroom = ends.headroom(broker.own_records, broker.stream_max_age());
        metrics.retention_headroom(partition, headroom.map(|headroom| headroom.num_milliseconds() as f64 / 1000.0));
        Ok(())
    }
}

/// When the oldest message was published that is not committed; none where there is none.
async fn uncommitted_since(
    glance: &mut Option<Glance>,
    streams: &Streams,
    partition: u16,
    position: &PartitionPosition,
) -> Result<Option<DateTime<Utc>>, BrokerError> {
    if position.caught_up().is_some() {
        return Ok(None);
    }
    match first_of(glance, streams, partition, StartAt::Offset(position.committed_offset())).await {
        // Nothing came in time: a slow broker proves nothing.
        Ok(None) => Ok(position.watermark()),
        // Everything up to the watermark is committed, so what is not is of no time before it.
        Ok(Some(Seen { published_at, .. })) => Ok(published_at.or(position.watermark())),
        Err(BrokerError::Unreadable(_)) => {
            close(glance.take()).await;
            Ok(position.watermark())
        }
        Err(error) => Err(error),
    }
}

async fn close(glance: Option<Glance>) {
    if let Some(glance) = glance {
        glance.close().await;
    }
}

async fn first_of(
    glance: &mut Option<Glance>,
    streams: &Streams,
    partition: u16,
    from: StartAt,
) -> Result<Option<Seen>, BrokerError> {
    let opened = match glance.take() {
        Some(opened) => opened,
        None => Glance::open(streams).await?,
    };
    glance.insert(opened).first(partition, from).await
}
