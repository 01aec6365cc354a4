//! Rows of the audit log: added and read, never changed.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::audit::{AuditEvent, AuditRecord, UnknownName, storable},
    store::StoreError,
};

/// Records events, in whatever transaction is under way. One that is a row already stays as it is.
pub async fn record(conn: &mut PgConnection, events: &[AuditEvent]) -> Result<(), StoreError> {
    let texts = |value: fn(&AuditEvent) -> Option<String>| {
        events.iter().map(|event| value(event).as_deref().map(storable)).collect::<Vec<_>>()
    };
    let age_of = |at: Instant| i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
    let age = |event: &AuditEvent| age_of(event.noted_at);
    sqlx::query(include_str!("sql/audit_record.sql"))
        .bind(events.iter().map(|event| event.id).collect::<Vec<_>>())
        .bind(events.iter().map(age).collect::<Vec<_>>())
        .bind(texts(|event| event.actor.subject.clone()))
        .bind(texts(|event| Some(event.actor.credential.as_str().to_owned())))
        .bind(texts(|event| Some(event.actor.roles.join(","))))
        .bind(texts(|event| Some(event.action.to_owned())))
        .bind(events.iter().map(|event| event.org_id).collect::<Vec<_>>())
        .bind(texts(|event| event.target.clone()))
        .bind(texts(|event| Some(event.outcome.as_str().to_owned())))
        .bind(texts(|event| event.actor.request_id.clone()))
        .bind(texts(|event| event.actor.address.map(|address| address.to_string())))
        .bind(texts(|event| event.detail.clone()))
        .bind(events.iter().map(|event| i64::try_from(event.count).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.first_at.map(age_of)).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(FromRow)]
pub(in crate::store) struct Row {
    event_id: Uuid,
    occurred_at: DateTime<Utc>,
    subject: Option<String>,
    credential: String,
    roles: Vec<String>,
    action: String,
    org_id: Option<Uuid>,
    target: Option<String>,
    outcome: String,
    request_id: Option<String>,
    address: Option<String>,
    detail: Option<String>,
    event_count: i64,
    first_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for AuditRecord {
    type Error = UnknownName;

    fn try_from(row: Row) -> Result<Self, UnknownName> {
        Ok(Self {
            id: row.event_id,
            occurred_at: row.occurred_at,
            subject: row.subject,
            credential: row.credential.parse()?,
            roles: row.roles,
            action: row.action,
            org_id: row.org_id,
            target: row.target,
            outcome: row.outcome.parse()?,
            request_id: row.request_id,
            address: row.address,
            detail: row.detail,
            count: u64::try_from(row.event_count).unwrap_or_default(),
            first_at: row.first_at,
        })
    }
}
