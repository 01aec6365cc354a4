//! What the API answers when all is well, and when the data cannot be read.

use actix_web::{http::Method, test, web};
use serde_json::json;

use super::support::*;
use crate::{
    actors::query::QueryError,
    auth::Role,
    http::{Queries, api, ops},
    telemetry::{metrics::CONTENT_TYPE, readiness::Phase},
};

const TWO_DAYS: &str = "start=2026-03-01T07:00:00Z&end=2026-03-02T07:00:00Z";

#[actix_web::test]
async fn usage_is_answered_as_the_contract_says() {
    let answer = get(&usage_path(TWO_DAYS)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert!(answer.header("x-request-id").is_some());
    let expected = json!({
        "orgId": ORG,
        "granularity": "day",
        "timezone": "UTC",
        "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
        "series": [
            {"bucketStart": "2026-03-01T00:00:00Z", "invocations": 2, "inputTokens": 30, "outputTokens": 40,
             "costEstimateCents": 0.0001, "final": true},
            {"bucketStart": "2026-03-02T00:00:00Z", "invocations": 2, "inputTokens": 30, "outputTokens": 40,
             "costEstimateCents": 1.5, "final": false},
        ],
        "totals": {"invocations": 4, "inputTokens": 60, "outputTokens": 80, "costEstimateCents": 1.5001},
        "freshness": {"lastEventAt": "2026-03-02T10:59:58.500Z", "lastRollupAt": "2026-03-02T11:00:00Z",
                      "lagSeconds": 0.412, "status": "fresh"},
        "asOf": "2026-03-02T01:00:00Z",
    });
    assert_eq!(answer.json(), expected);
    assert!(answer.text.contains("\"costEstimateCents\":1.5001"), "money is a number with its exact digits");
}

#[actix_web::test]
async fn usage_by_model_names_the_model_of_each_point() {
    let answer = get(&usage_path(&format!("{TWO_DAYS}&groupBy=model&granularity=hour&timezone=UTC"))).await;
    let answer = answer.json();
    assert_eq!(answer["granularity"], "hour");
    assert_eq!(answer["range"], json!({"start": "2026-03-01T07:00:00Z", "end": "2026-03-02T07:00:00Z"}));
    assert_eq!(answer["series"][0]["modelId"], json!(MODEL));
}

#[actix_web::test]
async fn freshness_is_answered_as_the_contract_says() {
    let answer = get(&format!("/analytics/v1/orgs/{ORG}/freshness?modelId={MODEL}")).await;
    let expected = json!({
        "orgId": ORG,
        "status": "fresh",
        "entries": [{"modelId": MODEL, "lastEventAt": "2026-03-02T10:59:58.500Z",
                     "lastRollupAt": "2026-03-02T11:00:00Z", "lagSeconds": 0.412, "status": "fresh"}],
    });
    assert_eq!(answer.json(), expected);
}

#[actix_web::test]
async fn what_cannot_be_read_now_is_to_be_asked_again() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    for (error, kind) in [
        (QueryError::Busy, "/problems/busy"),
        (QueryError::Unavailable, "/problems/unavailable"),
        (QueryError::TooSlow, "/problems/too-slow"),
    ] {
        for path in [usage_path(TWO_DAYS), format!("/analytics/v1/orgs/{ORG}/freshness")] {
            let answer = call(api_with(Some(error)), Method::GET, &path, &[("authorization", &bearer)]).await;
            assert_eq!(answer.problem(503)["type"], kind);
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        }
    }
    let broken = api_with(Some(QueryError::Broken));
    call(broken, Method::GET, &usage_path(TWO_DAYS), &[("authorization", &bearer)]).await.problem(500);
}

#[actix_web::test]
async fn without_a_living_query_actor_the_answer_is_503() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let state = crate::http::Api { queries: Queries::default(), ..api_with(None) };
    let answer = call(state, Method::GET, &usage_path(TWO_DAYS), &[("authorization", &bearer)]).await;
    answer.problem(503);
}

#[actix_web::test]
async fn a_sane_request_id_comes_back_and_another_is_replaced() {
    for (given, kept) in [("trace-1.A_z", true), ("", false), ("a b", false), ("é", false), (&"x".repeat(65), false)] {
        let answer = call(api_with(None), Method::GET, "/nowhere", &[("x-request-id", given)]).await;
        assert_eq!(answer.problem(404)["requestId"] == given, kept, "{given}");
    }
}

#[actix_web::test]
async fn requests_are_counted_by_the_pattern_of_their_route() {
    let state = api_with(None);
    let metrics = state.metrics.clone();
    let app = test::init_service(api(web::Data::new(state))).await;
    for path in [usage_path(TWO_DAYS), "/secret".into(), "/analytics/v1/orgs/x/y".into()] {
        test::call_service(&app, test::TestRequest::get().uri(&path).to_request()).await;
    }
    let text = metrics.encode().unwrap();
    let count = "analytics_http_request_seconds_count";
    let usage = r#"{route="/analytics/v1/orgs/{orgId}/usage",method="GET",status="401"} 1"#;
    assert!(text.contains(&format!("{count}{usage}")), "{text}");
    assert!(text.contains(&format!(r#"{count}{{route="unknown",method="GET",status="404"}} 2"#)), "{text}");
    assert!(!text.contains("secret") && !text.contains(&ORG.to_string()));
}

#[actix_web::test]
async fn the_operations_port_tells_life_readiness_and_metrics() {
    let parts = operations(None, false);
    let app = test::init_service(ops(parts.clone())).await;
    let ask =
        async |path: &str| read(test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await).await;
    assert_eq!(ask("/healthz").await.status, 200);
    let starting = ask("/readyz").await;
    assert_eq!((starting.status.as_u16(), &starting.json()["status"]), (503, &json!("starting")));
    parts.readiness.set_phase(Phase::Serving);
    parts.readiness.up("database");
    parts.readiness.down("partition/0", "no subscription");
    let degraded = ask("/readyz").await;
    assert_eq!(degraded.status, 200);
    let body = degraded.json();
    assert_eq!(body["status"], "degraded");
    assert_eq!(body["components"][0], json!({"name": "database", "state": "up"}));
    assert_eq!(body["components"][1]["cause"], "no subscription");
    let metrics = ask("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some(CONTENT_TYPE));
    assert!(metrics.text.ends_with("# EOF\n"));
    ask("/usage").await.problem(404);
}
