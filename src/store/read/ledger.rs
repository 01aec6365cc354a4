//! Reading the ledger, and the sum over all orgs.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Head, OrgHead, ReadError, Reader, StoreError, count, first, refuse, row_limit};
use crate::{
    domain::{
        floor::{Gone, Missing},
        ledger::{Counts, LedgerHour, LedgerQuery, LedgerReport},
        query::Usage,
        summary::{OrgUsage, Summary, SummaryQuery},
    },
    store::amount::Amount,
};

impl Reader {
    pub async fn ledger(&self, query: &LedgerQuery) -> Result<LedgerReport, ReadError> {
        let home = self.home(query.org_id);
        let rows = sqlx::query_as::<_, HourRow>(include_str!("sql/ledger.sql"))
            .bind(query.org_id)
            .bind(query.hours.start())
            .bind(query.hours.end())
            .bind(self.plan.topology.stream_of(home))
            .bind(i32::from(home))
            .bind(row_limit());
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        refuse(Gone::below(&query.hours, first.hours_from, Missing::LedgerHours))?;
        let (freshness, as_of) = self.completeness(&first.head);
        let unread_since = first.unread_since;
        let hours = rows.into_iter().filter_map(HourRow::hour).collect::<Result<Vec<_>, _>>()?;
        Ok(LedgerReport { hours, freshness, as_of, unread_since })
    }

    pub async fn summary(&self, query: &SummaryQuery) -> Result<Summary, ReadError> {
        let limit = usize::from(query.limit);
        let rows = sqlx::query_as::<_, OrgRow>(include_str!("sql/summary.sql"))
            .bind(query.days.start())
            .bind(query.days.end())
            .bind(query.after)
            // One more shows that there are more.
            .bind(i64::from(query.limit) + 1)
            .bind(self.plan.topology.streams());
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        refuse(Gone::below(&query.days, first.rollups_from, Missing::RollupsOfSome))?;
        let (as_of, orgs_in_all) = (first.head.watermark, count("orgs", Some(first.orgs))?);
        let totals = usage(
            Some(first.all_invocations),
            Some(first.all_input_tokens),
            Some(first.all_output_tokens),
            Some(first.all_cost_cents),
        )?;
        let mut orgs = rows.into_iter().filter_map(OrgRow::org).collect::<Result<Vec<_>, _>>()?;
        let more = orgs.len() > limit;
        orgs.truncate(limit);
        Ok(Summary { orgs, more, orgs_in_all, totals, as_of })
    }
}

#[derive(FromRow)]
struct HourRow {
    #[sqlx(flatten)]
    head: OrgHead,
    hours_from: Option<DateTime<Utc>>,
    unread_since: Option<DateTime<Utc>>,
    hour: Option<DateTime<Utc>>,
    received: Option<i64>,
    stored: Option<i64>,
    duplicates: Option<i64>,
    conflicts: Option<i64>,
    rejected: Option<i64>,
    late: Option<i64>,
}

impl HourRow {
    fn hour(self) -> Option<Result<LedgerHour, StoreError>> {
        let hour = self.hour?;
        let counts = || {
            Ok(Counts {
                received: count("received", self.received)?,
                stored: count("stored", self.stored)?,
                duplicates: count("duplicates", self.duplicates)?,
                conflicts: count("conflicts", self.conflicts)?,
                rejected: count("rejected", self.rejected)?,
                late: count("late", self.late)?,
            })
        };
        Some(counts().map(|counts| LedgerHour { hour, counts }))
    }
}

#[derive(FromRow)]
struct OrgRow {
    #[sqlx(flatten)]
    head: Head,
    /// From when on there are all days of all orgs.
    rollups_from: Option<DateTime<Utc>>,
    orgs: i64,
    all_invocations: i64,
    all_input_tokens: i64,
    all_output_tokens: i64,
    all_cost_cents: Amount,
    /// None, as everything below it, where the page is empty.
    org_id: Option<Uuid>,
    invocations: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_cents: Option<Amount>,
}

impl OrgRow {
    fn org(self) -> Option<Result<OrgUsage, StoreError>> {
        let org_id = self.org_id?;
        let usage = usage(self.invocations, self.input_tokens, self.output_tokens, self.cost_cents);
        Some(usage.map(|usage| OrgUsage { org_id, usage }))
    }
}

pub(super) fn usage(
    invocations: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_cents: Option<Amount>,
) -> Result<Usage, StoreError> {
    let cost = cost_cents.ok_or_else(|| StoreError::impossible("cost_cents is null"))?;
    Ok(Usage {
        invocations: count("invocations", invocations)?,
        input_tokens: count("input_tokens", input_tokens)?,
        output_tokens: count("output_tokens", output_tokens)?,
        cost: cost.0,
    })
}
