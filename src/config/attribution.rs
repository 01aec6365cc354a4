//! Attribution: what is summed by client, person, team and error, and how much of it.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::declare::section;
use crate::domain::attribution::{Dimension, Set, SetRetention, carried, split};

/// Sets at most: each event is part of a sum of each.
const MAX_SETS: usize = 8;
const RETENTION_DAYS: RangeInclusive<i64> = 1..=3650;

section! {
    pub struct Attribution in attribution {
        /// The sets of dimensions that usage is summed by, separated by semicolons; empty: none. A set is a list of modelId, clientId, actorId,
        /// status, errorCode and meta.FIELD (a field of the metadata), separated by commas. In the name of a field a backslash stands before
        /// a comma, a semicolon, a backslash, and a blank at its ends. A request is answered by a set
        /// that has all dimensions that it groups and filters by. With `90 days:` before it a set is kept for so long instead of
        /// retention_days (`90 days: actorId,modelId`). With actorId, and with metadata that names people, usage is kept by person:
        /// no set has them unless it is declared here. The history of a new set is counted from raw events.
        sets: String = "clientId,modelId; status,errorCode,clientId,modelId",
            must("be sets of different dimensions, separated by semicolons, at most 8, each with or without `N days:` before it (1 to 3650)",
                of => parsed(&of.sets).is_some());
        /// How often what was committed is added to the sums, seconds. So long may attribution be behind usage.
        fold_seconds: u64 = 60, from(1..=600);
        /// Combinations of values of an organisation, a set and a UTC day that keep their names. What lies beyond is summed without.
        max_keys: u32 = 10_000, from(100..=100_000);
        /// How long the sums are kept, days, of sets that do not say otherwise. Not longer than the organisation's rollups, where these have a retention of their own.
        retention_days: i64 = 400, from(1..=3650);
    }
}

impl Attribution {
    /// The sets, in the order in which they are declared.
    pub fn sets(&self) -> Vec<Set> {
        self.declared().into_iter().map(|(set, _)| set).collect()
    }

    /// The sets, and how long each is kept where it has a retention of its own.
    fn declared(&self) -> Vec<(Set, Option<TimeDelta>)> {
        parsed(&self.sets).unwrap_or_default()
    }

    /// The same settings with other sets. None where these are no list of sets.
    pub fn with_sets(&self, sets: &str) -> Option<Self> {
        parsed(sets).map(|_| Self { sets: sets.to_owned(), ..self.clone() })
    }

    /// The dimensions that batches have to say the values of.
    pub fn carried(&self) -> Arc<[Dimension]> {
        carried(&self.sets()).into()
    }

    pub fn fold_every(&self) -> Duration {
        Duration::from_secs(self.fold_seconds)
    }

    pub fn retention(&self) -> SetRetention {
        let own = self.declared().into_iter().filter_map(|(set, own)| Some((set, own?)));
        SetRetention { all: TimeDelta::days(self.retention_days), own: own.collect() }
    }
}

/// None where it is no list of sets. Two sets of the same dimensions would be one.
fn parsed(text: &str) -> Option<Vec<(Set, Option<TimeDelta>)>> {
    let written = split(text, ';').into_iter().map(str::trim_start).filter(|set| !set.is_empty());
    let sets: Vec<(Set, Option<TimeDelta>)> = written.map(one).collect::<Option<_>>()?;
    let mut sorted: Vec<Vec<Dimension>> = sets.iter().map(|(set, _)| set.dimensions().to_vec()).collect();
    sorted.iter_mut().for_each(|set| set.sort());
    sorted.sort();
    sorted.dedup();
    (sorted.len() == sets.len() && sets.len() <= MAX_SETS).then_some(sets)
}

/// A set with its retention. No dimension begins with a digit.
fn one(written: &str) -> Option<(Set, Option<TimeDelta>)> {
    if !written.starts_with(|c: char| c.is_ascii_digit()) {
        return Some((written.parse().ok()?, None));
    }
    let (days, set) = written.split_once("days:")?;
    let days = days.trim().parse().ok().filter(|days| RETENTION_DAYS.contains(days))?;
    Some((set.parse().ok()?, Some(TimeDelta::days(days))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_in_their_order() {
        let texts = |text| parsed(text).map(|sets| sets.iter().map(|(set, _)| set.to_string()).collect::<Vec<_>>());
        assert_eq!(texts("modelId ; meta.a b,modelId;").unwrap(), ["modelId", "meta.a b,modelId"]);
        assert_eq!(texts(" ").unwrap(), Vec::<String>::new());
        assert_eq!(texts(r"meta.a\;b ; modelId,meta.a\,b").unwrap(), [r"meta.a\;b", r"modelId,meta.a\,b"]);
        for wrong in ["what", "modelId,modelId", "clientId,modelId;modelId,clientId", "modelId;;what"] {
            assert_eq!(texts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_set_may_have_a_retention_of_its_own() {
        let days = |text| {
            parsed(text).map(|sets| sets.iter().map(|(_, own)| own.map(|own| own.num_days())).collect::<Vec<_>>())
        };
        let written = "modelId; 90 days: clientId,modelId;3650days:meta.9 days: x";
        assert_eq!(days(written).unwrap(), [None, Some(90), Some(3650)]);
        for wrong in ["0 days: modelId", "3651 days: modelId", "90: modelId", "-1 days: modelId", "90 days:"] {
            assert_eq!(days(wrong), None, "{wrong}");
        }
        let settings = Attribution {
            sets: "90 days: modelId; clientId".into(),
            fold_seconds: 60,
            max_keys: 100,
            retention_days: 400,
        };
        let of = |set: &str| settings.retention().of(&set.parse().unwrap()).num_days();
        assert_eq!((of("modelId"), of("clientId"), of("status")), (90, 400, 400));
        assert!(settings.with_sets("status;status").is_none());
    }
}
