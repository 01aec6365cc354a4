//! Reconciliation: a file's sums beside what is known later, and whether what differs is explained.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Output, TimeRange, Totals, manifest::Change};
use crate::domain::{money::Cents, named::named};

/// What the database has of a file's range and models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTotals {
    /// Of the rollups, which the API reports from.
    pub rollups: Totals,
    /// Whether all of the range's rollups are kept: what was purged or erased is no proof of anything.
    pub whole: bool,
    /// Of raw events; none where they were not counted, or are not kept from the range's start on.
    pub raw: Option<Totals>,
    /// Events that the ledger has stored for the org since the range began, of all ranges and models: of any time from then on
    /// there cannot be more.
    pub ledger_stored: u64,
    /// Whether none of these hours was purged.
    pub ledger_whole: bool,
    /// The moment up to which all this is complete.
    pub as_of: Option<DateTime<Utc>>,
    /// What changed in final buckets since the file's rows were read.
    pub revised: Revised,
}

/// Changes of final buckets since a moment: what they add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revised {
    pub count: u64,
    pub by: Difference,
    /// One of them is noted together with changes from before: then `by` is not exactly what changed since.
    pub straddles: bool,
    /// The first of them.
    pub named: Vec<Change>,
}

/// What there is more now than in the file; less where it is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportDifference)]
pub struct Difference {
    #[schema(value_type = i64)]
    pub invocations: i128,
    #[schema(value_type = i64)]
    pub input_tokens: i128,
    #[schema(value_type = i64)]
    pub output_tokens: i128,
    #[serde(rename = "costEstimateCents", serialize_with = "crate::domain::money::as_json_number")]
    #[schema(value_type = f64)]
    pub cost: Cents,
}

impl Difference {
    pub fn between(earlier: &Totals, later: &Totals) -> Self {
        let more = |later: u64, earlier: u64| i128::from(later) - i128::from(earlier);
        Self {
            invocations: more(later.invocations, earlier.invocations),
            input_tokens: more(later.input_tokens, earlier.input_tokens),
            output_tokens: more(later.output_tokens, earlier.output_tokens),
            cost: Cents::from_units(later.cost.units() - earlier.cost.units()),
        }
    }
}

named! {
    /// How a file stands to what is known now.
    #[derive(ToSchema)]
    #[schema(as = ExportVerdict)]
    pub enum Verdict {
        /// It has the same sums
        Same = "same",
        /// It has other sums, and the revisions since say why
        Revised = "revised",
        /// It has other sums, and was made before all of its range was final
        MadeBeforeFinal = "madeBeforeFinal",
        /// It has other sums, and nothing says why
        Unexplained = "unexplained",
        /// A part of what it was made of is not kept any more
        NotKept = "notKept",
        /// Rollups, raw events and ledger do not agree with each other: `verify` says where
        Disagreement = "disagreement",
    }
}

impl Verdict {
    /// Whether the file can be relied on: it says what was so when it was made.
    pub const fn holds(self) -> bool {
        matches!(self, Self::Same | Self::Revised | Self::MadeBeforeFinal | Self::NotKept)
    }
}

/// Judges a file. A bucket is final so long (`late_after`) after its end.
pub fn judge(file: &Output, range: TimeRange, known: &DatabaseTotals, late_after: TimeDelta) -> Verdict {
    let rollups = &known.rollups;
    if !known.whole {
        return Verdict::NotKept;
    }
    let too_many = known.ledger_whole && rollups.invocations > known.ledger_stored;
    if known.raw.is_some_and(|raw| raw != *rollups) || too_many {
        return Verdict::Disagreement;
    }
    if file.totals == *rollups {
        return Verdict::Same;
    }
    if file.as_of.is_none_or(|as_of| as_of < range.end + late_after) {
        return Verdict::MadeBeforeFinal;
    }
    let difference = Difference::between(&file.totals, rollups);
    let explained = known.revised.count > 0 && (known.revised.straddles || known.revised.by == difference);
    if explained { Verdict::Revised } else { Verdict::Unexplained }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: TimeDelta = TimeDelta::hours(1);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn totals(invocations: u64, cost: i128) -> Totals {
        Totals {
            invocations,
            errors: 0,
            input_tokens: 2 * invocations,
            output_tokens: 0,
            cost: Cents::from_units(cost),
        }
    }

    fn range() -> TimeRange {
        TimeRange { start: at("2026-03-01T00:00:00Z"), end: at("2026-03-02T00:00:00Z") }
    }

    fn file() -> Output {
        Output {
            key: String::new(),
            revision: None,
            checksum: [0; 32],
            bytes: 0,
            rows: 1,
            totals: totals(10, 100),
            as_of: Some(at("2026-03-02T01:00:00Z")),
            snapshot_at: at("2026-03-02T01:00:00Z"),
            revised: crate::domain::export::Revised::default(),
        }
    }

    fn known(rollups: Totals) -> DatabaseTotals {
        DatabaseTotals {
            rollups,
            whole: true,
            raw: None,
            ledger_stored: 50,
            ledger_whole: true,
            as_of: None,
            revised: Revised::default(),
        }
    }

    fn revised(invocations: i128, cost: i128) -> Revised {
        let by =
            Difference { invocations, input_tokens: 2 * invocations, output_tokens: 0, cost: Cents::from_units(cost) };
        Revised { count: 1, by, straddles: false, named: Vec::new() }
    }

    #[test]
    fn a_difference_is_explained_by_its_revisions() {
        let judge = |known: &DatabaseTotals| judge(&file(), range(), known, LATE);
        assert_eq!(judge(&known(totals(10, 100))), Verdict::Same);
        let later = known(totals(12, 101));
        assert_eq!(judge(&later), Verdict::Unexplained);
        assert_eq!(judge(&DatabaseTotals { revised: revised(2, 1), ..later.clone() }), Verdict::Revised);
        assert_eq!(judge(&DatabaseTotals { revised: revised(2, 2), ..later.clone() }), Verdict::Unexplained);
        let straddling = Revised { straddles: true, ..revised(9, 9) };
        assert_eq!(judge(&DatabaseTotals { revised: straddling, ..later }), Verdict::Revised);
        let fewer = known(totals(8, 90));
        assert_eq!(judge(&DatabaseTotals { revised: revised(-2, -10), ..fewer }), Verdict::Revised, "erased");
        assert!(!Verdict::Unexplained.holds() && Verdict::Revised.holds());
    }

    #[test]
    fn a_file_of_open_buckets_may_differ() {
        let (early, later) = (Output { as_of: Some(at("2026-03-02T00:59:59Z")), ..file() }, known(totals(11, 100)));
        assert_eq!(judge(&early, range(), &later, LATE), Verdict::MadeBeforeFinal);
        assert_eq!(judge(&Output { as_of: None, ..file() }, range(), &later, LATE), Verdict::MadeBeforeFinal);
    }

    #[test]
    fn wrong_rollups_do_not_condemn_a_file() {
        let same = known(totals(10, 100));
        let judge = |known: &DatabaseTotals| judge(&file(), range(), known, LATE);
        assert_eq!(judge(&DatabaseTotals { raw: Some(totals(10, 100)), ..same.clone() }), Verdict::Same);
        assert_eq!(judge(&DatabaseTotals { raw: Some(totals(10, 101)), ..same.clone() }), Verdict::Disagreement);
        assert_eq!(judge(&DatabaseTotals { ledger_stored: 9, ..same.clone() }), Verdict::Disagreement);
        assert_eq!(judge(&DatabaseTotals { ledger_stored: 9, ledger_whole: false, ..same.clone() }), Verdict::Same);
        assert_eq!(judge(&DatabaseTotals { whole: false, ..same }), Verdict::NotKept);
    }
}
