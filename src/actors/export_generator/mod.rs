//! Export: generates the files of export jobs.
//! In: Wake from the actor where they are requested; Drain, End. Out: objects into the store.
//! Failure: database away → looked again later. A file that cannot be generated now → its job waits for its next attempt; out of
//!          attempts, or where waiting does not help, it has failed, with the reason. Killed → its job is taken over.
//! Bound: one job at a time an actor; two parts of a file in memory.

pub mod check;
mod copy;
pub mod error;
pub mod generate;
pub mod sweep;
pub mod worker;

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::sync::Notify;

use crate::actors::supervision::{
    exit::Drain,
    liveness::Working,
    vitals::{OneAtATime as _, Vitals, supervised},
};
use worker::{Looked, Worker, WorkerParts};

pub struct Export {
    /// Absent while it looks or works.
    worker: Option<Worker>,
    /// Has a worker that is at work give its job back.
    stop: Arc<Notify>,
    poll: Duration,
    /// Somebody requested a file since it began to look.
    woken: bool,
    draining: bool,
    vitals: Vitals,
}

impl Export {
    pub fn new(parts: WorkerParts, vitals: Vitals) -> Self {
        let poll = parts.settings.exports.poll();
        let worker = Some(Worker::new(parts));
        Self { worker, stop: Arc::default(), poll, woken: false, draining: false, vitals }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.woken = self.is_at_work();
        let stop = Arc::clone(&self.stop);
        let work = async move |worker: &mut Worker, working: &Working| worker.look(|| working.beat(), &stop).await;
        self.begin(ctx, work, |actor, looked, ctx| {
            if actor.draining {
                ctx.stop();
            } else if looked == Looked::Worked || actor.woken {
                actor.look(ctx);
            }
        });
    }
}

supervised!(Export, worker: Worker);

impl Actor for Export {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.poll, |actor, ctx| {
            if actor.worker.is_some() {
                actor.look(ctx);
            }
        });
    }
}

/// Somebody has requested a file.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake;

impl Handler<Wake> for Export {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<Drain> for Export {
    type Result = ();

    /// Gives its job back, for another process to take at once, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        if self.worker.is_some() {
            ctx.stop();
        } else {
            self.stop.notify_one();
        }
    }
}
