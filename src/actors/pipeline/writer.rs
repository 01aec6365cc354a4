//! Writer: makes a batch durable, exactly once.
//! In: Write(Batch, credit) from dedupe. Out: Committed to the consumer, Stored to the rollup, Incomplete to dedupe.
//! Failure: database away → the batch waits in place; an event that the database refuses → dead letter; more of them
//!          than is plausible → unfit, the partition is parked; another process holds the partition → fenced.
//! Bound: the batches' credits, not the mailbox.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix::prelude::*;
use tracing::Instrument as _;

use crate::{
    actors::{
        pipeline::{Credit, misrouted::MisroutedLog},
        supervision::{
            backoff::Backoff,
            exit::Cause,
            liveness::Working,
            log::{Note, SupervisionLog},
            position::PartitionPosition,
            vitals::{OneAtATime as _, Supervised as _, Vitals, supervised},
        },
    },
    config,
    domain::{
        attribution::Dimension,
        batch::Batch,
        hole::{HoleReason, Missing},
        supervision::SupervisionKind,
        trace::TraceParent,
    },
    store::{
        self, Session, StoreError,
        clock::DatabaseClock,
        ingest::{
            commit::commit,
            partitions::Claim,
            work::{CommitRules, Kind},
        },
    },
    telemetry::{
        metrics::{CommittedBatch, Metrics},
        traces::spans::{self, BatchSpan},
    },
};

/// Events over which refusals are judged, and how many of them the database may refuse.
const REFUSAL_WINDOW: usize = 1000;
const MAX_REFUSED: usize = REFUSAL_WINDOW / 2;

pub struct Writer {
    /// Absent while a batch is being stored, and after a failure.
    sink: Option<Sink>,
    /// Batches that wait for their turn.
    waiting: VecDeque<Write>,
    claim: Claim,
    clock: DatabaseClock,
    progress: PartitionPosition,
    metrics: Metrics,
    log: SupervisionLog,
    misrouted: MisroutedLog,
    outlets: Outlets,
    vitals: Vitals,
}

/// Where a commit is made known.
pub struct Outlets {
    pub consumer: Recipient<Committed>,
    pub rollup: Recipient<Stored>,
    pub dedupe: Recipient<Incomplete>,
}

pub struct WriterParts {
    pub database: config::Database,
    pub dedupe: config::Dedupe,
    /// Of attribution.
    pub carried: Arc<[Dimension]>,
    pub claim: Claim,
    pub clock: DatabaseClock,
    pub progress: PartitionPosition,
    pub metrics: Metrics,
    pub log: SupervisionLog,
    pub misrouted: MisroutedLog,
    pub refusals: Refusals,
    pub outlets: Outlets,
}

impl Writer {
    pub fn new(parts: WriterParts, vitals: Vitals) -> Self {
        let sink = Sink {
            session: Session::of_batches(parts.database),
            dedupe: parts.dedupe,
            carried: parts.carried,
            claim: parts.claim.clone(),
            clock: parts.clock.clone(),
            refusals: parts.refusals,
            metrics: parts.metrics.clone(),
        };
        Self {
            sink: Some(sink),
            waiting: VecDeque::new(),
            claim: parts.claim,
            clock: parts.clock,
            progress: parts.progress,
            metrics: parts.metrics,
            log: parts.log,
            misrouted: parts.misrouted,
            outlets: parts.outlets,
            vitals,
        }
    }

    fn report_missing(&self, from: i64, Missing { to, why, .. }: Missing) {
        let partition = self.claim.partition;
        let what = match why {
            HoleReason::Dropped => {
                self.metrics.stream_gap(partition, to.abs_diff(from));
                SupervisionKind::Gap
            }
            HoleReason::LeftOut => {
                self.metrics.stream_unread(partition, to.abs_diff(from));
                SupervisionKind::Unread
            }
        };
        let cause = why.describe(from, to);
        self.log.note(Note::new(&format!("partition/{partition}"), what).cause(cause));
    }

    fn publish(&mut self, batch: &Batch, committed: &store::ingest::commit::Committed, took: Duration) {
        if let Some(reading) = &committed.clock {
            self.clock.observe(reading);
        }
        self.progress.committed(committed.next_offset);
        let partition = self.claim.partition;
        self.metrics.events(partition, &committed.counts);
        self.metrics.normalized(&batch.normalized);
        self.misrouted.note(&committed.misrouted, &self.claim.topology, partition, &self.metrics);
        if let Some(missing) = batch.raw.missing.filter(|_| !committed.again) {
            self.report_missing(batch.raw.first_offset, missing);
        }
        let looked_up = batch.foreign_writes != committed.foreign_writes;
        let figures = CommittedBatch {
            took,
            events: batch.raw.messages.len(),
            bytes: batch.raw.messages.iter().map(|message| message.body.len()).sum(),
            // Where the window missed something, every event is a suspect.
            suspects: batch.suspects.len() + if looked_up { batch.fresh.len() } else { 0 },
        };
        self.metrics.batch_committed(partition, figures);
        self.metrics.partition_next_offset(partition, committed.next_offset);
        self.metrics.foreign_writes(partition, committed.foreign_writes);
        self.outlets.consumer.do_send(Committed { next_offset: committed.next_offset });
        self.outlets.rollup.do_send(Stored);
        if committed.foreign_writes != batch.foreign_writes {
            self.outlets.dedupe.do_send(Incomplete { foreign_writes: committed.foreign_writes });
        }
    }
}

supervised!(Writer, sink: Sink);

impl Actor for Writer {
    type Context = Context<Self>;
}

/// Store this batch.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Write {
    pub batch: Batch,
    pub credit: Credit,
    pub span: BatchSpan,
}

/// A batch is durable: everything up to here may be acknowledged.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Committed {
    pub next_offset: i64,
}

/// There is something to merge.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stored;

/// Another partition stored events of ours: the window misses them, so load it again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Incomplete {
    pub foreign_writes: i64,
}

impl Handler<Write> for Writer {
    type Result = ();

    fn handle(&mut self, write: Write, ctx: &mut Self::Context) {
        self.waiting.push_back(write);
        self.store_next(ctx);
    }
}

impl Writer {
    /// Batches are stored one after another, in order. The mailbox stays open meanwhile: an order to end is obeyed at
    /// once, whatever the database does.
    fn store_next(&mut self, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return;
        }
        let Some(Write { batch, credit, span }) = self.waiting.pop_front() else { return };
        let work = async move |sink: &mut Sink, working: &Working| {
            let started = Instant::now();
            let result =
                sink.persist(&batch, spans::parent_of(span.span()), working).instrument(span.span().clone()).await;
            (batch, span, result, started.elapsed())
        };
        self.begin(ctx, work, |actor, (batch, span, result, took), ctx| {
            match result {
                Ok(committed) => {
                    // It ends with the commit.
                    span.committed();
                    actor.publish(&batch, &committed, took);
                    actor.store_next(ctx);
                }
                Err(error) => {
                    span.failed(error.kind());
                    // What waits behind it must not be stored.
                    actor.sink = None;
                    actor.end_with(error, ctx);
                }
            }
            drop(credit);
        });
    }
}

impl From<StoreError> for Cause {
    fn from(error: StoreError) -> Self {
        let why = error.to_string();
        match error {
            StoreError::Unfit(_) => Self::Unfit(why),
            error if error.ends_pipeline() => Self::Fenced(why),
            _ => Self::Failed(why),
        }
    }
}

/// The writer's own connection, and what it takes to use it.
struct Sink {
    session: Session,
    dedupe: config::Dedupe,
    /// Of attribution.
    carried: Arc<[Dimension]>,
    claim: Claim,
    clock: DatabaseClock,
    refusals: Refusals,
    metrics: Metrics,
}

/// Events and refusals of a partition's last batches. Outlives restarts: each would count from zero again, and in the
/// end everything would be refused a few hundred events at a time.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<VecDeque<(usize, usize)>>>);

impl Refusals {
    /// How many more events the database may refuse.
    fn left(&self) -> usize {
        MAX_REFUSED.saturating_sub(self.lock().iter().map(|(_, refused)| refused).sum())
    }

    fn note(&self, events: usize, refused: usize) {
        let mut last = self.lock();
        last.push_back((events, refused));
        let mut total: usize = last.iter().map(|(events, _)| events).sum();
        while let Some((oldest, _)) = last.front()
            && total - oldest >= REFUSAL_WINDOW
        {
            total -= oldest;
            last.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(usize, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    async fn persist(
        &mut self,
        batch: &Batch,
        span: Option<TraceParent>,
        working: &Working,
    ) -> Result<store::ingest::commit::Committed, StoreError> {
        let rules = CommitRules {
            kind: Kind::Live,
            window: self.dedupe.window(),
            max_refused: self.refusals.left(),
            retries: 0,
            started_at: self.clock.now(),
            span,
            carried: self.carried.clone(),
        };
        let committed = persist(&mut self.session, &self.claim, batch, rules, (working, &self.metrics)).await?;
        self.refusals.note(batch.raw.messages.len(), committed.refused);
        Ok(committed)
    }
}

/// Tries until the batch is stored, or until trying is of no use.
pub(super) async fn persist(
    session: &mut Session,
    claim: &Claim,
    batch: &Batch,
    mut rules: CommitRules,
    (working, metrics): (&Working, &Metrics),
) -> Result<store::ingest::commit::Committed, StoreError> {
    let mut attempt = 0;
    loop {
        working.beat();
        match session.run(async |conn| commit(conn, claim, batch, &rules).await).await {
            Err(error) if error.is_transient() => {
                let delay = Backoff::DEPENDENCY.delay(attempt);
                tracing::warn!(partition = claim.partition, %error, ?delay, "a batch waits for the database");
                metrics.commit_repeated();
                tokio::time::sleep(delay).await;
                attempt += 1;
                rules.retries = rules.retries.saturating_add(1);
            }
            settled => return settled,
        }
    }
}
