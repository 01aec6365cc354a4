//! Creating and revoking API keys: one change of an org's at a time.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{get, impossible, some};
use crate::{
    domain::{
        api_key::{Created, Maker, NewApiKey, Revoked},
        audit::{AuditEvent, storable},
        export::request::fingerprint,
    },
    store::{StoreError, access::audit, bound::bound, clock, transaction::in_transaction},
};

/// First half of the advisory lock under which an org's keys are changed; the second is a hash of the org. "keys" in ASCII.
const CHANGE_LOCK: i32 = 0x6b65_7973;

/// A requested key.
pub struct NewKey {
    pub key_id: Uuid,
    pub org_id: Uuid,
    pub secret_sha256: [u8; 32],
    /// The key as it was requested, JSON.
    pub body: Vec<u8>,
    /// The key that requests it.
    pub parent: Option<Uuid>,
    pub idempotency_key: Option<String>,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

/// Creates a key where fewer than `most` of the org are active, and records that. A request that is known by its idempotency
/// key is not judged again.
pub async fn create(conn: &mut PgConnection, new: &NewKey, most: u32) -> Result<Created, StoreError> {
    in_transaction(conn, async |tx| add(tx, new, most).await).await
}

async fn add(conn: &mut PgConnection, new: &NewKey, most: u32) -> Result<Created, StoreError> {
    lock(conn, new.org_id).await?;
    // Requested again because the response was lost, it is the same one.
    if let Some(made) = get(conn, new.org_id, new.key_id).await? {
        return Ok(Created::New(made));
    }
    let request_sha256 = new.idempotency_key.as_ref().map(|_| fingerprint(&new.body));
    if let Some(key) = &new.idempotency_key {
        let known: Option<(Uuid, Vec<u8>)> = sqlx::query_as(
            "SELECT key_id, request_sha256 FROM analytics.api_keys WHERE org_id = $1 AND idempotency_key = $2",
        )
        .bind(new.org_id)
        .bind(key)
        .fetch_optional(&mut *conn)
        .await?;
        if let Some((key_id, sha256)) = known {
            if request_sha256.is_none_or(|ours| sha256 != ours) {
                return Ok(Created::KeyTaken);
            }
            let known = get(conn, new.org_id, key_id).await?;
            return Ok(Created::Same(known.ok_or_else(|| impossible("no row"))?));
        }
    }
    let now = clock::now(conn).await?;
    let Ok(maker) = maker(conn, new).await? else { return Ok(Created::MakerEnded) };
    let key = match NewApiKey::read(&new.body, now, maker) {
        Ok(key) => key,
        Err(reasons) => return Ok(Created::Wrong(reasons)),
    };
    let active: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM analytics.api_keys
         WHERE org_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(new.org_id)
    .bind(now)
    .fetch_one(&mut *conn)
    .await?;
    if active >= i64::from(most) {
        return Ok(Created::TooMany);
    }
    let row = KeyRow {
        key_id: new.key_id,
        org_id: new.org_id,
        role: key.role.as_str(),
        name: &key.name,
        secret_sha256: &new.secret_sha256,
        by: storable(&new.by),
        expires_at: key.expires_at,
        parent: new.parent,
        idempotency_key: new.idempotency_key.as_deref(),
        request_sha256: request_sha256.map(Vec::from),
    };
    sqlx::query_with(include_str!("../sql/api_keys_insert.sql"), row.arguments()?).execute(&mut *conn).await?;
    audit::record(conn, &[new.act.clone().detail(key.role)]).await?;
    let made = get(conn, new.org_id, new.key_id).await?;
    Ok(Created::New(made.ok_or_else(|| impossible("no row"))?))
}

bound! {
    /// Of api_keys_insert.sql.
    struct KeyRow<'a> {
        key_id: Uuid, org_id: Uuid, role: &'static str, name: &'a str, secret_sha256: &'a [u8], by: String,
        expires_at: Option<DateTime<Utc>>, parent: Option<Uuid>, idempotency_key: Option<&'a str>,
        request_sha256: Option<Vec<u8>>,
    }
}

/// The key was revoked or has expired since it was accepted.
struct Ended;

/// The key that creates it, as it is now; none where no key does.
async fn maker(conn: &mut PgConnection, new: &NewKey) -> Result<Result<Option<Maker>, Ended>, StoreError> {
    let Some(parent) = new.parent else { return Ok(Ok(None)) };
    let found: Option<(String, Option<DateTime<Utc>>)> = sqlx::query_as(
        "SELECT role, expires_at FROM analytics.api_keys
         WHERE org_id = $1 AND key_id = $2 AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > clock_timestamp())",
    )
    .bind(new.org_id)
    .bind(parent)
    .fetch_optional(conn)
    .await?;
    let Some((role, expires_at)) = found else { return Ok(Err(Ended)) };
    Ok(Ok(Some(Maker { role: role.parse().map_err(|_| impossible("role"))?, expires_at })))
}

/// A key that is to be revoked.
pub struct Revocation {
    pub org_id: Uuid,
    pub key_id: Uuid,
    /// Whether those that it created go with it.
    pub cascade: bool,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

/// Revokes a key of the org and records that; one that is revoked stays as it is. With it, where requested, the keys that it
/// created, each with a record of its own. None: there is no such key.
pub async fn revoke(conn: &mut PgConnection, revocation: &Revocation) -> Result<Option<Revoked>, StoreError> {
    in_transaction(conn, async |tx| end(tx, revocation).await).await
}

async fn end(conn: &mut PgConnection, revocation: &Revocation) -> Result<Option<Revoked>, StoreError> {
    lock(conn, revocation.org_id).await?;
    let descendants: Vec<Uuid> = sqlx::query_scalar(include_str!("../sql/api_keys_descendants.sql"))
        .bind(revocation.org_id)
        .bind(revocation.key_id)
        .fetch_all(&mut *conn)
        .await?;
    let with_it: &[Uuid] = if revocation.cascade { &descendants } else { &[] };
    let revoked: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE analytics.api_keys SET revoked_at = clock_timestamp(), revoked_by = $3
         WHERE org_id = $1 AND key_id = ANY ($2) AND revoked_at IS NULL RETURNING key_id",
    )
    .bind(revocation.org_id)
    .bind([&[revocation.key_id], with_it].concat())
    .bind(storable(&revocation.by))
    .fetch_all(&mut *conn)
    .await?;
    let act = |key_id: &Uuid| {
        if *key_id == revocation.key_id {
            return revocation.act.clone();
        }
        AuditEvent { id: Uuid::now_v7(), ..revocation.act.clone() }
            .target(key_id)
            .detail(format!("made by {}", revocation.key_id))
    };
    audit::record(conn, &revoked.iter().map(act).collect::<Vec<_>>()).await?;
    let Some(key) = get(conn, revocation.org_id, revocation.key_id).await? else { return Ok(None) };
    let descendants = some(conn, revocation.org_id, &descendants).await?;
    Ok(Some(Revoked { key, descendants }))
}

/// Until the end of the transaction no other transaction changes keys of this org.
async fn lock(conn: &mut PgConnection, org_id: Uuid) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(CHANGE_LOCK)
        .bind(org_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}
