//! Counting raw events by org, hour and label, once to be summed and once to be compared: a cursor, read in pieces.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::{histogram::Sum, labelled::Packing, reliability::Outcomes},
    store::{StoreError, read::latency_bounds},
};

/// Rows that are fetched at once.
const AT_ONCE: usize = 1000;

/// Whether the cursor is of one transaction, or is counted to its end at once and outlives that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Transaction,
    Session,
}

/// Raw events of some hours, the end exclusive: of some orgs, or of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub starts: DateTime<Utc>,
    pub ends: DateTime<Utc>,
    pub orgs: Option<&'a [Uuid]>,
}

/// What raw events make of an hour of an org.
#[derive(Clone, Debug)]
pub(super) struct Hour {
    pub org_id: Uuid,
    pub bucket_start: DateTime<Utc>,
    /// Some of its events are of batches that are not merged yet: it cannot be known whether they will be when its rollups change.
    pub pending: bool,
    /// None: too many.
    pub clients: Option<Vec<u8>>,
    pub error_codes: Option<Vec<u8>>,
}

impl Hour {
    pub fn bytes(&self) -> usize {
        [&self.clients, &self.error_codes].into_iter().flatten().map(Vec::len).sum()
    }
}

/// Begins to count. One at a time on a connection, until [`close`].
pub(super) async fn open(conn: &mut PgConnection, wanted: Wanted<'_>, hold: Hold) -> Result<(), StoreError> {
    let hold = match hold {
        Hold::Transaction => "",
        Hold::Session => "WITH HOLD",
    };
    // All of it is read: no plan that is quick for the first rows only.
    sqlx::query("SET cursor_tuple_fraction = 1").execute(&mut *conn).await?;
    // Safe: what is put in is one of these.
    sqlx::query(AssertSqlSafe(include_str!("sql/hours_by_count.sql").replace("{hold}", hold)))
        .bind(wanted.starts)
        .bind(wanted.ends)
        .bind(wanted.orgs)
        .bind(latency_bounds())
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn close(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("CLOSE hours_by").execute(conn).await?;
    Ok(())
}

/// Makes hours of the rows of a cursor.
#[derive(Default)]
pub(super) struct Counting {
    open: Option<OpenHour>,
}

struct OpenHour {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    pending: bool,
    clients: Packing,
    error_codes: Packing,
}

impl Counting {
    /// Adds the hours that are complete with the next rows, and says whether there are more.
    pub async fn next(&mut self, conn: &mut PgConnection, hours: &mut Vec<Hour>) -> Result<bool, StoreError> {
        let fetch = format!("FETCH {AT_ONCE} FROM hours_by");
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(fetch)).fetch_all(conn).await?;
        let more = rows.len() == AT_ONCE;
        for row in rows {
            if self.open.as_ref().is_some_and(|hour| (hour.org_id, hour.bucket_start) != (row.org_id, row.bucket_start))
            {
                self.end(hours);
            }
            let hour = self.open.get_or_insert_with(|| OpenHour {
                org_id: row.org_id,
                bucket_start: row.bucket_start,
                pending: false,
                clients: Packing::default(),
                error_codes: Packing::default(),
            });
            hour.pending |= row.pending;
            let packing = if row.by_client { &mut hour.clients } else { &mut hour.error_codes };
            let outcomes = row.outcomes();
            packing.add(row.label.as_deref(), outcomes).map_err(|error| StoreError::impossible(&error.to_string()))?;
        }
        if !more {
            self.end(hours);
        }
        Ok(more)
    }

    fn end(&mut self, hours: &mut Vec<Hour>) {
        hours.extend(self.open.take().map(|hour| Hour {
            org_id: hour.org_id,
            bucket_start: hour.bucket_start,
            pending: hour.pending,
            clients: hour.clients.finish(),
            error_codes: hour.error_codes.finish(),
        }));
    }
}

#[derive(FromRow)]
struct Row {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    by_client: bool,
    label: Option<String>,
    pending: bool,
    successes: i64,
    errors: i64,
    timeouts: i64,
    throttled: i64,
    latency_buckets: Option<Vec<i32>>,
    latency_counts: Option<Vec<i64>>,
}

impl Row {
    fn outcomes(&self) -> Outcomes {
        let unsigned = |count: i64| u64::try_from(count).unwrap_or_default();
        let mut latency = Sum::default();
        for (bucket, count) in self.latency_buckets.iter().flatten().zip(self.latency_counts.iter().flatten()) {
            latency.add(usize::try_from(*bucket).unwrap_or_default(), unsigned(*count));
        }
        Outcomes {
            by_status: [self.successes, self.errors, self.timeouts, self.throttled].map(unsigned),
            latency: latency.histogram(),
        }
    }
}
