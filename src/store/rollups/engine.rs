//! The engines that keep the rollups: which one does, and materialising. Switching is in [`switch`](super::switch).
//!
//! Merges add to the tables with either engine. With continuous aggregates a *cut* says up to where these are read: before it, a
//! bucket of an org and model is materialised or in the table, never in both. Switching is moving the cut, so readers see the same
//! numbers before, meanwhile and after. See docs/internals/rollups.md.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::{
    config::{EngineChoice, Settings},
    domain::named::named,
    store::{OnStep, StoreError, edition::is_community},
};

/// Advisory lock of the session that moves the cut: a refresh, or a switch. One whose process was killed goes on for a moment with
/// the statement that it was at, when the turn is another's already: a cut that moves both ways at once would leave out what it
/// passes over.
const REFRESH_LOCK: i64 = 0x0072_6566_7265_7368;
/// Steps of a refresh between two reports of how far it is: a day of hours, or one daily bucket.
const STEPS_AT_ONCE: i32 = 2;

named! {
    pub enum Engine {
        /// The tables that the service merges into have all of it.
        Live = "live",
        /// TimescaleDB's continuous aggregates have what is final, the tables the rest.
        Continuous = "continuous",
    }
}

impl Engine {
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

/// Which engine the readers' views show, and up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub engine: Engine,
    /// The cut is on its way back.
    pub leaving: bool,
    /// Up to where hours are read from the aggregates; with `Continuous`.
    pub hourly_to: Option<DateTime<Utc>>,
}

pub async fn state(conn: &mut PgConnection) -> Result<State, StoreError> {
    let (engine, leaving, hourly_to): (String, _, _) =
        sqlx::query_as("SELECT engine, leaving, hourly_to FROM analytics.rollup_engine").fetch_one(conn).await?;
    let engine = if engine == "continuous" { Engine::Continuous } else { Engine::Live };
    Ok(State { engine, leaving, hourly_to })
}

/// What a refresh has to know.
#[derive(Clone, Debug)]
pub struct RefreshRules {
    /// Of all partitions: what all of them are complete up to is final.
    pub streams: Vec<String>,
    pub late_after: TimeDelta,
}

impl RefreshRules {
    pub fn of(settings: &Settings) -> Self {
        Self { streams: settings.broker.topology().streams(), late_after: settings.events.late_after() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct Refreshed {
    /// Hours that the aggregates have now.
    pub hours: i64,
    /// Days that they have now.
    pub days: i64,
    /// Rollups that the tables no longer need.
    pub released: i64,
}

/// Waits until no session moves the cut, and holds others off for as long as this one lasts.
pub(super) async fn lock_cut(owner: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(REFRESH_LOCK).execute(owner).await?;
    Ok(())
}

/// Materialises what has become final, as the owner of the aggregates: see the procedure in the migrations. After an error, drop
/// the connection.
pub async fn refresh(
    owner: &mut PgConnection,
    rules: &RefreshRules,
    on_step: OnStep<'_>,
) -> Result<Refreshed, StoreError> {
    lock_cut(owner).await?;
    let mut all = Refreshed::default();
    loop {
        let step: Refreshed = sqlx::query_as("CALL analytics.refresh_continuous($1, $2, $3, NULL, NULL, NULL)")
            .bind(&rules.streams)
            .bind(rules.late_after)
            .bind(STEPS_AT_ONCE)
            .fetch_one(&mut *owner)
            .await?;
        if step.hours == 0 && step.days == 0 {
            break;
        }
        all.hours += step.hours;
        all.days += step.days;
        all.released += step.released;
        if let Some(to) = state(owner).await?.hourly_to {
            on_step(&format!("materialised up to {}", to.format("%Y-%m-%d %H:00")));
        }
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(REFRESH_LOCK).execute(owner).await?;
    Ok(all)
}

/// Whether the database has the job that refreshes.
pub async fn is_scheduled(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let there = "SELECT EXISTS (SELECT FROM timescaledb_information.jobs
                                WHERE proc_schema = 'analytics' AND proc_name = 'refresh_job')";
    Ok(sqlx::query_scalar(there).fetch_one(conn).await?)
}

/// Has the database refresh no more by itself.
pub async fn unschedule(owner: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT public.delete_job(job_id) FROM timescaledb_information.jobs
         WHERE proc_schema = 'analytics' AND proc_name = 'refresh_job'",
    )
    .execute(owner)
    .await?;
    Ok(())
}

/// Has the database refresh by itself, every so often.
pub async fn schedule(owner: &mut PgConnection, rules: &RefreshRules, every: TimeDelta) -> Result<(), StoreError> {
    unschedule(owner).await?;
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
