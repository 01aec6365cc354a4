//! Exports and their files.

use actix_web::http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::support::{
    exports::{JOB, OVER, WAITING, fixed},
    *,
};
use crate::{auth::Role, http::Api};

fn path(job: Uuid, what: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/exports/{job}{what}")
}

fn finance() -> String {
    token(Role::Finance)
}

async fn send(api: Api, method: Method, path: &str, more: &[(&str, &str)], body: &str) -> Response {
    let bearer = format!("Bearer {}", finance());
    let headers = [&[("authorization", bearer.as_str()), ("content-type", "application/json")], more].concat();
    call_with(api, method, path, &headers, body).await
}

fn all() -> String {
    format!("/analytics/v1/orgs/{ORG}/exports")
}

#[actix_web::test]
async fn a_requested_export_becomes_a_located_job() {
    let response = send(api_with(None), Method::POST, &all(), &[], "{}").await;
    let job = response.json_of(202);
    assert_eq!((&job["status"], &job["initiatedBy"]), (&json!("pending"), &json!("ann")));
    let id = job["jobId"].as_str().unwrap();
    assert_eq!(response.header("location"), Some(format!("{}/{id}", all()).as_str()));
    let same = send(api_with(None), Method::POST, &all(), &[("idempotency-key", "same")], "{}").await;
    assert_eq!(same.json_of(202)["jobId"], json!(JOB));
    for (key, status, kind) in
        [("taken", 422, "/problems/idempotency-key-reused"), ("many", 429, "/problems/too-many-exports")]
    {
        let response = send(api_with(None), Method::POST, &all(), &[("idempotency-key", key)], "{}").await;
        assert_eq!(response.problem(status)["type"], kind);
    }
    for key in ["", "with space", &"k".repeat(201), "é"] {
        let response = send(api_with(None), Method::POST, &all(), &[("idempotency-key", key)], "{}").await;
        assert_eq!(response.problem(400)["errors"][0]["field"], "Idempotency-Key", "{key}");
    }
    let wrong = send(api_with(None), Method::POST, &all(), &[], "[]").await;
    assert_eq!(wrong.problem(400)["errors"], json!([{"field": "timeRange", "message": "is required"}]));
}

#[actix_web::test]
async fn exports_are_listed_by_status() {
    let path = format!("{}?status=failed&limit=2", all());
    let page = send(api_with(None), Method::GET, &path, &[], "").await.json_of(200);
    let query = page["exports"][0]["error"].as_str().unwrap();
    assert!(query.contains("status: Some(Failed)") && query.contains("limit: 2"), "{query}");
    let next = page["nextCursor"].as_str().unwrap();
    let page = send(api_with(None), Method::GET, &format!("{}?cursor={next}", all()), &[], "").await.json_of(200);
    assert!(page["exports"][0]["error"].as_str().unwrap().contains(&JOB.to_string()) && page["nextCursor"].is_null());
    let wrong =
        send(api_with(None), Method::GET, &format!("{}?status=done&limit=0", all()), &[], "").await.problem(400);
    assert_eq!((&wrong["errors"][0]["field"], &wrong["errors"][1]["field"]), (&json!("status"), &json!("limit")));
    let one = send(api_with(None), Method::GET, &self::path(JOB, ""), &[], "").await.json_of(200);
    assert_eq!((&one["status"], &one["rowCount"]), (&json!("succeeded"), &json!(1)));
    let missing = send(api_with(None), Method::GET, &self::path(MODEL, ""), &[], "").await.problem(404);
    assert_eq!(missing["detail"], "this organisation has no export of this id");
}

#[actix_web::test]
async fn only_what_has_a_file_leads_to_one() {
    let found = send(api_with(None), Method::GET, &path(JOB, "/download"), &[], "").await;
    assert_eq!((found.status, found.header("location")), (StatusCode::FOUND, Some("https://store.example.org/signed")));
    for (job, status, kind) in [
        (WAITING, 409, "/problems/no-file"),
        (OVER, 410, "/problems/file-expired"),
        (MODEL, 404, "/problems/not-found"),
    ] {
        for (method, what) in [(Method::GET, "/download"), (Method::POST, "/verify")] {
            let response = send(api_with(None), method, &path(job, what), &[], "").await;
            assert_eq!(response.problem(status)["type"], kind);
        }
    }
    let off = || Api { exports: fixed(None, true), ..api_with(None) };
    for (method, path) in
        [(Method::POST, all()), (Method::GET, path(JOB, "/download")), (Method::POST, path(JOB, "/verify"))]
    {
        let problem = send(off(), method, &path, &[], "{}").await.problem(404);
        assert_eq!(problem["type"], "/problems/not-enabled");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("objects.store") && !detail.contains("ingest"), "{detail}");
    }
}

#[actix_web::test]
async fn another_file_does_not_verify() {
    let checked = send(api_with(None), Method::POST, &path(JOB, "/verify"), &[], "").await.json_of(200);
    assert_eq!((&checked["holds"], &checked["verdict"]), (&json!(false), &json!("same")));
    assert_eq!(checked["problems"], json!(["the file's checksum is not the job's"]));
    let cancelled = send(api_with(None), Method::POST, &path(JOB, "/cancel"), &[], "").await.json_of(200);
    assert_eq!(cancelled["status"], "failed");
}

#[actix_web::test]
async fn a_link_gives_byte_ranges_without_credential() {
    let file = format!("/analytics/v1/downloads/analytics/exports/{ORG}/{JOB}.csv");
    let good = format!("{file}?expires=1772449200&signature=good");
    let get = async |headers: &[(&str, &str)]| call_with(api_with(None), Method::GET, &good, headers, "").await;
    let whole = get(&[("accept-encoding", "gzip")]).await;
    assert_eq!((whole.status, whole.text.as_str()), (StatusCode::OK, "0123456789"));
    assert_eq!(whole.header("content-disposition"), Some(format!("attachment; filename=\"{JOB}.csv\"").as_str()));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let part = get(&[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text.as_str()), (StatusCode::PARTIAL_CONTENT, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let several = get(&[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((several.status, several.text.len()), (StatusCode::OK, 10));
    let behind = get(&[("range", "bytes=10-")]).await;
    assert_eq!(behind.header("content-range"), Some("bytes */10"));
    assert_eq!(behind.problem(416)["type"], "/problems/no-such-range");
    for link in [
        format!("{file}?expires=1772449200&signature=bad"),
        format!("{file}?expires=soon&signature=good"),
        format!("{file}?signature=good"),
        format!("{good}&more=1"),
        file,
    ] {
        let response = call_with(api_with(None), Method::GET, &link, &[], "").await;
        assert_eq!(response.problem(403)["type"], "/problems/link-not-good", "{link}");
    }
}
