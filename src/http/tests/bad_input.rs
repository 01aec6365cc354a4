//! Each bad parameter is named, all of them in one response, and nothing that was sent comes back.

use actix_web::http::Method;

use serde_json::json;
use utoipa::openapi::path::ParameterIn;

use super::{access_table::send, support::*};
use crate::{auth::Role, http::routes};

const DAY: &str = "start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z";

#[actix_web::test]
async fn each_bad_parameter_is_named() {
    let many: String = (0..101).map(|n| format!("&modelId={}", uuid::Uuid::from_u128(n))).collect();
    for (query, fields) in [
        ("".to_owned(), vec!["start"]),
        ("start=2200-03-01".into(), vec!["start"]),
        ("start=2020-03-01T00:00:00Z".into(), vec!["end"]),
        ("start=yesterday&end=2026-03-02T00:00:00Z".into(), vec!["start"]),
        ("start=2026-3-01&end=2026-03-02T00:00:00Z".into(), vec!["start"]),
        ("start=2026-03-01T00:00:00%2002:00&end=2026-03-02".into(), vec!["start"]),
        ("start=1969-12-31T00:00:00Z&end=2026-03-02T00:00:00Z".into(), vec!["start"]),
        ("start=2026-03-01T00:00:00Z&end=9999-12-31T23:59:59Z".into(), vec!["end"]),
        ("start=2026-03-02T00:00:00Z&end=2026-03-02T00:00:00Z".into(), vec!["end"]),
        ("start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z".into(), vec!["end"]),
        ("start=2025-01-01T00:00:00Z&end=2026-02-05T00:00:01Z".into(), vec!["end"]),
        ("granularity=hour&start=2026-01-01T00:00:00Z&end=2026-04-01T00:00:01Z".into(), vec!["end"]),
        ("granularity=hour&timezone=Europe/Berlin&start=2025-10-01&end=2025-12-31".into(), vec!["end"]),
        (format!("{DAY}&start=2026-03-01T00:00:00Z"), vec!["start"]),
        (format!("{DAY}&granularity=week"), vec!["granularity"]),
        (format!("{DAY}&granularity=day&granularity=day"), vec!["granularity"]),
        (format!("{DAY}&groupBy=client"), vec!["groupBy"]),
        (format!("{DAY}&timezone=Europe/Atlantis"), vec!["timezone"]),
        (format!("{DAY}&timezone=europe/berlin"), vec!["timezone"]),
        (format!("{DAY}&modelId=gpt"), vec!["modelId"]),
        (format!("{DAY}&modelId="), vec!["modelId"]),
        (format!("{DAY}&modelId=00000000000000000000000000000001"), vec!["modelId"]),
        (format!("{DAY}{many}"), vec!["modelId"]),
        (format!("{DAY}&fill=one"), vec!["fill"]),
        (format!("{DAY}&percentile=p95"), vec!["percentile"]),
        (format!("{DAY}&Start=1"), vec!["Start"]),
        (format!("{DAY}&%3Cscript%3E=1"), vec!["query"]),
    ] {
        assert_eq!(get(&usage_path(&query)).await.wrong_fields(), fields, "{query}");
    }
}

#[actix_web::test]
async fn every_path_refuses_what_it_does_not_document() {
    let bearer = format!("Bearer {}", token(Role::SystemAdmin));
    // What is wrong with a link is not distinguished.
    for route in routes::rest().into_iter().filter(|route| !route.path.ends_with("/downloads/{key}")) {
        let of_the_query = route.parameters.iter().filter(|parameter| parameter.parameter_in == ParameterIn::Query);
        let names: Vec<&str> = of_the_query.map(|parameter| parameter.name.as_str()).collect();
        let known = if names.is_empty() { "has none".to_owned() } else { format!("are: {}", names.join(", ")) };
        let path = format!("{}?surprise=1", route.path);
        let response = send(&route.method, &path, ORG, &[("authorization", &bearer)]).await;
        let expected =
            json!({"field": "surprise", "message": format!("is not a parameter of this path, which {known}")});
        assert_eq!(response.problem(400)["errors"][0], expected, "{path}");
    }
}

#[actix_web::test]
async fn the_longest_ranges_are_accepted() {
    for query in [
        "start=2025-01-01T00:00:00Z&end=2026-02-05T00:00:00Z",
        "granularity=hour&start=2026-01-01T00:00:00Z&end=2026-04-01T00:00:00Z",
        "start=2026-03-01T00:00:00%2B02:00&end=2026-03-01T00:00:00.000001%2B02:00",
        "granularity=hour&timezone=Europe/Berlin&start=2025-10-01&end=2025-12-30",
        "timezone=Europe/Berlin&start=2025-02-25&end=2026-04-01",
    ] {
        let response = get(&usage_path(query)).await;
        assert_eq!(response.status, 200, "{query} {}", response.text);
    }
    // 90 days, and 400, of a zone whose clocks were set back within them.
    for (path, query) in
        [("ledger", "start=2025-10-01&end=2025-12-30"), ("revisions", "start=2025-05-01&end=2026-06-05")]
    {
        let response = get(&format!("/analytics/v1/orgs/{ORG}/{path}?timezone=Europe/Berlin&{query}")).await;
        assert_eq!(response.status, 200, "{path} {}", response.text);
        let later = query.replace("12-30", "12-31").replace("06-05", "06-06");
        let response = get(&format!("/analytics/v1/orgs/{ORG}/{path}?timezone=Europe/Berlin&{later}")).await;
        assert_eq!(response.wrong_fields(), ["end"], "{path}");
    }
}

#[actix_web::test]
async fn all_wrong_parameters_are_named_at_once() {
    let query =
        "start=Hunter22&granularity=Hunter22&groupBy=Hunter22&timezone=Hunter22&modelId=Hunter22&unknown=Hunter22";
    let response = get(&usage_path(query)).await;
    let mut fields = response.wrong_fields();
    fields.sort();
    assert_eq!(fields, ["granularity", "groupBy", "modelId", "start", "timezone", "unknown"]);
    let raw = format!(
        "/analytics/v1/orgs/{ORG}/reliability?start=2026-03-01T00:00:00Z&end=2026-03-08T00:00:01Z&groupBy=client"
    );
    assert_eq!(get(&format!("{raw}&percentile=p90")).await.wrong_fields(), ["percentile", "end"]);
    for path in [format!("orgs/{ORG}/ledger?start=2026-01-01T00:00:00Z&end=2026-04-01T00:00:01Z&granularity=day")] {
        assert_eq!(get(&format!("/analytics/v1/{path}")).await.wrong_fields(), ["granularity", "end"]);
    }
    assert!(!response.text.contains("Hunter22"), "{}", response.text);
}

#[actix_web::test]
async fn a_date_is_a_whole_day() {
    for (query, range) in [
        ("start=2026-03-01&end=2026-03-03", ["2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z"]),
        ("start=2026-03-28&end=2026-03-30&timezone=Europe/Berlin", ["2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z"]),
        (
            "start=2026-03-01&end=2026-03-01T09:59:60Z&granularity=hour",
            ["2026-03-01T00:00:00Z", "2026-03-01T10:00:00Z"],
        ),
    ] {
        let response = get(&usage_path(query)).await;
        assert_eq!(response.json()["range"], serde_json::json!({"start": range[0], "end": range[1]}), "{query}");
    }
    let ledger = format!("/analytics/v1/orgs/{ORG}/ledger?start=");
    let begun = chrono::Utc::now();
    let end = get(&format!("{ledger}{}", begun.date_naive())).await.json()["range"]["end"].clone();
    let end: chrono::DateTime<chrono::Utc> = end.as_str().unwrap().parse().unwrap();
    assert!(begun <= end && end <= chrono::Utc::now() + chrono::TimeDelta::hours(1), "{end}");
    for path in ["ledger", "revisions", "reliability"] {
        for (zone, hour) in [("UTC", "2026-03-02T00:00:00Z"), ("Europe/Berlin", "2026-03-01T23:00:00Z")] {
            let query = format!("start=2026-03-01&end=2026-03-02&timezone={zone}");
            let response = get(&format!("/analytics/v1/orgs/{ORG}/{path}?{query}")).await;
            assert_eq!(response.json()["range"]["end"], hour, "{path}");
        }
    }
}

#[actix_web::test]
async fn a_raw_plus_of_an_offset_is_explained() {
    for path in [
        usage_path("start=2026-03-01T00:00:00+02:00"),
        format!("/analytics/v1/orgs/{ORG}/ledger?start=2026-03-01T00:00:00+02:00"),
    ] {
        let response = get(&path).await;
        let message = response.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("write %2B"), "{message}");
    }
}

#[actix_web::test]
async fn freshness_names_its_parameters_too() {
    let path = format!("/analytics/v1/orgs/{ORG}/freshness?modelId=x&start=2026-03-01T00:00:00Z");
    assert_eq!(get(&path).await.wrong_fields(), ["start", "modelId"]);
}

#[actix_web::test]
async fn an_invalid_org_is_named_after_authentication() {
    let path = format!("/analytics/v1/orgs/acme/usage?{DAY}");
    assert_eq!(get(&path).await.wrong_fields(), ["orgId"]);
    call(api_with(None), Method::GET, &path, &[]).await.problem(401);
}

#[actix_web::test]
async fn unknown_paths_are_404_and_methods_405() {
    for path in ["/", "/analytics/v1", "/analytics/v1/orgs//usage", "/analytics/v2/Hunter22", "/usage%00"] {
        let response = get(path).await;
        response.problem(404);
        assert!(!response.text.contains("Hunter22"));
    }
    for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::from_bytes(b"BREW").unwrap()] {
        let response = call(api_with(None), method, &usage_path(DAY), &[]).await;
        response.problem(405);
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
}

#[actix_web::test]
async fn a_body_over_the_limit_is_413() {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    let headers = [("authorization", bearer.as_str()), ("content-length", "1025")];
    call(api_with(None), Method::GET, &usage_path(DAY), &headers).await.problem(413);
}
