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
use tracing::Span;

use super::error::Problem;
use crate::actors::serving::query::{
    Execute, GetAttribution, GetAttributionSets, GetAttributionValues, GetAudit, GetDataLife, GetDeadLetter, GetEvent,
    GetExport, GetFreshness, GetLedger, GetName, GetNamesOf, GetPartitions, GetReliability, GetRevisions, GetSummary,
    GetSupervision, GetUsage, ListDeadLetters, ListExports, ListNames, ReadQuery,
};

/// A handle on the shared list: clones see the same. A query actor that is started again is set again.
#[derive(Clone, Default)]
pub struct Queries(Arc<Inner>);

#[derive(Default)]
struct Inner {
    actors: RwLock<BTreeMap<u32, Mailboxes>>,
    turn: AtomicUsize,
}

/// Of a query: the mailbox of an actor for it.
pub(super) trait Routed: ReadQuery + Sized {
    fn mailbox(actor: &Mailboxes) -> &Recipient<Execute<Self>>;
}

/// Lists the queries, each with its mailbox.
macro_rules! queries {
    ($($name:ident: $query:ty),* $(,)?) => {
        pub(super) struct Mailboxes { $($name: Recipient<Execute<$query>>),* }

        impl Queries {
            /// Puts an actor in place `k`, instead of the one that was there.
            pub fn set<A>(&self, k: u32, actor: &Addr<A>)
            where
                A: Actor $(+ Handler<Execute<$query>>)*,
                A::Context: $(ToEnvelope<A, Execute<$query>> +)* Sized,
            {
                let mailboxes = Mailboxes { $($name: actor.clone().recipient()),* };
                self.0.actors.write().unwrap_or_else(PoisonError::into_inner).insert(k, mailboxes);
            }
        }

        $(impl Routed for $query {
            fn mailbox(actor: &Mailboxes) -> &Recipient<Execute<Self>> {
                &actor.$name
            }
        })*
    };
}

queries! {
    usage: GetUsage,
    reliability: GetReliability,
    ledger: GetLedger,
    attribution: GetAttribution,
    attribution_sets: GetAttributionSets,
    attribution_values: GetAttributionValues,
    revisions: GetRevisions,
    summary: GetSummary,
    freshness: GetFreshness,
    dead_letters: ListDeadLetters,
    dead_letter: GetDeadLetter,
    supervision: GetSupervision,
    partitions: GetPartitions,
    data_life: GetDataLife,
    event: GetEvent,
    audit: GetAudit,
    names: ListNames,
    name: GetName,
    names_of: GetNamesOf,
    exports: ListExports,
    export: GetExport,
}

impl Queries {
    /// Sends the query to the next living actor, and waits for the response. When the caller is dropped, the query is cancelled.
    pub(super) async fn send<Q: Routed>(&self, query: Q, within: Duration) -> Result<Q::Response, Problem> {
        let (_here, gone) = oneshot::channel();
        // Sent within the block: the list must not stay locked while the response is waited for.
        let sent = {
            let actors = self.0.actors.read().unwrap_or_else(PoisonError::into_inner);
            let live: Vec<&Recipient<Execute<Q>>> = actors.values().map(Q::mailbox).filter(|r| r.connected()).collect();
            if live.is_empty() {
                return Err(Problem::Unavailable);
            }
            live[self.0.turn.fetch_add(1, Ordering::Relaxed) % live.len()].send(Execute {
                query,
                gone,
                span: Span::current(),
            })
        };
        Ok(sent.timeout(within).await??)
    }
}
