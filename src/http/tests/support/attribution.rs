//! Attribution: three clients, what has none, and what has lost its name.

use super::{Fixed, reports::freshness};
use crate::{
    actors::serving::query::{GetAttribution, GetAttributionSets, GetAttributionValues},
    domain::{
        attribution::{AttributionReport, Dimension, KeyTotals, Measures, NoSet, Ranked, SetStatus, Value},
        calendar::Granularity,
        money::Cents,
    },
};

fn measures(invocations: u64, cost: i128) -> Measures {
    Measures {
        invocations,
        errors: 1,
        input_tokens: 15 * invocations,
        output_tokens: 20 * invocations,
        cost: Cents::from_ten_thousandths(cost),
    }
}

impl Fixed for GetAttribution {
    /// No set has persons. Whatever is grouped by, the first dimension has the values. Their series are in the first bucket.
    fn response(self) -> Result<AttributionReport, NoSet> {
        let Self { query, ranking } = self;
        if query.group_by.contains(&Dimension::Actor) {
            return Err(NoSet(sets()));
        }
        let one = |first: Value, invocations, cost| {
            let rest = query.group_by.iter().skip(1).map(|_| Value::Missing);
            let key = [first].into_iter().chain(rest).collect();
            KeyTotals { key, may_pass: false, measures: measures(invocations, cost) }
        };
        let named = |name: &str| Value::Named(name.into());
        let mut all = vec![one(named("web"), 2, 15_000), one(named("batch"), 8, 2_000), one(named("a\"🙂"), 4, 2_000)];
        all.push(one(Value::Missing, 1, 1));
        if query.filters.is_empty() {
            all.push(one(Value::Lost, 3, 300));
        }
        let ranked = Ranked::of(&all, &ranking);
        let series = match query.buckets.granularity {
            Granularity::None => Vec::new(),
            _ => ranked.groups.iter().map(|group| vec![(0, group.measures)]).collect(),
        };
        Ok(AttributionReport { ranked, series, freshness: freshness(), as_of: Some(query.buckets.end()) })
    }
}

pub fn sets() -> Vec<SetStatus> {
    vec![SetStatus { set: "clientId,modelId".parse().unwrap(), complete_from: None, max_keys: 10_000 }]
}

impl Fixed for GetAttributionSets {
    fn response(self) -> Vec<SetStatus> {
        sets()
    }
}

impl Fixed for GetAttributionValues {
    /// Names the query by the second value.
    fn response(self) -> Vec<String> {
        let query = self.0;
        vec!["web".to_owned(), format!("{} {} {}", query.dimension, query.prefix, query.limit), "more".to_owned()]
    }
}
