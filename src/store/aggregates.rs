//! The tables in which the continuous aggregates keep what they have materialised. They are TimescaleDB's own, and what
//! the service's role may do with the aggregates it may do with these.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::{StoreError, connect_owner, recount::Unit};
use crate::config::Database;

/// A continuous aggregate that is there, whether readers see it or not.
#[derive(Clone, Debug, FromRow)]
pub struct Aggregate {
    hourly: bool,
    /// The table's name, quoted and with its schema, as the catalogue has it.
    pub table: String,
}

impl Aggregate {
    pub const fn unit(&self) -> Unit {
        if self.hourly { Unit::Hourly } else { Unit::Daily }
    }
}

/// Those that are there: both, none, or one while they are made or taken away.
pub async fn all(conn: &mut PgConnection) -> Result<Vec<Aggregate>, StoreError> {
    let aggregates = sqlx::query_as(
        "SELECT view_name = 'hourly_continuous' AS hourly,
                format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) AS table
         FROM timescaledb_information.continuous_aggregates
         WHERE view_schema = 'analytics' AND view_name IN ('hourly_continuous', 'daily_continuous')
         ORDER BY hourly DESC",
    );
    Ok(aggregates.fetch_all(conn).await?)
}

/// What they have materialised of an org: rows of hours and of days.
pub async fn count_org(conn: &mut PgConnection, org_id: Uuid) -> Result<[i64; 2], StoreError> {
    let mut counts = [0; 2];
    for aggregate in all(conn).await? {
        let count = format!("SELECT count(*) FROM {} WHERE org_id = $1", aggregate.table);
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count)).bind(org_id).fetch_one(&mut *conn).await?;
        counts[usize::from(!aggregate.hourly)] += rows;
    }
    Ok(counts)
}

/// Takes what they have materialised of an org away, and what is noted of it for the next revisions. How many rows of
/// hours and of days it were.
///
/// A refresh could take away only what raw events are there for, and would count the hours of all orgs again. Of days that
/// are made of hours nothing has to be counted again: the org's days go as well.
pub async fn erase_org(tx: &mut PgConnection, org_id: Uuid) -> Result<[i64; 2], StoreError> {
    let mut gone = [0; 2];
    for aggregate in all(tx).await? {
        let delete = format!("DELETE FROM {} WHERE org_id = $1", aggregate.table);
        let rows = sqlx::query(AssertSqlSafe(delete)).bind(org_id).execute(&mut *tx).await?.rows_affected();
        gone[usize::from(!aggregate.hourly)] += i64::try_from(rows).unwrap_or(i64::MAX);
    }
    // Of a refresh that was ended.
    sqlx::query("DELETE FROM analytics.rollup_before WHERE org_id = $1").bind(org_id).execute(tx).await?;
    Ok(gone)
}

/// Opens a connection that may refresh the aggregates and drop their chunks, which only their owner may.
///
/// # Errors
/// `Permanent` with the setting to look at, where the role is not the owner.
pub async fn connect(database: &Database) -> Result<sqlx::PgConnection, StoreError> {
    let mut owner = connect_owner(database).await?;
    let owns: bool = sqlx::query_scalar(
        "SELECT coalesce(bool_and(pg_has_role(relowner, 'USAGE')), true) FROM pg_class
         WHERE oid IN (to_regclass('analytics.hourly_continuous'), to_regclass('analytics.daily_continuous'))",
    )
    .fetch_one(&mut owner)
    .await?;
    if owns {
        return Ok(owner);
    }
    Err(StoreError::Permanent(if database.migration_url.is_empty() {
        "database.migration_url is not set, and the role of database.url does not own the continuous aggregates"
            .to_owned()
    } else {
        "the role of database.migration_url does not own the continuous aggregates".to_owned()
    }))
}
