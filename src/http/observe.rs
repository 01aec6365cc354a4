//! Around every request: its id, its metric, its log line, and errors of any origin turned into problems.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method,
        header::{CONTENT_LENGTH, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    web,
};
use tracing::Instrument;
use uuid::Uuid;

use super::{
    console::headers as console_headers,
    error::Problem,
    log_lines::LogLines,
    sockets::{Connection, IS_SELF_CHECK, RequestBody, watched},
};
use crate::{
    domain::trace::TraceParent,
    telemetry::{
        metrics::{Metrics, PortTraffic},
        readiness::Readiness,
        traces::spans,
    },
};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 64;

/// A request's id, for the handlers of the request.
pub struct RequestId(pub String);

/// Probes and scrapes: what the system asks is no client's experience.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

pub struct Observer {
    pub metrics: Metrics,
    /// What the port's requests are counted by.
    pub traffic: PortTraffic,
    pub max_body_bytes: usize,
    /// Longest that a request's body may take.
    pub body_within: Duration,
    pub lines: LogLines,
    /// When this says that the process drains, each connection ends with the response at hand: none is left for a next request
    /// when the port closes.
    pub closes: Readiness,
}

pub async fn observe(
    observer: web::Data<Observer>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let in_flight = observer.traffic.request();
    let id = request_id(&request);
    let method = method_label(request.method());
    request.extensions_mut().insert(RequestId(id.clone()));
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    if let Some(connection) = &connection {
        connection.begin_request();
    }
    let body = RequestBody::watch(&mut request, observer.body_within, connection.clone());
    let is_probe = |place: &str| PROBES.contains(&place) || (place, method) == IS_SELF_CHECK;
    let span = if is_probe(request.path()) { spans::probe(&id) } else { spans::request(&id, method, caller(&request)) };
    let response = next.call(request).instrument(span.clone()).await?.map_into_boxed_body();
    let mut response = if body.is_late() && response.status().is_client_error() {
        refused(response, &Problem::BodyLate, &id)
    } else {
        with_problem(response, &id)
    };
    // What is refused is not read on: the connection ends.
    let last = (body.is_unread() && response.status().as_u16() >= 400) || observer.closes.is_draining();
    if last {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    // By the pattern too: a path may be written in other ways, such as /%63onsole/.
    let route = response.request().match_pattern();
    let of_console =
        [route.as_deref(), Some(response.request().path())].into_iter().flatten().any(console_headers::covers);
    let headers = response.headers_mut();
    if of_console {
        console_headers::put(headers);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, value);
    }
    let (took, status) = (started.elapsed(), response.status());
    // The pattern: a raw path would let a caller make as many series as it likes.
    let route = route.as_deref().unwrap_or("unknown");
    if !is_probe(route) {
        observer.metrics.http_request(route, method, status.as_u16(), took);
    }
    spans::responded(&span, method, route, status.as_u16());
    let ms = took.as_secs_f64() * 1000.0;
    let status = status.as_u16();
    // Neither path nor query: what a caller puts there by mistake may be a secret. The id is the span's.
    span.in_scope(|| {
        if status < 400 {
            tracing::debug!(method, route, status, ms, "served");
        } else if observer.lines.one_more() {
            tracing::info!(method, route, status, ms, "refused");
        }
    });
    Ok(match connection {
        Some(connection) => {
            connection.begin_response(last);
            response.map_body(|_, body| watched(body, connection, in_flight))
        }
        None => response,
    })
}

/// Turns an error into the problem that it is, with the request's id: ours, or the framework's by its status. A
/// response with a body of its own, such as readiness with 503, is no error.
fn with_problem(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let problem = match response.response().error() {
        Some(error) => match error.as_error::<Problem>() {
            Some(problem) => problem.clone(),
            None => Problem::of_status(error.as_response_error().status_code()),
        },
        // What a middleware refuses it explains in words of its own.
        None if response.status().is_client_error() => Problem::of_status(response.status()),
        None if response.status().is_server_error() => match response.response().body().size() {
            BodySize::None | BodySize::Sized(0) => Problem::of_status(response.status()),
            BodySize::Sized(_) | BodySize::Stream => return response,
        },
        None => return response,
    };
    refused(response, &problem, id)
}

/// The problem in place of a response. The headers of CORS stay.
fn refused(response: ServiceResponse<BoxBody>, problem: &Problem, id: &str) -> ServiceResponse<BoxBody> {
    let (request, instead_of) = response.into_parts();
    let mut response = problem.response(Some(id));
    for (name, value) in instead_of.headers() {
        if name == VARY || name.as_str().starts_with("access-control-") {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, response)
}

/// The caller's id for the request where it is one that can go into a header and a log as it is, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    given.filter(|id| is_sane(id)).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// The caller's span. One that is not of the form is as none.
fn caller(request: &ServiceRequest) -> Option<TraceParent> {
    let mut headers = request.headers().get_all(TraceParent::HEADER);
    let (given, None) = (headers.next()?, headers.next()) else { return None };
    given.to_str().ok()?.parse().ok()
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Around the handlers, within CORS: refuses a body that says to be too large.
pub async fn bound_body(
    observer: web::Data<Observer>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if announced_length(&request).is_some_and(|length| length > observer.max_body_bytes) {
        return Ok(request.error_response(Problem::BodyTooLarge));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn announced_length(request: &ServiceRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// One of a fixed list: a caller can invent methods too.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
