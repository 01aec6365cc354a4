//! Reader: the consumer's loop. Subscribes, makes sure that the stream is the one that was read before, reads, groups.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use actix::prelude::*;
use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{
    dedupe::Split,
    stream_check::{Checked, StreamError, check},
    supervision::{
        backoff::Backoff,
        exit::Cause,
        log::{Note, SupervisionLog},
        progress::Progress,
        pulse::Pulse,
    },
};
use crate::{
    broker::{
        BrokerError,
        subscription::{Incoming, StartAt, Subscription},
    },
    config,
    domain::{
        batch::{Message as StreamMessage, MessageHash, RawBatch},
        supervision::What,
    },
    telemetry::{
        metrics::Metrics,
        readiness::{BROKER, Readiness},
    },
};

/// When nothing has come for so long, the broker is asked whether that is so.
const QUIET: Duration = Duration::from_secs(1);
/// As well, while nothing has come since the subscription began: the broker may still be looking for where to begin.
const FIRST_QUIET: Duration = Duration::from_secs(3);

pub enum Order {
    Acknowledge { next_offset: i64 },
    Drain,
}

pub struct ReaderParts {
    pub broker: config::Broker,
    pub limits: config::Batch,
    pub partition: u16,
    /// Where to read on.
    pub position: i64,
    /// Of the message before that.
    pub last_message: Option<MessageHash>,
    pub progress: Progress,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub log: SupervisionLog,
    pub pulse: Pulse,
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
    credits: Arc<Semaphore>,
    /// Where the messages at hand begin, if the stream had dropped some before them.
    gap_to: Option<i64>,
    /// The batch at hand.
    messages: Vec<StreamMessage>,
    bytes: usize,
    last_tag: u64,
    /// When the first message of the batch at hand came.
    oldest: Option<Instant>,
    /// Batches handed on in this subscription: where they end, and the tag of their last delivery.
    uncommitted: VecDeque<(i64, u64)>,
    /// When a message came last, or the subscription began.
    heard_at: Instant,
    /// How long nothing must have come before the broker is asked.
    quiet: Duration,
    /// When a batch was committed last, or the first of the uncommitted was handed on.
    committed_at: Instant,
}

impl Reader {
    pub fn new(parts: ReaderParts) -> Self {
        Self {
            credits: Arc::new(Semaphore::new(parts.limits.credits)),
            gap_to: None,
            messages: Vec::new(),
            bytes: 0,
            last_tag: 0,
            oldest: None,
            uncommitted: VecDeque::new(),
            heard_at: Instant::now(),
            quiet: FIRST_QUIET,
            committed_at: Instant::now(),
            parts,
        }
    }

    /// Reads until it is told to drain.
    pub async fn run(mut self) -> Result<(), StreamError> {
        let mut failures = 0;
        loop {
            self.parts.pulse.beat();
            // Orders are taken while the broker is away too, at each point where that is waited for.
            let ended = self.subscribe_and_read(&mut failures).await;
            self.parts.progress.subscribed(false);
            match ended {
                Ok(Ended::Drained) => return Ok(()),
                Ok(Ended::Stalled) => {
                    tracing::warn!(
                        partition = self.parts.partition,
                        "nothing can be stored: the subscription is given up"
                    );
                    if self.all_committed().await == Err(Ended::Drained) {
                        return Ok(());
                    }
                }
                Err(StreamError::Broker(error)) if error.is_transient() => {
                    self.parts.readiness.down(BROKER, error.to_string());
                    let delay = Backoff::DEPENDENCY.delay(failures);
                    failures += 1;
                    let partition = self.parts.partition;
                    tracing::warn!(partition, %error, ?delay, "the stream is away, subscribing again");
                    if self.unless_drained(sleep(delay)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn subscribe_and_read(&mut self, failures: &mut u32) -> Result<Ended, StreamError> {
        // What was not handed on comes again; tags are of the old channel.
        self.clear();
        self.gap_to = None;
        self.uncommitted.clear();
        let ReaderParts { broker, partition, position, last_message, .. } = &self.parts;
        let (broker, partition, position) = (broker.clone(), *partition, *position);
        // The last message that is known comes again, to be compared: the stream can be another one by now.
        let known = last_message.map(|hash| (position - 1, hash));
        let from = StartAt::Offset(known.map_or(position, |(offset, _)| offset));
        let opening = async move { Subscription::open(&broker, partition, from, known.is_none()).await };
        let mut subscription = match self.unless_drained(opening).await {
            Ok(opened) => opened?,
            Err(ended) => return Ok(ended),
        };
        let end = self.check_and_read(&mut subscription, known, failures).await;
        self.parts.progress.subscribed(false);
        subscription.close().await;
        end
    }

    async fn check_and_read(
        &mut self,
        subscription: &mut Subscription,
        known: Option<(i64, MessageHash)>,
        failures: &mut u32,
    ) -> Result<Ended, StreamError> {
        if let Some((offset, hash)) = known {
            let pulse = self.parts.pulse.clone();
            let checking = check(subscription, offset, hash, &pulse);
            match self.unless_drained(checking).await {
                Ok(checked) => self.resume(checked?),
                Err(ended) => return Ok(ended),
            }
        }
        *failures = 0;
        self.heard_at = Instant::now();
        self.quiet = if known.is_some() { QUIET } else { FIRST_QUIET };
        self.parts.progress.subscribed(true);
        self.parts.readiness.up(BROKER);
        tracing::info!(partition = self.parts.partition, offset = self.parts.position, "subscribed");
        Ok(self.read(subscription).await?)
    }

    /// Goes on where the check has come to.
    fn resume(&mut self, checked: Checked) {
        match checked {
            Checked::Same => {}
            Checked::Gap { first } => {
                self.gap_to = Some(first.message.offset);
                self.take(first);
            }
        }
    }

    fn tell_of_gap(&self, to: i64) {
        let ReaderParts { partition, position, .. } = self.parts;
        self.parts.metrics.stream_gap(partition, to.abs_diff(position));
        let cause = format!("the stream had dropped offsets from {position} to before {to} when they were to be read");
        self.parts.log.note(Note::new(&format!("partition/{partition}"), What::Gap).cause(cause));
    }

    /// Waits for something that is not reading, unless the order to drain comes first.
    async fn unless_drained<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Ended> {
        let mut waiting = pin!(waiting);
        loop {
            tokio::select! {
                order = self.parts.inbox.recv() => match order {
                    // Tags of a subscription that is gone: there is nothing to acknowledge.
                    Some(Order::Acknowledge { .. }) => {}
                    Some(Order::Drain) | None => return Err(self.drain().await),
                },
                done = &mut waiting => return Ok(done),
            }
        }
    }

    async fn read(&mut self, subscription: &mut Subscription) -> Result<Ended, BrokerError> {
        // A question to the broker that is not answered yet, and when it was asked.
        let mut asking: Option<BoxFuture<'static, Result<Instant, BrokerError>>> = None;
        let mut ask_at = self.heard_at + self.quiet;
        loop {
            self.parts.pulse.beat();
            let full = self.is_full();
            let due_at = self.oldest.map(|oldest| oldest + Duration::from_millis(self.parts.limits.linger_ms));
            let due = full || due_at.is_some_and(|at| at <= Instant::now());
            let credits = Arc::clone(&self.credits);
            let timer = sleep_until(due_at.unwrap_or_else(Instant::now));
            let stalled_at = self.committed_at + self.parts.broker.stall_cancel();
            tokio::select! {
                biased;
                order = self.parts.inbox.recv() => match order {
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
                    (self.heard_at, self.quiet) = (Instant::now(), QUIET);
                    ask_at = self.heard_at + QUIET;
                }
                () = timer, if due_at.is_some() && !due => {}
                Some(answer) = OptionFuture::from(asking.as_mut()) => {
                    asking = None;
                    ask_at = Instant::now() + QUIET;
                    let asked_at = answer?;
                    if asked_at > self.heard_at {
                        self.parts.progress.proved_quiet(asked_at.into_std());
                    }
                }
                () = sleep_until(ask_at), if asking.is_none() => {
                    let (answer, asked_at) = (subscription.ask(), Instant::now());
                    asking = Some(async move { answer.await.map(|()| asked_at) }.boxed());
                }
                () = sleep_until(stalled_at), if !self.uncommitted.is_empty() => return Ok(Ended::Stalled),
            }
        }
    }

    fn take(&mut self, incoming: Incoming) {
        self.last_tag = incoming.tag;
        // The broker sends whole chunks, which may start before the offset that was asked for.
        if incoming.message.offset < self.messages.last().map_or(self.parts.position, |last| last.offset + 1) {
            return;
        }
        self.parts.progress.received(incoming.message.offset + 1);
        self.oldest.get_or_insert_with(Instant::now);
        self.bytes += incoming.message.body.len();
        self.messages.push(incoming.message);
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= self.parts.limits.max_events || self.bytes >= self.parts.limits.max_bytes
    }

    fn hand_on(&mut self, credit: super::Credit) {
        let raw = RawBatch {
            id: Uuid::now_v7(),
            first_offset: self.parts.position,
            // The message before the gap was the last one: nothing is lost where the next one follows it.
            gap_to: self.gap_to.take().filter(|to| *to > self.parts.position),
            messages: std::mem::take(&mut self.messages),
        };
        if let Some(to) = raw.gap_to {
            self.tell_of_gap(to);
        }
        self.parts.position = raw.next_offset();
        self.parts.last_message = raw.last_message();
        if self.uncommitted.is_empty() {
            self.committed_at = Instant::now();
        }
        self.uncommitted.push_back((self.parts.position, self.last_tag));
        self.clear();
        // Dedupe is gone only when the whole partition is about to restart.
        self.parts.dedupe.do_send(Split { raw, credit });
    }

    fn clear(&mut self) {
        self.messages = Vec::with_capacity(self.parts.limits.max_events.min(1024));
        self.bytes = 0;
        self.oldest = None;
    }

    /// The tag up to which a commit lets acknowledge, if the batch was of this subscription.
    fn committed(&mut self, next_offset: i64) -> Option<u64> {
        self.committed_at = Instant::now();
        let mut tag = None;
        while let Some((end, last_tag)) = self.uncommitted.front()
            && *end <= next_offset
        {
            tag = Some(*last_tag);
            self.uncommitted.pop_front();
        }
        tag
    }

    /// Waits until nothing is in flight: all credits are back then.
    async fn all_committed(&mut self) -> Result<(), Ended> {
        let all = u32::try_from(self.parts.limits.credits).unwrap_or(u32::MAX);
        let (credits, pulse) = (Arc::clone(&self.credits), self.parts.pulse.clone());
        let waiting = async move {
            let mut back = pin!(credits.acquire_many(all));
            // The writer makes the attempts; this waits for it, however long.
            while tokio::time::timeout(QUIET, &mut back).await.is_err() {
                pulse.beat();
            }
        };
        self.unless_drained(waiting).await
    }

    async fn drain(&mut self) -> Ended {
        let all = u32::try_from(self.parts.limits.credits).unwrap_or(u32::MAX);
        let mut back = pin!(self.credits.acquire_many(all));
        while tokio::time::timeout(QUIET, &mut back).await.is_err() {
            self.parts.pulse.beat();
        }
        Ended::Drained
    }
}

impl From<StreamError> for Cause {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Broker(error) => Self::Failed(error.to_string()),
            StreamError::Remade { .. } => Self::Unfit(error.to_string()),
        }
    }
}
