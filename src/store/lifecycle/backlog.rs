//! What waits in the database: for metrics, and for `status`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    domain::status::installation::{Backlog, Verify, Waiting},
    store::StoreError,
};

type Since = Option<DateTime<Utc>>;

pub async fn read(conn: &mut PgConnection) -> Result<Backlog, StoreError> {
    type Row = (i64, Since, i64, Since, i64, Since, Since, Option<i64>);
    let row: Row = sqlx::query_as(include_str!("sql/backlog.sql")).fetch_one(conn).await?;
    let (rollup, rollup_since, corrections, corrections_since, exports, exports_since, at, differences) = row;
    Ok(Backlog {
        rollup: Waiting { count: rollup, since: rollup_since },
        corrections: Waiting { count: corrections, since: corrections_since },
        exports: Waiting { count: exports, since: exports_since },
        verify: Verify { at, differences },
    })
}
