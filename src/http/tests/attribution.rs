//! Attribution: the form of its responses, its pages, and what may be requested.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::support::*;
use crate::auth::Role::OrgViewer;

const DAY: &str = "start=2026-03-01&end=2026-03-02";

async fn get(rest: &str) -> Response {
    let bearer = format!("Bearer {}", token(OrgViewer));
    let path = format!("/analytics/v1/orgs/{ORG}/attribution{rest}");
    call(api_with(None), Method::GET, &path, &[("authorization", &bearer)]).await
}

fn totals(invocations: u64, errors: u64, cost: f64) -> Value {
    json!({
        "invocations": invocations, "errors": errors, "inputTokens": 15 * invocations, "outputTokens": 20 * invocations,
        "costEstimateCents": cost
    })
}

#[actix_web::test]
async fn attribution_follows_the_contract() {
    let response = get(&format!("?{DAY}&groupBy=clientId&top=2")).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(response.header("cache-control"), Some("private, no-cache"));
    let mut body = response.json();
    let cursor = body["nextCursor"].take();
    let expected = json!({
        "orgId": ORG,
        "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
        "timezone": "UTC",
        "granularity": "none",
        "groupBy": ["clientId"],
        "final": false,
        "groups": [
            {"key": {"clientId": "web"}, "names": {"clientId": "Web shop"}, "rank": 1, "totals": totals(2, 1, 1.5)},
            {"key": {"clientId": "a\"🙂"}, "names": {}, "rank": 2, "totals": totals(4, 1, 0.2)},
        ],
        "other": {"groups": 1, "totals": totals(8, 1, 0.2)},
        "unattributed": {"totals": totals(1, 1, 0.0001)},
        "overflow": {"totals": totals(3, 1, 0.03)},
        "totals": totals(18, 5, 1.9301),
        "rankingExact": false,
        "nextCursor": null,
        "freshness": {"lastEventAt": "2026-03-02T10:59:58.500Z", "lastRollupAt": "2026-03-02T11:00:00Z",
                      "lagSeconds": 0.412, "status": "fresh"},
        "asOf": "2026-03-02T00:00:00Z",
    });
    assert_eq!(body, expected);
    let next = format!("?{DAY}&groupBy=clientId&top=7&cursor={}", cursor.as_str().unwrap());
    let last = get(&next).await.json();
    assert_eq!(last["groups"][0]["key"], json!({"clientId": "batch"}));
    assert_eq!((&last["groups"][0]["rank"], &last["other"]["groups"]), (&json!(3), &json!(0)));
    assert_eq!((last.get("nextCursor"), &last["totals"]), (None, &body["totals"]));
}

#[actix_web::test]
async fn series_come_with_a_granularity() {
    for (granularity, start) in [("month", "2026-02-28T23:00:00Z"), ("day", "2026-02-28T23:00:00Z")] {
        let query = format!("?{DAY}&timezone=Europe/Berlin&groupBy=clientId&top=1&granularity={granularity}");
        let report = get(&query).await.json();
        let mut point = totals(2, 1, 1.5);
        point["bucketStart"] = json!(start);
        point["final"] = json!(false);
        assert_eq!(report["groups"][0]["series"], json!([point]), "{report}");
    }
    let report = get(&format!("?{DAY}&groupBy=clientId&groupBy=meta.a%22b&orderBy=invocations")).await.json();
    assert_eq!(report["groups"][0]["key"], json!({"clientId": "batch", "meta.a\"b": null}));
    assert_eq!(report["groupBy"], json!(["clientId", "meta.a\"b"]));
}

#[actix_web::test]
async fn a_cursor_belongs_to_its_request() {
    let query = format!("?{DAY}&groupBy=clientId&meta.team=search");
    let first = get(&format!("{query}&top=1")).await.json();
    let cursor = first["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(get(&format!("?meta.team=search&groupBy=clientId&{DAY}&cursor={cursor}")).await.status, 200);
    for other in [
        format!("?{DAY}&groupBy=clientId"),
        format!("?{DAY}&groupBy=clientId&meta.team=other"),
        format!("?{DAY}&groupBy=modelId&meta.team=search"),
        format!("{query}&orderBy=errors"),
        format!("{query}&timezone=Europe/Berlin"),
    ] {
        assert_eq!(get(&format!("{other}&cursor={cursor}")).await.wrong_fields(), ["cursor"], "{other}");
    }
}

#[actix_web::test]
async fn wrong_parameters_of_attribution_are_named() {
    let many: String = (0..101).map(|n| format!("&clientId={n}")).collect();
    let fields = "&meta.a=1&meta.b=1&meta.c=1&meta.d=1&meta.e=1&meta.f=1&meta.g=1";
    for (query, wrong) in [
        (String::new(), "groupBy"),
        ("&groupBy=clientid".into(), "groupBy"),
        ("&groupBy=meta.".into(), "groupBy"),
        ("&groupBy=meta.a%00".into(), "groupBy"),
        ("&groupBy=clientId&groupBy=clientId".into(), "groupBy"),
        ("&groupBy=clientId&groupBy=modelId&groupBy=status&groupBy=actorId".into(), "groupBy"),
        ("&groupBy=clientId&modelId=gpt".into(), "modelId"),
        ("&groupBy=clientId&actorId=ann".into(), "actorId"),
        ("&groupBy=clientId&status=ok".into(), "status"),
        ("&groupBy=clientId&errorCode=a%00".into(), "errorCode"),
        ("&groupBy=clientId&meta.a=%00".into(), "meta.a"),
        ("&groupBy=clientId&meta.%3Cb%3E=%00".into(), "query"),
        ("&groupBy=clientId&meta.=1".into(), "meta."),
        ("&groupBy=clientId&unset=team".into(), "unset"),
        (format!("&groupBy=clientId{many}"), "clientId"),
        (format!("&groupBy=clientId{fields}"), "unset"),
        ("&groupBy=clientId&orderBy=latency".into(), "orderBy"),
        ("&groupBy=clientId&top=0".into(), "top"),
        ("&groupBy=clientId&top=1001".into(), "top"),
        ("&groupBy=clientId&granularity=week".into(), "granularity"),
        ("&groupBy=clientId&cursor=x".into(), "cursor"),
        ("&groupBy=clientId&fill=zero".into(), "fill"),
    ] {
        assert_eq!(get(&format!("?{DAY}{query}")).await.wrong_fields(), [wrong], "{query}");
    }
    for several in ["groupBy=clientId,modelId", "groupBy=clientId&status=error,timeout", "groupBy=clientId&modelId=a,b"]
    {
        let problem = get(&format!("?{DAY}&{several}")).await.problem(400);
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.ends_with("such as groupBy=clientId&groupBy=modelId"), "{several}: {message}");
    }
    let problem = get(&format!("?{DAY}&groupBy=actorId")).await.problem(400);
    let message = "no set has these together with what is filtered by; the sets are: clientId,modelId";
    assert_eq!(problem["errors"], json!([{"field": "groupBy", "message": message}]));
    let long = "?start=2025-01-01&end=2026-02-06&groupBy=clientId";
    assert_eq!(get(long).await.wrong_fields(), ["end"]);
    assert_eq!(get("?start=2025-01-01&end=2026-02-05&groupBy=clientId").await.status, 200);
}

#[actix_web::test]
async fn dimensions_and_values_are_listed() {
    let expected = json!({
        "orgId": ORG,
        "sets": [{"dimensions": ["clientId", "modelId"], "completeFrom": null, "maxKeysPerDay": 10_000}]
    });
    assert_eq!(get("/dimensions").await.json(), expected);
    let expected = |more: bool, limit: u16| {
        let mut values =
            vec![json!({"value": "web", "name": "Web shop"}), json!({"value": format!("clientId w {limit}")})];
        values.extend((!more).then(|| json!({"value": "more"})));
        json!({"dimension": "clientId", "values": values, "more": more})
    };
    for (limit, more) in [(2, true), (3, false)] {
        let found = get(&format!("/values?dimension=clientId&prefix=w&limit={limit}")).await.json();
        assert_eq!(found, expected(more, limit));
    }
    for (query, wrong) in [
        ("", "dimension"),
        ("dimension=client", "dimension"),
        ("dimension=clientId&prefix=%00", "prefix"),
        ("dimension=clientId&limit=501", "limit"),
    ] {
        assert_eq!(get(&format!("/values?{query}")).await.wrong_fields(), [wrong], "{query}");
    }
}
