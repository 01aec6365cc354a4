//! Events as rows: of a binary COPY (PostgreSQL's documentation, "COPY", section "Binary Format"), or of an INSERT where they are few.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    amount::{self, Amount},
    bound::bound,
};
use crate::domain::{batch::Candidate, event::Event};

/// So many events at most are inserted. A COPY is cheaper for each, but its end waits up to 40 ms: the driver sends it by itself, and without
/// `TCP_NODELAY` it leaves when the packets before it are acknowledged.
const FEW: usize = 500;

/// Columns in the order that [`row`] writes them.
const COLUMNS: &str = "occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens, output_tokens, \
    status, cost_cents, actor_id, client_id, error_code, metadata";
const COLUMN_COUNT: i16 = 14;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Seconds from 1970 to 2000, where PostgreSQL's time starts.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;
/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of a typical row, to size the buffer once.
const ROW_BYTES: usize = 256;
/// Version byte of jsonb's binary form.
const JSONB_VERSION: u8 = 1;
const NULL: i32 = -1;

/// Stores events and gives their number.
pub async fn store(conn: &mut PgConnection, events: &[&Candidate], batch_id: Uuid) -> Result<u64, sqlx::Error> {
    if events.len() <= FEW { insert(conn, events, batch_id).await } else { copy(conn, events, batch_id).await }
}

bound! {
    /// What rows_insert.sql begins with.
    #[derive(Default)]
    struct Columns<'a> {
        times: Vec<DateTime<Utc>>, orgs: Vec<Uuid>, events: Vec<Uuid>, models: Vec<Uuid>, latencies: Vec<i32>,
        input_tokens: Vec<i32>, output_tokens: Vec<i32>, statuses: Vec<&'a str>, costs: Vec<Amount>,
        actors: Vec<Option<Uuid>>, clients: Vec<Option<&'a str>>, error_codes: Vec<Option<&'a str>>,
        metadata: Vec<Option<&'a str>>,
    }
}

async fn insert(conn: &mut PgConnection, events: &[&Candidate], batch_id: Uuid) -> Result<u64, sqlx::Error> {
    let mut columns = Columns::default();
    // An event's numbers are far below.
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    for Candidate { event, .. } in events {
        columns.times.push(event.occurred_at);
        columns.orgs.push(event.org_id);
        columns.events.push(event.event_id);
        columns.models.push(event.model_id);
        columns.latencies.push(number(event.latency_ms));
        columns.input_tokens.push(number(event.input_tokens));
        columns.output_tokens.push(number(event.output_tokens));
        columns.statuses.push(event.status.as_str());
        columns.costs.push(Amount(event.cost_estimate_cents));
        columns.actors.push(event.actor_id);
        columns.clients.push(event.client_id.as_deref());
        columns.error_codes.push(event.error_code.as_deref());
        columns.metadata.push(event.metadata.as_ref().map(|metadata| metadata.as_json()));
    }
    let statement = sqlx::query_with(include_str!("sql/rows_insert.sql"), columns.arguments()?).bind(batch_id);
    Ok(statement.execute(conn).await?.rows_affected())
}

/// The first events are on their way while the last ones are still encoded.
async fn copy(conn: &mut PgConnection, events: &[&Candidate], batch_id: Uuid) -> Result<u64, sqlx::Error> {
    let statement = format!("COPY analytics.usage_events ({COLUMNS}) FROM STDIN (FORMAT binary)");
    let mut copy = conn.copy_in_raw(&statement).await?;
    let mut piece = Vec::with_capacity(PIECE_BYTES + ROW_BYTES);
    piece.extend_from_slice(SIGNATURE);
    piece.extend_from_slice(&[0; 8]);
    for candidate in events {
        row(&mut piece, &candidate.event, batch_id);
        if piece.len() >= PIECE_BYTES {
            copy.send(piece.as_slice()).await?;
            piece.clear();
        }
    }
    piece.extend_from_slice(&(-1_i16).to_be_bytes());
    copy.send(piece).await?;
    copy.finish().await
}

/// Appends an event as a row of the `COPY`.
pub fn row(out: &mut Vec<u8>, event: &Event, batch_id: Uuid) {
    out.extend_from_slice(&COLUMN_COUNT.to_be_bytes());
    field(out, &(event.occurred_at.timestamp_micros() - EPOCH_2000_MICROS).to_be_bytes());
    field(out, event.org_id.as_bytes());
    field(out, event.event_id.as_bytes());
    field(out, event.model_id.as_bytes());
    field(out, batch_id.as_bytes());
    field(out, &event.latency_ms.to_be_bytes());
    field(out, &event.input_tokens.to_be_bytes());
    field(out, &event.output_tokens.to_be_bytes());
    field(out, event.status.as_str().as_bytes());
    framed(out, |out| amount::write(out, event.cost_estimate_cents));
    optional(out, event.actor_id.as_ref().map(|id| id.as_bytes().as_slice()));
    optional(out, event.client_id.as_deref().map(str::as_bytes));
    optional(out, event.error_code.as_deref().map(str::as_bytes));
    match &event.metadata {
        Some(metadata) => framed(out, |out| {
            out.push(JSONB_VERSION);
            out.extend_from_slice(metadata.as_json().as_bytes());
        }),
        None => optional(out, None),
    }
}

fn optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => field(out, bytes),
        None => out.extend_from_slice(&NULL.to_be_bytes()),
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    framed(out, |out| out.extend_from_slice(bytes));
}

/// Writes the length in front of what is written. A message is at most 64 KiB, so a length fits.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
