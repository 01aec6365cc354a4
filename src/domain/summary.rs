//! Every org's totals.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{calendar::Buckets, money::Cents, named::named, query::Usage};

named! {
    /// What orgs are ordered by: their ids, or how much they used, largest first.
    pub enum OrderBy {
        OrgId = "orgId",
        Cost = "cost",
        Invocations = "invocations",
        InputTokens = "inputTokens",
        OutputTokens = "outputTokens",
    }
}

impl OrderBy {
    /// How much of it an org used; counts as whole cents. Nothing where they are ordered by their ids.
    pub fn amount(self, usage: &Usage) -> Cents {
        let count = |number: u64| Cents::from_units(i128::from(number) * Cents::ONE.units());
        match self {
            Self::OrgId => Cents::default(),
            Self::Cost => usage.cost,
            Self::Invocations => count(usage.invocations),
            Self::InputTokens => count(usage.input_tokens),
            Self::OutputTokens => count(usage.output_tokens),
        }
    }
}

/// Where an org stands in an order: larger amounts first, equal ones by the ids of their orgs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub amount: Cents,
    pub org_id: Uuid,
}

/// A page of orgs.
#[derive(Clone, Debug)]
pub struct SummaryQuery {
    /// Of UTC.
    pub days: Buckets,
    pub order_by: OrderBy,
    /// Those behind this one.
    pub after: Option<Place>,
    pub limit: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgUsage {
    pub org_id: Uuid,
    /// What people call it.
    pub name: Option<String>,
    pub usage: Usage,
}

/// Orgs, and what they used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrgSum {
    pub orgs: u64,
    pub usage: Usage,
}

/// Everything read in one snapshot.
#[derive(Clone, Debug)]
pub struct Summary {
    pub orgs: Vec<OrgUsage>,
    /// Orgs behind these.
    pub other: OrgSum,
    /// Of all orgs that used anything, on this page or not.
    pub all: OrgSum,
    /// The moment up to which all partitions are complete; none where one was never read.
    pub as_of: Option<DateTime<Utc>>,
}

impl Summary {
    /// The place of the last org, where there are more.
    pub fn next(&self, order_by: OrderBy) -> Option<Place> {
        let last = self.orgs.last().filter(|_| self.other.orgs > 0)?;
        Some(Place { amount: order_by.amount(&last.usage), org_id: last.org_id })
    }
}
