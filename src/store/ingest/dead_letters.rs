//! Dead letters: rejected messages, kept with their reasons.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::partitions::Claim;
use crate::{
    domain::batch::Batch,
    store::{StoreError, bound::bound},
};

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
    if batch.rejects.is_empty() && refused.is_empty() && too_old.is_empty() {
        return Ok(());
    }
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
    let mut letters = Letters {
        stream: &claim.stream,
        incarnation: claim.incarnation,
        partition: i32::from(claim.partition),
        batch_id: batch.raw.id,
        ..Letters::default()
    };
    for (message, (org_id, event_id), why) in by_rule.chain(by_database).chain(by_age) {
        let message = &batch.raw.messages[message];
        letters.ids.push(Uuid::now_v7());
        letters.offsets.push(message.offset);
        letters.orgs.push(org_id);
        letters.events.push(event_id);
        letters.reasons.push(serde_json::to_string(&why).map_err(|error| StoreError::Permanent(error.to_string()))?);
        letters.payloads.push(&message.body[..message.body.len().min(KEPT_PAYLOAD_BYTES)]);
        letters.lengths.push(i64::try_from(message.body.len()).unwrap_or(i64::MAX));
        letters.hashes.push(Sha256::digest(&message.body).to_vec());
    }
    sqlx::query_with(include_str!("sql/dead_letters.sql"), letters.arguments()?).execute(conn).await?;
    Ok(())
}

bound! {
    /// Of dead_letters.sql.
    #[derive(Default)]
    struct Letters<'a> {
        stream: &'a str, incarnation: i32, partition: i32, batch_id: Uuid, offsets: Vec<i64>,
        orgs: Vec<Option<Uuid>>, reasons: Vec<String>, payloads: Vec<&'a [u8]>, lengths: Vec<i64>,
        hashes: Vec<Vec<u8>>, ids: Vec<Uuid>, events: Vec<Option<Uuid>>,
    }
}
