//! Query: answers the API's questions from the rollups and the dead letters.
//! In: GetUsage, GetFreshness, ListDeadLetters, GetDeadLetter from http. Out: the report, to whoever asked.
//! Failure: database away → Unavailable at once to each who asks, and tried again by the next; it never restarts
//!          for that. A value that cannot be → Broken.
//! Bound: one permit a connection, QUEUE questions waiting for one, each for at most query.wait_ms.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    actors::supervision::{
        exit::{End, ExitGuard},
        pulse::Pulse,
    },
    domain::{
        dead_letter::{DeadLetterPage, DeadLetterQuery, OpenedLetter, Whose},
        query::{FreshnessReport, UsageQuery, UsageReport},
        supervision::{LogQuery, PartitionStatus, SupervisionEvent},
    },
    store::{
        StoreError,
        read::{ReadError, Reader, ReaderPlan},
    },
    telemetry::metrics::{Metrics, PermitTaken},
};

/// Questions that may wait for a permit; one more is told that the actor is busy. A question is a few hundred bytes,
/// and what waits longer than query.wait_ms is turned away anyway.
const QUEUE: usize = 256;

/// What a question is answered with where it is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("too many questions at once")]
    Busy,
    #[error("the database does not answer")]
    Unavailable,
    #[error("the answer took too long")]
    TooSlow,
    #[error("the answer is too large")]
    TooLarge,
    #[error("the database answered what cannot be")]
    Broken,
}

/// What a query actor is made from.
pub struct QueryParts {
    pub reader: ReaderPlan,
    /// Longest wait for a permit.
    pub wait: Duration,
    pub metrics: Metrics,
    pub pulse: Pulse,
    pub exit: ExitGuard,
}

pub struct Query {
    reader: Reader,
    admission: Admission,
    pulse: Pulse,
    #[expect(dead_code, reason = "reports the actor's end when it is dropped")]
    exit: ExitGuard,
}

impl Query {
    /// Makes its connection pool, so it must be called on the arbiter where the actor will run.
    pub fn new(parts: QueryParts) -> Self {
        let permits = usize::try_from(parts.reader.connections()).unwrap_or(1);
        let admission = Admission {
            permits: Arc::new(Semaphore::new(permits)),
            queue: Arc::new(Semaphore::new(permits + QUEUE)),
            wait: parts.wait,
            metrics: parts.metrics,
        };
        Self { reader: parts.reader.open(), admission, pulse: parts.pulse, exit: parts.exit }
    }

    /// Answers beside the other questions: the actor itself is free for the next one at once.
    fn answer<T, F>(&self, read: impl FnOnce(Reader) -> F + 'static) -> ResponseFuture<Result<T, QueryError>>
    where
        F: Future<Output = Result<T, ReadError>> + 'static,
        T: 'static,
    {
        let (admission, reader, working) = (self.admission.clone(), self.reader.clone(), self.pulse.work());
        Box::pin(async move {
            let _working = working;
            let _admitted = admission.enter().await?;
            let asked = Instant::now();
            read(reader).await.map_err(|error| refuse(&error, asked.elapsed()))
        })
    }
}

impl Actor for Query {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "Result<UsageReport, QueryError>")]
pub struct GetUsage(pub UsageQuery);

#[derive(Message)]
#[rtype(result = "Result<FreshnessReport, QueryError>")]
pub struct GetFreshness {
    pub org_id: Uuid,
    /// Empty: all.
    pub models: Vec<Uuid>,
}

/// A page of the supervision log.
#[derive(Message)]
#[rtype(result = "Result<Vec<SupervisionEvent>, QueryError>")]
pub struct GetSupervision(pub LogQuery);

/// Who works on which partition, and how far it is.
#[derive(Message)]
#[rtype(result = "Result<Vec<PartitionStatus>, QueryError>")]
pub struct GetPartitions;

impl Handler<GetSupervision> for Query {
    type Result = ResponseFuture<Result<Vec<SupervisionEvent>, QueryError>>;

    fn handle(&mut self, GetSupervision(query): GetSupervision, _: &mut Self::Context) -> Self::Result {
        self.answer(move |reader| async move { reader.supervision(&query).await })
    }
}

impl Handler<GetPartitions> for Query {
    type Result = ResponseFuture<Result<Vec<PartitionStatus>, QueryError>>;

    fn handle(&mut self, _: GetPartitions, _: &mut Self::Context) -> Self::Result {
        self.answer(move |reader| async move { reader.partitions().await })
    }
}

#[derive(Message)]
#[rtype(result = "Result<DeadLetterPage, QueryError>")]
pub struct ListDeadLetters(pub DeadLetterQuery);

/// None: there is no such letter, or it is somebody else's.
#[derive(Message)]
#[rtype(result = "Result<Option<OpenedLetter>, QueryError>")]
pub struct GetDeadLetter {
    pub whose: Whose,
    pub id: Uuid,
}

impl Handler<GetUsage> for Query {
    type Result = ResponseFuture<Result<UsageReport, QueryError>>;

    fn handle(&mut self, GetUsage(query): GetUsage, _: &mut Self::Context) -> Self::Result {
        self.answer(move |reader| async move { reader.usage(&query).await })
    }
}

impl Handler<GetFreshness> for Query {
    type Result = ResponseFuture<Result<FreshnessReport, QueryError>>;

    fn handle(&mut self, GetFreshness { org_id, models }: GetFreshness, _: &mut Self::Context) -> Self::Result {
        self.answer(move |reader| async move { reader.freshness(org_id, &models).await })
    }
}

impl Handler<End> for Query {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        end.obey(&self.pulse, ctx);
    }
}

impl Handler<ListDeadLetters> for Query {
    type Result = ResponseFuture<Result<DeadLetterPage, QueryError>>;

    fn handle(&mut self, ListDeadLetters(query): ListDeadLetters, _: &mut Self::Context) -> Self::Result {
        self.answer(move |reader| async move { reader.dead_letters(&query).await })
    }
}

impl Handler<GetDeadLetter> for Query {
    type Result = ResponseFuture<Result<Option<OpenedLetter>, QueryError>>;

    fn handle(&mut self, GetDeadLetter { whose, id }: GetDeadLetter, _: &mut Self::Context) -> Self::Result {
        self.answer(move |reader| async move { reader.dead_letter(whose, id).await })
    }
}

/// Lets as many questions in as there are connections, and a bounded number wait for a bounded time.
#[derive(Clone)]
struct Admission {
    permits: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    wait: Duration,
    metrics: Metrics,
}

/// Held while a question is answered.
#[derive(Debug)]
struct Admitted {
    _permit: tokio::sync::OwnedSemaphorePermit,
    _place: tokio::sync::OwnedSemaphorePermit,
    _counted: PermitTaken,
}

impl Admission {
    async fn enter(&self) -> Result<Admitted, QueryError> {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| QueryError::Busy)?;
        match tokio::time::timeout(self.wait, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Admitted { _permit: permit, _place: place, _counted: self.metrics.query_permit() }),
            // The semaphore is never closed: only time runs out.
            Ok(Err(_)) | Err(_) => Err(QueryError::Busy),
        }
    }
}

/// What the asker is told; the cause is for the log alone.
fn refuse(error: &ReadError, after: Duration) -> QueryError {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let told = match error {
        ReadError::TooSlow => QueryError::TooSlow,
        ReadError::TooLarge => return QueryError::TooLarge,
        ReadError::Store(StoreError::Permanent(_)) => QueryError::Broken,
        ReadError::Store(_) => QueryError::Unavailable,
    };
    tracing::warn!(%error, after_ms, "a question could not be answered");
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(permits: usize, queue: usize) -> Admission {
        Admission {
            permits: Arc::new(Semaphore::new(permits)),
            queue: Arc::new(Semaphore::new(permits + queue)),
            wait: Duration::from_millis(20),
            metrics: Metrics::default(),
        }
    }

    #[tokio::test]
    async fn who_waits_too_long_for_a_permit_is_told_to_come_back() {
        let admission = admission(1, 1);
        let first = admission.enter().await.unwrap();
        assert_eq!(admission.enter().await.unwrap_err(), QueryError::Busy);
        drop(first);
        assert!(admission.enter().await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_without_a_wait() {
        let admission = Admission { wait: Duration::from_secs(3600), ..admission(1, 0) };
        let _first = admission.enter().await.unwrap();
        assert_eq!(admission.enter().await.unwrap_err(), QueryError::Busy);
    }

    #[tokio::test]
    async fn a_permit_comes_back_when_its_question_is_given_up() {
        let admission = admission(1, 1);
        let held = admission.enter().await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(1), admission.enter()).await;
        assert!(waiting.is_err());
        drop(held);
        assert!(admission.enter().await.is_ok());
        assert!(admission.metrics.encode().unwrap().contains("analytics_query_permits 0"));
    }

    #[test]
    fn a_cause_is_not_told() {
        let secret = StoreError::Permanent("10.0.0.7 refused".into());
        assert_eq!(refuse(&secret.into(), Duration::ZERO).to_string(), "the database answered what cannot be");
    }
}
