//! The REST API and the operations port. One resource a file.
//!
//! A request passes [`observe`] (its id, its metric, its log line, errors turned into problems), then the extractor
//! [`Authorized`] (credential, org, permission: before anything is read), then a handler that reads its parameters and
//! sends a message to a query actor, or to the one that stores corrections. `routes` lists what there is, `openapi`
//! describes it, `error` has the one mapping to RFC 7807.

mod access;
mod api_keys;
mod attempts;
mod attribution;
mod audit;
mod client_address;
mod console;
mod credential;
mod data_life;
mod dead_letters;
mod deliver;
mod description;
mod downloads;
mod error;
mod event;
mod events;
mod examples;
mod exports;
mod freshness;
mod gatekeeper;
mod idempotency;
mod in_flight;
mod json_body;
mod ledger;
mod limiter;
mod limits;
mod log_lines;
mod me;
mod names;
mod observe;
pub mod openapi;
mod operations;
mod ops;
mod params;
mod queries;
mod reliability;
mod report;
mod revisions;
mod routes;
mod send;
mod server;
mod sockets;
mod summary;
#[cfg(test)]
mod tests;
mod usage;

use std::time::Duration;

use actix::Addr;
use actix_cors::Cors;
use actix_web::{
    App, Error, HttpResponse,
    body::BoxBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{
            ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG,
            HeaderName, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
        },
    },
    middleware::{Compress, Condition, from_fn},
    web,
};
use chrono::TimeDelta;
use serde::Serialize;

use crate::{
    actors::{
        serving::corrections::Correct,
        supervision::{actor_ref::ActorRef, log::SupervisionLog, registry::Registry, supervisor::Supervisor},
    },
    config::Settings,
    domain::console::ConsolePort,
    telemetry::{metrics::Metrics, readiness::Readiness},
};
use deliver::deliver;
use description::Description;
use error::Problem;
use observe::{Observer, X_REQUEST_ID, bound_body, observe};

pub use api_keys::KeyRefs;
pub use console::{Console, SessionRefs};
pub use data_life::Kept;
pub use events::EventRefs;
pub use exports::ExportRefs;
pub use gatekeeper::Gatekeeper;
pub use names::NameRefs;
pub use queries::Queries;
pub use server::{BindError, Listening, serve_api, serve_ops};
pub use sockets::check_self;

/// The names of the ports, for metrics and logs.
const API_PORT: &str = "api";
const OPERATIONS_PORT: &str = "operations";

/// What handlers make responses from.
pub struct Api {
    pub gatekeeper: Gatekeeper,
    pub queries: Queries,
    pub corrections: ActorRef<Correct>,
    pub events: EventRefs,
    pub keys: KeyRefs,
    pub names: NameRefs,
    pub exports: ExportRefs,
    /// How long after its end, by the watermark, a bucket counts as final.
    pub late_after: TimeDelta,
    /// Longest that a handler waits for an actor; its own deadlines end sooner.
    pub response_timeout: Duration,
    pub metrics: Metrics,
    pub max_body_bytes: usize,
    /// Longest that a request's body may take.
    pub body_within: Duration,
    /// Whose pages may read the API.
    pub cors_origins: Vec<String>,
    pub readiness: Readiness,
    /// None: it is switched off.
    pub console: Option<Console>,
}

/// The actors that are not reached through [`Queries`].
#[derive(Clone, Default)]
pub struct ActorRefs {
    pub corrections: ActorRef<Correct>,
    pub events: EventRefs,
    pub keys: KeyRefs,
    pub names: NameRefs,
    pub exports: ExportRefs,
}

impl Api {
    pub fn new(
        settings: &Settings,
        gatekeeper: Gatekeeper,
        refs: ActorRefs,
        queries: Queries,
        metrics: Metrics,
        readiness: Readiness,
    ) -> Self {
        Self {
            gatekeeper,
            queries,
            corrections: refs.corrections,
            keys: refs.keys,
            names: refs.names,
            exports: refs.exports,
            events: EventRefs { response_timeout: settings.ingest.response_timeout(&settings.query), ..refs.events },
            late_after: settings.events.late_after(),
            response_timeout: settings.query.response_timeout(),
            metrics,
            max_body_bytes: settings.http.max_body_bytes,
            body_within: settings.http.body_timeout(),
            cors_origins: settings.http.cors_origins().map(str::to_owned).collect(),
            readiness,
            console: Console::new(settings, ConsolePort::Api),
        }
    }
}

/// What the operations port shows, and what it can change.
#[derive(Clone)]
pub struct Ops {
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub gatekeeper: Gatekeeper,
    pub registry: Registry,
    pub log: SupervisionLog,
    pub supervisor: Addr<Supervisor>,
    pub queries: Queries,
    /// Longest that a handler waits for a query actor.
    pub response_timeout: Duration,
    /// Whether operators may make actors fail on purpose.
    pub drills: bool,
    pub retention: Vec<Kept>,
    /// None: it is switched off.
    pub console: Option<Console>,
}

/// The REST API: every route of it.
fn api(api: web::Data<Api>) -> App<impl Application> {
    let observer = Observer {
        metrics: api.metrics.clone(),
        traffic: api.metrics.traffic(API_PORT),
        max_body_bytes: api.max_body_bytes,
        body_within: api.body_within,
        lines: api.gatekeeper.limits.lines.clone(),
        closes: api.readiness.clone(),
    };
    let (cors_origins, console) = (api.cors_origins.clone(), api.console.clone());
    App::new()
        .app_data(web::PayloadConfig::new(api.max_body_bytes))
        .app_data(web::Data::new(observer))
        .app_data(web::Data::new(api.gatekeeper.clone()))
        .app_data(web::Data::new(Description(openapi::text)))
        .app_data(api)
        .configure(|config| routes::put(routes::rest(), config))
        .configure(|config| put_console(console, config))
        .default_service(web::to(not_found))
        .wrap(from_fn(deliver))
        .wrap(Compress::default())
        .wrap(from_fn(bound_body))
        .wrap(Condition::new(!cors_origins.is_empty(), cors(&cors_origins)))
        .wrap(from_fn(observe))
}

/// Lets pages of these origins read the API. They bring a credential of their own: cookies are not sent.
fn cors(origins: &[String]) -> Cors {
    let allowed = [
        AUTHORIZATION,
        CONTENT_TYPE,
        IF_NONE_MATCH,
        IF_RANGE,
        RANGE,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
        HeaderName::from_static("x-api-key"),
        X_REQUEST_ID,
    ];
    let exposed =
        [ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, ETAG, LOCATION, RETRY_AFTER, report::AS_OF, X_REQUEST_ID];
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allowed_headers(allowed)
        .expose_headers(exposed)
        .max_age(600);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// The operations port.
fn ops(ops: Ops) -> App<impl Application> {
    // Only signing in to the console has a body.
    let (max_body_bytes, body_within) =
        ops.console.as_ref().map_or((0, Duration::ZERO), |console| (console::MAX_BODY, console.body_within));
    let observer = Observer {
        metrics: ops.metrics.clone(),
        traffic: ops.metrics.traffic(OPERATIONS_PORT),
        max_body_bytes,
        body_within,
        lines: ops.gatekeeper.limits.lines.clone(),
        // To the end: its clients see how it goes.
        closes: Readiness::default(),
    };
    let console = ops.console.clone();
    App::new()
        .app_data(web::Data::new(observer))
        .app_data(web::Data::new(ops.gatekeeper.clone()))
        .app_data(web::Data::new(ops))
        .configure(|config| routes::put(routes::operations_port(), config))
        .configure(|config| put_console(console, config))
        .default_service(web::to(not_found))
        .wrap(from_fn(bound_body))
        .wrap(from_fn(observe))
}

/// Puts the console into an application, unless it is switched off.
fn put_console(console: Option<Console>, config: &mut web::ServiceConfig) {
    if let Some(console) = console {
        config.app_data(web::Data::new(console));
        routes::put(routes::console(), config);
    }
}

/// What an `App` is to a server and to a test.
trait Application:
    ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>
{
}

impl<F> Application for F where
    F: ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>
{
}

/// 200 with a body that no cache keeps: it is one org's, and a second later it is another.
fn json(body: &impl Serialize) -> HttpResponse {
    json_with(StatusCode::OK, body)
}

fn json_with(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "private, no-store")).json(body)
}

/// What was created, or is on its way, with where it is.
fn json_at(status: StatusCode, place: String, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((LOCATION, place))
        .json(body)
}

async fn not_found() -> Result<(), Problem> {
    Err(Problem::NotFound)
}
