//! Which misrouted orgs were logged already: one line for each org and process, however many of its events come.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{domain::partition::Topology, store::ingest::commit::Misrouted, telemetry::metrics::Metrics};

/// Orgs that are remembered; of further ones only the events are counted.
const MOST: usize = 10_000;

/// Shared by the partitions of a process, over their restarts.
#[derive(Clone, Default)]
pub struct MisroutedLog(Arc<Mutex<BTreeSet<Uuid>>>);

impl MisroutedLog {
    /// Counts the misrouted events of a batch, and logs the orgs that were not logged before.
    pub fn note(&self, misrouted: &[Misrouted], topology: &Topology, partition: u16, metrics: &Metrics) {
        for org in misrouted {
            metrics.misrouted(partition, org.events);
            if self.is_news(org.org_id) {
                let Misrouted { org_id, events, all_events, first_seen_at: since } = org;
                let home = topology.home_of(*org_id);
                tracing::warn!(
                    %org_id, partition, home, events, all_events, %since,
                    "an org's events come by another partition than its own: a producer routes otherwise"
                );
            }
        }
    }

    fn is_news(&self, org_id: Uuid) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < MOST && logged.insert(org_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_org_is_logged_once() {
        let log = MisroutedLog::default();
        let news = (0..4).map(|n| log.is_news(Uuid::from_u128(n % 2))).collect::<Vec<_>>();
        assert_eq!(news, [true, true, false, false]);
    }
}
