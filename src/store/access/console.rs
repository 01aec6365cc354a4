//! Sessions of the console: found when a browser presents one, begun and ended; links by which they begin.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::{
        audit::{AuditEvent, CredentialKind, storable},
        console::{ConsolePort, ConsoleSession, Grant, SecretHash},
    },
    store::{StoreError, access::audit, bound::bound, transaction::in_transaction},
};

/// Sessions of one subject on one port. One more ends the oldest.
const MOST_SESSIONS: i64 = 20;
/// In so many parts of the longest time without use a use is noted once: not every request writes.
const NOTED_PARTS: u32 = 20;

/// A session that a request presents, and whether the request is a use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Presented {
    pub sha256: SecretHash,
    pub port: ConsolePort,
    pub is_use: bool,
}

/// Of the sessions that are presented those that have not ended.
pub async fn find(
    conn: &mut PgConnection,
    presented: &[Presented],
    idle: Duration,
) -> Result<Vec<(SecretHash, ConsolePort, ConsoleSession)>, StoreError> {
    let rows: Vec<SessionRow> = sqlx::query_as(include_str!("sql/console_find.sql"))
        .bind(presented.iter().map(|of| of.sha256.to_vec()).collect::<Vec<_>>())
        .bind(presented.iter().map(|of| of.port.as_str()).collect::<Vec<_>>())
        .bind(presented.iter().map(|of| of.is_use).collect::<Vec<_>>())
        .bind(milliseconds(idle))
        .bind(milliseconds(idle / NOTED_PARTS))
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(SessionRow::session).collect()
}

/// A session that is to begin.
pub struct NewSession {
    pub sha256: SecretHash,
    pub port: ConsolePort,
    /// The longest that it may last.
    pub lasts: Duration,
    /// The session that the browser had before, which ends.
    pub replaces: Option<SecretHash>,
}

/// Begins a session for a credential, and records that.
pub async fn begin(
    conn: &mut PgConnection,
    new: &NewSession,
    grant: &Grant,
    expires_at: Option<DateTime<Utc>>,
    act: &AuditEvent,
) -> Result<(), StoreError> {
    in_transaction(conn, async |tx| {
        // Begun again because the response was lost, it is the same one.
        if grant_of(tx, new.sha256).await?.is_some() {
            return Ok(());
        }
        add(tx, new, grant, expires_at, act).await
    })
    .await
}

/// Begins a session by a link of that port, which is used up by that, and records it as the act that is made of what the link gives.
/// None: the link is not good, or not any more.
pub async fn redeem(
    conn: &mut PgConnection,
    link_sha256: SecretHash,
    new: &NewSession,
    act: impl Fn(&Grant) -> AuditEvent,
) -> Result<Option<Grant>, StoreError> {
    in_transaction(conn, async |tx| {
        if let Some(grant) = grant_of(tx, new.sha256).await? {
            return Ok(Some(grant));
        }
        // Of several at once one deletes the row.
        let found: Option<(String, Vec<Uuid>, Vec<String>)> = sqlx::query_as(
            "DELETE FROM analytics.console_links WHERE link_sha256 = $1 AND port = $2 AND expires_at > clock_timestamp()
             RETURNING subject, org_ids, roles",
        )
        .bind(link_sha256.as_slice())
        .bind(new.port.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let Some((subject, org_ids, roles)) = found else { return Ok(None) };
        let grant = Grant { subject, credential: CredentialKind::CommandLine, key_id: None, org_ids, roles };
        add(tx, new, &grant, None, &act(&grant)).await?;
        Ok(Some(grant))
    })
    .await
}

/// Ends a session and records it as the act that is made of what it gave. One that has ended stays so.
pub async fn end(
    conn: &mut PgConnection,
    sha256: SecretHash,
    port: ConsolePort,
    act: impl Fn(&Grant) -> AuditEvent,
) -> Result<(), StoreError> {
    in_transaction(conn, async |tx| {
        let ended: Option<SessionRow> = sqlx::query_as(
            "DELETE FROM analytics.console_sessions WHERE session_sha256 = $1 AND port = $2
             RETURNING session_sha256, port, subject, credential, key_id, org_ids, roles, expires_at",
        )
        .bind(sha256.as_slice())
        .bind(port.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(row) = ended {
            let (_, _, session) = row.session()?;
            audit::record(tx, &[act(&session.grant)]).await?;
        }
        Ok(())
    })
    .await
}

/// A link that is to be kept until it is used.
pub struct NewLink {
    pub sha256: SecretHash,
    pub port: ConsolePort,
    pub subject: String,
    pub org_ids: Vec<Uuid>,
    pub roles: Vec<String>,
    pub lasts: Duration,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

/// Keeps a link until it is used or its time is over, and records that it was made.
pub async fn add_link(conn: &mut PgConnection, new: &NewLink) -> Result<(), StoreError> {
    in_transaction(conn, async |tx| {
        sqlx::query(
            "INSERT INTO analytics.console_links (link_sha256, port, subject, org_ids, roles, expires_at)
             VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 millisecond')",
        )
        .bind(new.sha256.as_slice())
        .bind(new.port.as_str())
        .bind(storable(&new.subject))
        .bind(&new.org_ids)
        .bind(&new.roles)
        .bind(milliseconds(new.lasts))
        .execute(&mut *tx)
        .await?;
        audit::record(tx, std::slice::from_ref(&new.act)).await
    })
    .await
}

/// What a session that has begun stands for.
async fn grant_of(conn: &mut PgConnection, sha256: SecretHash) -> Result<Option<Grant>, StoreError> {
    let row: Option<SessionRow> = sqlx::query_as(
        "SELECT session_sha256, port, subject, credential, key_id, org_ids, roles, expires_at
         FROM analytics.console_sessions WHERE session_sha256 = $1",
    )
    .bind(sha256.as_slice())
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok(row.session()?.2.grant)).transpose()
}

async fn add(
    conn: &mut PgConnection,
    new: &NewSession,
    grant: &Grant,
    expires_at: Option<DateTime<Utc>>,
    act: &AuditEvent,
) -> Result<(), StoreError> {
    let subject = storable(&grant.subject);
    if let Some(replaced) = new.replaces {
        sqlx::query("DELETE FROM analytics.console_sessions WHERE session_sha256 = $1 AND port = $2")
            .bind(replaced.as_slice())
            .bind(new.port.as_str())
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(include_str!("sql/console_end_oldest.sql"))
        .bind(&subject)
        .bind(new.port.as_str())
        .bind(MOST_SESSIONS - 1)
        .execute(&mut *conn)
        .await?;
    let row = NewRow {
        sha256: new.sha256.to_vec(),
        port: new.port.as_str(),
        subject,
        credential: grant.credential.as_str(),
        key_id: grant.key_id,
        org_ids: grant.org_ids.clone(),
        roles: grant.roles.clone(),
        lasts_ms: milliseconds(new.lasts),
        expires_at,
    };
    sqlx::query_with(include_str!("sql/console_begin.sql"), row.arguments()?).execute(&mut *conn).await?;
    audit::record(conn, std::slice::from_ref(act)).await
}

bound! {
    /// Of console_begin.sql.
    struct NewRow {
        sha256: Vec<u8>, port: &'static str, subject: String, credential: &'static str, key_id: Option<Uuid>,
        org_ids: Vec<Uuid>, roles: Vec<String>, lasts_ms: i64, expires_at: Option<DateTime<Utc>>,
    }
}

#[derive(FromRow)]
struct SessionRow {
    session_sha256: Vec<u8>,
    port: String,
    subject: String,
    credential: String,
    key_id: Option<Uuid>,
    org_ids: Vec<Uuid>,
    roles: Vec<String>,
    expires_at: DateTime<Utc>,
}

impl SessionRow {
    fn session(self) -> Result<(SecretHash, ConsolePort, ConsoleSession), StoreError> {
        let sha256 = self.session_sha256.try_into().map_err(|_| impossible("hash"))?;
        let port = self.port.parse().map_err(|_| impossible("port"))?;
        let grant = Grant {
            subject: self.subject,
            credential: self.credential.parse().map_err(|_| impossible("credential"))?,
            key_id: self.key_id,
            org_ids: self.org_ids,
            roles: self.roles,
        };
        Ok((sha256, port, ConsoleSession { grant, expires_at: self.expires_at }))
    }
}

fn impossible(what: &str) -> StoreError {
    StoreError::impossible(&format!("a session's {what}"))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
