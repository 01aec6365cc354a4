//! Exports: receives the requests to create, cancel, download and verify files.
//! In: CreateExport, CancelExport, LinkExport, OpenDownload, VerifyExport from http; End. Out: the response;
//!     Wake to the actors that generate files.
//! Failure: database or store away → Unavailable. Without a store nothing is generated, fetched or checked: it is said to be off.
//! Bound: one change at a time, QUEUE wait for that; DOWNLOADS files open at once; CHECKS files checked at once.

mod downloads;

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    actors::{
        export_generator::{Wake, check, generate::ExportBackend},
        serving::{
            error::{QueryError, refuse},
            shared_session::SharedSession,
        },
        supervision::{
            actor_ref::ActorRef,
            vitals::{Vitals, supervised},
        },
    },
    config::Settings,
    domain::{
        audit::AuditEvent,
        export::{ExportJob, Output, Status, verification::Verification},
    },
    objects::{LINK_LIFETIME, NewLink},
    store::{
        PgConnection, clock,
        exports::{self as table, NewExport},
    },
};
use downloads::Downloads;

pub use crate::{
    objects::{content_disposition, file_name},
    store::exports::Created,
};
pub use downloads::{Download, OpenDownload, Wanted};

/// Requests that may wait for their turn.
const QUEUE: usize = 64;
/// Longest that the database may take.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(2000);
/// Files that this process checks at once.
const CHECKS: usize = 2;
/// Logged where the store that has a file does not give it.
const UNREADABLE: &str = "an export cannot be read";
/// Longest that checking a file may take.
pub const CHECK_WITHIN: Duration = Duration::from_secs(120);

pub struct Exports {
    requests: ExportRequests,
    /// None where there is no store to put files into.
    backend: Option<ExportBackend>,
    makers: Vec<ActorRef<Wake>>,
    downloads: Downloads,
    checks: Arc<Semaphore>,
    late_after: TimeDelta,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct ExportsParts {
    pub settings: Settings,
    pub backend: Option<ExportBackend>,
    pub makers: Vec<ActorRef<Wake>>,
}

#[derive(Clone)]
struct ExportRequests {
    session: SharedSession,
    most_open: u32,
}

impl Exports {
    pub fn new(ExportsParts { settings, backend, makers }: ExportsParts, vitals: Vitals) -> Self {
        let late_after = settings.events.late_after();
        let most_open = settings.exports.pending_per_org;
        let session = SharedSession::new(&settings, QUEUE, DATABASE_TIMEOUT, "exports cannot be read or changed");
        Self {
            requests: ExportRequests { session, most_open },
            backend,
            makers,
            downloads: Downloads::default(),
            checks: Arc::new(Semaphore::new(CHECKS)),
            late_after,
            vitals,
        }
    }
}

impl ExportRequests {
    async fn job(&self, org_id: Uuid, job_id: Uuid) -> Result<Option<(ExportJob, DateTime<Utc>)>, QueryError> {
        let job = async |conn: &mut PgConnection| {
            let now = clock::now(conn).await?;
            Ok(table::get(conn, org_id, job_id).await?.map(|job| (job, now)))
        };
        self.session.serve(job).await
    }
}

supervised!(Exports);

impl Actor for Exports {
    type Context = Context<Self>;
}

/// Request a file. None: there is no store to put it into.
#[derive(Message)]
#[rtype(result = "Result<Option<Created>, QueryError>")]
pub struct CreateExport {
    pub job_id: Uuid,
    pub org_id: Uuid,
    /// As it was requested, JSON.
    pub body: Vec<u8>,
    pub idempotency_key: Option<String>,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

impl Handler<CreateExport> for Exports {
    type Result = ResponseFuture<Result<Option<Created>, QueryError>>;

    fn handle(&mut self, create: CreateExport, _: &mut Self::Context) -> Self::Result {
        let Some(backend) = self.backend.clone() else { return Box::pin(async { Ok(None) }) };
        let (requests, makers, working) = (self.requests.clone(), self.makers.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            // A local store has none.
            let buckets: Vec<String> = backend.objects.buckets().into_iter().flatten().collect();
            let new = NewExport {
                job_id: create.job_id,
                org_id: create.org_id,
                body: &create.body,
                buckets: &buckets,
                idempotency_key: create.idempotency_key.as_deref(),
                by: &create.by,
                bucket: backend.objects.default_bucket(),
                most_open: requests.most_open,
                act: &create.act,
            };
            let created = requests.session.serve(async |conn| table::create(conn, &new).await).await?;
            if matches!(created, Created::New(_)) {
                // Those that are at work look again when they are done, and so does every other process in its time.
                for maker in makers.iter().filter_map(ActorRef::get) {
                    maker.do_send(Wake);
                }
            }
            Ok(Some(created))
        })
    }
}

/// Cancel a file. One that is generated already stays. None: the org has no such job.
#[derive(Message)]
#[rtype(result = "Result<Option<ExportJob>, QueryError>")]
pub struct CancelExport {
    pub org_id: Uuid,
    pub job_id: Uuid,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

impl Handler<CancelExport> for Exports {
    type Result = ResponseFuture<Result<Option<ExportJob>, QueryError>>;

    fn handle(&mut self, CancelExport { org_id, job_id, act }: CancelExport, _: &mut Self::Context) -> Self::Result {
        let (requests, working) = (self.requests.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            requests.session.serve(async |conn| table::cancel(conn, org_id, job_id, &act).await).await
        })
    }
}

/// Whether there is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    It(T),
    /// The org has no such job.
    NoJob,
    /// It is not generated yet, or could not be.
    NoFile,
    /// It was generated, and is not kept any more.
    Expired,
    /// There is no store.
    Off,
}

/// A link by which the file can be fetched for a day, signed now.
#[derive(Message)]
#[rtype(result = "Result<Found<String>, QueryError>")]
pub struct LinkExport {
    pub org_id: Uuid,
    pub job_id: Uuid,
    /// What is recorded before the link is given.
    pub act: AuditEvent,
}

impl Handler<LinkExport> for Exports {
    type Result = ResponseFuture<Result<Found<String>, QueryError>>;

    fn handle(&mut self, LinkExport { org_id, job_id, act }: LinkExport, _: &mut Self::Context) -> Self::Result {
        let (requests, backend, working) = (self.requests.clone(), self.backend.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let Some(backend) = backend else { return Ok(Found::Off) };
            let ((job, output), now) = match generated(requests.job(org_id, job_id).await?) {
                Found::It(found) => found,
                other => return Ok(other.without()),
            };
            requests
                .session
                .serve(async |conn| crate::store::access::audit::record(conn, std::slice::from_ref(&act)).await)
                .await?;
            let link = NewLink {
                file_name: file_name(&output.key),
                now,
                expires: now + TimeDelta::from_std(LINK_LIFETIME).unwrap_or_default(),
            };
            let url = backend.objects.link(job.bucket.as_deref(), &output.key, &link).await;
            Ok(Found::It(url.map_err(|error| refuse(&error, UNREADABLE))?))
        })
    }
}

impl<T> Found<T> {
    /// The same where it is not it.
    fn without<U>(self) -> Found<U> {
        match self {
            Self::It(_) | Self::NoFile => Found::NoFile,
            Self::NoJob => Found::NoJob,
            Self::Expired => Found::Expired,
            Self::Off => Found::Off,
        }
    }
}

type Generated = ((ExportJob, Output), DateTime<Utc>);

fn generated(job: Option<(ExportJob, DateTime<Utc>)>) -> Found<Generated> {
    let Some((mut job, now)) = job else { return Found::NoJob };
    match (job.status, job.output.take()) {
        (Status::Succeeded, Some(output)) if job.expires_at.is_none_or(|at| at > now) => {
            Found::It(((job, output), now))
        }
        (Status::Succeeded | Status::Expired, _) => Found::Expired,
        _ => Found::NoFile,
    }
}

/// Read a file again, and hold it against what is known now.
#[derive(Message)]
#[rtype(result = "Result<Found<Box<Verification>>, QueryError>")]
pub struct VerifyExport {
    pub org_id: Uuid,
    pub job_id: Uuid,
}

impl Handler<VerifyExport> for Exports {
    type Result = ResponseFuture<Result<Found<Box<Verification>>, QueryError>>;

    fn handle(&mut self, VerifyExport { org_id, job_id }: VerifyExport, _: &mut Self::Context) -> Self::Result {
        let (requests, backend, late_after, working) =
            (self.requests.clone(), self.backend.clone(), self.late_after, self.vitals.work());
        let permit = Arc::clone(&self.checks).try_acquire_owned();
        Box::pin(async move {
            let _working = working;
            let Some(backend) = backend else { return Ok(Found::Off) };
            let _permit = permit.map_err(|_| QueryError::Busy)?;
            let ((job, output), _) = match generated(requests.job(org_id, job_id).await?) {
                Found::It(found) => found,
                other => return Ok(other.without()),
            };
            let checking = check::check(&backend, &job, &output, false, late_after);
            match tokio::time::timeout(CHECK_WITHIN, checking).await {
                Ok(Ok(verification)) => Ok(Found::It(Box::new(verification))),
                Ok(Err(error)) => {
                    let span = tracing::warn_span!("export", job = %job_id);
                    Err(span.in_scope(|| refuse(&error, "an export cannot be checked")))
                }
                Err(_) => Err(QueryError::TooSlow),
            }
        })
    }
}
