//! Backups: what is restored continues with the stream, and counts everything once. The commands are those of docs/backup.md.

mod dumps;
mod moments;

use analytics_service::auth::Role;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{LedgerSums, Service, Totals, number};

/// Messages a second: what matters is that they do not stop.
const RATE: u32 = 2000;

/// What a database says of what happened: rows, rollups, dead letters and the ledger, without when they were read and by which batch.
#[derive(Debug, PartialEq)]
struct Contents {
    tables: Vec<(String, i64, Option<String>)>,
    ledger: LedgerSums,
}

impl Contents {
    async fn of(conn: &mut PgConnection) -> Self {
        let tables = "
            WITH rows (source, content) AS (
                SELECT 'usage_events', (to_jsonb(e) - 'batch_id')::text FROM analytics.usage_events e
                UNION ALL SELECT 'hourly_rollups', (to_jsonb(r) - 'fresh_as_of')::text FROM analytics.hourly_rollups r
                UNION ALL SELECT 'daily_rollups', (to_jsonb(r) - 'fresh_as_of')::text FROM analytics.daily_rollups r
                UNION ALL SELECT 'dead_letters', (stream, incarnation, stream_offset, reasons, payload)::text FROM analytics.dead_letters)
            SELECT source, count(*), md5(string_agg(content, E'\\n' ORDER BY content COLLATE \"C\"))
            FROM rows GROUP BY source ORDER BY source";
        let tables = sqlx::query_as(tables).fetch_all(&mut *conn).await.unwrap();
        Self { tables, ledger: LedgerSums::of_batches(conn).await }
    }
}

/// Where the partition reads on.
async fn next_offset(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT next_offset FROM analytics.partition_offsets").await
}

/// Up to when the API calls an org's numbers complete.
async fn as_of(service: &Service, org: Uuid) -> DateTime<Utc> {
    let token = service.token(&[org], &[Role::OrgViewer]);
    let start = (Utc::now() - TimeDelta::days(1)).format("%FT%TZ");
    let path = format!("/analytics/v1/orgs/{org}/usage?start={start}");
    let (status, usage) = service.get(&path, &token).await;
    assert_eq!(status, 200, "{usage}");
    usage["asOf"].as_str().unwrap().parse().unwrap()
}

/// An org that has events.
async fn an_org(conn: &mut PgConnection) -> Uuid {
    *Totals::raw(conn).await.keys().next().unwrap()
}
