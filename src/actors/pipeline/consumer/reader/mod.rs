//! Reader: the consumer's loop. Subscribes, makes sure that the stream is the one that was read before, reads, groups.
//!
//! Attempts follow each other ever more slowly until a message comes that had not come before, whatever else worked. Where
//! the broker fails at what it is to deliver, ever less is requested ahead ([`Care`]), until the offset is known.

mod attempts;
mod holes;
#[cfg(test)]
mod tests;

use std::{pin::pin, sync::Arc, time::Duration};

use actix::prelude::*;
use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::stream_check::StreamError;
use crate::{
    actors::{
        pipeline::{Credit, dedupe::Split},
        supervision::{exit::Cause, liveness::Working, log::SupervisionLog, position::PartitionPosition},
    },
    broker::{
        BrokerError,
        incoming::{Incoming, Standing},
        streams::Streams,
        subscription::Subscription,
    },
    config,
    domain::{
        batch::MessageHash,
        hole::{HoleReason, Tail},
        intake::{Intake, Limits},
        prefetch::Prefetch,
        trace::{Links, PRODUCERS},
    },
    telemetry::{
        metrics::Metrics,
        readiness::{BROKER, Readiness},
        traces::spans::{self, BatchSpan},
    },
};

/// When nothing has come for so long, the broker is queried whether that is so.
const QUIET: Duration = Duration::from_secs(1);
/// As well, while nothing has come since the subscription began: the broker may still be looking for where to begin.
const FIRST_QUIET: Duration = Duration::from_secs(3);
/// Messages at hand are taken for so long before orders are heard again: what a producer has compressed may be slow to read.
const MOST_AT_ONCE: Duration = Duration::from_millis(100);
/// While it stays quiet, the broker is queried again after so long.
const QUERY_AGAIN: Duration = Duration::from_millis(500);

pub enum Order {
    Acknowledge { next_offset: i64 },
    Drain,
}

pub struct ReaderParts {
    pub streams: Streams,
    pub limits: config::Batch,
    pub partition: u16,
    pub progress: PartitionPosition,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub log: SupervisionLog,
    /// The loop is one piece of work, from its start to its end.
    pub working: Arc<Working>,
    pub dedupe: Recipient<Split>,
    pub inbox: mpsc::UnboundedReceiver<Order>,
}

/// Why reading ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Drained,
    /// Nothing could be committed for so long that the subscription was given up.
    Stalled,
}

/// The reading loop's state.
pub struct Reader {
    parts: ReaderParts,
    /// The name under which it reports the broker's state.
    name: String,
    intake: Intake,
    /// What came behind a hole, and why the hole is there: the batch at hand ends before it.
    behind_hole: Option<(Incoming, HoleReason)>,
    /// How carefully the stream is read.
    prefetch: Prefetch,
    /// Attempts to subscribe without a message that had not come before.
    attempts: u32,
    /// Reading has ended by an error of the connection since the last subscription.
    lost: bool,
    /// Whether the stream's end was read, while nothing comes.
    tail: Tail,
    /// When the end is looked at again, where it could not be read.
    look_again_at: Instant,
    credits: Arc<Semaphore>,
    /// When the first message of the batch at hand came.
    oldest: Option<Instant>,
    /// Of the batch at hand.
    span: Option<BatchSpan>,
    producers: Links,
    /// When a message came last, or the subscription began.
    heard_at: Instant,
    /// How long nothing must have come before the broker is queried.
    quiet: Duration,
    /// When a batch was committed last, or the first of the uncommitted was handed on.
    committed_at: Instant,
}

impl Reader {
    pub fn new(parts: ReaderParts, position: i64, last_message: Option<MessageHash>) -> Self {
        let limits = Limits { max_events: parts.limits.max_events, max_bytes: parts.limits.max_bytes };
        // Nothing is in flight yet.
        drop(parts.metrics.credits(parts.partition));
        Self {
            intake: Intake::new(limits, position, last_message),
            behind_hole: None,
            prefetch: Prefetch::new(parts.streams.prefetch(), position),
            attempts: 0,
            lost: false,
            tail: Tail::default(),
            look_again_at: Instant::now(),
            credits: Arc::new(Semaphore::new(parts.limits.credits)),
            oldest: None,
            span: None,
            producers: Links::at_most(PRODUCERS),
            heard_at: Instant::now(),
            quiet: FIRST_QUIET,
            committed_at: Instant::now(),
            name: format!("partition/{}", parts.partition),
            parts,
        }
    }

    /// Waits for something that is not reading, unless the order to drain comes first.
    async fn unless_drained<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Ended> {
        let mut waiting = Box::pin(waiting);
        loop {
            tokio::select! {
                order = self.parts.inbox.recv() => match order {
                    // Tags of a subscription that is gone: there is nothing to acknowledge.
                    Some(Order::Acknowledge { .. }) => {}
                    Some(Order::Drain) | None => {
                        // First: it may stand before the drain in the queue for credits.
                        drop(waiting);
                        return Err(self.drain().await);
                    }
                },
                done = &mut waiting => return Ok(done),
            }
        }
    }

    async fn read(&mut self, subscription: &mut Subscription) -> Result<Ended, BrokerError> {
        // A query to the broker that has no response yet, and when it was sent.
        let mut query: Option<BoxFuture<'static, Result<(Instant, Standing), BrokerError>>> = None;
        let mut query_at = self.heard_at + self.quiet;
        loop {
            self.parts.working.beat();
            if self.intake.is_empty()
                && let Some((incoming, why)) = self.behind_hole.take()
            {
                self.intake.skip_to(incoming.message.offset, why);
                self.take(incoming);
            }
            let full = self.is_full();
            let due_at = self.oldest.map(|oldest| oldest + Duration::from_millis(self.parts.limits.linger_ms));
            let due = full || due_at.is_some_and(|at| at <= Instant::now());
            let credits = Arc::clone(&self.credits);
            let timer = sleep_until(due_at.unwrap_or_else(Instant::now));
            let stalled_at = self.committed_at + self.parts.streams.broker.stall_cancel();
            tokio::select! {
                biased;
                order = self.parts.inbox.recv() => match order {
                    Some(Order::Acknowledge { next_offset }) => {
                        self.committed_at = Instant::now();
                        if let Some(tag) = self.intake.committed(next_offset) {
                            subscription.acknowledge(tag).await?;
                        }
                    }
                    Some(Order::Drain) | None => return Ok(self.drain().await),
                },
                credit = credits.acquire_owned(), if due => {
                    // The semaphore is never closed.
                    if let Ok(permit) = credit {
                        self.hand_on(permit);
                    }
                }
                incoming = subscription.next(), if !full => {
                    self.accept(subscription, incoming?).await?;
                    let at_hand = Instant::now();
                    while !self.is_full()
                        && at_hand.elapsed() < MOST_AT_ONCE
                        && let Some(incoming) = subscription.next_now()
                    {
                        self.accept(subscription, incoming?).await?;
                    }
                    (self.heard_at, self.quiet) = (Instant::now(), QUIET);
                    query_at = self.heard_at + QUIET;
                }
                () = timer, if due_at.is_some() && !due => {}
                Some(response) = OptionFuture::from(query.as_mut()) => {
                    query = None;
                    query_at = query_at.max(Instant::now() + QUERY_AGAIN);
                    let (queried_at, standing) = response?;
                    if queried_at > self.heard_at && let Some(ended) = self.fell_quiet(subscription, queried_at, standing).await? {
                        return Ok(ended);
                    }
                }
                () = sleep_until(query_at), if query.is_none() => {
                    // While something is open, the broker may have no credit left to send what it has.
                    if self.intake.has_uncommitted() || !self.intake.is_empty() {
                        query_at = Instant::now() + QUERY_AGAIN;
                        continue;
                    }
                    let (response, queried_at) = (subscription.standing(), Instant::now());
                    query = Some(async move { response.await.map(|standing| (queried_at, standing)) }.boxed());
                }
                () = sleep_until(stalled_at), if self.intake.has_uncommitted() => return Ok(Ended::Stalled),
            }
        }
    }

    fn is_full(&self) -> bool {
        self.intake.is_full() || self.behind_hole.is_some()
    }

    fn take(&mut self, Incoming { tag, message, producer, .. }: Incoming) {
        let offset = message.offset;
        if self.intake.take(tag, message) {
            if self.prefetch.came(offset) {
                self.attempts = 0;
            }
            self.tail.passed();
            self.parts.progress.received(offset + 1);
            if self.oldest.is_none() {
                self.oldest = Some(Instant::now());
                self.span = Some(spans::process(&self.parts.streams.broker.stream, self.parts.partition));
            }
            if let Some(producer) = producer {
                self.producers.add(producer);
            }
        }
    }

    fn hand_on(&mut self, permit: OwnedSemaphorePermit) {
        let credit = Credit { _permit: permit, _taken: self.parts.metrics.credit(self.parts.partition) };
        if !self.intake.has_uncommitted() {
            self.committed_at = Instant::now();
        }
        let raw = self.intake.hand_on(Uuid::now_v7());
        self.oldest = None;
        let (stream, partition) = (&self.parts.streams.broker.stream, self.parts.partition);
        let span = self.span.take().unwrap_or_else(|| spans::process(stream, partition));
        spans::hand_on(&span, &raw, self.producers.take());
        // Dedupe is gone only when the whole partition is about to restart.
        self.parts.dedupe.do_send(Split { raw, credit, span });
    }

    /// Waits until nothing is in flight: all credits are back then. The writer makes the attempts, however long.
    fn all_committed(&self) -> impl Future<Output = ()> + use<> {
        let all = u32::try_from(self.parts.limits.credits).unwrap_or(u32::MAX);
        let (credits, working) = (Arc::clone(&self.credits), Arc::clone(&self.parts.working));
        async move {
            let mut back = pin!(credits.acquire_many(all));
            while tokio::time::timeout(QUIET, &mut back).await.is_err() {
                working.beat();
            }
        }
    }

    async fn drain(&mut self) -> Ended {
        self.all_committed().await;
        Ended::Drained
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Another process reads it now, or none: it reports nothing of the broker any more.
        self.parts.readiness.forget(BROKER, &self.name);
    }
}

impl From<StreamError> for Cause {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Broker(error) => Self::Failed(error.to_string()),
            StreamError::Remade { .. } | StreamError::Unreadable { .. } | StreamError::Damaged { .. } => {
                Self::Unfit(error.to_string())
            }
        }
    }
}
