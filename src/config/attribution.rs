//! Attribution: what is summed by client, person, team and error, and how much of it.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::declare::section;
use crate::domain::attribution::{Dimension, Set, carried};

/// Sets at most: each event is part of a sum of each.
const MAX_SETS: usize = 8;

section! {
    pub struct Attribution in attribution {
        /// The sets of dimensions that usage is summed by, separated by semicolons; empty: none. A set is a list of modelId, clientId, actorId,
        /// status, errorCode and meta.FIELD (a field of the metadata), separated by commas. A request is answered by a set
        /// that has all dimensions that it groups and filters by. With actorId, and with metadata that names people, usage is kept by person:
        /// no set has them unless it is declared here. The history of a new set is counted from raw events.
        sets: String = "clientId,modelId; status,errorCode,clientId,modelId",
            must("be sets of different dimensions, separated by semicolons, at most 8", of => parsed(&of.sets).is_some());
        /// How often what was committed is added to the sums, seconds. So long may attribution be behind usage.
        fold_seconds: u64 = 60, from(1..=600);
        /// Combinations of values of an organisation, a set and a UTC day that keep their names. What lies beyond is summed without.
        max_keys: u32 = 10_000, from(100..=100_000);
        /// How long the sums are kept, days. Not longer than the organisation's rollups, where these have a retention of their own.
        retention_days: i64 = 400, from(1..=3650);
    }
}

impl Attribution {
    /// The sets, in the order in which they are declared.
    pub fn sets(&self) -> Vec<Set> {
        parsed(&self.sets).unwrap_or_default()
    }

    /// The dimensions that batches have to say the values of.
    pub fn carried(&self) -> Arc<[Dimension]> {
        carried(&self.sets()).into()
    }

    pub fn fold_every(&self) -> Duration {
        Duration::from_secs(self.fold_seconds)
    }

    pub fn retention(&self) -> TimeDelta {
        TimeDelta::days(self.retention_days)
    }
}

/// None where it is no list of sets. Two sets of the same dimensions would be one.
fn parsed(text: &str) -> Option<Vec<Set>> {
    let written: Vec<&str> = text.split(';').map(str::trim).filter(|set| !set.is_empty()).collect();
    let sets: Vec<Set> = written.into_iter().map(|set| set.parse().ok()).collect::<Option<_>>()?;
    let mut sorted: Vec<Vec<Dimension>> = sets.iter().map(|set| set.dimensions().to_vec()).collect();
    sorted.iter_mut().for_each(|set| set.sort());
    sorted.sort();
    sorted.dedup();
    (sorted.len() == sets.len() && sets.len() <= MAX_SETS).then_some(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_in_their_order() {
        let texts = |text| parsed(text).map(|sets| sets.iter().map(Set::to_string).collect::<Vec<_>>());
        assert_eq!(texts("modelId ; meta.a b,modelId;").unwrap(), ["modelId", "meta.a b,modelId"]);
        assert_eq!(texts(" ").unwrap(), Vec::<String>::new());
        for wrong in ["what", "modelId,modelId", "clientId,modelId;modelId,clientId", "modelId;;what"] {
            assert_eq!(texts(wrong), None, "{wrong}");
        }
    }
}
