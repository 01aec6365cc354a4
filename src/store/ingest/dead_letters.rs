//! Dead letters: rejected messages, kept with their reasons.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::partitions::Claim;
use crate::{domain::batch::Batch, store::StoreError};

/// Bytes of a dead letter's payload that are kept.
const KEPT_PAYLOAD_BYTES: usize = 64 * 1024;

/// Why an event is rejected that its org's raw events do not reach back to.
const TOO_OLD: &str = "occurredAt: lies before the raw events that are kept for the organisation: what it may repeat is not known any more";

/// Keeps a batch's rejects, the events that the database refused (SQLSTATE by the index of the message), and those that are
/// too old to be compared with what is stored.
pub async fn keep(
    conn: &mut PgConnection,
    claim: &Claim,
    batch: &Batch,
    refused: &BTreeMap<usize, String>,
    too_old: &BTreeSet<usize>,
) -> Result<(), StoreError> {
    let keys: BTreeMap<usize, _> =
        batch.candidates().map(|c| (c.message, (Some(c.event.org_id), Some(c.event.event_id)))).collect();
    let key = |message: &usize| keys.get(message).copied().unwrap_or_default();
    let by_rule = batch.rejects.iter().map(|reject| {
        let reasons = reject.rejection.reasons.iter().map(ToString::to_string).collect::<Vec<_>>();
        (reject.message, (reject.rejection.org_id, reject.rejection.event_id), reasons)
    });
    let by_database = refused.iter().map(|(message, code)| {
        (*message, key(message), vec![format!("event: refused by the database, SQLSTATE {code}")])
    });
    let by_age = too_old.iter().map(|message| (*message, key(message), vec![TOO_OLD.to_owned()]));
    let (mut ids, mut offsets, mut org_ids, mut reasons) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut event_ids = Vec::new();
    let (mut payloads, mut lengths, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for (message, (org_id, event_id), why) in by_rule.chain(by_database).chain(by_age) {
        let message = &batch.raw.messages[message];
        ids.push(Uuid::now_v7());
        offsets.push(message.offset);
        org_ids.push(org_id);
        event_ids.push(event_id);
        reasons.push(serde_json::to_string(&why).map_err(|error| StoreError::Permanent(error.to_string()))?);
        payloads.push(&message.body[..message.body.len().min(KEPT_PAYLOAD_BYTES)]);
        lengths.push(i64::try_from(message.body.len()).unwrap_or(i64::MAX));
        hashes.push(Sha256::digest(&message.body).to_vec());
    }
    if offsets.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/dead_letters.sql"))
        .bind(&claim.stream)
        .bind(claim.incarnation)
        .bind(i32::from(claim.partition))
        .bind(batch.raw.id)
        .bind(offsets)
        .bind(org_ids)
        .bind(reasons)
        .bind(payloads)
        .bind(lengths)
        .bind(hashes)
        .bind(ids)
        .bind(event_ids)
        .execute(conn)
        .await?;
    Ok(())
}
