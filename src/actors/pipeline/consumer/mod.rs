//! Consumer: reads one partition's stream and groups what comes into batches.
//! In: Committed from the writer; Drain, End. Out: Split(RawBatch, credit) to dedupe.
//! Failure: broker away → waits in place and subscribes again behind the last batch that it handed on; another stream in
//!          the place of ours → unfit, an operator has to say how to go on; what the broker fails at each time → the same.
//! Bound: the credits. Without one the batch at hand grows to its limits, then reading stops; the broker stops sending
//!        when its own credit, the prefetch, is used up. After a long while without, the subscription is given up.

mod reader;
mod stream_check;

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::mpsc;

use self::reader::{Order, Reader, ReaderParts};
use crate::{
    actors::{
        pipeline::{dedupe::Split, writer::Committed},
        supervision::{
            exit::{Cause, Drain},
            log::SupervisionLog,
            position::PartitionPosition,
            vitals::{Supervised as _, Vitals, supervised},
        },
    },
    broker::streams::Streams,
    config,
    store::ingest::partitions::Claim,
    telemetry::{metrics::Metrics, readiness::Readiness},
};

pub struct Consumer {
    vitals: Vitals,
    orders: mpsc::UnboundedSender<Order>,
    /// Taken by the reading loop when the actor starts.
    reader: Option<Reader>,
}

pub struct ConsumerParts {
    pub streams: Streams,
    pub batch: config::Batch,
    pub claim: Claim,
    pub progress: PartitionPosition,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub log: SupervisionLog,
    pub dedupe: Recipient<Split>,
}

impl Consumer {
    pub fn new(parts: ConsumerParts, vitals: Vitals) -> Self {
        // As many orders wait as batches are in flight.
        let (orders, inbox) = mpsc::unbounded_channel();
        let reader = ReaderParts {
            streams: parts.streams,
            limits: parts.batch,
            partition: parts.claim.partition,
            progress: parts.progress,
            readiness: parts.readiness,
            metrics: parts.metrics,
            log: parts.log,
            working: Arc::new(vitals.work()),
            dedupe: parts.dedupe,
            inbox,
        };
        let reader = Reader::new(reader, parts.claim.next_offset, parts.claim.last_message);
        Self { vitals, orders, reader: Some(reader) }
    }
}

supervised!(Consumer);

impl Actor for Consumer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(reader) = self.reader.take() else { return };
        ctx.spawn(reader.run().into_actor(self).map(|end, actor, ctx| {
            actor.end_with(end.map_or_else(|error| error.into(), |()| Cause::Stopped), ctx);
        }));
    }
}

impl Handler<Committed> for Consumer {
    type Result = ();

    fn handle(&mut self, committed: Committed, _: &mut Self::Context) {
        // The loop is gone only when the actor is about to stop.
        let _ = self.orders.send(Order::Acknowledge { next_offset: committed.next_offset });
    }
}

impl Handler<Drain> for Consumer {
    type Result = ();

    /// Stops reading, waits for what is in flight, then ends.
    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        let _ = self.orders.send(Order::Drain);
    }
}
