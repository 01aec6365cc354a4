//! Audit: records who did what, before it is done.
//! In: Record from http; the backlog; Drain, End. Out: rows, and the response that they are there.
//! Failure: database away → the caller gets an error within RECORD_WITHIN, and must not go on; the backlog waits.
//! Bound: one statement at a time, of what has come meanwhile; QUEUE requests wait for it. The backlog has
//!        its own bounds, and is taken BACKLOG_AT_ONCE of a kind at each look, so that no caller can fill the log.

mod backlog;
mod tally;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::{
    actors::supervision::{
        backoff::Backoff,
        exit::Drain,
        liveness::Working,
        vitals::{OneAtATime as _, Vitals, supervised},
    },
    config::Settings,
    domain::audit::AuditEvent,
    store::{self, Session},
    telemetry::traces::spans,
};

pub use backlog::Backlog;
use backlog::Taken;

/// Longest that a request waits for its events to be rows.
pub const RECORD_WITHIN: Duration = Duration::from_millis(800);
/// Requests that may wait.
const QUEUE: usize = 1024;
/// Events of one statement, roughly: a request's events stay together.
const AT_ONCE: usize = 1000;
/// How often the backlog is looked at, and how many of a kind are taken.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const BACKLOG_AT_ONCE: usize = 100;

pub struct Audit {
    waiting: VecDeque<Waiting>,
    backlog: Backlog,
    /// Absent while a statement is under way.
    session: Option<Session>,
    /// Events of that statement.
    at_work: usize,
    failures: u32,
    /// The backlog is not tried again before that.
    rest_until: Instant,
    draining: bool,
    vitals: Vitals,
}

/// A request that waits until its events are rows.
struct Waiting {
    events: Vec<AuditEvent>,
    since: Instant,
    result: oneshot::Sender<Result<(), NotRecorded>>,
}

#[derive(Clone)]
pub struct AuditParts {
    pub settings: Settings,
    pub backlog: Backlog,
}

impl Audit {
    pub fn new(parts: AuditParts, vitals: Vitals) -> Self {
        Self {
            waiting: VecDeque::new(),
            backlog: parts.backlog,
            session: Some(Session::new(parts.settings.database)),
            at_work: 0,
            failures: 0,
            rest_until: Instant::now(),
            draining: false,
            vitals,
        }
    }

    /// Records what waits, unless a statement is under way.
    fn record(&mut self, backlog: Taken, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return self.backlog.put_back(backlog);
        }
        let waiting = self.next();
        if waiting.is_empty() && backlog.is_empty() {
            if self.draining {
                ctx.stop();
            }
            return;
        }
        let events: Vec<AuditEvent> =
            waiting.iter().flat_map(|request| request.events.clone()).chain(backlog.rows()).collect();
        self.at_work = events.len();
        let work = async move |session: &mut Session, _: &Working| {
            let recording =
                session.run_within(RECORD_WITHIN, async |conn| store::access::audit::record(conn, &events).await);
            let span = spans::audit();
            let recorded = recording.instrument(span.clone()).await;
            recorded.inspect_err(|error| spans::failed(&span, error.kind()))
        };
        self.begin(ctx, work, |actor, recorded, ctx| {
            actor.at_work = 0;
            let result = recorded.as_ref().map_err(|_| NotRecorded).copied();
            for request in waiting {
                // Who has given up meanwhile has not gone on either.
                let _ = request.result.send(result);
            }
            if let Err(error) = recorded {
                tracing::warn!(%error, "the audit log waits for the database");
                actor.backlog.put_back(backlog);
                actor.rest_until = Instant::now() + Backoff::DEPENDENCY.delay(actor.failures);
                actor.failures = actor.failures.saturating_add(1);
                if actor.draining {
                    return ctx.stop();
                }
            } else {
                actor.failures = 0;
            }
            let more = if actor.draining { actor.backlog.take(AT_ONCE, true) } else { Taken::default() };
            actor.record(more, ctx);
        });
    }

    /// The requests of the next statement. One that has waited too long was refused, and what it requested is not done.
    fn next(&mut self) -> Vec<Waiting> {
        let mut taken = Vec::new();
        let mut events = 0;
        while events < AT_ONCE
            && let Some(waiting) = self.waiting.pop_front()
        {
            if waiting.since.elapsed() < RECORD_WITHIN {
                events += waiting.events.len();
                taken.push(waiting);
            }
        }
        taken
    }
}

supervised!(Audit, session: Session);

impl Actor for Audit {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |actor, ctx| {
            let asked: usize = actor.waiting.iter().map(|waiting| waiting.events.len()).sum();
            actor.backlog.show(asked + actor.at_work);
            if actor.rest_until > Instant::now() {
                return;
            }
            let backlog = actor.backlog.take(BACKLOG_AT_ONCE, false);
            actor.record(backlog, ctx);
        });
    }
}

/// The act is not recorded, or that is unknown: it must not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct NotRecorded;

/// Record these. The result comes when they are committed.
#[derive(Message)]
#[rtype(result = "Result<(), NotRecorded>")]
pub struct Record(pub Vec<AuditEvent>);

impl Handler<Record> for Audit {
    type Result = ResponseFuture<Result<(), NotRecorded>>;

    fn handle(&mut self, Record(events): Record, ctx: &mut Self::Context) -> Self::Result {
        if self.waiting.len() >= QUEUE || self.draining {
            return Box::pin(async { Err(NotRecorded) });
        }
        let (result, recorded) = oneshot::channel();
        self.waiting.push_back(Waiting { events, since: Instant::now(), result });
        self.record(Taken::default(), ctx);
        // Closed: it waited for too long, or the actor has ended.
        Box::pin(async move { recorded.await.unwrap_or(Err(NotRecorded)) })
    }
}

impl Handler<Drain> for Audit {
    type Result = ();

    /// Records what is left, if the database takes it, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        let backlog = self.backlog.take(AT_ONCE, true);
        self.record(backlog, ctx);
    }
}
