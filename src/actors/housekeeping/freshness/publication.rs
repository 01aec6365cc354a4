//! What Redis has of the markers: written where something changed, kept alive where nothing did.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Judge;
use crate::{
    cache::{CacheError, FreshnessCache},
    config::Cache,
    domain::{freshness::FreshnessStatus, query::ModelFreshness},
    store::{
        self, Session, StoreError,
        rollups::freshness::{MarkerFilter, PAGE},
    },
    telemetry::metrics::{Metrics, Reconnected},
};

/// Markers are kept alive well before they expire.
const KEPT_ALIVE_PER_TTL: u64 = 3;

/// What has changed since the last time.
pub struct Changes {
    pub markers: Vec<(Uuid, ModelFreshness)>,
    /// Orgs of which nothing may be left from before, and when they were erased.
    pub erased: Vec<(Uuid, DateTime<Utc>)>,
    pub judge: Judge,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which markers are to be written from the record.
enum MarkerSelection {
    All,
    /// Those of orgs whose partition is one of these.
    OfPartitions(BTreeSet<u16>),
    OfOrg(Uuid),
    /// What was merged since, by a process that may have ended before it published that.
    MergedSince(DateTime<Utc>),
}

pub struct Publication {
    settings: Cache,
    metrics: Metrics,
    cache: Option<FreshnessCache>,
    /// The connection was lost at the last attempt.
    lost: bool,
    /// The last erasure whose org was taken out of the cache; none yet: what an earlier process left in it is not known.
    forgotten_to: Option<DateTime<Utc>>,
    /// By partition; where one changes, so do the markers of all its orgs. None: not all of them are there.
    statuses: Option<BTreeMap<u16, FreshnessStatus>>,
    /// Whose markers are there.
    orgs: BTreeSet<Uuid>,
    kept_alive: Instant,
}

impl Publication {
    pub fn new(settings: Cache, metrics: Metrics) -> Self {
        Self {
            settings,
            metrics,
            cache: None,
            lost: false,
            forgotten_to: None,
            statuses: None,
            orgs: BTreeSet::new(),
            kept_alive: Instant::now(),
        }
    }

    /// Any of the markers may have changed.
    pub fn publish_all(&mut self) {
        self.statuses = None;
    }

    pub fn forgotten_to(&self) -> Option<DateTime<Utc>> {
        self.forgotten_to
    }

    /// None: there was nothing to do.
    pub async fn publish(&mut self, session: &mut Session, changes: &Changes) -> Option<Result<(), String>> {
        let due = self.kept_alive.elapsed() >= self.keep_alive_every();
        let unchanged = self.statuses.as_ref() == Some(&changes.judge.statuses());
        if unchanged && !due && changes.markers.is_empty() && changes.erased.is_empty() {
            return None;
        }
        match self.write(session, changes, due).await {
            Ok(()) => {
                self.metrics.cache_published(true);
                if std::mem::take(&mut self.lost) {
                    self.metrics.reconnected(Reconnected::Cache);
                }
                Some(Ok(()))
            }
            Err(error) => {
                if let PublishError::Cache(error) = &error {
                    self.metrics.cache_published(false);
                    self.lost |= self.cache.is_some() && error.is_lost();
                }
                tracing::warn!(%error, "freshness markers cannot be published");
                // What is there is not known any more.
                self.statuses = None;
                Some(Err(error.to_string()))
            }
        }
    }

    fn keep_alive_every(&self) -> Duration {
        Duration::from_millis(self.settings.ttl_seconds * 1000 / KEPT_ALIVE_PER_TTL)
    }

    async fn write(&mut self, session: &mut Session, changes: &Changes, due: bool) -> Result<(), PublishError> {
        if self.cache.is_none() {
            self.cache = Some(FreshnessCache::connect(&self.settings).await?);
        }
        let every = self.keep_alive_every();
        let Some(cache) = &mut self.cache else { return Ok(()) };
        cache.forget(changes.erased.iter().map(|(org_id, _)| *org_id)).await?;
        cache.publish(&changes.markers).await?;
        self.orgs.extend(changes.markers.iter().map(|(org_id, _)| *org_id));
        let statuses = changes.judge.statuses();
        let mut rewritten = match &self.statuses {
            None => {
                self.orgs.clear();
                vec![MarkerSelection::All]
            }
            Some(published) => {
                let changed = statuses.iter().filter(|(partition, status)| published.get(partition) != Some(status));
                let changed: BTreeSet<u16> = changed.map(|(partition, _)| *partition).collect();
                // What came of erased orgs since is on record.
                let again = changes.erased.iter().map(|(org_id, _)| MarkerSelection::OfOrg(*org_id));
                (!changed.is_empty())
                    .then_some(MarkerSelection::OfPartitions(changed))
                    .into_iter()
                    .chain(again)
                    .collect()
            }
        };
        if due && self.statuses.is_some() {
            let orgs: Vec<Uuid> = self.orgs.iter().copied().collect();
            let gone = cache.keep_alive(&orgs).await?;
            self.orgs.retain(|org_id| !gone.contains(org_id));
            rewritten.extend(gone.into_iter().map(MarkerSelection::OfOrg));
            let twice = TimeDelta::from_std(2 * every).unwrap_or(TimeDelta::MAX);
            rewritten.extend(changes.now.checked_sub_signed(twice).map(MarkerSelection::MergedSince));
        }
        for which in &rewritten {
            self.rewrite(session, which, &changes.judge).await?;
        }
        self.statuses = Some(statuses);
        self.forgotten_to = changes.erased.iter().map(|(_, at)| *at).max().max(self.forgotten_to);
        if due {
            self.kept_alive = Instant::now();
        }
        Ok(())
    }

    /// Writes what is on record, a page at a time.
    async fn rewrite(
        &mut self,
        session: &mut Session,
        which: &MarkerSelection,
        judge: &Judge,
    ) -> Result<(), PublishError> {
        let Some(cache) = &mut self.cache else { return Ok(()) };
        let filter = match which {
            MarkerSelection::All | MarkerSelection::OfPartitions(_) => MarkerFilter::default(),
            MarkerSelection::OfOrg(org_id) => MarkerFilter { org_id: Some(*org_id), ..MarkerFilter::default() },
            MarkerSelection::MergedSince(since) => {
                MarkerFilter { merged_since: Some(*since), ..MarkerFilter::default() }
            }
        };
        let mut after = None;
        loop {
            let mut page = session.run(async |conn| store::rollups::freshness::page(conn, after, filter).await).await?;
            let last = (page.len() == PAGE).then(|| page.last_key_value().map(|(key, _)| *key)).flatten();
            if let MarkerSelection::OfPartitions(partitions) = which {
                page.retain(|(org_id, _), _| partitions.contains(&judge.partition_of(*org_id)));
            }
            cache.publish(&judge.judge_all(&page)).await?;
            self.orgs.extend(page.keys().map(|(org_id, _)| *org_id));
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }
}
