//! Freshness: publishes freshness markers in Redis for dashboards. Merges record them, each in its own transaction.
//! In: Merged from the rollups; Drain, End. Out: nothing.
//! Failure: database or Redis away → what changed waits and is published when it is back.
//!          An org is erased → it has no markers on record, and none is published.
//! Bound: one marker for an org and model, however many merges; one write at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    actors::supervision::{
        exit::{Drain, End, ExitGuard},
        pulse::Pulse,
    },
    cache::FreshnessCache,
    config::{self, Settings},
    domain::{
        freshness::{Freshness as Judgement, FreshnessStatus, Thresholds},
        partition::Topology,
        query::ModelFreshness,
    },
    store::{
        self, Session, StoreError,
        freshness::{Marker, MarkerKey, Watermarks},
    },
    telemetry::{
        metrics::Metrics,
        readiness::{CACHE, DATABASE, Readiness},
    },
};

/// Markers are published again well before they expire.
const REPUBLISH_PER_TTL: u64 = 3;

pub struct Freshness {
    /// Absent while a write is under way.
    desk: Option<(Session, Desk)>,
    settings: config::Freshness,
    /// Merged but not published yet.
    open: BTreeSet<MarkerKey>,
    /// All markers are to be published again.
    all_due: bool,
    readiness: Readiness,
    draining: bool,
    pulse: Pulse,
    #[expect(dead_code, reason = "reports the actor's end when it is dropped")]
    exit: ExitGuard,
}

pub struct FreshnessParts {
    pub settings: Settings,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub pulse: Pulse,
    pub exit: ExitGuard,
}

impl Freshness {
    pub fn new(parts: FreshnessParts) -> Self {
        let republish = Duration::from_millis(parts.settings.cache.ttl_seconds * 1000 / REPUBLISH_PER_TTL);
        let settings = parts.settings.freshness;
        let desk = Desk {
            settings: parts.settings.clone(),
            metrics: parts.metrics,
            republish,
            recovered: false,
            cache: None,
            published_all: None,
            forgotten_to: None,
            published_statuses: BTreeMap::new(),
        };
        Self {
            settings,
            open: BTreeSet::new(),
            all_due: false,
            readiness: parts.readiness,
            draining: false,
            pulse: parts.pulse,
            exit: parts.exit,
            desk: Some((Session::new(parts.settings.database.clone()), desk)),
        }
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        let Some((mut session, mut desk)) = self.desk.take() else { return };
        let open = std::mem::take(&mut self.open);
        if std::mem::take(&mut self.all_due) {
            desk.published_all = None;
        }
        let working = self.pulse.work();
        let work = async move {
            let outcome = desk.publish(&mut session, &open).await;
            ((session, desk), open, outcome)
        };
        ctx.spawn(work.into_actor(self).map(move |(desk, open, outcome), actor, ctx| {
            drop(working);
            actor.desk = Some(desk);
            actor.report(DATABASE, &outcome.database);
            if let Some(cache) = &outcome.cache {
                actor.report(CACHE, cache);
            }
            if outcome.database.is_err() {
                actor.open.extend(open);
            }
            match actor.draining {
                // What came meanwhile is published too; without a database by whoever publishes all the next time.
                true if outcome.database.is_ok() && !actor.open.is_empty() => actor.publish(ctx),
                true => ctx.stop(),
                false => {}
            }
        }));
    }

    fn report(&self, dependency: &str, outcome: &Result<(), String>) {
        match outcome {
            Ok(()) => self.readiness.up(dependency),
            Err(cause) => self.readiness.down(dependency, cause),
        }
    }
}

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
    /// The answer to the merge was lost: any of the markers may have changed.
    Unknown,
}

impl Handler<Merged> for Freshness {
    type Result = ();

    fn handle(&mut self, merged: Merged, _: &mut Self::Context) {
        match merged {
            Merged::Changed(changed) => self.open.extend(changed),
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

impl Handler<End> for Freshness {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        end.obey(&self.pulse, ctx);
    }
}

struct Outcome {
    database: Result<(), String>,
    /// None where no cache is configured or nothing was published.
    cache: Option<Result<(), String>>,
}

/// The actor's connections, and what it takes to use them.
struct Desk {
    settings: Settings,
    metrics: Metrics,
    republish: Duration,
    recovered: bool,
    cache: Option<FreshnessCache>,
    published_all: Option<Instant>,
    /// The last erasure whose org was taken out of the cache; none yet: what it was left with by whomever is not known.
    forgotten_to: Option<DateTime<Utc>>,
    /// By partition; when one changes, so do the markers of all its orgs.
    published_statuses: BTreeMap<u16, FreshnessStatus>,
}

impl Desk {
    async fn publish(&mut self, session: &mut Session, open: &BTreeSet<MarkerKey>) -> Outcome {
        match session.run(async |conn| self.due(conn, open).await).await {
            Ok(due) => {
                let nothing = due.markers.is_empty() && due.erased.is_empty();
                let cache = if nothing { None } else { Some(self.put(&due).await) };
                Outcome { database: Ok(()), cache }
            }
            Err(error) => {
                tracing::warn!(%error, "freshness markers wait for the database");
                Outcome { database: Err(error.to_string()), cache: None }
            }
        }
    }

    /// Returns the markers to publish: those that changed, or all when their time has come.
    async fn due(&mut self, conn: &mut PgConnection, open: &BTreeSet<MarkerKey>) -> Result<Due, StoreError> {
        if !self.recovered {
            store::freshness::recover(conn).await?;
            self.recovered = true;
        }
        let watermarks = store::freshness::watermarks(conn, &self.settings.broker.topology()).await?;
        for (partition, lag) in watermarks.lags() {
            self.metrics.partition_lag(partition, lag);
        }
        self.metrics.freshness_lag(watermarks.lags().map(|(_, lag)| lag).max().unwrap_or_default());
        if self.settings.cache.url.is_empty() {
            return Ok(Due { markers: Vec::new(), all: false, erased: Vec::new() });
        }
        // Before the markers are read: an erasure that comes between is in the next list.
        let erased = store::freshness::erased(conn, self.forgotten_to).await?;
        let judge = Judge::new(&self.settings, &watermarks);
        let statuses = judge.statuses();
        if statuses != self.published_statuses {
            self.published_statuses = statuses;
            self.published_all = None;
        }
        let all = self.published_all.is_none_or(|at| at.elapsed() >= self.republish);
        let markers = match all {
            true => store::freshness::all(conn).await?,
            false => store::freshness::recorded(conn, open.iter()).await?,
        };
        Ok(Due { markers: judge.judge_all(&markers), all, erased })
    }

    async fn put(&mut self, due: &Due) -> Result<(), String> {
        let published = async {
            let cache = match &mut self.cache {
                Some(cache) => cache,
                none => none.insert(FreshnessCache::connect(&self.settings.cache).await?),
            };
            cache.forget(due.erased.iter().map(|(org_id, _)| *org_id)).await?;
            cache.publish(&due.markers).await
        };
        match published.await {
            Ok(()) => {
                self.forgotten_to = due.erased.iter().map(|(_, at)| *at).max().max(self.forgotten_to);
                if due.all {
                    self.published_all = Some(Instant::now());
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "freshness markers cannot be published");
                self.published_all = None;
                Err(error.to_string())
            }
        }
    }
}

/// Markers to publish.
struct Due {
    markers: Vec<(Uuid, ModelFreshness)>,
    /// These are all there are.
    all: bool,
    /// Orgs of which nothing may be left, and when they were erased; what came of them since is among the markers.
    erased: Vec<(Uuid, DateTime<Utc>)>,
}

/// Lag and status of each partition, which are those of its orgs.
struct Judge {
    topology: Topology,
    thresholds: Thresholds,
    lags: BTreeMap<u16, i64>,
}

impl Judge {
    fn new(settings: &Settings, watermarks: &Watermarks) -> Self {
        let lags = watermarks.lags().filter_map(|(n, lag)| Some((n, i64::try_from(lag.as_millis()).ok()?)));
        Self { topology: settings.broker.topology(), thresholds: settings.freshness.thresholds(), lags: lags.collect() }
    }

    fn statuses(&self) -> BTreeMap<u16, FreshnessStatus> {
        self.lags.iter().map(|(partition, lag_ms)| (*partition, self.thresholds.judge(Some(*lag_ms)))).collect()
    }

    fn judge(&self, (org_id, _): MarkerKey, marker: &Marker) -> Judgement {
        let lag_ms = self.lags.get(&self.topology.home_of(org_id)).copied();
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
