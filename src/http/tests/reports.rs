//! What the API returns when all is well, and when the data cannot be read.

use actix_web::{http::Method, test, web};
use serde_json::json;
use uuid::Uuid;

use super::support::*;
use crate::{
    actors::serving::error::QueryError,
    auth::Role,
    domain::floor::{Gone, Missing},
    http::{Api, Queries, api, ops},
    telemetry::{metrics::Format, readiness::Phase},
};

const TWO_DAYS: &str = "start=2026-03-01T07:00:00Z&end=2026-03-02T07:00:00Z";

#[actix_web::test]
async fn usage_follows_the_contract() {
    let response = get(&usage_path(TWO_DAYS)).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("private, no-cache"));
    assert_eq!(response.header("analytics-as-of"), Some("2026-03-02T01:00:00Z"));
    assert!(response.header("x-request-id").is_some());
    let expected = json!({
        "orgId": ORG,
        "granularity": "day",
        "timezone": "UTC",
        "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
        "final": false,
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
    assert_eq!(response.json(), expected);
    assert!(response.text.contains("\"costEstimateCents\":1.5001"), "money is a number with its exact digits");
}

#[actix_web::test]
async fn a_range_is_final_with_its_last_bucket() {
    // Everything is complete up to one o'clock of the second, and a bucket is final an hour after its end.
    for (end, is_final) in [("2026-03-02T00:00:00Z", true), ("2026-03-02T00:00:01Z", false)] {
        let range = format!("start=2026-03-01T00:00:00Z&end={end}");
        let usage = get(&usage_path(&range)).await.json();
        assert_eq!(usage["final"], is_final, "{usage}");
        let empty = get(&usage_path(&format!("{range}&modelId={}", Uuid::from_u128(0xE)))).await.json();
        assert_eq!(empty["final"], is_final, "{empty}");
    }
}

#[actix_web::test]
async fn usage_by_model_names_each_model() {
    let response = get(&usage_path(&format!("{TWO_DAYS}&groupBy=model&granularity=hour&timezone=UTC"))).await;
    let response = response.json();
    assert_eq!(response["granularity"], "hour");
    assert_eq!(response["range"], json!({"start": "2026-03-01T07:00:00Z", "end": "2026-03-02T07:00:00Z"}));
    assert_eq!(response["series"][0]["modelId"], json!(MODEL));
    assert_eq!(response["names"], json!({"modelId": {MODEL.to_string(): "Large"}}));
}

#[actix_web::test]
async fn a_filled_series_keeps_its_totals() {
    let days = "start=2026-03-01T00:00:00Z&end=2026-03-05T00:00:00Z&fill=zero";
    let response = get(&usage_path(days)).await.json();
    let invocations: Vec<_> = response["series"].as_array().unwrap().iter().map(|p| p["invocations"].clone()).collect();
    assert_eq!(invocations, [2, 2, 0, 0]);
    assert_eq!(response["totals"]["invocations"], 4);
    let other = Uuid::from_u128(0xD);
    let response = get(&usage_path(&format!("{days}&groupBy=model&modelId={MODEL}&modelId={other}"))).await.json();
    assert_eq!(response["series"].as_array().unwrap().len(), 8);
    assert_eq!(
        response["series"][1],
        json!({
            "bucketStart": "2026-03-01T00:00:00Z", "modelId": other, "invocations": 0, "inputTokens": 0, "outputTokens": 0,
            "costEstimateCents": 0, "final": true,
        })
    );
    let many: String = (0..100).map(|n| format!("&modelId={}", Uuid::from_u128(n))).collect();
    let hours = "start=2026-01-01T00:00:00Z&end=2026-04-01T00:00:00Z&fill=zero&granularity=hour&groupBy=model";
    assert_eq!(get(&usage_path(&format!("{hours}{many}"))).await.wrong_fields(), ["end"], "216,000 points");
}

#[actix_web::test]
async fn models_that_were_never_used_are_not_filled() {
    let hours = "start=2026-01-01T00:00:00Z&end=2026-04-01T00:00:00Z&fill=zero&granularity=hour&groupBy=model";
    let made_up: String =
        (0..46).map(|n| format!("&modelId={}", Uuid::from_u128(MADE_UP_MODELS.as_u128() + n))).collect();
    for path in
        [usage_path(&format!("{hours}{made_up}")), format!("/analytics/v1/orgs/{ORG}/reliability?{hours}{made_up}")]
    {
        let response = get(&path).await.json();
        let series = response["series"].as_array().unwrap();
        assert_eq!(series.len(), 2160);
        assert!(series.iter().all(|point| point["modelId"] == json!(MODEL)));
    }
}

#[actix_web::test]
async fn reliability_has_percentiles_and_the_worst_bucket() {
    let path = |more: &str| format!("/analytics/v1/orgs/{ORG}/reliability?{TWO_DAYS}{more}");
    let response = get(&path("&percentile=p95")).await.json();
    let point = |start: &str, invocations, errors, rate: f64, by: [u32; 4], [p50, p95, p99]: [f64; 3]| {
        json!({
            "bucketStart": start, "invocations": invocations, "errors": errors, "errorRate": rate,
            "byStatus": {"success": by[0], "error": by[1], "timeout": by[2], "throttled": by[3]},
            "latencyMs": {"p50": p50, "p95": p95, "p99": p99}, "final": false,
        })
    };
    assert_eq!(response["series"][0], point("2026-03-01T00:00:00Z", 4, 3, 0.75, [1, 1, 1, 1], [20.0, 30.0, 30.0]));
    assert_eq!(response["series"][1], point("2026-03-02T00:00:00Z", 1, 0, 0.0, [1, 0, 0, 0], [40.0, 40.0, 40.0]));
    assert_eq!(response["final"], false);
    assert_eq!(response["totals"]["latencyMs"], json!({"p50": 20.0, "p95": 40.0, "p99": 40.0}));
    assert_eq!((&response["totals"]["errorRate"], &response["totals"]["invocations"]), (&json!(0.6), &json!(5)));
    let worst = json!({"bucketStart": "2026-03-02T00:00:00Z", "latencyMs": 40.0});
    assert_eq!(response["highlight"], json!({"percentile": "p95", "latencyMs": 40.0, "worst": worst}));
    for (by, name, value) in [
        ("model", "modelId", json!(MODEL)),
        ("client", "clientId", json!("web")),
        ("errorCode", "errorCode", json!(null)),
    ] {
        let point = get(&path(&format!("&groupBy={by}"))).await.json()["series"][0].clone();
        assert_eq!(point.get(name), Some(&value), "{point}");
    }
    let filled = get(&path("&fill=zero&groupBy=model&granularity=hour")).await.json();
    assert_eq!(filled["series"].as_array().unwrap().len(), 24);
    assert_eq!(
        (&filled["series"][1]["errorRate"], &filled["series"][1]["latencyMs"]["p50"]),
        (&json!(null), &json!(null))
    );
}

#[actix_web::test]
async fn the_ledger_balances_by_hour() {
    let path = format!("/analytics/v1/orgs/{ORG}/ledger?start=2026-03-01T07:30:00Z&end=2026-03-01T08:00:00Z");
    let response = get(&path).await.json();
    assert_eq!(response["range"], json!({"start": "2026-03-01T07:00:00Z", "end": "2026-03-01T08:00:00Z"}));
    assert_eq!(
        response["hours"][0],
        json!({
            "hour": "2026-03-01T07:00:00Z", "received": 10, "stored": 7, "duplicates": 2, "conflicts": 1, "rejected": 1,
            "late": 3, "balanced": true,
        })
    );
    assert_eq!((&response["totals"]["received"], &response["totals"]["balanced"]), (&json!(20), &json!(true)));
    assert_eq!(response["asOf"], "2026-03-01T08:00:00Z");
}

#[actix_web::test]
async fn the_summary_has_pages_and_a_sum() {
    let bearer = format!("Bearer {}", token(Role::SystemAdmin));
    let send = async |more: &str| {
        let path = format!("/analytics/v1/summary?start=2026-03-01T00:00:00Z&end=2026-04-01T00:00:00Z{more}");
        call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await.json()
    };
    let first = send("").await;
    assert_eq!((&first["orgs"][0]["orgId"], &first["orgCount"]), (&json!(ORG), &json!(2)));
    assert_eq!((&first["totals"]["costEstimateCents"], &first["asOf"]), (&json!(1.5), &json!(null)));
    assert_eq!((&first["orgs"][0]["name"], &first["other"]["orgs"]), (&json!("orgId"), &json!(1)));
    let last = send(&format!("&cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!((&last["orgs"][0]["orgId"], last.get("nextCursor")), (&json!(OTHER_ORG), None));
    assert_eq!((&last["other"]["orgs"], last["orgs"][0].get("name")), (&json!(0), None));
}

#[actix_web::test]
async fn a_cursor_of_the_summary_belongs_to_its_request() {
    let bearer = format!("Bearer {}", token(Role::SystemAdmin));
    let send = async |more: &str| {
        let path = format!("/analytics/v1/summary?start=2026-03-01&end=2026-04-01{more}");
        call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await
    };
    for order in ["cost", "invocations", "inputTokens", "outputTokens"] {
        let first = send(&format!("&orderBy={order}")).await.json();
        assert_eq!(first["orgs"][0]["name"], order);
        let cursor = first["nextCursor"].as_str().unwrap();
        let last = send(&format!("&orderBy={order}&limit=7&cursor={cursor}")).await.json();
        assert_eq!(last["orgs"][0]["orgId"], json!(OTHER_ORG), "{order}");
        let problem = send(&format!("&cursor={cursor}")).await.problem(400);
        assert_eq!(problem["errors"][0]["field"], "cursor", "{order}");
    }
    assert_eq!(send("&orderBy=name").await.problem(400)["errors"][0]["field"], "orderBy");
}

#[actix_web::test]
async fn unchanged_facts_are_304_with_their_watermark() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let tag = get(&usage_path(TWO_DAYS)).await.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let send = async |path: &str, tag: &str| {
        call(api_with(None), Method::GET, path, &[("authorization", &bearer), ("if-none-match", tag)]).await
    };
    for given in [tag.as_str(), "*", &format!("\"other\", {tag}"), tag.strip_prefix("W/").unwrap()] {
        let same = send(&usage_path(TWO_DAYS), given).await;
        assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""), "{given}");
        assert_eq!(same.header("analytics-as-of"), Some("2026-03-02T01:00:00Z"));
        assert_eq!(same.header("etag"), Some(tag.as_str()));
    }
    for (path, given) in [(usage_path(TWO_DAYS), "\"other\""), (usage_path(&format!("{TWO_DAYS}&groupBy=model")), &tag)]
    {
        assert_eq!(send(&path, given).await.status.as_u16(), 200, "{path} {given}");
    }
}

#[actix_web::test]
async fn only_configured_origins_may_read() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let send = async |method: Method, origin: &str, more: &[(&str, &str)]| {
        let headers = [&[("authorization", bearer.as_str()), ("origin", origin)], more].concat();
        call(api_with(None), method, &usage_path(TWO_DAYS), &headers).await
    };
    let ours = "https://dashboards.example.org";
    let response = send(Method::GET, ours, &[]).await;
    assert_eq!((response.status.as_u16(), response.header("access-control-allow-origin")), (200, Some(ours)));
    let requested =
        [("access-control-request-method", "GET"), ("access-control-request-headers", "authorization,x-api-key")];
    let preflight = send(Method::OPTIONS, ours, &requested).await;
    assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (200, Some(ours)));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    let response = send(Method::GET, "https://elsewhere.example.org", &[]).await;
    assert_eq!(response.header("access-control-allow-origin"), None);
    send(Method::OPTIONS, "https://elsewhere.example.org", &requested).await.problem(400);
    let wanted = [
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,idempotency-key,range,traceparent,tracestate"),
    ];
    let preflight = send(Method::OPTIONS, ours, &wanted).await;
    assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (200, Some(ours)));
    let wanted = [("access-control-request-method", "PATCH")];
    send(Method::OPTIONS, ours, &wanted).await.problem(400);
    let closed = Api { cors_origins: Vec::new(), ..api_with(None) };
    let headers = [("authorization", bearer.as_str()), ("origin", ours)];
    let response = call(closed, Method::GET, &usage_path(TWO_DAYS), &headers).await;
    assert_eq!((response.status.as_u16(), response.header("access-control-allow-origin")), (200, None));
}

#[actix_web::test]
async fn errors_can_be_read_by_allowed_origins() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let ours = "https://dashboards.example.org";
    let good = usage_path(TWO_DAYS);
    let too_large = "x".repeat(2000);
    let exports = format!("/analytics/v1/orgs/{ORG}/exports");
    for (method, path, authorization, body, status) in [
        (Method::GET, good.as_str(), "Bearer wrong", "", 401),
        (Method::GET, &usage_path("start=yesterday"), &bearer, "", 400),
        (Method::GET, &good.replace(&ORG.to_string(), &OTHER_ORG.to_string()), &bearer, "", 403),
        (Method::GET, "/analytics/v1/nowhere", &bearer, "", 404),
        (Method::POST, &good, &bearer, "", 405),
        (Method::POST, &exports, &bearer, &too_large, 413),
    ] {
        let length = body.len().to_string();
        let headers = [("authorization", authorization), ("origin", ours), ("content-length", &length)];
        let headers = if body.is_empty() { &headers[..2] } else { &headers[..] };
        let response = call_with(api_with(None), method, path, headers, body).await;
        response.problem(status);
        assert_eq!(response.header("access-control-allow-origin"), Some(ours), "{status}");
        let exposed = response.header("access-control-expose-headers").unwrap().to_ascii_lowercase();
        for name in ["location", "content-disposition", "x-request-id", "retry-after", "analytics-as-of", "etag"] {
            assert!(exposed.contains(name), "{name} of {exposed}");
        }
    }
    let response = call(api_with(None), Method::GET, &good, &[("origin", "https://elsewhere.example.org")]).await;
    response.problem(401);
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[actix_web::test]
async fn freshness_follows_the_contract() {
    let response = get(&format!("/analytics/v1/orgs/{ORG}/freshness?modelId={MODEL}")).await;
    let expected = json!({
        "orgId": ORG,
        "status": "fresh",
        "entries": [{"modelId": MODEL, "lastEventAt": "2026-03-02T10:59:58.500Z",
                     "lastRollupAt": "2026-03-02T11:00:00Z", "lagSeconds": 0.412, "status": "fresh"}],
    });
    assert_eq!(response.json(), expected);
}

#[actix_web::test]
async fn unavailable_data_is_503_with_retry_after() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    for (error, kind) in [
        (QueryError::Busy, "/problems/busy"),
        (QueryError::Unavailable, "/problems/unavailable"),
        (QueryError::TooSlow, "/problems/too-slow"),
    ] {
        for path in [usage_path(TWO_DAYS), format!("/analytics/v1/orgs/{ORG}/freshness")] {
            let response = call(api_with(Some(error)), Method::GET, &path, &[("authorization", &bearer)]).await;
            assert_eq!(response.problem(503)["type"], kind);
            assert!(response.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        }
    }
    let broken = api_with(Some(QueryError::Broken));
    call(broken, Method::GET, &usage_path(TWO_DAYS), &[("authorization", &bearer)]).await.problem(500);
}

#[actix_web::test]
async fn purged_ranges_are_refused_with_the_first_start() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let start = at("2026-03-01T18:30:00Z");
    let off_the_hour = "any more, and days of this zone begin within an hour of UTC";
    for (what, named, ending) in [
        (Missing::RawEvents, "raw events", "any more"),
        (Missing::RawEventsOfSplitHours, "raw events", off_the_hour),
        (Missing::Rollups, "rollups", "any more"),
        (Missing::RollupsOfSome, "rollups of some organisations", "any more"),
        (Missing::Revisions, "revisions", "any more"),
        (Missing::LedgerHours, "hours of the ledger", "any more"),
    ] {
        let gone = api_with(Some(QueryError::Gone(Gone { start, what })));
        let response = call(gone, Method::GET, &usage_path(TWO_DAYS), &[("authorization", &bearer)]).await;
        assert_eq!(response.wrong_fields(), ["start"]);
        let message =
            format!("must be at or after 2026-03-01T18:30:00Z here: {named} from before are not kept {ending}");
        assert_eq!(response.json()["errors"][0]["message"], message);
    }
}

#[actix_web::test]
async fn without_query_actors_the_response_is_503() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let state = crate::http::Api { queries: Queries::default(), ..api_with(None) };
    let response = call(state, Method::GET, &usage_path(TWO_DAYS), &[("authorization", &bearer)]).await;
    response.problem(503);
}

#[actix_web::test]
async fn a_valid_request_id_is_returned() {
    for (given, kept) in [("trace-1.A_z", true), ("", false), ("a b", false), ("é", false), (&"x".repeat(65), false)] {
        let response = call(api_with(None), Method::GET, "/nowhere", &[("x-request-id", given)]).await;
        assert_eq!(response.problem(404)["requestId"] == given, kept, "{given}");
    }
}

#[actix_web::test]
async fn requests_are_counted_by_route_pattern() {
    let state = api_with(None);
    let metrics = state.metrics.clone();
    let app = test::init_service(api(web::Data::new(state))).await;
    for path in [usage_path(TWO_DAYS), "/secret".into(), "/analytics/v1/orgs/x/y".into()] {
        test::call_service(&app, test::TestRequest::get().uri(&path).to_request()).await;
    }
    let text = metrics.encode(Format::OpenMetrics).unwrap();
    let count = "analytics_http_request_seconds_count";
    let usage = r#"{route="/analytics/v1/orgs/{orgId}/usage",method="GET",status="401"} 1"#;
    assert!(text.contains(&format!("{count}{usage}")), "{text}");
    assert!(text.contains(&format!(r#"{count}{{route="unknown",method="GET",status="404"}} 2"#)), "{text}");
    assert!(!text.contains("secret") && !text.contains(&ORG.to_string()));
}

#[actix_web::test]
async fn the_operations_port_serves_probes_and_metrics() {
    let parts = operations(None, false);
    parts.metrics.expect_dependency("database");
    let app = test::init_service(ops(parts.clone())).await;
    let send =
        async |path: &str| read(test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await).await;
    assert_eq!(send("/healthz").await.status, 200);
    let starting = send("/readyz").await;
    assert_eq!((starting.status.as_u16(), &starting.json()["status"]), (503, &json!("starting")));
    parts.readiness.set_phase(Phase::Serving);
    parts.readiness.up("database");
    parts.readiness.down("partition/0", "no subscription");
    let degraded = send("/readyz").await;
    assert_eq!(degraded.status, 200);
    let body = degraded.json();
    assert_eq!(body["status"], "degraded");
    assert_eq!(body["components"][0], json!({"name": "database", "state": "up"}));
    assert_eq!(body["components"][1]["cause"], "no subscription");
    let metrics = send("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some(Format::Prometheus.content_type()));
    assert!(metrics.text.contains("\nanalytics_dependency_up"), "{}", metrics.text);
    assert!(!metrics.text.contains("/healthz"), "probes are left out: {}", metrics.text);
    let accept = ("accept", "application/openmetrics-text");
    let openmetrics = test::TestRequest::get().uri("/metrics").insert_header(accept).to_request();
    let metrics = read(test::call_service(&app, openmetrics).await).await;
    assert_eq!(metrics.header("content-type"), Some(Format::OpenMetrics.content_type()));
    assert!(metrics.text.ends_with("# EOF\n"));
    send("/usage").await.problem(404);
}
