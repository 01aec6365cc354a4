//! Reading the audit log.

use sqlx::PgConnection;

use super::{ReadError, Reader, StoreError};
use crate::{
    domain::audit::{AuditPage, AuditQuery, AuditRecord, Outcome},
    store::access::audit::Row,
};

impl Reader {
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ReadError> {
        let rows = async |conn: &mut PgConnection| {
            sqlx::query_as::<_, Row>(include_str!("sql/audit_read.sql"))
                .bind(query.org_id)
                .bind(&query.subject)
                .bind(&query.action)
                .bind(query.outcome.map(Outcome::as_str))
                .bind(query.start)
                .bind(query.end)
                .bind(query.before)
                // One more shows that there are more.
                .bind(i64::from(query.limit) + 1)
                .fetch_all(conn)
                .await
        };
        let rows = self.in_time(rows).await?;
        let known =
            |row| AuditRecord::try_from(row).map_err(|_| StoreError::impossible("an audit event of an unknown kind"));
        Ok(AuditPage::of(rows.into_iter().map(known).collect::<Result<_, _>>()?, query.limit))
    }
}
