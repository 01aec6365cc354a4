//! Reading the buckets that changed after they were final.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{ReadError, Reader, StoreError, count, first, ledger::usage, refuse};
use crate::{
    domain::{
        floor::{Gone, Missing},
        page::Page,
        revision::{Reason, Revision, RevisionPage, RevisionQuery},
    },
    store::{amount::Amount, bound::bound},
};

const REVISIONS: &str = include_str!("sql/revisions.sql");

bound! {
    /// Of revisions.sql.
    struct PageRow<'a> {
        org_id: Uuid, start: DateTime<Utc>, end: DateTime<Utc>, models: &'a [Uuid], reason: Option<&'static str>,
        before: Option<Uuid>, limit: i64, stream: String, partition: i32,
    }
}

impl Reader {
    pub async fn revisions(&self, query: &RevisionQuery) -> Result<RevisionPage, ReadError> {
        let home = self.home(query.org_id);
        let page = PageRow {
            org_id: query.org_id,
            start: query.hours.start(),
            end: query.hours.end(),
            models: &query.models,
            reason: query.reason.map(Reason::as_str),
            before: query.before,
            // One more shows that there are more.
            limit: i64::from(query.limit) + 1,
            stream: self.plan.topology.stream_of(home),
            partition: i32::from(home),
        };
        let rows = sqlx::query_as_with::<_, Row, _>(REVISIONS, page.arguments()?);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        refuse(Gone::below(&query.hours, first.revisions_from, Missing::Revisions))?;
        let as_of = first.watermark;
        let revisions = rows.into_iter().filter_map(Row::revision).collect::<Result<_, _>>()?;
        Ok(RevisionPage { page: Page::of(revisions, query.limit), as_of })
    }
}

#[derive(FromRow)]
struct Row {
    watermark: Option<DateTime<Utc>>,
    revisions_from: Option<DateTime<Utc>>,
    /// None, as everything below it, where the page is empty.
    revision_id: Option<Uuid>,
    bucket_start: Option<DateTime<Utc>>,
    model_id: Option<Uuid>,
    reason: Option<String>,
    revised_at: Option<DateTime<Utc>>,
    changes: Option<i64>,
    before_invocations: Option<i64>,
    before_input_tokens: Option<i64>,
    before_output_tokens: Option<i64>,
    before_cost_cents: Option<Amount>,
    after_invocations: Option<i64>,
    after_input_tokens: Option<i64>,
    after_output_tokens: Option<i64>,
    after_cost_cents: Option<Amount>,
}

impl Row {
    fn revision(self) -> Option<Result<Revision, StoreError>> {
        let revision_id = self.revision_id?;
        let missing = || StoreError::impossible("a revision without its bucket, model or time");
        let revision = || {
            let reason = self.reason.as_deref().unwrap_or_default();
            Ok(Revision {
                revision_id,
                bucket_start: self.bucket_start.ok_or_else(missing)?,
                model_id: self.model_id.ok_or_else(missing)?,
                reason: reason.parse().map_err(|_| StoreError::impossible("a revision for an unknown reason"))?,
                revised_at: self.revised_at.ok_or_else(missing)?,
                changes: count("changes", self.changes)?,
                before: usage(
                    self.before_invocations,
                    self.before_input_tokens,
                    self.before_output_tokens,
                    self.before_cost_cents,
                )?,
                after: usage(
                    self.after_invocations,
                    self.after_input_tokens,
                    self.after_output_tokens,
                    self.after_cost_cents,
                )?,
            })
        };
        Some(revision())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{money::Cents, query::Usage};

    fn row() -> Row {
        Row {
            watermark: None,
            revisions_from: None,
            revision_id: Some(Uuid::from_u128(7)),
            bucket_start: Some(DateTime::UNIX_EPOCH),
            model_id: Some(Uuid::from_u128(8)),
            reason: Some("late".to_owned()),
            revised_at: Some(DateTime::UNIX_EPOCH),
            changes: Some(2),
            before_invocations: Some(1),
            before_input_tokens: Some(2),
            before_output_tokens: Some(3),
            before_cost_cents: Some(Amount(Cents::from_ten_thousandths(1))),
            after_invocations: Some(4),
            after_input_tokens: Some(5),
            after_output_tokens: Some(6),
            after_cost_cents: Some(Amount(Cents::from_ten_thousandths(15_001))),
        }
    }

    #[test]
    fn a_row_becomes_an_exact_revision() {
        let revision = row().revision().unwrap().unwrap();
        let before = Usage { invocations: 1, input_tokens: 2, output_tokens: 3, cost: Cents::from_ten_thousandths(1) };
        let after =
            Usage { invocations: 4, input_tokens: 5, output_tokens: 6, cost: Cents::from_ten_thousandths(15_001) };
        assert_eq!((revision.before, revision.after), (before, after));
        assert_eq!((revision.reason, revision.changes), (Reason::Late, 2));
        assert!(Row { revision_id: None, ..row() }.revision().is_none());
    }

    #[test]
    fn values_that_cannot_be_are_errors() {
        for row in [
            Row { reason: Some("whim".to_owned()), ..row() },
            Row { bucket_start: None, ..row() },
            Row { changes: Some(-1), ..row() },
            Row { before_cost_cents: None, ..row() },
        ] {
            assert!(matches!(row.revision(), Some(Err(StoreError::Permanent(_)))));
        }
    }
}
