//! The way from a handler to the query actors: round robin over those that live.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr, Handler, MailboxError, Message, Recipient, dev::ToEnvelope};

use super::error::Problem;
use crate::actors::query::{
    GetDeadLetter, GetFreshness, GetPartitions, GetSupervision, GetUsage, ListDeadLetters, QueryError,
};

/// A handle on the shared list: clones see the same. A query actor that is started again is set again.
#[derive(Clone, Default)]
pub struct Queries(Arc<Inner>);

#[derive(Default)]
struct Inner {
    actors: RwLock<BTreeMap<u32, Mailboxes>>,
    turn: AtomicUsize,
}

pub(super) struct Mailboxes {
    usage: Recipient<GetUsage>,
    freshness: Recipient<GetFreshness>,
    supervision: Recipient<GetSupervision>,
    partitions: Recipient<GetPartitions>,
    dead_letters: Recipient<ListDeadLetters>,
    dead_letter: Recipient<GetDeadLetter>,
}

impl Queries {
    /// Puts an actor in place `k`, instead of the one that was there.
    pub fn set<A>(&self, k: u32, actor: &Addr<A>)
    where
        A: Actor
            + Handler<GetUsage>
            + Handler<GetFreshness>
            + Handler<GetSupervision>
            + Handler<GetPartitions>
            + Handler<ListDeadLetters>
            + Handler<GetDeadLetter>,
        A::Context: ToEnvelope<A, GetUsage>
            + ToEnvelope<A, GetFreshness>
            + ToEnvelope<A, GetSupervision>
            + ToEnvelope<A, GetPartitions>
            + ToEnvelope<A, ListDeadLetters>
            + ToEnvelope<A, GetDeadLetter>,
    {
        let mailboxes = Mailboxes {
            usage: actor.clone().recipient(),
            freshness: actor.clone().recipient(),
            supervision: actor.clone().recipient(),
            partitions: actor.clone().recipient(),
            dead_letters: actor.clone().recipient(),
            dead_letter: actor.clone().recipient(),
        };
        self.0.actors.write().unwrap_or_else(PoisonError::into_inner).insert(k, mailboxes);
    }

    /// Asks the next actor that lives, and waits for its answer.
    pub(super) async fn ask<Q, T>(&self, question: Q, within: Duration) -> Result<T, Problem>
    where
        Q: Question + Message<Result = Result<T, QueryError>> + Send + 'static,
        T: Send + 'static,
    {
        // Sent within the block: the list must not stay locked while the answer is waited for.
        let sent = {
            let actors = self.0.actors.read().unwrap_or_else(PoisonError::into_inner);
            let live: Vec<&Recipient<Q>> = actors.values().map(Q::mailbox).filter(|r| r.connected()).collect();
            if live.is_empty() {
                return Err(Problem::Unavailable);
            }
            live[self.0.turn.fetch_add(1, Ordering::Relaxed) % live.len()].send(question)
        };
        match sent.timeout(within).await {
            Ok(answer) => Ok(answer?),
            Err(MailboxError::Timeout) => Err(Problem::TooSlow),
            Err(MailboxError::Closed) => Err(Problem::Unavailable),
        }
    }
}

/// A message of the query actors, and where it is put in.
pub(super) trait Question: Message + Send
where
    Self::Result: Send,
{
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self>
    where
        Self: Sized;
}

impl Question for GetUsage {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self> {
        &actor.usage
    }
}

impl Question for GetFreshness {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self> {
        &actor.freshness
    }
}

impl Question for GetSupervision {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self> {
        &actor.supervision
    }
}

impl Question for GetPartitions {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self> {
        &actor.partitions
    }
}

impl Question for ListDeadLetters {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self> {
        &actor.dead_letters
    }
}

impl Question for GetDeadLetter {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Self> {
        &actor.dead_letter
    }
}
