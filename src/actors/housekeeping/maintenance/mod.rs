//! Maintenance: purges and maintains the data when that is due, where no CronJob does, and watches the database's own jobs.
//! In: End. Out: nothing.
//! Failure: database away → tried at the next look; a task that fails → tried again after a pause, the others go on.
//!          Wherever it ends, what is under way is given up with its transaction, and the next run does the rest.
//! Bound: one task at a time, among all processes and commands.

mod jobs;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix::prelude::*;
use chrono::TimeDelta;
use serde_json::Value;
use tracing::Instrument as _;

use self::jobs::Watch;
use crate::{
    actors::{
        export_generator::{generate::ExportBackend, sweep},
        supervision::{
            liveness::Working,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    config::Settings,
    store::{
        OnStep, StoreError,
        lifecycle::{
            maintain::{self, Rules},
            maintenance::{Access, TaskLock, TaskLockError},
            purge,
        },
    },
    telemetry::{
        metrics::{Metrics, RunEnd},
        readiness::Readiness,
        traces::spans,
    },
};

/// How long a task that failed rests in this process.
const REST: Duration = Duration::from_secs(600);
/// A statement works on its own for as long as the database lets it (see [`TaskLock`]): so long it is no sign of trouble.
const LONGEST_STEP: Duration = Duration::from_secs(35 * 60);
/// How often long work gives a sign of life.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);

/// What is done on a schedule.
#[derive(Clone)]
enum Task {
    Purge,
    /// The files of exports, where there is a store.
    Sweep(Box<ExportBackend>),
    Maintain,
}

impl Task {
    const fn name(&self) -> &'static str {
        match self {
            Self::Purge => purge::TASK,
            Self::Sweep(_) => sweep::TASK,
            Self::Maintain => maintain::TASK,
        }
    }

    fn every(&self, settings: &Settings) -> TimeDelta {
        match self {
            Self::Purge | Self::Sweep(_) => settings.maintenance.purge_every(),
            Self::Maintain => settings.maintenance.maintain_every(),
        }
    }

    /// What was done, in one line and in full.
    async fn run(
        &self,
        lock: &mut TaskLock,
        settings: &Settings,
        on_step: OnStep<'_>,
    ) -> Result<(String, Value), StoreError> {
        let said = |full: Result<Value, serde_json::Error>| full.map_err(|e| StoreError::Permanent(e.to_string()));
        match self {
            Self::Purge => {
                let purged = purge::purge(&mut lock.conn, &purge::Rules::of(settings), false, on_step).await?;
                Ok((purged.line(), said(serde_json::to_value(&purged))?))
            }
            Self::Sweep(backend) => {
                let swept = sweep::sweep(&mut lock.conn, backend, false, on_step).await?;
                match &swept.error {
                    None => Ok((swept.line(), said(serde_json::to_value(&swept))?)),
                    Some(error) => Err(StoreError::Permanent(error.clone())),
                }
            }
            Self::Maintain => {
                let maintained = maintain::maintain(&mut lock.conn, &Rules::of(settings), on_step).await?;
                Ok((maintained.line(), said(serde_json::to_value(&maintained))?))
            }
        }
    }
}

pub struct Maintenance {
    /// Absent while something is done.
    worker: Option<Worker>,
    check_every: Duration,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct MaintenanceParts {
    pub settings: Settings,
    /// None where there is no store of exports.
    pub backend: Option<ExportBackend>,
    /// This process, as its runs are recorded.
    pub process: String,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

impl Maintenance {
    pub fn new(parts: MaintenanceParts, vitals: Vitals) -> Self {
        let check_every = parts.settings.maintenance.check_every();
        // In this order: compressing what is about to go would be in vain. Without a store sweeping is another process's.
        let tasks =
            [Some(Task::Purge), parts.backend.map(|backend| Task::Sweep(Box::new(backend))), Some(Task::Maintain)];
        let tasks: Vec<Task> = tasks.into_iter().flatten().collect();
        tasks.iter().for_each(|task| parts.metrics.expect_runs(task.name()));
        let worker = Worker {
            jobs: Watch::new(&parts.settings, parts.process.clone(), parts.metrics.clone(), parts.readiness),
            settings: parts.settings,
            process: parts.process,
            metrics: parts.metrics,
            rests: tasks.into_iter().map(|task| (task, None)).collect(),
        };
        Self { worker: Some(worker), check_every, vitals }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.begin(ctx, async |worker: &mut Worker, working: &Working| worker.look(working).await, |_, (), _| {});
    }
}

supervised!(Maintenance, worker: Worker);

impl Actor for Maintenance {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The first look is as long after the start: a process that has just begun has other things to do.
        ctx.run_interval(self.check_every, |actor, ctx| actor.look(ctx));
    }
}

/// What it takes to do the tasks.
struct Worker {
    jobs: Watch,
    settings: Settings,
    process: String,
    metrics: Metrics,
    /// Until when each rests.
    rests: Vec<(Task, Option<Instant>)>,
}

impl Worker {
    /// Does what is due, one task after another.
    async fn look(&mut self, working: &Working) {
        for n in 0..self.rests.len() {
            let (task, rests_until) = self.rests[n].clone();
            if rests_until.is_some_and(|until| until > Instant::now()) {
                continue;
            }
            let last_step = LastStep::new();
            if let Err(error) =
                beating(working, &last_step, (BEAT_EVERY, LONGEST_STEP), self.attend(&task, &last_step)).await
            {
                tracing::warn!(task = task.name(), %error, "maintenance waits");
                self.metrics.maintenance_run(task.name(), RunEnd::Failed);
                self.rests[n].1 = Some(Instant::now() + REST);
            }
        }
        let last_step = LastStep::new();
        beating(working, &last_step, (BEAT_EVERY, LONGEST_STEP), self.jobs.look(&mut |_| last_step.now())).await;
    }

    /// Runs a task if it is due and no other process or command is at work.
    async fn attend(&self, task: &Task, last_step: &LastStep) -> Result<(), StoreError> {
        let mut lock = match TaskLock::take(&self.settings.database, task.name(), Access::Alone, Duration::ZERO).await {
            Ok(lock) => lock,
            // It will be looked at again soon.
            Err(TaskLockError::Taken(_)) => return Ok(()),
            Err(TaskLockError::Store(error)) => return Err(error),
        };
        if let Some((at, lately)) = lock.last_done(task.every(&self.settings)).await? {
            self.metrics.maintenance_done(task.name(), at);
            if lately {
                return Ok(());
            }
        }
        lock.begin(&self.process).await?;
        let mut on_step = |step: &str| {
            last_step.now();
            tracing::debug!(task = task.name(), step, "at work");
        };
        let begun = Instant::now();
        let span = spans::maintenance(task.name());
        match task.run(&mut lock, &self.settings, &mut on_step).instrument(span.clone()).await {
            Ok((line, full)) => {
                lock.done(&full).await?;
                let seconds = begun.elapsed().as_secs_f64();
                tracing::info!(task = task.name(), seconds, summary = line, "maintained");
                self.metrics.maintenance_run(task.name(), RunEnd::Done);
                if let Some((at, _)) = lock.last_done(TimeDelta::zero()).await? {
                    self.metrics.maintenance_done(task.name(), at);
                }
                Ok(())
            }
            Err(error) => {
                spans::failed(&span, error.kind());
                let _ = lock.failed(&error.to_string()).await;
                Err(error)
            }
        }
    }
}

/// When a task last reported a step.
struct LastStep(Mutex<Instant>);

impl LastStep {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn ago(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Reports liveness while work is under way that reports its steps, for as long as one step may take.
async fn beating<T>(
    working: &Working,
    last_step: &LastStep,
    (every, longest): (Duration, Duration),
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(every, &mut work).await {
            Ok(done) => return done,
            Err(_) if last_step.ago() < longest => working.beat(),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::supervision::liveness::Liveness;

    #[tokio::test]
    async fn work_without_reported_steps_stops_beating() {
        let liveness = Liveness::default();
        let working = liveness.work();
        let last_step = LastStep::new();
        let every = Duration::from_millis(10);
        // Work that lasts as long as ten beats.
        let work = || tokio::time::sleep(Duration::from_millis(100));
        beating(&working, &last_step, (every, Duration::ZERO), work()).await;
        assert!(liveness.stuck() >= Duration::from_millis(100));
        beating(&working, &last_step, (every, LONGEST_STEP), work()).await;
        assert!(liveness.stuck() < Duration::from_millis(100));
    }
}
