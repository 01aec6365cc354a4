//! API keys: looked up when somebody shows one, made, listed and revoked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{StoreError, clock, transaction::in_transaction};
use crate::domain::{
    api_key::{ApiKey, ApiKeyPage, Holder, KeyState, NewApiKey},
    audit::{AuditEvent, storable},
    event::Reason,
};

const LIST: &str = include_str!("sql/api_keys_list.sql");

/// A key that counts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valid {
    pub key_id: Uuid,
    pub secret_sha256: [u8; 32],
    pub holder: Holder,
    /// None: it never does.
    pub expires_in: Option<Duration>,
}

/// Those of the keys that are neither revoked nor expired.
pub async fn look_up(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Valid>, StoreError> {
    type Row = (Uuid, Uuid, String, Vec<u8>, Option<i64>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT key_id, org_id, role, secret_sha256, (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint
         FROM analytics.api_keys
         WHERE key_id = ANY($1) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let valid = |(key_id, org_id, role, hash, expires_in): Row| {
        Ok(Valid {
            key_id,
            secret_sha256: hash.try_into().map_err(|_| impossible("secret_sha256"))?,
            holder: Holder { org_id, role: role.parse().map_err(|_| impossible("role"))? },
            expires_in: expires_in.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
        })
    };
    rows.into_iter().map(valid).collect()
}

/// A key that somebody asks for.
pub struct Asked {
    pub key_id: Uuid,
    pub org_id: Uuid,
    pub secret_sha256: [u8; 32],
    /// The key as it was asked for, JSON.
    pub body: Vec<u8>,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

/// Makes a key, and records that.
pub async fn create(conn: &mut PgConnection, asked: &Asked) -> Result<Result<ApiKey, Vec<Reason>>, StoreError> {
    in_transaction(conn, async |tx| create_in(tx, asked).await).await
}

async fn create_in(tx: &mut PgConnection, asked: &Asked) -> Result<Result<ApiKey, Vec<Reason>>, StoreError> {
    let now = clock::now(tx).await?;
    let key = match NewApiKey::read(&asked.body, now) {
        Ok(key) => key,
        Err(reasons) => return Ok(Err(reasons)),
    };
    // Asked again since the answer was lost, it is the same one.
    sqlx::query(
        "INSERT INTO analytics.api_keys (key_id, org_id, role, name, secret_sha256, created_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key_id) DO NOTHING",
    )
    .bind(asked.key_id)
    .bind(asked.org_id)
    .bind(key.role.as_str())
    .bind(&key.name)
    .bind(asked.secret_sha256.as_slice())
    .bind(storable(&asked.by))
    .bind(key.expires_at)
    .execute(&mut *tx)
    .await?;
    super::audit::record(tx, &[asked.act.clone().detail(key.role)]).await?;
    Ok(Ok(get(tx, asked.org_id, asked.key_id).await?.ok_or_else(|| impossible("no row"))?))
}

/// Revokes a key of the org and records that; one that is revoked stays as it is. None: there is no such key.
pub async fn revoke(
    conn: &mut PgConnection,
    org_id: Uuid,
    key_id: Uuid,
    by: &str,
    act: &AuditEvent,
) -> Result<Option<ApiKey>, StoreError> {
    in_transaction(conn, async |tx| revoke_in(tx, org_id, key_id, by, act).await).await
}

async fn revoke_in(
    tx: &mut PgConnection,
    org_id: Uuid,
    key_id: Uuid,
    by: &str,
    act: &AuditEvent,
) -> Result<Option<ApiKey>, StoreError> {
    let revoked = sqlx::query(
        "UPDATE analytics.api_keys SET revoked_at = clock_timestamp(), revoked_by = $3
         WHERE org_id = $1 AND key_id = $2 AND revoked_at IS NULL",
    )
    .bind(org_id)
    .bind(key_id)
    .bind(storable(by))
    .execute(&mut *tx)
    .await?;
    if revoked.rows_affected() > 0 {
        super::audit::record(tx, std::slice::from_ref(act)).await?;
    }
    get(tx, org_id, key_id).await
}

pub async fn get(conn: &mut PgConnection, org_id: Uuid, key_id: Uuid) -> Result<Option<ApiKey>, StoreError> {
    Ok(rows(conn, org_id, Some(key_id), None, 1).await?.pop())
}

pub async fn list(
    conn: &mut PgConnection,
    org_id: Uuid,
    before: Option<Uuid>,
    limit: u16,
) -> Result<ApiKeyPage, StoreError> {
    // One more shows that there are more.
    let mut keys = rows(conn, org_id, None, before, i64::from(limit) + 1).await?;
    let more = keys.len() > usize::from(limit);
    keys.truncate(usize::from(limit));
    Ok(ApiKeyPage { keys, more })
}

/// Notes when keys were last used: how long ago.
pub async fn used(conn: &mut PgConnection, keys: &[(Uuid, Duration)]) -> Result<(), StoreError> {
    let age = |age: &Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(include_str!("sql/api_keys_used.sql"))
        .bind(keys.iter().map(|(key_id, _)| *key_id).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, ago)| age(ago)).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

async fn rows(
    conn: &mut PgConnection,
    org_id: Uuid,
    only: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query_as::<_, Row>(LIST).bind(org_id).bind(only).bind(before).bind(limit).fetch_all(conn).await?;
    rows.into_iter().map(Row::key).collect()
}

#[derive(FromRow)]
struct Row {
    key_id: Uuid,
    org_id: Uuid,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
    created_by: String,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    last_used_at: Option<DateTime<Utc>>,
    expired: bool,
}

impl Row {
    fn key(self) -> Result<ApiKey, StoreError> {
        let state = match (self.revoked_at, self.expired) {
            (Some(_), _) => KeyState::Revoked,
            (None, true) => KeyState::Expired,
            (None, false) => KeyState::Active,
        };
        Ok(ApiKey {
            id: self.key_id,
            org_id: self.org_id,
            name: self.name,
            role: self.role.parse().map_err(|_| impossible("role"))?,
            state,
            created_at: self.created_at,
            created_by: self.created_by,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            revoked_by: self.revoked_by,
            last_used_at: self.last_used_at,
        })
    }
}

fn impossible(what: &str) -> StoreError {
    StoreError::Permanent(format!("the database answered what cannot be: an API key's {what}"))
}
