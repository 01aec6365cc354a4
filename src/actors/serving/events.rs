//! Events: checks events that come by HTTP, and publishes them to the stream.
//! In: Check, Publish from http; End. Out: the judgements; events to the broker.
//! Failure: broker away → Unavailable to the caller, and a new connection for the next. What was sent may be in the
//!          stream all the same: sent again, it is counted once. Database away → its clock is reckoned on.
//! Bound: one request published at a time, QUEUE wait for that, each for at most query.wait_ms.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use chrono::Utc;
use tokio::time::timeout;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::{
    actors::{
        serving::{bounded_mutex::BoundedMutex, error::QueryError},
        supervision::{
            liveness::Working,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    broker::{
        self, BrokerError, Connection,
        publisher::{Outgoing, PublishError, Publisher},
        topology,
    },
    config::{self, Settings},
    domain::{
        event::Rules,
        submission::{Judgement, judge},
    },
    store::{
        Session,
        clock::{self, DatabaseClock, Reading},
    },
    telemetry::traces::spans,
};

/// Requests that may wait for their turn; each holds at most `http.max_body_bytes`.
const QUEUE: usize = 32;
/// How often the database is read for the time.
const CLOCK_EVERY: Duration = Duration::from_secs(30);

pub struct Events {
    bounds: config::Events,
    clock: DatabaseClock,
    /// The database has said what time it is.
    anchored: bool,
    /// Absent while the database is read.
    session: Option<Session>,
    /// Absent where publishing is switched off.
    outlet: Option<Outlet>,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct EventsParts {
    pub settings: Settings,
}

impl Events {
    pub fn new(EventsParts { settings }: EventsParts, vitals: Vitals) -> Self {
        Self {
            bounds: settings.events,
            // Until the database has said what time it is.
            clock: DatabaseClock::new(Utc::now()),
            anchored: false,
            outlet: settings.ingest.enabled.then(|| Outlet::new(&settings)),
            session: Some(Session::new(settings.database)),
            vitals,
        }
    }

    fn rules(&self) -> Rules {
        Rules { now: self.clock.now(), max_ahead: self.bounds.max_ahead(), retention: self.bounds.retention() }
    }

    fn observe(&mut self, now: &Reading) {
        if !std::mem::replace(&mut self.anchored, true) {
            // This machine's clock was only a guess: it may have been ahead.
            self.clock = DatabaseClock::new(now.at);
        }
        self.clock.observe(now);
    }

    fn read_the_clock(&mut self, ctx: &mut Context<Self>) {
        let work = async |session: &mut Session, _: &Working| session.run(async |conn| clock::read(conn).await).await;
        self.begin(ctx, work, |actor, now, _| match now {
            Ok(now) => actor.observe(&now),
            Err(error) => tracing::debug!(%error, "the database's clock is reckoned on"),
        });
    }
}

supervised!(Events, session: Session);

impl Actor for Events {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.read_the_clock(ctx);
        ctx.run_interval(CLOCK_EVERY, |actor, ctx| actor.read_the_clock(ctx));
    }
}

/// Is this an event?
#[derive(Message)]
#[rtype(result = "Judgement")]
pub struct Check(pub Vec<u8>);

impl Handler<Check> for Events {
    type Result = MessageResult<Check>;

    fn handle(&mut self, Check(body): Check, _: &mut Self::Context) -> Self::Result {
        MessageResult(judge(&body, &self.rules()))
    }
}

/// Let these get into the stream, if they are events. The response has a judgement for each, in their order; those that are
/// events are confirmed by the broker then.
#[derive(Message)]
#[rtype(result = "Result<Vec<Judgement>, NotPublished>")]
pub struct Publish {
    pub bodies: Vec<Vec<u8>>,
    /// The request's.
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    #[error("publishing is switched off")]
    Off,
    #[error(transparent)]
    Failed(#[from] QueryError),
}

impl Handler<Publish> for Events {
    type Result = ResponseFuture<Result<Vec<Judgement>, NotPublished>>;

    fn handle(&mut self, Publish { bodies, span }: Publish, _: &mut Self::Context) -> Self::Result {
        let (rules, outlet, working) = (self.rules(), self.outlet.clone(), self.vitals.work());
        let publish = async move {
            let _working = working;
            let outlet = outlet.ok_or(NotPublished::Off)?;
            let judged: Vec<Judgement> = bodies.iter().map(|body| judge(body, &rules)).collect();
            let events =
                judged.iter().zip(bodies).filter_map(|(judged, body)| Some((judged.as_ref().ok()?.org_id, body)));
            outlet.publish(events.collect()).await?;
            Ok(judged)
        };
        Box::pin(publish.instrument(span))
    }
}

/// Publishes one request's events at a time, each with a deadline.
#[derive(Clone)]
struct Outlet {
    link: BoundedMutex<BrokerConnection>,
    broker: Arc<config::Broker>,
    deadline: Duration,
}

impl Outlet {
    fn new(settings: &Settings) -> Self {
        let broker = Arc::new(settings.broker.clone());
        Self {
            link: BoundedMutex::new(
                BrokerConnection { broker: Arc::clone(&broker), open: None },
                QUEUE,
                settings.query.wait(),
            ),
            broker,
            deadline: settings.ingest.timeout(),
        }
    }

    async fn publish(&self, events: Vec<(Uuid, Vec<u8>)>) -> Result<(), QueryError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut link = self.link.lock().await?;
        let span = spans::publish(&self.broker.stream, events.len());
        let (topology, parent) = (self.broker.topology(), spans::parent_of(&span));
        let outgoing =
            |(org_id, body)| Outgoing { partition: topology.home_of(org_id), body: Arc::new(body), span: parent };
        let messages: Vec<Outgoing> = events.into_iter().map(outgoing).collect();
        let events = messages.len();
        let sent = timeout(self.deadline, link.send(messages)).await;
        let error = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => SendError::Broker(BrokerError::Timeout(self.deadline)),
        };
        link.open = None;
        spans::failed(&span, "unconfirmed");
        tracing::warn!(%error, events, "events of a request are not confirmed");
        Err(QueryError::Unavailable)
    }
}

/// The connection to the broker: opened when it is needed, given up at the first error.
struct BrokerConnection {
    broker: Arc<config::Broker>,
    open: Option<(Connection, Publisher)>,
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl BrokerConnection {
    async fn send(&mut self, messages: Vec<Outgoing>) -> Result<(), SendError> {
        if self.open.as_ref().is_none_or(|(connection, _)| !connection.status().connected()) {
            let connection = broker::connect(&self.broker, "events").await?;
            topology::declare(&connection, &self.broker).await?;
            let publisher = Publisher::open(&connection, &self.broker).await?;
            self.open = Some((connection, publisher));
        }
        let Some((_, publisher)) = &mut self.open else { return Ok(()) };
        for message in messages {
            publisher.publish(message).await?;
        }
        publisher.flush().await?;
        Ok(())
    }
}
