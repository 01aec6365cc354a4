//! The numbers of the pages are the trace's own, in every zone, and what names look like changes nothing.

use analytics_service::auth::Role;
use chrono::{NaiveDate, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    chromium::Shape,
    visitor::{EXPECTED, Visitor, digits},
};
use crate::{
    harness::{Service, World, eventually, sent, settled},
    store_commit::{body, event},
};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/azure-llm-2023-conv.csv");

/// A service whose sums by model and client follow within a second, with the trace; and the trace's first org.
async fn with_trace() -> (World, Service, Uuid) {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let service = world.serve().await;
    let state = tempfile::tempdir().unwrap();
    let report = world.publish(&["--trace", TRACE, "--state-dir", state.path().to_str().unwrap()]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    let org = report["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    (world, service, org)
}

async fn usage(service: &Service, org: Uuid, query: &str) -> Value {
    let token = service.token(&[org], &[Role::OrgViewer]);
    let (status, found) = service.get(&format!("/analytics/v1/orgs/{org}/usage?{query}"), &token).await;
    assert_eq!(status, 200, "{found}");
    found
}

fn days_ago(days: i64) -> NaiveDate {
    (Utc::now() - TimeDelta::days(days)).date_naive()
}

#[tokio::test]
async fn the_numbers_of_usage_are_the_traces() {
    let (world, service, org) = with_trace().await;
    let wanted = usage(&service, org, &format!("start={}&end={}", days_ago(3), days_ago(0))).await;
    let with = ["--org", &org.to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    let range = format!("start={}&end={}", days_ago(3), days_ago(0));
    // The sums by model are there a moment after those of usage.
    let page = format!("usage?by=modelId&granularity=day&{range}");
    let cost = wanted["totals"]["costEstimateCents"].to_string();
    eventually("the sums by model are there", async || {
        visitor.at(&page).await;
        let total = visitor.texts("main > .panel tfoot .total td").await;
        total.first().is_some_and(|found| digits(found) == cost).then_some(())
    })
    .await;
    let figures = visitor.figures().await;
    for (n, measure) in ["costEstimateCents", "invocations", "inputTokens", "outputTokens"].iter().enumerate() {
        assert_eq!(digits(&figures[n].1), wanted["totals"][measure].to_string(), "{figures:?}");
    }
    let shown = visitor.texts("main > .panel tbody td:nth-child(3)").await;
    let invocations: u64 = shown.iter().map(|text| digits(text).parse::<u64>().unwrap()).sum();
    assert_eq!(invocations, wanted["totals"]["invocations"], "the rows add up");
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

/// Requests of the first page, and bytes of its scripts as they are sent.
const MOST_REQUESTS: u64 = 25;
const MOST_SCRIPT: u64 = 60_000;

#[tokio::test]
async fn reliability_and_trust_have_the_numbers_of_the_trace() {
    let (world, service, org) = with_trace().await;
    let with = ["--org", &org.to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    let token = service.token(&[org], &[Role::OrgViewer]);
    let range = format!("start={}&end={}", days_ago(3), days_ago(-1));
    let (_, found) = service.get(&format!("/analytics/v1/orgs/{org}/reliability?{range}"), &token).await;
    visitor.at(&format!("reliability?{range}")).await;
    let (figures, totals) = (visitor.figures().await, &found["totals"]);
    assert!(totals["errors"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(digits(&figures[1].1), totals["errors"].to_string(), "{figures:?}");
    let rate = totals["errors"].as_f64().unwrap() / totals["invocations"].as_f64().unwrap() * 100.0;
    assert_eq!(figures[0].1, format!("{rate:.2}%"));
    let p95 = totals["latencyMs"]["p95"].as_f64().unwrap();
    assert_eq!(digits(&figures[2].1), format!("{p95:.0}"), "{figures:?}");

    let sums = usage(&service, org, &range).await;
    let stored = sums["totals"]["invocations"].as_u64().unwrap();
    visitor.at(&format!("trust?{range}")).await;
    let balance = visitor.texts(".balance b").await;
    let balance: Vec<u64> = balance.iter().map(|text| digits(text).parse().unwrap()).collect();
    assert_eq!(balance, [stored, stored, 0, 0], "received, stored, duplicates, rejected");
    assert!(visitor.texts(".balance").await[0].trim_start().starts_with("balanced"));
    visitor.browser.says("is not final yet").await;
    visitor.at(&format!("trust?start={}&end={}", days_ago(10), days_ago(5))).await;
    visitor.browser.says("is final").await;
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_first_page_needs_little() {
    let (world, service, org) = with_trace().await;
    let with = ["--org", &org.to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("").await;
    // Each address once: a busy service is asked again, and a page refreshes itself.
    let needed =
        "const all = performance.getEntriesByType('resource'), scripts = all.filter(({name}) => name.endsWith('.js'));
        return [new Set(all.map(({name}) => name)).size + 1, scripts.reduce((sum, {encodedBodySize}) => sum + encodedBodySize, 0)]";
    let needed = visitor.browser.script(needed).await;
    let (requests, script) = (needed[0].as_u64().unwrap(), needed[1].as_u64().unwrap());
    assert!((10..=MOST_REQUESTS).contains(&requests), "{requests} requests");
    assert!((10_000..=MOST_SCRIPT).contains(&script), "{script} bytes of script");
}

#[tokio::test]
async fn days_are_those_of_the_zone() {
    let (world, service, org) = with_trace().await;
    let with = ["--org", &org.to_string(), "--role", "org_viewer"];
    // Whatever zone the machine of the browser is in.
    let shape = Shape { zone: "America/St_Johns", ..Shape::default() };
    let Some(visitor) = Visitor::enter(&world, service.api, shape, &with).await else { return };
    for zone in ["UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Apia"] {
        let wanted = usage(&service, org, &format!("start={}&timezone={zone}", days_ago(6))).await;
        visitor.at(&format!("?range=7d&zone={zone}")).await;
        let rows = visitor.numbers().await;
        let wanted: Vec<_> = wanted["series"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| (point["costEstimateCents"].to_string(), point["invocations"].to_string()))
            .collect();
        let shown: Vec<_> = rows.iter().map(|cells| (digits(&cells[1]), digits(&cells[2]))).collect();
        assert_eq!(shown, wanted, "{zone}: {rows:?}");
        assert!(visitor.texts(".context").await[0].contains(&zone.replace('_', " ")), "the zone is printed");
    }
}

#[tokio::test]
async fn hostile_names_are_text() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let names = [
        "<img src=x onerror=\"window.hit = 1\">",
        "\u{202e}\u{5e2}\u{5d1}\u{5e8} right to left",
        &"\u{1f600}".repeat(200),
        "=HYPERLINK(\"http://x\")",
    ];
    let bodies = names.iter().enumerate().map(|(n, name)| {
        let mut event = event(org.as_u128(), n as u128, Utc::now());
        event.client_id = Some((*name).to_owned());
        event.error_code = Some((*name).to_owned());
        body(&event)
    });
    world.send(bodies).await;
    settled(&mut world.connect().await, 4).await;
    let with = ["--org", &org.to_string(), "--role", "org_admin"];
    for shape in [Shape::default(), Shape { width: 360, height: 740, ..Shape::default() }] {
        let Some(visitor) = Visitor::enter(&world, service.api, shape, &with).await else { return };
        eventually("the clients are there", async || {
            visitor.at("usage?by=clientId&range=today").await;
            (visitor.texts("main > .panel tbody tr").await.len() == names.len()).then_some(())
        })
        .await;
        visitor.browser.says(names[0]).await;
        for page in [
            "usage?by=errorCode&range=today",
            "reliability?by=client&range=today",
            "reliability?by=errorCode&range=today",
            "?range=today",
        ] {
            visitor.at(page).await;
            let wrong = "return [window.hit, document.querySelectorAll('main img').length, document.documentElement.scrollWidth > document.documentElement.clientWidth]";
            assert_eq!(
                visitor.browser.script(wrong).await,
                serde_json::json!([null, 0, false]),
                "{page} at {}",
                shape.width
            );
        }
        assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
    }
}
