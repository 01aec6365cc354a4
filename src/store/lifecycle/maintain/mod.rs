//! Care for the tables: chunks of raw events made ahead, old ones compressed where the edition can, the database's background
//! jobs, and how large all is.

mod advice;
mod compress;
mod figures;
mod sets;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::{
    config::{Database, Settings},
    store::{
        OnStep, StoreError,
        attribution::settle::{self, Settled},
        clock,
        rollups::{
            background_jobs::{self, BackgroundJobs},
            engine::{self, RefreshRules},
            hours_by, org_hours,
        },
    },
};

pub use advice::EngineAdvice;
pub use compress::{Compression, schedule, scheduled};
pub use figures::{Figures, RawFigures, TableFigures};
pub use sets::{AttributionSizes, DimensionSize, SetSize};

/// As its runs are recorded.
pub const TASK: &str = "maintain";
/// Days whose chunks are created ahead, beside today's: the first event of a day need not wait for its chunk.
const DAYS_AHEAD: i64 = 3;

/// What was done, and what there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Maintained {
    /// The database's clock.
    pub at: DateTime<Utc>,
    pub chunks_made: u64,
    pub compression: Compression,
    /// Those of the database, before anything was done about them.
    #[serde(rename = "backgroundJobs")]
    pub jobs: BackgroundJobs,
    /// What was done about those that are overdue.
    pub overdue_jobs_run: Vec<String>,
    pub engine_advice: EngineAdvice,
    /// Hours of orgs that were summed over their models.
    pub org_hours_summed: u64,
    /// Hours of orgs that were summed by client and error code.
    pub org_hours_by_summed: u64,
    /// Parts of attribution that were put together.
    pub attribution: Settled,
    /// How much it has.
    pub attribution_sizes: AttributionSizes,
    #[serde(flatten)]
    pub figures: Figures,
}

/// What it is done by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Scheduling compression takes the owner of the tables: `migration_url`.
    pub database: Database,
    /// How old a day is when it is compressed; `None`: none is.
    pub compress_after: Option<TimeDelta>,
    pub refresh: RefreshRules,
}

impl Rules {
    pub fn of(settings: &Settings) -> Self {
        Self {
            database: settings.database.clone(),
            compress_after: settings.maintenance.compress_after(),
            refresh: RefreshRules::of(settings),
        }
    }
}

impl Maintained {
    /// In one line, for people.
    pub fn line(&self) -> String {
        let Figures { raw, tables } = &self.figures;
        let tables: Vec<String> = tables.iter().map(TableFigures::line).collect();
        format!(
            "{} chunks created; compression: {}; background jobs: {}; rollups: {}; {} hours of organisations summed, {} by client and error code; attribution: {} buckets put together, {} days and {} months begun ({}); raw events: {} chunks, {} compressed, {} bytes; \
             {}",
            self.chunks_made,
            self.compression,
            self.jobs,
            self.engine_advice,
            self.org_hours_summed,
            self.org_hours_by_summed,
            self.attribution.buckets,
            self.attribution.days,
            self.attribution.months,
            self.attribution_sizes.line(),
            raw.chunks,
            raw.compressed_chunks,
            raw.bytes,
            tables.join("; "),
        )
    }
}

/// Creates chunks, maintains compression, measures, and runs overdue jobs. Running it again does what is left.
///
/// # Errors
/// What was done before stays done.
pub async fn maintain(conn: &mut PgConnection, rules: &Rules, on_step: OnStep<'_>) -> Result<Maintained, StoreError> {
    let now = clock::now(conn).await?;
    let mut chunks_made = 0;
    for day in 0..=DAYS_AHEAD {
        let made: bool = sqlx::query_scalar("SELECT analytics.make_raw_chunk($1)")
            .bind(now + TimeDelta::days(day))
            .fetch_one(&mut *conn)
            .await?;
        chunks_made += u64::from(made);
    }
    on_step("chunks are created");
    let compression = compress::attend(conn, rules, now).await?;
    on_step("compression is as the settings say");
    let org_hours_summed = org_hours::sum(conn, rules.refresh.late_after, on_step).await?;
    let org_hours_by_summed = hours_by::sum(conn, rules.refresh.late_after, on_step).await?;
    let attribution = settle::settle(conn, rules.refresh.late_after, on_step).await?;
    let attribution_sizes = sets::read(conn, now).await?;
    let figures = figures::read(conn).await?;
    on_step("tables are measured");
    let jobs = background_jobs::read(conn, &rules.refresh).await?;
    let overdue_jobs_run =
        match background_jobs::run_overdue(conn, &rules.database, &rules.refresh, &jobs, on_step).await {
            Ok(done) => done,
            // What was done before is worth its report.
            Err(error) => vec![format!("overdue jobs could not be run: {error}")],
        };
    let engine_advice = EngineAdvice::of(engine::state(conn).await?.engine);
    Ok(Maintained {
        at: now,
        chunks_made,
        compression,
        jobs,
        overdue_jobs_run,
        engine_advice,
        org_hours_summed,
        org_hours_by_summed,
        attribution,
        attribution_sizes,
        figures,
    })
}
