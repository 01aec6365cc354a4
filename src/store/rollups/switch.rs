//! Switching between the engines that keep the rollups.

use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    aggregates,
    engine::{Engine, RefreshRules, is_scheduled, lock_cut, refresh, schedule, state, unschedule},
    recount,
    unit::Unit,
    verify,
};
use crate::{
    domain::calendar::{next_utc_day, utc_day},
    store::{OnStep, StoreError, clock, edition::is_community, transaction::between_snapshots},
};

/// Whether a switch has begun and not ended, on a server of that licence.
pub async fn is_unfinished(conn: &mut PgConnection, license: &str) -> Result<bool, StoreError> {
    let state = state(conn).await?;
    Ok(match state.engine {
        // The aggregates are dropped last.
        Engine::Live => !aggregates::all(conn).await?.is_empty(),
        // Their job is scheduled when readers see them.
        Engine::Continuous => state.leaving || is_community(license) && !is_scheduled(conn).await?,
    })
}

/// Switches the readers to continuous aggregates, for all days that raw events are there of. May be run again wherever it
/// ended. The database's own job refreshes them from then on, every so often. `owner` owns the schema, and has the cut for as long as it is connected.
///
/// # Errors
/// `Permanent` where an org keeps its data for a shorter time than others.
pub async fn to_continuous(
    owner: &mut PgConnection,
    rules: &RefreshRules,
    every: TimeDelta,
    service_role: &str,
    on_step: OnStep<'_>,
) -> Result<(), StoreError> {
    lock_cut(owner).await?;
    if state(owner).await?.engine == Engine::Live {
        let own: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM analytics.org_settings WHERE raw_days IS NOT NULL OR rollup_days IS NOT NULL)
                 OR EXISTS (SELECT FROM analytics.raw_horizons WHERE org_id IS NOT NULL)",
        )
        .fetch_one(&mut *owner)
        .await?;
        if own {
            return Err(StoreError::Permanent(
                "organisations have a retention of their own (`retention list`), which continuous aggregates cannot keep to"
                    .to_owned(),
            ));
        }
        // What a switch to live left behind that was killed before its end has days that the tables have again.
        aggregates::drop_all(owner).await?;
        aggregates::create(owner, service_role).await?;
        begin(owner).await?;
    } else {
        sqlx::query("UPDATE analytics.rollup_engine SET leaving = false").execute(&mut *owner).await?;
    }
    // Before what takes long: wherever that ends, the job goes on with it. It passes while this one has the cut.
    schedule(owner, rules, every).await?;
    refresh(owner, rules, on_step).await?;
    Ok(())
}

/// Has readers see what is materialised, which is nothing yet: the cut is where the first day begins that all raw events are
/// there of.
pub async fn begin(owner: &mut PgConnection) -> Result<(), StoreError> {
    let now = clock::now(owner).await?;
    let first = verify::first_day(owner).await?.unwrap_or(now);
    let from = recount::raw_from(owner).await?.map_or(first, |raw_from| next_utc_day(raw_from).max(first));
    between_snapshots(owner, async |tx| {
        sqlx::query(
            "UPDATE analytics.rollup_engine SET engine = 'continuous', leaving = false, continuous_from = $1, hourly_to = $1,
                 daily_to = $1, switched_at = clock_timestamp()",
        )
        .bind(utc_day(from))
        .execute(&mut *tx)
        .await?;
        show(tx, include_str!("sql/continuous_views.sql")).await
    })
    .await
}

/// Switches the readers to live rollups. May be run again wherever it ended. `owner` has the cut for as long as it is connected.
pub async fn to_live(owner: &mut PgConnection, on_step: OnStep<'_>) -> Result<(), StoreError> {
    lock_cut(owner).await?;
    unschedule(owner).await?;
    if state(owner).await?.engine == Engine::Continuous {
        sqlx::query("UPDATE analytics.rollup_engine SET leaving = true").execute(&mut *owner).await?;
        for unit in Unit::ALL {
            let mut recalled = 0;
            let back = "SELECT analytics.move_cut_back($1)";
            while let Some(rows) =
                sqlx::query_scalar::<_, Option<i64>>(back).bind(unit.as_str()).fetch_one(&mut *owner).await?
            {
                recalled += rows;
                on_step(&format!("{recalled} {} rollups are in the tables again", unit.as_str()));
            }
        }
        between_snapshots(owner, async |tx| {
            sqlx::query(
                "UPDATE analytics.rollup_engine SET engine = 'live', leaving = false, continuous_from = NULL,
                     hourly_to = NULL, daily_to = NULL, switched_at = clock_timestamp()",
            )
            .execute(&mut *tx)
            .await?;
            show(tx, include_str!("sql/live_views.sql")).await
        })
        .await?;
    }
    aggregates::drop_all(owner).await
}

async fn show(tx: &mut PgConnection, view: &str) -> Result<(), StoreError> {
    for unit in Unit::ALL {
        sqlx::query(AssertSqlSafe(view.replace("{unit}", unit.as_str()))).execute(&mut *tx).await?;
    }
    Ok(())
}
