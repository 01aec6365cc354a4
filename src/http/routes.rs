//! Every route, in two tables: the API's and the operations port's.
//!
//! A handler gets into a table by [`get`] or [`post`], which want a [`Gate`] as its first argument: one that forgets to
//! ask who calls does not compile. What everybody may read is said to be [`open`].

use actix_web::{
    FromRequest, Handler, Resource, Responder, Route as Handling, guard,
    http::Method,
    web::{self, ServiceConfig},
};

use super::{
    access::{Authenticated, Authorized, AuthorizedAnywhere, AuthorizedBody, Needs, Operator},
    api_keys, audit, dead_letters, description, downloads,
    error::Problem,
    event, events, exports, freshness, ledger, me, operations, ops, reliability, revisions, summary, usage,
};
use crate::auth::{Permission, Role};

/// The API's routes. One path's stand together.
pub fn rest() -> Vec<Route> {
    vec![
        get("/analytics/v1/me", me::get),
        get("/analytics/v1/orgs/{orgId}/usage", usage::get),
        get("/analytics/v1/orgs/{orgId}/reliability", reliability::get),
        get("/analytics/v1/orgs/{orgId}/freshness", freshness::get),
        get("/analytics/v1/orgs/{orgId}/ledger", ledger::get),
        get("/analytics/v1/orgs/{orgId}/revisions", revisions::get),
        get("/analytics/v1/orgs/{orgId}/events/{eventId}", event::get),
        get("/analytics/v1/orgs/{orgId}/dead-letters", dead_letters::list),
        get("/analytics/v1/orgs/{orgId}/dead-letters/{id}", dead_letters::get),
        post("/analytics/v1/orgs/{orgId}/dead-letters/{id}/replay", dead_letters::replay),
        get("/analytics/v1/summary", summary::get),
        get("/analytics/v1/dead-letters", dead_letters::list_unreadable),
        get("/analytics/v1/dead-letters/{id}", dead_letters::get_unreadable),
        post("/analytics/v1/events/validate", events::validate),
        post("/analytics/v1/events", events::publish),
        get("/analytics/v1/orgs/{orgId}/api-keys", api_keys::list),
        post("/analytics/v1/orgs/{orgId}/api-keys", api_keys::create),
        get("/analytics/v1/orgs/{orgId}/api-keys/{keyId}", api_keys::get),
        post("/analytics/v1/orgs/{orgId}/api-keys/{keyId}/revoke", api_keys::revoke),
        get("/analytics/v1/orgs/{orgId}/exports", exports::list),
        post("/analytics/v1/orgs/{orgId}/exports", exports::create),
        get("/analytics/v1/orgs/{orgId}/exports/{jobId}", exports::get),
        get("/analytics/v1/orgs/{orgId}/exports/{jobId}/download", exports::download),
        post("/analytics/v1/orgs/{orgId}/exports/{jobId}/verify", exports::verify),
        post("/analytics/v1/orgs/{orgId}/exports/{jobId}/cancel", exports::cancel),
        // The link's signature authorizes.
        Route { pattern: "/analytics/v1/downloads/{key:.+}", ..open("/analytics/v1/downloads/{key}", downloads::get) },
        get("/analytics/v1/audit", audit::list),
        open("/openapi.json", description::get),
    ]
}

/// The operations port's. No request to it has a body.
pub fn operations_port() -> Vec<Route> {
    vec![
        open("/healthz", ops::healthz),
        open("/readyz", ops::readyz),
        open("/metrics", ops::metrics),
        open("/ops/actors", operations::actors),
        open("/ops/partitions", operations::partitions),
        open("/ops/supervision", operations::supervision),
        // An actor's name has a slash in it.
        post("/ops/actors/{name:[a-z0-9/-]+}/restart", operations::restart),
        post("/ops/actors/{name:[a-z0-9/-]+}/drill", operations::drill),
    ]
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a credential.
    Open,
    /// Whoever has a credential that is accepted.
    Authenticated,
    /// Who may do this to the org of the path.
    Org(Permission),
    /// Who may do this to every org that the body names.
    Body(Permission),
    /// Who may do this where no org, or every org, is concerned.
    Anywhere(Permission),
    /// Operators.
    Operator,
}

impl Access {
    /// The roles that open the route; none where it is open to all.
    pub fn roles(self) -> Vec<Role> {
        Role::ALL
            .into_iter()
            .filter(|role| match self {
                Self::Open => false,
                Self::Authenticated => true,
                Self::Org(permission) | Self::Body(permission) | Self::Anywhere(permission) => role.may(permission),
                Self::Operator => *role == Role::Operator,
            })
            .collect()
    }
}

/// An argument of a handler that authorizes the caller.
pub trait Gate {
    const ACCESS: Access;
}

impl Gate for Authenticated {
    const ACCESS: Access = Access::Authenticated;
}

impl<P: Needs> Gate for Authorized<P> {
    const ACCESS: Access = Access::Org(P::PERMISSION);
}

impl<P: Needs> Gate for AuthorizedAnywhere<P> {
    const ACCESS: Access = Access::Anywhere(P::PERMISSION);
}

impl<P: Needs> Gate for AuthorizedBody<P> {
    const ACCESS: Access = Access::Body(P::PERMISSION);
}

impl Gate for Operator {
    const ACCESS: Access = Access::Operator;
}

/// Arguments of which the first is a gate. Extractors are asked in order, so nothing is read before it.
pub trait Gated {
    const ACCESS: Access;
}

macro_rules! gated {
    ($($rest:ident)*) => {
        impl<G: Gate, $($rest),*> Gated for (G, $($rest,)*) {
            const ACCESS: Access = G::ACCESS;
        }
    };
}

gated!();
gated!(A);
gated!(A B);
gated!(A B C);
gated!(A B C D);

pub struct Route {
    pub method: Method,
    /// With its parameters.
    pub path: &'static str,
    /// The same as actix reads it, where a parameter may hold slashes.
    pattern: &'static str,
    pub access: Access,
    handling: Handling,
}

fn get<F, Args>(path: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + Gated + 'static,
    F::Output: Responder + 'static,
{
    Route { method: Method::GET, path, pattern: path, access: Args::ACCESS, handling: reading().to(handler) }
}

fn post<F, Args>(path: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + Gated + 'static,
    F::Output: Responder + 'static,
{
    Route { method: Method::POST, path, pattern: path, access: Args::ACCESS, handling: web::post().to(handler) }
}

/// Reads what belongs to no org.
fn open<F, Args>(path: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Route { method: Method::GET, path, pattern: path, access: Access::Open, handling: reading().to(handler) }
}

/// HEAD is GET without the body (RFC 9110, section 9.1).
fn reading() -> Handling {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Puts a table into an application. A path that is there answers other methods with those that it has.
pub fn put(routes: Vec<Route>, config: &mut ServiceConfig) {
    let mut routes = routes.into_iter().peekable();
    while let Some(Route { path, pattern, method, handling, .. }) = routes.next() {
        let mut resource = with(web::resource(pattern), handling);
        let mut methods = vec![method];
        while let Some(Route { method, handling, .. }) = routes.next_if(|next| next.path == path) {
            resource = with(resource, handling);
            methods.push(method);
        }
        let allow = allow(&methods);
        let refuse = move || {
            let allow = allow.clone();
            async move { Err::<(), _>(Problem::MethodNotAllowed { allow }) }
        };
        config.service(resource.default_service(web::to(refuse)));
    }
}

fn with(resource: Resource, handling: Handling) -> Resource {
    resource.route(handling)
}

fn allow(methods: &[Method]) -> String {
    let names = methods.iter().flat_map(|method| match *method {
        Method::GET => vec!["GET", "HEAD"],
        _ => vec![method.as_str()],
    });
    names.collect::<Vec<_>>().join(", ")
}
