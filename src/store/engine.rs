//! The engines that keep the rollups: which one does, refreshing the continuous aggregates, and switching.
//!
//! Switching takes the rollups' owner, and the turn. Readers go on; merges wait only while the last touched hours are
//! refreshed and the views are changed, so that no number is wrong in between.

use std::future::Future;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{
    StoreError, chunks, clock,
    merge::ROLLUP_LOCK,
    rebuild,
    recount::{self, Unit},
    schema::is_community,
    transaction::in_transaction,
};
use crate::{
    config::EngineChoice,
    domain::{
        calendar::{next_utc_day, utc_day},
        histogram,
    },
};

/// Advisory lock of the session that refreshes. One whose process was killed goes on with what it was called for, when the
/// turn is another's already.
const REFRESH_LOCK: i64 = 0x0072_6566_7265_7368;
/// Days whose daily aggregates are materialised at a time.
const DAYS_AT_ONCE: i32 = 7;
/// Rollups that one statement takes away.
const ROWS_AT_ONCE: i64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The service merges what each batch adds.
    Live,
    /// TimescaleDB's continuous aggregates.
    Continuous,
}

impl Engine {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Continuous => "continuous",
        }
    }

    /// What a choice means on a server of that licence, whose rollups an engine keeps already. A schema begins with `Live`.
    ///
    /// # Errors
    /// The edition does not have it.
    pub fn chosen(choice: EngineChoice, license: &str, kept_by: Self) -> Result<Self, StoreError> {
        let has = is_community(license);
        match choice {
            EngineChoice::Live => Ok(Self::Live),
            EngineChoice::Auto => Ok(kept_by),
            EngineChoice::Continuous if has => Ok(Self::Continuous),
            EngineChoice::Continuous => Err(StoreError::Permanent(format!(
                "continuous aggregates are in TimescaleDB's Community edition, and timescaledb.license is {license}"
            ))),
        }
    }
}

/// Which engine the readers' views show, and how far a switch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub engine: Engine,
    /// Merges add to the live rollups.
    pub merging: bool,
    /// Merges note which final hours they change.
    pub touching: bool,
    pub continuous_from: Option<DateTime<Utc>>,
}

pub async fn state(conn: &mut PgConnection) -> Result<State, StoreError> {
    let (engine, merging, touching, continuous_from): (String, _, _, _) =
        sqlx::query_as("SELECT engine, merging, touching, continuous_from FROM analytics.rollup_engine")
            .fetch_one(conn)
            .await?;
    let engine = if engine == "continuous" { Engine::Continuous } else { Engine::Live };
    Ok(State { engine, merging, touching, continuous_from })
}

/// What a refresh has to know.
#[derive(Clone, Debug)]
pub struct RefreshRules {
    /// Of all partitions: what all of them are complete up to is final.
    pub streams: Vec<String>,
    pub late_after: TimeDelta,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct Refreshed {
    /// Hours that had been materialised before and were again.
    pub hours: i64,
    /// Rows of the revisions that say what changed.
    pub revisions: i64,
}

/// Refreshes the continuous aggregates, as their owner: see the procedure in the migrations. After an error the connection
/// is to be given up.
pub async fn refresh(owner: &mut PgConnection, rules: &RefreshRules, note: bool) -> Result<Refreshed, StoreError> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(REFRESH_LOCK).execute(&mut *owner).await?;
    let refreshed = sqlx::query_as("CALL analytics.refresh_continuous($1, $2, $3, NULL, NULL)")
        .bind(&rules.streams)
        .bind(rules.late_after)
        .bind(note)
        .fetch_one(&mut *owner)
        .await?;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(REFRESH_LOCK).execute(owner).await?;
    Ok(refreshed)
}

/// Has the hours from one moment to another counted again at the next refresh, whether anything changed or not.
pub async fn touch(
    conn: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analytics.rollup_touched (bucket_start, reason, touched_at, forced)
         SELECT hour, $3, clock_timestamp(), true FROM generate_series($1, $2 - INTERVAL '1 hour', INTERVAL '1 hour') AS hour
         ON CONFLICT (bucket_start) DO UPDATE SET forced = true, reason = excluded.reason, touched_at = excluded.touched_at",
    )
    .bind(from)
    .bind(to)
    .bind(reason)
    .execute(conn)
    .await?;
    Ok(())
}

/// Switches the readers to continuous aggregates, for all days that raw events are there of. May be run again
/// wherever it ended. `turn` holds merges off at the end; `owner` owns the schema.
///
/// # Errors
/// `Permanent` where an org keeps its raw events for a shorter time than others: a refresh would take its rollups away.
pub async fn to_continuous(
    turn: &mut PgConnection,
    owner: &mut PgConnection,
    rules: &RefreshRules,
    service_role: &str,
    tell: &mut impl FnMut(&str),
) -> Result<(), StoreError> {
    let before = state(turn).await?;
    if before.engine == Engine::Continuous && !before.merging {
        return take_live_away(turn, owner, before.continuous_from, tell).await;
    }
    let own: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM analytics.org_settings WHERE raw_days IS NOT NULL OR rollup_days IS NOT NULL)
             OR EXISTS (SELECT FROM analytics.raw_horizons WHERE org_id IS NOT NULL)",
    )
    .fetch_one(&mut *turn)
    .await?;
    if own {
        return Err(StoreError::Permanent(
            "organisations have a retention of their own (`retention list`), which continuous aggregates cannot keep to"
                .to_owned(),
        ));
    }
    // From now on merges note what they change of the past, so that nothing is missed that comes during the backfill.
    sqlx::query("UPDATE analytics.rollup_engine SET touching = true").execute(&mut *owner).await?;
    create(owner, service_role).await?;
    let from = read_from(owner).await?;
    backfill(owner, rules, from, tell).await?;
    tell("switching");
    merges_held_off(turn, async {
        refresh(owner, rules, false).await?;
        in_transaction(owner, async |tx| {
            sqlx::query(
                "UPDATE analytics.rollup_engine SET engine = 'continuous', merging = false, continuous_from = $1,
                     switched_at = clock_timestamp()",
            )
            .bind(from)
            .execute(&mut *tx)
            .await?;
            show(tx, &include_str!("sql/continuous_views.sql").replace("{from}", &from.to_rfc3339())).await
        })
        .await
    })
    .await?;
    take_live_away(turn, owner, Some(from), tell).await
}

/// Switches the readers to live rollups. May be run again wherever it ended.
pub async fn to_live(
    turn: &mut PgConnection,
    owner: &mut PgConnection,
    rules: &RefreshRules,
    tell: &mut impl FnMut(&str),
) -> Result<(), StoreError> {
    let before = state(turn).await?;
    if let (Engine::Continuous, Some(from)) = (before.engine, before.continuous_from) {
        if !before.merging {
            take_live_away(turn, owner, Some(from), tell).await?;
            // From now on merges add to live rollups, which begin incomplete and are rebuilt day by day.
            merges_held_off(turn, async {
                sqlx::query("UPDATE analytics.rollup_engine SET merging = true").execute(&mut *owner).await?;
                Ok(())
            })
            .await?;
        }
        let raw_from = rebuild::raw_from(turn).await?.map_or(from, |raw_from| raw_from.max(from));
        keep_materialised(owner, from, raw_from).await?;
        recount::prepare(turn).await?;
        let now = clock::now(turn).await?;
        let first = super::verify::first_day(turn).await?.unwrap_or(now);
        let (mut day, last) = (utc_day(raw_from.max(first)), now + TimeDelta::days(1));
        while day <= last {
            tell(&format!("rebuilding {}", day.date_naive()));
            rebuild::day(turn, day, None, None, rules.late_after).await?;
            day += TimeDelta::days(1);
        }
        tell("switching");
        merges_held_off(turn, async {
            refresh(owner, rules, true).await?;
            in_transaction(owner, async |tx| {
                sqlx::query(
                    "UPDATE analytics.rollup_engine SET engine = 'live', touching = false, continuous_from = NULL,
                         switched_at = clock_timestamp()",
                )
                .execute(&mut *tx)
                .await?;
                show(tx, include_str!("sql/live_views.sql")).await
            })
            .await
        })
        .await?;
    }
    drop_continuous(owner).await
}

/// Puts the job on that refreshes on a schedule, or takes it off.
pub async fn schedule(
    owner: &mut PgConnection,
    rules: &RefreshRules,
    every: Option<TimeDelta>,
) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT public.delete_job(job_id) FROM timescaledb_information.jobs
         WHERE proc_schema = 'analytics' AND proc_name = 'refresh_job'",
    )
    .execute(&mut *owner)
    .await?;
    let Some(every) = every else { return Ok(()) };
    sqlx::query(
        "SELECT public.add_job('analytics.refresh_job', $1,
             jsonb_build_object('streams', to_jsonb($2::text[]), 'late_seconds', $3))",
    )
    .bind(every)
    .bind(&rules.streams)
    .bind(rules.late_after.num_seconds())
    .execute(owner)
    .await?;
    Ok(())
}

async fn create(owner: &mut PgConnection, service_role: &str) -> Result<(), StoreError> {
    let bounds = histogram::bounds().iter().map(u32::to_string).collect::<Vec<_>>();
    let text = include_str!("sql/continuous_create.sql")
        .replace("{bounds}", &format!("{{{}}}", bounds.join(",")))
        .replace("{buckets}", &bounds.len().to_string());
    // One statement at a time: an aggregate cannot be created among others.
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *owner).await?;
    }
    for unit in Unit::ALL {
        let unit = unit.as_str();
        let index = format!(
            "CREATE INDEX IF NOT EXISTS {unit}_continuous_key ON analytics.{unit}_continuous (org_id, bucket_start, model_id)"
        );
        sqlx::query(AssertSqlSafe(index)).execute(&mut *owner).await?;
    }
    sqlx::query("SELECT analytics.grant_to($1)").bind(service_role).execute(owner).await?;
    Ok(())
}

/// From when on continuous aggregates are read: always, where all raw events are there; else from the first day of which
/// they are, and nothing older can come.
async fn read_from(conn: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    let raw_from = rebuild::raw_from(conn).await?;
    Ok(raw_from.map_or(DateTime::UNIX_EPOCH, next_utc_day))
}

/// Materialises what is final, some days at a time.
async fn backfill(
    owner: &mut PgConnection,
    rules: &RefreshRules,
    from: DateTime<Utc>,
    tell: &mut impl FnMut(&str),
) -> Result<(), StoreError> {
    let complete: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
        "SELECT date_trunc('day', min(watermark) - $2, 'UTC') FROM analytics.known_watermarks
         WHERE stream = ANY ($1) HAVING count(watermark) = cardinality($1)",
    )
    .bind(&rules.streams)
    .bind(rules.late_after)
    .fetch_optional(&mut *owner)
    .await?;
    let Some((complete, first)) = complete.flatten().zip(chunks::oldest(owner).await?) else { return Ok(()) };
    let mut start = first.max(from);
    while start < complete {
        let end = (start + TimeDelta::days(DAYS_AT_ONCE.into())).min(complete);
        tell(&format!("materialising {} to {}", start.date_naive(), (end - TimeDelta::days(1)).date_naive()));
        for unit in Unit::ALL {
            let aggregate = format!("analytics.{}_continuous", unit.as_str());
            sqlx::query("CALL public.refresh_continuous_aggregate($1::regclass, $2, $3)")
                .bind(aggregate)
                .bind(start)
                .bind(end)
                .execute(&mut *owner)
                .await?;
        }
        start = end;
    }
    Ok(())
}

/// Takes live rollups away that continuous aggregates stand for.
async fn take_live_away(
    turn: &mut PgConnection,
    owner: &mut PgConnection,
    from: Option<DateTime<Utc>>,
    tell: &mut impl FnMut(&str),
) -> Result<(), StoreError> {
    let Some(from) = from else { return Ok(()) };
    for unit in Unit::ALL {
        let table = format!("analytics.{}_rollups", unit.as_str());
        let older = format!("SELECT EXISTS (SELECT FROM {table} WHERE bucket_start < $1)");
        if !sqlx::query_scalar::<_, bool>(AssertSqlSafe(older)).bind(from).fetch_one(&mut *turn).await? {
            sqlx::query(AssertSqlSafe(format!("TRUNCATE {table}"))).execute(&mut *owner).await?;
            continue;
        }
        let some = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE bucket_start >= $1 LIMIT $2))"
        );
        loop {
            tell(&format!("taking {} rollups away that are kept otherwise now", unit.as_str()));
            let gone =
                sqlx::query(AssertSqlSafe(some.as_str())).bind(from).bind(ROWS_AT_ONCE).execute(&mut *turn).await?;
            if gone.rows_affected() == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Keeps as live rollups what cannot be counted again, since its raw events are past their retention.
async fn keep_materialised(owner: &mut PgConnection, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), StoreError> {
    for unit in Unit::ALL {
        let text = include_str!("sql/live_from_continuous.sql").replace("{unit}", unit.as_str());
        sqlx::query(AssertSqlSafe(text)).bind(from).bind(to).execute(&mut *owner).await?;
    }
    Ok(())
}

async fn drop_continuous(owner: &mut PgConnection) -> Result<(), StoreError> {
    for statement in [
        "DROP MATERIALIZED VIEW IF EXISTS analytics.daily_continuous",
        "DROP MATERIALIZED VIEW IF EXISTS analytics.hourly_continuous",
        "UPDATE analytics.rollup_engine SET touching = false",
        "DELETE FROM analytics.rollup_touched",
        "DELETE FROM analytics.rollup_before",
    ] {
        sqlx::query(statement).execute(&mut *owner).await?;
    }
    Ok(())
}

async fn show(tx: &mut PgConnection, view: &str) -> Result<(), StoreError> {
    for unit in Unit::ALL {
        sqlx::query(AssertSqlSafe(view.replace("{unit}", unit.as_str()))).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Does something while nobody merges.
async fn merges_held_off<T>(
    turn: &mut PgConnection,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(ROLLUP_LOCK).execute(&mut *turn).await?;
    let done = work.await;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(ROLLUP_LOCK).execute(&mut *turn).await?;
    done
}
