//! What the API says about buckets that changed after they were final.

use actix_web::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::support::*;
use crate::auth::Role;

const MONTH: &str = "start=2026-02-01T00:20:00Z&end=2026-02-28T23:00:00.000001Z";

fn path(query: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/revisions?{query}")
}

#[actix_web::test]
async fn revisions_have_values_before_and_after() {
    let response = get(&path(MONTH)).await;
    let expected = json!({
        "orgId": ORG,
        "range": {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"},
        "revisions": [{
            "revisionId": LETTER, "bucketStart": "2026-02-01T00:00:00Z", "modelId": MODEL, "reason": "erasure",
            "revisedAt": "2026-03-02T10:59:58.500Z", "changes": 100,
            "before": {"invocations": 2, "inputTokens": 30, "outputTokens": 40, "costEstimateCents": 1.5001},
            "after": {"invocations": 1, "inputTokens": 15, "outputTokens": 20, "costEstimateCents": 0.0001},
        }],
        "nextCursor": response.json()["nextCursor"],
        "asOf": "2026-03-01T00:00:00Z",
    });
    assert_eq!(response.json(), expected);
    assert!(response.text.contains("\"costEstimateCents\":1.5001"), "money is a number with its exact digits");
    assert_eq!(response.header("cache-control"), Some("private, no-cache"));
    assert_eq!(response.header("analytics-as-of"), Some("2026-03-01T00:00:00Z"));
    let bearer = format!("Bearer {}", token(Role::Finance));
    let headers = [("authorization", bearer.as_str()), ("if-none-match", response.header("etag").unwrap())];
    assert_eq!(call(api_with(None), Method::GET, &path(MONTH), &headers).await.status, 304);
}

#[actix_web::test]
async fn pages_are_requested_by_parameters() {
    let first = get(&path(MONTH)).await.json();
    let other = Uuid::from_u128(0xD);
    for reason in ["late", "replay", "rebuild", "erasure"] {
        let cursor = first["nextCursor"].as_str().unwrap();
        let more = format!("{MONTH}&reason={reason}&modelId={other}&limit=1000&cursor={cursor}");
        let last = get(&path(&more)).await.json();
        let revision = &last["revisions"][0];
        assert_eq!((&revision["reason"], &revision["modelId"]), (&json!(reason), &json!(other)));
        assert_eq!((&revision["changes"], last.get("nextCursor")), (&json!(1000), None));
    }
    assert_eq!(get(&path(&format!("{MONTH}&reason=all"))).await.status, 200);
    assert_eq!(get(&path("start=2025-01-01T00:00:00Z&end=2026-02-05T00:00:00Z")).await.status, 200, "400 days");
}

#[actix_web::test]
async fn each_bad_parameter_of_revisions_is_named() {
    for (query, fields) in [
        (String::new(), vec!["start"]),
        ("start=2020-02-01T00:00:00Z".into(), vec!["end"]),
        ("start=2026-02-01T00:00:00Z&end=2026-02-01T00:00:00Z".into(), vec!["end"]),
        ("start=2025-01-01T00:00:00Z&end=2026-02-05T00:00:01Z".into(), vec!["end"]),
        (format!("{MONTH}&reason=whim&limit=0&modelId=gpt"), vec!["modelId", "reason", "limit"]),
        (format!("{MONTH}&limit=1001&cursor=7"), vec!["limit", "cursor"]),
        (format!("{MONTH}&granularity=day"), vec!["granularity"]),
    ] {
        assert_eq!(get(&path(&query)).await.wrong_fields(), fields, "{query}");
    }
}
