//! Recorder: writes the supervision log into the database.
//! In: Drain, End; events from the log. Out: nothing.
//! Failure: database away → events wait in the log, which keeps a bounded number of them.
//! Bound: one write at a time, of a limited number of events.

use std::time::Duration;

use actix::prelude::*;

use crate::{
    actors::supervision::{
        exit::{Drain, End, ExitGuard},
        liveness::Liveness,
        log::SupervisionLog,
    },
    config::Settings,
    domain::supervision::SupervisionEvent,
    store::{self, Session, StoreError},
};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Events that one statement records.
const AT_ONCE: usize = 200;

pub struct Recorder {
    log: SupervisionLog,
    /// Absent while a write is under way.
    session: Option<Session>,
    draining: bool,
    liveness: Liveness,
    #[expect(dead_code, reason = "reports the actor's end when it is dropped")]
    exit: ExitGuard,
}

pub struct RecorderParts {
    pub settings: Settings,
    pub log: SupervisionLog,
    pub liveness: Liveness,
    pub exit: ExitGuard,
}

impl Recorder {
    pub fn new(parts: RecorderParts) -> Self {
        Self {
            log: parts.log,
            session: Some(Session::new(parts.settings.database)),
            draining: false,
            liveness: parts.liveness,
            exit: parts.exit,
        }
    }

    fn record(&mut self, ctx: &mut Context<Self>) {
        let Some(mut session) = self.session.take() else { return };
        let events = self.log.unrecorded(AT_ONCE);
        if events.is_empty() {
            self.session = Some(session);
            if self.draining {
                ctx.stop();
            }
            return;
        }
        let working = self.liveness.work();
        let work = async move {
            let recorded = write(&mut session, &events).await;
            (session, events, recorded)
        };
        ctx.spawn(work.into_actor(self).map(move |(session, events, recorded), actor, ctx| {
            drop(working);
            actor.session = Some(session);
            match recorded {
                Ok(()) => {
                    actor.log.recorded(&events);
                    actor.record(ctx);
                }
                Err(error) => {
                    tracing::warn!(%error, events = events.len(), "supervision events wait for the database");
                    if actor.draining {
                        ctx.stop();
                    }
                }
            }
        }));
    }
}

async fn write(session: &mut Session, events: &[SupervisionEvent]) -> Result<(), StoreError> {
    session.run(async |conn| store::supervision::record(conn, events).await).await
}

impl Actor for Recorder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |actor, ctx| actor.record(ctx));
    }
}

impl Handler<Drain> for Recorder {
    type Result = ();

    /// Records what is left, if the database takes it, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.record(ctx);
    }
}

impl Handler<End> for Recorder {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        end.obey(&self.liveness, ctx);
    }
}
