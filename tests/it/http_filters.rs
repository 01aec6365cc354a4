//! Usage and reliability with filters: held against the events themselves, and against attribution.

use std::collections::BTreeMap;

use analytics_service::{
    auth::Role,
    domain::event::{Event, Status},
};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Service, World, decimal, settled},
    http_attribution::{Request, Sums, add, complete, events, of_event, of_json, value_of, world},
    store_commit::{body, event},
};

const TEAM: &str = "meta.te.am 🙂";

/// Parameters that filter.
type Filters<'f> = &'f [(&'f str, &'f str)];

/// A service with the events of an org, all of them folded, and a request of its usage from before the first one on.
async fn started(world: &World, events: &[Event], now: DateTime<Utc>) -> (Service, Request) {
    let service = world.serve().await;
    let org = events[0].org_id;
    world.send(events.iter().map(body)).await;
    settled(&mut world.connect().await, i64::try_from(events.len()).unwrap()).await;
    let start = (now - TimeDelta::days(22)).format("%Y-%m-%d").to_string();
    let token = service.token(&[org], &[Role::OrgAdmin]);
    let request = Request { org, token, params: vec![("start".to_owned(), start)] };
    complete(&service, &request, events.len()).await;
    (service, request)
}

/// Whether an event passes: each field that is given has one of its values, or none where it may be unset.
fn passes(event: &Event, filters: Filters<'_>) -> bool {
    let unset = |name: &str| filters.iter().any(|(of, value)| *of == "unset" && *value == name);
    let names = filters.iter().map(|(name, value)| if *name == "unset" { *value } else { *name });
    names.into_iter().all(|name| match value_of(event, name) {
        None => unset(name),
        Some(found) => filters.iter().any(|(of, value)| *of == name && *value == found),
    })
}

/// Sums without errors, which usage does not have.
fn of_usage(totals: &Value) -> Sums {
    let number = |name: &str| totals[name].as_u64().unwrap();
    (number("invocations"), 0, number("inputTokens"), number("outputTokens"), decimal(&totals["costEstimateCents"]))
}

fn without_errors(of: Sums) -> Sums {
    (of.0, 0, of.2, of.3, of.4)
}

/// The start of the bucket in the zone.
fn bucket(at: DateTime<Utc>, granularity: &str, zone: Tz) -> DateTime<Utc> {
    if granularity == "hour" {
        return at.with_minute(0).unwrap().with_second(0).unwrap().with_nanosecond(0).unwrap();
    }
    let midnight = at.with_timezone(&zone).date_naive().and_hms_opt(0, 0, 0).unwrap();
    midnight.and_local_timezone(zone).earliest().unwrap().to_utc()
}

#[tokio::test]
async fn filtered_usage_is_attributions_and_the_events() {
    let world = world().await;
    let now = Utc::now();
    let events = events(Uuid::new_v4(), 700, now);
    let (service, all) = started(&world, &events, now).await;
    let person = events.iter().find_map(|event| event.actor_id).unwrap().to_string();
    let models = [0, 1].map(|n| Uuid::from_u128(n).to_string());
    let filters: [Filters<'_>; 9] = [
        &[("clientId", "web")],
        &[("clientId", "web"), ("clientId", ""), ("modelId", &models[1])],
        &[("unset", "clientId")],
        &[("unset", "errorCode"), ("errorCode", "quota"), ("status", "error")],
        &[("actorId", &person)],
        &[(TEAM, "o'neil"), ("clientId", "a/b \"🙂\"")],
        &[("status", "timeout"), ("status", "throttled"), ("modelId", &models[0]), ("modelId", &models[1])],
        &[("clientId", "nobody")],
        &[("unset", "modelId"), ("modelId", &models[0])],
    ];
    for (n, filters) in filters.into_iter().enumerate() {
        let filtered = all.with(filters);
        let expected = events.iter().filter(|event| passes(event, filters)).map(of_event);
        let expected = without_errors(expected.reduce(add).unwrap_or_default());
        let attribution = filtered.with(&[("groupBy", "modelId")]).page(&service).await;
        assert_eq!(without_errors(of_json(&attribution["totals"])), expected, "{filters:?}");
        for (granularity, zone) in [("day", "UTC"), ("hour", "UTC"), ("day", "Europe/Berlin"), ("day", "Asia/Kolkata")]
        {
            for group_by in ["none", "model"] {
                let wanted = filtered.with(&[("granularity", granularity), ("timezone", zone), ("groupBy", group_by)]);
                let (status, usage) = wanted.send(&service, "usage").await;
                assert_eq!(status, 200, "{filters:?} {usage}");
                assert_eq!(of_usage(&usage["totals"]), expected, "{filters:?} {granularity} {zone}");
                assert_eq!(usage["overflow"]["invocations"], 0);
                let mut points: BTreeMap<(DateTime<Utc>, Option<String>), Sums> = BTreeMap::new();
                for event in events.iter().filter(|event| passes(event, filters)) {
                    let model = (group_by == "model").then(|| event.model_id.to_string());
                    let start = bucket(event.occurred_at, granularity, zone.parse().unwrap());
                    let sum = points.entry((start, model)).or_default();
                    *sum = without_errors(add(*sum, of_event(event)));
                }
                let found: Vec<_> = usage["series"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|point| {
                        let start = point["bucketStart"].as_str().unwrap().parse().unwrap();
                        ((start, point["modelId"].as_str().map(str::to_owned)), of_usage(point))
                    })
                    .collect();
                assert_eq!(
                    found,
                    points.into_iter().collect::<Vec<_>>(),
                    "{filters:?} {granularity} {zone} {group_by}"
                );
            }
        }
        if n == 0 {
            let (_, filled) = filtered.with(&[("fill", "zero")]).send(&service, "usage").await;
            assert!(filled["series"].as_array().unwrap().len() >= 23, "{filled}");
            assert_eq!(of_usage(&filled["totals"]), expected);
            assert!(filled["asOf"].is_string() && filled["freshness"]["status"] == "fresh", "{filled}");
        }
    }
    for (lacking, field) in [
        (&[("actorId", person.as_str()), ("clientId", "web")][..], "clientId"),
        (&[("meta.other", "a")], "meta"),
        (&[("unset", "meta.other")], "unset"),
    ] {
        let (status, problem) = all.with(lacking).send(&service, "usage").await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!(field)), "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains("actorId,modelId"), "{problem}");
    }
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn usage_names_what_may_pass_a_filter() {
    let mut world = world().await;
    world.set("ANALYTICS__ATTRIBUTION__MAX_KEYS", "100");
    let now = Utc::now();
    let org = Uuid::new_v4();
    let client = |n: u128| Event {
        org_id: org,
        client_id: Some(format!("client-{n}")),
        ..event(0, 1000 + n, now - TimeDelta::days(2))
    };
    let events: Vec<Event> = (0..300).map(client).collect();
    let (service, all) = started(&world, &events, now).await;
    let (_, usage) = all.with(&[("clientId", "client-1")]).send(&service, "usage").await;
    let (passed, lost) = (usage["totals"]["invocations"].as_u64().unwrap(), usage["overflow"]["invocations"].as_u64());
    assert!(passed <= 1 && lost == Some(200), "{usage}");
    let attribution = all.with(&[("groupBy", "modelId"), ("clientId", "client-1")]).page(&service).await;
    assert_eq!(attribution["totals"]["invocations"], passed + 200);
    // Models and statuses keep their names.
    let (_, usage) = all.with(&[("status", "success")]).send(&service, "usage").await;
    assert_eq!((&usage["totals"]["invocations"], &usage["overflow"]["invocations"]), (&json!(300), &json!(0)));
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn filtered_reliability_is_that_of_the_events() {
    let world = world().await;
    let now = Utc::now();
    let mut events = events(Uuid::new_v4(), 700, now);
    for (n, event) in events.iter_mut().enumerate() {
        event.latency_ms = u32::try_from(n).unwrap();
        event.occurred_at = now - TimeDelta::minutes(i64::try_from(n * 13 % (6 * 24 * 60)).unwrap());
    }
    let (service, all) = started(&world, &events, now).await;
    let start = (now - TimeDelta::days(6)).format("%Y-%m-%d").to_string();
    let week = Request { params: vec![("start".to_owned(), start)], ..all };
    let model = Uuid::from_u128(1).to_string();
    let check = async || {
        let filters: [(Filters<'_>, &str); 6] = [
            (&[("clientId", "web")], "client"),
            (&[("clientId", "web"), ("clientId", "batch"), ("unset", "clientId")], "client"),
            (&[("unset", "clientId")], "none"),
            (&[("errorCode", "quota"), ("errorCode", "E\u{1}")], "errorCode"),
            (&[("unset", "errorCode"), ("modelId", &model)], "none"),
            (&[("clientId", "nobody")], "none"),
        ];
        for (filters, group_by) in filters {
            for group_by in [group_by, "none"] {
                let (status, found) =
                    week.with(filters).with(&[("groupBy", group_by)]).send(&service, "reliability").await;
                assert_eq!(status, 200, "{found}");
                let passing: Vec<&Event> = events.iter().filter(|event| passes(event, filters)).collect();
                let count = |status: Status| passing.iter().filter(|event| event.status == status).count();
                let by_status: Value =
                    Status::ALL.iter().map(|status| (status.to_string(), json!(count(*status)))).collect();
                assert_eq!(found["totals"]["byStatus"], by_status, "{filters:?} {group_by}");
                let points = found["series"].as_array().unwrap().iter();
                let sum: u64 = points.map(|point| point["invocations"].as_u64().unwrap()).sum();
                assert_eq!(sum, passing.len() as u64);
                let mut latencies: Vec<u32> = passing.iter().map(|event| event.latency_ms).collect();
                latencies.sort_unstable();
                let p50 = latencies.get(latencies.len().saturating_sub(1) / 2);
                match (p50, found["totals"]["latencyMs"]["p50"].as_f64()) {
                    (None, None) => {}
                    (Some(exact), Some(shown)) => {
                        let exact = f64::from(*exact);
                        assert!((shown - exact).abs() <= exact * 0.025 + 0.01, "{shown} {exact}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    check().await;
    // Of sums of hours, too.
    world.report(&["maintain"]).await;
    check().await;
    assert_eq!(service.terminate().await, Some(0));
}
