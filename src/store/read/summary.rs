//! Reading the sum over all orgs.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Head, ReadError, Reader, StoreError, count, first, ledger::usage, refuse};
use crate::{
    domain::{
        floor::{Gone, Missing},
        summary::{OrgSum, OrgUsage, Place, Summary, SummaryQuery},
    },
    store::{amount::Amount, bound::bound},
};

bound! {
    /// Of summary.sql.
    struct PageRow {
        start: DateTime<Utc>, end: DateTime<Utc>, order_by: &'static str, after_amount: Option<Amount>,
        after_org: Option<Uuid>, limit: i64, streams: Vec<String>,
    }
}

impl Reader {
    pub async fn summary(&self, query: &SummaryQuery) -> Result<Summary, ReadError> {
        let page = PageRow {
            start: query.days.start(),
            end: query.days.end(),
            order_by: query.order_by.as_str(),
            after_amount: query.after.map(|Place { amount, .. }| Amount(amount)),
            after_org: query.after.map(|place| place.org_id),
            limit: query.limit.into(),
            streams: self.plan.topology.streams(),
        };
        let rows = sqlx::query_as_with::<_, Row, _>(include_str!("sql/summary.sql"), page.arguments()?);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        refuse(Gone::below(&query.days, first.rollups_from, Missing::RollupsOfSome))?;
        let as_of = first.head.watermark;
        let (all, other) = (first.all.sum()?, first.other.sum()?);
        let orgs = rows.into_iter().filter_map(Row::org).collect::<Result<Vec<_>, _>>()?;
        Ok(Summary { orgs, other, all, as_of })
    }
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    head: Head,
    rollups_from: Option<DateTime<Utc>>,
    #[sqlx(flatten)]
    all: AllRow,
    #[sqlx(flatten)]
    other: OtherRow,
    /// None, as everything below it, where the page is empty.
    org_id: Option<Uuid>,
    name: Option<String>,
    invocations: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_cents: Option<Amount>,
}

/// Declares the sum of some orgs, by the columns that have it.
macro_rules! sums {
    ($($Row:ident: $orgs:ident, $invocations:ident, $input_tokens:ident, $output_tokens:ident, $cost_cents:ident;)+) => {$(
        #[derive(FromRow)]
        struct $Row {
            $orgs: i64,
            $invocations: i64,
            $input_tokens: i64,
            $output_tokens: i64,
            $cost_cents: Amount,
        }

        impl $Row {
            fn sum(&self) -> Result<OrgSum, StoreError> {
                let (cost, tokens) = (Some(self.$cost_cents), (Some(self.$input_tokens), Some(self.$output_tokens)));
                let usage = usage(Some(self.$invocations), tokens.0, tokens.1, cost)?;
                Ok(OrgSum { orgs: count("orgs", Some(self.$orgs))?, usage })
            }
        }
    )+};
}

sums! {
    AllRow: all_orgs, all_invocations, all_input_tokens, all_output_tokens, all_cost_cents;
    OtherRow: other_orgs, other_invocations, other_input_tokens, other_output_tokens, other_cost_cents;
}

impl Row {
    fn org(self) -> Option<Result<OrgUsage, StoreError>> {
        let org_id = self.org_id?;
        let usage = usage(self.invocations, self.input_tokens, self.output_tokens, self.cost_cents);
        Some(usage.map(|usage| OrgUsage { org_id, name: self.name, usage }))
    }
}
