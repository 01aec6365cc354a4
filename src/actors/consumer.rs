//! Consumer: reads one partition's stream and groups what comes into batches.
//! In: Committed from the writer; Drain. Out: Split(RawBatch, credit) to dedupe.
//! Failure: broker away → waits in place and subscribes again behind the last batch that it handed on.
//! Bound: the credits. Without one the batch at hand grows to its limits, then reading stops; the broker stops sending
//!        when its own credit, the prefetch, is used up.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use crate::{
    actors::{
        dedupe::Split,
        supervision::{
            backoff::Backoff,
            exit::{Cause, ExitGuard, Stop},
            progress::Progress,
        },
        writer::Committed,
    },
    broker::{
        BrokerError,
        subscription::{Incoming, Subscription},
    },
    config,
    domain::batch::{Message as StreamMessage, RawBatch},
    telemetry::readiness::{BROKER, Readiness},
};

pub struct Consumer {
    exit: ExitGuard,
    orders: mpsc::UnboundedSender<Order>,
    /// Taken by the reading loop when the actor starts.
    reader: Option<Reader>,
}

pub struct ConsumerParts {
    pub broker: config::Broker,
    pub batch: config::Batch,
    pub partition: u16,
    pub from_offset: i64,
    pub progress: Progress,
    pub readiness: Readiness,
    pub dedupe: Recipient<Split>,
    pub exit: ExitGuard,
}

impl Consumer {
    pub fn new(parts: ConsumerParts) -> Self {
        // As many orders wait as batches are in flight.
        let (orders, inbox) = mpsc::unbounded_channel();
        let reader = Reader {
            credits: Arc::new(Semaphore::new(parts.batch.credits)),
            position: parts.from_offset,
            messages: Vec::new(),
            bytes: 0,
            last_tag: 0,
            oldest: None,
            uncommitted: VecDeque::new(),
            broker: parts.broker,
            limits: parts.batch,
            partition: parts.partition,
            progress: parts.progress,
            readiness: parts.readiness,
            dedupe: parts.dedupe,
            inbox,
        };
        Self { exit: parts.exit, orders, reader: Some(reader) }
    }
}

impl Actor for Consumer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(reader) = self.reader.take() else { return };
        let reading = reader.run().into_actor(self).map(|end, actor, ctx| {
            if let Err(error) = end {
                actor.exit.note(Cause::Failed(error.to_string()));
            }
            ctx.stop();
        });
        ctx.spawn(reading);
    }
}

impl Handler<Committed> for Consumer {
    type Result = ();

    fn handle(&mut self, committed: Committed, _: &mut Self::Context) {
        // The loop is gone only when the actor is about to stop.
        let _ = self.orders.send(Order::Acknowledge { next_offset: committed.next_offset });
    }
}

/// Stop reading, wait for what is in flight, then end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for Consumer {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        let _ = self.orders.send(Order::Drain);
    }
}

impl Handler<Stop> for Consumer {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

enum Order {
    Acknowledge { next_offset: i64 },
    Drain,
}

/// How a subscription's reading ended without an error.
struct Drained;

/// The reading loop's state.
struct Reader {
    broker: config::Broker,
    limits: config::Batch,
    partition: u16,
    progress: Progress,
    readiness: Readiness,
    dedupe: Recipient<Split>,
    inbox: mpsc::UnboundedReceiver<Order>,
    credits: Arc<Semaphore>,
    /// Where the last batch that was handed on ended.
    position: i64,
    /// The batch at hand.
    messages: Vec<StreamMessage>,
    bytes: usize,
    last_tag: u64,
    /// When the first message of the batch at hand came.
    oldest: Option<Instant>,
    /// Batches handed on in this subscription: where they end, and the tag of their last delivery.
    uncommitted: VecDeque<(i64, u64)>,
}

impl Reader {
    async fn run(mut self) -> Result<(), BrokerError> {
        let mut failures = 0;
        loop {
            // Orders are taken while the broker is away too, at each point where that is waited for.
            match self.subscribe_and_read(&mut failures).await {
                Ok(Drained) => return Ok(()),
                Err(error) => {
                    self.progress.subscribed(false);
                    self.readiness.down(BROKER, error.to_string());
                    if !error.is_transient() {
                        return Err(error);
                    }
                    let delay = Backoff::DEPENDENCY.delay(failures);
                    failures += 1;
                    tracing::warn!(partition = self.partition, %error, ?delay, "the stream is away, subscribing again");
                    if let Some(Drained) = self.unless_drained(sleep(delay)).await.err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn subscribe_and_read(&mut self, failures: &mut u32) -> Result<Drained, BrokerError> {
        // What was not handed on comes again; tags are of the old channel.
        self.clear();
        self.uncommitted.clear();
        let (broker, partition, position) = (self.broker.clone(), self.partition, self.position);
        let opening = async move { Subscription::open(&broker, partition, position).await };
        let mut subscription = match self.unless_drained(opening).await {
            Ok(opened) => opened?,
            Err(drained) => return Ok(drained),
        };
        *failures = 0;
        self.progress.subscribed(true);
        self.readiness.up(BROKER);
        tracing::info!(partition = self.partition, offset = self.position, "subscribed");
        let end = self.read(&mut subscription).await;
        self.progress.subscribed(false);
        subscription.close().await;
        end
    }

    /// Waits for something that is not reading, unless the order to drain comes first.
    async fn unless_drained<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Drained> {
        let mut waiting = pin!(waiting);
        loop {
            tokio::select! {
                order = self.inbox.recv() => match order {
                    // Tags of a subscription that is gone: there is nothing to acknowledge.
                    Some(Order::Acknowledge { .. }) => {}
                    Some(Order::Drain) | None => return Err(self.drain().await),
                },
                done = &mut waiting => return Ok(done),
            }
        }
    }

    async fn read(&mut self, subscription: &mut Subscription) -> Result<Drained, BrokerError> {
        loop {
            let full = self.is_full();
            let due_at = self.oldest.map(|oldest| oldest + Duration::from_millis(self.limits.linger_ms));
            let due = full || due_at.is_some_and(|at| at <= Instant::now());
            let credits = Arc::clone(&self.credits);
            let timer = pin!(sleep_until(due_at.unwrap_or_else(Instant::now)));
            tokio::select! {
                biased;
                order = self.inbox.recv() => match order {
                    Some(Order::Acknowledge { next_offset }) => {
                        if let Some(tag) = self.committed(next_offset) {
                            subscription.acknowledge(tag).await?;
                        }
                    }
                    Some(Order::Drain) | None => return Ok(self.drain().await),
                },
                credit = credits.acquire_owned(), if due => {
                    // The semaphore is never closed.
                    if let Ok(credit) = credit {
                        self.hand_on(credit);
                    }
                }
                incoming = subscription.next(), if !full => {
                    self.take(incoming?);
                    while !self.is_full() && let Some(incoming) = subscription.next_now() {
                        self.take(incoming?);
                    }
                }
                () = timer, if due_at.is_some() && !due => {}
            }
        }
    }

    fn take(&mut self, incoming: Incoming) {
        self.last_tag = incoming.tag;
        // The broker sends whole chunks, which may start before the offset that was asked for.
        if incoming.message.offset < self.messages.last().map_or(self.position, |last| last.offset + 1) {
            return;
        }
        self.progress.received(incoming.message.offset + 1);
        self.oldest.get_or_insert_with(Instant::now);
        self.bytes += incoming.message.body.len();
        self.messages.push(incoming.message);
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= self.limits.max_events || self.bytes >= self.limits.max_bytes
    }

    fn hand_on(&mut self, credit: super::Credit) {
        let raw =
            RawBatch { id: Uuid::now_v7(), first_offset: self.position, messages: std::mem::take(&mut self.messages) };
        self.position = raw.next_offset();
        self.uncommitted.push_back((self.position, self.last_tag));
        self.clear();
        // Dedupe is gone only when the whole partition is about to restart.
        self.dedupe.do_send(Split { raw, credit });
    }

    fn clear(&mut self) {
        self.messages = Vec::with_capacity(self.limits.max_events.min(1024));
        self.bytes = 0;
        self.oldest = None;
    }

    /// The tag up to which a commit lets acknowledge, if the batch was of this subscription.
    fn committed(&mut self, next_offset: i64) -> Option<u64> {
        let mut tag = None;
        while let Some((end, last_tag)) = self.uncommitted.front()
            && *end <= next_offset
        {
            tag = Some(*last_tag);
            self.uncommitted.pop_front();
        }
        tag
    }

    /// All credits back means that nothing is in flight.
    async fn drain(&mut self) -> Drained {
        let all = u32::try_from(self.limits.credits).unwrap_or(u32::MAX);
        let _ = self.credits.acquire_many(all).await;
        Drained
    }
}
