//! TimescaleDB's continuous aggregates, and the views `hourly_materialised` and `daily_materialised` over the tables in which they
//! keep what they have materialised. All that depends on the edition is here and in the procedure `analytics.materialise`: the
//! rest of the store reads and writes the views. The views hand the rights of the schema's owner down to the tables.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::unit::Unit;
use crate::{
    config::Database,
    domain::histogram,
    store::{StoreError, connect_owner, transaction::between_snapshots},
};

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

/// Those that are there: both, none, or one while they are created or dropped.
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

/// Creates them, with nothing materialised, and the views over their tables. May be run again.
pub async fn create(owner: &mut PgConnection, service_role: &str) -> Result<(), StoreError> {
    let bounds = histogram::bounds().iter().map(u32::to_string).collect::<Vec<_>>();
    let text = include_str!("sql/continuous_create.sql")
        .replace("{bounds}", &format!("{{{}}}", bounds.join(",")))
        .replace("{buckets}", &bounds.len().to_string());
    // One statement at a time: an aggregate cannot be created among others.
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        change(owner, statement).await?;
    }
    for aggregate in all(owner).await? {
        let unit = aggregate.unit().as_str();
        for text in [
            "CREATE INDEX IF NOT EXISTS {unit}_continuous_key ON analytics.{unit}_continuous (org_id, bucket_start, model_id)",
            include_str!("sql/materialised_view.sql"),
            include_str!("sql/materialised_guard.sql"),
        ] {
            let text = text.replace("{unit}", unit).replace("{table}", &aggregate.table);
            change(owner, &text).await?;
        }
    }
    sqlx::query("SELECT analytics.grant_to($1)").bind(service_role).execute(owner).await?;
    Ok(())
}

/// Drops them, where they are there. They are not read any more.
pub async fn drop_all(owner: &mut PgConnection) -> Result<(), StoreError> {
    for unit in [Unit::Daily, Unit::Hourly] {
        for text in [
            "CREATE OR REPLACE VIEW analytics.{unit}_materialised AS SELECT * FROM analytics.{unit}_rollups WHERE false",
            "DROP MATERIALIZED VIEW IF EXISTS analytics.{unit}_continuous",
        ] {
            change(owner, &text.replace("{unit}", unit.as_str())).await?;
        }
    }
    Ok(())
}

/// Changes a table or view. Raw events are concerned too: TimescaleDB notes their changes for its aggregates, by triggers.
async fn change(owner: &mut PgConnection, statement: &str) -> Result<(), StoreError> {
    between_snapshots(owner, async |tx| {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(tx).await?;
        Ok(())
    })
    .await
}

/// Has TimescaleDB (from 2.28 on, which has a setting for it) keep no invalidation of what this session stores. Nothing is
/// materialised twice here: late events are in the tables. So the invalidations would stay for good, and every refresh reads all
/// of them (docs/performance.md). They are kept where aggregates of another owner are over raw events.
pub async fn skip_invalidations(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT set_config(name, 'on', false) FROM pg_settings
         WHERE name = 'timescaledb.skip_cagg_invalidation'
           AND NOT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates
                           WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'
                             AND view_schema <> 'analytics')",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Has the guard of what is materialised let this transaction delete: the caller keeps what it deletes, or erases it.
pub async fn allow_deletes(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('analytics.moves_rows', 'on', true)").execute(tx).await?;
    Ok(())
}

/// Deletes what they have materialised of an org. How many rows of hours and of days readers saw.
pub async fn erase_org(tx: &mut PgConnection, org_id: Uuid) -> Result<[i64; 2], StoreError> {
    allow_deletes(tx).await?;
    let mut gone = [0; 2];
    for (unit, gone) in Unit::ALL.into_iter().zip(&mut gone) {
        let delete = include_str!("sql/materialised_erase.sql").replace("{unit}", unit.as_str());
        *gone = sqlx::query_scalar(AssertSqlSafe(delete)).bind(org_id).fetch_one(&mut *tx).await?;
    }
    Ok(gone)
}

/// Opens a connection that may refresh the aggregates, drop their chunks, and switch, which only the schema's owner may.
///
/// # Errors
/// `Permanent` with the setting to look at, where the role is not the owner.
pub async fn connect(database: &Database) -> Result<sqlx::PgConnection, StoreError> {
    let mut owner = connect_owner(database).await?;
    let owns: bool = sqlx::query_scalar(
        "SELECT coalesce(bool_and(pg_has_role(relowner, 'USAGE')), true) FROM pg_class
         WHERE oid IN (to_regclass('analytics.hourly_usage'), to_regclass('analytics.hourly_continuous'))",
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
