//! Rows of the audit log: added and read, never changed.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::{
        audit::{AuditEvent, AuditRecord, storable},
        named::UnknownName,
    },
    store::{StoreError, bound::bound},
};

/// Records events, in whatever transaction is under way. One that is a row already stays as it is.
pub async fn record(conn: &mut PgConnection, events: &[AuditEvent]) -> Result<(), StoreError> {
    let texts = |value: fn(&AuditEvent) -> Option<String>| {
        events.iter().map(|event| value(event).as_deref().map(storable)).collect::<Vec<_>>()
    };
    let age_of = |at: Instant| i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
    let columns = Columns {
        ids: events.iter().map(|event| event.id).collect(),
        ages_ms: events.iter().map(|event| age_of(event.noted_at)).collect(),
        subjects: texts(|event| event.actor.subject.clone()),
        credentials: texts(|event| Some(event.actor.credential.as_str().to_owned())),
        roles: texts(|event| Some(event.actor.roles.join(","))),
        actions: texts(|event| Some(event.action.to_owned())),
        orgs: events.iter().map(|event| event.org_id).collect(),
        targets: texts(|event| event.target.clone()),
        outcomes: texts(|event| Some(event.outcome.as_str().to_owned())),
        requests: texts(|event| event.actor.request_id.clone()),
        addresses: texts(|event| event.actor.address.map(|address| address.to_string())),
        details: texts(|event| event.detail.clone()),
        counts: events.iter().map(|event| i64::try_from(event.count).unwrap_or(i64::MAX)).collect(),
        first_ages_ms: events.iter().map(|event| event.first_at.map(age_of)).collect(),
    };
    sqlx::query_with(include_str!("sql/audit_record.sql"), columns.arguments()?).execute(conn).await?;
    Ok(())
}

type Texts = Vec<Option<String>>;

bound! {
    /// Events side by side, of audit_record.sql.
    struct Columns {
        ids: Vec<Uuid>, ages_ms: Vec<i64>, subjects: Texts, credentials: Texts, roles: Texts, actions: Texts,
        orgs: Vec<Option<Uuid>>, targets: Texts, outcomes: Texts, requests: Texts, addresses: Texts, details: Texts,
        counts: Vec<i64>, first_ages_ms: Vec<Option<i64>>,
    }
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
