//! Corrections of dead letters: the first one is stored, and what is stored is published by the process that claims it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    config,
    domain::{
        audit::AuditEvent,
        correction::{self, Outcome, Stored, Verdict},
        dead_letter::{LetterScope, State},
        event::Rules,
    },
    store::{StoreError, transaction::in_transaction},
};

/// A requested correction.
#[derive(Clone, Debug)]
pub struct Correction {
    pub whose: LetterScope,
    pub dead_letter_id: Uuid,
    /// The event as it was given.
    pub body: Vec<u8>,
    /// The caller, for the record.
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

/// Stores a correction, unless one is stored already. Requesting it again changes nothing.
pub async fn correct(
    conn: &mut PgConnection,
    correction: &Correction,
    bounds: &config::Events,
) -> Result<Outcome, StoreError> {
    // No lock: a letter whose correction is being published is locked for as long as that takes.
    loop {
        let Some(letter) = read(&mut *conn, correction).await? else { return Ok(Outcome::NotFound) };
        let rules = Rules { now: letter.now, max_ahead: bounds.max_ahead(), retention: bounds.retention() };
        let stored = letter.correction.as_deref().zip(letter.corrected_at).map(|(body, at)| Stored { body, at });
        let event = match correction::judge(&correction.body, letter.org_id, stored, &rules) {
            Verdict::First(event) => event,
            Verdict::Same(event) => {
                let state = State::of(letter.corrected_at, letter.replayed_at);
                return Ok(Outcome::Accepted { state, event_id: event.event_id });
            }
            Verdict::Other => return Ok(Outcome::AlreadyCorrected),
            Verdict::Wrong(reasons) => return Ok(Outcome::Wrong(reasons)),
        };
        let body = serde_json::to_vec(&event).map_err(|error| StoreError::Permanent(error.to_string()))?;
        if in_transaction(conn, async |tx| first(tx, correction, &letter, body).await).await? {
            return Ok(Outcome::Accepted { state: State::Corrected, event_id: event.event_id });
        }
        // Somebody was quicker, or the letter is gone: what is there now decides. It cannot come to this again.
    }
}

/// Stores and records the first correction of a letter, as it was judged. False: there is one already, or the letter is gone.
async fn first(
    tx: &mut PgConnection,
    correction: &Correction,
    letter: &Letter,
    body: Vec<u8>,
) -> Result<bool, StoreError> {
    let updated = sqlx::query(
        "UPDATE analytics.dead_letters SET correction = $2, corrected_by = $3, corrected_at = $4
         WHERE dead_letter_id = $1 AND correction IS NULL",
    )
    .bind(correction.dead_letter_id)
    .bind(body)
    // A NUL is the one character that the database has no place for.
    .bind(correction.by.replace('\0', ""))
    // The moment that the event was judged by.
    .bind(letter.now)
    .execute(&mut *tx)
    .await?;
    let stored = updated.rows_affected() > 0;
    if stored {
        let act = AuditEvent { org_id: letter.org_id, ..correction.act.clone() };
        crate::store::access::audit::record(tx, &[act]).await?;
    }
    Ok(stored)
}

#[derive(sqlx::FromRow)]
struct Letter {
    org_id: Option<Uuid>,
    correction: Option<Vec<u8>>,
    corrected_at: Option<DateTime<Utc>>,
    replayed_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

async fn read(conn: &mut PgConnection, correction: &Correction) -> Result<Option<Letter>, StoreError> {
    let letter: Option<Letter> = sqlx::query_as(
        "SELECT org_id, correction, corrected_at, replayed_at, clock_timestamp() AS now
         FROM analytics.dead_letters WHERE dead_letter_id = $1",
    )
    .bind(correction.dead_letter_id)
    .fetch_optional(conn)
    .await?;
    Ok(letter.filter(|letter| match correction.whose {
        LetterScope::Org(org_id) => letter.org_id == Some(org_id),
        LetterScope::Unreadable => letter.org_id.is_none(),
        LetterScope::Any => true,
    }))
}

/// A stored correction that is to be published.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Waiting {
    pub dead_letter_id: Uuid,
    pub correction: Vec<u8>,
}

/// Whether any correction waits to be published, claimed by another process or not.
pub async fn any_waiting(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM analytics.dead_letters WHERE correction IS NOT NULL AND replayed_at IS NULL)",
    );
    Ok(any.fetch_one(conn).await?)
}

/// The oldest corrections that wait and that no other process is about to publish: locked until the transaction ends.
pub async fn claim(tx: &mut PgConnection, limit: i64) -> Result<Vec<Waiting>, StoreError> {
    let waiting = sqlx::query_as(
        "SELECT dead_letter_id, correction FROM analytics.dead_letters
         WHERE correction IS NOT NULL AND replayed_at IS NULL
         ORDER BY dead_letter_id LIMIT $1 FOR UPDATE SKIP LOCKED",
    );
    Ok(waiting.bind(limit).fetch_all(tx).await?)
}

/// Notes that the broker has confirmed them.
pub async fn replayed(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query("UPDATE analytics.dead_letters SET replayed_at = clock_timestamp() WHERE dead_letter_id = ANY($1)")
        .bind(ids)
        .execute(tx)
        .await?;
    Ok(())
}
