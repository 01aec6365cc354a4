//! What a response says of all keys: a page of the largest groups, and what is not in it. Whatever a key is, it is counted in one
//! place: `groups` of all pages, `other` of the last, `unattributed` and `overflow` add up to the totals.

use std::{cmp::Reverse, collections::BTreeSet};

use chrono::{DateTime, Utc};

use super::{Dimension, KeyKind, KeyTotals, Measures, Value};
use crate::domain::{freshness::Freshness, named::named};

named! {
    /// What groups are ordered by, largest first.
    pub enum OrderBy {
        Cost = "cost",
        Invocations = "invocations",
        InputTokens = "inputTokens",
        OutputTokens = "outputTokens",
        Errors = "errors",
    }
}

impl OrderBy {
    /// How much of it there is; of costs in their smallest units.
    pub fn amount(self, of: &Measures) -> i128 {
        match self {
            Self::Cost => of.cost.units(),
            Self::Invocations => of.invocations.into(),
            Self::InputTokens => of.input_tokens.into(),
            Self::OutputTokens => of.output_tokens.into(),
            Self::Errors => of.errors.into(),
        }
    }
}

/// Which page of groups is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    pub order_by: OrderBy,
    /// Most groups of the page.
    pub top: u16,
    /// The last group of the page before.
    pub behind: Option<Place>,
}

/// Where a group stands among all: larger amounts first, equal ones by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub amount: i128,
    pub key: Vec<Value>,
}

/// The events of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub key: Vec<Value>,
    /// Among all keys that were ranked.
    pub place: usize,
    /// Among all groups of the query, from 1.
    pub rank: usize,
    pub measures: Measures,
}

/// All that a response is made of, of one snapshot.
#[derive(Clone, Debug)]
pub struct AttributionReport {
    pub ranked: Ranked,
    /// Of each group of the page: by bucket, in order, where there was anything.
    pub series: Vec<Vec<(usize, Measures)>>,
    pub freshness: Freshness,
    pub as_of: Option<DateTime<Utc>>,
}

/// A page of groups, and where everything else is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranked {
    pub groups: Vec<Group>,
    /// Groups beyond this page and the pages before it, and what they add up to.
    pub other_groups: usize,
    pub other: Measures,
    /// Events that have none of the fields that are grouped by.
    pub unattributed: Measures,
    /// Events of which the name of a field that is grouped or filtered by is lost.
    pub overflow: Measures,
    /// Of everything.
    pub totals: Measures,
    /// The place of the last group, where there are more.
    pub next: Option<Place>,
}

impl Ranked {
    pub fn of(all: &[KeyTotals], ranking: &Ranking) -> Self {
        let mut groups: Vec<(usize, &KeyTotals)> = Vec::new();
        let (mut unattributed, mut overflow) = (Measures::default(), Measures::default());
        for (place, one) in all.iter().enumerate() {
            match one.kind() {
                KeyKind::Overflow => overflow += one.measures,
                KeyKind::Unattributed => unattributed += one.measures,
                KeyKind::Group => groups.push((place, one)),
            }
        }
        let amount = |one: &KeyTotals| ranking.order_by.amount(&one.measures);
        groups.sort_unstable_by(|(_, a), (_, b)| (Reverse(amount(a)), &a.key).cmp(&(Reverse(amount(b)), &b.key)));
        let before = ranking.behind.as_ref().map_or(0, |place| {
            groups.partition_point(|(_, one)| (Reverse(amount(one)), &one.key) <= (Reverse(place.amount), &place.key))
        });
        let (page, other) = groups[before..].split_at(usize::from(ranking.top).min(groups.len() - before));
        let group = |(rank, (place, one)): (usize, &(usize, &KeyTotals))| Group {
            key: one.key.clone(),
            place: *place,
            rank,
            measures: one.measures,
        };
        let last = |(_, one): &(usize, &KeyTotals)| Place { amount: amount(one), key: one.key.clone() };
        Self {
            groups: (before + 1..).zip(page).map(group).collect(),
            other_groups: other.len(),
            other: other.iter().map(|(_, one)| one.measures).sum(),
            unattributed,
            overflow,
            totals: all.iter().map(|one| one.measures).sum(),
            next: page.last().filter(|_| !other.is_empty()).map(last),
        }
    }

    /// The places of the page's groups among all keys.
    pub fn places(&self) -> Vec<usize> {
        self.groups.iter().map(|group| group.place).collect()
    }

    /// What there may be names for: the ids of the page, with the dimension of each.
    pub fn named_ids(&self, group_by: &[Dimension]) -> BTreeSet<(String, String)> {
        let of = |(dimension, value): (&Dimension, &Value)| Some((dimension.to_string(), value.name()?.to_owned()));
        let ids = self.groups.iter().flat_map(|group| group_by.iter().zip(&group.key).filter_map(of));
        ids.collect()
    }

    /// Whether no group can be larger than it says: what overflowed may belong to any.
    pub const fn is_exact(&self) -> bool {
        self.overflow.is_nothing()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::Cents;

    fn measures(invocations: u64, cost: i128) -> Measures {
        Measures { invocations, cost: Cents::from_units(cost), ..Measures::default() }
    }

    fn named(name: &str) -> Value {
        Value::Named(Arc::from(name))
    }

    fn one(key: &[Value], may_pass: bool, cost: i128) -> KeyTotals {
        KeyTotals { key: key.to_vec(), may_pass, measures: measures(1, cost) }
    }

    fn first(top: u16) -> Ranking {
        Ranking { order_by: OrderBy::Cost, top, behind: None }
    }

    #[test]
    fn equal_amounts_are_in_the_order_of_keys() {
        let all = ["b", "a", "c"].map(|name| one(&[named(name)], false, if name == "c" { 9 } else { 5 }));
        let ranked = Ranked::of(&all, &first(2));
        let names: Vec<_> = ranked.groups.iter().map(|group| (group.rank, group.key[0].name().unwrap())).collect();
        assert_eq!(names, [(1, "c"), (2, "a")]);
        assert_eq!((ranked.other_groups, ranked.other), (1, measures(1, 5)));
        let last = Ranked::of(&all, &Ranking { behind: ranked.next, ..first(2) });
        assert_eq!((last.groups[0].rank, last.groups[0].key[0].name()), (3, Some("b")));
        assert_eq!((last.next, last.other_groups), (None, 0));
    }

    #[test]
    fn what_has_no_name_is_in_no_group() {
        let (missing, lost) = (Value::Missing, Value::Lost);
        let all = [
            one(&[named("other"), missing.clone()], false, 1),
            one(&[missing.clone(), missing.clone()], false, 2),
            one(&[named("a"), lost.clone()], false, 4),
            one(&[named("a"), named("b")], true, 8),
            one(&[missing.clone(), missing], true, 16),
        ];
        let ranked = Ranked::of(&all, &first(25));
        assert_eq!(ranked.groups.len(), 1, "a partly missing key is a group, whatever it is called");
        assert_eq!(ranked.unattributed, measures(1, 2));
        assert_eq!(ranked.overflow, measures(3, 28));
        assert!(!ranked.is_exact());
        assert_eq!(ranked.totals, measures(5, 31));
        assert!(Ranked::of(&[], &first(1)).is_exact());
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            6 => "[a-e]".prop_map(|name| named(&name)),
            1 => Just(Value::Missing),
            1 => Just(Value::Lost),
        ]
    }

    proptest! {
        /// Whatever the keys are, following the pages gives each of them once, in one order, and all parts are the total.
        #[test]
        fn the_parts_are_the_total(
            entries in prop::collection::vec((prop::collection::vec(value(), 2), any::<bool>(), 0u64..9, 0i128..50), 0..60),
            top in 1u16..7,
            order in 0usize..5,
        ) {
            let mut by_key: BTreeMap<(Vec<Value>, bool), Measures> = BTreeMap::new();
            for (key, may_pass, n, cost) in entries {
                let errors = n / 2;
                let add = Measures { errors, input_tokens: n * 3, output_tokens: 9 - n, ..measures(n + 1, cost) };
                *by_key.entry((key, may_pass)).or_default() += add;
            }
            let all: Vec<KeyTotals> =
                by_key.into_iter().map(|((key, may_pass), measures)| KeyTotals { key, may_pass, measures }).collect();
            let order_by = OrderBy::ALL[order];
            let mut ranking = Ranking { order_by, top, behind: None };
            let mut pages = Measures::default();
            let mut places = Vec::new();
            loop {
                let ranked = Ranked::of(&all, &ranking);
                pages += ranked.groups.iter().map(|group| group.measures).sum();
                let parts = [pages, ranked.other, ranked.unattributed, ranked.overflow];
                prop_assert_eq!(parts.into_iter().sum::<Measures>(), ranked.totals);
                prop_assert_eq!(ranked.totals, all.iter().map(|one| one.measures).sum());
                for group in &ranked.groups {
                    places.push((Reverse(order_by.amount(&group.measures)), group.key.clone()));
                    prop_assert_eq!(group.rank, places.len());
                }
                prop_assert!(ranked.groups.len() == usize::from(top) || ranked.next.is_none());
                prop_assert_eq!(ranked.next.is_some(), ranked.other_groups > 0);
                match ranked.next {
                    Some(next) => ranking.behind = Some(next),
                    None => break,
                }
            }
            prop_assert!(places.is_sorted_by(|a, b| a < b), "each once, and in order");
        }
    }
}
