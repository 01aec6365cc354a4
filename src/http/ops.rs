//! The operations port: `/healthz`, `/readyz`, `/metrics`. No org's data, no secret.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY},
    web,
};

use super::{Ops, error::Problem};
use crate::telemetry::metrics::Format;

/// The process lives.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Whether traffic may come here, and how each dependency and partition is.
pub async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    let snapshot = ops.readiness.snapshot();
    let mut response =
        if snapshot.status.takes_traffic() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.insert_header((CACHE_CONTROL, "no-store")).json(snapshot)
}

/// What was seen last: no server is asked, so the response comes while one of them is away.
pub async fn metrics(ops: web::Data<Ops>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let accepted: Vec<&str> = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok()).collect();
    let format = Format::of_accept(&accepted.join(","));
    ops.metrics.dependencies(&ops.readiness);
    let text = ops.metrics.encode(format).map_err(|_| Problem::Internal)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format.content_type()))
        .insert_header((VARY, "accept"))
        .body(text))
}
