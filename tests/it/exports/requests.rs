//! Requesting exports: what is refused, what is the same request, and whose jobs are whose.

use analytics_service::auth::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{MADE_UP, ORG, Store, ask, command, days, fetch, finance, get, id, link, made, path, rollups};
use crate::harness::{BUCKET, LocalStore, S3Server, SECOND_BUCKET, Service, World};

const OTHER: Uuid = Uuid::from_u128(0xE9);

async fn post(service: &Service, org: Uuid, rest: &str, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
    let client = reqwest::Client::new();
    let mut request = client
        .post(format!("http://{}{}", service.api, path(org, rest)))
        .bearer_auth(finance(service, org))
        .header("content-type", "application/json")
        .body(body.to_string());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn invalid_export_requests_name_their_fields() {
    let store = Store::Local(LocalStore::new());
    let world = store.world().await;
    let service = world.serve().await;
    let range = |start: &str, end: &str| json!({ "start": start, "end": end });
    for (request, field) in [
        (json!({}), "timeRange"),
        (json!({ "timeRange": range("2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z") }), "timeRange.end"),
        (json!({ "timeRange": range("2026-01-01T00:30:00Z", "2026-01-02T00:00:00Z") }), "timeRange.start"),
        (json!({ "timeRange": range("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z") }), "timeRange.end"),
        (json!({ "timeRange": range("2026-01-01T00:00:00Z", "2199-01-02T00:00:00Z") }), "timeRange.end"),
        (json!({ "timeRange": days(1), "delivery": { "type": "s3", "bucket": "somebody-elses" } }), "delivery.bucket"),
        (json!({ "timeRange": days(1), "delivery": { "type": "ftp" } }), "delivery.type"),
        (json!({ "timeRange": days(1), "granularity": "weekly" }), "granularity"),
        (json!({ "timeRange": days(1), "groupBy": "client" }), "groupBy"),
        (json!({ "timeRange": days(8), "groupBy": "client", "granularity": "hourly" }), "timeRange.end"),
        (json!({ "timeRange": days(1), "models": ["x"] }), "models"),
        (json!({ "timeRange": days(1), "more": 1 }), "body"),
    ] {
        let (status, problem) = post(&service, ORG, "", None, &request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{request}");
        let fields: Vec<&Value> = problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
        assert!(fields.contains(&&json!(field)), "{request}: {problem}");
    }
}

#[tokio::test]
async fn equal_requests_share_one_job() {
    let store = Store::Local(LocalStore::new());
    let mut world = store.world().await;
    world.set("ANALYTICS__EXPORTS__ACTORS", "0");
    world.set("ANALYTICS__EXPORTS__PENDING_PER_ORG", "3");
    let service = world.serve().await;
    let request = json!({ "timeRange": days(1) });
    let (status, first) = post(&service, ORG, "", Some("march"), &request).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(post(&service, ORG, "", Some("march"), &request).await, (status, first.clone()));
    let (status, problem) = post(&service, ORG, "", Some("march"), &json!({ "timeRange": days(2) })).await;
    assert_eq!((status.as_u16(), &problem["type"]), (422, &json!("/problems/idempotency-key-reused")));
    // Another org's key of that name is its own.
    let (_, foreign) = post(&service, OTHER, "", Some("march"), &request).await;
    assert_ne!(foreign["jobId"], first["jobId"]);
    for _ in 0..2 {
        ask(&service, ORG, &request).await;
    }
    let (status, problem) = post(&service, ORG, "", None, &request).await;
    assert_eq!((status.as_u16(), &problem["type"]), (429, &json!("/problems/too-many-exports")));
    // Cancelled, it is over and makes room.
    let (status, cancelled) = post(&service, ORG, &format!("/{}/cancel", id(&first)), None, &json!({})).await;
    assert_eq!(
        (status, &cancelled["status"], &cancelled["error"]),
        (StatusCode::OK, &json!("failed"), &json!("cancelled"))
    );
    let fourth = ask(&service, ORG, &request).await;
    // Newest first, page by page, by status.
    let list = async |query: &str| service.get(&path(ORG, query), &finance(&service, ORG)).await.1;
    let page = list("?limit=3").await;
    let found: Vec<&Value> = page["exports"].as_array().unwrap().iter().map(|job| &job["jobId"]).collect();
    assert_eq!((found.len(), found[0]), (3, &fourth["jobId"]));
    let rest = list(&format!("?limit=3&cursor={}", page["nextCursor"].as_str().unwrap())).await;
    assert_eq!((&rest["exports"][0]["jobId"], &rest["nextCursor"]), (&first["jobId"], &Value::Null));
    assert_eq!(list("?status=failed").await["exports"].as_array().unwrap().len(), 1);
    assert_eq!(list("?status=pending").await["exports"].as_array().unwrap().len(), 3);
    // Nobody else's: neither by their own path nor by the org's.
    for rest in ["", "/download"] {
        let (status, _) = service.get(&path(OTHER, &format!("/{}{rest}", id(&first))), &finance(&service, OTHER)).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let (status, _) = service.get(&path(ORG, &format!("/{}{rest}", id(&first))), &finance(&service, OTHER)).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let viewer = service.token(&[ORG], &[Role::OrgViewer]);
    assert_eq!(service.get(&path(ORG, ""), &viewer).await.0, StatusCode::FORBIDDEN);
    // There is no file yet.
    assert_eq!(super::link(&service, ORG, id(&fourth)).await, Err(StatusCode::CONFLICT));
    assert_eq!(get(&service, ORG, id(&fourth)).await["outputUri"], Value::Null);
    // Who did what is on record.
    let mut conn = world.connect_as_owner().await;
    let acts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT action, count(*) FROM analytics.audit_events WHERE org_id = $1 AND action LIKE 'export.%' GROUP BY 1 ORDER BY 1",
    )
    .bind(ORG)
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(acts, [("export.cancel".to_owned(), 1), ("export.create".to_owned(), 4)]);
}

#[tokio::test]
async fn a_bucket_is_one_orgs_and_no_others() {
    let mut world = World::new(1).await;
    let store = Store::S3(S3Server::start());
    store.serve(&mut world);
    let service = world.serve().await;
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let delivered = |bucket: &str| json!({ "timeRange": days(1), "delivery": { "type": "s3", "bucket": bucket } });
    let refused = async |org: Uuid| {
        let (status, problem) = post(&service, org, "", None, &delivered(SECOND_BUCKET)).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("delivery.bucket")), "{problem}");
        problem["errors"].clone()
    };
    let (nobodys, org) = (refused(own).await, own.to_string());
    let set = ["export", "buckets", "set", "--org", &org, "--bucket", SECOND_BUCKET];
    assert!(world.run(&set).await.status.success());
    let (status, job) = post(&service, own, "", None, &delivered(SECOND_BUCKET)).await;
    assert_eq!((status.as_u16(), &job["bucket"]), (202, &json!(SECOND_BUCKET)), "{job}");
    assert_eq!(refused(other).await, nobodys, "another org's is as one that nobody has");
    let (status, job) = post(&service, other, "", None, &delivered(BUCKET)).await;
    assert_eq!((status.as_u16(), &job["bucket"]), (202, &json!(BUCKET)), "that of the settings is everybody's");
    let foreign = other.to_string();
    let taken = world.run(&["export", "buckets", "set", "--org", &foreign, "--bucket", SECOND_BUCKET]).await;
    assert_eq!(taken.status.code(), Some(1));
    let unknown = world.run(&["export", "buckets", "set", "--org", &org, "--bucket", "not-of-the-settings"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    let (listed, _) = command(&world, &["export", "buckets", "list"]).await;
    assert_eq!((&listed["buckets"][0]["bucket"], &listed["buckets"][0]["orgId"]), (&json!(SECOND_BUCKET), &json!(own)));
    assert!(
        world.run(&["export", "buckets", "clear", "--org", &org, "--bucket", SECOND_BUCKET]).await.status.success()
    );
    refused(own).await;
    let acts: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT action, target, detail FROM analytics.audit_events WHERE org_id = $1 AND action LIKE 'export%'
         ORDER BY event_id",
    )
    .bind(own)
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap();
    let bucket = || Some(SECOND_BUCKET.to_owned());
    assert_eq!((acts[0].0.as_str(), acts[0].1.clone()), ("export_bucket.set", bucket()));
    assert_eq!((acts[1].0.as_str(), acts[1].2.clone()), ("export.create", Some(format!("to bucket {SECOND_BUCKET}"))));
    assert_eq!((acts[2].0.as_str(), acts[2].1.clone()), ("export_bucket.clear", bucket()));
}

#[tokio::test]
async fn a_file_fetched_by_a_link_is_recorded() {
    let mut world = World::new(1).await.unchecked(MADE_UP);
    let store = Store::Local(LocalStore::new());
    store.serve(&mut world);
    let service = world.serve().await;
    let org = Uuid::new_v4();
    rollups(&mut world.connect().await, org, 2, 1).await;
    let job = made(&service, org, &json!({ "timeRange": days(1) })).await;
    let link = link(&service, org, id(&job)).await.unwrap();
    for _ in 0..8 {
        assert_eq!(fetch(&link).await.0, 200);
    }
    assert_eq!(service.terminate().await, Some(0));
    let key = format!("analytics/exports/{org}/{}.csv", id(&job));
    let rows: Vec<(i64, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT event_count, target, address FROM analytics.audit_events
         WHERE action = 'export.fetch' AND org_id = $1 ORDER BY event_id",
    )
    .bind(org)
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap();
    let row = |count: i64| (count, Some(key.clone()), Some("127.0.0.1".to_owned()));
    assert_eq!(rows, [1, 1, 1, 1, 1, 3].map(row), "five have a row each, the others one together");
}

#[tokio::test]
async fn without_a_store_exports_are_off() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__OBJECTS__STORE", "local");
    world.set("ANALYTICS__OBJECTS__ALLOW_UNENCRYPTED", "false");
    let service = world.serve().await;
    let (status, problem) = post(&service, ORG, "", None, &json!({ "timeRange": days(1) })).await;
    assert_eq!((status.as_u16(), &problem["type"]), (404, &json!("/problems/not-enabled")));
    let (_, readiness) = service.readiness().await.unwrap();
    let objects = readiness["components"].as_array().unwrap().iter().find(|part| part["name"] == "objects").unwrap();
    assert!(objects["detail"].as_str().unwrap().contains("objects.allow_unencrypted"), "{objects}");
}
