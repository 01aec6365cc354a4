//! Reader: the consumer's loop. Subscribes, makes sure that the stream is the one that was read before, reads, groups.

use std::{pin::pin, sync::Arc, time::Duration};

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
    supervision::{backoff::Backoff, exit::Cause, progress::Progress, pulse::Working},
};
use crate::{
    broker::{
        BrokerError,
        subscription::{Incoming, StartAt, Subscription},
    },
    config,
    domain::{
        batch::MessageHash,
        intake::{Intake, Limits},
    },
    telemetry::readiness::{BROKER, Readiness},
};

/// When nothing has come for so long, the broker is asked whether that is so.
const QUIET: Duration = Duration::from_secs(1);
/// As well, while nothing has come since the subscription began: the broker may still be looking for where to begin.
const FIRST_QUIET: Duration = Duration::from_secs(3);
/// While it stays quiet, the broker is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

pub enum Order {
    Acknowledge { next_offset: i64 },
    Drain,
}

pub struct ReaderParts {
    pub broker: config::Broker,
    pub limits: config::Batch,
    pub partition: u16,
    pub progress: Progress,
    pub readiness: Readiness,
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
    /// Who tells of the broker.
    name: String,
    intake: Intake,
    /// The stream has dropped what was between the batch at hand and this.
    behind_gap: Option<Incoming>,
    credits: Arc<Semaphore>,
    /// When the first message of the batch at hand came.
    oldest: Option<Instant>,
    /// When a message came last, or the subscription began.
    heard_at: Instant,
    /// How long nothing must have come before the broker is asked.
    quiet: Duration,
    /// When a batch was committed last, or the first of the uncommitted was handed on.
    committed_at: Instant,
}

impl Reader {
    pub fn new(parts: ReaderParts, position: i64, last_message: Option<MessageHash>) -> Self {
        let limits = Limits { max_events: parts.limits.max_events, max_bytes: parts.limits.max_bytes };
        Self {
            intake: Intake::new(limits, position, last_message),
            behind_gap: None,
            credits: Arc::new(Semaphore::new(parts.limits.credits)),
            oldest: None,
            heard_at: Instant::now(),
            quiet: FIRST_QUIET,
            committed_at: Instant::now(),
            name: format!("partition/{}", parts.partition),
            parts,
        }
    }

    /// Reads until it is told to drain.
    pub async fn run(mut self) -> Result<(), StreamError> {
        let mut failures = 0;
        loop {
            self.parts.working.beat();
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
                    let committed = self.all_committed();
                    if self.unless_drained(committed).await.is_err() {
                        return Ok(());
                    }
                }
                Err(StreamError::Broker(error)) if error.is_transient() => {
                    self.parts.readiness.down_for(BROKER, &self.name, error.to_string());
                    let delay = Backoff::DEPENDENCY.delay(failures);
                    failures += 1;
                    let partition = self.parts.partition;
                    tracing::warn!(partition, %error, ?delay, "the stream is away, subscribing again");
                    if self.unless_drained(sleep(delay)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    // What was read of the stream that is gone may be nowhere else.
                    let committed = self.all_committed();
                    return if self.unless_drained(committed).await.is_err() { Ok(()) } else { Err(error) };
                }
            }
        }
    }

    async fn subscribe_and_read(&mut self, failures: &mut u32) -> Result<Ended, StreamError> {
        self.intake.subscribe();
        (self.oldest, self.behind_gap) = (None, None);
        let (broker, partition) = (self.parts.broker.clone(), self.parts.partition);
        // The last message that is known comes again, to be compared: the stream can be another one by now.
        let known = self.intake.known();
        let from = StartAt::Offset(known.map_or(self.intake.position(), |(offset, _)| offset));
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
            let working = Arc::clone(&self.parts.working);
            let checking = check(subscription, offset, hash, &working);
            match self.unless_drained(checking).await {
                Ok(checked) => self.resume(checked?),
                Err(ended) => return Ok(ended),
            }
        }
        *failures = 0;
        self.heard_at = Instant::now();
        self.quiet = if known.is_some() { QUIET } else { FIRST_QUIET };
        self.parts.progress.subscribed(true);
        self.parts.readiness.up_for(BROKER, &self.name);
        tracing::info!(partition = self.parts.partition, offset = self.intake.position(), "subscribed");
        Ok(self.read(subscription).await?)
    }

    /// Goes on where the check has come to.
    fn resume(&mut self, checked: Checked) {
        match checked {
            Checked::Same => {}
            Checked::Gap { first } => {
                self.intake.skip_to(first.message.offset);
                self.take(first);
            }
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
        // A question to the broker that is not answered yet, and when it was asked.
        let mut asking: Option<BoxFuture<'static, Result<Instant, BrokerError>>> = None;
        let mut ask_at = self.heard_at + self.quiet;
        loop {
            self.parts.working.beat();
            if self.intake.is_empty()
                && let Some(incoming) = self.behind_gap.take()
            {
                self.intake.skip_to(incoming.message.offset);
                self.take(incoming);
            }
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
                        self.committed_at = Instant::now();
                        if let Some(tag) = self.intake.committed(next_offset) {
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
                    self.accept(subscription, incoming?).await?;
                    while !self.is_full() && let Some(incoming) = subscription.next_now() {
                        self.accept(subscription, incoming?).await?;
                    }
                    (self.heard_at, self.quiet) = (Instant::now(), QUIET);
                    ask_at = self.heard_at + QUIET;
                }
                () = timer, if due_at.is_some() && !due => {}
                Some(answer) = OptionFuture::from(asking.as_mut()) => {
                    asking = None;
                    ask_at = ask_at.max(Instant::now() + ASK_AGAIN);
                    let asked_at = answer?;
                    if asked_at > self.heard_at {
                        self.parts.progress.proved_quiet(asked_at.into_std());
                    }
                }
                () = sleep_until(ask_at), if asking.is_none() => {
                    // While something is open, the broker may have no credit left to send what it has.
                    if self.intake.has_uncommitted() || !self.intake.is_empty() {
                        ask_at = Instant::now() + ASK_AGAIN;
                        continue;
                    }
                    let (answer, asked_at) = (subscription.ask(), Instant::now());
                    asking = Some(async move { answer.await.map(|()| asked_at) }.boxed());
                }
                () = sleep_until(stalled_at), if self.intake.has_uncommitted() => return Ok(Ended::Stalled),
            }
        }
    }

    /// Takes a delivery in. The broker uses an offset itself now and then; but what is missing before a message may also
    /// have been dropped by the stream, which does not wait for who reads it. Then the batch at hand ends there.
    async fn accept(&mut self, subscription: &Subscription, incoming: Incoming) -> Result<(), BrokerError> {
        if incoming.message.offset > self.intake.expected() {
            let first = subscription.first_at(StartAt::First).await?.ok_or(BrokerError::Silent)?;
            if first > self.intake.expected() {
                self.behind_gap = Some(incoming);
                return Ok(());
            }
        }
        self.take(incoming);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.intake.is_full() || self.behind_gap.is_some()
    }

    fn take(&mut self, Incoming { tag, message }: Incoming) {
        let next_offset = message.offset + 1;
        if self.intake.take(tag, message) {
            self.parts.progress.received(next_offset);
            self.oldest.get_or_insert_with(Instant::now);
        }
    }

    fn hand_on(&mut self, credit: super::Credit) {
        if !self.intake.has_uncommitted() {
            self.committed_at = Instant::now();
        }
        let raw = self.intake.hand_on(Uuid::now_v7());
        self.oldest = None;
        // Dedupe is gone only when the whole partition is about to restart.
        self.parts.dedupe.do_send(Split { raw, credit });
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
        // Another process reads it now, or nobody: it says nothing of the broker any more.
        self.parts.readiness.forget(BROKER, &self.name);
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

#[cfg(test)]
mod tests;
