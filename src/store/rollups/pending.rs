//! Aggregates that are committed and wait to be merged: what there is, and whether it can be.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::{finding::Finding, rollup::Pending},
    store::StoreError,
};

/// Rows that are looked at by one statement.
const AT_ONCE: i64 = 50;

/// What waits to be merged of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub stream: String,
    pub partition: i32,
    pub batches: i64,
    /// When the first of them was committed.
    pub since: DateTime<Utc>,
    /// A process lives that should have merged it by now.
    #[serde(skip)]
    overdue: bool,
    /// Why it cannot be merged.
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Waiting {
    /// What is wrong with it, where something is.
    pub fn finding(&self) -> Option<Finding> {
        let Self { stream, partition, batches, since, problem, .. } = self;
        let why = problem.clone()?;
        Some(Finding::Pending { stream: stream.clone(), partition: *partition, batches: *batches, since: *since, why })
    }
}

/// What waits to be merged, by partition. Each row is read, as merging it would.
pub async fn waiting(conn: &mut PgConnection) -> Result<Vec<Waiting>, StoreError> {
    let mut waiting: Vec<Waiting> =
        sqlx::query_as(include_str!("sql/verify_pending.sql")).fetch_all(&mut *conn).await?;
    let broken = if waiting.is_empty() { BTreeMap::new() } else { unreadable(conn).await? };
    for waiting in &mut waiting {
        let of = (waiting.stream.clone(), waiting.partition);
        waiting.problem = match broken.get(&of) {
            Some(why) => Some(why.clone()),
            None if waiting.overdue => Some("processes live, and none has merged them: their logs say why".to_owned()),
            None => None,
        };
    }
    Ok(waiting)
}

/// The first row of each partition that cannot be read, and why.
async fn unreadable(conn: &mut PgConnection) -> Result<BTreeMap<(String, i32), String>, StoreError> {
    let (mut broken, mut after) = (BTreeMap::new(), Uuid::nil());
    loop {
        let rows: Vec<(Uuid, String, i32, Vec<u8>)> = sqlx::query_as(
            "SELECT batch_id, stream, partition, aggregates FROM analytics.rollup_pending
             WHERE batch_id > $1 ORDER BY batch_id LIMIT $2",
        )
        .bind(after)
        .bind(AT_ONCE)
        .fetch_all(&mut *conn)
        .await?;
        let Some((last, ..)) = rows.last() else { return Ok(broken) };
        after = *last;
        for (batch_id, stream, partition, aggregates) in rows {
            if let Err(error) = Pending::unpack(&aggregates) {
                broken.entry((stream, partition)).or_insert_with(|| format!("batch {batch_id}: {error}"));
            }
        }
    }
}
