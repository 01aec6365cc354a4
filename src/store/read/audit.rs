//! Reading the audit log.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{ReadError, Reader, StoreError};
use crate::{
    domain::audit::{AuditPage, AuditQuery, AuditRecord, Outcome},
    store::{access::audit::Row, bound::bound},
};

bound! {
    /// Of audit_read.sql.
    struct PageRow<'a> {
        org_id: Option<Uuid>, subject: Option<&'a str>, action: Option<&'a str>, outcome: Option<&'static str>,
        start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, before: Option<Uuid>, limit: i64,
    }
}

impl Reader {
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ReadError> {
        let rows = async |conn: &mut PgConnection| {
            let page = PageRow {
                org_id: query.org_id,
                subject: query.subject.as_deref(),
                action: query.action.as_deref(),
                outcome: query.outcome.map(Outcome::as_str),
                start: query.start,
                end: query.end,
                before: query.before,
                // One more shows that there are more.
                limit: i64::from(query.limit) + 1,
            };
            sqlx::query_as_with::<_, Row, _>(include_str!("sql/audit_read.sql"), page.arguments()?)
                .fetch_all(conn)
                .await
        };
        let rows = self.in_time(rows).await?;
        let known =
            |row| AuditRecord::try_from(row).map_err(|_| StoreError::impossible("an audit event of an unknown kind"));
        Ok(AuditPage::of(rows.into_iter().map(known).collect::<Result<_, _>>()?, query.limit))
    }
}
