//! Attempts: how the reader subscribes, and what it does when that or reading ends.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::{Ended, FIRST_QUIET, QUIET, Reader};
use crate::{
    actors::{
        pipeline::consumer::stream_check::{Checked, StreamError, check},
        supervision::backoff::Backoff,
    },
    broker::{
        BrokerError,
        incoming::{Opening, StartAt},
        subscription::Subscription,
    },
    domain::{batch::MessageHash, hole::HoleReason, prefetch::Verdict},
    telemetry::{metrics::Reconnected, readiness::BROKER},
};

impl Reader {
    /// Reads until it receives the order to drain.
    pub async fn run(mut self) -> Result<(), StreamError> {
        loop {
            self.parts.working.beat();
            // Orders are taken while the broker is away too, at each point where that is waited for.
            let ended = self.subscribe_and_read().await;
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
                Err(error) => {
                    if self.is_worth_another_attempt(&error) {
                        if self.wait_after(&error).await.is_err() {
                            return Ok(());
                        }
                        continue;
                    }
                    // What was read of the stream may be nowhere else.
                    let committed = self.all_committed();
                    let drained = self.unless_drained(committed).await.is_err();
                    return if drained { Ok(()) } else { Err(self.named(error)) };
                }
            }
        }
    }

    fn is_worth_another_attempt(&mut self, error: &StreamError) -> bool {
        match error {
            // The broker is there, and the others read on: it is the stream that cannot be read.
            StreamError::Broker(BrokerError::Unreadable(_) | BrokerError::Damaged(_)) => {
                self.prefetch.failed() == Verdict::Again
            }
            StreamError::Broker(error) if error.is_transient() => {
                self.parts.readiness.down_for(BROKER, &self.name, error.to_string());
                true
            }
            StreamError::Broker(_)
            | StreamError::Remade { .. }
            | StreamError::Unreadable { .. }
            | StreamError::Damaged { .. } => false,
        }
    }

    async fn wait_after(&mut self, error: &StreamError) -> Result<(), Ended> {
        let delay = Backoff::DEPENDENCY.delay(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        let (partition, width) = (self.parts.partition, self.prefetch.width());
        tracing::warn!(partition, %error, ?delay, width, "the stream is away, subscribing again");
        self.unless_drained(sleep(delay)).await
    }

    /// Says where it is that the stream cannot be read.
    fn named(&self, error: StreamError) -> StreamError {
        let (partition, offset) = (self.parts.partition, self.prefetch.next());
        match error {
            StreamError::Broker(BrokerError::Unreadable(words)) => StreamError::Unreadable { partition, offset, words },
            StreamError::Broker(BrokerError::Damaged(what)) => StreamError::Damaged { partition, offset, what },
            other => other,
        }
    }

    async fn subscribe_and_read(&mut self) -> Result<Ended, StreamError> {
        self.intake.subscribe();
        (self.oldest, self.behind_hole) = (None, None);
        // What was at hand comes again.
        self.span = None;
        self.producers.take();
        // The last message that is known comes again, to be compared: the stream can be another one by now.
        let known = self.intake.known();
        let from = StartAt::Offset(known.map_or(self.intake.position(), |(offset, _)| offset));
        // A stream that was read before is not made again: it would not be the one.
        let declare = self.intake.position() == 0;
        let opening = Opening { partition: self.parts.partition, from, declare, prefetch: self.prefetch.width() };
        let streams = self.parts.streams.clone();
        let opening = async move { Subscription::open(&streams, opening).await };
        let mut subscription = match self.unless_drained(opening).await {
            Ok(opened) => opened?,
            Err(ended) => return Ok(ended),
        };
        if std::mem::take(&mut self.lost) {
            self.parts.metrics.reconnected(Reconnected::Broker);
        }
        let end = self.check_and_read(&mut subscription, known).await.map_err(|error| match error {
            StreamError::Broker(error) => subscription.explain(error).into(),
            other => other,
        });
        self.lost = matches!(&end, Err(StreamError::Broker(error)) if error.is_transient());
        self.parts.progress.subscribed(false);
        subscription.close().await;
        end
    }

    async fn check_and_read(
        &mut self,
        subscription: &mut Subscription,
        known: Option<(i64, MessageHash)>,
    ) -> Result<Ended, StreamError> {
        if let Some((offset, hash)) = known {
            let working = Arc::clone(&self.parts.working);
            let checking = check(subscription, offset, hash, &working);
            match self.unless_drained(checking).await {
                Ok(checked) => self.resume(checked?),
                Err(ended) => return Ok(ended),
            }
        }
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
                self.intake.skip_to(first.message.offset, HoleReason::Dropped);
                self.take(first);
            }
        }
    }
}
