//! `GET /openapi.json`: serves the API's description, which [`openapi`](super::openapi) makes.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    web,
};

use super::{
    error::Problem,
    params::{Checked, NoParams},
};

/// Long enough to spare a download, short enough to see a new release.
const CACHED: &str = "public, max-age=300";

/// Where the text comes from. It is given, since it is made from the routes, of which this is one.
pub struct Description(pub fn() -> &'static str);

/// Get this description
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDescription",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, example = json!({"openapi": "3.1.0"})))
)]
pub async fn get(_: Checked<NoParams>, description: web::Data<Description>) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::build(StatusCode::OK);
    response.insert_header((CONTENT_TYPE, "application/json")).insert_header((CACHE_CONTROL, CACHED));
    Ok(response.body((description.0)()))
}
