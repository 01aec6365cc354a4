//! Compression of raw events, by a policy of the database, which TimescaleDB's Community edition has.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::Rules;
use crate::store::{StoreError, connect, edition::is_community};

/// By org alone and in the order of ids, not of time: an event that comes late is looked up by org and id, and finds its
/// thousand rows instead of the org's whole day (docs/performance.md).
const LAYOUT: &str = "ALTER TABLE analytics.usage_events SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'org_id', timescaledb.compress_orderby = 'event_id, occurred_at')";
/// Changing the table waits for locks only shortly: it is tried again the next time.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";
/// A policy looks twice a day: a day later than this something is wrong.
const PATIENCE: TimeDelta = TimeDelta::days(1);

/// How raw events are compressed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Compression {
    /// The database compresses days when they are so old.
    #[serde(rename_all = "camelCase")]
    Scheduled {
        after_days: i64,
        /// Days that are a day over it and are not compressed.
        overdue: i64,
    },
    /// By `maintenance.compress_after_days`.
    Off,
    /// By the edition's name.
    NotInThisEdition { license: String },
    /// There is no such policy yet, or another one, and `database.migration_url`, which could change that, is not set.
    NoOwner,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduled { after_days, overdue: 0 } => write!(f, "after {after_days} days"),
            Self::Scheduled { after_days, overdue } => write!(f, "after {after_days} days, {overdue} days are overdue"),
            Self::Off => f.write_str("off"),
            Self::NotInThisEdition { license } => write!(f, "not in this edition ({license})"),
            Self::NoOwner => f.write_str("not scheduled: database.migration_url is not set"),
        }
    }
}

/// Sets compression of raw events by the settings, and says whether it is on.
pub(super) async fn attend(
    conn: &mut PgConnection,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Result<Compression, StoreError> {
    let license: String =
        sqlx::query_scalar("SELECT current_setting('timescaledb.license')").fetch_one(&mut *conn).await?;
    if !is_community(&license) {
        return Ok(Compression::NotInThisEdition { license });
    }
    if scheduled(conn).await? != rules.compress_after {
        let database = &rules.database;
        if database.migration_url.is_empty() {
            return Ok(Compression::NoOwner);
        }
        let mut owner = connect(&database.migration_url, database.connect_timeout()).await?;
        schedule(&mut owner, rules.compress_after).await?;
    }
    let Some(after) = rules.compress_after else { return Ok(Compression::Off) };
    let overdue = sqlx::query_scalar(
        "SELECT count(*) FROM timescaledb_information.chunks
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events' AND NOT is_compressed
           AND range_end <= $1",
    )
    .bind(now - after - PATIENCE)
    .fetch_one(conn)
    .await?;
    Ok(Compression::Scheduled { after_days: after.num_days(), overdue })
}

/// How old a day is when the database compresses it, as it is scheduled now.
pub async fn scheduled(conn: &mut PgConnection) -> Result<Option<TimeDelta>, StoreError> {
    let seconds: Option<i64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM (config ->> 'compress_after')::interval)::bigint FROM timescaledb_information.jobs
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'
           AND proc_name = 'policy_compression'",
    )
    .fetch_optional(conn)
    .await?;
    Ok(seconds.map(TimeDelta::seconds))
}

/// Has the database compress days when they are so old, or no day, as the owner of the table. `migrate` does so too.
pub async fn schedule(owner: &mut PgConnection, after: Option<TimeDelta>) -> Result<(), StoreError> {
    if scheduled(owner).await? == after {
        return Ok(());
    }
    sqlx::query(LOCK_TIMEOUT).execute(&mut *owner).await?;
    sqlx::query("SELECT public.remove_compression_policy('analytics.usage_events', if_exists => true)")
        .execute(&mut *owner)
        .await?;
    let Some(after) = after else { return Ok(()) };
    let enabled: bool = sqlx::query_scalar(
        "SELECT compression_enabled FROM timescaledb_information.hypertables
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'",
    )
    .fetch_one(&mut *owner)
    .await?;
    // Another layout is an operator's choice.
    if !enabled {
        sqlx::query(LAYOUT).execute(&mut *owner).await?;
    }
    sqlx::query("SELECT public.add_compression_policy('analytics.usage_events', compress_after => $1)")
        .bind(after)
        .execute(owner)
        .await?;
    Ok(())
}
