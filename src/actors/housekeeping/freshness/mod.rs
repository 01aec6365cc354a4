//! Freshness: publishes freshness markers in Redis for dashboards. Merges record them, each in its own transaction.
//! At its looks at the database it also shows how far the partitions are, and what waits there.
//! In: Merged from the rollups; Drain, End. Out: nothing.
//! Failure: database or Redis away → what changed waits and is published when it is back.
//!          An org is erased → it has no markers on record, and none is published.
//! Bound: one key for an org and model, however many merges, and MOST_OPEN of them; one write at a time, a page of markers
//!        in memory.

mod publication;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use actix::prelude::*;
use uuid::Uuid;

use self::publication::{Changes, Publication};
use crate::{
    actors::supervision::{
        exit::Drain,
        liveness::Working,
        vitals::{OneAtATime as _, Vitals, supervised},
    },
    config::{self, Settings},
    domain::{
        freshness::{Freshness as Judgement, FreshnessStatus, Thresholds},
        partition::Topology,
        query::ModelFreshness,
    },
    store::{
        self, PgConnection, Session, StoreError,
        lifecycle::backlog,
        rollups::freshness::{Marker, MarkerKey, Watermarks},
    },
    telemetry::{
        metrics::Metrics,
        readiness::{CACHE, DATABASE, Readiness},
    },
};

/// How often is looked at what waits in the database, and for how long at most: markers are not to wait for it.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Markers that wait to be published. Where more do, all are published again, page by page.
const MOST_OPEN: usize = 200_000;

pub struct Freshness {
    /// Absent while a write is under way.
    writer: Option<(Session, MarkerWriter)>,
    settings: config::Freshness,
    /// Merged but not published yet.
    open: BTreeSet<MarkerKey>,
    /// All markers are to be published again.
    all_due: bool,
    readiness: Readiness,
    draining: bool,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct FreshnessParts {
    pub settings: Settings,
    pub readiness: Readiness,
    pub metrics: Metrics,
}

impl Freshness {
    pub fn new(parts: FreshnessParts, vitals: Vitals) -> Self {
        let settings = parts.settings.freshness;
        let writer = MarkerWriter {
            settings: parts.settings.clone(),
            recovered: false,
            publication: Publication::new(parts.settings.cache.clone(), parts.metrics.clone()),
            metrics: parts.metrics,
            looked: None,
        };
        Self {
            settings,
            open: BTreeSet::new(),
            all_due: false,
            readiness: parts.readiness,
            draining: false,
            vitals,
            writer: Some((Session::new(parts.settings.database.clone()), writer)),
        }
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return;
        }
        let (open, all_due) = (std::mem::take(&mut self.open), std::mem::take(&mut self.all_due));
        let draining = self.draining;
        let work = async move |(session, writer): &mut (Session, MarkerWriter), _: &Working| {
            if all_due {
                writer.publication.publish_all();
            }
            let outcome = writer.publish(session, &open).await;
            if outcome.database.is_ok() && !draining {
                writer.look(session).await;
            }
            (open, outcome)
        };
        self.begin(ctx, work, |actor, (open, outcome), ctx| {
            actor.report(DATABASE, &outcome.database);
            if let Some(cache) = &outcome.cache {
                actor.report(CACHE, cache);
            }
            if outcome.database.is_err() {
                actor.open.extend(open);
            }
            match actor.draining {
                // What came meanwhile is published too; without a database, at the next time that all are published.
                true if outcome.database.is_ok() && !actor.open.is_empty() => actor.publish(ctx),
                true => ctx.stop(),
                false => {}
            }
        });
    }

    fn report(&self, dependency: &str, outcome: &Result<(), String>) {
        match outcome {
            Ok(()) => self.readiness.up(dependency),
            Err(cause) => self.readiness.down(dependency, cause),
        }
    }
}

supervised!(Freshness, writer: (Session, MarkerWriter));

impl Actor for Freshness {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.settings.interval(), |actor, ctx| actor.publish(ctx));
    }
}

/// A partition's rollups were merged: the orgs and models whose markers changed.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Merged {
    Changed(Vec<MarkerKey>),
    /// The response to the merge was lost: any of the markers may have changed.
    Unknown,
}

impl Handler<Merged> for Freshness {
    type Result = ();

    fn handle(&mut self, merged: Merged, _: &mut Self::Context) {
        match merged {
            Merged::Changed(changed) if self.open.len() + changed.len() <= MOST_OPEN => self.open.extend(changed),
            Merged::Changed(_) => {
                self.open.clear();
                self.all_due = true;
            }
            Merged::Unknown => self.all_due = true,
        }
    }
}

impl Handler<Drain> for Freshness {
    type Result = ();

    /// Publishes what is open, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.publish(ctx);
    }
}

struct Outcome {
    database: Result<(), String>,
    /// None where no cache is configured or nothing was published.
    cache: Option<Result<(), String>>,
}

/// The actor's connections, and what it takes to use them.
struct MarkerWriter {
    settings: Settings,
    metrics: Metrics,
    recovered: bool,
    publication: Publication,
    /// When what waits in the database was looked at last.
    looked: Option<Instant>,
}

impl MarkerWriter {
    /// Shows what waits in the database, when that is due. As it was last is what is known where it cannot be read.
    async fn look(&mut self, session: &mut Session) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        match session.run_within(LOOK_WITHIN, backlog::read).await {
            Ok(found) => self.metrics.backlog(&found),
            Err(error) => tracing::debug!(%error, "what waits in the database cannot be read"),
        }
    }

    async fn publish(&mut self, session: &mut Session, open: &BTreeSet<MarkerKey>) -> Outcome {
        match session.run(async |conn| self.changes(conn, open).await).await {
            Ok(None) => Outcome { database: Ok(()), cache: None },
            Ok(Some(changes)) => Outcome { database: Ok(()), cache: self.publication.publish(session, &changes).await },
            Err(error) => {
                tracing::warn!(%error, "freshness markers wait for the database");
                Outcome { database: Err(error.to_string()), cache: None }
            }
        }
    }

    /// Returns what has changed, where there is a cache.
    async fn changes(
        &mut self,
        conn: &mut PgConnection,
        open: &BTreeSet<MarkerKey>,
    ) -> Result<Option<Changes>, StoreError> {
        if !self.recovered {
            store::rollups::freshness::recover(conn).await?;
            self.recovered = true;
        }
        let watermarks = store::rollups::freshness::watermarks(conn, &self.settings.broker.topology()).await?;
        for (partition, distance) in watermarks.distances() {
            self.metrics.partition_lag(partition, distance);
        }
        for (partition, at) in &watermarks.by_partition {
            self.metrics.watermark(*partition, *at);
        }
        for (partition, ahead) in watermarks.ahead() {
            self.metrics.watermark_ahead(partition, ahead);
        }
        self.metrics.freshness_lag(watermarks.distances().map(|(_, distance)| distance).max().unwrap_or_default());
        if self.settings.cache.url.is_empty() {
            return Ok(None);
        }
        // Before any markers are read: an erasure that comes between is in the next list.
        let erased = store::rollups::freshness::erased(conn, self.publication.forgotten_to()).await?;
        let judge = Judge::new(&self.settings, &watermarks);
        let markers = match open.is_empty() {
            true => Vec::new(),
            false => judge.judge_all(&store::rollups::freshness::recorded(conn, open.iter()).await?),
        };
        Ok(Some(Changes { markers, erased, judge, now: watermarks.now }))
    }
}

/// Lag and status of each partition, which are those of its orgs, and of those whose events come by it too.
struct Judge {
    topology: Topology,
    thresholds: Thresholds,
    /// Of the partitions whose watermarks are known.
    lags: BTreeMap<u16, i64>,
    misrouted: BTreeMap<Uuid, BTreeSet<u16>>,
}

impl Judge {
    fn new(settings: &Settings, watermarks: &Watermarks) -> Self {
        let lags = watermarks.lags().filter_map(|(n, lag)| Some((n, i64::try_from(lag.as_millis()).ok()?)));
        Self {
            topology: settings.broker.topology(),
            thresholds: settings.freshness.thresholds(),
            lags: lags.collect(),
            misrouted: watermarks.misrouted.clone(),
        }
    }

    fn partition_of(&self, org_id: Uuid) -> u16 {
        self.topology.home_of(org_id)
    }

    fn statuses(&self) -> BTreeMap<u16, FreshnessStatus> {
        self.lags.iter().map(|(partition, lag_ms)| (*partition, self.thresholds.judge(Some(*lag_ms)))).collect()
    }

    fn judge(&self, (org_id, _): MarkerKey, marker: &Marker) -> Judgement {
        // As the API reports it (org_watermark): of the partitions concerned the one that is furthest behind.
        let strays = self.misrouted.get(&org_id).into_iter().flatten().copied();
        let concerned = std::iter::once(self.topology.home_of(org_id)).chain(strays);
        let lags: Option<Vec<i64>> = concerned.map(|partition| self.lags.get(&partition).copied()).collect();
        let lag_ms = lags.and_then(|lags| lags.into_iter().max());
        Judgement {
            last_event_at: Some(marker.last_event_at),
            last_rollup_at: Some(marker.last_rollup_at),
            lag_ms,
            status: self.thresholds.judge(lag_ms),
        }
    }

    fn judge_all(&self, markers: &BTreeMap<MarkerKey, Marker>) -> Vec<(Uuid, ModelFreshness)> {
        let judged = markers
            .iter()
            .map(|(key, marker)| (key.0, ModelFreshness { model_id: key.1, freshness: self.judge(*key, marker) }));
        judged.collect()
    }
}
