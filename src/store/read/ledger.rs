//! Reading the ledger.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{OrgHead, ReadError, Reader, StoreError, count, first, refuse, row_limit};
use crate::{
    domain::{
        floor::{Gone, Missing},
        ledger::{Counts, LedgerHour, LedgerQuery, LedgerReport},
        query::Usage,
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
