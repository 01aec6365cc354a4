//! Recorder: writes the supervision log into the database.
//! In: Drain, End; events from the log. Out: nothing.
//! Failure: database away → events wait in the log, which keeps a bounded number of them.
//! Bound: one write at a time, of a limited number of events.

use std::time::Duration;

use actix::prelude::*;

use crate::{
    actors::supervision::{
        exit::Drain,
        liveness::Working,
        log::SupervisionLog,
        vitals::{OneAtATime as _, Vitals, supervised},
    },
    config::Settings,
    store::{self, Session},
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
    vitals: Vitals,
}

#[derive(Clone)]
pub struct RecorderParts {
    pub settings: Settings,
    pub log: SupervisionLog,
}

impl Recorder {
    pub fn new(parts: RecorderParts, vitals: Vitals) -> Self {
        Self { log: parts.log, session: Some(Session::new(parts.settings.database)), draining: false, vitals }
    }

    fn record(&mut self, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return;
        }
        let events = self.log.unrecorded(AT_ONCE);
        if events.is_empty() {
            if self.draining {
                ctx.stop();
            }
            return;
        }
        let work = async move |session: &mut Session, _: &Working| {
            let recorded = session.run(async |conn| store::supervision::record(conn, &events).await).await;
            (events, recorded)
        };
        self.begin(ctx, work, |actor, (events, recorded), ctx| match recorded {
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
        });
    }
}

supervised!(Recorder, session: Session);

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
