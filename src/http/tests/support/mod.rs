//! A query actor with fixed responses, and an API in front of it.

mod access;
mod attribution;
mod calls;
mod dead_letters;
mod events;
pub mod exports;
mod names;
mod operations;
mod reports;

use std::time::Duration;

use actix::{Actor, Context, Handler};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    actors::{
        serving::{
            error::QueryError,
            query::{Execute, ReadQuery},
        },
        supervision::actor_ref::ActorRef,
    },
    config::Settings,
    domain::console::ConsolePort,
    http::{Api, Console, EventRefs, KeyRefs, NameRefs, Queries},
    telemetry::{metrics::Metrics, readiness::Readiness},
};
use events::{FixedRules, rules};

pub use access::*;
pub use calls::*;
pub use dead_letters::LETTER;
pub use operations::operations;

pub const ORG: Uuid = Uuid::from_u128(0xA);
pub const OTHER_ORG: Uuid = Uuid::from_u128(0xB);
pub const MODEL: Uuid = Uuid::from_u128(0xC);
/// From here on, no org has used a model.
pub const MADE_UP_MODELS: Uuid = Uuid::from_u128(1 << 64);

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The defaults.
pub fn settings() -> Settings {
    Settings::from_variables([].into()).unwrap()
}

/// A query whose response is always the same.
trait Fixed: ReadQuery {
    fn response(self) -> Self::Response;
}

/// Gives every query its fixed response, or all of them with an error.
pub struct FixedResponses {
    pub error: Option<QueryError>,
}

impl Actor for FixedResponses {
    type Context = Context<Self>;
}

impl<Q: Fixed> Handler<Execute<Q>> for FixedResponses {
    type Result = Result<Q::Response, QueryError>;

    fn handle(&mut self, Execute { query, .. }: Execute<Q>, _: &mut Self::Context) -> Self::Result {
        self.error.map_or_else(|| Ok(query.response()), Err)
    }
}

/// An API whose query actor fails with `error`, or responds.
pub fn api_with(error: Option<QueryError>) -> Api {
    let queries = Queries::default();
    let actor = FixedResponses { error }.start();
    queries.set(0, &actor);
    let corrections = ActorRef::default();
    corrections.set(actor.recipient());
    let events = EventRefs { response_timeout: Duration::from_secs(5), ..EventRefs::default() };
    let checker = FixedRules.start();
    events.check.set(checker.clone().recipient());
    events.publish.set(checker.recipient());
    let keys = KeyRefs::default();
    let keeper = FixedKeys { error }.start();
    keys.create.set(keeper.clone().recipient());
    keys.list.set(keeper.clone().recipient());
    keys.get.set(keeper.clone().recipient());
    keys.revoke.set(keeper.recipient());
    let namer = names::FixedNames { error }.start();
    let names = NameRefs::default();
    names.put.set(namer.clone().recipient());
    names.delete.set(namer.recipient());
    Api {
        gatekeeper: gatekeeper(&auth_settings()),
        queries,
        corrections,
        events,
        keys,
        names,
        exports: exports::fixed(error, false),
        late_after: TimeDelta::hours(1),
        response_timeout: Duration::from_secs(5),
        metrics: Metrics::default(),
        max_body_bytes: 1024,
        body_within: Duration::from_secs(5),
        cors_origins: vec!["https://dashboards.example.org".to_owned()],
        readiness: Readiness::default(),
        console: Console::new(&settings(), ConsolePort::Api),
    }
}
