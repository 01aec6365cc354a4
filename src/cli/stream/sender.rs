//! Sender: a publisher that outlives its connection.
//!
//! When publishing fails for a reason that may pass, it connects again with backoff and sends the unconfirmed messages
//! again, in their order and before any other. The service removes the copies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    broker::{
        self, BrokerError, Connection,
        publisher::{Outgoing, PublishError, Publisher},
        topology,
    },
    config::Broker,
    domain::trace::TraceParent,
    telemetry::traces::spans,
};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// How long the broker may be away before publishing is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why sending was given up.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {unconfirmed} messages are unconfirmed: they may be in the stream or not")]
pub struct SendError {
    unconfirmed: u64,
    source: BrokerError,
}

pub struct Sender {
    broker: Broker,
    link: Option<Link>,
    /// Messages that were given to be sent.
    given: u64,
    /// How often one was handed to a connection, copies included.
    handed_over: u64,
    /// On connections that are gone: what was confirmed, and what of it lies before anything that was not.
    confirmed: u64,
    confirmed_in_order: u64,
    interrupted: Arc<AtomicBool>,
    /// Of all that is sent.
    span: Span,
    parent: Option<TraceParent>,
}

struct Link {
    connection: Connection,
    publisher: Publisher,
}

impl Sender {
    /// Connects and makes sure that the streams exist.
    pub async fn connect(broker: Broker, interrupted: Arc<AtomicBool>) -> Result<Self, BrokerError> {
        let link = Some(Link::open(&broker).await?);
        let span = spans::publish(&broker.stream, None);
        Ok(Self {
            parent: spans::parent_of(&span),
            span,
            broker,
            link,
            given: 0,
            handed_over: 0,
            confirmed: 0,
            confirmed_in_order: 0,
            interrupted,
        })
    }

    pub fn confirmed(&self) -> u64 {
        self.confirmed + self.confirmed_by_link()
    }

    /// Messages, counted from the first, that are all confirmed: a later run need not send them again.
    pub fn confirmed_in_order(&self) -> u64 {
        self.confirmed_in_order + self.confirmed_by_link()
    }

    /// Messages that may be in the stream or not.
    pub fn unconfirmed(&self) -> u64 {
        self.given.saturating_sub(self.confirmed())
    }

    /// Copies that were sent after a lost connection.
    pub fn resent(&self) -> u64 {
        self.handed_over.saturating_sub(self.given)
    }

    fn confirmed_by_link(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.publisher.confirmed())
    }

    pub async fn send(&mut self, partition: u16, body: Vec<u8>) -> Result<(), SendError> {
        let Some(link) = &mut self.link else { return Err(gone()) };
        let message = Outgoing { partition, body: Arc::new(body), span: self.parent };
        self.given += 1;
        match link.publisher.publish(message).await {
            Ok(()) => {
                self.handed_over += 1;
                Ok(())
            }
            Err(failure) => self.recover(failure).await,
        }
    }

    /// Looks whether the connection is still good.
    pub async fn check(&mut self) -> Result<(), SendError> {
        let Some(link) = &mut self.link else { return Err(gone()) };
        match link.publisher.check() {
            Ok(()) => Ok(()),
            Err(failure) => self.recover(failure).await,
        }
    }

    /// Waits until everything is confirmed.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        while let Some(link) = &mut self.link {
            match link.publisher.flush().await {
                Ok(()) => return Ok(()),
                Err(failure) => self.recover(failure).await?,
            }
        }
        Ok(())
    }

    pub async fn close(self) {
        spans::sent(&self.span, self.given);
        if let Some(link) = self.link {
            broker::close(&link.connection, &self.broker).await;
        }
    }

    async fn recover(&mut self, failure: PublishError) -> Result<(), SendError> {
        let PublishError { confirmed, confirmed_in_order, mut unconfirmed, mut source } = failure;
        self.link = None;
        self.confirmed += confirmed;
        self.confirmed_in_order += confirmed_in_order;
        let (mut delay, mut deadline) = (FIRST_DELAY, Instant::now() + PATIENCE);
        loop {
            let given_up = Instant::now() >= deadline || self.interrupted.load(Ordering::Relaxed);
            if given_up || !source.is_transient() {
                let unconfirmed = u64::try_from(unconfirmed.len()).unwrap_or(u64::MAX);
                return Err(SendError { unconfirmed, source });
            }
            tracing::warn!(error = %source, unconfirmed = unconfirmed.len(), "connecting again in {delay:?}");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LONGEST_DELAY);
            let mut link = match Link::open(&self.broker).await {
                Ok(link) => link,
                Err(error) => {
                    source = error;
                    continue;
                }
            };
            match self.send_again(&mut link.publisher, unconfirmed).await {
                Ok(()) => {
                    // Nothing is unconfirmed any more.
                    self.confirmed_in_order = self.confirmed;
                    self.link = Some(link);
                    return Ok(());
                }
                Err(again) => {
                    if again.confirmed > 0 {
                        (delay, deadline) = (FIRST_DELAY, Instant::now() + PATIENCE);
                    }
                    self.confirmed += again.confirmed;
                    self.confirmed_in_order += again.confirmed_in_order;
                    unconfirmed = again.unconfirmed;
                    source = again.source;
                }
            }
        }
    }

    async fn send_again(&mut self, publisher: &mut Publisher, messages: Vec<Outgoing>) -> Result<(), PublishError> {
        let mut messages = messages.into_iter();
        while let Some(message) = messages.next() {
            if let Err(mut failure) = publisher.publish(message).await {
                failure.unconfirmed.extend(messages);
                return Err(failure);
            }
            self.handed_over += 1;
        }
        // Confirmed before anything new is sent, so that nothing overtakes when the connection is lost again.
        publisher.flush().await
    }
}

impl Link {
    async fn open(broker: &Broker) -> Result<Self, BrokerError> {
        let connection = broker::connect(broker, "publisher").await?;
        topology::declare(&connection, broker).await?;
        let publisher = Publisher::open(&connection, broker).await?;
        Ok(Self { connection, publisher })
    }
}

/// After a failure that was not recovered from.
fn gone() -> SendError {
    SendError { unconfirmed: 0, source: BrokerError::Permanent("the connection is gone".to_owned()) }
}
