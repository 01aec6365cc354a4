//! The way from a handler to the query actors: round robin over those that live.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr, Handler, Recipient, dev::ToEnvelope};
use tokio::sync::oneshot;

use super::error::Problem;
use crate::actors::serving::query::{
    Ask, GetAudit, GetDeadLetter, GetEvent, GetExport, GetFreshness, GetLedger, GetPartitions, GetReliability,
    GetRevisions, GetSummary, GetSupervision, GetUsage, ListDeadLetters, ListExports, Question,
};

/// A handle on the shared list: clones see the same. A query actor that is started again is set again.
#[derive(Clone, Default)]
pub struct Queries(Arc<Inner>);

#[derive(Default)]
struct Inner {
    actors: RwLock<BTreeMap<u32, Mailboxes>>,
    turn: AtomicUsize,
}

/// Of a question: where an actor is asked it.
pub(super) trait Asked: Question + Sized {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Ask<Self>>;
}

/// Lists the questions, each with its mailbox.
macro_rules! questions {
    ($($name:ident: $question:ty),* $(,)?) => {
        pub(super) struct Mailboxes { $($name: Recipient<Ask<$question>>),* }

        impl Queries {
            /// Puts an actor in place `k`, instead of the one that was there.
            pub fn set<A>(&self, k: u32, actor: &Addr<A>)
            where
                A: Actor $(+ Handler<Ask<$question>>)*,
                A::Context: $(ToEnvelope<A, Ask<$question>> +)* Sized,
            {
                let mailboxes = Mailboxes { $($name: actor.clone().recipient()),* };
                self.0.actors.write().unwrap_or_else(PoisonError::into_inner).insert(k, mailboxes);
            }
        }

        $(impl Asked for $question {
            fn mailbox(actor: &Mailboxes) -> &Recipient<Ask<Self>> {
                &actor.$name
            }
        })*
    };
}

questions! {
    usage: GetUsage,
    reliability: GetReliability,
    ledger: GetLedger,
    revisions: GetRevisions,
    summary: GetSummary,
    freshness: GetFreshness,
    dead_letters: ListDeadLetters,
    dead_letter: GetDeadLetter,
    supervision: GetSupervision,
    partitions: GetPartitions,
    event: GetEvent,
    audit: GetAudit,
    exports: ListExports,
    export: GetExport,
}

impl Queries {
    /// Asks the next actor that lives, and waits for its answer. Given up, the question is given up too.
    pub(super) async fn ask<Q: Asked>(&self, question: Q, within: Duration) -> Result<Q::Answer, Problem> {
        let (_here, gone) = oneshot::channel();
        // Sent within the block: the list must not stay locked while the answer is waited for.
        let sent = {
            let actors = self.0.actors.read().unwrap_or_else(PoisonError::into_inner);
            let live: Vec<&Recipient<Ask<Q>>> = actors.values().map(Q::mailbox).filter(|r| r.connected()).collect();
            if live.is_empty() {
                return Err(Problem::Unavailable);
            }
            live[self.0.turn.fetch_add(1, Ordering::Relaxed) % live.len()].send(Ask { question, gone })
        };
        Ok(sent.timeout(within).await??)
    }
}
