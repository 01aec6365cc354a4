//! API keys: looked up when a client presents one, created, listed and revoked.

mod change;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::api_key::{ApiKey, ApiKeyPage, Holder, KeyState},
    store::StoreError,
};

pub use change::{NewKey, Revocation, create, revoke};

const LIST: &str = include_str!("../sql/api_keys_list.sql");

/// A key, as it is held against one that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub key_id: Uuid,
    pub secret_sha256: [u8; 32],
    pub holder: Holder,
    pub state: KeyState,
    /// Of an active one; none: it never does.
    pub expires_in: Option<Duration>,
}

/// Those of the keys that there are, also the revoked and the expired.
pub async fn look_up(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<StoredKey>, StoreError> {
    type Row = (Uuid, Uuid, String, Vec<u8>, Option<DateTime<Utc>>, Option<i64>, bool);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT key_id, org_id, role, secret_sha256, expires_at,
                (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint, revoked_at IS NOT NULL
         FROM analytics.api_keys
         WHERE key_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let known = |(key_id, org_id, role, hash, expires_at, expires_in, revoked): Row| {
        Ok(StoredKey {
            key_id,
            secret_sha256: hash.try_into().map_err(|_| impossible("secret_sha256"))?,
            holder: Holder { org_id, role: role.parse().map_err(|_| impossible("role"))?, expires_at },
            state: match (revoked, expires_in) {
                (true, _) => KeyState::Revoked,
                (false, Some(..=0)) => KeyState::Expired,
                (false, _) => KeyState::Active,
            },
            expires_in: expires_in.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
        })
    };
    rows.into_iter().map(known).collect()
}

pub async fn get(conn: &mut PgConnection, org_id: Uuid, key_id: Uuid) -> Result<Option<ApiKey>, StoreError> {
    Ok(some(conn, org_id, &[key_id]).await?.pop())
}

/// Those of the org's keys, newest first.
async fn some(conn: &mut PgConnection, org_id: Uuid, ids: &[Uuid]) -> Result<Vec<ApiKey>, StoreError> {
    rows(conn, org_id, Some(ids), None, i64::try_from(ids.len()).unwrap_or(i64::MAX)).await
}

pub async fn list(
    conn: &mut PgConnection,
    org_id: Uuid,
    before: Option<Uuid>,
    limit: u16,
) -> Result<ApiKeyPage, StoreError> {
    // One more shows that there are more.
    Ok(ApiKeyPage::of(rows(conn, org_id, None, before, i64::from(limit) + 1).await?, limit))
}

/// Notes when keys were last used: how long ago.
pub async fn used(conn: &mut PgConnection, keys: &[(Uuid, Duration)]) -> Result<(), StoreError> {
    let age = |age: &Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(include_str!("../sql/api_keys_used.sql"))
        .bind(keys.iter().map(|(key_id, _)| *key_id).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, ago)| age(ago)).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

async fn rows(
    conn: &mut PgConnection,
    org_id: Uuid,
    only: Option<&[Uuid]>,
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
    parent_id: Option<Uuid>,
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
            parent_id: self.parent_id,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            revoked_by: self.revoked_by,
            last_used_at: self.last_used_at,
        })
    }
}

fn impossible(what: &str) -> StoreError {
    StoreError::impossible(&format!("an API key's {what}"))
}
