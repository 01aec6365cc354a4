//! Every route, in two tables: the API's and the operations port's.
//!
//! A row of the API's is a handler. Its method, its path and its description are those of its `#[utoipa::path]`. Who may
//! call it is said by its first argument, a [`Gate`]: a handler without one does not compile, unless its row says `open`.

use std::sync::LazyLock;

use actix_web::{
    Error, FromRequest, Handler, HttpRequest, Responder, Route as Handling,
    dev::Payload,
    guard,
    http::Method,
    web::{self, ServiceConfig},
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use utoipa::{
    OpenApi as _,
    openapi::{OpenApi, path::Parameter},
};

use super::{
    access::{Authenticated, Authorized, AuthorizedAnywhere, AuthorizedBody, Needs, Operator},
    api_keys, attribution,
    attribution::{dimensions as attribution_dimensions, values as attribution_values},
    audit,
    console::{issuer as console_issuer, pages as console_pages, sign_in as console_sign_in},
    data_life, dead_letters, description, downloads,
    error::Problem,
    event, events, exports, freshness, ledger, me, names, operations, ops,
    params::Argument,
    reliability, revisions, summary, usage,
};
use crate::auth::{Permission, Role};

/// A row of the API's table. Its description is made once, and not for every thread that serves it.
macro_rules! route {
    (open $module:ident::$handler:ident) => {
        route!(@described $module::$handler).route(|method, path| open(method, path, $module::$handler))
    };
    (@described $module:ident::$handler:ident) => {{
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($module::$handler))]
        struct Handler;
        static DESCRIBED: LazyLock<Described> = LazyLock::new(|| Described(Handler::openapi()));
        &*DESCRIBED
    }};
    ($module:ident::$handler:ident) => {
        route!(@described $module::$handler).route(|method, path| gated(method, path, $module::$handler))
    };
}

/// The API's routes. One path's stand together.
pub fn rest() -> Vec<Route> {
    vec![
        route!(me::get),
        route!(usage::get),
        route!(reliability::get),
        route!(freshness::get),
        route!(ledger::get),
        route!(revisions::get),
        route!(attribution::get),
        route!(attribution_dimensions::list),
        route!(attribution_values::list),
        route!(event::get),
        route!(dead_letters::list),
        route!(dead_letters::get),
        route!(dead_letters::replay),
        route!(summary::get),
        route!(dead_letters::list_unreadable),
        route!(dead_letters::get_unreadable),
        route!(events::validate),
        route!(events::publish),
        route!(api_keys::list),
        route!(api_keys::create),
        route!(api_keys::get),
        route!(api_keys::revoke),
        route!(names::list),
        route!(names::get),
        route!(names::put),
        route!(names::delete),
        route!(exports::list),
        route!(exports::create),
        route!(exports::get),
        route!(exports::download),
        route!(exports::verify),
        route!(exports::cancel),
        // The link's signature authorizes. A key has slashes in it.
        Route { pattern: "/analytics/v1/downloads/{key:.+}", ..route!(open downloads::get) },
        route!(audit::list),
        route!(open description::get),
    ]
}

/// The operations port's. No request to these has a body.
pub fn operations_port() -> Vec<Route> {
    vec![
        open(Method::GET, "/healthz", ops::healthz),
        open(Method::GET, "/readyz", ops::readyz),
        open(Method::GET, "/metrics", ops::metrics),
        open(Method::GET, "/ops/actors", operations::actors),
        open(Method::GET, "/ops/partitions", operations::partitions),
        open(Method::GET, "/ops/supervision", operations::supervision),
        open(Method::GET, "/ops/data-life", data_life::get),
        gated(Method::GET, "/ops/me", me::get),
        // An actor's name has a slash in it.
        gated(Method::POST, "/ops/actors/{name:[a-z0-9/-]+}/restart", operations::restart),
        gated(Method::POST, "/ops/actors/{name:[a-z0-9/-]+}/drill", operations::drill),
    ]
}

/// The console's, on both ports. Its pages are described nowhere, and what they request is.
pub fn console() -> Vec<Route> {
    vec![
        open(Method::GET, "/console", console_pages::slash),
        open(Method::GET, "/console/assets/{file:.*}", console_pages::asset),
        open(Method::GET, "/console/sign-in/issuer", console_issuer::begin),
        open(Method::GET, "/console/sign-in/callback", console_issuer::end),
        open(Method::GET, "/console/sign-in", console_pages::index),
        open(Method::POST, "/console/sign-in", console_sign_in::sign_in),
        open(Method::POST, "/console/sign-out", console_sign_in::sign_out),
        open(Method::GET, "/console/{page:.*}", console_pages::index),
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
pub trait Gate: Argument {
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

/// The arguments of a handler.
pub trait Arguments: 'static {
    /// The parameters of the request that they are made from.
    fn parameters() -> Vec<Parameter>;
}

/// Arguments of which the first is a gate.
pub trait Gated: Arguments {
    const ACCESS: Access;
}

/// Arguments that are extracted one after the other: nothing of a request is read before its gate has authorized the caller.
/// The framework would run all extractors at once.
struct InOrder<Args>(Args);

impl Arguments for () {
    fn parameters() -> Vec<Parameter> {
        Vec::new()
    }
}

macro_rules! arguments {
    ($first:ident $($rest:ident)*) => {
        impl<$first: Argument, $($rest: Argument),*> Arguments for ($first, $($rest,)*) {
            fn parameters() -> Vec<Parameter> {
                [$first::parameters(), $($rest::parameters()),*].concat()
            }
        }

        impl<$first: Gate, $($rest: Argument),*> Gated for ($first, $($rest,)*) {
            const ACCESS: Access = $first::ACCESS;
        }

        impl<$first: Gate, $($rest: Argument),*> FromRequest for InOrder<($first, $($rest,)*)> {
            type Error = Error;
            type Future = LocalBoxFuture<'static, Result<Self, Error>>;

            fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
                let (request, mut payload) = (request.clone(), payload.take());
                async move {
                    Ok(Self((
                        $first::from_request(&request, &mut payload).await.map_err(Into::into)?,
                        $($rest::from_request(&request, &mut payload).await.map_err(Into::into)?,)*
                    )))
                }
                .boxed_local()
            }
        }
    };
}

arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);

pub struct Route {
    pub method: Method,
    /// With its parameters.
    pub path: &'static str,
    /// The same as actix reads it, where a parameter may hold slashes.
    pattern: &'static str,
    pub access: Access,
    /// What the handler reads of a request beside its body.
    pub parameters: Vec<Parameter>,
    /// What the handler's attribute says; none on the operations port.
    pub description: Option<&'static OpenApi>,
    handling: Handling,
}

/// The description of one handler.
struct Described(OpenApi);

impl Described {
    /// Its route, by its method and its path.
    fn route(&'static self, route: impl FnOnce(Method, &'static str) -> Route) -> Route {
        let described = self.0.paths.paths.iter().flat_map(|(path, item)| {
            let operations = [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            let there =
                |(method, operation): (Method, &Option<_>)| operation.is_some().then_some((method, path.as_str()));
            operations.into_iter().filter_map(there)
        });
        let (method, path) = described.last().unwrap_or_default();
        Route { description: Some(&self.0), ..route(method, path) }
    }
}

fn gated<F, Args>(method: Method, path: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: Gated,
    InOrder<Args>: FromRequest,
    F::Output: Responder + 'static,
{
    let handling = handling(&method).to(move |InOrder(args): InOrder<Args>| handler.call(args));
    Route { access: Args::ACCESS, ..plain::<Args>(method, path, handling) }
}

/// For what belongs to no org.
fn open<F, Args>(method: Method, path: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + Arguments,
    F::Output: Responder + 'static,
{
    let handling = handling(&method).to(handler);
    plain::<Args>(method, path, handling)
}

fn plain<Args: Arguments>(method: Method, path: &'static str, handling: Handling) -> Route {
    let parameters = Args::parameters();
    Route { method, path, pattern: path, access: Access::Open, parameters, description: None, handling }
}

/// HEAD is GET without the body (RFC 9110, section 9.1).
fn handling(method: &Method) -> Handling {
    match *method {
        Method::GET => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
        _ => web::method(method.clone()),
    }
}

/// Puts a table into an application. Other methods of a path that is there are 405 with those that it has.
pub fn put(routes: Vec<Route>, config: &mut ServiceConfig) {
    let mut routes = routes.into_iter().peekable();
    while let Some(Route { path, pattern, method, handling, .. }) = routes.next() {
        let mut resource = web::resource(pattern).route(handling);
        let mut methods = vec![method];
        while let Some(Route { method, handling, .. }) = routes.next_if(|next| next.path == path) {
            resource = resource.route(handling);
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

fn allow(methods: &[Method]) -> String {
    let names = methods.iter().flat_map(|method| match *method {
        Method::GET => vec!["GET", "HEAD"],
        _ => vec![method.as_str()],
    });
    names.collect::<Vec<_>>().join(", ")
}
