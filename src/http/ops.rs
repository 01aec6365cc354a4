//! The operations port: `/healthz`, `/readyz`, `/metrics`. No org's data, no secret.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};

use super::{Ops, error::Problem};
use crate::telemetry::metrics::CONTENT_TYPE as OPEN_METRICS;

/// The process lives.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Whether traffic may come here, and how each dependency and partition is.
pub async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    let snapshot = ops.readiness.snapshot();
    let mut answer =
        if snapshot.status.takes_traffic() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.insert_header((CACHE_CONTROL, "no-store")).json(snapshot)
}

pub async fn metrics(ops: web::Data<Ops>) -> Result<HttpResponse, Problem> {
    let text = ops.metrics.encode().map_err(|_| Problem::Internal)?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, OPEN_METRICS)).body(text))
}
