//! Corrections: stores what takes the place of dead letters, and publishes it to the stream.
//! In: Correct from http; Drain, End. Out: the outcome; events to the broker.
//! Failure: database away → Unavailable to the caller. Broker or database away → what is stored waits and is published
//!          when they are back, in place; what may be in the stream already is sent again, and counted once.
//! Bound: one correction stored at a time, QUEUE wait for that; ROUND corrections published at a time.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::time::timeout;
use uuid::Uuid;

pub use crate::store::ingest::corrections::Correction;
use crate::{
    actors::{
        serving::{
            bounded_mutex::BoundedMutex,
            error::{QueryError, refuse},
        },
        supervision::{
            backoff::Backoff,
            exit::Drain,
            liveness::Working,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    broker::{
        self, BrokerError,
        publisher::{Outgoing, PublishError, Publisher},
        topology,
    },
    config::{self, Settings},
    domain::{
        correction::{self, Outcome},
        trace::TraceParent,
    },
    store::{PgConnection, Session, StoreError, ingest::corrections as table, transaction::in_transaction},
    telemetry::traces::spans,
};

/// Corrections that may wait for their turn; each holds an event of at most `http.max_body_bytes`.
const QUEUE: usize = 32;
/// Corrections published in one transaction.
const ROUND: i64 = 100;
/// How often is looked for corrections that others stored, or left when they ended.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest that a round's rows stay locked while the broker does not confirm.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// Patient: each attempt may leave copies in the stream.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };

pub struct Corrections {
    store: Store,
    /// Absent while a round is under way.
    outbox: Option<Outbox>,
    /// Something was stored since the last round began.
    pending: bool,
    /// A round is under way or scheduled for when the broker or the database may be back.
    busy: bool,
    failures: u32,
    draining: bool,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct CorrectionsParts {
    pub settings: Settings,
}

impl Corrections {
    pub fn new(parts: CorrectionsParts, vitals: Vitals) -> Self {
        let store = Store::new(&parts.settings);
        let Settings { database, broker, .. } = parts.settings;
        Self {
            store,
            outbox: Some(Outbox { session: Session::new(database), broker }),
            pending: false,
            busy: false,
            failures: 0,
            draining: false,
            vitals,
        }
    }

    /// Publishes now, unless that is under way or waits for a dependency.
    fn wake(&mut self, ctx: &mut Context<Self>) {
        self.pending = true;
        if !self.busy {
            self.publish(ctx);
        }
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return;
        }
        self.busy = true;
        self.pending = false;
        let work = async |outbox: &mut Outbox, working: &Working| outbox.publish(working).await;
        self.begin(ctx, work, |actor, result, ctx| actor.published(&result, ctx));
    }

    fn published(&mut self, result: &Result<Round, OutboxError>, ctx: &mut Context<Self>) {
        if self.draining {
            // What is stored is published by the next process that runs.
            ctx.stop();
            return;
        }
        match result {
            Ok(round) => {
                self.failures = 0;
                self.busy = false;
                if self.pending || *round == Round::Full {
                    self.publish(ctx);
                }
            }
            Err(error) => {
                let delay = BACKOFF.delay(self.failures);
                tracing::warn!(%error, ?delay, "corrections wait to be published");
                self.failures = self.failures.saturating_add(1);
                ctx.run_later(delay, |actor, ctx| actor.publish(ctx));
            }
        }
    }
}

supervised!(Corrections, outbox: Outbox);

impl Actor for Corrections {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.wake(ctx);
        ctx.run_interval(INTERVAL, |actor, ctx| actor.wake(ctx));
    }
}

/// Let this event take the place of a dead letter.
#[derive(Message)]
#[rtype(result = "Result<Outcome, QueryError>")]
pub struct Correct(pub Correction);

impl Handler<Correct> for Corrections {
    type Result = ResponseActFuture<Self, Result<Outcome, QueryError>>;

    fn handle(&mut self, Correct(correction): Correct, _: &mut Self::Context) -> Self::Result {
        let store = self.store.clone();
        let work = async move { store.store(&correction).await };
        Box::pin(work.into_actor(self).map(|outcome, actor, ctx| {
            if matches!(outcome, Ok(Outcome::Accepted { .. })) {
                actor.wake(ctx);
            }
            outcome
        }))
    }
}

impl Handler<Drain> for Corrections {
    type Result = ();

    /// Finishes the round that is under way, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        if self.outbox.is_some() {
            ctx.stop();
        }
    }
}

/// Stores one correction at a time, each with a deadline.
#[derive(Clone)]
struct Store {
    session: BoundedMutex<Session>,
    bounds: config::Events,
    deadline: Duration,
}

impl Store {
    fn new(settings: &Settings) -> Self {
        Self {
            session: BoundedMutex::new(Session::new(settings.database.clone()), QUEUE, settings.query.wait()),
            bounds: settings.events,
            deadline: settings.query.statement_timeout(),
        }
    }

    async fn store(&self, correction: &Correction) -> Result<Outcome, QueryError> {
        let mut session = self.session.lock().await?;
        let work = session.run(async |conn| table::correct(conn, correction, &self.bounds).await);
        let result = timeout(self.deadline, work).await.unwrap_or(Err(StoreError::Timeout(self.deadline)));
        // Neither the event nor what is wrong with it: a caller's data is not for the log.
        let span = tracing::warn_span!("correction", dead_letter_id = %correction.dead_letter_id);
        result.map_err(|error| span.in_scope(|| refuse(&error, "a correction could not be stored")))
    }
}

/// What became of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// As many as one round takes: there may be more.
    Full,
    Done,
}

/// Why corrections wait.
#[derive(Debug, thiserror::Error)]
enum OutboxError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("broker: not confirmed within {} ms", CONFIRM_WITHIN.as_millis())]
    Unconfirmed,
}

/// Takes stored corrections to the broker.
struct Outbox {
    session: Session,
    broker: config::Broker,
}

impl Outbox {
    async fn publish(&mut self, working: &Working) -> Result<Round, OutboxError> {
        if !self.session.run(table::any_waiting).await? {
            return Ok(Round::Done);
        }
        working.beat();
        // For as long as it is needed, which is seldom; and before rows are locked.
        let connection = broker::connect(&self.broker, "corrections").await?;
        topology::declare(&connection, &self.broker).await?;
        let publisher = Publisher::open(&connection, &self.broker).await?;
        working.beat();
        let round = self.round(publisher).await?;
        broker::close(&connection, &self.broker).await;
        Ok(round)
    }

    /// Publishes and marks in one transaction: no other process takes the same corrections meanwhile, and what is
    /// marked is confirmed. Ended in between, it leaves copies in the stream, which are recognised as such.
    async fn round(&mut self, publisher: Publisher) -> Result<Round, OutboxError> {
        let Self { session, broker } = self;
        let round = async |tx: &mut PgConnection| {
            let waiting = table::claim(tx, ROUND).await?;
            let ids: Vec<Uuid> = waiting.iter().map(|one| one.dead_letter_id).collect();
            let span = spans::publish(&broker.stream, ids.len());
            let parent = spans::parent_of(&span);
            let messages = waiting.into_iter().map(|one| outgoing(one.correction, parent, broker));
            if let Err(error) = send(publisher, messages).await {
                return Ok(Err(error));
            }
            table::replayed(tx, &ids).await?;
            Ok(Ok(ids))
        };
        let ids = session.run(async |conn| in_transaction(conn, round).await).await??;
        if !ids.is_empty() {
            tracing::info!(corrections = ids.len(), "corrections were published");
        }
        Ok(if i64::try_from(ids.len()).is_ok_and(|count| count < ROUND) { Round::Done } else { Round::Full })
    }
}

async fn send(mut publisher: Publisher, messages: impl Iterator<Item = Outgoing>) -> Result<(), OutboxError> {
    let sent = async {
        for message in messages {
            publisher.publish(message).await?;
        }
        publisher.flush().await
    };
    Ok(timeout(CONFIRM_WITHIN, sent).await.map_err(|_| OutboxError::Unconfirmed)??)
}

/// To the home of its org. One without a readable org goes where it is rejected again.
fn outgoing(correction: Vec<u8>, span: Option<TraceParent>, broker: &config::Broker) -> Outgoing {
    let partition = correction::org_of(&correction).map_or(0, |org_id| broker.topology().home_of(org_id));
    Outgoing { partition, body: Arc::new(correction), span }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        audit::{self, AuditEvent, Outcome},
        dead_letter::LetterScope,
    };

    fn settings() -> Settings {
        let variables = [("ANALYTICS__BROKER__PARTITIONS", "4")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Settings::from_variables(variables.into()).unwrap()
    }

    #[test]
    fn a_correction_goes_to_its_orgs_home_partition() {
        let broker = settings().broker;
        let to = |body: &str| outgoing(body.as_bytes().to_vec(), None, &broker).partition;
        // A route of the reference implementation; see domain/partition.rs.
        assert_eq!(to(r#"{"eventId":"x","orgId":"f47ac10b-58cc-4372-a567-0e02b2c3d479"}"#), 2);
        assert_eq!(to("no event"), 0);
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_without_a_wait() {
        let store = Store::new(&settings());
        let _all = store.session.queue.try_acquire_many(u32::try_from(QUEUE).unwrap()).unwrap();
        let (whose, body, by) = (LetterScope::Any, Vec::new(), String::new());
        let act = AuditEvent::new(audit::Actor::command_line(by.clone()), "dead_letter.correct", Outcome::Allowed);
        let refused = store.store(&Correction { whose, dead_letter_id: Uuid::nil(), body, by, act }).await;
        assert_eq!(refused, Err(QueryError::Busy));
    }
}
