//! The servers that the process depends on: whether they answer, connections to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Metrics, PoolState, Reconnected, of};
use crate::telemetry::readiness::Readiness;

/// Connections of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    pub used: usize,
    pub idle: usize,
}

/// What is looked at when metrics are read; all of it is in memory.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    dependencies: BTreeSet<&'static str>,
    pools: BTreeMap<u32, Box<dyn Fn() -> PoolUse + Send>>,
}

impl Watched {
    // Every change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// A dependency that is configured.
    pub fn expect_dependency(&self, name: &'static str) {
        self.watched.lock().dependencies.insert(name);
    }

    /// Whether those answer that are configured, as they were last reported. One that this process does not use at the moment,
    /// such as the broker without a partition, has no series.
    pub fn dependencies(&self, readiness: &Readiness) {
        for &dependency in &self.watched.lock().dependencies {
            let labels = of::dependency_up { dependency };
            match readiness.is_up(dependency) {
                Some(up) => drop(self.series.dependency_up.get_or_create(&labels).set(up.into())),
                None => drop(self.series.dependency_up.remove(&labels)),
            }
        }
    }

    /// A connection was lost and is open again.
    pub fn reconnected(&self, dependency: Reconnected) {
        self.series.reconnects.get_or_create(&of::reconnects { dependency }).inc();
    }

    /// Shows the connections of the pool with this number, in place of the one that had it before.
    pub fn watch_pool(&self, number: u32, usage: impl Fn() -> PoolUse + Send + 'static) {
        self.watched.lock().pools.insert(number, Box::new(usage));
    }

    pub(super) fn show_pools(&self) {
        let pools: Vec<PoolUse> = self.watched.lock().pools.values().map(|usage| usage()).collect();
        let show = |state, connections: usize| {
            let connections = i64::try_from(connections).unwrap_or(i64::MAX);
            self.series.database_connections.get_or_create(&of::database_connections { state }).set(connections);
        };
        show(PoolState::Used, pools.iter().map(|pool| pool.used).sum());
        show(PoolState::Idle, pools.iter().map(|pool| pool.idle).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Format, *};

    #[test]
    fn configured_dependencies_are_up_or_down() {
        let (metrics, readiness) = (Metrics::default(), Readiness::default());
        metrics.expect_dependency("database");
        metrics.expect_dependency("broker");
        let series = || -> Vec<String> {
            metrics.dependencies(&readiness);
            let text = metrics.encode(Format::Prometheus).unwrap();
            let lines = text.lines().filter_map(|line| line.strip_prefix("analytics_dependency_up"));
            let mut found: Vec<String> = lines.map(str::to_owned).collect();
            found.sort();
            found
        };
        assert!(series().is_empty());
        readiness.up("database");
        readiness.up("objects");
        readiness.down("broker", "refused");
        assert_eq!(series(), [r#"{dependency="broker"} 0"#, r#"{dependency="database"} 1"#]);
        readiness.remove("broker");
        assert_eq!(series(), [r#"{dependency="database"} 1"#]);
    }

    #[test]
    fn pools_are_shown_together() {
        let metrics = Metrics::default();
        metrics.watch_pool(0, || PoolUse { used: 9, idle: 9 });
        metrics.watch_pool(0, || PoolUse { used: 1, idle: 2 });
        metrics.watch_pool(1, || PoolUse { used: 3, idle: 0 });
        let text = metrics.encode(Format::Prometheus).unwrap();
        assert!(text.contains(r#"analytics_database_connections{state="used"} 4"#), "{text}");
        assert!(text.contains(r#"analytics_database_connections{state="idle"} 2"#), "{text}");
    }
}
