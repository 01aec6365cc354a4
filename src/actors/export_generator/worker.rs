//! Claiming a job, generating its file while reporting that one is at work, and ending it one way or the other.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::TryStreamExt as _;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    error::GenerateError,
    generate::{self, ExportBackend, GeneratedFile},
    sweep,
};
use crate::{
    config::Settings,
    domain::export::{CANCELLED, ExportJob, RetryPolicy, Status, keys::PREFIX},
    objects::ObjectError,
    store::{
        PgConnection, Session, StoreError,
        exports::{self, Claim, ClaimRules, Claimed, Claimer, Heartbeat},
    },
    telemetry::{
        log::in_full,
        metrics::{ExportEnd, Metrics},
        readiness::{OBJECTS, Readiness},
        traces::spans,
    },
};

/// Attempts to report to the database what became of a job, and the pause between them.
const REPORT_ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// How often a store that is down is probed, and how long that may take.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// What came of looking for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// There was none, or the database is away.
    Nothing,
    Worked,
}

#[derive(Clone)]
pub struct WorkerParts {
    pub settings: Settings,
    pub claimer: Claimer,
    pub backend: ExportBackend,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

pub struct Worker {
    session: Session,
    backend: ExportBackend,
    claimer: Claimer,
    rules: ClaimRules,
    retry: RetryPolicy,
    heartbeat: Duration,
    kept: TimeDelta,
    metrics: Metrics,
    readiness: Readiness,
    /// When the store failed or was probed last.
    store_seen_at: Instant,
}

/// How an attempt ended.
enum Ended {
    GeneratedFile(GeneratedFile),
    Failed(GenerateError),
    Cancelled,
    /// The process is to end.
    Stopped,
    /// Somebody else works on the job, or it is over.
    Lost,
}

impl Ended {
    fn of(generated: Result<GeneratedFile, GenerateError>) -> Self {
        match generated {
            Ok(generated) => Self::GeneratedFile(generated),
            Err(GenerateError::Lost) => Self::Lost,
            Err(GenerateError::Cancelled) => Self::Cancelled,
            Err(error) => Self::Failed(error),
        }
    }
}

impl Worker {
    pub fn new(parts: WorkerParts) -> Self {
        let WorkerParts { settings, claimer, backend, metrics, readiness } = parts;
        let exports = &settings.exports;
        let rules = ClaimRules {
            running_per_org: exports.running_per_org,
            takeover: exports.takeover(),
            max_attempts: exports.max_attempts,
        };
        Self {
            retry: exports.retry(),
            heartbeat: exports.heartbeat(),
            kept: settings.retention.exports(),
            session: Session::new(settings.database),
            backend,
            claimer,
            rules,
            metrics,
            readiness,
            store_seen_at: Instant::now(),
        }
    }

    /// Works on the next job, if there is one. `beat` is called while it goes on; `stop` has the job given back.
    pub async fn look(&mut self, beat: impl Fn(), stop: &Notify) -> Looked {
        let beat: &dyn Fn() = &beat;
        let (claimer, rules) = (&self.claimer, self.rules);
        let claimed = match self.session.run(async |conn| exports::claim(conn, claimer, rules).await).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => {
                beat();
                self.probe().await;
                return Looked::Nothing;
            }
            Err(error) => {
                tracing::warn!(%error, "exports wait for the database");
                return Looked::Nothing;
            }
        };
        let (begun, span) = (Instant::now(), spans::export(claimed.job.id));
        let ended = self.attend(&claimed, beat, stop).instrument(span.clone()).await;
        if matches!(ended, Ended::Failed(_)) {
            spans::failed(&span, "export");
        }
        drop(span);
        self.end(&claimed, ended, begun, beat).await;
        Looked::Worked
    }

    /// Whether the job's file goes to the bucket of all: one of an organisation's own that fails concerns no other.
    fn is_default_bucket(&self, job: &ExportJob) -> bool {
        job.bucket.as_deref() == self.backend.objects.default_bucket()
    }

    fn store_failed(&mut self, job: &ExportJob, error: &ObjectError) {
        // These are said of an object, by a store that responds.
        if self.is_default_bucket(job) && !matches!(error, ObjectError::NotFound | ObjectError::Exists) {
            self.store_seen_at = Instant::now();
            self.readiness.down(OBJECTS, error.to_string());
        }
    }

    /// Whether a store that is down responds again: perhaps nobody requests a file meanwhile. What it refuses to write shows
    /// in the next attempt.
    async fn probe(&mut self) {
        if self.readiness.is_up(OBJECTS) != Some(false) || self.store_seen_at.elapsed() < PROBE_EVERY {
            return;
        }
        let objects = &self.backend.objects;
        // A prefix that has no objects.
        let prefix = format!("{PREFIX}{}", Uuid::nil());
        let first = async { objects.list(None, &prefix).await?.try_next().await };
        match timeout(PROBE_WITHIN, first).await {
            Ok(Ok(_)) => self.readiness.up(OBJECTS),
            Ok(Err(error)) => self.readiness.down(OBJECTS, error.to_string()),
            // Down as before.
            Err(_) => {}
        }
        self.store_seen_at = Instant::now();
    }

    async fn attend(&mut self, claimed: &Claimed, beat: &dyn Fn(), stop: &Notify) -> Ended {
        let backend = self.backend.clone();
        let mut generation = Box::pin(generate::generate(&backend, claimed));
        // Recorded from time to time, or another process takes the job over.
        let (within, mut said) = (self.rules.takeover / 3, Instant::now());
        let mut beats = interval(self.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                generated = &mut generation => return Ended::of(generated),
                () = stop.notified() => return Ended::Stopped,
                _ = beats.tick() => {}
            }
            // Store and database have deadlines of their own.
            beat();
            let saying = self.session.run_within(within, async |conn| exports::heartbeat(conn, &claimed.claim).await);
            tokio::select! {
                generated = &mut generation => return Ended::of(generated),
                heard = saying => match heard {
                    Ok(Heartbeat::Held) => said = Instant::now(),
                    Ok(Heartbeat::Cancelled) => return Ended::Cancelled,
                    Ok(Heartbeat::Lost) => return Ended::Lost,
                    Err(error) => {
                        tracing::warn!(%error, job = %claimed.claim.job_id, "an export's heartbeat cannot be recorded");
                        if said.elapsed() >= self.rules.takeover {
                            return Ended::Lost;
                        }
                    }
                },
            }
        }
    }

    async fn end(&mut self, claimed: &Claimed, ended: Ended, begun: Instant, beat: &dyn Fn()) {
        let (claim, job) = (claimed.claim, &claimed.job);
        let took = begun.elapsed();
        let (what, recorded) = match ended {
            Ended::GeneratedFile(generated) => {
                let (rows, bytes) = (generated.output.rows, generated.output.bytes);
                match self.succeed(&claim, &generated, beat).await {
                    Ok(Some(job)) if job.status == Status::Succeeded => {
                        tracing::info!(job = %job.id, org = %claim.org_id, rows, bytes, ?took, "an export was generated");
                        self.metrics.export_ended(ExportEnd::Succeeded, took);
                        self.readiness.detail(OBJECTS, "exports are generated");
                        if self.is_default_bucket(&job) {
                            self.readiness.up(OBJECTS);
                        }
                        return;
                    }
                    Ok(_) => return self.disown(&claim, job).await,
                    Err(error) => (ExportEnd::Lost, Err(error)),
                }
            }
            Ended::Failed(error) => {
                let reason = error.to_string();
                if let GenerateError::Object(error) = &error {
                    self.readiness.detail(OBJECTS, format!("the last export was not generated: {error}"));
                    self.store_failed(job, error);
                }
                let pause = if error.may_pass() { self.retry.after(job.attempts, rand::random()) } else { None };
                tracing::warn!(job = %job.id, org = %claim.org_id, attempts = job.attempts, ?pause, error = %in_full(&error), "an export was not generated");
                match pause {
                    Some(pause) => (
                        ExportEnd::Retried,
                        self.report(beat, async |conn| exports::retry(conn, &claim, &reason, pause).await).await,
                    ),
                    None => (
                        ExportEnd::Failed,
                        self.report(beat, async |conn| exports::fail(conn, &claim, &reason).await).await,
                    ),
                }
            }
            Ended::Cancelled => (
                ExportEnd::Cancelled,
                self.report(beat, async |conn| exports::fail(conn, &claim, CANCELLED).await).await,
            ),
            Ended::Stopped => {
                (ExportEnd::Released, self.report(beat, async |conn| exports::release(conn, &claim).await).await)
            }
            Ended::Lost => return self.disown(&claim, job).await,
        };
        match recorded {
            Ok(true) => self.metrics.export_ended(what, took),
            Ok(false) => self.disown(&claim, job).await,
            // Its heartbeat stops: another one takes it over.
            Err(error) => {
                tracing::warn!(%error, job = %job.id, what = what.as_str(), "the outcome of an export cannot be recorded")
            }
        }
    }

    async fn succeed(
        &mut self,
        claim: &Claim,
        generated: &GeneratedFile,
        beat: &dyn Fn(),
    ) -> Result<Option<ExportJob>, StoreError> {
        let (output, kept) = (&generated.output, self.kept);
        self.report(beat, async |conn| {
            let recorded = match generated.same_as {
                None => exports::succeed(conn, claim, output, kept).await?,
                Some(same_as) => exports::succeed_unchanged(conn, claim, output, kept, same_as).await?,
            };
            if recorded.is_some() {
                return Ok(recorded);
            }
            // It may have been recorded before, and the response was lost.
            let job = exports::get(conn, claim.org_id, claim.job_id).await?;
            Ok(job.filter(|job| job.output.as_ref() == Some(output)))
        })
        .await
    }

    /// The job belongs to another process now, or is gone. Of one that was erased nothing must stay.
    async fn disown(&mut self, claim: &Claim, job: &ExportJob) {
        tracing::warn!(job = %job.id, "an export was taken over, or is over");
        self.metrics.export_ended(ExportEnd::Lost, Duration::ZERO);
        let found = self.session.run(async |conn| exports::get(conn, claim.org_id, claim.job_id).await).await;
        if !matches!(found, Ok(None)) {
            return;
        }
        let (objects, org_id) = (self.backend.objects.clone(), claim.org_id);
        let swept =
            self.session.run(async |conn| Ok(sweep::of_nobody(conn, &objects, job.bucket.as_deref(), org_id).await));
        if let Ok(Err(error)) = swept.await {
            tracing::warn!(%error, job = %job.id, "objects of an erased organisation stay until it is erased again");
        }
    }

    /// Records the result in the database, which may be away for a moment: the file need not be generated again for that.
    async fn report<T>(
        &mut self,
        beat: &dyn Fn(),
        mut what: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut recorded = self.session.run(async |conn| what(conn).await).await;
        for _ in 1..REPORT_ATTEMPTS {
            if !matches!(&recorded, Err(error) if error.is_transient()) {
                break;
            }
            sleep(PAUSE).await;
            beat();
            recorded = self.session.run(async |conn| what(conn).await).await;
        }
        recorded
    }
}
