//! Watches the background jobs that the database runs for the service: shows how they are, and has what is overdue done.
//! Each process shows it; one of them runs them, in its turn.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::REST;
use crate::{
    config::Settings,
    store::{
        OnStep, Session, StoreError,
        lifecycle::{
            maintain::Rules,
            maintenance::{Access, TaskLock, TaskLockError},
        },
        rollups::background_jobs::{self, BackgroundJobs},
    },
    telemetry::{
        metrics::{JobState, Metrics, RunEnd},
        readiness::{JOBS, Readiness},
    },
};

pub struct Watch {
    rules: Rules,
    process: String,
    session: Session,
    metrics: Metrics,
    readiness: Readiness,
    /// The jobs that are shown.
    shown: Vec<String>,
    /// After a failure none is run until then.
    rests_until: Option<Instant>,
}

impl Watch {
    pub fn new(settings: &Settings, process: String, metrics: Metrics, readiness: Readiness) -> Self {
        metrics.expect_runs(background_jobs::TASK);
        let session = Session::new(settings.database.clone());
        let rules = Rules::of(settings);
        Self { rules, process, session, metrics, readiness, shown: Vec::new(), rests_until: None }
    }

    /// Shows how the jobs are, and has them run that need it. What fails is tried again after a rest.
    pub async fn look(&mut self, on_step: OnStep<'_>) {
        let rules = &self.rules.refresh;
        let jobs = match self.session.run(async |conn| background_jobs::read(conn, rules).await).await {
            Ok(jobs) => jobs,
            // As it was last is what is known.
            Err(error) => return tracing::debug!(%error, "the database's jobs cannot be looked at"),
        };
        self.show(&jobs);
        if !jobs.has_overdue() || self.rests_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        if let Err(error) = self.run_overdue(on_step).await {
            tracing::warn!(%error, "an overdue job of the database was not run");
            self.metrics.maintenance_run(background_jobs::TASK, RunEnd::Failed);
            self.rests_until = Some(Instant::now() + REST);
        }
    }

    fn show(&mut self, jobs: &BackgroundJobs) {
        let unix = |at: DateTime<Utc>| at.timestamp_micros() as f64 / 1e6;
        let state = |job: &background_jobs::BackgroundJob| JobState {
            job: job.job.clone(),
            succeeded_at: job.succeeded_at.map(unix),
            failures: job.failures,
            waits_seconds: job.waits_seconds,
        };
        let states: Vec<JobState> = jobs.jobs.iter().map(state).collect();
        self.metrics.background_jobs(&states, &self.shown);
        self.metrics.materialisation_lag(jobs.materialisation_lag_seconds.unwrap_or_default());
        self.shown = states.into_iter().map(|state| state.job).collect();
        if jobs.jobs.is_empty() {
            self.readiness.remove(JOBS);
        } else {
            self.readiness.up(JOBS);
            self.readiness.detail(JOBS, jobs.to_string());
        }
    }

    /// Takes the turn, looks once more, since another process may have run them, and runs them.
    async fn run_overdue(&self, on_step: OnStep<'_>) -> Result<(), StoreError> {
        let Rules { database, refresh, .. } = &self.rules;
        let mut lock = match TaskLock::take(database, background_jobs::TASK, Access::Alone, Duration::ZERO).await {
            Ok(lock) => lock,
            // It is looked at again soon.
            Err(TaskLockError::Taken(_)) => return Ok(()),
            Err(TaskLockError::Store(error)) => return Err(error),
        };
        let jobs = background_jobs::read(&mut lock.conn, refresh).await?;
        if !jobs.has_overdue() {
            return Ok(());
        }
        lock.begin(&self.process).await?;
        match background_jobs::run_overdue(&mut lock.conn, database, refresh, &jobs, on_step).await {
            Ok(run) => {
                lock.done(&json!({ "overdueJobsRun": run })).await?;
                self.metrics.maintenance_run(background_jobs::TASK, RunEnd::Done);
                Ok(())
            }
            Err(error) => {
                let _ = lock.failed(&error.to_string()).await;
                Err(error)
            }
        }
    }
}
