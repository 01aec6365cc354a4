//! Points of usage as they are answered, and what may become of them: no number goes down, and one that was final changes with a
//! revision only.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::decimal;

/// Of a point: where its bucket begins, and its model.
pub type Place = (DateTime<Utc>, Uuid);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    pub invocations: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cost: Decimal,
}

impl Amounts {
    pub fn of(value: &Value) -> Self {
        let int = |name: &str| value[name].as_i64().unwrap();
        Self {
            invocations: int("invocations"),
            input_tokens: int("inputTokens"),
            output_tokens: int("outputTokens"),
            cost: decimal(&value["costEstimateCents"]),
        }
    }

    /// None of them is more than the other's.
    pub fn within(&self, other: &Self) -> bool {
        self.invocations <= other.invocations
            && self.input_tokens <= other.input_tokens
            && self.output_tokens <= other.output_tokens
            && self.cost <= other.cost
    }

    fn plus(&self, other: &Self, sign: i64) -> Self {
        Self {
            invocations: self.invocations + sign * other.invocations,
            input_tokens: self.input_tokens + sign * other.input_tokens,
            output_tokens: self.output_tokens + sign * other.output_tokens,
            cost: self.cost + Decimal::from(sign) * other.cost,
        }
    }
}

/// A point that was final and has other numbers now.
#[derive(Debug)]
pub struct Change {
    pub place: Place,
    pub length: TimeDelta,
    pub before: Amounts,
    pub after: Amounts,
}

impl Change {
    /// What the revisions of its org say, which are as new as the response or newer.
    pub fn explained(&self, revisions: &[Revision]) -> Explained {
        let (start, model) = self.place;
        let own: Vec<&Revision> = revisions
            .iter()
            .filter(|r| r.place.1 == model && r.place.0 >= start && r.place.0 < start + self.length)
            .collect();
        if self.length > TimeDelta::hours(1) {
            // A day changed by what its hours did, of which some may have changed before.
            let all = own.iter().fold(Amounts::default(), |sum, r| sum.plus(&r.after, 1).plus(&r.before, -1));
            let explained = self.after.plus(&self.before, -1).within(&all);
            return if explained { Explained::Wholly } else { Explained::Not };
        }
        let begun = own.iter().any(|r| r.before.within(&self.before));
        if begun && own.iter().any(|r| r.after == self.after) {
            Explained::Wholly
        } else if begun && own.iter().any(|r| self.after.within(&r.after)) {
            Explained::ByNewer
        } else {
            Explained::Not
        }
    }
}

#[derive(Debug, PartialEq)]
pub enum Explained {
    Not,
    /// The point has changed once more, in the same revision: the next response has what that ends with.
    ByNewer,
    Wholly,
}

#[derive(Debug)]
pub struct Revision {
    pub place: Place,
    pub revised_at: DateTime<Utc>,
    pub before: Amounts,
    pub after: Amounts,
}

pub fn place(of: &Value) -> Place {
    (of["bucketStart"].as_str().unwrap().parse().unwrap(), of["modelId"].as_str().unwrap().parse().unwrap())
}

/// The points of one org by one granularity, as they were answered last.
#[derive(Default)]
pub struct Series {
    pub points: BTreeMap<Place, Amounts>,
    /// Every bucket that ends by then was final.
    pub final_to: DateTime<Utc>,
}

impl Series {
    /// Takes the next response. Gives what was final and has changed, be it that it was not there.
    pub fn take(&mut self, response: &Value, length: TimeDelta) -> Vec<Change> {
        let range = &response["range"];
        let mut next = Self { final_to: self.final_to, ..Self::default() };
        let mut changes = Vec::new();
        for point in response["series"].as_array().unwrap() {
            let (place, after) = (place(point), Amounts::of(point));
            let before = self.points.get(&place).copied().unwrap_or_default();
            assert!(before.within(&after), "{range} {place:?} went down from {before:?} to {after:?}");
            let (was_final, is_final) = (place.0 + length <= self.final_to, point["final"] == true);
            assert!(is_final || !was_final, "{range} {place:?} is no longer final, and was up to {}", self.final_to);
            if is_final {
                next.final_to = next.final_to.max(place.0 + length);
            }
            if was_final && before != after {
                changes.push(Change { place, length, before, after });
            }
            next.points.insert(place, after);
        }
        let gone: Vec<_> = self.points.iter().filter(|(place, _)| !next.points.contains_key(place)).collect();
        assert!(gone.is_empty(), "{range} has no longer {gone:?}");
        *self = next;
        changes
    }
}

#[test]
fn an_hour_is_explained_by_its_own_numbers() {
    let amounts = |invocations| Amounts { invocations, ..Amounts::default() };
    let place = (DateTime::UNIX_EPOCH, Uuid::nil());
    let revision = |before, after| Revision {
        place,
        revised_at: DateTime::UNIX_EPOCH,
        before: amounts(before),
        after: amounts(after),
    };
    let change = Change { place, length: TimeDelta::hours(1), before: amounts(3), after: amounts(5) };
    assert_eq!(change.explained(&[revision(2, 4), revision(4, 5)]), Explained::Wholly);
    assert_eq!(change.explained(&[revision(3, 6)]), Explained::ByNewer);
    assert_eq!(change.explained(&[revision(4, 5)]), Explained::Not, "something before it is missing");
    assert_eq!(change.explained(&[revision(3, 4)]), Explained::Not, "something after it is missing");
}
